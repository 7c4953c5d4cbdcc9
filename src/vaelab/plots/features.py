"""What is drawn of a table: numbers in standard deviations, and the share of each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaelab.data.cells import as_written
from vaelab.data.columns import Column
from vaelab.plots.style import Bools, Floats, Ints
from vaelab.wording import percent, table_value

LEVELS = 12  # of one column, drawn separately


@dataclass(frozen=True)
class Features:
    """D quantities: the columns of a table or, for the model's view of typed ones, numbers and the shares of levels.

    columns: the column of each quantity; empty if all are real numbers.
    levels: which level's share a quantity is; -1 if it is the column itself.
    of: the table's column, by number, that each quantity comes from.
    """

    names: list[str]
    centre: Floats  # (D,) of what is `seen`
    scale: Floats  # (D,) positive
    columns: tuple[Column, ...] = ()
    levels: tuple[int, ...] = ()
    of: tuple[int, ...] = ()

    def __call__(self, values: Floats) -> Floats:
        """Values (..., D) in standard deviations from the mean."""
        return np.asarray((self.seen(values) - self.centre) / self.scale)

    def seen(self, values: Floats) -> Floats:
        """Values (..., D) as they are compared: positive numbers and counts by their logarithm."""
        found = np.array(values, np.float64)
        for i in np.flatnonzero(self.are_logarithms).tolist():
            found[..., i] = on_axis(self.columns[i], found[..., i])
        return found

    @property
    def are_logarithms(self) -> Bools:
        """Which quantities (D,) are compared by their logarithm."""
        kinds = [c.kind if level < 0 else "" for c, level in zip(self.columns, self.levels, strict=True)]
        return np.isin(kinds, ("positive", "count")) if kinds else np.zeros(len(self.names), dtype=bool)

    @property
    def unit(self) -> str:
        """The name of an axis of these quantities, as they are called."""
        if self.are_logarithms.any():
            return "standard deviations from the mean, of logarithms for positive numbers and counts"
        return "standard deviations of the column from its mean"

    @property
    def has_levels(self) -> Bools:
        """Which quantities (D,) are columns of levels."""
        found = [c.has_levels and level < 0 for c, level in zip(self.columns, self.levels, strict=True)]
        return np.array(found or [False] * len(self.names), dtype=bool)

    @property
    def shares(self) -> Bools:
        """Which quantities (D,) are shares of a level."""
        return np.array([level >= 0 for level in self.levels] or [False] * len(self.names), dtype=bool)

    def spread(self, rows: Floats) -> Floats:
        """Rows (..., columns) of the table as quantities (..., D): a level's share is 1 or 0, NaN where missing."""
        rows = np.asarray(rows, np.float64)
        if not self.columns:
            return rows
        found = rows[..., list(self.of)]
        for i, level in enumerate(self.levels):
            if level >= 0:
                found[..., i] = share_of_level(found[..., i], self.columns[i], level)
        return found

    def errors(self, originals: Floats, made: Floats) -> Floats:
        """Errors (n, D) of columns: numbers in standard deviations, levels 1 if wrong; NaN for missing originals."""
        apart = np.abs(self.seen(made) - self.seen(originals)) / self.scale
        for i in np.flatnonzero(self.has_levels).tolist():
            right = nearest(originals[:, i], self.columns[i]) == nearest(made[:, i], self.columns[i])
            apart[:, i] = np.where(np.isnan(originals[:, i]), np.nan, ~right)
        return apart

    def written(self, i: int, value: float) -> str:
        """A value of a quantity in the table's own words."""
        if i < len(self.levels) and self.levels[i] >= 0:
            return "missing" if np.isnan(value) else percent(value)
        return written(self.columns[i] if self.columns else None, value)

    def some(self, chosen: Ints) -> Features:
        """Some of the quantities, by number."""
        kept = np.asarray(chosen).tolist()
        if not self.columns:
            return Features([self.names[i] for i in kept], self.centre[kept], self.scale[kept])
        columns, levels, of = (tuple(part[i] for i in kept) for part in (self.columns, self.levels, self.of))
        return Features([self.names[i] for i in kept], self.centre[kept], self.scale[kept], columns, levels, of)


def features_data(centre: Floats, std: Floats, names: Sequence[str] = ()) -> Features:
    """Mean and standard deviation (D,) of each column of real numbers; a constant column has scale 1."""
    std = np.asarray(std, dtype=np.float64).ravel()
    return Features(named(names, len(std)), np.asarray(centre, np.float64).ravel(), np.where(std > 0, std, 1.0))


