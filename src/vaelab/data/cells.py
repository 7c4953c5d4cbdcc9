"""The cells of a table, column by column, as a matrix of numbers: text becomes indices, dates become days."""

from __future__ import annotations

import dataclasses
import decimal
import math
import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import dates
from vaelab.data.columns import Column, Kind
from vaelab.data.dataset import Array
from vaelab.data.limits import MOST_TEXT, check_texts
from vaelab.data.raw import Category
from vaelab.data.reading import DATE_FORMAT, Type, kind_of
from vaelab.data.stray import marker_notes, no_numbers, refuse_stray
from vaelab.data.types import numeric_order, written
from vaelab.data.values import Columns, narrowed, quote, refuse_rounded
from vaelab.errors import InputError

Floats = npt.NDArray[np.float64]

MANY_LEVELS = 20  # of text; more than that, if they are half of the rows, are names or free text
ALMOST_ALL = 0.95  # of rows: so many different values are ids of which some are there twice
MISSING = ("<NA>", "NaT", "nan")  # as pandas writes them

Unseen = dict[str, dict[int, str]]  # levels that training did not have: by column and row


@dataclasses.dataclass(frozen=True)
class Cells:
    """A table as numbers x (N, D), NaN where missing."""

    x: Array
    names: tuple[str, ...]
    levels: Mapping[int, tuple[str, ...]]  # of columns of text, and of those whose levels are given
    kinds: Mapping[int, Kind]  # that are known from more than the values
    formats: Mapping[str, str]  # how text that is a date was written, by column
    stamped: tuple[str, ...]  # columns of dates with times that are no text
    left_out: Mapping[str, str]  # columns that cannot be modelled, and why
    notes: tuple[str, ...]


def cells_of(
    columns: Columns,
    what: str,
    types: Mapping[str, Type] | None = None,
    categories: Mapping[str, Category] | None = None,
) -> Cells:
    """The cells of a table as read. Text that is not a category is left out, unless a type is given for it."""
    if not columns:
        raise InputError(f"{what} must have at least one column besides the target, but has none; add columns.")
    length = len(next(iter(columns.values())))
    if length == 0:
        raise InputError(f"{what} must hold rows below its header, but has 0; it is empty, add data.")
    table = _Table(what, length, types or {}, categories or {})
    for name, values in columns.items():
        table.add(name, values)
    if not table.names:
        raise InputError(
            f"{what} must have a column to model, but all of them are empty or hold names or free text; add columns."
        )
    x = narrowed(np.stack(table.found, axis=1), what, table.names)
    if table.stamped or any(dates.has_hours(form) for form in table.formats.values()):
        x = np.stack(table.found, axis=1)  # float32 holds days since 1970 to the minute
    return Cells(
        x, tuple(table.names), table.levels, table.kinds, table.formats, tuple(table.stamped), table.left_out,
        tuple(table.notes),
    )  # fmt: skip


