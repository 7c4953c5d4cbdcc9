"""Loads a Dataset from a name or path, and converts new data to rows for a trained model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vaelab.data import builtin, readers
from vaelab.data.arrange import transposed
from vaelab.data.arrays import build
from vaelab.data.builtin import Progress
from vaelab.data.cells import Unseen, recode, texts_of
from vaelab.data.columns import Column
from vaelab.data.dataset import Array, Dataset, names_of
from vaelab.data.frames import frame_raw
from vaelab.data.limits import check_name, name_of
from vaelab.data.own_splits import arrange_rows
from vaelab.data.picture_files import is_picture
from vaelab.data.raw import Raw
from vaelab.data.reading import PLAIN, Reading
from vaelab.data.style import ISO, Style
from vaelab.data.values import LARGEST, LARGEST_TABLE, as_array, as_examples, chunks, place, quote, to_numbers
from vaelab.errors import InputError, unknown_name

MATRIX = ("matrix.mtx.gz", "matrix.mtx")  # in a folder as Cell Ranger writes it
Kind = Literal["builtin", "file", "array"]
PathLike = str | os.PathLike[str]
KINDS_OF_SOURCE = ("builtin", "file", "array")
OF_SOURCE: dict[str, Any] = {  # what a source may hold
    "source": str | os.PathLike, "kind": str, "target": str, "id": str, "drop": list | tuple, "transpose": bool,
    "na": list | tuple, "types": dict, "group": str, "split": str, "condition": list | tuple,
    "data_dir": str | os.PathLike, "seed": int, "fingerprint": str, "numeric": bool,
}  # fmt: skip


def load(
    source: PathLike,
    *,
    target: str | None = None,
    id: str | None = None,
    drop: Sequence[str] = (),
    transpose: bool = False,
    na: Sequence[str] = (),
    types: Mapping[str, Any] | None = None,
    group: str | None = None,
    split: str | None = None,
    condition: Sequence[str] = (),
    data_dir: PathLike | None = None,
    download: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    kind: Kind | None = None,
    fingerprint: str | None = None,
    numeric: bool = False,
) -> Dataset:
    """A Dataset from a built-in name ("digits", "mnist", "fashion_mnist"), a file, a folder of pictures of one size, in
    which folders are classes, or a folder with a matrix.mtx.

    Files are .npy, .npz, IDX, and tables: .csv, .tsv, Parquet, Feather, .h5ad, the .h5 and .mtx of 10x Genomics.

    target: location of the labels: a column of a table, a key of an .npz, or a label file for an array file.
    id: column of a table with the names of the rows, which models never see. Without it, a column of text that
        differs in every row holds the names.
    group: column whose groups of rows are each in one split, such as replicates or patients; "id" groups rows by the
        stem of their ids: 309 of 309_1.
    split: column with the splits, train, validation or test; or a .csv with the columns id and split, or with one
        column in the order of the rows.
    drop: columns of a table that are left out. transpose: rows are features, and columns examples.
    condition: columns that are given rather than modelled, such as a batch: a VAE is then p(x | c).
    na: text that stands for a missing value, besides NA, N/A, NaN, null, ? and nothing.
    types: the kind of some columns, by name: real, positive, count, binary, categorical, ordinal, date, or how dates
        are written, such as "date %d/%m/%Y". A sequence of levels makes an ordinal column.
    data_dir: folder that contains mnist/ and fashion_mnist/; by default VAELAB_DATA, else the user's cache.
    download: fetch a built-in data set if missing; `progress(done, total)` reports the bytes of each file.
    seed: of the splits; an official test split is kept as is.
    kind: kind of `source`; by default a built-in name if it is one, else a path.
    fingerprint: of the expected data; other data are rejected.
    numeric: the target is a number to predict, not a class; rows without one are left out.

    `load(**data.source)` loads the same data again. Raises InputError with rule, value and remedy.

    >>> data = load("digits")
    >>> data.shape, len(data.x), data.classes[:3]
    ((8, 8), 1797, ('0', '1', '2'))
    """
    reading = Reading.create(
        target=target,
        id=id,
        drop=drop,
        transpose=transpose,
        na=na,
        types=types,
        group=group,
        split=split,
        condition=condition,
        numeric=numeric,
    )
    raw, kept = read_source(source, reading, data_dir=data_dir, download=download, progress=progress, kind=kind)
    data = from_raw(raw, kept, seed)
    if fingerprint is not None and fingerprint != data.source["fingerprint"]:
        raise InputError(
            f"{_called(kept)} must be the data recorded with fingerprint {quote(fingerprint)}, but has "
            f"{data.source['fingerprint']!r}: the file, the labels or the seed changed; restore them or "
            "start a new run."
        )
    return data


def load_again(
    source: Mapping[str, Any],
    *,
    data_dir: PathLike | None = None,
    where: str = "the source",
    download: bool = False,
) -> Dataset:
    """The data that a config.toml or a run's data.json names (`source`), checked by their fingerprint.

    A file decides nothing but where the data are and how they are read: `download` is the user's. `where` names the
    file in errors.

    >>> load_again({"source": "digits", "download": True})
    Traceback (most recent call last):
    vaelab.errors.InputError: the source must not say `download`, which is asked for at each call; leave it out.
    """
    if "download" in source:
        raise InputError(f"{where} must not say `download`, which is asked for at each call; leave it out.")
    given = {**source, **({} if data_dir is None else {"data_dir": data_dir})}
    for name, value in given.items():
        if name not in OF_SOURCE:
            raise unknown_name(f"key of {where}", str(name), OF_SOURCE)
        if not isinstance(value, OF_SOURCE[name]) or isinstance(value, bool) != (OF_SOURCE[name] is bool):
            raise InputError(f"`{name}` of {where} cannot be {quote(repr(value))}; restore the file.")
    if "source" not in given or given.get("kind", "file") not in KINDS_OF_SOURCE:
        raise InputError(f"{where} must say `source`, and a `kind` of {', '.join(KINDS_OF_SOURCE)}; restore the file.")
    return load(**given, download=download)


def from_raw(raw: Raw, kept: Mapping[str, Any], seed: int) -> Dataset:
    """The checked Dataset of what `read_source` returned."""
    return build(raw, seed=seed, source=kept, what=_called(kept), reading=Reading.from_dict(kept))


def _called(kept: Mapping[str, Any]) -> str:
    """The name of the data in messages."""
    return str(kept["source"]) if kept["kind"] == "builtin" else name_of(Path(kept["source"]))


def read_source(
    source: PathLike,
    reading: Reading = PLAIN,
    *,
    data_dir: PathLike | None = None,
    download: bool = False,
    progress: Progress | None = None,
    kind: Kind | None = None,
) -> tuple[Raw, dict[str, Any]]:
    """What `load` reads, before checking the values, and the arguments to read it again."""
    name = os.fspath(source)
    kind = kind or _kind(name)
    if kind == "array":
        raise InputError(
            f"the data {quote(name)} came from arrays in memory, not from a file; pass the same arrays again."
        )
    if kind == "builtin":
        if name not in builtin.NAMES:
            raise unknown_name("data set", name, builtin.NAMES)
        if reading.numeric:
            raise InputError(f"a numeric target is needed, but {name} has classes; use `vaelab classify`.")
        for option, value in reading.to_dict().items():
            why = "has its own labels" if option == "target" else "is no table"
            raise InputError(f"{name} {why}, but {option} is {quote(value)}; leave it out.")
        raw = builtin.read_builtin(name, data_dir=data_dir, download=download, progress=progress)
        kept: dict[str, Any] = {"source": name, "kind": "builtin"}
        return raw, kept if data_dir is None else {**kept, "data_dir": str(builtin.data_folder(data_dir))}
    path = Path(name).expanduser().absolute()
    raw, reading = arrange_rows(_read(path, reading), reading, name_of(path))
    kept = {"source": str(path), "kind": "file", **reading.to_dict()}
    return raw, kept | ({} if raw.target is None else {"target": raw.target})


def _read(path: Path, reading: Reading, shape: tuple[int, ...] = ()) -> Raw:
    """The content of a file or a folder; `shape` is that of a model's examples, where it is known."""
    check_name(path)
    if not os.path.isdir(path):
        return _read_pictures(path, reading.target, shape) if is_picture(path) else readers.read(path, reading)
    matrix = next((path / name for name in MATRIX if (path / name).is_file()), None)
    return _read_pictures(path, reading.target, shape) if matrix is None else readers.read(matrix, reading)


