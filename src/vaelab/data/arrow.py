"""Columns of pyarrow as arrays; Parquet and Feather files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.types

from vaelab.data import limits
from vaelab.data.cells import texts_of
from vaelab.data.dataset import Array
from vaelab.data.limits import check_file, name_of, reason
from vaelab.data.raw import Category, Raw
from vaelab.data.reading import Reading
from vaelab.data.types import numeric_order
from vaelab.data.values import quote
from vaelab.errors import InputError


def column_of(column: Any, label: str, name: str) -> tuple[Array, Category | None]:
    """A column as numbers (NaN where missing), dates, or objects (text; None where missing); the levels of
    categories.
    """
    types, kind = pyarrow.types, column.type
    if types.is_floating(kind):
        return np.asarray(column.to_numpy()), None
    if types.is_dictionary(kind):
        return _categorical(column, label, name)
    if types.is_null(kind):
        return np.full(len(column), np.nan), None
    if types.is_boolean(kind):
        return np.asarray((column.cast("uint8").cast("float64") if column.null_count else column).to_numpy()), None
    if types.is_integer(kind):
        return _whole(column), None
    if types.is_decimal(kind):
        return np.asarray(column.cast("float64").to_numpy()), None
    if types.is_date(kind) or types.is_timestamp(kind):
        return np.asarray(column.cast(pyarrow.timestamp("us"), safe=False).to_numpy()), None
    if types.is_time(kind):
        return np.asarray(column.cast(pyarrow.time64("us"), safe=False).cast("int64").to_numpy()) / 1e6, None
    if types.is_duration(kind):
        return np.asarray(column.to_numpy()), None
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _objects(column.to_pylist()), None
    if types.is_binary(kind) or types.is_large_binary(kind):
        row = next(row for row, value in enumerate(column.to_pylist()) if value is not None and not _is_utf8(value))
        raise InputError(
            f"{name} must hold text in UTF-8, but row {row} of column {quote(label)} does not; save it as UTF-8."
        )
    raise InputError(
        f"{name} must hold one number, text or date per cell, but column {quote(label)} is of type {quote(kind)}; drop "
        "it or make it several columns."
    )


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _objects(values: list[Any]) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _whole(column: Any) -> Array:
    if not column.null_count:
        return np.asarray(column.to_numpy())
    try:
        return np.asarray(column.cast("float64").to_numpy())
    except pyarrow.ArrowInvalid:  # beyond 2**53: left as they are, so that the value is named
        return _objects(column.to_pylist())


def _categorical(column: Any, label: str, name: str) -> tuple[Array, Category | None]:
    pieces = column.unify_dictionaries().chunks if isinstance(column, pyarrow.ChunkedArray) else [column]
    words: Array = np.empty(0, dtype=object)
    found = []
    for piece in pieces:
        words = texts_of(column_of(piece.dictionary, label, name)[0])
        places = piece.indices.cast("int64").fill_null(len(words)).to_numpy(zero_copy_only=False)
        found.append(np.append(words, [None])[places])
    texts = np.concatenate([np.empty(0, dtype=object), *found])
    if column.type.ordered:
        return texts, Category(tuple(str(word) for word in words), True)
    seen = {text for text in texts if text is not None}
    return texts, Category(numeric_order(seen)) if seen else None


def read_parquet(path: Path, reading: Reading) -> Raw:
    """The columns of a .parquet file."""
    import pyarrow.parquet

    check_file(path)
    name = name_of(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            facts = file.metadata
            need = max(
                facts.num_rows * facts.num_columns * 8,
                sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups)),
            )
            if need > limits.MAX_UNPACKED_BYTES * 2:
                raise _too_large(name, need)
            for field in file.schema_arrow:
                _refuse_nested(field, name)
            table = file.read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} must be a whole Parquet file, but: {reason(error)}; save it again.") from None
    return _raw(table, path, name)


def read_feather(path: Path, reading: Reading) -> Raw:
    """The columns of a Feather file, which is Arrow's own format."""
    check_file(path)
    name = name_of(path)
    try:
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_file(source) as file:
            for field in file.schema:
                _refuse_nested(field, name)
            batches, need = [], 0
            for number in range(file.num_record_batches):
                batches.append(file.get_batch(number))
                need += batches[-1].nbytes
                if need > limits.MAX_UNPACKED_BYTES * 2:
                    raise _too_large(name, need)
            table = pyarrow.Table.from_batches(batches, file.schema)
            return _raw(table, path, name)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} must be a whole Feather file, but: {reason(error)}; save it again.") from None


def _refuse_nested(field: Any, name: str) -> None:
    if pyarrow.types.is_nested(field.type):
        raise InputError(
            f"{name} must hold one number, text or date per cell, but column {quote(field.name)} is nested "
            f"({quote(field.type)}); make it several columns, or drop it."
        )


def _too_large(name: str, need: int) -> InputError:
    return InputError(
        f"{name} must unpack to at most {limits.MAX_UNPACKED_BYTES * 2} bytes, but needs {need}; save fewer rows or "
        "columns."
    )


def _raw(table: Any, path: Path, name: str) -> Raw:
    columns: dict[str, Array] = {}
    categories: dict[str, Category] = {}
    for field, values in zip(table.schema, table.columns, strict=True):
        if field.name in columns:
            raise InputError(f"column names must differ, but {name} has {quote(field.name)} twice; rename one.")
        columns[field.name], category = column_of(values, field.name, name)
        if category is not None:
            categories[field.name] = category
    ids, title = None, "id"
    for index in _index_columns(table):
        if index in columns:
            ids, title = columns.pop(index), "id" if index.startswith("__index_level_") else index
    return Raw(
        path.stem, columns, features=tuple(columns), categories=categories, ids=ids, id_name=title
    )  # fmt: skip


def _index_columns(table: Any) -> list[str]:
    """The columns that were the index of a data frame of pandas."""
    try:
        found = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    except (ValueError, AttributeError):
        return []
    return [each for each in found if isinstance(each, str)]
