"""What a network sees of a table's typed columns: every kind as numbers of comparable size, and what is missing."""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling, filling
from vaelab.data.scaling import Typed
from vaelab.engine.process import one_thread

FAR = 1e3  # beyond this many standard deviations an encoder sees no difference; no training row of a million is there


class Encoding:
    """Rows x (..., D) in the model's units, NaN where missing, as inputs (..., width) of a network.

    Real numbers and logarithms of positive ones enter as they are; counts by their logarithm, relative to the size of
    their row; categories as indicators; binary and ordinal columns as indices. All but indicators have mean 0 and
    standard deviation 1 in training. A missing value enters as what is expected given the others of its row (see
    `data.filling`), and every column with missing values has a further input that says so. An encoder could hardly
    learn this itself: each pattern of missing cells has its own regressions.
    """

    def __init__(self, typed: Typed):
        self.typed = typed
        modelled = typed.modelled.stop
        source, level = [], []
        for j, column in enumerate(typed.columns):
            levels = range(len(column.levels)) if column.kind == "categorical" else (-1,)
            source += [j for _ in levels]
            level += list(levels)
        self.source = torch.tensor(source)
        self.level = torch.tensor(level, dtype=torch.float32)
        self.first = sum(j < modelled for j in source)  # input of a condition
        gaps = [j for j, column in enumerate(typed.columns) if column.missing]
        self.gaps = torch.tensor([j for j in gaps if j < modelled], dtype=torch.int64)
        self.condition_gaps = torch.tensor([j for j in gaps if j >= modelled], dtype=torch.int64)
        self.counts = typed.places("count")
        self.has_categories = bool((self.level >= 0).any())
        self.condition = len(source) - self.first + len(self.condition_gaps)
        self.width: int = self.first + len(self.gaps) + self.condition

    @functools.lru_cache(maxsize=4)  # noqa: B019 - lives as long as its model
    def _constants(self, like: tuple[torch.dtype, torch.device]) -> tuple[Tensor, ...]:
        dtype, device = like
        typed = self.typed
        center, spread, base = (torch.from_numpy(a).to(device, dtype) for a in (typed.center, typed.spread, typed.base))
        source, level = self.source.to(device), self.level.to(device, dtype)
        gaps = self.gaps.to(device), self.condition_gaps.to(device)
        return center, 1 / spread, base[self.counts], source, level, *gaps

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

    def inputs(self, x: Tensor) -> Tensor:
        """(..., E) without the inputs that say what is missing; NaN where missing."""
        *_, source, level, _, _ = self._constants((x.dtype, x.device))
        inputs = self.standard(x).clamp(-FAR, FAR)
        if not self.has_categories:
            return inputs
        chosen = x.index_select(-1, source)
        indicators = (chosen == level).to(x).masked_fill(torch.isnan(chosen), torch.nan)
        return torch.where(level >= 0, indicators, inputs.index_select(-1, source))

    def __call__(self, x: Tensor) -> Tensor:
        inputs = self.inputs(x)
        filled = torch.where(torch.isnan(inputs), self._expected(inputs), inputs)
        if not len(self.gaps) and not self.condition:
            return filled
        missing, gaps = torch.isnan(x), self._constants((x.dtype, x.device))[-2]
        parts = [filled[..., : self.first], missing.index_select(-1, gaps).to(x)]
        return torch.cat([*parts, self._given(inputs, missing)] if self.condition else parts, -1)

    def given(self, x: Tensor) -> Tensor:
        """The conditions alone (..., condition), as they are at the end of all inputs.

        A missing one is 0, and marked: what the other columns say of it would tell a decoder of these.
        """
        return self._given(self.inputs(x), torch.isnan(x))

    def _given(self, inputs: Tensor, missing: Tensor) -> Tensor:
        gaps = self._constants((inputs.dtype, inputs.device))[-1]
        return torch.cat([torch.nan_to_num(inputs[..., self.first :]), missing.index_select(-1, gaps).to(inputs)], -1)

    @functools.lru_cache(maxsize=4)  # noqa: B019 - lives as long as its model
    def _filling(self, device: torch.device) -> tuple[Tensor, ...]:
        """Mean, 1 / noise variance, loadings and their products: made once, as copies cannot be captured."""
        assert self.typed.filling is not None
        (mean, noise), loadings = self.typed.filling[:2], self.typed.filling[2:]
        parts = mean, 1 / noise, loadings, filling.products(loadings)
        return tuple(torch.from_numpy(part).to(device) for part in parts)

    def _expected(self, inputs: Tensor) -> Tensor:
        """E[input | those that are there], in double precision for any that is missing."""
        if self.typed.filling is None:
            return torch.zeros_like(inputs)
        mean, weight, loadings, pairs = self._filling(inputs.device)
        k = len(loadings)
        weight = weight.masked_fill(torch.isnan(inputs), 0.0)
        residual = torch.nan_to_num(inputs.double() - mean)
        inner = (weight @ pairs.T).unflatten(-1, (k, k)) + torch.eye(k, dtype=weight.dtype, device=weight.device)
        root = torch.linalg.cholesky_ex(inner)[0]
        z = torch.cholesky_solve(((weight * residual) @ loadings.T)[..., None], root)[..., 0]
        return (z @ loadings + mean).to(inputs)


def with_filling(scaling: Scaling, data: Dataset) -> Scaling:
    """A scaling that also knows what the missing cells of typed columns hold, as the training rows tell."""
    typed = scaling.typed
    if typed is None or not any(column.missing for column in typed.columns):
        return scaling
    rows = data.splits["train"]
    values = scaling.to_model(data.flat[rows[:: -(-len(rows) // filling.ROWS)]])
    with one_thread():
        found = filling.fit(Encoding(typed).inputs(torch.from_numpy(values).double()).numpy())
    return dataclasses.replace(scaling, typed=dataclasses.replace(typed, filling=found))


def sizes_of(counts: Tensor, base: Tensor) -> Tensor:
    """Sizes (..., 1) of rows of counts (..., C), as `data.scaling.row_sizes`."""
    missing = torch.isnan(counts)
    expected = (base * ~missing).sum(-1, keepdim=True)
    found = counts.masked_fill(missing, 0.0).sum(-1, keepdim=True).clamp_min(0.5) / expected.clamp_min(1e-30)
    return torch.where(expected > 0, found, torch.ones_like(found))