class _Table:
    """The columns of a table that are converted so far."""

    def __init__(self, what: str, length: int, types: Mapping[str, Type], categories: Mapping[str, Category]):
        self.what, self.length, self.types, self.categories = what, length, types, categories
        self.found: list[Floats] = []
        self.names: list[str] = []
        self.levels: dict[int, tuple[str, ...]] = {}
        self.kinds: dict[int, Kind] = {}
        self.formats: dict[str, str] = {}
        self.stamped: list[str] = []
        self.left_out: dict[str, str] = {}
        self.notes: list[str] = []

    def add(self, name: str, values: Array) -> None:
        given, category = self.types.get(name), self.categories.get(name)
        numeric = given is not None and kind_of(given) in ("real", "positive", "count")
        if isinstance(given, tuple):
            self._levels(name, values, given, "ordinal")
        elif category is not None and (given is None or kind_of(given) in ("binary", "categorical", "ordinal")):
            levels = category.levels
            check_texts(levels, f"column {quote(name)}", "level")
            self._levels(name, values, levels, _kind_of(category) if given is None else None)
        elif given is not None and kind_of(given) == "date" and is_text(values):
            self._dates(name, values, given)
        elif is_text(values):
            texts = texts_of(values)
            if numeric:
                self._keep(name, _read_numbers(texts, name, self.what))
            else:
                self._text(name, texts, is_typed=given is not None)
        else:
            numbers_ = number_column(values, name, self.what)
            if np.isnan(numbers_).all() and given is None:
                self.left_out[name] = "no values"
                return
            if is_date(values):
                self.kinds[len(self.names)] = "date"
                if dates.has_times(numbers_):
                    self.stamped.append(name)
            self._keep(name, numbers_)

    def _keep(self, name: str, values: Floats) -> None:
        self.found.append(values)
        self.names.append(name)

    def _levels(self, name: str, values: Array, levels: tuple[str, ...], kind: Kind | None) -> None:
        """A column whose levels are known."""
        if kind is not None:
            self.kinds[len(self.names)] = kind
        self.levels[len(self.names)] = levels
        places = tuple(float(i) for i in range(len(levels)))
        self._keep(name, levels_of(values, Column(name, "categorical", levels, places), self.what))

    def _dates(self, name: str, values: Array, given: Type) -> None:
        texts = texts_of(values)
        assert isinstance(given, str)
        form = given.removeprefix(DATE_FORMAT) if given.startswith(DATE_FORMAT) else None
        if form is None:
            form = next(iter(dates.formats_of(texts)), None)
        if form is None:
            raise _not_a_date(texts, name, self.what)
        self.kinds[len(self.names)] = "date"
        self.formats[name] = form
        self._keep(name, _read_dates(texts, form, name, self.what))

    def _text(self, name: str, texts: Array, is_typed: bool) -> None:
        if not is_typed:
            refuse_stray(texts, name, self.what)
            forms = dates.formats_of(texts)
            if forms:
                if len(forms) > 1:
                    self.notes.append(
                        f"column {quote(name)} could be dates written {forms[0]} or {forms[1]}: the first is taken; "
                        f'the type "{DATE_FORMAT}{forms[1]}" is the other.'
                    )
                self._dates(name, texts, DATE_FORMAT + forms[0])
                return
        own = numeric_order({text for text in texts if text is not None})
        if not is_typed:
            told = sum(text is not None for text in texts)
            why = ""
            if not own:
                why = "no values"
            elif len(own) > max(MANY_LEVELS, self.length // 2) or (len(own) == told > MANY_LEVELS / 2):
                ways = dates.mixture_of(texts)
                why = f"text with {len(own):,} different values{_almost_ids(texts)}"
                if ways:
                    why = f"dates written in several ways, such as {ways[0]} and {ways[-1]}"
            elif max(map(len, own)) > MOST_TEXT:
                why = f"text of up to {max(map(len, own)):,} characters"
            if why:
                self.left_out[name] = why
                return
            self.notes += _rare_levels(texts, name)
        else:
            check_texts(texts, f"column {quote(name)}")
        self.notes += marker_notes(own, name)
        place = {text: float(i) for i, text in enumerate(own)}
        self.levels[len(self.names)] = own
        self._keep(name, np.array([np.nan if text is None else place[text] for text in texts]))


def _almost_ids(texts: Array) -> str:
    """What keeps text (n,) that differs in almost all rows from naming them; "" if it does not."""
    amounts = Counter(text for text in texts if text is not None)
    most, rows = amounts.most_common(1)[0]
    if rows == 1 or len(amounts) < ALMOST_ALL * len(texts):
        return ""
    return f", not one for each row: {quote(most)} is in {rows}; as `id` they name rows all the same"


def _rare_levels(texts: Array, name: str) -> list[str]:
    """A note on a column of many levels that are hardly ever repeated: a model learns nothing of a level seen once."""
    amounts = Counter(text for text in texts if text is not None)
    once = sum(rows == 1 for rows in amounts.values())
    if len(amounts) <= MANY_LEVELS or 2 * once <= len(amounts):
        return []
    return [
        f"column {quote(name)} has {len(amounts):,} levels, of which {once:,} are in one row alone, as in free text: "
        "`drop` it, unless its levels are categories (`types` says so)."
    ]


def _kind_of(category: Category) -> Kind:
    if category.is_ordered and len(category.levels) > 2:
        return "ordinal"
    return "binary" if len(category.levels) == 2 else "categorical"


def is_text(values: Array) -> bool:
    """Whether a column as read holds text."""
    return values.dtype.kind == "U" or (values.dtype.kind == "O" and any(isinstance(v, str) for v in values))


def is_date(values: Array) -> bool:
    """Whether a column as read holds dates or times."""
    return dates.is_date(values)


def missing_or_text(value: Any) -> str | None:
    """A cell as text; None if it is missing."""
    if value is None or (isinstance(value, (float, np.floating)) and value != value):
        return None
    if isinstance(value, (numbers.Real, np.bool_)):
        if isinstance(value, (numbers.Integral, np.bool_)):
            return str(int(value))
        number = value if isinstance(value, np.floating) else float(value)
        return written(number) if math.isfinite(number) else str(number)
    text = str(value)
    return None if text in MISSING and not isinstance(value, str) else text


def texts_of(values: Array) -> Array:
    """The cells of a column as text (n,), None where missing."""
    if is_date(values):
        return dates.as_text(values)
    out = np.empty(len(values), dtype=object)
    out[:] = [missing_or_text(value) for value in values]
    return out


def number_column(values: Array, name: str, what: str) -> Floats:
    """A column of numbers or dates (n,) in float64, NaN where missing."""
    if is_date(values):
        return dates.days(values)
    if values.dtype.kind in "buif":
        out = values.astype(np.float64)
        if values.dtype.kind in "ui" and values.dtype.itemsize == 8:
            refuse_rounded(values[:, None], out[:, None], 0, what, [name])
    elif values.dtype.kind == "m":
        out = np.where(np.isnat(values), np.nan, values / np.timedelta64(1, "s"))
    elif values.dtype.kind == "O":
        out = np.array([_number(value, row, name, what) for row, value in enumerate(values)], dtype=np.float64)
    else:
        raise InputError(
            f"{what} must hold numbers, text or dates, but column {quote(name)} is of type {values.dtype}; convert or "
            "drop it."
        )
    if np.isinf(out).any():
        row, count = int(np.argmax(np.isinf(out))), int(np.isinf(out).sum())
        raise InputError(
            f"{what} must hold finite numbers, but {count} of column {quote(name)} {'is' if count == 1 else 'are'} "
            f"infinite (inf), the first in row {row}; drop those rows or leave them empty."
        )
    return out


def _number(value: Any, row: int, name: str, what: str) -> float:
    if value is None:
        return np.nan
    if isinstance(value, (numbers.Real, np.bool_, decimal.Decimal)):
        try:
            number = float(value)
        except OverflowError:
            return np.inf
        if isinstance(value, numbers.Integral) and int(number) != int(value):
            refuse_rounded(np.array([[value]], dtype=object), np.array([[number]]), row, what, [name])
        return number
    if str(value) in MISSING:
        return np.nan
    raise InputError(
        f"{what} must hold numbers, text or dates, but column {quote(name)} holds {quote(repr(value))} "
        f"({type(value).__name__}) in row {row}; convert or drop it."
    )


def _read_numbers(texts: Array, name: str, what: str) -> Floats:
    """Text that is to be numbers."""
    for row, text in no_numbers(texts)[:1]:
        raise InputError(
            f"{what} must hold numbers in column {quote(name)}, but row {row} holds {quote(text)}; correct it, or "
            f"give `na` {quote(text)} if it stands for a missing value."
        )
    return number_column(np.array([np.nan if t is None else float(t) for t in texts]), name, what)


def _read_dates(texts: Array, form: str, name: str, what: str) -> Floats:
    found = dates.parsed(texts, form)
    wrong = np.flatnonzero(np.isnan(found) & np.array([text is not None for text in texts]))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{what} must hold dates like {form} in column {quote(name)}, but row {row} holds {quote(texts[row])}; "
            "correct it or leave it empty."
        )
    return found


