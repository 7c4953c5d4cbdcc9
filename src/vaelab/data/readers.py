"""The kinds of data files and how each is read: data, or labels in a separate file."""

from __future__ import annotations

import dataclasses
import gzip
import re
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from vaelab.data.dataset import Array
from vaelab.data.idx import read_idx
from vaelab.data.limits import check_file, name_of
from vaelab.data.npy import array_raw, read_npy, read_npz
from vaelab.data.picture_files import OTHERS
from vaelab.data.raw import Raw
from vaelab.data.reading import Reading
from vaelab.data.values import quote
from vaelab.errors import InputError, unknown_name


@dataclasses.dataclass(frozen=True)
class Reader:
    """One kind of file, recognised by its extension, else by its first bytes.

    read: the content, checked only for what the format requires: all columns of a table. It sets `Raw.target` if it
        finds the labels under a key of that name.
    labels: one label per example, if such a file can contain them.
    """

    title: str
    endings: tuple[str, ...]
    starts: tuple[bytes, ...]
    read: Callable[[Path, Reading], Raw]
    labels: Callable[[Path], Array] | None = None


def _lazy(module: str, name: str) -> Callable[..., Any]:
    """A function of a module of `vaelab.data` that is imported when it is called: it needs a large library."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"vaelab.data.{module}"), name)(*arguments)

    return call


_csv, _label_column = _lazy("csv", "read_table"), _lazy("csv", "read_label_column")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
TEXT = tuple(f"{kind}{packed}" for kind in (".csv", ".tsv", ".data", ".tab", ".txt") for packed in ("", *PACKED))

# tests/data/test_readers.py runs over every entry.
READERS = {
    "npy": Reader(".npy", (".npy",), (b"\x93NUM",), lambda path, _: array_raw(path.stem, read_npy(path)), read_npy),
    "npz": Reader(".npz", (".npz",), (b"PK\x03\x04",), lambda path, reading: read_npz(path, reading.target)),
    "csv": Reader(".csv", (*TEXT, ".zip"), (), _csv, _label_column),
    "parquet": Reader(".parquet", (".parquet", ".pq"), (b"PAR1",), _lazy("arrow", "read_parquet")),
    "feather": Reader(".feather", (".feather", ".arrow", ".ipc"), (b"ARRO",), _lazy("arrow", "read_feather")),
    "h5ad": Reader(".h5ad", (".h5ad",), (), _lazy("single_cell", "read_h5ad")),
    "10x": Reader("10x .h5", (".h5", ".hdf5"), (b"\x89HDF",), _lazy("single_cell", "read_10x")),
    "mtx": Reader(".mtx", (".mtx", ".mtx.gz"), (b"%%Ma",), _lazy("single_cell", "read_mtx")),
    "idx": Reader("IDX", (), (b"\x1f\x8b", b"\0\0"), lambda path, _: Raw(path.stem, read_idx(path)), read_idx),
}


# What is not read, by ending: what it is called, and what helps.
FOREIGN = {
    ("a file of MATLAB", "save one of its arrays by numpy.save"): (".mat",),
    ("a spreadsheet", "save its sheet as .csv"): (".xlsx", ".xlsm", ".xls", ".ods", ".numbers"),
    ("a file of pickled Python objects, which are never loaded", "save arrays by numpy.save"): (
        ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt",
    ),
    ("a file of R", "save its table by write.csv"): (".rds", ".rda", ".rdata"),
    ("a table of SPSS, Stata or SAS", "export it as .csv"): (".sav", ".por", ".dta", ".sas7bdat", ".xpt"),
    ("a text in another form than a table", "export it as .csv"): (
        ".json", ".jsonl", ".ndjson", ".xml", ".html", ".yaml", ".yml", ".arff",
    ),
    ("a data base", "export a table as .csv or .parquet"): (".db", ".sqlite", ".sqlite3", ".duckdb"),
    ("an array in a form that is not read", "save it by numpy.save"): (
        ".nc", ".fits", ".nii", ".nii.gz", ".dcm", ".safetensors", ".tfrecord", ".zarr", ".raw",
    ),
    ("sound", "save its samples by numpy.save"): (".wav", ".mp3", ".flac", ".ogg"),
    ("a film", "save its frames as pictures"): (".mp4", ".avi", ".mov", ".mkv", ".webm"),
    ("a document", "save its table as .csv"): (".pdf", ".docx", ".doc"),
    ("an archive", "unpack it"): (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar"),
    ("a picture in a form that is not read", "save it as .png"): OTHERS,
}  # fmt: skip


def read(path: Path, reading: Reading | None = None) -> Raw:
    """The content of one data file.

    The target of the reading is a column of a table, a key of an .npz, or a label file for an array file.
    """
    reading = reading or Reading()
    raw = reader_of(path).read(path, reading)
    target = reading.target
    if target is None or raw.target is not None or reading.transpose:
        return raw
    columns = {*raw.beside, *(raw.x if isinstance(raw.x, dict) else raw.features)}
    if target in columns:
        return raw
    labels = Path(target).expanduser().absolute()
    if columns and not labels.is_file():
        raise unknown_name(f"target column of {name_of(path)}:", target, columns)
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
    name = path.name.lower()
    for reader in READERS.values():
        if name.endswith(reader.endings):
            return reader
    what = f"data must be {_listed([each.title for each in READERS.values()])}, but {name_of(path)}"
    for (content, remedy), endings in FOREIGN.items():
        if name.endswith(endings):
            raise InputError(f"{what} is {content}; {remedy}.")
    with open(path, "rb") as file:
        start = file.read(64)
    is_idx = re.search("idx|ubyte", name) is not None
    if not is_idx and start.startswith(b"\x1f\x8b") and (inside := _unpacked(path))[:2] != b"\0\0":
        raise InputError(f"{what} is none of them, packed by gzip (it starts with {_shown(inside)}); unpack it.")
    for reader in READERS.values():
        if any(start.startswith(known) for known in reader.starts):
            return reader
    is_text = not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", start)
    remedy = "if it is a table, rename it to .csv" if is_text else "convert it"
    raise InputError(f"{what} is none of them (it starts with {_shown(start)}); {remedy}.")


def _unpacked(path: Path) -> bytes:
    """The first bytes in a gzip; those of IDX, whose reader tells the fault, if it is damaged."""
    try:
        with gzip.open(path) as file:
            return file.read(4)
    except (EOFError, OSError, zlib.error):
        return b"\0\0"


def _shown(start: bytes) -> str:
    return quote(repr(start[:4]))


def _listed(titles: list[str]) -> str:
    return f"{', '.join(titles[:-1])} or {titles[-1]}"
