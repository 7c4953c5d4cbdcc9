"""What the scikit-learn estimators share: X by scikit-learn's rules, tables as vaelab reads them, held-out rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from vaelab.data.arrays import from_arrays
from vaelab.data.cells import texts_of
from vaelab.data.containers import FrameLook, Library, library_of
from vaelab.data.dataset import Array, Dataset
from vaelab.data.frames import frame_raw, refuse_twice
from vaelab.data.groups import group_codes
from vaelab.data.splits import split_rows
from vaelab.data.values import quote
from vaelab.errors import InputError, unknown_name

VALIDATION_SHARE = 0.1
FEWEST_TO_SPLIT = 100  # rows; with fewer, all of them judge an epoch better than a tenth

TYPES_DOC = """    types : mapping of str or int to str, or None, default=None
        the kind of some columns of a table, by name or position: real, positive, count, binary, categorical, ordinal or
        date; "date %d/%m/%Y" tells how dates are written, and a list of levels makes an ordinal column. The other
        columns of a data frame get a kind by their type and values; those of an array are real numbers."""

CONDITION_DOC = """    condition : list of str or int, or None, default=None
        columns of a table, by name or position, that are given rather than modelled, such as a batch: p(x|z, c)."""


def checked(estimator: Any, X: Any, *, reset: bool = False, modelled: tuple[str, ...] = ()) -> Any:
    """X, checked by scikit-learn: an array, with NaN where a cell of a table is missing, or the data frame itself.

    Images are flattened for the check, so that `n_features_in_` counts their pixels. What a data frame holds is
    checked by vaelab's readers. modelled: the columns that a model trained on a data frame sees; those of an array are
    taken by position.
    """
    if library_of(X) is not None:
        _check_frame(X)
        return validate_data(estimator, X, reset=reset, skip_check_array=True)
    flat, shape = _flat(X)
    x: Array = validate_data(
        estimator, flat, reset=reset, ensure_all_finite="allow-nan", ensure_min_samples=2 if reset else 1
    )
    return _taken(estimator, x, modelled) if shape is None else x.reshape(shape)


def checked_with_labels(estimator: Any, X: Any, y: Any) -> tuple[Any, Array]:
    """X as of `checked`, for fitting, and labels y (n,), of which none is missing."""
    if library_of(X) is not None:
        _check_frame(X)
        X, y = validate_data(estimator, X, y, skip_check_array=True)
        check_consistent_length(X, y)
    else:
        X, shape = _flat(X)
        X, y = validate_data(estimator, X, y, ensure_all_finite="allow-nan", ensure_min_samples=2)
        X = X.reshape(shape or X.shape)
    labels = column_or_1d(y, warn=True)
    if labels.dtype.kind in "fO":
        missing = [text is None or text == "nan" for text in texts_of(labels)]
        if any(missing):
            raise InputError(f"Input y contains NaN: row {missing.index(True)} has no label; give it one, or drop it.")
    return X, labels


def _check_frame(X: Any) -> None:
    """Rejects a data frame with columns of one name, and one without rows, as scikit-learn rejects such an array."""
    refuse_twice([str(label) for label in X.columns], "X")
    if len(X) == 0:
        raise InputError(f"X must hold rows, but its shape is {X.shape}; it is empty, add data.")


def _flat(X: Any) -> tuple[Any, tuple[int, ...] | None]:
    """X as scikit-learn sees it, images flattened; and the shape of images."""
    shape = tuple(getattr(X, "shape", ()))
    return (np.asarray(X).reshape(shape[0], math.prod(shape[1:])), shape) if len(shape) > 2 else (X, None)


def _taken(estimator: Any, x: Array, modelled: tuple[str, ...]) -> Array:
    look = getattr(estimator, "frame_", None)
    if not modelled or look is None or look.names == modelled:
        return x
    return x[:, [look.names.index(name) for name in modelled]]


def held_out(
    x: Any,
    seed: int,
    *,
    types: Mapping[Any, Any] | None = None,
    groups: Any = None,
    codes: npt.NDArray[np.int64] | None = None,
    classes: tuple[str, ...] = (),
    targets: npt.NDArray[np.float64] | None = None,
    infer: bool = False,
    condition: Sequence[Any] = (),
) -> Dataset:
    """The rows of a checked x with a validation share and no test split; few rows serve as both.

    codes, classes: of the labels; targets: numbers instead. groups: of the rows; each is on one side. infer: the kinds
    of an array's columns are found from their values too. By default they are real: a fold need not hold all values
    that a column has.
    """
    kinds = column_types(types, x)
    is_frame = library_of(x) is not None
    if not is_frame and x.ndim == 2 and not infer and not _is_binary(x):
        kinds = {**{str(j): "real" for j in range(x.shape[1])}, **kinds}
    raw = frame_raw(x, "X", every_level=True) if is_frame else x  # a fold need not have all levels either
    data = from_arrays(raw, name="X", seed=seed, whole=True, types=kinds, condition=[str(each) for each in condition])
    n = len(data.x)
    own = None if groups is None else group_codes(groups, n)[0]
    if n < FEWEST_TO_SPLIT:
        splits = {**data.splits, "validation": data.splits["train"]}
    else:
        splits = split_rows(n, codes, seed, validation=VALIDATION_SHARE, test=0.0, groups=own)
    data = dataclasses.replace(data, splits=splits, groups=own, labels=codes, classes=classes, targets=targets)
    source = {name: value for name, value in data.source.items() if is_frame or name not in ("types", "condition")}
    return dataclasses.replace(data, source={**source, "fingerprint": data.fingerprint})


def _is_binary(x: Array) -> bool:
    """Whether all cells that are there are 0 or 1."""
    return bool(((x == 0) | (x == 1) | (x != x)).all())


def column_types(types: Mapping[Any, Any] | None, x: Any) -> dict[str, Any]:
    """Kinds of columns given by name or position, by name.

    >>> column_types({0: "count"}, np.zeros((3, 2)))
    {'0': 'count'}
    """
    if types is None:
        return {}
    if not isinstance(types, Mapping):
        raise InputError(
            f"`types` must map columns to their kinds, but is {quote(repr(types))}; use {{'age': 'real'}}."
        )
    if library_of(x) is None and np.ndim(x) != 2:
        raise InputError(f"`types` are of the columns of a table, but X has shape {np.shape(x)}; leave them out.")
    names = [str(j) for j in range(x.shape[1])] if library_of(x) is None else [str(label) for label in x.columns]
    found = {}
    for key, kind in types.items():
        name = str(key)
        if name not in names and isinstance(key, (int, np.integer)) and 0 <= key < len(names):
            name = names[key]
        if name not in names:
            raise unknown_name("column with a type:", name, names)
        found[name] = kind
    return found


def precision(x: Any) -> type[np.floating[Any]]:
    """float32 if all of x is, else float64."""
    if library_of(x) is None:
        return np.float32 if x.dtype == np.float32 else np.float64
    return np.float32 if all(str(dtype).lower() == "float32" for dtype in x.dtypes) else np.float64


def library_for(estimator: Any, given: Any) -> Library | None:
    """Whose data frames an estimator returns: as `set_output` says, else as was `given`, else as in training; None for
    arrays.
    """
    chosen = getattr(estimator, "_sklearn_output_config", {}).get("transform") or "default"
    if chosen == "default":
        chosen = sklearn.get_config()["transform_output"]
    if chosen in ("pandas", "polars"):
        return "pandas" if chosen == "pandas" else "polars"
    look: FrameLook | None = estimator.frame_
    return library_of(given) or (None if look is None else look.library)


__all__ = [
    "CONDITION_DOC", "FEWEST_TO_SPLIT", "TYPES_DOC", "checked", "checked_with_labels", "column_types", "held_out",
    "library_for", "precision",
]  # fmt: skip
