"""Pictures as an array: what a viewer shows of each file, or one line that says why it cannot be read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageOps

from vaelab.data.dataset import Array
from vaelab.data.limits import check_name
from vaelab.data.picture_files import PictureFiles, find_pictures
from vaelab.data.raw import Raw
from vaelab.data.values import quote
from vaelab.errors import InputError
from vaelab.wording import counted

MAX_BYTES = 4 << 30  # limit for all pixels; larger data belong in .npy, which is memory-mapped
GREY, COLOUR = ("1", "L", "LA", "La"), ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr")
NUMBERS = {  # modes of one channel whose values are kept as they are, and what they are called
    "I;16": "grey of 16 bits", "I;16L": "grey of 16 bits", "I;16B": "grey of 16 bits", "I;16N": "grey of 16 bits",
    "I": "grey of 32 bits", "F": "floating-point numbers",
}  # fmt: skip
TYPES: dict[str, npt.DTypeLike] = {
    "grey": np.uint8, "RGB": np.uint8, "grey of 16 bits": np.uint16, "grey of 32 bits": np.int32,
    "floating-point numbers": np.float32,
}  # fmt: skip
ORIENTATION, SUBFILE, PREVIEW = 274, 254, 1  # tags of EXIF and of TIFF
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
WHITE = 255  # and opaque


@dataclasses.dataclass(frozen=True)
class Look:
    """What a picture's header says: grey or RGB, or numbers of more than 8 bits; width and height as shown."""

    kind: str
    size: tuple[int, int]
    has_more_bits: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, {self.size[0]} wide and {self.size[1]} high"


def read_pictures(path: Path, shape: tuple[int, ...] = ()) -> Raw:
    """Pictures of one size, (N, H, W) or in colour (N, H, W, 3), in natural order: those of a folder, or one file.

    Values are of 8 bits, except for grey pictures of more, whose numbers are kept. Among coloured pictures, and for a
    model of coloured ones (`shape` of its examples), grey ones are in colour, too. What is transparent is white.
    Folders in the folder are classes, or splits of classes (see `find_pictures`).
    """
    found = find_pictures(path) if path.is_dir() else PictureFiles((path,))
    for each in found.files:
        check_name(each)
    top = path if path.is_dir() else path.parent
    names = [each.relative_to(top).as_posix() for each in found.files]
    x, notes = _read(found.files, names, is_coloured=len(shape) == 3 and shape[2] == 3)
    if len(shape) > 1 and x.shape[1:] != shape:
        raise InputError(
            f"the model was trained on {_told(shape)}, but {quote(path.name, 80)} is {_told(x.shape[1:])}; scale or "
            "convert it."
        )
    y = None if found.classes is None else np.array(found.classes)
    split = None if found.splits is None else np.array(found.splits)
    classes = tuple(dict.fromkeys(found.classes or ()))
    return Raw(
        path.name, x, y, classes=classes, ids=names, id_name="file", split=split, notes=(*found.notes, *notes)
    )  # fmt: skip


def _read(files: Sequence[Path], names: Sequence[str], is_coloured: bool) -> tuple[Array, tuple[str, ...]]:
    looks = [_opened(path, name, _look) for path, name in zip(files, names, strict=True)]
    kinds = [look.kind for look in looks]
    if is_coloured or "RGB" in kinds:
        looks = [dataclasses.replace(look, kind="RGB") if look.kind == "grey" else look for look in looks]
    first = looks[0]
    for name, look in zip(names, looks, strict=True):
        if look.size != first.size:
            raise InputError(
                f"pictures must be of one size, but {quote(names[0], 80)} is {first} and {quote(name, 80)} is {look}; "
                "scale or crop them."
            )
        if look.kind != first.kind:
            raise InputError(
                f"pictures must be of one kind, but {quote(names[0], 80)} is {first} and {quote(name, 80)} is {look}; "
                "save all of them in one way."
            )
    W, H = first.size
    shape: tuple[int, ...] = (len(files), H, W, 3) if first.kind == "RGB" else (len(files), H, W)
    _check_size(shape, TYPES[first.kind])
    x = np.empty(shape, TYPES[first.kind])
    transparent = 0
    for row, (path, name) in enumerate(zip(files, names, strict=True)):
        x[row], is_transparent = _opened(path, name, lambda picture, name: _shown(picture, first.kind, name))
        transparent += is_transparent
    return x, _notes(len(files), kinds.count("grey") if first.kind == "RGB" else 0, transparent, looks)


def _opened(path: Path, name: str, read: Any) -> Any:
    """What `read` makes of a picture; errors name the file."""
    name = quote(name, 80)
    if os.path.getsize(path) == 0:
        raise InputError(f"{name} cannot be read as a picture: it is empty (0 bytes); remove it or save it again.")
    try:
        # Not by its path: Pillow would map an uncompressed TIFF into memory, and misreads one that EXIF turns.
        with open(path, "rb") as file, Image.open(file) as picture:
            return read(picture, name)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, PIL.UnidentifiedImageError) as error:
        if isinstance(error, InputError):
            raise
        is_other = isinstance(error, PIL.UnidentifiedImageError)
        reason = "its content is of another kind" if is_other else " ".join(str(error).split())[:160].rstrip(".")
        raise InputError(f"{name} cannot be read as a picture: {reason}; remove it or save it again.") from None


