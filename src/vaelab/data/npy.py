"""NumPy's .npy and .npz. Headers are checked before memory is allocated."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaelab.data.dataset import Array
from vaelab.data.frames import frame_raw
from vaelab.data.limits import MAX_MEMBERS, MAX_UNPACKED_BYTES, check_file, name_of, read_array, reason
from vaelab.data.raw import Raw
from vaelab.data.values import quote
from vaelab.errors import InputError, unknown_name

X_KEYS = ("x", "X", "data", "images")


Y_KEYS = ("y", "Y", "labels", "label", "target", "targets")


PARTS = ("x_train", "y_train", "x_test", "y_test")


def read_npy(path: Path) -> Array:
    """The array of a .npy file, mapped read-only; its header must match the file's size."""
    size = check_file(path)
    with open(path, "rb") as file:
        dtype, shape, fortran = _npy_header(file, name_of(path))
        offset = file.tell()
    need = math.prod(shape) * dtype.itemsize
    if need > size - offset:
        raise InputError(
            f"{name_of(path)} is truncated or damaged: its header claims {need} bytes of data, but "
            f"{size - offset} follow; recreate it."
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
            f"{name} must have a valid .npy header, but: {reason(error)}; save it again with numpy.save."
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


def read_npz(path: Path, target: str | None) -> Raw:
    """The arrays x, y, x_test and y_test of an .npz, by their possible keys; `target` may name the label key."""
    name = name_of(path)
    with _archive(path) as (archive, members):
        wanted = _npz_keys(members, target, name)
        arrays: dict[str, Any] = {part: _npz_array(archive, members[key], name) for part, key in wanted.items()}
    unused = [key for key in members if key not in wanted.values()]
    notes = (
        ()
        if not unused
        else (f"{name} holds {_known(unused)}, too, which {'is' if len(unused) == 1 else 'are'} left out.",)
    )
    raw = array_raw(path.stem, arrays.pop("x"))
    return dataclasses.replace(raw, **arrays, target=target if target in members else None, notes=notes)


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, Array]:
    """Those arrays of an .npz file that have these keys."""
    with _archive(path) as (archive, members):
        return {key: _npz_array(archive, members[key], name_of(path)) for key in keys if key in members}


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """An .npz and its members by key; whatever damage is found in it is told in one line."""
    check_file(path)
    name = name_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, _npz_members(archive, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, struct.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} must be a whole .npz, but it is damaged: {reason(error)}; recreate it.") from None


def array_raw(stem: str, x: Array) -> Raw:
    """An array as read; a structured one as its columns."""
    return frame_raw(x, stem) or Raw(stem, x)


def _known(keys: Iterable[str]) -> str:
    return ", ".join(quote(key, 30) for key in list(keys)[:8])


def _npz_members(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """The arrays in the archive by key, after checking every entry of its directory."""
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
            fault = "appears twice" if key in members else "is not .npy"
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
    known = _known(members)
    if target is not None and target not in members and not Path(target).expanduser().is_file():
        raise unknown_name(f"key or label file for {name}:", target, members)
    if "x_train" in members:
        wanted = {part.removesuffix("_train"): part for part in PARTS if part in members}
        if target is not None and ("y_train" in members or "x_test" in members):
            raise InputError(
                f"{name} has its own labels and splits ({known}), but target is {quote(target)}; leave it out."
            )
    else:
        rest = [key for key in members if key != target and (target is not None or key not in Y_KEYS)]
        named = [key for key in X_KEYS if key in rest]
        if len(named) != 1 and len(rest) != 1:
            raise InputError(
                f"{name} must hold one array, or x and y, or x_train, y_train, x_test and y_test, but "
                f"holds {known or 'nothing'}; rename them: numpy.savez(file, x=..., y=...)."
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


def _npz_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Array:
    what = f"{name}, key {quote(entry.filename.removesuffix('.npy'))}"
    with archive.open(entry) as file:
        dtype, shape, fortran = _npy_header(file, what)
        need = math.prod(shape) * dtype.itemsize
        if need > min(entry.file_size, MAX_UNPACKED_BYTES):
            raise InputError(
                f"{what} is damaged: its header claims {need} bytes, the archive {entry.file_size}; recreate it."
            )
        flat = read_array(file, dtype, math.prod(shape), what)
        file.read(1)  # at the end of a member zipfile verifies its checksum
    return flat.reshape(shape, order="F" if fortran else "C")
