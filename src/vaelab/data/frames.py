"""Data frames, structured arrays, sparse matrices and AnnData from Python, as columns or as a dense array."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vaelab.data.dataset import Array
from vaelab.data.limits import check_dense
from vaelab.data.raw import Category, Raw
from vaelab.data.values import EXACT, Columns, quote
from vaelab.errors import InputError

WAYS = {"polars": {"LazyFrame": ".collect()"}, "pyarrow": {"Table": ".to_pandas()", "RecordBatch": ".to_pandas()"}}


def frame_raw(x: Any, name: str, every_level: bool = False) -> Raw | None:
    """A data frame of pandas or polars, a mapping of arrays, a structured array, an AnnData or a sparse matrix; None if
    it is something else.

    every_level: keep levels that a categorical column declares and no row has.
    """
    if callable(getattr(x, "toarray", None)) and getattr(x, "ndim", 2) == 2:  # one of them is a mapping, too
        return Raw(name, densified(x, name))
    if isinstance(x, Mapping):
        return _raw(name, x.items())
    if all(hasattr(x, part) for part in ("obs", "obs_names", "var_names", "X")):
        return annotated(x, name)
    names = getattr(getattr(x, "dtype", None), "names", None)
    if names is not None:
        if np.ndim(x) != 1:
            raise InputError(f"{name} must have one record per row, but has shape {np.shape(x)}; reshape it.")
        return _raw(name, ((each, x[each]) for each in names))
    if (library := type(x).__module__.partition(".")[0]) in WAYS and type(x).__name__ in WAYS[library]:
        way = WAYS[library][type(x).__name__]
        raise InputError(f"{name} must be a data frame, but is a {type(x).__name__} of {library}; use {way}.")
    if getattr(x, "columns", None) is None or not callable(getattr(x, "__getitem__", None)):
        return None
    labels = [str(each) for each in x.columns]
    refuse_twice(labels, name)
    raw = _raw(name, ((label, x[each]) for label, each in zip(labels, x.columns, strict=True)), every_level)
    index = getattr(x, "index", None)
    if index is None or not getattr(index, "is_unique", False):
        return raw
    if type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1):
        return raw
    title = getattr(index, "name", None)
    return Raw(
        name, raw.x, features=raw.features, categories=raw.categories, ids=np.asarray(index, dtype=object),
        id_name="id" if title is None else str(title),
    )  # fmt: skip


def frame_columns(x: Any) -> Columns | None:
    """The columns of a data frame, of a mapping of arrays or of a structured array, by name; None if it is none."""
    raw = frame_raw(x, "X")
    return raw.x if raw is not None and isinstance(raw.x, Mapping) else None


def _raw(name: str, items: Iterable[tuple[Any, Any]], every_level: bool = False) -> Raw:
    columns: dict[str, Array] = {}
    categories: dict[str, Category] = {}
    for label, values in items:
        columns[str(label)], category = series(values, str(label), name, every_level)
        if category is not None:
            categories[str(label)] = category
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InputError(f"the columns of {name} must be of one length, but have {sorted(lengths)} rows; match them.")
    return Raw(name, columns, features=tuple(columns), categories=categories)


def series(values: Any, label: str, name: str, every_level: bool = False) -> tuple[Array, Category | None]:
    """A column of any library as an array, and its levels if it is categorical."""
    dtype = getattr(values, "dtype", None)
    if isinstance(values, np.ma.MaskedArray):
        values = _unmasked(values)
    category = _category(values, dtype, every_level)
    if category is not None:
        texts = np.asarray(values, dtype=object)
        return np.array([None if _is_missing(each) else _word(each) for each in texts], dtype=object), category
    if hasattr(dtype, "na_value") and not str(dtype).startswith("Sparse") and hasattr(values, "to_numpy"):
        found = _nullable(values, dtype)
    elif isinstance(values, (list, tuple)):
        found = np.asarray(values)
        if found.dtype.kind in "UO":  # NumPy has converted numbers and None among the texts to text
            found = np.empty(len(values), dtype=object)
            found[:] = values
    else:
        found = np.asarray(values)
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8", "replace")
    if found.ndim != 1:
        raise InputError(
            f"a column must hold one value per row, but column {quote(label)} of {name} has shape {found.shape}; use "
            "one column per value."
        )
    return found, None


def _unmasked(values: Any) -> Array:
    """A masked column with its masked cells missing."""
    if not np.ma.is_masked(values):
        return np.asarray(values)
    if values.dtype.kind in "buif":
        return np.asarray(values.astype(np.float64).filled(np.nan))
    if values.dtype.kind in "mM":
        return np.asarray(values.filled(np.array("NaT", values.dtype)))
    found = np.ma.getdata(values)
    found = (np.char.decode(found, "utf-8", "replace") if found.dtype.kind == "S" else found).astype(object)
    found[np.ma.getmaskarray(values)] = None
    return np.asarray(found)


def _nullable(values: Any, dtype: Any) -> Array:
    """A column of pandas' nullable types; missing values become NaN, None or NaT."""
    kind = getattr(dtype, "kind", "O")
    if kind == "M":
        found = values.to_numpy(dtype="datetime64[us]")
    elif kind in "iufb":
        whole = kind in "iub" and not bool(values.isna().any())
        plain = {"b": bool, "i": np.int64, "u": np.uint64}[kind] if whole else np.float64
        found = values.to_numpy(dtype=plain) if whole else values.to_numpy(dtype=plain, na_value=np.nan)
        if kind in "iu" and not whole and float(np.nanmax(np.abs(found), initial=0)) > 2**53:
            found = values.to_numpy(dtype=object, na_value=None)  # which names the value that would be rounded
    else:
        found = values.to_numpy(dtype=object, na_value=None)
    return np.asarray(found)