def _look(picture: Image.Image, name: str) -> Look:
    frames = _frames(picture)
    if frames > 1:
        raise InputError(f"a picture must be one, but {name} has {frames} frames; save each as a file of its own.")
    tile: Any = getattr(picture, "tile", None)  # of the file, until it is loaded
    has_more_bits = bool(tile) and ";16" in str(tile[0][3])
    if picture.getexif().get(ORIENTATION) in SIDEWAYS:
        picture = ImageOps.exif_transpose(picture)
    mode, size = picture.mode, picture.size
    if mode in NUMBERS:
        if "transparency" in picture.info:
            raise InputError(f"{name} has a transparent value beside 16 bits; save it without transparency.")
        is_png = mode == "I" and picture.format == "PNG"  # as older Pillow opens 16 bits
        return Look(NUMBERS["I;16" if is_png else mode], size)
    if mode not in (*GREY, *COLOUR):
        raise InputError(
            f"pictures must be grey or RGB, but {name} is {mode}, whose colours depend on a profile; save it as RGB."
        )
    is_grey = mode in GREY or (mode in ("P", "PA") and _has_grey_palette(picture))
    return Look("grey" if is_grey else "RGB", size, has_more_bits)


def _frames(picture: Image.Image) -> int:
    """The frames of a picture that are pictures themselves, rather than previews in files of cameras and scanners."""
    count = int(getattr(picture, "n_frames", 1))
    if count == 1 or picture.format == "MPO":
        return 1
    if picture.format == "TIFF":
        own = 0
        for number in range(count):
            picture.seek(number)
            tags: Any = getattr(picture, "tag_v2", {})
            own += not int(tags.get(SUBFILE, 0)) & PREVIEW
        picture.seek(0)
        return max(own, 1)
    return count


def _has_grey_palette(picture: Image.Image) -> bool:
    """Whether all colours of a palette are grey, but for those that are transparent."""
    colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    hidden = picture.info.get("transparency")
    if isinstance(hidden, int):
        colours = np.delete(colours, [hidden] if hidden < len(colours) else [], axis=0)
    elif isinstance(hidden, bytes):
        opaque = np.frombuffer(hidden.ljust(len(colours), b"\xff"), np.uint8)[: len(colours)] > 0
        colours = colours[opaque]
    return bool((colours == colours[:, :1]).all())


def _shown(picture: Image.Image, kind: str, name: str) -> tuple[Array, bool]:
    """The pixels as shown, and whether some were transparent."""
    picture = ImageOps.exif_transpose(picture)
    if kind not in ("grey", "RGB"):
        return np.asarray(picture), False
    mode = "L" if kind == "grey" else "RGB"
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("RGB" if picture.mode == "P" else mode).convert(mode)), False
    with_alpha = picture.convert("RGBA")
    opaque = np.asarray(with_alpha.convert("RGB").convert(mode))
    if (np.asarray(with_alpha)[..., 3] == WHITE).all():
        return opaque, False
    ground = Image.new("RGBA", picture.size, (WHITE, WHITE, WHITE, 255))
    ground.alpha_composite(with_alpha)
    shown = np.asarray(ground.convert("RGB").convert(mode))
    if (shown == WHITE).all():
        raise InputError(
            f"what is transparent is read as white, but then nothing is left to see of {name}; save it on a background "
            "of another colour."
        )
    return shown, True


def _notes(count: int, grey: int, transparent: int, looks: Sequence[Look]) -> tuple[str, ...]:
    found = []
    of = f"of {counted(count, 'picture')}"
    if grey and grey < count:
        found.append(f"{grey:,} {of} {_be(grey)} grey, and read as RGB like the others.")
    if transparent:
        parts = "has transparent parts" if transparent == 1 else "have transparent parts"
        found.append(f"{transparent:,} {of} {parts}, which are read as white.")
    cut = sum(look.has_more_bits for look in looks)
    if cut:
        have = "has" if cut == 1 else "have"
        found.append(f"{cut:,} {of} {have} 16 bits per colour, of which the upper 8 are read, as a screen shows them.")
    return tuple(found)


def _told(shape: tuple[int, ...]) -> str:
    """The pictures of a shape, in words.

    >>> _told((20, 33, 3)), _told((8, 8))
    ('RGB, 33 wide and 20 high', 'grey, 8 wide and 8 high')
    """
    channels = {(): "grey", (3,): "RGB"}
    return f"{channels.get(shape[2:]) or f'{shape[2]} channels'}, {shape[1]} wide and {shape[0]} high"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _check_size(shape: Sequence[int], dtype: npt.DTypeLike) -> None:
    if np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize > MAX_BYTES:
        raise InputError(
            f"the pictures of a folder must fit in {MAX_BYTES >> 30} GiB, but {shape[0]:,} of {shape[2]} x {shape[1]} "
            "need more; save them as one .npy, which is memory-mapped."
        )