def columns_features(rows: Floats, columns: Sequence[Column]) -> Features:
    """The columns of a table, with centres and scales from some of its rows (n, D)."""
    names = named([column.name for column in columns if column.name], len(columns))
    places = tuple(range(len(columns)))
    return _scaled(rows, Features(names, np.empty(0), np.empty(0), tuple(columns), (-1,) * len(columns), places))


def quantities_data(rows: Floats, columns: Sequence[Column]) -> Features:
    """The numbers of a table and the shares of its levels, those that vary in its rows (n, D): of a binary column the
    second level, of many the most frequent.
    """
    known, names, parts = named([column.name for column in columns if column.name], len(columns)), [], []
    for j, column in enumerate(columns):
        if not column.has_levels:
            names.append(known[j])
            parts.append((column, -1, j))
            continue
        for level in [1] if len(column.levels) == 2 else frequent(rows[:, j], column)[:LEVELS]:
            names.append(f"{known[j]} = {column.levels[level]}")
            parts.append((column, level, j))
    own, levels, of = zip(*parts, strict=True)
    every = Features(names, np.empty(0), np.empty(0), own, levels, of)
    varies = moments(every.seen(every.spread(rows)))[1] > 0
    found = _scaled(rows, every)
    return found.some(np.flatnonzero(varies)) if varies.any() else found


def _scaled(rows: Floats, features: Features) -> Features:
    mean, std = moments(features.seen(features.spread(rows)))
    std = np.where(std > 0, std, 1.0)
    return Features(features.names, mean, std, features.columns, features.levels, features.of)


def named(names: Sequence[str], count: int) -> list[str]:
    """Names of columns; numbered if they have none."""
    return [str(name) for name in names] if len(names) == count else [f"feature {i + 1}" for i in range(count)]


def moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (D,) of the values (n, D) that are there; 0 where none are."""
    there = ~np.isnan(values)
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, values, 0.0).sum(0) / count
    return mean, np.sqrt((np.where(there, values - mean, 0.0) ** 2).sum(0) / count)


def mean_square(errors: Floats) -> Floats:
    """Root mean square (D,) of errors (n, D) over those that are there; 0 where none are."""
    there = ~np.isnan(errors)
    squares: Floats = np.where(there, errors, 0.0) ** 2
    found: Floats = np.sqrt(squares.sum(0) / np.maximum(there.sum(0), 1))
    return found


def quantiles(values: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles (q, D) of the values (n, D) that are there; NaN where none are."""
    some = ~np.isnan(values).all(0)
    found = np.full((len(levels), values.shape[1]), np.nan)
    if some.any():
        found[:, some] = np.nanquantile(values[:, some], levels, axis=0)
    return found


def on_axis(column: Column | None, values: Floats) -> Floats:
    """Values of a column as places on its axis: logarithmic for positive numbers and counts."""
    if column is None or column.kind not in ("positive", "count"):
        return values
    return np.log(np.maximum(values, 1e-300)) if column.kind == "positive" else np.log1p(np.maximum(values, 0))


def nearest(values: Floats, column: Column) -> Ints:
    """The number of the level nearest to each value (n,); -1 where missing."""
    found: Ints = np.abs(np.nan_to_num(values)[..., None] - np.array(column.values)).argmin(-1)
    return np.where(np.isnan(values), -1, found)


def share_of_level(values: Floats, column: Column, level: int) -> Floats:
    """1 where a value is that level's, 0 where it is a neighbour's, in between by interpolation; NaN where missing."""
    own = np.zeros(len(column.values))
    own[level] = 1.0
    return np.where(np.isnan(values), np.nan, np.interp(np.nan_to_num(values), column.values, own))


def frequent(values: Floats, column: Column) -> list[int]:
    """The levels of a column by falling frequency in its values (n,); of an ordered column in order."""
    if column.kind == "ordinal":
        return list(range(len(column.levels)))
    places = nearest(np.asarray(values, np.float64), column)
    counts = np.bincount(places[places >= 0], minlength=len(column.levels))
    return [int(level) for level in np.argsort(-counts, kind="stable")]


def written(column: Column | None, value: float) -> str:
    """A value as the table writes it: a level's name, a date, a whole count."""
    if np.isnan(value):
        return "missing"
    if column is not None and (column.has_levels or column.kind == "date"):
        return str(as_written(np.array([value]), column)[0])
    if column is not None and column.kind == "count":
        return table_value(round(value)) if value >= 10 or value == round(value) else f"{value:.1f}"
    return table_value(value)


__all__ = ["Features", "columns_features", "features_data", "quantities_data"]
