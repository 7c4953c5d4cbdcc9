"""Files: written atomically, checked when read. JSON and safetensors, no pickle."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from vaelab import signals
from vaelab.errors import InputError, StoreError, shown
from vaelab.store.temporary import sweep, temporary

Expected = Mapping[str, tuple[tuple[int, ...], str]]
LARGEST_TOML = 1 << 22  # bytes
NESTED = re.compile(rb"(?:[\w\"'-]+\s*\.\s*){64}")  # a key of so many parts takes the parser hours


_REMEDIES = {
    errno.ENOSPC: "free some space and try again",
    errno.EDQUOT: "free some space and try again",
    errno.EFBIG: "free some space or raise the limit on file sizes, and try again",
    errno.EROFS: "choose a folder that you can write to",
    errno.EACCES: "choose a folder that you can write to",
    errno.EPERM: "choose a folder that you can write to",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_atomic(path: str | Path, data: bytes | str, *, synced: bool = True) -> Path:
    """Write `data` (text as UTF-8) to `path` atomically; an existing file stays until then.

    Without `synced` it does not wait for the disk: whole after any kill, but a loss of power may leave it torn.
    Raises a one-line StoreError if the disk is full or the folder read-only; then nothing has changed.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_atomic(Path(folder.name) / "note.txt", "done").read_text()
    'done'
    >>> folder.cleanup()
    """
    path = Path(path)
    new = temporary(path.parent)
    try:
        with signals.held():
            try:
                write_new(new, data, synced)
                os.replace(new, path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
            if synced:
                sync_folder(path.parent)
    except (OSError, ValueError) as error:
        fail("write", path, error)
    return path


def write_output(path: str | Path, data: bytes | str) -> Path:
    """`write_atomic` to a place that the user named: its folder is made, and rid of what dead processes left there."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    return write_atomic(path, data)


