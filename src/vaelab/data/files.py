"""Data files to raw arrays: .npy, .npz, .csv and IDX. Headers are checked before memory is asked for."""

from __future__ import annotations

import csv
import gzip
import math
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from vaelab.data.arrays import Raw
from vaelab.data.dataset import Array
from vaelab.data.values import Columns, quote
from vaelab.errors import InputError, unknown_name

MAX_UNPACKED_BYTES = 4 << 30  # what a compressed file may grow to; larger data belong in .npy, which is mapped
MAX_MEMBERS = 1000  # arrays in one .npz
READ_BYTES = 1 << 20
MAX_ROW_BYTES = 4 << 20  # of a .csv
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
X_KEYS = ("x", "X", "data", "images")
Y_KEYS = ("y", "labels", "target")
PARTS = ("x_train", "y_train", "x_test", "y_test")


class Stream(Protocol):
    """What yields bytes in order: a file, a member of an archive, a gzip stream."""

    def read(self, size: int = -1, /) -> bytes: ...


def read(path: Path, target: str | None = None) -> Raw:
    """The content of one data file, unchecked except for what the format itself asks.

    target: where the labels are: a column of a .csv, a key of an .npz, or a file of labels beside an array
        file.
    """
    kind = file_kind(path)
    if kind == "csv":
        return _read_table(path, target)
    if kind == "npz":
        return _read_npz(path, target)
    x = read_npy(path) if kind == "npy" else read_idx(path)
    return _with_label_file(Raw(path.stem, x), target)


def check_file(path: Path) -> int:
    """The size in bytes of a regular, readable file; anything else is refused without opening it."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"the data file must exist, but {name_of(path)} does not; check the path.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the data file must be readable, but {name_of(path)} is not: {_reason(error)}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"a data file is needed, but {name_of(path)} is a directory; name one file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"a regular data file is needed, but {name_of(path)} is a device or a pipe; save it to a file first."
        )
    if status.st_size == 0:
        raise InputError(f"a data file must not be empty, but {name_of(path)} has 0 bytes; write it again.")
    if not os.access(path, os.R_OK):
        raise InputError(f"the data file must be readable, but {name_of(path)} is not; change its permissions.")
    return status.st_size


def name_of(path: Path) -> str:
    return quote(path.name or path, 80)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].rstrip(".")


def file_kind(path: Path) -> str:
    """npy, npz, csv or idx: by the file's ending, else by its first bytes."""
    check_file(path)
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz", ".csv"):
        return suffix[1:]
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"\x93NUM":
        return "npy"
    if start == b"PK\x03\x04":
        return "npz"
    if start[:2] in (b"\x1f\x8b", b"\0\0"):
        return "idx"
    raise InputError(
        f"data must be .npy, .npz, .csv or IDX, but {name_of(path)} is none of them (it starts with "
        f"{start!r}); convert it."
    )


def _with_label_file(raw: Raw, target: str | None) -> Raw:
    if target is None:
        return raw
    path = Path(target).expanduser().absolute()
    return Raw(raw.name, raw.x, read_labels(path), raw.x_test, raw.y_test, raw.features, target=str(path))


def read_labels(path: Path) -> Array:
    """One label per example from a .npy, an IDX file or a .csv with one column."""
    kind = file_kind(path)
    if kind == "npy":
        return read_npy(path)
    if kind == "idx":
        return read_idx(path)
    if kind == "npz":
        raise InputError(
            f"labels must be in .npy, .csv or IDX, but {name_of(path)} is an .npz; save them with numpy.save."
        )
    columns = read_csv(path)
    if len(columns) != 1:
        raise InputError(
            f"a .csv of labels must have 1 column, but {name_of(path)} has {len(columns)}; keep only the labels."
        )
    return next(iter(columns.values()))


# .npy and .npz


def read_npy(path: Path) -> Array:
    """The array of a .npy file, mapped read-only; its header must be true to the file's size."""
    size = check_file(path)
    with open(path, "rb") as file:
        dtype, shape, fortran = _npy_header(file, name_of(path))
        offset = file.tell()
    need = math.prod(shape) * dtype.itemsize
    if need > size - offset:
        raise InputError(
            f"{name_of(path)} is cut off or damaged: its header claims {need} bytes of data, but "
            f"{size - offset} follow; write it again."
        )
    if need == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _npy_header(file: IO[bytes], name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise InputError(f"{name} must be .npy of version 1 or 2, but is {version}; save it again with numpy.save.")
        shape, fortran, dtype = readers[version](file)
    except InputError:
        raise
    except (
        ValueError,
        TypeError,
        SyntaxError,
        tokenize.TokenError,
        RecursionError,
        MemoryError,
        OverflowError,
    ) as error:
        raise InputError(
            f"{name} must have a valid .npy header, but: {_reason(error)}; save it again with numpy.save."
        ) from None
    if dtype.hasobject:
        raise InputError(
            f"{name} must hold plain numbers, but holds pickled Python objects, which are never loaded; save numbers."
        )
    if len(shape) > 32 or any(length < 0 for length in shape):
        raise InputError(
            f"{name} must have a valid .npy header, but its shape is {quote(shape)}; save it again with numpy.save."
        )
    return dtype, tuple(int(length) for length in shape), bool(fortran)


def _read_npz(path: Path, target: str | None) -> Raw:
    check_file(path)
    name = name_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _npz_members(archive, name)
            wanted = _npz_keys(members, target, name)
            arrays: dict[str, Any] = {
                part: _npz_array(archive, members[key], f"{name}, key {quote(key)}") for part, key in wanted.items()
            }
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        OSError,
        struct.error,
        ValueError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} must be a whole .npz, but it is damaged: {_reason(error)}; write it again.") from None
    raw = Raw(path.stem, **arrays, target=target)
    return raw if target is None or target in members else _with_label_file(raw, target)


