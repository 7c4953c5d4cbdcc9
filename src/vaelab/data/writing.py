"""The columns of a table in its own words, and as CSV in its own style."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaelab.data import dates
from vaelab.data.cells import as_written
from vaelab.data.columns import LARGEST_WHOLE, Column
from vaelab.data.dataset import Array
from vaelab.data.style import ISO, Style


def written_columns(rows: Array, columns: Sequence[Column], style: Style | None = ISO) -> dict[str, Array]:
    """Rows (n, D) as columns by name, x0, x1, ... where they have none: levels, dates, and whole
    numbers; dates are text in this style, or with None times.

    >>> written_columns(np.array([[1.0, 3.0]]), [Column("sex", "binary", ("f", "m"), (0.0, 1.0)), Column("n", "count")])
    {'sex': array(['m'], dtype=object), 'n': array([3])}
    """
    return {column.name or f"x{j}": _written(rows[:, j], column, style) for j, column in enumerate(columns)}


def _written(values: Array, column: Column, style: Style | None) -> Array:
    if column.kind == "date":
        if style is None:
            return dates.times(values)
        form = style.dates.get(column.name)
        return dates.written(values) if form is None else dates.formatted(values, form)
    words = as_written(values, column)
    if style is not None and style.decimal != "." and column.has_levels and column.is_numeric:
        return np.array([None if each is None else each.replace(".", style.decimal) for each in words], dtype=object)
    is_whole = column.rounded_to == 0 and bool(((words == np.round(words)) & (np.abs(words) < LARGEST_WHOLE)).all())
    return words.astype(np.int64) if is_whole else words


def digits_of(dtype: str) -> int:
    """The significant digits that data of this type hold."""
    return 15 if dtype == "float64" else 7


def csv_text(table: Mapping[str, Array], digits: int, style: Style = ISO) -> str:
    """Columns by name as CSV in this style, numbers with this many significant digits.

    >>> print(csv_text({"a": np.array([0.1, np.nan]), "b": np.array(["x", None])}, 7, Style(";", ",")), end="")
    a;b
    0,1;x
    ;
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter=style.delimiter, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(_cells(values, digits, style) for values in table.values()), strict=True))
    return text.getvalue()


def _cells(values: Array, digits: int, style: Style) -> list[Any]:
    if values.dtype.kind != "f":
        return [style.missing if value is None else value for value in values.tolist()]
    return [style.missing if value != value else style.number(value, digits) for value in values.tolist()]
