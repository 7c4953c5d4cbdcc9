"""Limits checked before a file is read: a regular file, not too large, also when unpacked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vaelab.data.dataset import Array
from vaelab.data.values import quote
from vaelab.errors import InputError

MAX_UNPACKED_BYTES = 4 << 30  # limit for compressed files; larger data belong in .npy, which is memory-mapped


MAX_DENSE_BYTES = 8 << 30  # of a sparse matrix or a table with its rows and columns exchanged, as float32


MAX_MEMBERS = 1000  # arrays in one .npz


READ_BYTES = 1 << 20


MOST_TEXT = 1_000  # characters of a class, a level or the name of a row; what is longer is free text


class Stream(Protocol):
    """A readable byte stream: a file, a member of an archive, a gzip stream."""

    def read(self, size: int = -1, /) -> bytes: ...


def check_file(path: Path) -> int:
    """The size in bytes of a regular, readable file; anything else is rejected without opening it."""
    check_name(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"the data file must exist, but {quote(path, 200)} does not; check the path.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the data file must be readable, but {name_of(path)} is not: {reason(error)}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"a data file is needed, but {name_of(path)} is a directory; name one file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"a regular data file is needed, but {name_of(path)} is a device or a pipe; save it to a file first."
        )
    if status.st_size == 0:
        raise InputError(f"a data file must not be empty, but {name_of(path)} has 0 bytes; recreate it.")
    if not os.access(path, os.R_OK):
        raise InputError(f"the data file must be readable, but {name_of(path)} is not; change its permissions.")
    return status.st_size


def check_name(path: Path) -> None:
    """Rejects a path that is not text, which no page and no table of results could name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"a file must have a name in UTF-8, but {name_of(path)} has none; rename it, or use a locale in UTF-8."
        ) from None


def check_dense(rows: int, columns: int, what: str) -> None:
    """Rejects what would be too large as a dense matrix, before it is made."""
    need = rows * columns * 4
    if need > MAX_DENSE_BYTES:
        raise InputError(
            f"{what} must fit in {MAX_DENSE_BYTES:,} bytes as a dense matrix, but {rows:,} x {columns:,} values of 4 "
            f"bytes need {need:,}; keep fewer columns, such as the most variable ones."
        )


def check_texts(texts: Iterable[Any], what: str, each: str = "row") -> None:
    """Rejects text that is too long for a name: arrays would give each row as much room, and pages would show it."""
    for number, text in enumerate(texts):
        if isinstance(text, str) and len(text) > MOST_TEXT:
            raise InputError(
                f"{what} must have at most {MOST_TEXT:,} characters in each {each}, but {each} {number} has "
                f"{len(text):,}: {quote(text)}; shorten it, or leave the column out."
            )


def name_of(path: Path) -> str:
    return quote(path.name or path, 80)


def reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:160].rstrip(".")


def read_array(file: Stream, dtype: np.dtype[Any], count: int, what: str) -> Array:
    """`count` numbers from a stream, read in chunks, never more than requested."""
    flat = np.empty(count, dtype)
    if flat.nbytes == 0:
        return flat
    view, done = memoryview(flat.view(np.uint8).data), 0
    while done < len(view):
        piece = file.read(min(READ_BYTES, len(view) - done))
        if not piece:
            raise InputError(
                f"{what} is truncated: {len(view)} bytes of data were expected, but got {done}; download it again."
            )
        view[done : done + len(piece)] = piece
        done += len(piece)
    return flat
