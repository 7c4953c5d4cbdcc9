"""The text of a file in UTF-8: unpacked from gzip, bzip2, xz, Zstandard or zip, and decoded from UTF-16."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow

from vaelab.data import limits
from vaelab.data.limits import check_file, name_of, reason
from vaelab.data.values import quote
from vaelab.errors import InputError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def _zstandard(path: Path) -> Any:
    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")


OPENERS: dict[bytes, tuple[str, Callable[[Path], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
    b"\x28\xb5\x2f\xfd": ("Zstandard", _zstandard),
}
ZIP = b"PK\x03\x04"
DAMAGED = (EOFError, OSError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def plain_name(path: Path) -> str:
    """The lower-case name of a file without the ending of a compression.

    >>> plain_name(Path("Table.CSV.gz"))
    'table.csv'
    """
    name = path.name.lower()
    return next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)


def text_of(path: Path) -> Any:
    """The bytes of a text file as a buffer of pyarrow; a plain file is mapped into memory."""
    size, name = check_file(path), name_of(path)
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith(ZIP):
        content = _unpacked("zip", lambda: _zipped(path, name), name)
    elif opener := next((known for magic, known in OPENERS.items() if start.startswith(magic)), None):
        content = _unpacked(opener[0], lambda: _all(opener[1](path)), name)
    elif size > limits.MAX_UNPACKED_BYTES:
        raise _too_large(name, size)
    else:
        return _from_utf16(pyarrow.memory_map(str(path)).read_buffer(), name)
    return _from_utf16(pyarrow.py_buffer(content), name)


def from_windows(content: Any, name: str) -> Any:
    """Bytes that are not UTF-8 as those of Windows-1252, of which Latin-1 is a part; then in UTF-8."""
    found = content.to_pybytes()
    if not found.decode("utf-8", "ignore").isascii():
        place = _first_fault(found)
        raise InputError(f"{name} must be in UTF-8, as most of it is, but byte {place} is not; save it as UTF-8.")
    try:
        return pyarrow.py_buffer(found.decode("cp1252").encode())
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} must be in UTF-8, UTF-16 or Windows-1252 (Latin-1), but byte {error.start} is in none of them; "
            "save it as UTF-8."
        ) from None


def _first_fault(content: bytes) -> int:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return error.start
    raise AssertionError("the content is in UTF-8")


def _unpacked(kind: str, read: Callable[[], bytes], name: str) -> bytes:
    try:
        content = read()
    except DAMAGED as error:
        raise InputError(f"{name} must be a whole {kind} file, but: {reason(error)}; download it again.") from None
    if len(content) > limits.MAX_UNPACKED_BYTES:
        raise _too_large(name, len(content))
    if not content:
        raise InputError(f"{name} must hold a table, but nothing is in it; recreate it.")
    return content


def _all(file: Any) -> bytes:
    with file:
        content: bytes = file.read(limits.MAX_UNPACKED_BYTES + 1)
        return content


def _zipped(path: Path, name: str) -> bytes:
    """The only file in a zip, but for what macOS adds."""
    with zipfile.ZipFile(path) as archive:
        members = [
            entry
            for entry in archive.infolist()
            if not (entry.is_dir() or entry.filename.startswith("__MACOSX/") or Path(entry.filename).name[:1] == ".")
        ]
        if len(members) != 1:
            told = ", ".join(quote(entry.filename) for entry in members[:4]) or "nothing"
            raise InputError(f"{name} must hold one table, but holds {told}; unpack it, and name what is to be read.")
        return _all(archive.open(members[0]))


def _from_utf16(content: Any, name: str) -> Any:
    """In UTF-8: UTF-16 is known by its mark, or by the zero bytes of Latin letters."""
    start = content.slice(0, min(4, content.size)).to_pybytes()
    zeros = [byte == 0 for byte in start]
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        coding = "utf-16"
    elif zeros == [False, True, False, True]:
        coding = "utf-16-le"
    elif zeros == [True, False, True, False]:
        coding = "utf-16-be"
    else:
        return content
    try:
        return pyarrow.py_buffer(content.to_pybytes().decode(coding).encode())
    except UnicodeDecodeError as error:
        raise InputError(f"{name} must be in UTF-8, but is broken UTF-16: {reason(error)}; save it as UTF-8.") from None


def _too_large(name: str, size: int) -> InputError:
    return InputError(
        f"{name} must hold at most {limits.MAX_UNPACKED_BYTES} bytes of text, but has {size} or more; save it as "
        "Parquet or .npy."
    )
