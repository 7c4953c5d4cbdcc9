"""CSV files as columns, read with pyarrow; errors name the row and column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.csv

from vaelab.data.arrow import column_of
from vaelab.data.columns import LEVELLED
from vaelab.data.dataset import Array
from vaelab.data.dialect import (
    GROUPED,
    SAMPLE_BYTES,
    Dialect,
    dialect_of,
    quoted_by_apostrophes,
    requoted,
    squeezed,
    too_long,
)  # fmt: skip
from vaelab.data.limits import name_of
from vaelab.data.numerals import as_numbers
from vaelab.data.raw import Raw
from vaelab.data.reading import PLAIN, Reading, kind_of
from vaelab.data.style import Style
from vaelab.data.unpack import from_windows, plain_name, text_of
from vaelab.data.values import Columns, quote
from vaelab.errors import InputError
from vaelab.wording import counted

MAX_COLUMNS = 100_000
MAX_ROW_BYTES = 64 << 20  # per row; columns are converted in blocks of this size
MANY_COLUMNS = 1000
MISSING = (
    "", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NaT", "<NA>", "null", "NULL", "#N/A", "#N/A N/A", "#NA", "?",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip
UNNAMED = "\0"  # stands for the name of a column after the last delimiter, which is no name
CODES = re.compile(r"[A-Z]{2}")
ZEROS = re.compile(rb'(?:^|[,;\t|"\n\r])[ ]*[+-]?0[xX0-9]')
QUOTE = re.compile(b'"')
BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # no text in any encoding by bytes has them
SEPARATED = "[0-9][.,'\u2019 \u00a0\u2009\u202f][0-9]"  # decimals or thousands, which no code has
ZERO_CODE = r"^\s*[+-]?0([0-9]+|[xX][0-9a-fA-F]+)$"
THOUSANDS = rf"^{GROUPED[',']}$|^[+-]?[0-9]+$"
COMMA_NUMBER = r"^[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?$|^[+-]?[0-9]+$"


def read_table(path: Path, reading: Reading) -> Raw:
    """The columns of a .csv or .tsv, plain or packed."""
    return _File(path, reading).raw()


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
    columns: Columns = _File(path, Reading(na=tuple(na))).raw().x
    return columns


class _File:
    """A .csv file that is being read."""

    def __init__(self, path: Path, reading: Reading = PLAIN):
        self.path, self.name, self.na, self.decimal = path, name_of(path), reading.na, reading.decimal
        self.missing = list(dict.fromkeys([*MISSING, *self.na]))
        self.levelled = {name for name, kind in reading.types.items() if kind_of(kind) in LEVELLED}
        self.notes: list[str] = []
        self.comments: list[str] = []
        self._open(text_of(path))

    def _open(self, content: Any) -> None:
        """The dialect of the content, which is in UTF-8; what is not is taken as Windows-1252."""
        start = content.slice(0, min(SAMPLE_BYTES, content.size)).to_pybytes()
        if len(start) < content.size:
            start = start[: max(start.rfind(b"\n"), start.rfind(b"\r")) + 1]
            if not start:
                raise too_long(self.name)
        if b"\0" in start.partition(b"\n")[0] or (not _is_utf8(start) and BINARY.search(start)):
            raise InputError(
                f"{self.name} must be a text file, but looks binary; name it by what it is, or save it as .csv."
            )
        if not _is_utf8(start):
            self._open_windows(content)
            return
        header = quoted_by_apostrophes(start)
        if header is not None:
            self.notes.append(f"cells of {self.name} are quoted by ', which are no part of them.")
            self._open(requoted(content, header, self.name))
            return
        self.dialect: Dialect = dialect_of(start, self.path, self.name, self.decimal)
        content = squeezed(content) if self.dialect.delimiter == " " else content
        self.content = _without_blank_end(content, self.dialect.delimiter)
        self.has_quotes = QUOTE.search(self.content) is not None

    def _open_windows(self, content: Any) -> None:
        self.notes.append(f"{self.name} is not in UTF-8, and is read as Windows-1252 (Latin-1).")
        self._open(from_windows(content, self.name))

    def raw(self) -> Raw:
        """The columns."""
        header = self.dialect.header
        if len(header) > MAX_COLUMNS:
            raise InputError(
                f"a table must have at most {MAX_COLUMNS:,} columns, but {self.name} has {len(header):,}; keep fewer, "
                "or save numbers as .npy."
            )
        texts = {header[j]: pyarrow.string() for j in self.dialect.quoted}
        table = self._table(texts)
        if any(pyarrow.types.is_binary(field.type) for field in table.schema):  # not in UTF-8 further down
            self._open_windows(self.content)
            return self.raw()
        if self.dialect.has_last:
            table = self._without_last(table)
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
        for name in (header[j] for j in self.dialect.unclear if columns[header[j]].dtype.kind == "f"):
            self.notes.append(_unclear(name, columns[name], "points" if self.dialect.decimal == "." else "commas"))
        if not self.dialect.has_header:
            self.notes.append(f"{self.name} has no header: its columns are named c1 to c{len(header)}.")
        if self.comments:
            self.notes.append(f"{counted(len(self.comments), 'line')} of {self.name} starting with # left out.")
        stem = self.path.name[: len(plain_name(self.path))]
        missing = "NA" if self.dialect.delimiter == " " else ""  # between spaces an empty cell is no cell
        style = Style(self.dialect.delimiter, self.dialect.decimal, missing)
        return Raw(Path(stem).stem, columns, features=tuple(columns), notes=tuple(self.notes), style=style)

    def _without_last(self, table: Any) -> Any:
        """Without the empty cells after the last delimiter of each row."""
        last = table.column(UNNAMED)
        if last.null_count < len(last):
            raise InputError(
                f"{self.name} must name every column, but the last one has no name and holds "
                f"{quote(last.drop_null()[0].as_py())}; name it."
            )
        return table.drop_columns(UNNAMED)

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
        dialect, self.comments = self.dialect, []
        names = [*dialect.header, *([UNNAMED] if dialect.has_last else [])]
        try:
            return pyarrow.csv.read_csv(
                pyarrow.BufferReader(self.content),
                # Errors include the row only with a single thread.
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=MAX_ROW_BYTES,
                    column_names=names,
                    skip_rows=dialect.skipped,
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    newlines_in_values=self.has_quotes,
                    invalid_row_handler=self._unlike_others,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=not dialect.quoted,
                    decimal_point=dialect.decimal,
                    **convert,
                ),
            )
        except pyarrow.ArrowInvalid as error:
            raise InputError(_fault(str(error), self.name, dialect.skipped + len(self.comments))) from None

    def _unlike_others(self, row: Any) -> str:
        """What to do with a row of another number of cells: comments are left out, others refused."""
        if not (row.text or "").lstrip().startswith("#"):
            return "error"
        self.comments.append(row.text)
        return "skip"

    def _with_leading_zeros(self, table: Any) -> list[str]:
        """Columns read as whole numbers that are codes such as 01 or 0x1f: the zeros would be lost."""
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
        is_separated = compute.any(compute.match_substring_regex(values, SEPARATED)).as_py()
        if is_code and (name in self.levelled or not is_separated):
            return values
        if compute.any(compute.match_substring_regex(values, ZERO_CODE)).as_py():
            return values
        numbers = self._plain(values)
        if numbers is not None or name in self.levelled:
            return values if numbers is None else numbers
        return self._numerals(name, values)

    def _plain(self, values: Any) -> Any | None:
        """Text as numbers without separated thousands, if all of it is; the decimal commas of a column are also read
        where others have points.
        """
        compute, decimal = pyarrow.compute, self.dialect.decimal
        is_grouped = decimal == "." and compute.all(compute.match_substring_regex(values, THOUSANDS)).as_py()
        has_commas = compute.all(compute.match_substring_regex(values, COMMA_NUMBER)).as_py()
        if self.dialect.delimiter != "," and has_commas and not is_grouped:
            return compute.replace_substring(values, ",", ".").cast(pyarrow.float64())
        if decimal == "," and compute.any(compute.match_substring(values, ".")).as_py():
            return None  # points that separate thousands: 1.361 is no fraction
        for kind in (pyarrow.int64(), pyarrow.float64()):
            try:
                return values.cast(kind)
            except pyarrow.ArrowInvalid:
                continue
        return None

    def _numerals(self, name: str, values: Any) -> Any:
        """Text as numbers, if all of it is numbers with units or separated thousands; and a note on it."""
        found = as_numbers(values, self.dialect.decimal)
        if found is None and self.dialect.decimal == ",":
            found = as_numbers(values, ".")  # such as 1.5, which separates nothing
        if found is None:
            return values
        told, numbers = values.drop_null(), found.drop_null()
        odd = pyarrow.compute.index(pyarrow.compute.match_substring_regex(told, "[^0-9]"), True).as_py()
        self.notes.append(
            f"column {quote(name)} is text such as {quote(told[odd].as_py())}, and read as numbers such as "
            f"{numbers[odd].as_py():.10g}."
        )
        return found

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


def _without_blank_end(content: Any, delimiter: str) -> Any:
    """Without the rows at its end whose cells are all empty, as spreadsheets write them: they are no examples."""
    view, blank = memoryview(content), f"{delimiter} \r\n".encode()
    end = len(view)
    while end and view[end - 1] in blank:
        end -= 1
    while end < len(view) and view[end] not in b"\r\n":  # empty cells of the last row
        end += 1
    return content.slice(0, end)


def _unclear(name: str, values: Array, signs: str) -> str:
    """A note on a column whose decimal signs may separate thousands."""
    shown = next((value for value in values if value % 1), values[~np.isnan(values)][0])
    return (
        f"column {quote(name)} has three decimals wherever it has any, and is read as numbers such as {shown:.3f}: if "
        f"its {signs} separate thousands, remove them."
    )


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fault(message: str, name: str, above: int) -> str:
    """What is wrong with a file, by the message of its reader, which counts from 1 the lines `above` the rows, too."""
    if uneven := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message):
        row, header, cells = map(int, uneven.groups())
        return (
            f"{name} must have as many cells in each row as its header, {header}, but row {row - 1 - above:,} has "
            f"{cells} (row 0 is the first below the header); repair that row."
        )
    told = quote(message.split("\n")[0], 140)
    if "straddling" in message:
        return f"{name} must have rows below {MAX_ROW_BYTES} bytes, but one cell or row is larger; remove it."
    if "Empty CSV" in message or "skip initial" in message:
        return f"{name} must hold rows below its header, but has 0; it is empty, add data."
    return f"{name} must be a valid .csv in UTF-8, but: {told}; repair it."
