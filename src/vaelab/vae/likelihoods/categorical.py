"""Categories: a softmax over the levels of each column."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.data import Column
from vaelab.engine.networks import Parameters
from vaelab.vae.fused import CATEGORICAL
from vaelab.vae.likelihoods.likelihood import ColumnLikelihood
from vaelab.vae.spec import Spec


@functools.lru_cache(maxsize=16)
def _place(levels: tuple[int, ...], device: torch.device) -> Tensor:
    """Where the outputs of each column are (D, most levels); beyond its own levels the last, which is padding."""
    place, start = torch.full((len(levels), max(levels)), sum(levels)), 0
    for j, count in enumerate(levels):
        place[j, :count] = torch.arange(start, start + count)
        start += count
    return place.to(device)


@dataclasses.dataclass(frozen=True)
class Categorical(ColumnLikelihood):
    """-log p(x) = log sum_l exp(o_l) - o_x, with one output o_l per level of each column."""

    is_mass = True

    levels: tuple[int, ...]  # of each column

    @classmethod
    def for_columns(cls, spec: Spec, columns: Sequence[Column], least: Tensor) -> Categorical:
        return cls(tuple(len(column.levels) for column in columns))

    def head(self, features: int) -> int:
        return sum(self.levels)

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        return {}

    def logits(self, outputs: Tensor) -> Tensor:
        """The outputs as (..., D, most levels), -inf beyond a column's own."""
        most = max(self.levels)
        if set(self.levels) == {most}:
            return outputs.reshape(*outputs.shape[:-1], len(self.levels), most)
        padded = outputs.new_full((*outputs.shape[:-1], 1), -torch.inf)
        return torch.cat([outputs, padded], -1)[..., _place(self.levels, outputs.device)]

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        logits = self.logits(outputs)
        chosen = logits.gather(-1, x.long().expand(logits.shape[:-1])[..., None])[..., 0]
        return torch.logsumexp(logits, -1) - chosen

    def head_part(self, features: int) -> tuple[float, ...]:
        return (CATEGORICAL, *self.levels)

    def mean(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        return self.logits(outputs).argmax(-1).to(outputs.dtype)

    def expectation(self, outputs: Tensor, weights: Tensor, parameters: Parameters) -> Tensor:
        shares = torch.softmax(self.logits(outputs), -1)
        return (weights[..., None] * shares).sum(0).argmax(-1).to(outputs.dtype)

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        logits = self.logits(outputs).double()
        u = torch.rand(logits.shape, generator=generator, dtype=torch.float64, device=outputs.device)
        gumbel = -torch.log(-torch.log(u.clamp(1e-300, 1 - 1e-16)))
        return (logits + gumbel).argmax(-1).to(outputs.dtype)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Half a count of each level keeps the cost of a level finite that no training row has.
        counts = [(x[:, j, None] == torch.arange(n, device=x.device)).sum(0) for j, n in enumerate(self.levels)]
        return torch.cat([torch.log((c.double() + 0.5) / (c.sum() + 0.5 * len(c))) for c in counts]), {}
