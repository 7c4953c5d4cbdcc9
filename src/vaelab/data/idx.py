"""IDX files, the format of MNIST, plain or gzipped. Headers are checked before memory is allocated."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data.dataset import Array
from vaelab.data.limits import MAX_UNPACKED_BYTES, Stream, check_file, name_of, read_array, reason
from vaelab.errors import InputError

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> Array:
    """The array of an IDX file, plain (bytes are then memory-mapped) or gzipped."""
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
                    f"{size - offset}; download it again."
                )
            return np.memmap(path, dtype, mode="r", offset=offset, shape=shape) if need else np.empty(shape, dtype)
    try:
        with gzip.open(path, "rb") as unpacked:
            return parse_idx(unpacked, name)
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(
            f"{name} must be a whole gzip file, but it is truncated or damaged: {reason(error)}; download it again."
        ) from None


def parse_idx(file: Stream, name: str) -> Array:
    """The array of an IDX stream, whose length must match its header."""
    dtype, shape = _idx_header(file, name)
    need = math.prod(shape) * dtype.itemsize
    if need > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{name} must unpack to at most {MAX_UNPACKED_BYTES} bytes, but claims {need}; unpack it or "
            "save it as .npy."
        )
    flat = read_array(file, dtype, math.prod(shape), name)
    if file.read(1):
        raise InputError(
            f"{name} must end after the {need} bytes that its IDX header claims, but continues; download it again."
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
        raise InputError(f"{name} is truncated: its IDX header ends after {4 + len(lengths)} bytes; download it again.")
    return np.dtype(IDX_TYPES[magic[2]]), struct.unpack(f">{magic[3]}I", lengths)
