"""Poisson counts, and what models of counts share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.data import Column
from vaelab.engine.networks import Parameters
from vaelab.vae.fused import POISSON
from vaelab.vae.likelihoods.likelihood import ColumnLikelihood, precise
from vaelab.vae.spec import Spec

HIGHEST = 60.0  # a logarithm of a mean whose exponential still is a float32
LARGEST = 1e15  # mean of counts that are drawn


class Counts(ColumnLikelihood):
    """Counts 0, 1, ... whose first output per column is the logarithm of the mean, relative to what is `expected`: the
    logarithm (N, D) of known factors, such as the size of a row, 0 by default.
    """

    is_mass = True

    @classmethod
    def for_columns(cls, spec: Spec, columns: Sequence[Column], least: Tensor) -> Self:
        return cls()

    def log_mean(self, outputs: Tensor) -> Tensor:
        """log m (..., D), no larger than what a float can hold."""
        return outputs.clamp_max(HIGHEST)

    def mean(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        return torch.exp(self.log_mean(outputs))

    @abc.abstractmethod
    def initial(self, x: Tensor, expected: Tensor | None = None) -> dict[str, Tensor]: ...

    @abc.abstractmethod
    def constant(self, x: Tensor, expected: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]: ...

    def start(self, x: Tensor, expected: Tensor | None = None) -> Tensor:
        return log_ratio(x, expected).clamp(-6, HIGHEST)


def log_ratio(x: Tensor, expected: Tensor | None = None) -> Tensor:
    """log of the ratio (D,) of counts x (N, D), NaN where missing, to what is expected of them; at least half a count.

    0 where no row has a value.
    """
    x = x.double()
    known = torch.ones_like(x) if expected is None else torch.exp(expected.double())
    total = known.masked_fill(torch.isnan(x), 0.0).sum(0)
    return torch.where(total > 0, torch.log(x.nansum(0).clamp_min(0.5) / total), 0.0)


def shifted(outputs: Tensor, expected: Tensor) -> Tensor:
    """Outputs (..., head) with what is expected (..., D) added to the logarithms of the mean, the first per column."""
    more = outputs.shape[-1] - expected.shape[-1]
    return outputs + functional.pad(expected.expand(*outputs.shape[:-1], expected.shape[-1]), (0, more))


@dataclasses.dataclass(frozen=True)
class Poisson(Counts):
    """-log p(x) = m - x log m + log x!, with log m the output."""

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {}

    def initial(self, x: Tensor, expected: Tensor | None = None) -> dict[str, Tensor]:
        return {}

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        log_mean, many = precise(self.log_mean(outputs)), precise(x)
        return (torch.exp(log_mean) - many * log_mean + torch.lgamma(many + 1)).to(x)

    def head_part(self, features: int) -> tuple[float, ...]:
        return (POISSON,)

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        return drawn(torch.exp(self.log_mean(outputs).double()), generator).to(outputs.dtype)

    def constant(self, x: Tensor, expected: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        return log_ratio(x, expected), {}


def drawn(rate: Tensor, generator: torch.Generator) -> Tensor:
    """Counts with these means, at most LARGEST: beyond 2^63 PyTorch's are negative."""
    return torch.poisson(rate.clamp_max(LARGEST), generator)