def _not_a_date(texts: Array, name: str, what: str) -> InputError:
    cell = next((text for text in texts if text is not None), "")
    return InputError(
        f"{what} must hold dates in column {quote(name)}, but holds {quote(cell)}; tell how they are written with a "
        f'type such as "{DATE_FORMAT}%d %b %Y".'
    )


def recode(
    columns: Columns,
    known: Sequence[Column],
    what: str,
    types: Mapping[str, Type] | None = None,
    unseen: Unseen | None = None,
    formats: dict[str, str] | None = None,
) -> Array:
    """New rows of a table as numbers (n, D), by the columns of a model: text by the same levels.

    types: as in training; they hold how dates are written. unseen: collects levels that the columns do not have, whose
    cells are then missing; by default such a level is refused. formats: collects how dates of text are written.
    """
    formats = {} if formats is None else formats
    found = []
    for column in known:
        values, name = columns[column.name], column.name
        if column.has_levels:
            found.append(levels_of(values, column, what, unseen))
        elif not is_text(values):
            found.append(number_column(values, name, what))
            if is_date(values) and dates.has_times(found[-1]):
                formats[name] = dates.STAMP
        elif column.kind == "date":
            texts, given = texts_of(values), (types or {}).get(name, "date")
            assert isinstance(given, str)
            form = given.removeprefix(DATE_FORMAT) if given != "date" else next(iter(dates.formats_of(texts)), None)
            if form is None:
                raise _not_a_date(texts, name, what)
            formats[name] = form
            found.append(_read_dates(texts, form, name, what))
        else:
            found.append(_read_numbers(texts_of(values), name, what))
    rows = np.stack(found, axis=1)
    narrowed(rows, what, [column.name for column in known])  # refuses numbers beyond bounds; the model's type decides
    return rows


