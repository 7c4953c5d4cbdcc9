"""Negative binomial counts with additional zeros."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.engine.networks import Parameters
from vaelab.vae.fused import ZERO_INFLATED
from vaelab.vae.likelihoods.negative_binomial import NegativeBinomial

FEW_ZEROS = -2.0  # the logit at the start


@dataclasses.dataclass(frozen=True)
class ZeroInflated(NegativeBinomial):
    """0 with probability w, else negative binomial; the logit of w is a second output per column (Lambert 1992)."""

    def head(self, features: int) -> int:
        return 2 * features

    def log_mean(self, outputs: Tensor) -> Tensor:
        return super().log_mean(outputs[..., : outputs.shape[-1] // 2])

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        logit, counted = outputs[..., outputs.shape[-1] // 2 :], super().cost(outputs, x, parameters)
        inflated = functional.softplus(logit)
        return torch.where(x == 0, inflated - torch.logaddexp(logit, -counted), inflated + counted)

    def head_part(self, features: int) -> tuple[float, ...]:
        return (ZERO_INFLATED,)

    def mean(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        return super().mean(outputs, parameters) * torch.sigmoid(-outputs[..., outputs.shape[-1] // 2 :])

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        counts = super().sample(outputs, parameters, generator)
        zero = torch.bernoulli(torch.sigmoid(outputs[..., outputs.shape[-1] // 2 :]), generator=generator)
        return counts * (1 - zero)

    def start(self, x: Tensor, expected: Tensor | None = None) -> Tensor:
        return torch.cat([super().start(x, expected), torch.full((x.shape[1],), FEW_ZEROS, dtype=torch.float64)])
