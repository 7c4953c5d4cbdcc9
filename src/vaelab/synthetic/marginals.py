"""Each column by itself: how far its distribution in synthetic rows is from that in real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from vaelab.data import Column

Floats = npt.NDArray[np.float64]


def marginals(columns: Sequence[Column], train: Floats, test: Floats, made: Floats) -> list[dict[str, Any]]:
    """For each column the distance of synthetic from test rows, and that of training from test rows; JSON-able.

    Numbers and dates: the Kolmogorov-Smirnov statistic, max_x |F(x) - G(x)|. Levels: the total variation,
    1/2 sum_l |p_l - q_l|. Both lie in [0, 1], and are over the cells that are filled; None where there are none.

    train, test, made: rows (n, D) in the table's own units, NaN where missing.

    >>> marginals([Column("a")], *np.array([[[0.0], [1.0]], [[0.0], [1.0]], [[1.0], [2.0]]]))[0]["distance"]
    0.5
    """
    found = []
    for j, column in enumerate(columns):
        parts = {"train": train[:, j], "test": test[:, j], "synthetic": made[:, j]}
        filled = {name: values[~np.isnan(values)] for name, values in parts.items()}
        own: dict[str, Any] = {
            "column": column.name,
            "kind": column.kind,
            "measure": "total variation" if column.has_levels else "Kolmogorov-Smirnov",
            "distance": distance(column, filled["synthetic"], filled["test"]),
            "of_training": distance(column, filled["train"], filled["test"]),
        }
        if column.has_levels:
            own["shares"] = {name: _shares(column, values) for name, values in filled.items()}
        else:
            own["mean"] = {name: float(values.mean()) if len(values) else None for name, values in filled.items()}
            own["sd"] = {name: float(values.std()) if len(values) else None for name, values in filled.items()}
        found.append(own)
    return found


def distance(column: Column, a: Floats, b: Floats) -> float | None:
    """The distance in [0, 1] of two samples (n,), (m,) of a column."""
    if not len(a) or not len(b):
        return None
    if column.has_levels:
        return float(0.5 * np.abs(shares(column, a) - shares(column, b)).sum())
    return float(ks_2samp(a, b, method="asymp").statistic)


def shares(column: Column, values: Floats) -> Floats:
    """The share (L,) of each level among values (n,), which are the column's."""
    counts = np.bincount(np.searchsorted(column.values, values), minlength=len(column.values))
    return np.asarray(counts / max(1, len(values)))


def _shares(column: Column, values: Floats) -> dict[str, float]:
    return dict(zip(column.levels, shares(column, values).tolist(), strict=True))