def levels_of(values: Array, column: Column, what: str, unseen: Unseen | None = None) -> Floats:
    """A column's cells (n,) as the values of its levels, NaN where missing; `unseen` as in `recode`."""
    place = dict(zip(column.levels, column.values, strict=True))
    texts = texts_of(values)
    other = {row: text for row, text in enumerate(texts) if text is not None and text not in place}
    if other and unseen is None:
        raise unknown_levels(other, column, what)
    if other and unseen is not None:
        unseen[column.name] = other
    return np.array([np.nan if text is None else place.get(text, np.nan) for text in texts], dtype=np.float64)


def check_levels(rows: Array, columns: Sequence[Column], what: str) -> None:
    """Reject rows of numbers (n, D) that hold a value which is none of its column's."""
    for j, column in enumerate(columns):
        if column.has_levels:
            strange = ~(np.isin(rows[:, j], np.array(column.values, rows.dtype)) | np.isnan(rows[:, j]))
            if strange.any():
                other = {int(row): written(float(rows[row, j])) for row in np.flatnonzero(strange)}
                raise unknown_levels(other, dataclasses.replace(column, name=column.name or str(j)), what)


def unknown_levels(other: Mapping[int, str], column: Column, what: str) -> InputError:
    """The refusal of levels, by row, that are none of their column's."""
    some = ", ".join(column.levels[:8]) + (", ..." if len(column.levels) > 8 else "")
    return InputError(
        f"column {quote(column.name)} must hold one of {some}, but {what} holds {rows_in_words(other)}; correct it, or "
        "leave it empty if it is unknown."
    )


def rows_in_words(other: Mapping[int, str]) -> str:
    """Texts by row, briefly: each with its first row.

    >>> rows_in_words({3: "d", 7: "d", 9: "e"})
    "'d' in row 3 and 1 more, 'e' in row 9"
    """
    first: dict[str, list[int]] = {}
    for row, text in other.items():
        first.setdefault(text, []).append(row)
    told = [
        f"{quote(text)} in row {rows[0]}" + (f" and {len(rows) - 1:,} more" if len(rows) > 1 else "")
        for text, rows in first.items()
    ]
    return ", ".join(told[:3]) + (f" and {len(told) - 3:,} more levels" if len(told) > 3 else "")


def as_columns(rows: Array, columns: Sequence[Column]) -> dict[str, Array]:
    """Rows (n, D) of a table as its columns, in their own words: levels, dates, and whole counts."""
    return {column.name or str(j): as_written(rows[:, j], column) for j, column in enumerate(columns)}


def as_written(values: Array, column: Column) -> Array:
    """A column's numbers (n,) as the table writes them: a level is the nearest one; None where missing."""
    if column.has_levels:
        nearest = np.abs(np.nan_to_num(values)[:, None] - np.array(column.values)).argmin(1)
        texts: Array = np.array(column.levels, dtype=object)[nearest]
        texts[np.isnan(values)] = None
        return texts
    if column.kind == "date":
        return dates.written(values)
    return values


__all__ = ["Cells", "Unseen", "as_columns", "as_written", "cells_of", "recode"]
