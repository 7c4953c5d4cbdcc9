"""Whether the cells of a file can be cells of the table: levels it knows, whole counts, positive numbers, dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Column, Reading, dates
from vaelab.data.cells import is_text, number_column, texts_of
from vaelab.data.reading import DATE_FORMAT
from vaelab.data.stray import reads_as_number

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
WRITTEN = "%Y-%m-%d"  # dates in what vaelab writes
RULES = {
    "real": "a number", "positive": "a positive number", "count": "a whole number of at least 0",
    "binary": "a level of the table", "categorical": "a level of the table", "ordinal": "a level of the table",
    "date": "a date",
}  # fmt: skip


def checked(table: Mapping[str, Any], columns: Sequence[Column], reading: Reading) -> tuple[Floats, Bools, list[str]]:
    """Columns as read from a file as rows (n, D) of the table, NaN where missing or invalid; which cells (n, D) are
    invalid; and an example of each column, "" if all its cells are valid.

    Unlike new rows for a model, which are refused, rows to be judged may hold what the table cannot.

    >>> rows, invalid, such_as = checked({"n": np.array([1.0, 2.5, np.nan])}, [Column("n", "count")], Reading())
    >>> rows[:, 0].tolist(), invalid[:, 0].tolist(), such_as
    ([1.0, nan, nan], [False, True, False], ['2.5'])
    """
    found, wrong, examples = [], [], []
    for column in columns:
        cells = np.asarray(table[column.name])
        values, told = _numbers(cells, column, reading)
        if column.kind == "positive":
            values[values <= 0] = np.nan
        if column.kind == "count":
            values[(values < 0) | (values != np.round(values))] = np.nan
        invalid = told & np.isnan(values)
        found.append(values)
        wrong.append(invalid)
        examples.append(str(texts_of(cells)[np.argmax(invalid)]) if invalid.any() else "")
    return np.stack(found, 1), np.stack(wrong, 1), examples


def _numbers(cells: npt.NDArray[Any], column: Column, reading: Reading) -> tuple[Floats, Bools]:
    """A column as numbers (n,), NaN where missing or unreadable, and which cells (n,) hold anything."""
    if not column.has_levels and not is_text(cells):
        values = np.array(number_column(cells, column.name, "the file"))
        return values, ~np.isnan(values)
    texts = texts_of(cells)
    told = np.array([text is not None for text in texts], dtype=bool)
    if column.has_levels:
        place = dict(zip(column.levels, column.values, strict=True))
        return np.array([place.get(text, np.nan) for text in texts], dtype=np.float64), told
    if column.kind == "date":
        given = reading.types.get(column.name, "date")
        assert isinstance(given, str)
        forms = [*([given.removeprefix(DATE_FORMAT)] if given != "date" else dates.formats_of(texts)), WRITTEN]
        # As the table writes them, or as `sample` does: whichever reads more.
        return max((dates.parsed(texts, form) for form in forms), key=lambda own: (~np.isnan(own)).sum()), told
    return np.array([float(t) if t is not None and reads_as_number(t) else np.nan for t in texts]), told


def validity(
    columns: Sequence[Column], made: Floats, invalid: Bools, examples: Sequence[str], train: Floats
) -> dict[str, Any]:
    """The share of rows whose cells are all valid, the columns with invalid cells, and those with numbers beyond the
    lowest and highest of training rows, which are possible but new; JSON-able.
    """
    wrong, beyond = [], []
    for j, column in enumerate(columns):
        if invalid[:, j].any():
            wrong.append(
                {
                    "column": column.name, "must_be": RULES[column.kind], "cells": int(invalid[:, j].sum()),
                    "such_as": examples[j],
                }
            )  # fmt: skip
        known = train[~np.isnan(train[:, j]), j]
        if not column.has_levels and len(known):
            outside = int(((made[:, j] < known.min()) | (made[:, j] > known.max())).sum())
            if outside:
                beyond.append({"column": column.name, "cells": outside})
    return {
        "rows": len(made),
        "valid": float(1 - invalid.any(1).mean()),
        "invalid": wrong,
        "beyond_training": beyond,
        "missing_cells": int((np.isnan(made) & ~invalid).sum()),
    }
