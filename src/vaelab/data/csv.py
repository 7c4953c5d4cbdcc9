"""CSV files as columns, read with pyarrow; errors name the row and column."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data.arrays import Raw
from vaelab.data.dataset import Array
from vaelab.data.limits import READ_BYTES, check_file, name_of, reason
from vaelab.data.values import Columns, quote
from vaelab.errors import InputError, unknown_name

MAX_ROW_BYTES = 4 << 20  # per row of a .csv


def read_table(path: Path, target: str | None) -> Raw:
    """The columns of a .csv; `target` names the label column."""
    columns = dict(read_csv(path))
    y = None
    if target is not None:
        if target not in columns:
            raise unknown_name(f"target column of {name_of(path)}:", target, columns)
        y = columns.pop(target)
    return Raw(path.stem, columns, y, features=tuple(columns), target=target)


def read_label_column(path: Path) -> Array:
    """The only column of a .csv of labels."""
    columns = read_csv(path)
    if len(columns) != 1:
        raise InputError(
            f"a .csv of labels must have 1 column, but {name_of(path)} has {len(columns)}; keep only the labels."
        )
    return next(iter(columns.values()))


def read_csv(path: Path) -> Columns:
    """The columns of a .csv with a header, each as numbers (missing: NaN) or as objects (text, dates)."""
    check_file(path)
    name = name_of(path)
    header = _csv_header(path, name)
    try:
        import pyarrow
        import pyarrow.csv
    except ImportError:
        raise InputError("reading .csv needs pyarrow, but it is not installed; pip install 'vaelab[tables]'.") from None
    missing = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]
    try:
        table = pyarrow.csv.read_csv(
            path,
            # Errors include the row only with a single thread.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=MAX_ROW_BYTES),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=False),
            convert_options=pyarrow.csv.ConvertOptions(null_values=missing, strings_can_be_null=True),
        )
    except pyarrow.ArrowInvalid as error:
        raise InputError(_csv_fault(str(error), name)) from None
    if len(table.column_names) != len(header):
        raise InputError(
            f"{name} must have one header cell per column, but has {len(header)} for {table.num_columns}; repair it."
        )
    return {column: _csv_column(table.column(number)) for number, column in enumerate(header)}


def _csv_header(path: Path, name: str) -> list[str]:
    with open(path, "rb") as file:
        line = file.readline(READ_BYTES)
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in line:
        raise InputError(f"{name} must be in UTF-8, but looks like UTF-16 or binary; save it as UTF-8.")
    if len(line) == READ_BYTES:
        raise InputError(f"{name} must have a header line below {READ_BYTES} bytes, but it is longer; is this a .csv?")
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} must be in UTF-8, but byte {error.start} of its header is not; save it as UTF-8."
        ) from None
    try:
        header = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InputError(f"{name} must have a valid header line, but: {reason(error)}; repair it.") from None
    if len(header) == 1 and (other := next((sign for sign in ";\t|" if sign in text), None)):
        raise InputError(
            f"{name} must separate its columns by commas, but uses {other!r}; save it with commas and decimal points."
        )
    if not header or any(_is_number(cell) or not cell.strip() for cell in header):
        worst = next((cell for cell in header if _is_number(cell)), "")
        raise InputError(
            f"{name} must start with a header that names every column, but one name is {quote(worst)}; add "
            "a header line."
        )
    for number, cell in enumerate(header):
        if cell in header[:number]:
            raise InputError(f"column names must differ, but {name} has {quote(cell)} twice; rename one.")
    return header


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().lower().lstrip("+-") not in ("nan", "inf", "infinity")


def _csv_fault(message: str, name: str) -> str:
    reason = quote(message.split("\n")[0], 140)
    if "straddling" in message:
        return f"{name} must have rows below {MAX_ROW_BYTES} bytes, but one cell or row is larger; remove it."
    if "Expected" in message and "columns" in message:
        return f"{name} must have as many cells in each row as its header, but: {reason}; repair that row."
    return f"{name} must be a valid .csv in UTF-8, but: {reason}; repair it."


def _csv_column(column: Any) -> Array:
    import pyarrow.types

    kind = column.type
    if pyarrow.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pyarrow.types.is_boolean(kind):
        column = column.cast("uint8")
    elif not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        return np.array(column.to_pylist(), dtype=object)
    values: Array = column.to_numpy()
    return values
