"""Ordered levels: a cumulative logit with learned thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.data import Column
from vaelab.engine.networks import Parameters
from vaelab.vae.fused import ORDINAL
from vaelab.vae.likelihoods.likelihood import ColumnLikelihood, vector
from vaelab.vae.spec import Spec

FAR = 1e4  # a threshold beyond the last level, where the logistic function is 1
LEAST_STEP = 1e-3  # between thresholds


@dataclasses.dataclass(frozen=True)
class Ordinal(ColumnLikelihood):
    """p(x <= l) = sigmoid(t_l - o), with an output o and increasing thresholds t_l per column (McCullagh 1980)."""

    is_mass = True

    levels: tuple[int, ...]  # of each column, at least 2

    @classmethod
    def for_columns(cls, spec: Spec, columns: Sequence[Column], least: Tensor) -> Ordinal:
        return cls(tuple(len(column.levels) for column in columns))

    @property
    def steps(self) -> int:
        """Thresholds of the column with most levels."""
        return max(self.levels) - 1

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"likelihood.thresholds": (1, features * self.steps)}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        return {"likelihood.thresholds": self._raw(x).float()}

    def _raw(self, x: Tensor) -> Tensor:
        """Thresholds (1, D (levels - 1)) that give the frequencies of the levels at output 0, as they are stored."""
        raw = torch.zeros(len(self.levels), self.steps, dtype=torch.float64)
        for j, count in enumerate(self.levels):
            found = (x[:, j, None] == torch.arange(count, device=x.device)).sum(0).cpu().double() + 0.5
            t = torch.logit((found.cumsum(0) / found.sum())[:-1])
            step = (t.diff() - LEAST_STEP).clamp_min(1e-6)
            raw[j, 0], raw[j, 1 : count - 1] = t[0], step + torch.log(-torch.expm1(-step))  # inverse of softplus
        return raw.reshape(1, -1)

    def thresholds(self, parameters: Parameters) -> Tensor:
        """t (..., D, levels + 1) from -FAR to FAR."""
        raw = parameters["likelihood.thresholds"].unflatten(-1, (len(self.levels), self.steps))
        first, more = raw[..., :1], functional.softplus(raw[..., 1:]) + LEAST_STEP
        t = torch.cat([first, first + more.cumsum(-1)], -1)
        own = torch.arange(self.steps, device=t.device) < vector(self.levels, torch.int64, t.device)[:, None] - 1
        t = torch.where(own, t, FAR)
        end = torch.full_like(first, FAR)
        return torch.cat([-end, t, end], -1)

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        t = self.thresholds(parameters)
        t = t.expand(*outputs.shape, t.shape[-1])
        level = x.long().expand(outputs.shape)[..., None]
        above, below = t.gather(-1, level + 1)[..., 0] - outputs, t.gather(-1, level)[..., 0] - outputs
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
        gap = torch.log(-torch.expm1((below - above).clamp(-FAR, -LEAST_STEP / 2)))
        return -(functional.logsigmoid(above) + functional.logsigmoid(-below) + gap)

    def head_part(self, features: int) -> tuple[float, ...]:
        return (ORDINAL, *self.levels)

    def probabilities(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        """p (..., D, levels)."""
        return torch.sigmoid(self.thresholds(parameters) - outputs[..., None]).diff(dim=-1)

    def mean(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        return self.probabilities(outputs, parameters).argmax(-1).to(outputs.dtype)

    def expectation(self, outputs: Tensor, weights: Tensor, parameters: Parameters) -> Tensor:
        shares = self.probabilities(outputs, parameters)
        return (weights[..., None] * shares).sum(0).argmax(-1).to(outputs.dtype)

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        cumulative = torch.sigmoid(self.thresholds(parameters).double() - outputs.double()[..., None])[..., 1:-1]
        u = torch.rand(outputs.shape, generator=generator, dtype=torch.float64, device=outputs.device)
        return (u[..., None] > cumulative).sum(-1).to(outputs.dtype)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.zeros(len(self.levels), dtype=torch.float64), {"likelihood.thresholds": self._raw(x)[None]}
