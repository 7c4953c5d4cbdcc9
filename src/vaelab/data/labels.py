"""Converts class labels of any form to codes 0, 1, ... and class names."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.cells import missing_or_text
from vaelab.data.dataset import Array
from vaelab.data.limits import check_texts
from vaelab.data.values import as_array, quote, short, type_name
from vaelab.errors import InputError, unknown_name


def label_values(y: Any, n: int) -> Array:
    """Labels (n,) as whole numbers or text."""
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
    if values.dtype.kind == "O":
        values = _object_labels(values)
    if values.dtype.kind == "f":
        values = _float_labels(values)
    if values.dtype.kind not in "biuU":
        raise InputError(f"labels must be whole numbers or text, but are {type_name(values.dtype)}; convert them.")
    return values


def _object_labels(values: Array) -> Array:
    without = [row for row, value in enumerate(values) if missing_or_text(value) is None]
    if without:
        raise _unlabelled(without, len(values), " (if NA is a class, write it otherwise)")
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


def _unlabelled(rows: Sequence[int] | npt.NDArray[np.int64], n: int, note: str = "") -> InputError:
    return InputError(
        f"every example needs a label, but {len(rows):,} of {n:,} have none (missing, NA or infinite), the first in "
        f"row {rows[0]}; drop those rows, label them, or give no target: a VAE and its clusters need none{note}."
    )


def _float_labels(values: Array) -> npt.NDArray[np.int64]:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise _unlabelled(bad, len(values))
    broken = np.flatnonzero((values != np.round(values)) | (np.abs(values) > 2**53))
    if len(broken):
        raise InputError(
            f"labels must be classes, but row {broken[0]} holds {float(values[broken[0]]):.6g}, a "
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
