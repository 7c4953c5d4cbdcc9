"""Real numbers of users and of their functions, as arrays of doubles: in whatever type and layout they are given."""

from __future__ import annotations

import decimal
import numbers
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.errors import InputError

Floats = npt.NDArray[np.float64]


def doubles(values: npt.NDArray[Any]) -> Floats:
    """A copy in double precision that torch can take; what is masked is NaN. Raises TypeError for what are no numbers.

    >>> doubles(np.ma.array([1, -999], mask=[False, True]))
    array([ 1., nan])
    """
    if values.dtype.kind == "O":
        values = np.ma.filled(values, np.nan)  # whatever is under a mask need not be a number
        is_real = all(isinstance(value, numbers.Real | decimal.Decimal) for value in values.flat)
    else:
        is_real = values.dtype.kind in "fiub"
    if not is_real:
        raise TypeError(f"an array of type {values.dtype}")
    with np.errstate(over="ignore"):  # of a longer type, infinite
        return np.asarray(np.ma.filled(values.astype(np.float64, order="C"), np.nan))


def checked(name: str, values: Any, finite: bool = True) -> Floats:
    """The same of anything that NumPy makes an array of, or a tensor, which may be on a device or require a gradient;
    raises InputError.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    try:
        values = np.ma.stack(values) if _has_masks(values) else np.asanyarray(values)
    except (ValueError, TypeError):
        raise InputError(f"{name} must be an array of numbers, but its rows differ in length.") from None
    try:
        found = doubles(values)
    except (TypeError, OverflowError):
        found = None
    if found is None or values.dtype.kind == "b":
        raise InputError(f"{name} must hold numbers, but its type is {values.dtype}.")
    if finite and not np.isfinite(found).all():
        raise InputError(f"{name} must be finite, but holds NaN or infinite values.")
    return found


def _has_masks(values: Any) -> bool:
    """Whether it is a list of masked arrays, whose masks NumPy drops."""
    return isinstance(values, list | tuple) and any(isinstance(value, np.ma.MaskedArray) for value in values)
