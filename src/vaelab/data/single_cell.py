"""Single-cell data: .h5ad of AnnData, .h5 and .mtx of 10x Genomics. Sizes are checked before memory is taken."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data import limits
from vaelab.data.dataset import Array
from vaelab.data.frames import annotated, densified, unique_names
from vaelab.data.limits import check_dense, check_file, name_of, reason
from vaelab.data.raw import Raw
from vaelab.data.reading import Reading
from vaelab.data.values import quote
from vaelab.errors import InputError

EXTRA = "pip install 'vaelab[single-cell]'"
ROWS = ("barcodes.tsv", "barcodes.tsv.gz")
COLUMNS = ("features.tsv", "features.tsv.gz", "genes.tsv", "genes.tsv.gz")
PARTS_10X = ("data", "indices", "indptr", "shape", "barcodes")


def read_h5ad(path: Path, reading: Reading) -> Raw:
    """The matrix X of an AnnData, with the names and columns of its observations."""
    check_file(path)
    name = name_of(path)
    try:
        import anndata
        import h5py
    except ImportError:
        raise InputError(f"reading .h5ad needs anndata, but it is not installed; {EXTRA}.") from None
    try:
        with h5py.File(path) as file:
            if "X" not in file or "obs" not in file:
                raise InputError(f"{name} must hold X and obs of an AnnData, but holds {_keys(file)}; save it again.")
            _check_matrix(file["X"], name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that repeat, and types of older versions: both are read
            found = anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata raise errors of many types for damaged files
        raise _damaged(error, name, ".h5ad") from None
    raw = annotated(found, name)
    return Raw(
        path.stem, raw.x, features=raw.features, ids=raw.ids, beside=raw.beside, notes=raw.notes
    )  # fmt: skip


def _keys(group: Any) -> str:
    return ", ".join(quote(key, 20) for key in list(group)[:6]) or "nothing"


def _damaged(error: Exception, name: str, kind: str) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(f"{name} must be a whole {kind} file, but: {quote(reason(error), 120)}; save it again.")


def _check_matrix(x: Any, name: str) -> None:
    """Rejects a matrix in HDF5 that is too large, stored or as it is dense."""
    shape = x.attrs.get("shape", x.attrs.get("h5sparse_shape")) if hasattr(x, "keys") else x.shape
    if shape is None or len(shape) != 2:
        raise InputError(f"{name} must hold a matrix X of rows and columns, but has none; assign a layer to X.")
    check_dense(int(shape[0]), int(shape[1]), name)
    for part in x.values() if hasattr(x, "keys") else ():
        _check_part(part, name)


def _check_part(part: Any, name: str) -> None:
    need = int(part.size) * part.dtype.itemsize
    if need > limits.MAX_DENSE_BYTES:
        raise InputError(
            f"{name} must hold parts of at most {limits.MAX_DENSE_BYTES} bytes, but one has {need}; keep fewer columns."
        )


def read_10x(path: Path, reading: Reading) -> Raw:
    """Counts of cells in HDF5, as Cell Ranger writes them: barcodes are ids, features are columns."""
    check_file(path)
    name = name_of(path)
    try:
        import h5py
        import scipy.sparse
    except ImportError:
        raise InputError(f"reading .h5 needs h5py, but it is not installed; {EXTRA}.") from None
    try:
        with h5py.File(path) as file:
            group = _group_10x(file, name)
            for part in PARTS_10X:
                _check_part(group[part], name)
            features, cells = (int(length) for length in group["shape"][:])
            check_dense(cells, features, name)
            # Its columns are cells; compressed by columns, it is the matrix of cells compressed by rows.
            parts = (group["data"][:], group["indices"][:], group["indptr"][:])
            matrix = scipy.sparse.csr_matrix(parts, shape=(cells, features))
            matrix.check_format()
            barcodes = _texts(group["barcodes"])
            names, codes = _features_10x(group)
    except Exception as error:  # h5py and SciPy raise errors of many types for damaged files
        raise _damaged(error, name, "10x .h5") from None
    if len(barcodes) != cells or len(names) != features:
        raise InputError(
            f"{name} must name its {cells} cells and {features} features, but has {len(barcodes)} barcodes and "
            f"{len(names)} names; recreate it."
        )
    return _named(path.stem, matrix, barcodes, names, codes, name)


def _group_10x(file: Any, name: str) -> Any:
    found = [file[key] for key in file if hasattr(file[key], "keys") and all(part in file[key] for part in PARTS_10X)]
    if len(found) != 1:
        raise InputError(
            f"{name} must hold one matrix of 10x Genomics ({', '.join(PARTS_10X)}), but holds {_keys(file)}; if it is "
            "an AnnData, rename it to .h5ad, else save one of its arrays by numpy.save."
        )
    return found[0]


def _features_10x(group: Any) -> tuple[list[str], list[str]]:
    """Names and codes of the features, of both versions of the format."""
    if "features" in group:
        return _texts(group["features"]["name"]), _texts(group["features"]["id"])
    return _texts(group["gene_names"]), _texts(group["genes"])


def _texts(part: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in part[:]]


def _named(stem: str, matrix: Any, ids: list[str] | None, names: list[str], codes: list[str], name: str) -> Raw:
    """A sparse matrix (cells, features) as dense rows with names: symbols, with the code where they repeat."""
    notes: list[str] = []
    if len(set(names)) < len(names):
        twice = {each for each in names if names.count(each) > 1} if len(names) < 1000 else _repeated(names)
        names = [f"{each} ({code})" if each in twice else each for each, code in zip(names, codes, strict=True)]
        notes.append(f"{len(twice)} names stand for several features: theirs got their code.")
    return Raw(
        stem, densified(matrix, name), features=tuple(unique_names(names)),
        ids=None if ids is None else np.array(ids, dtype=object), notes=tuple(notes),
    )  # fmt: skip


def _repeated(names: list[str]) -> set[str]:
    seen: set[str] = set()
    return {each for each in names if each in seen or seen.add(each)}  # type: ignore[func-returns-value]


def read_mtx(path: Path, reading: Reading) -> Raw:
    """A sparse matrix in the Matrix Market format, with the barcodes and features of 10x Genomics beside it.

    With them, its rows are features, as 10x writes it; without, they are examples.
    """
    check_file(path)
    name = name_of(path)
    import scipy.io
    import scipy.sparse

    try:
        rows, columns, entries, *_ = scipy.io.mminfo(str(path))
        if entries * 16 > limits.MAX_DENSE_BYTES or entries > rows * columns:
            raise InputError(
                f"{name} must hold at most {min(rows * columns, limits.MAX_DENSE_BYTES // 16)} entries, but "
                f"claims {entries}; recreate it."
            )
        check_dense(int(rows), int(columns), name)
        matrix = scipy.sparse.csr_matrix(scipy.io.mmread(str(path)))
    except (ValueError, OSError, EOFError, OverflowError, zlib.error, MemoryError) as error:
        raise _damaged(error, name, "Matrix Market") from None
    barcodes, features = _beside(path, ROWS), _beside(path, COLUMNS)
    if features is None:
        return Raw(_stem(path), densified(matrix, name), ids=None if barcodes is None else _first(barcodes))
    by_feature = matrix.shape[0] == len(features)
    if by_feature:
        matrix = matrix.T.tocsr()
    if matrix.shape[1] != len(features) or (barcodes is not None and matrix.shape[0] != len(barcodes)):
        cells = "no" if barcodes is None else str(len(barcodes))
        raise InputError(
            f"{name} must fit the files beside it, but is {rows} x {columns}, with {len(features)} features and "
            f"{cells} barcodes; use the files that belong to it."
        )
    codes = [row[0] for row in features]
    names = [row[1] if len(row) > 1 else row[0] for row in features]
    return _named(_stem(path), matrix, None if barcodes is None else _first(barcodes).tolist(), names, codes, name)


def _stem(path: Path) -> str:
    stem = path.name.removesuffix(".gz").removesuffix(".mtx")
    return path.absolute().parent.name if stem == "matrix" else stem


def _first(rows: list[list[str]]) -> Array:
    return np.array([row[0] for row in rows], dtype=object)


def _beside(path: Path, names: tuple[str, ...]) -> list[list[str]] | None:
    """The lines of a file of names beside a matrix, with the same prefix."""
    prefix = path.name.removesuffix(".gz").removesuffix(".mtx").removesuffix("matrix")
    found = next((path.with_name(prefix + name) for name in names if path.with_name(prefix + name).is_file()), None)
    if found is None:
        return None
    check_file(found)
    try:
        with gzip.open(found, "rb") if found.suffix == ".gz" else open(found, "rb") as file:
            content = file.read(limits.MAX_UNPACKED_BYTES)
        return [line.split("\t") for line in content.decode().splitlines() if line]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _damaged(error, name_of(found), "text") from None
