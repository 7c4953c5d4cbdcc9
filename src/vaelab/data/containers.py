"""Data frames of pandas and polars as containers: numbers of a model become columns in the table's own words."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vaelab.data.cells import as_written, missing_or_text
from vaelab.data.columns import Column
from vaelab.data.dataset import Array
from vaelab.data.dates import EPOCH
from vaelab.data.reading import DATE_FORMAT, Type
from vaelab.data.types import written

Library = Literal["pandas", "polars"]
Sort = Literal["category", "text", "flag", "whole", "number", "time", "day", "span"]
NUMERIC: Mapping[str, Sort] = {"b": "flag", "i": "whole", "u": "whole", "f": "number", "M": "time", "m": "span"}
POLARS: Mapping[str, Sort] = {
    "Categorical": "category", "Enum": "category", "String": "text", "Boolean": "flag", "Date": "day",
    "Datetime": "time", "Duration": "span",
}  # fmt: skip


def library_of(x: Any) -> Library | None:
    """The library whose data frame x is; None if it is none."""
    for base in type(x).__mro__:
        root = base.__module__.partition(".")[0]
        if base.__name__ == "DataFrame" and root in ("pandas", "polars"):
            return "pandas" if root == "pandas" else "polars"
    return None


@dataclasses.dataclass(frozen=True)
class Look:
    """How a column of a data frame is stored: its type, and the sort of values in it."""

    dtype: Any
    sort: Sort

    @classmethod
    def of(cls, series: Any) -> Look | None:
        """That of a column; None if it holds no value that could tell."""
        dtype = series.dtype
        title = type(dtype).__name__
        if title == "CategoricalDtype":
            return cls(dtype, "category")
        if hasattr(series, "to_physical"):  # polars
            if dtype.is_integer():
                return cls(dtype, "whole")
            return None if title == "Null" else cls(dtype, POLARS.get(title, "number"))
        if getattr(dtype, "kind", "O") in NUMERIC:
            return cls(dtype, NUMERIC[dtype.kind])
        told = series.dropna()
        return cls(dtype, _sort(told.iloc[0])) if len(told) else None


def _sort(value: Any) -> Sort:
    if isinstance(value, str):
        return "text"
    if isinstance(value, (bool, np.bool_)):
        return "flag"
    if isinstance(value, (datetime.datetime, np.datetime64)):
        return "time"
    return "day" if isinstance(value, datetime.date) else "number"


@dataclasses.dataclass(frozen=True)
class FrameLook:
    """What a data frame looks like: its library, the names of its columns, and how those with values are stored."""

    library: Library
    names: tuple[str, ...]
    looks: Mapping[str, Look]

    @classmethod
    def of(cls, x: Any) -> FrameLook | None:
        """That of x; None if it is no data frame."""
        library = library_of(x)
        if library is None:
            return None
        found = {str(label): Look.of(x[label]) for label in x.columns}
        return cls(library, tuple(found), {name: look for name, look in found.items() if look is not None})


def frame_of(
    x: Array,
    columns: Sequence[Column],
    library: Library,
    looks: Mapping[str, Look],
    types: Mapping[str, Type],
    index: Any = None,
    is_mean: bool = False,
) -> Any:
    """Rows x (n, D) of a model as a data frame: levels as text, dates as dates, numbers in the types of `looks`.

    types: of the columns as read; they hold how dates were written. index: of the rows, for pandas.
    is_mean: x are expectations, which need not be whole where a column's own numbers are.

    >>> from vaelab.data.columns import Column
    >>> columns = [Column("size", "ordinal", ("small", "large"), (0.0, 1.0)), Column("day", "date")]
    >>> frame_of(np.array([[0.9, 365.0]]), columns, "polars", {}, {}).rows()
    [('large', datetime.datetime(1971, 1, 1, 0, 0))]
    """
    made = {}
    for j, column in enumerate(columns):
        look = _fitting(column, [looks.get(column.name)])
        made[column.name] = _series(x[:, j], column, library, look, types.get(column.name), index, is_mean)
    module: Any = importlib.import_module(library)
    return module.DataFrame(made, index=index) if library == "pandas" else module.DataFrame(made)


def filled_frame(
    x: Any,
    found: Array,
    replaced: npt.NDArray[np.bool_],
    columns: Sequence[Column],
    look: FrameLook | None,
    types: Mapping[str, Type],
    is_mean: bool = False,
) -> Any:
    """The data frame x with the cells `replaced` (n, D) taken from rows `found` (n, D) of a model; all else stays."""
    library = library_of(x)
    assert library is not None
    labels = {str(label): label for label in x.columns}
    known = {} if look is None or look.library != library else look.looks
    changed = {}
    for j, column in enumerate(columns):
        if not replaced[:, j].any():
            continue
        label = labels[column.name]
        own = x[label]
        # A column of nothing has lost its type, which training tells: pandas makes it one of numbers.
        looks = [Look.of(own), known.get(column.name)]
        form = _fitting(column, looks[::-1] if replaced[:, j].all() else looks)
        index = x.index if library == "pandas" else None
        new = _series(found[:, j], column, library, form, types.get(column.name), index, is_mean)
        changed[label] = new if replaced[:, j].all() else _merged(own, new, replaced[:, j], library)
    if library == "polars":
        return x.with_columns([series.alias(label) for label, series in changed.items()])
    out = x.copy()
    for label, series in changed.items():
        out[label] = series
    return out


def converted(x: Any, library: Library) -> Any:
    """The data frame x as one of this library; an index does not survive in polars, which has none."""
    if library_of(x) == library:
        return x
    pl: Any = importlib.import_module("polars")
    return x.to_pandas() if library == "pandas" else pl.from_pandas(x)


def _fitting(column: Column, looks: Sequence[Look | None]) -> Look:
    """The first that can hold the column; if there is none, a plain one."""
    is_text = column.has_levels and not column.is_numeric
    for look in looks:
        if look is not None and not (is_text and look.sort not in ("text", "category")):
            return look
    if column.kind == "date":
        return Look(None, "time")
    return Look(None, "text" if is_text else "number")


def _merged(own: Any, new: Any, replaced: npt.NDArray[np.bool_], library: Library) -> Any:
    if library == "polars":
        pl: Any = importlib.import_module("polars")
        return own.zip_with(pl.Series(~replaced), new.cast(own.dtype))
    if type(own.dtype).__name__ == "CategoricalDtype":
        lacking = [each for each in new.cat.categories if each not in own.cat.categories]
        own = own.cat.add_categories(lacking)
        new = new.astype(own.dtype)
    return own.where(~replaced, new)


def _series(
    values: Array, column: Column, library: Library, look: Look, given: Type | None, index: Any, is_mean: bool
) -> Any:
    """A model's numbers (n,) as a column of the library."""
    cells, is_own = _cells(values, column, look.sort, given, is_mean)
    dtype = look.dtype if is_own else None
    module: Any = importlib.import_module(library)
    if library == "polars":
        return _polars(module, cells, look.sort, dtype)
    return _pandas(module, cells, look.sort, dtype, index)