def _read_pictures(path: Path, target: str | None, shape: tuple[int, ...]) -> Raw:
    if target is not None:
        raise InputError(
            f"a folder of pictures takes its labels from its subfolders, but target is {quote(target)}; leave it out."
        )
    from vaelab.data.images import read_pictures  # imports Pillow

    return read_pictures(path, shape)


def _kind(name: str) -> Kind:
    if name in builtin.NAMES:
        return "builtin"
    path = Path(name)
    looks_like_a_name = name == path.name and not path.suffix and not name.startswith("~")
    # lexists: a dangling link or a device is a bad path, not an unknown name
    return "builtin" if looks_like_a_name and name and not os.path.lexists(name) else "file"


def rows_for(
    x: Any,
    shape: tuple[int, ...],
    *,
    dtype_hint: npt.DTypeLike,
    name: str = "X",
    columns: Sequence[Column] = (),
    reading: Reading = PLAIN,
) -> Array:
    """The rows of `new_rows`.

    >>> rows_for([[0.0, 1.0, 2.0]], (3,), dtype_hint="float32")
    array([[0., 1., 2.]], dtype=float32)
    """
    return new_rows(x, shape, dtype_hint=dtype_hint, name=name, columns=columns, reading=reading)[0]


def new_rows(
    x: Any,
    shape: tuple[int, ...],
    *,
    dtype_hint: npt.DTypeLike,
    name: str = "X",
    columns: Sequence[Column] = (),
    reading: Reading = PLAIN,
    unseen: Unseen | None = None,
    unused: list[str] | None = None,
    needs_id: bool = False,
) -> tuple[Array, Array | None, Style]:
    """New data as rows (n, D) for a model trained on examples of this shape, their ids (n,) if they have any, and how a
    table of text is written.

    x: (n, *shape) or (n, D) with D the product of shape; n may be 1. A path is read first.
    dtype_hint: the type of the training data. If that was uint8, whole numbers from 0 to 255 become
        uint8, and values that look rescaled to [0, 1] are rejected.
    columns: those of the model; columns of a table are then selected by name, and others ignored.
    reading: how the training data were read; the same holds here, without the target.
    unseen: collects levels of text that the columns do not have, whose cells are then missing; by default they are
        refused.
    unused: collects the columns of a table that are neither the model's nor the ids.
    needs_id: refuse data without the column `id` of the reading; by default its names are those the file has, if any.
    """
    features = names_of(columns)
    raw, name = _new_raw(x, name, reading, shape)
    x, ids, style = (x, None, ISO) if raw is None else (raw.x, _ids(raw, reading, needs_id, name), raw.style)
    forms: dict[str, str] = {}
    table = _named_columns(raw, features)
    if table is not None and features:
        rows = recode(_chosen(table, features, name), columns, name, reading.types, unseen, forms)
        style = dataclasses.replace(style, dates=forms)
        if unused is not None:
            unused += [column for column in table if column not in (*features, reading.id)]
    else:
        if isinstance(x, Mapping) and not x:
            raise InputError(f"{name} must have columns, but has none.")
        x = np.stack(list(x.values()), axis=1) if isinstance(x, Mapping) else as_examples(x, name)
        _check_width(x, shape, name)
        rows = to_numbers(x, name, features)
        if np.dtype(dtype_hint) == x.dtype == np.float64:
            rows = x  # few rows would be narrowed, although the model tells what float32 does not
    if rows.shape[1:] != shape and rows.shape[1:] != (int(np.prod(shape)),):
        raise _wrong_width(rows.shape, shape, name)
    rows = rows.reshape(len(rows), -1)
    if len(shape) == 1:
        return _as_trained(rows, np.dtype(dtype_hint)), ids, style
    if np.dtype(dtype_hint) == np.uint8 and rows.dtype != np.uint8:
        return _as_bytes(rows, name), ids, style
    return rows, ids, style