def write_json(path: str | Path, value: Any) -> Path:
    """Write a value as JSON, atomically. NaN and infinities are rejected; write None for a missing value.

    NumPy numbers are written as numbers and arrays as lists. The order of keys is kept.
    """
    return write_atomic(path, to_json(value, Path(path), indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises StoreError if it is missing, empty, truncated, not JSON, or holds NaN."""
    path = Path(path)
    return parse_json(read_bytes(path), path)


def read_toml(path: str | Path, missing: str) -> dict[str, Any]:
    """Read a TOML file; raises StoreError if it cannot be read; `missing` explains a missing file."""
    path = Path(path)
    name = name_of(path)
    if not os.path.lexists(path):
        raise StoreError(f"{name} does not exist; {missing}.")
    data = read_bytes(path, LARGEST_TOML)
    if NESTED.search(data):
        raise StoreError(f"{name} is nested too deeply; repair it.")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise StoreError(f"{name} is not UTF-8 text: byte {error.start} is none; save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise StoreError(f"{name} is not TOML: {shown(' '.join(str(error).split()), 200)[1:-1]}; repair it.") from None
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise StoreError(f"{name} is not TOML: it contains a number that is too long; repair it.") from None
    except RecursionError:
        raise StoreError(f"{name} is nested too deeply; repair it.") from None


def save_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write arrays of real numbers as safetensors, atomically; returns the file's SHA-256 in hex.

    Any strides and byte order are accepted. StoreError for NaN, infinities, objects, text and complex numbers.
    """
    data = pack(arrays, Path(path))
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def load_arrays(path: str | Path, sha256: str, expected: Expected | None = None) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote, as writable arrays.

    `expected` gives shape and dtype per key, such as {"weight": ((2, 3), "float32")}. Raises StoreError that
    names the problem: missing, empty, changed since, not safetensors, or an array that does not fit.
    """
    path = Path(path)
    data = read_bytes(path)
    check_digest(path, data, sha256)
    arrays = unpack(data, path)
    if expected is not None:
        check_arrays(arrays, expected, path)
    return arrays


def check_arrays(arrays: Mapping[str, NDArray[Any]], expected: Expected, where: str | Path) -> None:
    """Reject arrays with unexpected keys, shapes or dtypes; the StoreError names `where`.

    >>> check_arrays({"w": np.zeros(2)}, {"w": ((3,), "float64")}, "model")
    Traceback (most recent call last):
    vaelab.errors.StoreError: model: array 'w' must have shape (3,), but got (2,).
    """
    name = name_of(where)
    for key in expected:
        if key not in arrays:
            raise StoreError(f"{name}: array {shown(key)} is missing; the file belongs to another architecture.")
    for key, array in arrays.items():
        if key not in expected:
            raise StoreError(f"{name}: array {shown(key)} is not part of this architecture.")
        shape, dtype = expected[key]
        if array.shape != tuple(shape):
            raise StoreError(f"{name}: array {shown(key)} must have shape {tuple(shape)}, but got {array.shape}.")
        if array.dtype != np.dtype(dtype):
            raise StoreError(f"{name}: array {shown(key)} must be {np.dtype(dtype)}, but got {array.dtype}.")


def name_of(path: str | Path) -> str:
    text = str(path)
    return text if text.isprintable() and len(text) <= 300 else shown(text)


def fail(verb: str, path: Path, error: OSError | ValueError) -> NoReturn:
    """The one-line StoreError for an operating system error."""
    reason, remedy = in_words(error) if isinstance(error, OSError) else (str(error), "choose another name")
    raise StoreError(f"cannot {verb} {name_of(path)}: {reason}; {remedy}.") from error


def in_words(error: OSError) -> tuple[str, str]:
    """Reason and remedy of an operating system error. NumPy's, of a file it could not write whole, has no number."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    remedy = "free some space and try again" if error.errno is None else _REMEDIES.get(error.errno, "check the path")
    return reason[0].lower() + reason[1:], remedy


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """A one-line StoreError if what is written to `path` inside does not fit or is not allowed.

    >>> with writing("/dev/full"):
    ...     raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    Traceback (most recent call last):
    vaelab.errors.StoreError: cannot write /dev/full: no space left on device; free some space and try again.
    """
    try:
        yield
    except OSError as error:
        fail("write", Path(path), error)


@contextlib.contextmanager
def interpreting(path: str | Path) -> Iterator[None]:
    """A one-line StoreError if content of `path` that vaelab cannot have written raises anything inside.

    >>> with interpreting("metrics.json"):
    ...     {}["validation"]
    Traceback (most recent call last):
    vaelab.errors.StoreError: metrics.json is damaged: KeyError: 'validation'; restore it, or train again.
    """
    try:
        yield
    except InputError:
        raise
    except (
        ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise StoreError(
            f"{name_of(path)} is damaged: {told[:200].rstrip('.')}; restore it, or train again."
        ) from error


def write_new(path: Path, data: bytes | str, synced: bool = True) -> None:
    """A new file with `data`, on disk on return if it is `synced`."""
    content = data.encode("utf-8") if isinstance(data, str) else data
    # os.open with 0o666 respects the umask, unlike the tempfile module.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if synced:
            file.flush()
            os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path, largest: int | None = None) -> bytes:
    """The content of a file, of at most `largest` bytes."""
    try:
        # Opening a FIFO would wait for a writer, and /dev/zero never ends.
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise StoreError(f"{name_of(path)} is not a file; check the path.")
        if largest is not None and about.st_size > largest:
            raise StoreError(f"{name_of(path)} is larger than {largest:,} bytes; check the path.")
        return path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{name_of(path)} is missing; restore it, or train again.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        fail("read", path, error)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def parse_json(data: bytes, path: Path) -> Any:
    name = name_of(path)
    if not data.strip():
        raise StoreError(f"{name} is empty; restore it.")
    try:
        text = data.decode("utf-8")
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float)
    except UnicodeDecodeError as error:
        raise StoreError(f"{name} is not JSON: byte {error.start} is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        # json reports the opening quote of an unterminated string.
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise StoreError(f"{name} is truncated: its JSON stops at line {error.lineno}; restore it.") from error
        raise StoreError(f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except ValueError as error:
        raise StoreError(f"{name} contains a number that is not finite or too long: {error}.") from error
    except RecursionError as error:
        raise StoreError(f"{name} is nested too deeply.") from error


def as_object(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StoreError(f"{name_of(path)} must hold a JSON object, but got {shown(value)}.")
    return value


def read_object(path: Path) -> dict[str, Any]:
    return as_object(read_json(path), path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def to_json(value: Any, path: Path, indent: int | None = None) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=_plain, indent=indent)
    except ValueError as error:
        place = _nonfinite_place(value)
        raise StoreError(
            f"{name_of(path)} accepts only finite numbers, but {place or 'a value'} is not ({error})."
        ) from error


def _nonfinite_place(value: Any, place: str = "") -> str | None:
    """The position of the first non-finite number in nested lists and dicts."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return place or "the value"
    if isinstance(value, Mapping):
        inner = ((f"{place}.{key}" if place else str(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple | np.ndarray):
        inner = ((f"{place}[{k}]", item) for k, item in enumerate(value))
    else:
        return None
    return next((found for where, item in inner if (found := _nonfinite_place(item, where))), None)


def null_for_nonfinite(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: null_for_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nonfinite(item) for item in value]
    return value


def _check_finite(key: str, array: NDArray[Any], path: Path) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise StoreError(f"{name_of(path)}: array {shown(key)} has {count} values that are NaN or infinite.")


def pack(arrays: Mapping[str, NDArray[Any]], path: Path) -> bytes:
    dense: dict[str, NDArray[Any]] = {}
    for key, given in arrays.items():
        array = np.asarray(given)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise StoreError(f"{name_of(path)}: array {shown(key)} must hold real numbers, but holds {array.dtype}.")
        _check_finite(key, array, path)
        # safetensors writes raw memory, in C order or not.
        dense[key] = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return safetensors.numpy.save(dense)


def unpack(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        # KeyError: a dtype that NumPy does not have.
        raise StoreError(f"{name_of(path)} is not a safetensors file of arrays: {shown(str(error))}.") from error
    for key, array in arrays.items():
        _check_finite(key, array, path)
    return {key: array.copy() for key, array in arrays.items()}


def check_digest(path: Path, data: bytes, sha256: str) -> None:
    if hashlib.sha256(data).hexdigest() == sha256:
        return
    if not data:
        fault = "is empty"
    elif data.lstrip()[:1] == b"<":
        fault = f"holds a web page or XML, beginning {shown(data.lstrip()[:24].decode('ascii', 'replace'))}"
    else:
        fault = "is damaged: its SHA-256 is not the one recorded when it was written"
    raise StoreError(f"{name_of(path)} {fault}; restore it, or train again.")
