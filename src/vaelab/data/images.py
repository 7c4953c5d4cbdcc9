"""A folder of pictures as an array: pictures are examples, subfolders are classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from vaelab.data.dataset import Array
from vaelab.data.raw import Raw
from vaelab.data.values import quote
from vaelab.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MAX_BYTES = 4 << 30  # limit for all pixels; larger data belong in .npy, which is memory-mapped
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # supported picture modes, and the lossless mode each is read as


def read_folder(folder: Path) -> Raw:
    """Pictures of one size, grey (N, H, W) or RGB (N, H, W, 3), in uint8, in the order of their names.

    FOLDER/CLASS/*.png has a class per folder; FOLDER/*.png has none. Hidden files and other files are ignored.
    """
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    own = _pictures(folder)
    by_class = {entry.name: found for entry in folders if (found := _pictures(entry))}
    name = quote(folder.name or folder, 80)
    if own and by_class:
        raise InputError(f"pictures must be in {name} or in its folders, one per class, but are in both; move some.")
    files = own or [path for found in by_class.values() for path in found]
    if not files:
        raise InputError(
            f"a data file or a folder of pictures ({', '.join(ENDINGS)}) is needed, but {name} is a directory without "
            "any; name one file in it."
        )
    x = _read(files)
    names = [str(path.relative_to(folder)) for path in files]
    if not by_class:
        return Raw(folder.name, x, ids=names, id_name="file")
    codes = np.repeat(np.arange(len(by_class)), [len(found) for found in by_class.values()])
    return Raw(folder.name, x, np.array(list(by_class))[codes], ids=names, id_name="file")


def _pictures(folder: Path) -> list[Path]:
    names = (name for name in os.listdir(folder) if not name.startswith("."))
    return sorted(path for name in names if (path := folder / name).suffix.lower() in ENDINGS and path.is_file())


def _read(files: Sequence[Path]) -> Array:
    x: Array | None = None
    first: tuple[str, tuple[int, int]] | None = None
    for row, path in enumerate(files):
        name = quote(path.name, 80)
        try:
            with Image.open(path) as picture:
                if picture.mode not in MODES:
                    raise InputError(
                        f"pictures must be grey or RGB with 8 bits, but {name} is {picture.mode}; save it as RGB."
                    )
                is_grey = MODES[picture.mode] == "L"
                kind = ("grey" if is_grey else "RGB", picture.size)
                if x is None:
                    W, H = picture.size
                    shape = (len(files), H, W) if is_grey else (len(files), H, W, 3)
                    _check_size(shape)
                    x, first = np.empty(shape, np.uint8), kind
                elif kind != first:
                    raise InputError(
                        f"pictures must be of one kind and size, but {quote(files[0].name, 80)} is {_told(first)} and "
                        f"{name} is {_told(kind)}; convert them."
                    )
                x[row] = np.asarray(picture.convert(MODES[picture.mode]))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, PIL.UnidentifiedImageError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())[:160].rstrip(".")
            raise InputError(f"{name} cannot be read as a picture: {reason}; remove it or save it again.") from None
    assert x is not None
    return x


def _check_size(shape: tuple[int, ...]) -> None:
    if np.prod(shape, dtype=np.int64) > MAX_BYTES:
        raise InputError(
            f"the pictures of a folder must fit in {MAX_BYTES >> 30} GiB, but {shape[0]:,} of {shape[2]} x {shape[1]} "
            "need more; save them as one .npy, which is memory-mapped."
        )


def _told(kind: tuple[str, tuple[int, int]] | None) -> str:
    assert kind is not None
    return f"{kind[0]}, {kind[1][0]} wide and {kind[1][1]} high"