def new_columns(x: Any, columns: Sequence[Column], *, name: str = "X", reading: Reading = PLAIN) -> Mapping[str, Array]:
    """The columns of new data by name, as read: unlike in `new_rows`, cells may be what the table cannot hold.

    x, reading: as in `new_rows`. columns: those of the model; unnamed ones are x0, x1, ..., or taken in their order.

    >>> new_columns({"b": [1.0], "a": ["?"]}, [Column("a")])
    {'a': array(['?'], dtype=object)}
    """
    features = names_of(columns)
    raw, name = _new_raw(x, name, reading)
    table = _named_columns(raw, features)
    if table is not None and features:
        return {feature: np.asarray(values) for feature, values in _chosen(table, features, name).items()}
    places = [f"x{j}" for j in range(len(columns))]
    if table is not None and set(places) <= set(table):
        return {place: np.asarray(table[place]) for place in places}
    array = as_array(x if raw is None else raw.x, name) if table is None else np.stack(list(table.values()), axis=1)
    _check_width(array, (len(columns),), name)
    return dict(zip(places, array.T, strict=True))


def _new_raw(x: Any, name: str, reading: Reading, shape: tuple[int, ...] = ()) -> tuple[Raw | None, str]:
    """New data as read, if they are a file or a table, and what they are called."""
    raw: Raw | None
    if isinstance(x, (str, os.PathLike)):
        path = Path(x).expanduser().absolute()
        name = name_of(path)
        raw = _read(path, dataclasses.replace(reading, target=None), shape)
    else:
        raw = frame_raw(x, name)
    if raw is not None and reading.transpose:
        raw = transposed(raw, dataclasses.replace(reading, drop=()), name)
    return raw, name


