"""Converts class labels of any form to codes 0, 1, ... and class names; -1 where there is no label."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.cells import missing_or_text
from vaelab.data.dataset import Array, LabelKind
from vaelab.data.limits import check_texts
from vaelab.data.values import as_array, quote, short, type_name
from vaelab.errors import InputError, unknown_name


def label_values(y: Any, n: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The labels (m,) that there are, as whole numbers or text; and which of n rows have one (n,).

    >>> label_values(["a", None, "b"], 3)
    (array(['a', 'b'], dtype='<U1'), array([ True, False,  True]))
    """
    values = as_array(y, "the labels")
    if isinstance(y, (list, tuple)) and values.dtype.kind == "U":
        values = np.array(y, dtype=object)  # NumPy has converted numbers among the texts to text
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        remedy = "use y.argmax(1) if they are one-hot" if values.ndim == 2 else "give one label per example"
        raise InputError(f"labels must have shape ({n},), but have {short(values.shape)}; {remedy}.")
    if len(values) != n:
        raise InputError(
            f"there must be one label per example, but there are {len(values)} labels for {n} examples; match them."
        )
    there = _there(values)
    rows = np.flatnonzero(there)
    if not len(rows):
        raise InputError(
            f"some examples need a label, but none of {n:,} has one (all are missing or NA); label some, or give no "
            "target: a VAE and its clusters need none (if NA is a class, write it otherwise)."
        )
    values = values[rows]
    if values.dtype.kind == "O":
        values = _object_labels(values)
    if values.dtype.kind == "f":
        values = _float_labels(values, rows)
    if values.dtype.kind not in "biuU":
        raise InputError(f"labels must be whole numbers or text, but are {type_name(values.dtype)}; convert them.")
    return values, there


def _there(values: Array) -> npt.NDArray[np.bool_]:
    """Which rows have a label."""
    if values.dtype.kind == "O":
        return np.array([missing_or_text(value) is not None for value in values], dtype=np.bool_)
    return ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), dtype=np.bool_)


def _object_labels(values: Array) -> Array:
    check_texts(values, "the labels")
    if all(isinstance(value, str) for value in values):
        return values.astype(np.str_)
    if all(isinstance(value, (numbers.Real, np.bool_)) for value in values):
        try:
            if all(isinstance(value, (numbers.Integral, np.bool_)) for value in values):
                return values.astype(np.int64)
            return values.astype(np.float64)
        except OverflowError:
            raise InputError("labels must fit in 64 bits, but one does not; number the classes from 0.") from None
    kinds = sorted({type(value).__name__ for value in values})
    raise InputError(
        f"labels must be all whole numbers or all text, but are of the types {quote(', '.join(kinds))}; convert them."
    )


def _float_labels(values: Array, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Whole numbers of labels (m,), which are those of `rows`."""
    broken = np.flatnonzero(~np.isfinite(values) | (values != np.round(values)) | (np.abs(values) > 2**53))
    if len(broken):
        raise InputError(
            f"labels must be classes, but row {rows[broken[0]]} holds {float(values[broken[0]]):.6g}, a "
            "continuous value; bin it into classes, predict it with `vaelab regress`, or give no target."
        )
    codes: npt.NDArray[np.int64] = values.astype(np.int64)
    return codes


def encode(values: Array, classes: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Codes and class names; whole numbers sort by value, text alphabetically."""
    found, codes = np.unique(values, return_inverse=True)
    if len(found) > max(20, len(values) // 2):
        raise InputError(
            f"labels must be classes with several examples, but {len(found)} of {len(values)} labels "
            f"differ (such as {quote(found[0])}); that is an identifier or a continuous value: bin it, "
            "predict it with `vaelab regress`, or give no target."
        )
    if not classes:
        return codes.astype(np.int64), tuple(str(value) for value in found)
    if len(set(classes)) != len(classes):
        raise InputError(
            f"`classes` must differ, but {len(classes)} names hold {len(set(classes))} different ones; rename."
        )
    if values.dtype.kind != "U":
        if int(found[0]) < 0 or int(found[-1]) >= len(classes):
            worst = int(found[0]) if int(found[0]) < 0 else int(found[-1])
            raise InputError(
                f"labels must be 0 to {len(classes) - 1}, one per name in `classes`, but got {worst}; add its name."
            )
        return values.astype(np.int64), classes
    for value in found:
        if value not in classes:
            raise unknown_name("class", str(value), classes)
    order = np.array([classes.index(str(value)) for value in found], dtype=np.int64)
    return order[codes], classes


def kind_of_labels(values: Array, classes: tuple[str, ...] = ()) -> LabelKind:
    """What labels (m,) are, where `classes` names whole numbers 0, 1, ...: of names other than these, text.

    >>> kind_of_labels(np.array([0, 1])), kind_of_labels(np.array([0, 1]), ("no", "yes"))
    ('int', 'text')
    """
    if values.dtype.kind not in "biu" or classes != tuple(map(str, range(len(classes)))):
        return "text"
    return "bool" if values.dtype.kind == "b" and not classes else "int"


def as_labels(codes: npt.NDArray[np.int64], classes: tuple[str, ...], kind: LabelKind, other: str = "unknown") -> Array:
    """Class codes (n,) as labels of the kind that was given; -1 as `other`, beside which numbers are objects.

    >>> as_labels(np.array([1, 0]), ("3", "8"), "int"), as_labels(np.array([1, -1]), ("3", "8"), "int")
    (array([8, 3]), array([8, 'unknown'], dtype=object))
    """
    read: dict[str, Callable[[str], Any]] = {"text": str, "int": int, "bool": lambda name: name == "True"}
    own = [read[kind](name) for name in classes]
    if (codes >= 0).all():
        return np.array(own)[codes]
    return np.array([*own, other], dtype=np.str_ if kind == "text" else object)[codes]
