"""A table for the page's script: what its columns are, and some of its rows in 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Column, Dataset
from vaelab.plots.dataset import columns_of
from vaelab.plots.features import nearest, on_axis
from vaelab.vae.decoder_export import packed

Array = npt.NDArray[Any]

STEPS = 65_534  # between the lowest and the highest value of a column; the code above it is a missing value


def table_data(data: Dataset) -> dict[str, Any]:
    """Names and kinds of the columns, their levels by number, and their spread on their axes."""
    features = columns_of(data)
    assert features is not None
    levels = {j: column for j, column in enumerate(data.columns) if column.has_levels}
    return {
        "names": features.names,
        "kinds": [column.kind for column in data.columns] or ["real"] * data.shape[0],
        "levels": {str(j): list(column.levels) for j, column in levels.items()},
        "values": {str(j): list(column.values) for j, column in levels.items()},
        "spread": [float(f"{scale:.4g}") for scale in features.scale.tolist()],
    }


def packed_rows(rows: Array, data: Dataset) -> dict[str, Any]:
    """Rows (n, D): levels by their number, other values as steps between the lowest and highest on the column's axis.

    Counts over more steps than there are, and positive numbers, are on logarithmic axes.
    """
    columns = data.columns or tuple(Column("") for _ in range(rows.shape[1]))
    codes = np.full(rows.shape, STEPS + 1, np.uint16)
    low, high, logs = np.zeros(len(columns)), np.zeros(len(columns)), []
    for j, column in enumerate(columns):
        values: Array = rows[:, j].astype(np.float64)
        there = ~np.isnan(values)
        if not there.any():
            continue
        if column.has_levels:
            codes[there, j] = nearest(values[there], column)
            continue
        if column.kind == "positive" or (column.kind == "count" and np.ptp(values[there]) > STEPS):
            logs.append(j)
            values = on_axis(column, values)
        low[j], high[j] = values[there].min(), values[there].max()
        span = high[j] - low[j] or 1.0
        codes[there, j] = np.round((values[there] - low[j]) / span * STEPS)
    return {"values": packed(codes, "<u2"), "low": low.tolist(), "high": high.tolist(), "logs": logs}
