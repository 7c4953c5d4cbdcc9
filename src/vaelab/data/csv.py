"""CSV files as columns, read with pyarrow; errors name the row and column."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.csv

from vaelab.data import limits
from vaelab.data.arrow import column_of
from vaelab.data.dataset import Array
from vaelab.data.dialect import SAMPLE_BYTES, Dialect, dialect_of
from vaelab.data.limits import check_file, name_of, reason
from vaelab.data.raw import Raw
from vaelab.data.reading import Reading
from vaelab.data.values import Columns, quote
from vaelab.errors import InputError

MAX_ROW_BYTES = 64 << 20  # per row; columns are converted in blocks of this size
MANY_COLUMNS = 1000
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "?")
CODES = re.compile(r"[A-Z]{2}")
ZEROS = re.compile(rb'(?:^|[,;\t|"\n\r])[ ]*[+-]?0[0-9]')
QUOTE = re.compile(b'"')
ZERO_CODE = r"^\s*[+-]?0[0-9]+$"
COMMA_NUMBER = r"^[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?$|^[+-]?[0-9]+$"


def read_table(path: Path, reading: Reading) -> Raw:
    """The columns of a .csv or .tsv, plain or gzipped."""
    return _File(path, reading.na).raw()


def read_label_column(path: Path) -> Array:
    """The only column of a .csv of labels."""
    columns = read_csv(path)
    if len(columns) != 1:
        raise InputError(
            f"a .csv of labels must have 1 column, but {name_of(path)} has {len(columns)}; keep only the labels."
        )
    return next(iter(columns.values()))


def read_csv(path: Path, na: Sequence[str] = ()) -> Columns:
    """The columns of a .csv, each as numbers (missing: NaN), dates, or objects (text; missing: None)."""
    columns: Columns = _File(path, na).raw().x
    return columns


class _File:
    """A .csv file that is being read."""

    def __init__(self, path: Path, na: Sequence[str]):
        self.path, self.name, self.na = path, name_of(path), tuple(na)
        self.missing = list(dict.fromkeys([*MISSING, *na]))
        self.content = _content(path, self.name)
        start = self.content.slice(0, min(SAMPLE_BYTES, self.content.size)).to_pybytes()
        if len(start) < self.content.size:
            start = start[: start.rfind(b"\n") + 1] or start
        self.dialect: Dialect = dialect_of(start, path, self.name)
        self.has_quotes = QUOTE.search(self.content) is not None
        self.notes: list[str] = []

    def raw(self) -> Raw:
        """The columns."""
        header = self.dialect.header
        texts = {header[j]: pyarrow.string() for j in self.dialect.quoted}
        table = self._table(texts)
        zeros = self._with_leading_zeros(table)
        if zeros:
            again = self._read(
                column_types=dict.fromkeys(zeros, pyarrow.string()), null_values=self.missing, include_columns=zeros
            )
            for column in zeros:
                table = table.set_column(header.index(column), column, again.column(column))
        keep = {header[j] for j in self.dialect.quoted} | set(zeros)
        columns: dict[str, Array] = {}
        for column, values in zip(header, table.columns, strict=True):
            if pyarrow.types.is_string(values.type):
                values = self._text(column, values, column in keep)
            columns[column] = column_of(values, column, self.name)[0]
        if not self.dialect.has_header:
            self.notes.append(f"{self.name} has no header: its columns are named c1 to c{len(header)}.")
        stem = self.path.name.removesuffix(".gz")
        return Raw(Path(stem).stem, columns, features=tuple(columns), notes=tuple(self.notes))

    def _table(self, texts: dict[str, Any]) -> Any:
        """The whole file. Many columns are read faster if their type is told; where that fails, it was not theirs."""
        header, fractions = self.dialect.header, self.dialect.fractions
        if len(fractions) >= MANY_COLUMNS:
            try:
                numbers = {header[j]: pyarrow.float64() for j in fractions}
                return self._read(column_types={**texts, **numbers}, null_values=self.missing)
            except InputError:
                pass
        return self._read(column_types=texts, null_values=self.missing)

    def _read(self, **convert: Any) -> Any:
        dialect = self.dialect
        try:
            return pyarrow.csv.read_csv(
                pyarrow.BufferReader(self.content),
                # Errors include the row only with a single thread.
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=MAX_ROW_BYTES,
                    column_names=list(dialect.header),
                    skip_rows=1 if dialect.has_header else 0,
                ),
                parse_options=pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=self.has_quotes),
                convert_options=pyarrow.csv.ConvertOptions(
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=not dialect.quoted,
                    decimal_point=dialect.decimal,
                    **convert,
                ),
            )
        except pyarrow.ArrowInvalid as error:
            raise InputError(_fault(str(error), self.name)) from None

    def _with_leading_zeros(self, table: Any) -> list[str]:
        """Columns read as whole numbers that are codes such as 01: the zeros would be lost."""
        whole = [field.name for field in table.schema if pyarrow.types.is_integer(field.type)]
        if not whole or ZEROS.search(self.content) is None:
            return []
        texts = self._read(
            column_types=dict.fromkeys(whole, pyarrow.string()), null_values=self.missing, include_columns=whole
        )
        return [
            name
            for name in whole
            if pyarrow.compute.any(pyarrow.compute.match_substring_regex(texts.column(name), ZERO_CODE)).as_py()
        ]

    def _text(self, name: str, values: Any, is_code: bool) -> Any:
        """Text without the spaces around it; as numbers if all of it is."""
        compute = pyarrow.compute
        values = compute.utf8_trim_whitespace(values)
        known = ["", *self.na] if self.dialect.quoted else self.missing
        unknown = compute.is_in(values, value_set=pyarrow.array(known))
        values = compute.if_else(unknown, pyarrow.scalar(None, pyarrow.string()), values)
        if values.null_count == len(values):
            return values.cast(pyarrow.null()) if not is_code else values
        if values.null_count and "NA" not in self.na:
            values = self._codes(name, values)
        if is_code or compute.any(compute.match_substring_regex(values, ZERO_CODE)).as_py():
            return values
        if self.dialect.delimiter != "," and compute.all(compute.match_substring_regex(values, COMMA_NUMBER)).as_py():
            return compute.replace_substring(values, ",", ".").cast(pyarrow.float64())
        for kind in (pyarrow.int64(), pyarrow.float64()):
            try:
                return values.cast(kind)
            except pyarrow.ArrowInvalid:
                continue
        return values

    def _codes(self, name: str, values: Any) -> Any:
        """Codes of two letters, among which NA is one: Namibia."""
        told = [each for each in values.unique().to_pylist() if each is not None]
        if len(told) < 2 or not all(CODES.fullmatch(each) for each in told):
            return values
        kept = [each for each in self.missing if each != "NA"]
        again = self._read(column_types={name: pyarrow.string()}, null_values=kept, include_columns=[name]).column(name)
        if pyarrow.compute.any(pyarrow.compute.equal(again, "NA")).as_py():
            self.notes.append(
                f"column {quote(name)} holds codes of two letters, and NA is read as one of them; list it in `na` "
                "if it "
                "stands for a missing value."
            )
        return again


def _content(path: Path, name: str) -> Any:
    """The bytes of a file, unpacked."""
    size = check_file(path)
    with open(path, "rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    if not is_packed:
        if size > limits.MAX_UNPACKED_BYTES:
            raise _too_large(name, size)
        return pyarrow.memory_map(str(path)).read_buffer()
    try:
        with gzip.open(path, "rb") as packed:
            content = packed.read(limits.MAX_UNPACKED_BYTES + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{name} must be a whole gzip file, but: {reason(error)}; download it again.") from None
    if len(content) > limits.MAX_UNPACKED_BYTES:
        raise _too_large(name, len(content))
    if not content:
        raise InputError(f"{name} must hold a table, but nothing is in it; recreate it.")
    return pyarrow.py_buffer(content)


def _too_large(name: str, size: int) -> InputError:
    return InputError(
        f"{name} must hold at most {limits.MAX_UNPACKED_BYTES} bytes of text, but has {size} or more; save it as "
        "Parquet or .npy."
    )


def _fault(message: str, name: str) -> str:
    told = quote(message.split("\n")[0], 140)
    if "straddling" in message:
        return f"{name} must have rows below {MAX_ROW_BYTES} bytes, but one cell or row is larger; remove it."
    if "Expected" in message and "columns" in message:
        return f"{name} must have as many cells in each row as its header, but: {told}; repair that row."
    if "Empty CSV" in message:
        return f"{name} must hold rows below its header, but has 0; it is empty, add data."
    return f"{name} must be a valid .csv in UTF-8, but: {told}; repair it."
