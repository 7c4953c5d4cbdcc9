"""Resolves automatic settings from data and machine: batch size, device, and checks of convolutions."""

from __future__ import annotations

import torch

from vaelab.data import Dataset
from vaelab.engine import fused
from vaelab.engine.convolutions import Grid, why_unfit
from vaelab.errors import InputError
from vaelab.settings.spec import ModelSpec


def resolve_training(spec: ModelSpec, data: Dataset) -> dict[str, object]:
    """Resolve the settings that depend on data and machine: batch size, device and engine."""
    n = len(data.splits["train"])
    changes: dict[str, object] = {}
    if spec.batch_size == "auto":
        changes["batch_size"] = min(n, 32 if n < 5_000 else 100)
    elif spec.batch_size > n:
        raise InputError(
            f"`batch_size` must be at most the number of training examples, but got {spec.batch_size} for {n}; "
            "choose a smaller one or leave it to auto."
        )
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
    if spec.precision == "bf16" and not has_bfloat16(device):
        raise InputError("`precision` = bf16 needs a processor that multiplies bfloat16, which this one does not.")
    return changes


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
