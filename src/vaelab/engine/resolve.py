"""Resolves automatic settings from data and machine: batch size, device, and checks of convolutions."""

from __future__ import annotations

import torch

from vaelab.data import Dataset
from vaelab.engine import fused
from vaelab.engine.convolutions import Grid, why_unfit
from vaelab.errors import InputError
from vaelab.settings.spec import ModelSpec
from vaelab.wording import counted

EPOCHS, LEAST_STEPS, MOST_STEPS = 30, 8_000, 50_000  # of `epochs` = auto
PATIENCE = 0.5  # share of the epochs so far


def auto_epochs(steps_per_epoch: int) -> int:
    """`epochs` = auto: 30, but at least 8,000 steps and, above that, at most 50,000 (early stopping ends most sooner).

    >>> [auto_epochs(steps) for steps in (4, 45, 540, 10_000)]
    [2000, 178, 30, 5]
    """
    return max(-(-LEAST_STEPS // steps_per_epoch), min(EPOCHS, -(-MOST_STEPS // steps_per_epoch)))


def resolve_training(spec: ModelSpec, data: Dataset) -> dict[str, object]:
    """Resolve the settings that depend on data and machine: batch size, epochs, device and engine."""
    n = len(data.splits["train"])
    size = min(n, 32 if n < 5_000 else 100) if spec.batch_size == "auto" else spec.batch_size
    if size > n:
        raise InputError(
            f"`batch_size` must be at most the number of training examples, but got {size} for {n}; "
            "choose a smaller one or leave it to auto."
        )
    changes: dict[str, object] = {
        "batch_size": size,
        "epochs": auto_epochs(-(-n // size)) if spec.epochs == "auto" else spec.epochs,
        "patience": (PATIENCE if spec.epochs == "auto" else 0.0) if spec.patience == "auto" else spec.patience,
    }
    if spec.device == "auto":
        changes["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    elif not _is_available(spec.device):
        raise InputError(f"device {spec.device!r} is not available here; use auto or cpu.")
    device = str(changes.get("device", spec.device))
    if spec.engine != "autograd":
        reason = fused.why_unavailable()
        if reason is not None and spec.engine == "fused":
            raise InputError(
                f"`engine` = fused needs numba, which cannot be used here ({reason}); mend that, or use autograd."
            )
        if reason is not None:
            fused.tell_unavailable(reason)
        changes["engine"] = "fused" if reason is None else "autograd"
        if spec.engine == "fused" and not spec.replace(**changes).fuses:
            raise InputError(
                "`engine` = fused has kernels for `network` = mlp, `precision` = float32, `device` = cpu, and of VAEs "
                "for `prior` = normal and `samples` = 1; use these, or leave `engine` to auto."
            )
    if spec.precision == "bf16" and not has_bfloat16(device):
        raise InputError("`precision` = bf16 needs a processor that multiplies bfloat16, which this one does not.")
    return changes


def budget_text(spec: ModelSpec, data: Dataset) -> str:
    """The resolved `epochs` = auto in words."""
    steps = -(-len(data.splits["train"]) // int(spec.batch_size))
    sooner = ", fewer if the validation loss stalls" if spec.stops_early else ""
    return f"epochs = auto: {counted(int(spec.epochs), 'epoch')} of {counted(steps, 'step')}{sooner}."


def check_convolutions(spec: ModelSpec, data: Dataset) -> None:
    """Reject data without spatial structure, and settings that do not fit their size."""
    if data.features:
        raise InputError(
            "`network` = conv needs images or curves, with spatial structure, but got a table with "
            "named columns; use mlp, or give curves as an array without names (.npy)."
        )
    reason = why_unfit(Grid.of(data.shape).shape, spec.channels, spec.kernel)
    if reason is not None:
        raise InputError(reason)


def has_bfloat16(device: str) -> bool:
    """Whether the processor has instructions for bfloat16: else its products would be slower than float32's."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return kind == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))


def _is_available(device: str) -> bool:
    kind, _, number = device.partition(":")
    if kind == "cuda":
        return torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count()
    return kind == "cpu" or torch.backends.mps.is_available()
