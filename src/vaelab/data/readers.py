"""The kinds of data files and how each is read: data, or labels in a separate file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from vaelab.data.arrays import Raw
from vaelab.data.csv import read_label_column, read_table
from vaelab.data.dataset import Array
from vaelab.data.idx import read_idx
from vaelab.data.limits import check_file, name_of
from vaelab.data.npy import read_npy, read_npz
from vaelab.errors import InputError


@dataclasses.dataclass(frozen=True)
class Reader:
    """One kind of file, recognised by its extension, else by its first bytes.

    read: the content, checked only for what the format requires. It gets the location of the labels, and sets
        `Raw.target` if it finds them there; else they are read from a file of that name.
    labels: one label per example, if such a file can contain them.
    """

    title: str
    endings: tuple[str, ...]
    starts: tuple[bytes, ...]
    read: Callable[[Path, str | None], Raw]
    labels: Callable[[Path], Array] | None = None


# tests/data/test_readers.py runs over every entry.
READERS = {
    "npy": Reader(".npy", (".npy",), (b"\x93NUM",), lambda path, _: Raw(path.stem, read_npy(path)), read_npy),
    "npz": Reader(".npz", (".npz",), (b"PK\x03\x04",), read_npz),
    "csv": Reader(".csv", (".csv",), (), read_table, read_label_column),
    "idx": Reader("IDX", (), (b"\x1f\x8b", b"\0\0"), lambda path, _: Raw(path.stem, read_idx(path)), read_idx),
}


def read(path: Path, target: str | None = None) -> Raw:
    """The content of one data file.

    target: where the labels are: a column of a .csv, a key of an .npz, or a label file for an array file.
    """
    raw = reader_of(path).read(path, target)
    if target is None or raw.target is not None:
        return raw
    labels = Path(target).expanduser().absolute()
    return dataclasses.replace(raw, y=read_labels(labels), target=str(labels))


def read_labels(path: Path) -> Array:
    """One label per example from a separate file."""
    reader = reader_of(path)
    if reader.labels is None:
        able = _listed([each.title for each in READERS.values() if each.labels is not None])
        raise InputError(
            f"labels must be in {able}, but {name_of(path)} is an {reader.title}; save them with numpy.save."
        )
    return reader.labels(path)


def reader_of(path: Path) -> Reader:
    """The reader of this file."""
    check_file(path)
    for reader in READERS.values():
        if path.suffix.lower() in reader.endings:
            return reader
    with open(path, "rb") as file:
        start = file.read(4)
    for reader in READERS.values():
        if any(start.startswith(known) for known in reader.starts):
            return reader
    raise InputError(
        f"data must be {_listed([each.title for each in READERS.values()])}, but {name_of(path)} is none of them (it "
        f"starts with {start!r}); convert it."
    )


def _listed(titles: list[str]) -> str:
    return f"{', '.join(titles[:-1])} or {titles[-1]}"