def _ids(raw: Raw, reading: Reading, is_needed: bool, what: str) -> Array | None:
    """The names of new rows, where the training data had theirs, else what the file calls them."""
    values = raw.ids
    if reading.id is not None and not reading.transpose:
        known = raw.x if isinstance(raw.x, Mapping) else raw.beside
        if is_needed and reading.id not in known:
            raise unknown_name(f"id column of {what}:", reading.id, known)
        values = known.get(reading.id, values)
    if values is None:
        return None
    return np.array(["" if text is None else text for text in texts_of(np.asarray(values))], dtype=np.str_)


def _named_columns(raw: Raw | None, features: Sequence[str]) -> Mapping[str, Array] | None:
    """New data as columns by name, if they have names."""
    if raw is None:
        return None
    if isinstance(raw.x, Mapping):
        return raw.x
    if not features or len(raw.features) != np.shape(raw.x)[1]:
        return None
    x = np.asarray(raw.x)
    return {name: x[:, j] for j, name in enumerate(raw.features)}


def _as_trained(rows: Array, dtype: np.dtype[Any]) -> Array:
    """Rows of a table in the type of the training rows, so that a row is the same number by number in any table."""
    is_whole = dtype == np.uint8 and bool(((rows == np.round(rows)) & (rows >= 0) & (rows <= 255)).all())
    if is_whole or rows.dtype.kind != "f":
        return rows.astype(dtype if is_whole or dtype != np.uint8 else np.float32, copy=False)
    kind = np.dtype(np.float32) if dtype == np.uint8 else dtype
    if rows.dtype.itemsize < kind.itemsize:
        return rows.astype(kind)
    most = LARGEST if kind == np.float32 else LARGEST_TABLE  # what lies beyond is as far out as can be, not infinite
    return np.clip(rows, -most, most).astype(kind, copy=False)


def _chosen(columns: Mapping[str, Array], features: Sequence[str], name: str) -> Mapping[str, Array]:
    if not features:
        return columns
    missing = [feature for feature in features if feature not in columns]
    if missing:
        raise InputError(
            f"the model was trained on {len(features)} columns, but {name} lacks "
            f"{quote(missing[0])}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; add what "
            "is missing."
        )
    return {feature: columns[feature] for feature in features}


def _check_width(x: Array, shape: tuple[int, ...], name: str) -> None:
    d = int(np.prod(shape))
    if x.shape in (shape, (d,)):
        raise InputError(f"{name} must hold rows of examples, but has the shape of one, {x.shape}; use x[None].")
    if x.ndim >= 2 and 0 not in x.shape and x.shape[1:] not in (shape, (d,)):
        raise _wrong_width(x.shape, shape, name)


def _wrong_width(found: tuple[int, ...], shape: tuple[int, ...], name: str) -> InputError:
    wanted, has = int(np.prod(shape)), int(np.prod(found[1:]))
    if wanted != has:
        return InputError(f"the model was trained on {wanted} features, but {name} has {has}; give the same features.")
    remedy = "use np.moveaxis(x, 1, -1)" if found[2:] + found[1:2] == shape else "reshape it"
    return InputError(f"the model was trained on examples of shape {shape}, but {name} has {found[1:]}; {remedy}.")


def _as_bytes(rows: Array, name: str) -> Array:
    """Numbers given for 8-bit data: uint8 if whole, else float32 between 0 and 255."""
    low, high, whole = np.inf, -np.inf, True
    for start, piece in chunks(rows):
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        whole = whole and bool((piece == np.round(piece)).all())
        if low < 0 or high > 255:
            row, column = np.argwhere((piece < 0) | (piece > 255))[0]
            raise InputError(
                f"the model was trained on 8-bit values from 0 to 255, but {name} holds "
                f"{float(piece[row, column]):g} at {place((start + int(row), int(column)))}; rescale it."
            )
    if whole:
        return rows.astype(np.uint8)
    if high <= 1:
        raise InputError(
            f"the model was trained on 8-bit values from 0 to 255, but {name} ranges from {low:g} to "
            f"{high:g}; multiply by 255."
        )
    return rows


__all__ = ["Kind", "from_raw", "load", "new_columns", "new_rows", "read_source", "rows_for"]
