"""By what the page's map colours its points: columns of a table and scores of the models, one byte per point."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Column, Dataset
from vaelab.plots.features import nearest, on_axis
from vaelab.settings.yardsticks import SEARCH_DRAWS
from vaelab.vae.decoder_export import packed
from vaelab.vae.fitted import Fitted
from vaelab.vae.row_costs import row_costs

Array = npt.NDArray[Any]

BYTES, COLUMNS = 1_200_000, 40  # limits of a page, before base64
SCORED = 20_000  # points of a page; of more, scores take longer than the rest of the page
STEPS, UNKNOWN = 254, 255
ENDS = (0.02, 0.98)  # quantiles: beyond them all points have the colour of the end


def columns(data: Dataset, rows: Array) -> tuple[list[dict[str, Any]], int]:
    """Codes of the first columns of a table that differ between rows, and how many more there are."""
    if data.is_image:
        return [], 0
    kinds = data.columns or tuple(Column("") for _ in range(data.shape[0]))
    most, left = min(COLUMNS, BYTES // len(rows)), 0
    found: list[dict[str, Any]] = []
    for j, column in enumerate(kinds):
        coded = None if len(found) == most else _coded(data.flat[rows, j].astype(np.float64), column)
        left += len(found) == most
        if coded is not None:
            found.append({"column": j} | coded)
    return found, left


def scores(fitted: Fitted, rows: Array) -> dict[str, Any] | None:
    """Codes of the bound on -log p(x) of rows (n, D); None for too many rows."""
    if len(rows) > SCORED:
        return None
    return _coded(row_costs(fitted, rows, SEARCH_DRAWS), Column(""))


def _coded(values: Array, column: Column) -> dict[str, Any] | None:
    """Levels by their number; other values as steps between two quantiles of the column's axis; None if they agree."""
    codes = np.full(len(values), UNKNOWN, np.uint8)
    known = np.isfinite(values)
    if len(np.unique(values[known])) < 2:
        return None
    if column.has_levels:
        if len(column.levels) > STEPS:
            return None
        codes[known] = nearest(values[known], column)
        return {"codes": packed(codes, "u1")}
    low, high = np.quantile(values[known], ENDS)
    if low == high:
        low, high = values[known].min(), values[known].max()
    start, end = on_axis(column, np.array([low, high]))
    codes[known] = np.round(np.clip((on_axis(column, values[known]) - start) / (end - start), 0, 1) * STEPS)
    return {"low": float(low), "high": float(high), "codes": packed(codes, "u1")}