def _category(values: Any, dtype: Any, every_level: bool) -> Category | None:
    """The levels of a categorical column of pandas or polars."""
    title = type(dtype).__name__ if dtype is not None else ""
    if title == "CategoricalDtype":
        levels, is_ordered = values.cat.categories, bool(values.cat.ordered)
    elif title == "Enum":
        levels, is_ordered = dtype.categories, True
    elif title == "Categorical":
        levels, is_ordered = sorted(values.drop_nulls().unique().cast(str)), False
    else:
        return None
    words = [_word(level) for level in levels]
    if not is_ordered and not (every_level and title != "Categorical"):  # which has those of other columns
        seen = {_word(each) for each in np.asarray(values, dtype=object) if not _is_missing(each)}
        words = [word for word in words if word in seen]
    return Category(tuple(words), is_ordered) if words else None


def _word(value: Any) -> str:
    from vaelab.data.cells import missing_or_text

    return missing_or_text(value) or ""


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or str(value) in ("<NA>", "NaT")


def refuse_twice(names: list[str], what: str) -> None:
    """Rejects columns of one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"column names must differ, but {quote(name)} appears twice in {what}; rename one.")
        seen.add(name)


def densified(x: Any, what: str) -> Array:
    """A sparse matrix as a dense array, in float32 if that loses nothing, after a check of its size."""
    rows, columns = x.shape
    check_dense(int(rows), int(columns), what)
    values = np.asarray(x.data) if hasattr(x, "data") and x.format != "lil" and x.format != "dok" else None
    is_exact = (
        values is not None
        and values.dtype.kind in "biu"
        and (not values.size or max(abs(int(values.max())), abs(int(values.min()))) <= EXACT)
    )
    dense: Array = x.astype(np.float32).toarray() if is_exact else x.toarray()
    return dense


def annotated(x: Any, name: str) -> Raw:
    """An AnnData: its matrix X, the names of observations as ids, and the columns of `obs` beside it."""
    if x.X is None:
        raise InputError(f"{name} must have a matrix X, but has none; assign a layer to X.")
    matrix = densified(x.X, name) if callable(getattr(x.X, "toarray", None)) else np.asarray(x.X)
    beside, notes = {}, []
    for label in x.obs.columns:
        beside[str(label)] = series(x.obs[label], str(label), name)[0]
    features = [str(each) for each in x.var_names]
    unique = unique_names(features)
    if unique != features:
        notes.append("some features have the same name: theirs got a number.")
    return Raw(
        name, matrix, features=tuple(unique), ids=np.asarray(x.obs_names, dtype=object), beside=beside,
        notes=tuple(notes),
    )  # fmt: skip


def unique_names(names: list[str]) -> list[str]:
    """The names, with -1, -2, ... after each that appeared before.

    >>> unique_names(["a", "b", "a", "a"])
    ['a', 'b', 'a-1', 'a-2']
    """
    taken, count, found = set(names), dict[str, int](), []
    seen: set[str] = set()
    for name in names:
        told = name
        while told in seen or (told != name and told in taken):
            count[name] = count.get(name, 0) + 1
            told = f"{name}-{count[name]}"
        seen.add(told)
        found.append(told)
    return found
