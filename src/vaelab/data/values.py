"""Converts array-likes to checked numbers, uint8 or float32; errors name rule, place and value."""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.dataset import CHUNK_BYTES, Array
from vaelab.errors import InputError

# Scaling adds and subtracts pairs of values in float32, which must not overflow.
LARGEST = float(np.finfo(np.float32).max) / 4
LARGEST_TABLE = 1e150  # of a table's numbers, whose squares are added
LOSS = 1e-4  # of rounding a column to float32, as a share of its range
MOST_CHANNELS = 4  # of pictures: grey, grey and alpha, RGB, RGB and alpha
EXACT = 2**24  # float32 represents every whole number up to here
REMEDIES = {  # for arrays of other types
    "c": "give its real and imaginary parts, or np.abs(x)",
    "U": "give a data frame, whose columns may be text, or x.astype(float) if it is numbers",
    "S": "give a data frame, whose columns may be text, or x.astype(float) if it is numbers",
    "M": "give a data frame, whose columns may be dates, or (x - x.min()) / np.timedelta64(1, 'D')",
    "m": "give x / np.timedelta64(1, 's')",
    "V": "give one record per row, (N,)",
}
Columns = Mapping[str, Array]  # a table as read: one array (N,) per column, with its own type


def quote(text: object, limit: int = 60) -> str:
    r"""An external name, made safe for a message: on one line, quoted, and not too long.

    >>> print(quote("a\nb"))
    'a\nb'
    """
    word = str(text)
    return repr(word if len(word) <= limit else word[: limit - 3] + "...")


def short(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) <= 8 else f"{str(shape[:8])[:-1]}, ...)"


