"""The map between a data set's own units and a model's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.columns import Column, Kind
from vaelab.data.dataset import CHUNK_BYTES, Array, Dataset
from vaelab.data.values import quote
from vaelab.errors import InputError

Floats = npt.NDArray[np.float64]

# Columns that share a noise model are next to each other in the model's units.
ORDER = {"real": 0, "date": 0, "positive": 1, "count": 2, "binary": 3, "categorical": 4, "ordinal": 5}


RARE_SCALE = 0.05  # the least scale of a rare column's density, as a share of its range in training
LEAST_SCALE = 1e-3  # of other columns, as a share of their standard deviation
LEAST_RANGE = 1e-300  # of a varying column; below, float64 has few digits left
LARGEST = 1e12  # standard deviations; a float32 holds the squares of a row of them, at the least scale
CONDITION_ROWS = 1_000  # of training, at most, whose conditions are kept to draw new ones
MANY_COUNTS = 20  # columns of counts, from which on each is compared with the total of its row


@dataclasses.dataclass(frozen=True)
class Typed:
    """What a model of typed columns knows of its D columns, in its own order, besides offset and scale.

    base: mean of a count over the training rows, else 1.
    center, spread: of what an encoder sees of counts (logarithms) and of levels (indices); else 0 and 1.
    least: the least scale of a density.
    size: mean and standard deviation of the logarithm of a row's size, its counts relative to their means; zeros if
        counts are not compared with the total of their row.
    conditions: the values of the condition columns, which come last, in training rows (m, C); None if there are none.
    highest: of positive numbers and counts in training, in the model's units; of others the largest float32.
    filling: what missing cells hold, given the others, as `filling.fit` finds it for what an encoder sees; None if no
        cell is missing, or nothing is known.
    """

    columns: tuple[Column, ...]
    base: Floats
    center: Floats
    spread: Floats
    least: Floats
    size: Floats
    highest: Floats
    filling: Floats | None = None
    conditions: Floats | None = None

    @property
    def has_size(self) -> bool:
        return bool(self.size.any())

    def places(self, *kinds: str) -> slice:
        """Where the modelled columns of these kinds are."""
        found = [i for i, column in enumerate(self.columns) if column.kind in kinds and not column.condition]
        return slice(found[0], found[-1] + 1) if found else slice(0, 0)

    @property
    def modelled(self) -> slice:
        """Where the columns are that are no conditions."""
        return slice(sum(not column.condition for column in self.columns))

    def sizes(self, counts: Array) -> Floats:
        """Sizes (n,) of rows of counts (n, C), which may be missing; 1 for all if these are not compared."""
        return row_sizes(counts, self.base[self.places("count")]) if self.has_size else np.ones(len(counts))


def row_sizes(counts: Array, base: Floats) -> Floats:
    """The counts of each row (n, C), relative to their means over those that are there; at least half a count."""
    seen = ~np.isnan(counts)
    expected = np.maximum(seen @ base, 1e-300)
    sizes: Floats = np.maximum(np.where(seen, counts, 0.0).sum(1), 0.5) / expected
    return np.where(seen.any(1), sizes, 1.0)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """The map from the data's own units to the model's: model = (own + dequantise * u - offset) / scale.

    Only the features in `kept` (indices into D) reach the model, in that order; the others are constant in training and
    `fill` restores them. `offset` and `scale` have one entry, or one per kept feature. u is uniform in [0, 1), used for
    8-bit images under a density, so that the density of a grey level is its probability (Theis et al. 2016).
    With `typed` columns, positive numbers enter by their logarithm.
    """

    offset: npt.NDArray[Any]
    scale: npt.NDArray[Any]
    kept: npt.NDArray[np.int64] | None = None  # None: all
    fill: npt.NDArray[Any] | None = None  # (D,), where kept is not None
    dequantise: bool = False
    typed: Typed | None = None

    def at_conditions(self, row: Array) -> Scaling:
        """The scaling of the modelled columns alone, for the conditions of a row (D,): these are constant."""
        typed, kept, fill = self.typed, self.kept, self.fill
        assert typed is not None
        assert kept is not None
        assert fill is not None
        own, fill = typed.modelled, fill.copy()
        given = kept[own.stop :]
        fill[given] = row[given]
        cut = ("columns", "base", "center", "spread", "least", "highest")
        parts = {name: getattr(typed, name)[own] for name in cut}
        typed = dataclasses.replace(typed, **parts, filling=None, conditions=None)
        return Scaling(self.offset[own], self.scale[own], kept[own], fill, typed=typed)

    @property
    def logs(self) -> slice:
        """Which of the model's values are logarithms."""
        return slice(0, 0) if self.typed is None else self.typed.places("positive")

    @property
    def indexed(self) -> dict[int, Floats]:
        """The values of the levels of those of the model's columns whose levels are not numbered 0, 1, ... already."""
        columns = () if self.typed is None else self.typed.columns
        return {
            j: np.array(column.values)
            for j, column in enumerate(columns)
            if column.has_levels and column.values != tuple(range(len(column.values)))
        }

    def log_jacobian(self, features: int) -> float:
        """log |d own / d model| in nats, summed over the `features` that the model sees.

        -log p(own) = -log p(model) + log_jacobian: densities are stated in the data's own units.
        """
        scale = self.scale if len(self.scale) == 1 else self.scale[:features]  # condition columns come last
        return float(np.log(np.broadcast_to(scale, (features,)).astype(np.float64)).sum())

    def to_own(self, x: Array, shape: tuple[int, ...]) -> Array:
        """Model values (..., D_model) as examples in the data's own units (..., *shape)."""
        own = x * self.scale + self.offset
        own[..., self.logs] = np.exp(own[..., self.logs])
        for j, values in self.indexed.items():
            own[..., j] = np.interp(own[..., j], np.arange(len(values)), values)
        if self.dequantise:
            own = own - np.float32(0.5)  # dequantised to [level, level + 1)
        if self.kept is not None:
            assert self.fill is not None
            whole = np.broadcast_to(self.fill, (*x.shape[:-1], len(self.fill))).copy()
            whole[..., self.kept] = own
            own = whole
        return np.asarray(own.reshape(*x.shape[:-1], *shape))

    def to_model(self, rows: Array) -> npt.NDArray[np.float32]:
        """Rows in the data's own units (n, D) as model values (n, D_model); grey levels at the middle of their bin."""
        if self.kept is not None:
            rows = rows[:, self.kept]
        rows = rows.astype(np.result_type(self.offset, np.float32))
        rows[:, self.logs] = np.log(rows[:, self.logs])
        for j, values in self.indexed.items():
            rows[:, j] = indices(rows[:, j], values)
        middle = np.float32(0.5 if self.dequantise else 0)
        model = (rows + middle - self.offset) / self.scale
        bounded: npt.NDArray[np.float32] = np.clip(model, -LARGEST, LARGEST).astype(np.float32)
        return bounded

    @classmethod
    def to_unit_interval(cls, data: Dataset) -> Scaling:
        """To [0, 1], for values read as probabilities: 8-bit data divided by 255, others unchanged."""
        low, high = data.statistics.range
        if data.is_8bit and high > 1:
            return cls(np.zeros(1, np.float32), np.full(1, 255, np.float32))
        if low < 0 or high > 1:
            raise InputError(
                f"the Bernoulli likelihood needs values in [0, 1], but the data range from {low:g} to {high:g}; "
                "rescale them, or use likelihood=gaussian."
            )
        return cls(np.zeros(1, np.float32), np.ones(1, np.float32))

    @classmethod
    def standardised(cls, data: Dataset) -> Scaling:
        """For densities: 8-bit images divided by 256 with dequantisation, other images by their range, table columns to
        mean 0 and standard deviation 1; features that are constant in training are dropped.
        """
        statistics, kind = data.statistics, np.result_type(data.x, np.float32)
        kept = _varying(data)
        some = len(kept) < len(statistics.mean)
        dequantise = data.is_8bit and data.is_image and statistics.range[1] > 1
        if dequantise:
            offset, scale = np.zeros(1, kind), np.full(1, 256, kind)
        elif data.is_image:
            low, high = statistics.range
            offset, scale = np.full(1, low, kind), np.full(1, high - low, kind)
        else:
            offset, scale = statistics.mean[kept].astype(kind), statistics.std[kept].astype(kind)
        fill = statistics.mean.astype(kind) if some else None
        return cls(offset, scale, kept if some else None, fill, dequantise)

    @classmethod
    def by_kind(cls, data: Dataset, size_factor: str = "auto") -> Scaling:
        """For typed columns: real numbers and logarithms of positive ones to mean 0 and standard deviation 1; counts
        and levels as they are. Columns of one kind are next to each other; constant ones are dropped.

        size_factor: whether counts are compared with the total of their row: "total", "none", or "auto": from 20
            columns of counts on, if these are most of the table.

        Conditions come last, numbers among them as real ones.
        """
        statistics = data.statistics
        kept = _varying(data)
        kept = np.array(sorted(kept, key=lambda i: (data.columns[i].condition, ORDER[data.columns[i].kind])))
        columns = tuple(data.columns[i] for i in kept)
        kinds = np.array([_scaled_as(column) for column in columns])
        d = len(kept)
        offset, scale, base, center, spread, least = (np.full(d, v) for v in (0.0, 1.0, 1.0, 0.0, 1.0, LEAST_SCALE))
        mean, std = statistics.mean[kept], statistics.std[kept]
        real, logs, counts = np.isin(kinds, ("real", "date")), kinds == "positive", kinds == "count"
        offset[real], scale[real] = mean[real], std[real]
        rare = real & np.array([column.rare for column in columns])
        scale[rare], least[rare] = (statistics.high - statistics.low)[kept][rare], RARE_SCALE
        base[counts] = mean[counts]
        has_size = size_factor == "total" or (size_factor == "auto" and counts.sum() >= max(MANY_COUNTS, d / 2))
        size = np.zeros(2)
        train = data.splits["train"]
        if logs.any():
            offset[logs], scale[logs] = _moments(data, train, kept[logs], lambda rows: np.log(rows))
        if counts.any():
            if has_size:
                sizes = np.concatenate([row_sizes(rows, base[counts]) for rows in _pieces(data, train, kept[counts])])
                size = np.array([np.log(sizes).mean(), max(float(np.log(sizes).std()), 1e-12)])

            def seen(rows: Floats) -> Floats:
                return np.log1p(rows / row_sizes(rows, base[counts])[:, None] if has_size else rows)

            center[counts], spread[counts] = _moments(data, train, kept[counts], seen)
        for j in np.flatnonzero(np.isin(kinds, ("binary", "ordinal"))):
            own = np.array(columns[j].values)
            found = _moments(data, train, kept[[j]], lambda rows, own=own: indices(rows, own))  # type: ignore[misc]
            center[j], spread[j] = found[0][0], found[1][0]
        fill = np.where(statistics.constant, statistics.low, statistics.mean)
        highest = np.full(d, float(np.finfo(np.float32).max))
        highest[counts] = statistics.high[kept][counts]
        highest[logs] = (np.log(statistics.high[kept][logs]) - offset[logs]) / scale[logs]
        typed = Typed(columns, base, center, spread, least, size, highest)
        made = cls(offset, scale, kept, fill, typed=typed)
        if typed.modelled.stop == d:
            return made
        if typed.modelled.stop == 0:
            raise InputError("at least one modelled column must vary, but all are constant; leave out `condition`.")
        some = data.flat[train[:: -(-len(train) // CONDITION_ROWS)]]
        conditions = made.to_model(some)[:, typed.modelled.stop :].astype(np.float64)
        conditions = conditions[~np.isnan(conditions).any(1)]
        if not len(conditions):
            raise InputError("some training row must have all its conditions, but each misses one; fill them.")
        return dataclasses.replace(made, typed=dataclasses.replace(typed, conditions=conditions))


def _scaled_as(column: Column) -> Kind:
    """The kind by which a column enters; numbers that are not modelled need no likelihood of their own."""
    return "real" if column.condition and not column.has_levels else column.kind


def indices(x: Array, values: Floats) -> Floats:
    """Which of increasing `values` each of x is, NaN where missing."""
    found: Floats = np.where(np.isnan(x), np.nan, np.searchsorted(values, x).astype(np.float64))
    return found


def _varying(data: Dataset) -> npt.NDArray[np.int64]:
    """Which features vary in the training rows."""
    kept = np.flatnonzero(~data.statistics.constant)
    if len(kept) == 0:
        raise InputError("at least one feature must vary, but all are constant; there is nothing to learn.")
    ranges = (data.statistics.high - data.statistics.low)[kept]
    faint = int(np.argmin(ranges))
    if ranges[faint] < LEAST_RANGE:
        name = data.features[kept[faint]] if data.features else kept[faint]
        raise InputError(
            f"a feature must vary by {LEAST_RANGE:.0e} or more, but {quote(name)} varies by {ranges[faint]:.3g}; "
            "rescale it, or drop it."
        )
    return kept


def _pieces(data: Dataset, rows: Array, columns: Array) -> Iterator[Floats]:
    """Some columns of some rows, in chunks (n, C)."""
    size = max(1, CHUNK_BYTES // (8 * data.flat.shape[1]))
    for start in range(0, len(rows), size):
        yield data.flat[rows[start : start + size]][:, columns].astype(np.float64)


def _moments(data: Dataset, rows: Array, columns: Array, of: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Mean and standard deviation (C,) of a function of some columns, over the values that are there."""
    count, total, squares = (np.zeros(len(columns)) for _ in range(3))
    shift: Floats | None = None
    for piece in _pieces(data, rows, columns):
        values = of(piece)
        shift = np.nan_to_num(values[0]) if shift is None else shift
        there = ~np.isnan(values)
        values = np.where(there, values - shift, 0.0)
        count, total, squares = count + there.sum(0), total + values.sum(0), squares + (values**2).sum(0)
    assert shift is not None
    mean = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0))
    return mean + shift, np.where(std > 0, std, 1.0)