def _npz_members(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """The arrays in the archive by key, after every entry of its directory has been checked."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise InputError(f"{name} must hold at most {MAX_MEMBERS} arrays, but holds {len(entries)}; save fewer.")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or entry.orig_filename != entry.filename:
            raise InputError(
                f"{name} must hold plain names, but one is {quote(entry.orig_filename)}; do not trust this file."
            )
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{name} must be stored or deflated, but {quote(entry.filename)} is encrypted or packed "
                "otherwise; save it with numpy.savez_compressed."
            )
        key = entry.filename.removesuffix(".npy")
        if key == entry.filename or key in members:
            fault = "stands twice" if key in members else "is no .npy"
            raise InputError(
                f"{name} must hold .npy arrays, each once, but {quote(entry.filename)} {fault}; use numpy.savez."
            )
        members[key] = entry
    total = sum(entry.file_size for entry in members.values())
    if total > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{name} must unpack to at most {MAX_UNPACKED_BYTES} bytes, but claims {total}; save it as "
            ".npy, which is not unpacked."
        )
    return members


def _npz_keys(members: Mapping[str, Any], target: str | None, name: str) -> dict[str, str]:
    """Which key holds which part: x, y, x_test, y_test."""
    known = ", ".join(quote(key, 30) for key in list(members)[:8])
    if target is not None and target not in members and not Path(target).expanduser().is_file():
        raise unknown_name(f"key or label file for {name}:", target, members)
    if "x_train" in members:
        wanted = {part.removesuffix("_train"): part for part in PARTS if part in members}
        if target is not None and ("y_train" in members or "x_test" in members):
            raise InputError(
                f"{name} brings its own labels and splits ({known}), but target is {quote(target)}; leave it out."
            )
    else:
        rest = [key for key in members if key != target and (target is not None or key not in Y_KEYS)]
        named = [key for key in X_KEYS if key in rest]
        if len(named) != 1 and len(rest) != 1:
            raise InputError(
                f"{name} must hold one array, or x and y, or x_train, y_train, x_test and y_test, but "
                f"holds {known or 'nothing'}; rename them."
            )
        wanted = {"x": named[0] if len(named) == 1 else rest[0]}
        labels = [key for key in Y_KEYS if key in members and key != wanted["x"]]
        if target is None and labels:
            if len(labels) > 1:
                raise InputError(f"{name} must hold one array of labels, but holds {known}; say which with target.")
            wanted["y"] = labels[0]
    if target is not None and target in members:
        wanted["y"] = target
    return wanted


def _npz_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, what: str) -> Array:
    with archive.open(entry) as file:
        dtype, shape, fortran = _npy_header(file, what)
        need = math.prod(shape) * dtype.itemsize
        if need > min(entry.file_size, MAX_UNPACKED_BYTES):
            raise InputError(
                f"{what} is damaged: its header claims {need} bytes, the archive {entry.file_size}; write it again."
            )
        flat = _read_array(file, dtype, math.prod(shape), what)
        file.read(1)  # at the end of the member zipfile compares its checksum
    return flat.reshape(shape, order="F" if fortran else "C")


def _read_array(file: Stream, dtype: np.dtype[Any], count: int, what: str) -> Array:
    """`count` numbers from a stream, in pieces, never more than asked."""
    flat = np.empty(count, dtype)
    if flat.nbytes == 0:
        return flat
    view, done = memoryview(flat.view(np.uint8).data), 0
    while done < len(view):
        piece = file.read(min(READ_BYTES, len(view) - done))
        if not piece:
            raise InputError(
                f"{what} is cut off: {len(view)} bytes of data were expected, but only {done} came; get it again."
            )
        view[done : done + len(piece)] = piece
        done += len(piece)
    return flat


# IDX


def read_idx(path: Path) -> Array:
    """The array of an IDX file, plain (bytes are then mapped) or in gzip."""
    size = check_file(path)
    name = name_of(path)
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            dtype, shape = _idx_header(file, name)
            offset, need = file.tell(), math.prod(shape) * dtype.itemsize
            if need != size - offset:
                raise InputError(
                    f"{name} must hold the {need} bytes that its IDX header claims, but holds "
                    f"{size - offset}; get it again."
                )
            return np.memmap(path, dtype, mode="r", offset=offset, shape=shape) if need else np.empty(shape, dtype)
    try:
        with gzip.open(path, "rb") as unpacked:
            return parse_idx(unpacked, name)
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(
            f"{name} must be a whole gzip file, but it is cut off or damaged: {_reason(error)}; get it again."
        ) from None


def parse_idx(file: Stream, name: str) -> Array:
    """The array of an IDX stream, which must end where its header says."""
    dtype, shape = _idx_header(file, name)
    need = math.prod(shape) * dtype.itemsize
    if need > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{name} must unpack to at most {MAX_UNPACKED_BYTES} bytes, but claims {need}; unpack it or "
            "save it as .npy."
        )
    flat = _read_array(file, dtype, math.prod(shape), name)
    if file.read(1):
        raise InputError(
            f"{name} must end after the {need} bytes that its IDX header claims, but goes on; get it again."
        )
    return flat.reshape(shape)


def _idx_header(file: Stream, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or not 1 <= magic[3] <= 4:
        raise InputError(
            f"{name} must start with an IDX magic such as 0x00000803, but starts with 0x{magic.hex()}; convert it."
        )
    lengths = file.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise InputError(f"{name} is cut off: its IDX header ends after {4 + len(lengths)} bytes; get it again.")
    return np.dtype(IDX_TYPES[magic[2]]), struct.unpack(f">{magic[3]}I", lengths)


# .csv


def _read_table(path: Path, target: str | None) -> Raw:
    columns = dict(read_csv(path))
    y = None
    if target is not None:
        if target not in columns:
            raise unknown_name(f"target column of {name_of(path)}:", target, columns)
        y = columns.pop(target)
    return Raw(path.stem, columns, y, features=tuple(columns), target=target)


def read_csv(path: Path) -> Columns:
    """The columns of a .csv with a header, each as numbers (missing: NaN) or as objects (text, dates)."""
    check_file(path)
    name = name_of(path)
    header = _csv_header(path, name)
    try:
        import pyarrow
        import pyarrow.csv
    except ImportError:
        raise InputError("reading .csv needs pyarrow, but it is not installed; pip install 'vaelab[tables]'.") from None
    missing = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]
    try:
        table = pyarrow.csv.read_csv(
            path,
            # One thread, since only then does an error tell its row.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=MAX_ROW_BYTES),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=False),
            convert_options=pyarrow.csv.ConvertOptions(null_values=missing, strings_can_be_null=True),
        )
    except pyarrow.ArrowInvalid as error:
        raise InputError(_csv_fault(str(error), name)) from None
    if len(table.column_names) != len(header):
        raise InputError(
            f"{name} must have one header cell per column, but has {len(header)} for {table.num_columns}; repair it."
        )
    return {column: _csv_column(table.column(number)) for number, column in enumerate(header)}


def _csv_header(path: Path, name: str) -> list[str]:
    with open(path, "rb") as file:
        line = file.readline(READ_BYTES)
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in line:
        raise InputError(f"{name} must be in UTF-8, but looks like UTF-16 or binary; save it as UTF-8.")
    if len(line) == READ_BYTES:
        raise InputError(f"{name} must have a header line below {READ_BYTES} bytes, but it is longer; is this a .csv?")
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} must be in UTF-8, but byte {error.start} of its header is not; save it as UTF-8."
        ) from None
    try:
        header = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InputError(f"{name} must have a valid header line, but: {_reason(error)}; repair it.") from None
    if len(header) == 1 and (other := next((sign for sign in ";\t|" if sign in text), None)):
        raise InputError(
            f"{name} must separate its columns by commas, but uses {other!r}; save it with commas and decimal points."
        )
    if not header or any(_is_number(cell) or not cell.strip() for cell in header):
        worst = next((cell for cell in header if _is_number(cell)), "")
        raise InputError(
            f"{name} must start with a header that names every column, but one name is {quote(worst)}; add "
            "a header line."
        )
    for number, cell in enumerate(header):
        if cell in header[:number]:
            raise InputError(f"column names must differ, but {name} has {quote(cell)} twice; rename one.")
    return header


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().lower().lstrip("+-") not in ("nan", "inf", "infinity")


def _csv_fault(message: str, name: str) -> str:
    reason = quote(message.split("\n")[0], 140)
    if "straddling" in message:
        return f"{name} must have rows below {MAX_ROW_BYTES} bytes, but one cell or row is larger; remove it."
    if "Expected" in message and "columns" in message:
        return f"{name} must have as many cells in each row as its header, but: {reason}; repair that row."
    return f"{name} must be a valid .csv in UTF-8, but: {reason}; repair it."


def _csv_column(column: Any) -> Array:
    import pyarrow.types

    kind = column.type
    if pyarrow.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pyarrow.types.is_boolean(kind):
        column = column.cast("uint8")
    elif not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        return np.array(column.to_pylist(), dtype=object)
    values: Array = column.to_numpy()
    return values


__all__ = ["check_file", "file_kind", "parse_idx", "read", "read_csv", "read_idx", "read_labels", "read_npy"]