def chunks(x: Array) -> Iterator[tuple[int, Array]]:
    """The rows of x in chunks of about CHUNK_BYTES, each with the index of its first row."""
    row_bytes = max(1, x.itemsize * int(np.prod(x.shape[1:])))
    size = max(1, CHUNK_BYTES // max(row_bytes, 8))
    for start in range(0, len(x), size):
        yield start, np.asarray(x[start : start + size])


def place(index: tuple[int, ...], features: Sequence[str] = ()) -> str:
    """The position of a value, rows and columns counted from 0: "row 3, column 'age'"."""
    row, *rest = index
    if len(rest) == 1:
        return f"row {row}, column {quote(features[rest[0]]) if features else rest[0]}"
    return f"row {row}, pixel ({', '.join(str(i) for i in rest)})" if rest else f"row {row}"


def as_array(x: Any, what: str) -> Array:
    """x as an array of any type, shared if possible; sparse and ragged input is rejected. Masked cells of a table are
    missing values.
    """
    if callable(getattr(x, "toarray", None)):
        raise InputError(f"{what} must be a dense array, but is sparse ({type(x).__name__}); use its .toarray().")
    if isinstance(x, (set, frozenset, Iterator)):
        raise InputError(f"{what} must be an array or a list, but is a {type(x).__name__}; use list(x).")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        if x.ndim == 2 and x.dtype.kind in "buif":
            return np.where(np.ma.getmaskarray(x), np.nan, np.ma.getdata(x).astype(np.float64))
        count = int(np.ma.getmaskarray(x).sum())
        raise InputError(f"{what} must have no masked entries, but has {count}; fill them with .filled(value).")
    try:
        if callable(getattr(x, "detach", None)):
            x = x.detach().cpu()
        return np.asarray(x)
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        if "inhomogeneous" in reason:
            raise InputError(
                f"{what} must be rectangular, but its rows differ in length; give every example the same shape."
            ) from None
        raise InputError(
            f"{what} must be one rectangular array of numbers, but NumPy says {quote(reason, 99)}; convert it."
        ) from None


def as_examples(x: Any, what: str) -> Array:
    """x as an array of examples: an array of equal arrays is stacked, and curves (N, 1, L) or (N, L, 1) are (N, L)."""
    array = as_array(x, what)
    if array.ndim == 1 and array.dtype.kind == "O" and len(array) and all(np.ndim(each) for each in array):
        shapes = sorted({np.shape(each) for each in array})
        if len(shapes) > 1:
            raise InputError(
                f"{what} must be rectangular, but its examples have the shapes {short(shapes[0])}, {short(shapes[1])}"
                f"{', ...' if len(shapes) > 2 else ''}; give every example the same shape."
            )
        array = as_array(np.stack(list(array)), what)
    return array.reshape(len(array), -1) if is_curve(array.shape) else array


def is_curve(shape: tuple[int, ...]) -> bool:
    """Whether examples (N, ...) of more than one axis have values along one of them alone."""
    return len(shape) in (3, 4) and 0 not in shape and sum(length > 1 for length in shape[1:]) <= 1


def to_numbers(x: Any, what: str, features: Sequence[str] = ()) -> Array:
    """x checked, as uint8 or float32 (N, *shape), C-contiguous; not copied if it already is.

    A table (N, D) may have missing values (NaN), and is float64 if float32 would lose differences between its rows.
    """
    array = as_examples(x, what)
    if array.dtype.kind not in "buifO":
        remedy = REMEDIES.get(array.dtype.kind, "convert it first")
        raise InputError(f"{what} must hold real numbers, but its type is {type_name(array.dtype)}; {remedy}.")
    _check_shape(array, what)
    if array.dtype == np.bool_:
        return np.ascontiguousarray(array).view(np.uint8)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.ndim == 2 and not (array.dtype == np.float32 and array.dtype.isnative):
        if array.dtype.kind == "O":
            array = _objects(array, 0, what, features)
        return narrowed(array, what, features)
    # Rows are gathered often: convert any other type, order or byte order to C-ordered float32 once.
    share = array.dtype == np.float32 and array.dtype.isnative and array.flags.c_contiguous
    out = array if share else np.empty(array.shape, np.float32)
    for start, piece in chunks(array):
        checked = _checked(piece, start, array, what, features)
        if not share:
            out[start : start + len(piece)] = checked
    return out


def narrowed(array: Array, what: str, features: Sequence[str] = ()) -> Array:
    """A table's numbers (N, D) as float32, or as float64 if float32 would lose differences between rows."""
    d = array.shape[1]
    error, low, high = np.zeros(d), np.full(d, np.inf), np.full(d, -np.inf)
    for start, piece in chunks(array):
        values = piece.astype(np.float64)
        if piece.dtype.kind in "ui" and piece.dtype.itemsize == 8:
            refuse_rounded(piece, values, start, what, features)
        if np.isinf(values).any():
            _refuse_nonfinite(array, what, features)
        far = np.abs(values) > LARGEST_TABLE
        if far.any():
            index = np.unravel_index(int(np.argmax(far)), far.shape)
            where = place((start + int(index[0]), int(index[1])), features)
            raise InputError(
                f"{what} must stay within ±{LARGEST_TABLE:.0g}, but holds {float(values[index]):.3g} at {where}; "
                "rescale it."
            )
        with np.errstate(over="ignore"):
            error = np.fmax(error, np.fmax.reduce(np.abs(values - values.astype(np.float32))))
        low, high = np.fmin(low, np.fmin.reduce(values)), np.fmax(high, np.fmax.reduce(values))
    largest = np.fmax(np.abs(low), np.abs(high))
    is_lossy = bool((error > LOSS * (high - low)).any() or (largest[np.isfinite(largest)] > LARGEST).any())
    return np.ascontiguousarray(array, dtype=np.float64 if is_lossy else np.float32)


def refuse_rounded(whole: Array, values: Array, start: int, what: str, features: Sequence[str] = ()) -> None:
    """Rejects whole numbers, rows from `start` on, that `values` of float64 have rounded."""
    for index in zip(*np.nonzero(np.abs(values) >= 2**53), strict=True):
        if int(values[index]) != int(whole[index]):
            where = place((start + int(index[0]), *(int(i) for i in index[1:])), features)
            raise InputError(
                f"{what} must hold numbers that float64 represents, but holds {int(whole[index])} at {where}, "
                "which would "
                "be rounded; drop it, or make it the `id` if it names the rows."
            )


def refuse_missing(rows: Array, features: Sequence[str], remedy: str) -> None:
    """Rejects missing cells of new rows (n, D), for a model that was trained on complete ones."""
    if rows.dtype.kind != "f" or not np.isnan(rows).any():
        return
    row, column = (int(i) for i in np.argwhere(np.isnan(rows))[0])
    raise InputError(
        f"the model was trained on complete rows, but X misses a value at {place((row, column), features)}; fill "
        f"it, or {remedy}."
    )


def type_name(dtype: np.dtype[Any]) -> str:
    names = {"c": "complex", "U": "text", "S": "bytes", "M": "dates", "m": "durations", "V": "records"}
    return f"{names.get(dtype.kind, 'unknown')} ({quote(dtype)})"


def _check_shape(array: Array, what: str) -> None:
    if not 2 <= array.ndim <= 4:
        remedy = "use .reshape(-1, 1) for one feature" if array.ndim == 1 else "reshape it"
        raise InputError(
            f"{what} must have shape (N, D), (N, H, W) or (N, H, W, C), but has {array.ndim} dimensions, "
            f"{short(array.shape)}; {remedy}."
        )
    if 0 in array.shape:
        raise InputError(
            f"{what} must hold examples with features, but its shape is {array.shape}; it is empty, add data."
        )
    if array.ndim == 4 and _has_channels_first(array.shape):
        raise InputError(
            f"{what} must have its channels last, (N, H, W, C), but has shape {array.shape}; use np.moveaxis(x, 1, -1)."
        )


def _has_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether (N, a, b, c) is far likelier (N, C, H, W): few a before a larger b and c, or before two equal ones."""
    _, a, b, c = shape
    return a < b == c or (a <= MOST_CHANNELS < min(b, c))


def _nonfinite(what: str, count: int, total: int, kind: str, where: str, why: str = "") -> str:
    return (
        f"{what} must hold finite numbers, but {count} of {total} values {'is' if count == 1 else 'are'} "
        f"{kind}{why}, the first at {where}; drop those rows or fill them."
    )


def _checked(piece: Array, start: int, array: Array, what: str, features: Sequence[str]) -> npt.NDArray[np.float32]:
    """One chunk of the array as float32; raises InputError for values that float32 cannot represent."""
    if piece.dtype.kind == "O":
        piece = _objects(piece, start, what, features)
    if piece.dtype.kind in "iu":
        return _whole_numbers(piece, start, what, features)
    if np.isinf(piece).any() or (piece.ndim > 2 and np.isnan(piece).any()):
        _refuse_nonfinite(array, what, features)
    if max(float(np.fmax.reduce(piece, axis=None)), -float(np.fmin.reduce(piece, axis=None))) > LARGEST:
        index = np.unravel_index(int(np.nanargmax(np.abs(piece))), piece.shape)
        where = place((start + int(index[0]), *(int(i) for i in index[1:])), features)
        raise InputError(
            f"{what} must stay within ±{LARGEST:.2g}, the range of float32, but holds "
            f"{float(piece[index]):.3g} at {where}; rescale it."
        )
    out: npt.NDArray[np.float32] = piece.astype(np.float32, copy=False)
    return out


def _whole_numbers(piece: Array, start: int, what: str, features: Sequence[str]) -> npt.NDArray[np.float32]:
    out: npt.NDArray[np.float32] = piece.astype(np.float32)
    if piece.dtype.itemsize > 2:
        far = piece > EXACT if piece.dtype.kind == "u" else (piece > EXACT) | (piece < -EXACT)
        spots = np.flatnonzero(far)
        for spot in spots[~_exact(piece.reshape(-1)[spots])][:1] if len(spots) else ():
            index = np.unravel_index(int(spot), piece.shape)
            where = place((start + int(index[0]), *(int(i) for i in index[1:])), features)
            raise InputError(
                f"{what} must hold numbers that float32 represents, but holds {int(piece[index])} at "
                f"{where}, beyond 2**24 and rounded; rescale it, or drop the column if it is an identifier."
            )
    return out


def _exact(whole: Array) -> npt.NDArray[np.bool_]:
    """Which whole numbers float32 represents exactly; compared as integers, since float64 would round too."""
    rounded = whole.astype(np.float32)
    # As float32 the largest integer becomes 2**63 (or 2**31, ...), outside the type's own range.
    inside = rounded < np.float32(np.iinfo(whole.dtype).max)
    back = np.where(inside, rounded, np.float32(0)).astype(whole.dtype)
    result: npt.NDArray[np.bool_] = inside & (back == whole)
    return result


def _objects(piece: Array, start: int, what: str, features: Sequence[str]) -> npt.NDArray[np.float64]:
    """Python numbers as float64; None becomes NaN. NumPy's own cast would also parse text."""
    out = np.empty(piece.shape)
    for index, value in np.ndenumerate(piece):
        if value is None:
            out[index] = np.nan
        elif isinstance(value, (numbers.Real, np.bool_, decimal.Decimal)):
            try:
                out[index] = float(value)
            except OverflowError:
                out[index] = np.inf
        else:
            where = place((start + index[0], *index[1:]), features)
            raise InputError(
                f"{what} must hold numbers, but {where} holds {quote(repr(value))} "
                f"({type(value).__name__}); convert or drop it."
            )
    return out


def _refuse_nonfinite(array: Array, what: str, features: Sequence[str]) -> None:
    """Raises with the number of NaN (else infinite) values in the whole array and the first position."""
    nans, infinities = 0, 0
    where = {"nan": "", "inf": ""}
    for start, piece in chunks(array):
        values = _objects(piece, start, what, features) if piece.dtype.kind == "O" else piece
        for kind, mask in ("nan", np.isnan(values)), ("inf", np.isinf(values)):
            if not where[kind] and mask.any():
                index = np.unravel_index(int(np.argmax(mask)), mask.shape)
                where[kind] = place((start + int(index[0]), *(int(i) for i in index[1:])), features)
        nans += int(np.isnan(values).sum())
        infinities += int(np.isinf(values).sum())
    if nans and array.ndim > 2:
        raise InputError(_nonfinite(what, nans, array.size, "missing (NaN)", where["nan"]))
    why = " (the largest float16 is 65504)" if array.dtype == np.float16 else ""
    raise InputError(_nonfinite(what, infinities, array.size, "infinite (inf)", where["inf"], why))
