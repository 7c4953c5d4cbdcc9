"""How strongly each pair of columns depends on each other, and how far synthetic rows are from real ones in this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from vaelab.data import Column

Floats = npt.NDArray[np.float64]
LEAST = 20  # rows in which both columns of a pair must be filled, or all rows of a smaller table


def associations(columns: Sequence[Column], rows: Floats, constant: float = np.nan) -> Floats:
    r"""The association of each pair of columns, (D, D), with 1 on the diagonal; NaN where a pair is rarely filled.

    Numbers, dates and ordered levels, in [-1, 1]: Spearman's correlation. Levels, in [0, 1]: Cramér's V with
    Bergsma's correction. One of each, in [0, 1]: the correlation ratio of ranks, corrected for the number of levels,
    \eta^2 = 1 - (1 - SS_between / SS_total) (n - 1) / (n - L). A pair of which one does not vary, in the rows in
    which both are filled, has none: `constant`.

    rows: (n, D) in the table's own units, NaN where missing; each pair is over the rows in which both are filled.

    Source: W. Bergsma, A bias-correction for Cramér's V and Tschuprow's T, 2013.

    >>> x = np.arange(20.0)
    >>> associations([Column("a"), Column("b")], np.stack([x, -(x**3)], 1)).round(6).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    D = len(columns)
    named = np.array([column.has_levels and column.kind != "ordinal" for column in columns])
    found = np.full((D, D), np.nan)
    numbers, levels = np.flatnonzero(~named), np.flatnonzero(named)
    ranks = np.stack([_ranks(rows[:, j]) for j in numbers], 1) if len(numbers) else np.empty((len(rows), 0))
    there = ~np.isnan(ranks)
    least = min(LEAST, len(rows))
    found[np.ix_(numbers, numbers)] = _correlations(ranks, there, least, constant)
    indicators = {j: _indicators(columns[j], rows[:, j]) for j in levels.tolist()}
    for place, j in enumerate(levels.tolist()):
        own = indicators[j]
        for other in levels[place + 1 :].tolist():
            found[j, other] = found[other, j] = _cramers_v(own.T @ indicators[other], least, constant)
        found[j, numbers] = found[numbers, j] = _ratios(own, ranks, there, least, constant)
    np.fill_diagonal(found, 1.0)
    return found


def compare(columns: Sequence[Column], train: Floats, test: Floats, made: Floats) -> dict[str, Any]:
    """The associations in test, training and synthetic rows, and the mean absolute difference of the last two from the
    first, over the pairs that all have; JSON-able.

    A pair of which one does not vary in real rows, as where both are never filled together, has no association that
    synthetic rows could meet. Where it does not vary in these alone they have missed one, which counts as 0.
    """
    matrices = {name: associations(columns, rows) for name, rows in (("test", test), ("train", train))}
    matrices["synthetic"] = associations(columns, made, constant=0.0)
    i, j = np.triu_indices(len(columns), 1)
    known = np.all([~np.isnan(matrix[i, j]) for matrix in matrices.values()], 0)
    i, j = i[known], j[known]
    apart = {name: np.abs(matrices[name][i, j] - matrices["test"][i, j]) for name in ("synthetic", "train")}
    worst = np.argsort(-apart["synthetic"], kind="stable")[:10]
    return {
        "columns": [column.name for column in columns],
        "pairs": len(i),
        "difference": float(apart["synthetic"].mean()) if len(i) else None,
        "of_training": float(apart["train"].mean()) if len(i) else None,
        "matrices": {
            name: [[None if v != v else v for v in row] for row in matrix.tolist()] for name, matrix in matrices.items()
        },
        "largest": [
            {
                "columns": [columns[i[k]].name, columns[j[k]].name],
                **{name: float(matrix[i[k], j[k]]) for name, matrix in matrices.items()},
            }
            for k in worst
        ],
    }


def _ranks(values: Floats) -> Floats:
    """Ranks (n,) of the filled cells, from -1/2 to 1/2, so that sums of squares do not cancel."""
    ranks = np.asarray(rankdata(values, nan_policy="omit"))
    count = max(1, int((~np.isnan(ranks)).sum()))
    return np.asarray((ranks - (count + 1) / 2) / count)


def _correlations(ranks: Floats, there: npt.NDArray[np.bool_], least: int, constant: float) -> Floats:
    """Pearson correlations (c, c) of ranks (n, c), each over the rows in which both are filled."""
    x, held = np.where(there, ranks, 0.0), there.astype(np.float64)
    count = held.T @ held
    some = np.maximum(count, 1)
    sums, squares = x.T @ held / some, (x**2).T @ held / some
    spread = np.sqrt(np.maximum(squares - sums**2, 0.0))
    size = spread * spread.T
    varies = size > 1e-12
    found = np.clip(np.where(varies, (x.T @ x / some - sums * sums.T) / np.where(varies, size, 1.0), constant), -1, 1)
    return np.asarray(np.where(count >= least, found, np.nan))


def _indicators(column: Column, values: Floats) -> Floats:
    """1 for the level of each row (n, L), 0 elsewhere, also where it is missing."""
    return np.asarray((values[:, None] == np.array(column.values)).astype(np.float64))


def _cramers_v(table: Floats, least: int, constant: float) -> float:
    """Bias-corrected Cramér's V of a contingency table (r, c)."""
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    n = table.sum()
    if n < least:
        return np.nan
    r, c = table.shape
    if min(r, c) < 2:
        return constant
    expected = np.outer(table.sum(1), table.sum(0)) / n
    phi2 = max(0.0, ((table - expected) ** 2 / expected).sum() / n - (r - 1) * (c - 1) / (n - 1))
    r, c = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    return float(min(1.0, np.sqrt(phi2 / max(min(r, c) - 1, 1e-12))))


def _ratios(indicators: Floats, ranks: Floats, there: npt.NDArray[np.bool_], least: int, constant: float) -> Floats:
    """Correlation ratios (c,) of ranks (n, c) with levels (n, L)."""
    x, known = np.where(there, ranks, 0.0), indicators.sum(1)
    counts, sums = indicators.T @ there, indicators.T @ x  # (L, c)
    n = counts.sum(0)
    total = known @ x**2 - (known @ x) ** 2 / np.maximum(n, 1)
    between = (sums**2 / np.maximum(counts, 1)).sum(0) - (known @ x) ** 2 / np.maximum(n, 1)
    groups = (counts > 0).sum(0)
    varies = (total > 1e-12) & (groups > 1) & (n > groups)
    share = np.where(varies, between / np.where(varies, total, 1.0), 0.0)
    corrected = 1 - (1 - share) * (n - 1) / np.where(varies, n - groups, 1)
    found = np.where(varies, np.sqrt(np.clip(corrected, 0, 1)), constant)
    return np.asarray(np.where(n >= least, found, np.nan))
