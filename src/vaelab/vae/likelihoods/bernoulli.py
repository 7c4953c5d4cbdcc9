"""The Bernoulli likelihood, for binary data and grey values read as probabilities."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vaelab.data import Dataset, Scaling
from vaelab.engine.networks import Parameters
from vaelab.errors import InputError
from vaelab.vae.fused import BERNOULLI
from vaelab.vae.likelihoods.likelihood import Likelihood, refuse_typed
from vaelab.vae.spec import Spec

VECTORS = 64  # a multiple of two SIMD vectors of floats on every machine


def _sigmoid(logits: Tensor) -> Tensor:
    """sigmoid of logits (K, ...) using only vectorised code, so that a member gets the same bits in any stack.

    PyTorch computes the remainder after whole pairs of vectors with scalar code, which rounds differently; which
    elements those are would depend on the member's position in the stack. (Activations get multiples of 32 units.)
    """
    n = logits[0].numel()
    if n % VECTORS == 0:
        return torch.sigmoid(logits)
    padded = functional.pad(logits.reshape(len(logits), n), (0, -n % VECTORS))
    return torch.sigmoid(padded)[:, :n].reshape(logits.shape)


class _CrossEntropy(torch.autograd.Function):
    """Bernoulli cross-entropy from logits, summed over features, in as few passes as eager PyTorch allows.

    -x l + log(1 + e^l) = max(l, 0) - x l - log(max(p, 1 - p)), p = sigmoid(l). The factors max(p, 1 - p) lie in
    [1/2, 1], so products of 64 of them cannot underflow and share one logarithm; p is reused for the gradient.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, logits: Tensor, x: Tensor) -> Tensor:
        p = _sigmoid(logits)
        factors = (p - 0.5).abs_().add_(0.5)
        for _ in range(6):
            n = factors.shape[-1]
            if n % 2:
                break
            factors = factors[..., : n // 2] * factors[..., n // 2 :]
        linear = torch.addcmul(logits.clamp_min(0), logits, x, value=-1)
        ctx.save_for_backward(p.sub_(x))
        return linear.sum(-1) - factors.log_().sum(-1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (residual,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return residual * gradients[0][..., None], None


@dataclasses.dataclass(frozen=True)
class Bernoulli(Likelihood):
    """p(x|z) = prod x^p (1 - p)^(1 - x), p = sigmoid(outputs).

    For 0/1 data a mass; for values in between it is a cross-entropy, whose floor is the data's own entropy.
    """

    is_mass = True
    link: ClassVar = "sigmoid"

    @classmethod
    def for_spec(cls, spec: Spec, is_image: bool, scaling: Scaling | None = None) -> Bernoulli:
        return cls()

    @classmethod
    def scaling(cls, data: Dataset, spec: Spec) -> Scaling:
        refuse_typed(data, "bernoulli")
        return Scaling.to_unit_interval(data)

    def check_rows(self, rows: npt.NDArray[Any], scaling: Scaling) -> None:
        low, high, top = float(rows.min()), float(rows.max()), float(scaling.scale.max())
        if low < 0 or high > top:
            raise InputError(
                f"this model needs values in [0, {top:g}], but X ranges from {low:g} to {high:g}; rescale it."
            )

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        return {}

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        return functional.softplus(outputs) - x * outputs

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        return _CrossEntropy.apply(outputs, x)  # type: ignore[no-any-return]

    def head_constants(self) -> tuple[float, ...]:
        return (BERNOULLI,)

    def head_part(self, features: int) -> tuple[float, ...]:
        return (BERNOULLI,)

    def mean(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        return torch.sigmoid(outputs)

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(outputs), generator=generator)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Half a count of each value keeps the cost finite for pixels that are constant in training.
        total = sum(part.nansum(0, dtype=torch.float64) for part in x.split(1000))  # summing in double copies the rows
        return torch.logit((total + 0.5) / ((~torch.isnan(x)).sum(0) + 1)), {}

    def floor(self, x: Tensor) -> Tensor:
        """The entropy of values read as probabilities: 0 if all are 0 or 1."""
        return -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x))
