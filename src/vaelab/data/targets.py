"""A numeric target: one number for each row; rows without one are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.cells import is_date, is_text, number_column, texts_of
from vaelab.data.raw import Raw
from vaelab.data.stray import no_numbers
from vaelab.data.values import as_array, quote
from vaelab.errors import InputError
from vaelab.wording import counted

FEWEST = 3  # different values; two are classes
LARGEST = 1e70  # fourth powers are added, for the errors of squared errors


def with_targets(raw: Raw, what: str) -> tuple[Raw, npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The rows whose target is not missing, their targets (n,), and their numbers (n,)."""
    if raw.y is None:
        raise InputError(f"a numeric target is needed, but {what} has none; name it as `target` (in Python: y).")
    if raw.x_test is not None:
        raise InputError("a numeric target has no separate test part; give one table, and say its rows with `split`.")
    y = target_values(raw.y, raw.target or "y")
    columns = list(raw.x.values()) if isinstance(raw.x, Mapping) else None
    if columns == [] or (columns is None and np.ndim(raw.x) == 0):
        raise InputError("the data must be rows of values, but there are none; give an array or a table.")
    n = len(columns[0]) if columns else np.shape(raw.x)[0]
    if len(y) != n:
        raise InputError(f"there must be one target per row, but there are {len(y):,} for {n:,} rows; match them.")
    there = ~np.isnan(y)
    if not there.all():
        raw = _of_rows(raw, there, what)
        left = counted(int((~there).sum()), "row")
        note = f"{left} without a target {'was' if left == '1 row' else 'were'} left out."
        raw, y = dataclasses.replace(raw, notes=(*raw.notes, note)), y[there]
    if len(y) and np.abs(y).max() > LARGEST:
        worst = y[np.argmax(np.abs(y))]
        raise InputError(f"targets must stay within ±{LARGEST:g}, but {_called(raw)} holds {worst:.3g}; rescale it.")
    distinct = len(np.unique(y))
    if distinct < FEWEST:
        raise InputError(
            f"a numeric target must have at least {FEWEST} different values, but {_called(raw)} has {distinct}; use "
            "`vaelab classify` for classes."
        )
    return raw, y, np.flatnonzero(there)


def target_values(values: Any, name: str) -> npt.NDArray[np.float64]:
    """Targets as numbers (n,), NaN where missing.

    >>> target_values([1, None, 2.5], "y")
    array([1. , nan, 2.5])
    """
    y = as_array(values, "the target")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise InputError(f"a target must be one number per row, but has the shape {y.shape}; give one column.")
    if is_text(y):
        for _, text in no_numbers(texts_of(y))[:1]:
            raise InputError(
                f"a numeric target must hold numbers, but {quote(name)} holds {quote(text)}; use `vaelab classify` for "
                f"classes, or give `na` {quote(text)} if it stands for a missing value."
            )
        y = np.array([np.nan if text is None else float(text) for text in texts_of(y)])
    elif is_date(y):
        raise InputError(f"a numeric target must hold numbers, but {quote(name)} holds dates; convert them.")
    return number_column(y, name, "the target")


def _called(raw: Raw) -> str:
    return quote(raw.target) if raw.target else "y"


def _of_rows(raw: Raw, there: npt.NDArray[np.bool_], what: str) -> Raw:
    """Some rows of everything that has one entry per row."""

    def some(values: Any) -> Any:
        return None if values is None else np.asarray(values)[there]

    x = raw.x
    x = {name: values[there] for name, values in x.items()} if isinstance(x, Mapping) else as_array(x, what)[there]
    return dataclasses.replace(raw, x=x, ids=some(raw.ids), group=some(raw.group), split=some(raw.split))
