"""Arrays in memory (or memory-mapped) to a checked Dataset: official test rows, column names, splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.dataset import SPLITS, Array, Dataset, split_rows
from vaelab.data.labels import encode, label_values
from vaelab.data.values import chunks, quote, to_numbers
from vaelab.errors import InputError


@dataclasses.dataclass(frozen=True)
class Raw:
    """Data as read, unchecked: `x` is an array, or the columns of a table."""

    name: str
    x: Any
    y: Any = None
    x_test: Any = None
    y_test: Any = None
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    target: str | None = None  # where y came from: a key, a column, or an absolute path


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    name: str = "array",
    seed: int = 0,
    x_test: Any = None,
    y_test: Any = None,
    features: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    whole: bool = False,
) -> Dataset:
    """A Dataset from anything that `np.asarray` accepts: arrays, tensors, lists, data frames.

    x: (N, D), (N, H, W) or (N, H, W, C), at least 5 rows; uint8 and float32 are kept without a copy, other
        number types become float32. Booleans become 0 and 1 in uint8.
    y: class labels (N,), text or whole numbers.
    x_test, y_test: an official test split, kept as is; the other two splits are drawn from x.
    features: names of the D columns; by default those of a data frame.
    classes: names of the whole numbers 0, 1, ... in y, or the order of the texts in y.
    whole: all rows of x are for training; validation (and test, without x_test) stay empty.

    Raises InputError with rule, value and remedy.

    >>> data = from_arrays([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]], list("abaab"))
    >>> data.shape, data.classes, data.labels.tolist()
    ((2,), ('a', 'b'), [0, 1, 0, 0, 1])
    """
    if features is None:
        columns = getattr(x, "columns", None)
        features = () if columns is None else [str(column) for column in columns]
    raw = Raw(name, x, y, x_test, y_test, tuple(features), tuple(classes or ()))
    return build(raw, seed=seed, whole=whole, source={"source": name, "kind": "array"})


def build(raw: Raw, *, seed: int, source: Mapping[str, Any], whole: bool = False, what: str = "x") -> Dataset:
    """The checked Dataset.

    what: the name of x in error messages.
    source: what `load` needs to read the data again, besides seed and fingerprint.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise InputError(f"`seed` must be a whole number from 0 to 2**63 - 1, but got {seed!r}; use 0, 1, 2, ...")
    x = to_numbers(raw.x, what, raw.features)
    features = feature_names(raw.features or (tuple(raw.x) if isinstance(raw.x, Mapping) else ()), x)
    n, least = len(x), 2 if whole else 5
    if n < least:
        raise InputError(f"{what} must hold at least {least} examples, but holds {n}; add data.")
    test_rows = None
    if raw.x_test is not None:
        x = np.concatenate([x, _test_part(raw.x_test, x, what, raw.features)])
        test_rows = np.arange(n, len(x))
    labels, classes = _labels(raw, n, len(x) - n)
    _refuse_constant(x, what)
    seed = int(seed)
    if whole:
        nothing = np.arange(0)
        splits = dict(zip(SPLITS, (np.arange(n), nothing, nothing if test_rows is None else test_rows), strict=True))
    else:
        splits = split_rows(len(x), labels, seed, test_rows)
    data = Dataset(raw.name, x, splits, labels, classes, features, seed)
    return dataclasses.replace(data, source={**source, "seed": seed, "fingerprint": data.fingerprint})


def _test_part(x_test: Any, x: Array, what: str, features: tuple[str, ...]) -> Array:
    test = to_numbers(x_test, f"{what} (test part)", features)
    if test.shape[1:] != x.shape[1:]:
        raise InputError(
            f"the test part must have the shape of the other examples, {x.shape[1:]}, but has "
            f"{test.shape[1:]}; reshape it or leave it out."
        )
    if test.dtype != x.dtype:
        raise InputError(
            f"the test part must have the type of the other examples, {x.dtype}, but has {test.dtype}; "
            "convert both to one type and scale."
        )
    return test


def feature_names(names: Sequence[str], x: Array) -> tuple[str, ...]:
    """The names of the columns of x (N, D), all different; none for images."""
    if x.ndim != 2 or not names:
        return ()
    if len(names) != x.shape[1]:
        raise InputError(
            f"`features` must name each of the {x.shape[1]} columns, but has {len(names)} names; complete it."
        )
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"column names must differ, but {quote(name)} appears twice; rename one.")
        seen.add(name)
    return tuple(names)


def _refuse_constant(x: Array, what: str) -> None:
    first = x[0]
    if not any(bool((piece != first).any()) for _, piece in chunks(x)):
        raise InputError(
            f"{what} must vary, but all {len(x)} examples are the same; there is nothing to learn, add data."
        )


def _labels(raw: Raw, n: int, tests: int) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Codes of y (and then of y_test), and the classes of both."""
    if raw.y_test is not None and raw.x_test is None:
        raise InputError("`y_test` needs `x_test`, but only the labels were given; give both or neither.")
    if raw.x_test is not None and (raw.y is None) != (raw.y_test is None):
        lacking = "y" if raw.y is None else "y_test"
        raise InputError(f"both parts need labels or neither, but `{lacking}` is missing; give both or neither.")
    if raw.y is None:
        return None, ()
    y = label_values(raw.y, n)
    if raw.y_test is not None:
        y_test = label_values(raw.y_test, tests)
        if (y.dtype.kind == "U") != (y_test.dtype.kind == "U"):
            raise InputError("`y` and `y_test` must be of one kind, but one is text and one is numbers; convert one.")
        y = np.concatenate([y, y_test])
    return encode(y, raw.classes)
