"""Which files of a folder are pictures, in which order, and what its subfolders are: classes, splits, or neither."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vaelab.data.splits import WORDS
from vaelab.data.values import quote
from vaelab.errors import InputError
from vaelab.wording import counted

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
OTHERS = (
    ".heic",
    ".heif",
    ".avif",
    ".svg",
    ".jp2",
    ".psd",
    ".dng",
    ".tga",
    ".eps",
    ".ico",
)  # pictures that are not read
MOST_FOLDERS = 10_000  # at any depth


@dataclasses.dataclass(frozen=True)
class PictureFiles:
    """The pictures of a folder in natural order, the class and the split of each if folders tell, and notes."""

    files: tuple[Path, ...]
    classes: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def is_picture(path: Path) -> bool:
    """Whether this is one picture, by its ending."""
    return path.suffix.lower() in ENDINGS and path.is_file()


def are_pictures(path: Path) -> bool:
    """Whether this is a folder, or one picture."""
    return path.is_dir() or is_picture(path)


def natural(text: str) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts numbers in names by value.

    >>> sorted(["img10.png", "img2.png", "img1.png"], key=natural)
    ['img1.png', 'img2.png', 'img10.png']
    """
    parts = re.split(r"([0-9]+)", text.lower())
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts], text


def find_pictures(folder: Path) -> PictureFiles:
    """FOLDER/*.png, FOLDER/CLASS/*.png, FOLDER/SPLIT/*.png or FOLDER/SPLIT/CLASS/*.png.

    A SPLIT is train, validation or test, or another word for one. Folders that hold nothing but one folder, hidden
    files and other files are passed over.
    """
    found = _find(folder)
    _refuse_links(found.files, folder)
    return found


def _refuse_links(files: Sequence[Path], folder: Path) -> None:
    """Rejects pictures that are elsewhere: a link may lead to anything of the user's."""
    home = folder.resolve()
    outside = {place for place in {path.parent for path in files} if not place.resolve().is_relative_to(home)}
    for path in files:
        if path.parent in outside or (path.is_symlink() and not path.resolve().is_relative_to(home)):
            raise InputError(
                f"pictures must be in the folder that is named, but {quote(path.relative_to(folder).as_posix(), 80)} "
                f"is a link out of {quote(folder.name or folder, 80)}; copy what it stands for, or name its folder."
            )


def _find(folder: Path) -> PictureFiles:
    top, name = folder, quote(folder.name or folder, 80)
    while not _pictures(folder) and len(inside := _with_pictures(folder)) == 1 and not _pictures(inside[0]):
        folder = inside[0]
    own, inside = _pictures(folder), _with_pictures(folder)
    if own and inside:
        raise InputError(f"pictures must be in {name} or in its folders, one per class, but are in both; move some.")
    if not own and not inside:
        raise _nothing(top, name)
    notes = _other_pictures(top)
    if own:
        return PictureFiles(tuple(own), notes=notes)
    if len(inside) > 1 and all(each.name.lower() in WORDS for each in inside):
        parts = {each.name: find_class(each, name) for each in inside}
        some = [each.name for each in inside if parts[each.name].classes is None]
        if 0 < len(some) < len(parts):
            raise InputError(
                f"each of the splits in {name} must have a folder per class or none may, but {quote(some[0])} has "
                "none and others do; move its pictures into folders."
            )
        return PictureFiles(
            tuple(path for part in parts.values() for path in part.files),
            None if some else tuple(label for part in parts.values() for label in part.classes or ()),
            tuple(split for split, part in parts.items() for _ in part.files),
            notes,
        )
    return dataclasses.replace(find_class(folder, name), notes=notes)


def find_class(folder: Path, name: str) -> PictureFiles:
    """The pictures of one folder, or of its folders, one per class."""
    own, inside = _pictures(folder), _with_pictures(folder)
    if own and not inside:
        return PictureFiles(tuple(own))
    deep = next((inner for each in inside for inner in _with_pictures(each)), None)
    if own or deep is not None:
        where = quote((deep or inside[0]).relative_to(folder).as_posix(), 80)
        raise InputError(
            f"the pictures of a class must be in one folder, but {name} also has some in {where}; move them up, or "
            "name the folder whose folders are the classes."
        )
    found = {each.name: _pictures(each) for each in inside}
    return PictureFiles(
        tuple(path for paths in found.values() for path in paths),
        tuple(label for label, paths in found.items() for _ in paths),
    )


def _pictures(folder: Path) -> list[Path]:
    names = sorted((name for name in os.listdir(folder) if not name.startswith(".")), key=natural)
    return [folder / name for name in names if is_picture(folder / name)]


def _with_pictures(folder: Path) -> list[Path]:
    """The folders in this one that have pictures at any depth; links to folders are not followed further."""
    found = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    count = itertools.count(1)  # of the folders in all of them
    return sorted((entry for entry in found if _has_pictures(entry, count)), key=lambda entry: natural(entry.name))


def _has_pictures(folder: Path, count: Iterator[int]) -> bool:
    return any(path.suffix.lower() in ENDINGS for path in _walk(folder, count))


def _walk(folder: Path, count: Iterator[int]) -> Iterator[Path]:
    """The files at any depth, without hidden ones."""
    for where, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if next(count) > MOST_FOLDERS:
            raise InputError(
                f"a folder of pictures must hold at most {MOST_FOLDERS:,} folders, but there are more, such as "
                f"{quote(where, 80)}; name the folder whose folders are the classes."
            )
        yield from (Path(where) / name for name in sorted(names) if not name.startswith("."))


def _others(folder: Path) -> list[str]:
    return [path.name for path in _walk(folder, itertools.count(1)) if path.suffix.lower() in OTHERS]


def _other_pictures(folder: Path) -> tuple[str, ...]:
    """A note on pictures of kinds that are not read."""
    found = _others(folder)
    if not found:
        return ()
    verb = "is" if len(found) == 1 else "are"
    return (f"{counted(len(found), 'picture')} {verb} not read, such as {quote(found[0], 80)}: save as .png.",)


def _nothing(folder: Path, name: str) -> InputError:
    others = _others(folder)
    known = ", ".join(ENDINGS)
    if others:
        return InputError(f"pictures must be {known}, but those in {name} are not, such as {quote(others[0], 80)}; "
                          "save them as .png.")  # fmt: skip
    return InputError(
        f"a data file or a folder of pictures ({known}) is needed, but {name} is a directory without any; name one "
        "file in it."
    )