def _cells(values: Array, column: Column, sort: Sort, given: Type | None, is_mean: bool) -> tuple[Array, bool]:
    """Numbers as the values of a sort, and whether the column's own type holds them."""
    if sort in ("category", "text"):
        return _words(values, column, given), True
    if column.has_levels:
        levels = np.array(column.values)
        values = levels[np.abs(np.nan_to_num(values)[:, None] - levels).argmin(1)]
    if sort == "flag" and (column.has_levels or not is_mean):
        return values >= 0.5, True
    if sort == "whole" and (column.has_levels or not is_mean):
        return np.round(values).astype(np.int64), True
    if sort in ("time", "day"):
        return EPOCH + np.round(values).astype("timedelta64[D]"), True
    if sort == "span":
        return np.round(values.astype(np.float64) * 1e6).astype("timedelta64[us]"), True
    return values.astype(np.float64), sort == "number"


def _words(values: Array, column: Column, given: Type | None) -> Array:
    if column.kind == "date" and isinstance(given, str) and given.startswith(DATE_FORMAT):
        form = given.removeprefix(DATE_FORMAT)
        days = (EPOCH + np.round(values).astype("timedelta64[D]")).astype(object)
        return np.array([day.strftime(form) for day in days], dtype=object)
    words = as_written(values, column)
    if words.dtype == object:
        return words
    return np.array([written(float(value)) for value in words], dtype=object)


def _pandas(pd: Any, cells: Array, sort: Sort, dtype: Any, index: Any) -> Any:
    if sort == "category":
        own = {missing_or_text(each): each for each in dtype.categories}
        lacking = sorted({word for word in cells if word is not None and word not in own})
        dtype = pd.CategoricalDtype([*dtype.categories, *lacking], dtype.ordered)
        return pd.Series(pd.Categorical([own.get(word, word) for word in cells], dtype=dtype), index=index)
    if sort == "day":
        cells = cells.astype(object)
    elif sort == "time":
        series = pd.Series(cells.astype("datetime64[us]"), index=index)
        zone = getattr(dtype, "tz", None)
        series = series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)
        return series if dtype is None else series.astype(dtype)
    series = pd.Series(cells, index=index)
    return series if dtype is None else series.astype(dtype)


def _polars(pl: Any, cells: Array, sort: Sort, dtype: Any) -> Any:
    if sort in ("time", "day"):
        series = pl.Series(cells.astype("datetime64[us]"))
        if getattr(dtype, "time_zone", None) is not None:
            series = series.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    else:
        series = pl.Series(cells.tolist() if cells.dtype == object else cells)
    return series if dtype is None else series.cast(dtype)


__all__ = ["FrameLook", "Look", "converted", "filled_frame", "frame_of", "library_of"]
