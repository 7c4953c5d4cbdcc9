"""The columns of a table in its own words, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaelab.data.cells import as_written
from vaelab.data.columns import LARGEST_WHOLE, Column
from vaelab.data.dataset import Array


def written_columns(rows: Array, columns: Sequence[Column]) -> dict[str, Array]:
    """Rows (n, D) as columns by name, x0, x1, ... where they have none: levels, dates, and whole
    numbers.

    >>> written_columns(np.array([[1.0, 3.0]]), [Column("sex", "binary", ("f", "m"), (0.0, 1.0)), Column("n", "count")])
    {'sex': array(['m'], dtype=object), 'n': array([3])}
    """
    table = {}
    for j, column in enumerate(columns):
        values = as_written(rows[:, j], column)
        is_whole = column.rounded_to == 0 and bool(
            ((values == np.round(values)) & (np.abs(values) < LARGEST_WHOLE)).all()
        )
        table[column.name or f"x{j}"] = values.astype(np.int64) if is_whole else values
    return table


def digits_of(dtype: str) -> int:
    """The significant digits that data of this type hold."""
    return 15 if dtype == "float64" else 7


def csv_text(table: Mapping[str, Array], digits: int) -> str:
    """Columns by name as CSV, numbers with this many significant digits; empty where missing.

    >>> print(csv_text({"a": np.array([0.1, np.nan])}, 7), end="")
    a
    0.1
    ""
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(_cells(values, digits) for values in table.values()), strict=True))
    return text.getvalue()


def _cells(values: Array, digits: int) -> list[Any]:
    if values.dtype.kind != "f":
        return ["" if value is None else value for value in values.tolist()]
    return ["" if value != value else f"{value:.{digits}g}" for value in values.tolist()]
