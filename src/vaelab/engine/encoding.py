"""What a network sees of a table's typed columns: every kind as numbers of comparable size, and what is missing."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from vaelab.data.scaling import Typed


class Encoding:
    """Rows x (..., D) in the model's units, NaN where missing, as inputs (..., width) of a network.

    Real numbers and logarithms of positive ones enter as they are; counts by their logarithm, relative to the size of
    their row; categories as indicators; binary and ordinal columns as indices. All but indicators have mean 0 and
    standard deviation 1 in training. A missing value enters as 0, the mean, and every column with missing values has
    a further input that says so.
    """

    def __init__(self, typed: Typed):
        self.typed = typed
        source, level = [], []
        for j, column in enumerate(typed.columns):
            levels = range(len(column.levels)) if column.kind == "categorical" else (-1,)
            source += [j for _ in levels]
            level += list(levels)
        self.source = torch.tensor(source)
        self.level = torch.tensor(level, dtype=torch.float32)
        self.gaps = torch.tensor([j for j, column in enumerate(typed.columns) if column.missing], dtype=torch.int64)
        self.counts = typed.places("count")
        self.has_categories = bool((self.level >= 0).any())
        self.width = len(source) + len(self.gaps)

    @functools.lru_cache(maxsize=4)  # noqa: B019 - lives as long as its model
    def _constants(self, like: tuple[torch.dtype, torch.device]) -> tuple[Tensor, ...]:
        dtype, device = like
        typed = self.typed
        center, spread, base = (torch.from_numpy(a).to(device, dtype) for a in (typed.center, typed.spread, typed.base))
        source, gaps = self.source.to(device), self.gaps.to(device)
        return center, 1 / spread, base[self.counts], source, self.level.to(device, dtype), gaps

    def standard(self, x: Tensor, sized: Tensor | None = None) -> Tensor:
        """x (..., D) on comparable scales, NaN where missing; categories stay indices.

        sized: rows whose counts give the sizes of x; by default x.
        """
        center, factor, base, *_ = self._constants((x.dtype, x.device))
        if self.counts.stop:
            counts = x[..., self.counts]
            if self.typed.has_size:
                counts = counts / sizes_of((x if sized is None else sized)[..., self.counts], base)
            x = torch.cat([x[..., : self.counts.start], torch.log1p(counts), x[..., self.counts.stop :]], -1)
        return (x - center) * factor

    def __call__(self, x: Tensor) -> Tensor:
        *_, source, level, gaps = self._constants((x.dtype, x.device))
        missing = torch.isnan(x)
        inputs = self.standard(x).masked_fill(missing, 0.0)
        if self.has_categories:
            # A missing cell equals no level, so that all of its indicators are 0.
            inputs = torch.where(
                level >= 0, (x.index_select(-1, source) == level).to(x), inputs.index_select(-1, source)
            )
        if not len(gaps):
            return inputs
        return torch.cat([inputs, missing.index_select(-1, gaps).to(x)], -1)


def sizes_of(counts: Tensor, base: Tensor) -> Tensor:
    """Sizes (..., 1) of rows of counts (..., C), as `data.scaling.row_sizes`."""
    missing = torch.isnan(counts)
    expected = (base * ~missing).sum(-1, keepdim=True)
    found = counts.masked_fill(missing, 0.0).sum(-1, keepdim=True).clamp_min(0.5) / expected.clamp_min(1e-30)
    return torch.where(expected > 0, found, torch.ones_like(found))
