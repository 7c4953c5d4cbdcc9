"""Run and study folders: written atomically, checked when read, locked. No torch, no pickle."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from vaelab.errors import StoreError, shown

FORMAT = 1

Expected = Mapping[str, tuple[tuple[int, ...], str]]

_REMEDIES = {
    errno.ENOSPC: "free some space and repeat",
    errno.EDQUOT: "free some space and repeat",
    errno.EFBIG: "free some space or raise the limit on file sizes, and repeat",
    errno.EROFS: "choose a folder that you may write",
    errno.EACCES: "choose a folder that you may write",
    errno.EPERM: "choose a folder that you may write",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """Put `data` (text as UTF-8) at `path`, whole or not at all; until then an older file stays there.

    Raises StoreError of one line if the disk is full or the folder read-only; then nothing has changed.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_atomic(Path(folder.name) / "note.txt", "done").read_text()
    'done'
    >>> folder.cleanup()
    """
    path = Path(path)
    temporary = path.parent / f".tmp-{secrets.token_hex(8)}"
    try:
        try:
            _write_through(temporary, data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:
        _fail("write", path, error)
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write a value as JSON, atomically. NaN and infinities are refused; write None for a figure that is not.

    NumPy numbers are written as numbers and arrays as lists. The order of keys is kept.
    """
    return write_atomic(path, _json(value, Path(path), indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises StoreError if it is missing, empty, truncated, not JSON, or holds NaN."""
    path = Path(path)
    return _parse_json(_read(path), path)


def save_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write arrays of real numbers as safetensors, atomically; returns the file's SHA-256 in hex.

    Any strides and byte order will do. StoreError for NaN, infinities, objects, text and complex numbers.
    """
    data = _pack(arrays, Path(path))
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def load_arrays(path: str | Path, sha256: str, expected: Expected | None = None) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote, as writable arrays of this process's own.

    `expected` gives shape and dtype per key, such as {"weight": ((2, 3), "float32")}. Raises StoreError that
    names the fault: missing, empty, changed since, not safetensors, or an array that does not fit.
    """
    path = Path(path)
    data = _read(path)
    _check_digest(path, data, sha256)
    arrays = _unpack(data, path)
    if expected is not None:
        check_arrays(arrays, expected, path)
    return arrays


def check_arrays(arrays: Mapping[str, NDArray[Any]], expected: Expected, where: str | Path) -> None:
    """Refuse arrays whose keys, shapes or dtypes are not as expected; the StoreError names `where`.

    >>> check_arrays({"w": np.zeros(2)}, {"w": ((3,), "float64")}, "model")
    Traceback (most recent call last):
    vaelab.errors.StoreError: model: array 'w' must have shape (3,), but got (2,).
    """
    name = _name(where)
    for key in expected:
        if key not in arrays:
            raise StoreError(f"{name}: array {shown(key)} is missing; the file belongs to another architecture.")
    for key, array in arrays.items():
        if key not in expected:
            raise StoreError(f"{name}: array {shown(key)} is not one of this architecture's.")
        shape, dtype = expected[key]
        if array.shape != tuple(shape):
            raise StoreError(f"{name}: array {shown(key)} must have shape {tuple(shape)}, but got {array.shape}.")
        if array.dtype != np.dtype(dtype):
            raise StoreError(f"{name}: array {shown(key)} must be {np.dtype(dtype)}, but got {array.dtype}.")


# File descriptors of the locks this process holds. A forked child inherits them, and the lock with them,
# which it would go on holding after its parent's death.
_held: set[int] = set()


def _drop_inherited_locks() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_inherited_locks)


class StudyLock:
    """A lock on a study folder, for one process at a time; the system releases it when that process dies.

    Raises StoreError that names the holder if another one has it. Not shared with forked children.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with StudyLock(folder.name):
    ...     pass
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            raise RuntimeError("this StudyLock is already held")
        path = self.folder / ".lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            _fail("lock", self.folder, error)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            # The holder writes its number just after it takes the lock.
            holder = f"process {text}" if text.isdigit() else "another process"
            raise StoreError(
                f"{_name(self.folder)} is in use by {holder}; wait for its end, or choose another folder."
            ) from None
        except OSError as error:
            os.close(descriptor)
            _fail("lock", self.folder, error)
        self._descriptor = descriptor
        _held.add(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, None
        # In a forked child the descriptor is closed already, and its number may be another file's by now.
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def new_folder(path: str | Path, overwrite: bool = False) -> Path:
    """An empty folder at `path` for a run or study, its parents made as needed.

    A folder that holds something is refused; `overwrite` replaces it if it is a vaelab run or study, and no
    other. Raises StoreError, with nothing changed, also if the parent cannot be written.
    """
    path = Path(path)
    try:
        if not _occupied(path):
            _check_writable(path)
            path.mkdir(parents=True, exist_ok=True)
            return path
        if not overwrite:
            raise StoreError(
                f"{_name(path)} exists; choose another --out, or --overwrite to replace it, or --resume to continue."
            )
        with _replacing(path) as place:
            place.mkdir()
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        _fail("make", path, error)
    return path


@dataclass(frozen=True)
class Run:
    """One trained model's folder, read back and checked."""

    folder: Path
    spec: dict[str, Any]
    data: dict[str, Any]
    weights: dict[str, NDArray[Any]]
    history: list[dict[str, Any]]
    metrics: dict[str, Any]


def save_run(
    folder: str | Path,
    *,
    spec: Mapping[str, Any],
    data: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    history: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:
    """Write a run folder; it appears whole or not at all. Returns its path.

    spec and data: what is needed to build the model and to prepare its input. arrays: the weights, finite.
    history: one record per row; figures that are not finite become null (a diverged training has some).
    metrics: the figures, which alone may change later. An existing run is replaced only with `overwrite`.
    """
    folder = Path(folder)
    files = {
        "spec.json": (_json(dict(spec), folder / "spec.json", indent=2) + "\n").encode(),
        "data.json": (_json(dict(data), folder / "data.json", indent=2) + "\n").encode(),
        "model.safetensors": _pack(arrays, folder / "model.safetensors"),
        "history.jsonl": "".join(
            _json(_null_for_nonfinite(dict(row)), folder / "history.jsonl") + "\n" for row in history
        ).encode(),
    }
    manifest = {
        "format": FORMAT,
        "vaelab": _version(),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    files["metrics.json"] = (_json(dict(metrics), folder / "metrics.json", indent=2) + "\n").encode()
    files["manifest.json"] = (_json(manifest, folder / "manifest.json", indent=2) + "\n").encode()
    try:
        occupied = _occupied(folder)
        if occupied and not overwrite:
            raise StoreError(f"{_name(folder)} exists; choose another --out, or --overwrite it.")
        _check_writable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.parent / f".tmp-{secrets.token_hex(8)}"
        temporary.mkdir()
        try:
            for name, content in files.items():
                _write_through(temporary / name, content)
            _sync_folder(temporary)
            if occupied:
                with _replacing(folder) as place:
                    os.rename(temporary, place)
            else:
                os.rename(temporary, folder)
        except BaseException:
            if temporary.exists():
                shutil.rmtree(temporary)
            raise
        _sync_folder(folder.parent)
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        _fail("write", folder, error)
    return folder


def load_run(folder: str | Path) -> Run:
    """Read a run folder and check all of it; every fault is a StoreError that names the file and the fault.

    Who builds the model from the spec checks shapes: `check_arrays(run.weights, expected, run.folder)`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StoreError(f"{_name(folder)} is not a run folder: there is no such folder; check the path.")
    if not (folder / "manifest.json").exists():
        raise StoreError(f"{_name(folder)} is not a run folder: it has no manifest.json; check the path.")
    manifest = _read_object(folder / "manifest.json")
    _check_format(folder, manifest)
    files = manifest.get("files")
    contents: dict[str, bytes] = {}
    for name in ("spec.json", "data.json", "model.safetensors", "history.jsonl"):
        entry = files.get(name) if isinstance(files, dict) else None
        if not (
            isinstance(entry, dict)
            and type(entry.get("bytes")) is int
            and isinstance(entry.get("sha256"), str)
            and set(entry) == {"bytes", "sha256"}
        ):
            raise StoreError(f"{_name(folder / 'manifest.json')} is damaged: it does not describe {name}.")
        content = _read(folder / name)
        if content and len(content) < entry["bytes"]:
            raise StoreError(
                f"{_name(folder / name)} is truncated: {len(content)} of {entry['bytes']} bytes; restore it."
            )
        # An empty history is a history; any other empty file is named as such by _check_digest.
        _check_digest(folder / name, content, entry["sha256"])
        contents[name] = content
    return Run(
        folder=folder,
        spec=_object(_parse_json(contents["spec.json"], folder / "spec.json"), folder / "spec.json"),
        data=_object(_parse_json(contents["data.json"], folder / "data.json"), folder / "data.json"),
        weights=_unpack(contents["model.safetensors"], folder / "model.safetensors"),
        history=[
            _object(_parse_json(line, folder / "history.jsonl"), folder / "history.jsonl")
            for line in contents["history.jsonl"].splitlines()
        ],
        metrics=_read_object(folder / "metrics.json"),
    )


def update_metrics(folder: str | Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` into a run's metrics.json, key by key, under a lock; returns all metrics."""
    with _metrics_lock(Path(folder)) as path:
        metrics = {**_read_object(path), **changes}
        write_json(path, metrics)
    return metrics


def count_test_opening(folder: str | Path) -> int:
    """Count one more reading of the run's test split; returns the count, this time included."""
    with _metrics_lock(Path(folder)) as path:
        metrics = _read_object(path)
        count = metrics.get("test_opened", 0)
        if type(count) is not int or count < 0:
            raise StoreError(f"{_name(path)} is damaged: test_opened must be a count, but got {shown(count)}.")
        write_json(path, {**metrics, "test_opened": count + 1})
    return count + 1


def _name(path: str | Path) -> str:
    text = str(path)
    return text if text.isprintable() and len(text) <= 300 else shown(text)


def _fail(verb: str, path: Path, error: OSError | ValueError) -> NoReturn:
    """The one-line StoreError for what the system refused."""
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        reason = reason[0].lower() + reason[1:]
        remedy = _REMEDIES.get(error.errno or 0, "check the path")
    else:
        reason, remedy = str(error), "choose another name"
    raise StoreError(f"cannot {verb} {_name(path)}: {reason}; {remedy}.") from error


def _write_through(path: Path, data: bytes | str) -> None:
    """A new file with `data`, on the disk when this returns."""
    content = data.encode("utf-8") if isinstance(data, str) else data
    # os.open with 0o666 honours the umask, which the tempfile module does not.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        # Opening a FIFO would wait for a writer, and /dev/zero has no end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{_name(path)} is not a file; check the path.")
        return path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{_name(path)} is missing; restore it, or train again.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        _fail("read", path, error)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _parse_json(data: bytes, path: Path) -> Any:
    name = _name(path)
    if not data.strip():
        raise StoreError(f"{name} is empty; restore it.")
    try:
        text = data.decode("utf-8")
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float)
    except UnicodeDecodeError as error:
        raise StoreError(f"{name} is not JSON: byte {error.start} is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        # json points at the opening quote of a string that never ends.
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise StoreError(f"{name} is truncated: its JSON stops at line {error.lineno}; restore it.") from error
        raise StoreError(f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except ValueError as error:
        raise StoreError(f"{name} holds a number that is not finite or too long: {error}.") from error
    except RecursionError as error:
        raise StoreError(f"{name} is nested too deeply.") from error


def _object(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StoreError(f"{_name(path)} must hold a JSON object, but got {shown(value)}.")
    return value


def _read_object(path: Path) -> dict[str, Any]:
    return _object(read_json(path), path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _json(value: Any, path: Path, indent: int | None = None) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=_plain, indent=indent)
    except ValueError as error:
        place = _nonfinite_place(value)
        raise StoreError(
            f"{_name(path)} takes finite numbers only, but {place or 'a value'} is not ({error})."
        ) from error


def _nonfinite_place(value: Any, place: str = "") -> str | None:
    """Where in nested lists and dicts the first number that is not finite stands."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return place or "the value"
    if isinstance(value, Mapping):
        inner = ((f"{place}.{key}" if place else str(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple | np.ndarray):
        inner = ((f"{place}[{k}]", item) for k, item in enumerate(value))
    else:
        return None
    return next((found for where, item in inner if (found := _nonfinite_place(item, where))), None)


def _null_for_nonfinite(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _null_for_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nonfinite(item) for item in value]
    return value


def _check_finite(key: str, array: NDArray[Any], path: Path) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise StoreError(f"{_name(path)}: array {shown(key)} has {count} values that are NaN or infinite.")


def _pack(arrays: Mapping[str, NDArray[Any]], path: Path) -> bytes:
    dense: dict[str, NDArray[Any]] = {}
    for key, given in arrays.items():
        array = np.asarray(given)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise StoreError(f"{_name(path)}: array {shown(key)} must hold real numbers, but has dtype {array.dtype}.")
        _check_finite(key, array, path)
        # safetensors writes the memory as it lies, in C order or not.
        dense[key] = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return safetensors.numpy.save(dense)


def _unpack(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        # KeyError: a dtype that NumPy does not have.
        raise StoreError(f"{_name(path)} is not a safetensors file of arrays: {shown(str(error))}.") from error
    for key, array in arrays.items():
        _check_finite(key, array, path)
    return {key: array.copy() for key, array in arrays.items()}


def _check_digest(path: Path, data: bytes, sha256: str) -> None:
    if hashlib.sha256(data).hexdigest() == sha256:
        return
    if not data:
        fault = "is empty"
    elif data.lstrip()[:1] == b"<":
        fault = f"holds a web page or XML, beginning {shown(data.lstrip()[:24].decode('ascii', 'replace'))}"
    else:
        fault = "is damaged: its SHA-256 is not the one recorded when it was written"
    raise StoreError(f"{_name(path)} {fault}; restore it, or train again.")


def _check_format(folder: Path, manifest: dict[str, Any]) -> None:
    found = manifest.get("format")
    if type(found) is not int or found < 1 or not isinstance(manifest.get("vaelab"), str):
        raise StoreError(f"{_name(folder)} is not a run folder: its manifest.json is not vaelab's.")
    if found != FORMAT:
        raise StoreError(
            f"{_name(folder)} was written by format {found}; this vaelab reads format {FORMAT}; upgrade vaelab."
        )


def _version() -> str:
    try:
        return importlib.metadata.version("vaelab")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"  # run from a source folder


def _occupied(path: Path) -> bool:
    """Whether something other than an empty folder is at `path`."""
    if not os.path.lexists(path):
        return False
    return not path.is_dir() or any(path.iterdir())


def _check_writable(path: Path) -> None:
    """Raise OSError unless `path`, or the nearest folder above it that exists, can be written."""
    place = path.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{_name(place)} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"{_name(place)} cannot be written")


def _is_vaelab(folder: Path) -> bool:
    """Whether `folder` is a run or a study; a single name that other programs use too is not enough."""
    if (folder / "manifest.json").is_file():
        try:
            manifest = read_json(folder / "manifest.json")
        except StoreError:
            return False  # then it is not known to be ours, and is left alone
        return isinstance(manifest, dict) and {"format", "vaelab"} <= set(manifest)
    marks = [name for name in ("config.toml", "study.db", ".lock") if (folder / name).is_file()]
    return len(marks) >= 2


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Move a vaelab folder aside, let the caller fill its place, delete it; on a fault put it back."""
    place = path.resolve() if path.is_symlink() else path
    if not place.is_dir() or not _is_vaelab(place):
        raise StoreError(f"{_name(path)} is not a vaelab run or study, so it is not overwritten; choose another --out.")
    aside = place.parent / f".tmp-{secrets.token_hex(8)}"
    with StudyLock(place) if (place / ".lock").exists() else contextlib.nullcontext():
        os.rename(place, aside)
        try:
            yield place
        except BaseException:
            os.rename(aside, place)
            raise
    shutil.rmtree(aside)


@contextlib.contextmanager
def _metrics_lock(folder: Path) -> Iterator[Path]:
    """The path of metrics.json while no other process changes it."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise StoreError(f"{_name(path)} is missing; {_name(folder)} is not a run folder.")
    try:
        # A file of its own: each writing replaces metrics.json, and this process may hold .lock already.
        descriptor = os.open(folder / ".metrics.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        _fail("lock", path, error)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(descriptor)
