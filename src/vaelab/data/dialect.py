"""How a .csv is written: delimiter, decimal sign, header, which columns are quoted; judged from its first rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from pathlib import Path
from typing import Any

import pyarrow

from vaelab.data.limits import READ_BYTES, reason
from vaelab.data.unpack import plain_name
from vaelab.data.values import quote
from vaelab.errors import InputError

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_BYTES = 4 << 20
SAMPLE_ROWS, SAMPLE_CELLS = 100, 400_000
FEW_ROWS = 5  # with fewer, numbers in the first row are not told from data
SEPARATOR = re.compile(r"(?i)sep=.")
RISING = 5  # so many rising numbers are names, such as masses, if those below do not rise
HEADERLESS = (".data",)  # endings of files that often have no header
COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
GROUPED = {sign: rf"[+-]?[1-9]\d{{0,2}}([{sign}]\d{{3}})+" for sign in ".,"}  # thousands, by their sign
PROOF = {  # that a sign is the decimal one: what follows is no group of thousands, or the other separates two of them
    sign: re.compile(
        rf"(?!{GROUPED[sign]}$)[+-]?(\d*|[1-9]\d{{0,2}}([{other}]\d{{3}})+)[{sign}]\d+([eE][+-]?\d+)?"
        rf"|[+-]?[1-9]\d{{0,2}}([{other}]\d{{3}}){{2,}}"
    )
    for sign, other in (".,", ",.")
}
WHOLE = re.compile(r"[+-]?\d{1,3}")
APOSTROPHES = re.compile(r"'(?:[^']|'')*'(?:([,;\t| ])'(?:[^']|'')*'(?:\1'(?:[^']|'')*')*\1?)?")  # around all cells
POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
HEADER = re.compile(  # a line, and those to which its quoted cells go on
    r"""(?:(?<![^,;\t|])"[^"]*(?:""[^"]*)*"|"|[^"\n]+)*"""
)


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a .csv is written.

    header: names of its columns; the first is empty if it has no name. has_header: whether they are in the file.
    quoted: columns whose cells are all quoted while others are not, by number: codes, not numbers.
    fractions: columns of numbers with a decimal sign in the first rows.
    skipped: lines before the rows: comments, empty ones, Excel's "sep=;", the header.
    unclear: columns, by number, whose decimal signs may separate thousands: 1.234 beside 56, or where no other column
        tells which sign is the decimal one.
    has_last: whether rows end with a delimiter, so that there is one more cell, always empty, than names.
    """

    delimiter: str
    decimal: str
    header: tuple[str, ...]
    has_header: bool = True
    quoted: frozenset[int] = frozenset()
    fractions: frozenset[int] = frozenset()
    skipped: int = 0
    has_last: bool = False
    unclear: frozenset[int] = frozenset()


def dialect_of(start: bytes, path: Path, name: str, known: str | None = None) -> Dialect:
    """The dialect of a file from its first bytes, whole lines; `known` is its decimal sign if its numbers tell none."""
    text = start.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    skipped, told = _lines_before(text)
    text = "".join(text.split("\n", skipped)[skipped:])
    if not text.strip():
        raise InputError(f"{name} must hold a table, but holds nothing but empty lines and comments; add data.")
    first = next(HEADER.finditer(text))[0]
    rest = text[len(first) + 1 :]
    if len(first) >= READ_BYTES * 2:
        raise too_long(name)
    plain = plain_name(path)
    delimiter = told or _delimiter(first, rest, ".tsv" if plain.endswith(".tsv") else "")
    if delimiter == " ":
        first, rest = _squeezed(first), _squeezed(rest)
    header = [" ".join(cell.split("\n")).strip() for cell in _header_cells(first, delimiter, name)]
    most = max(2, min(SAMPLE_ROWS, SAMPLE_CELLS // max(1, len(header))))
    rows = [row for row in _rows(rest, delimiter, most) if row]
    ends = len(header) > 1 and not header[-1]  # with a delimiter
    width = len(header) - ends
    has_more = bool(rows) and all(len(row) == width + 1 for row in rows)
    has_last = has_more and not any(row[-1].strip() for row in rows)
    if has_last or (ends and not has_more):
        header = header[:width]
    elif has_more and not ends:
        header = ["", *header]  # R's write.table gives row names no header
    rows = [row[: len(header)] for row in rows if len(row) == len(header) + has_last]
    has_header = _is_header(header, rows)
    if not has_header and not plain.endswith(HEADERLESS):
        number = next((cell for cell in header if is_number(cell)), header[0])
        raise InputError(
            f"{name} must start with a header that names every column, but one name is {quote(number)}, which looks "
            "like data; add a header line."
        )
    if not has_header:
        names = [f"c{j + 1}" for j in range(len(header))]
        decimal = _decimal(delimiter, [header, *rows], known)
        return Dialect(delimiter, decimal, tuple(names), False, skipped=skipped, has_last=has_last)
    _check_names(header, rows, name)
    skipped += 1 + first.count("\n")
    quoted = _quoted(rest, delimiter, len(header), most) if '"' in rest else frozenset()
    decimal = _decimal(delimiter, rows, known)
    fractions = _fractions(rows, decimal) - quoted
    unclear = _unclear(rows, decimal, delimiter == "," or known == decimal)
    return Dialect(delimiter, decimal, tuple(header), True, quoted, fractions, skipped, has_last, unclear)


def _lines_before(text: str) -> tuple[int, str]:
    """How many lines come before the header, and the delimiter that Excel's "sep=;" tells.

    A last comment with as many cells as the line below it is the header.
    """
    count, told, above = 0, "", ""
    for line in io.StringIO(text):
        if SEPARATOR.fullmatch(line.strip("\n")):
            told = line[4]
        elif line.strip() and not line.startswith("#"):
            is_header = above.startswith("#") and any(
                1 < _width(above, sign) == _width(line, sign) for sign in DELIMITERS
            )
            return count - is_header, told
        count, above = count + 1, line
    return count, told


def too_long(name: str) -> InputError:
    """The refusal of a header that no table has."""
    return InputError(f"{name} must have a header line below {2 * READ_BYTES} bytes, but it is longer; is this a .csv?")


def quoted_by_apostrophes(start: bytes) -> re.Match[str] | None:
    """A file's header if each name in it is quoted by ', from the file's first bytes; its group 1 is the delimiter."""
    if b"'" not in start:
        return None
    text = start.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    skipped, _ = _lines_before(text)
    lines = text.split("\n", skipped + 1)[skipped:]
    return APOSTROPHES.fullmatch(lines[0].strip(" ")) if lines else None


def requoted(content: Any, header: re.Match[str], name: str) -> Any:
    """A file whose cells are quoted by ', as bytes, quoted by "; for `header` see `quoted_by_apostrophes`."""
    told = content.to_pybytes()
    begin = told.index(header[0].encode())
    beside = re.escape((header[1] or "") + "\r\n").encode()

    def cell(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            line = told.count(b"\n", 0, begin + found.start()) + 1
            raise InputError(
                f"the header of {name} is quoted by ', so any other {found[0].decode()} must be within a quoted cell, "
                f"as in 'it''s', but line {line} holds one that is not; save it with cells quoted by \"."
            )
        return b'"%b"' % found[1].replace(b"''", b"'").replace(b'"', b'""')

    quoted = b"(?<![^%b])'([^']*(?:''[^']*)*)'(?![^%b])|['\"]" % (beside, beside)
    return pyarrow.py_buffer(told[:begin] + re.sub(quoted, cell, told[begin:]))


def _width(line: str, delimiter: str) -> int:
    return len(_rows(line, delimiter, 1)[0])


def squeezed(content: Any) -> Any:
    """A table of columns between spaces, as bytes, with one space between cells and none around rows."""
    return pyarrow.py_buffer(_squeezed(content.to_pybytes().decode("utf-8-sig")).encode())


def _squeezed(text: str) -> str:
    return re.sub(r"(?m)^ +| +$", "", re.sub(r"[ \t]+", " ", text))


def _delimiter(first: str, rest: str, ending: str) -> str:
    """The sign that cuts the header and the rows into the same number of cells, most of them."""
    if ending == ".tsv" and "\t" in first:
        return "\t"
    scores = []
    for sign in DELIMITERS:
        cells = len(_rows(first, sign, 1)[0]) if first else 1
        rows = [len(row) for row in _rows(rest[:READ_BYTES], sign, 20) if row]
        same = sum(length in (cells, cells + 1) for length in rows) / len(rows) if rows else 1.0
        scores.append((cells > 1, same > 0.8, cells, sign))
    best = max(scores, key=lambda score: score[:3])
    if best[0]:
        return best[3]
    return " " if _is_between_spaces(first, rest) else ","


def _is_between_spaces(first: str, rest: str) -> bool:
    """Whether cells are cut by spaces: as many in all rows, and numbers among them."""
    cells = len(_rows(_squeezed(first), " ", 1)[0])
    rows = [row for row in _rows(_squeezed(rest[:READ_BYTES]), " ", 20) if row]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or cells < 2 or not lengths <= {cells, cells + 1}:
        return False
    return any(all(is_number(cell) or cell in ("NA", "") for cell in column) for column in zip(*rows, strict=True))


def _rows(text: str, delimiter: str, most: int) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        return list(itertools.islice(reader, most)) or [[]]
    except csv.Error:  # such as a cell of megabytes: the reader of the whole file will tell
        return [[]]


def _header_cells(first: str, delimiter: str, name: str) -> list[str]:
    try:
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise InputError(f"{name} must have a valid header line, but: {reason(error)}; repair it.") from None
    if not header:
        raise InputError(f"{name} must start with a header that names every column, but starts with an empty line.")
    return header


def _is_header(header: list[str], rows: list[list[str]]) -> bool:
    """Whether the first row names the columns; numbers can be names, such as masses or numbers of probes."""
    places = [j for j, cell in enumerate(header) if is_number(cell)]
    if not places:
        return True
    words = [j for j, cell in enumerate(header) if cell and j not in set(places)]
    below = {j: [row[j] for row in rows] for j in places + words}
    if any(all(is_number(cell) for cell in below[j] if cell) and any(below[j]) for j in words):
        return True  # a word over numbers
    if words and any(header[j] in below[j] for j in words):
        return False
    values = [float(header[j]) for j in places]
    if len(set(values)) < len(values):
        return False
    if len(values) >= RISING and _rises(header, places) and not all(_rises(row, places) for row in rows):
        return True
    if len(rows) < FEW_ROWS:
        return bool(words) or not header[0]
    outside = sum(_is_outside(value, below[j]) for value, j in zip(values, places, strict=True))
    return outside > len(places) / 2 or not header[0]


def _rises(row: list[str], places: list[int]) -> bool:
    numbers = [float(row[j]) for j in places if is_number(row[j])]
    return numbers == sorted(numbers)


def _is_outside(value: float, cells: list[str]) -> bool:
    numbers = [float(cell) for cell in cells if is_number(cell)]
    return bool(numbers) and not min(numbers) <= value <= max(numbers)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and cell.strip().lower().lstrip("+-") not in ("nan", "inf", "infinity")


def _check_names(header: list[str], rows: list[list[str]], name: str) -> None:
    if "" in header[1:]:
        raise InputError(
            f"{name} must start with a header that names every column, but column {header.index('', 1)} has none, ''; "
            "only the first may; add it."
        )
    seen: set[str] = set()
    for cell in header:
        if cell in seen and rows and not any(map(is_number, rows[0])) and any(map(is_number, rows[-1])):
            raise InputError(
                f"{name} must have one row of names, but has {quote(cell)} twice, and no number in the row below; if "
                "names take several rows, join them in one."
            )
        if cell in seen:
            raise InputError(f"column names must differ, but {name} has {quote(cell)} twice; rename one.")
        seen.add(cell)


def _decimal(delimiter: str, rows: list[list[str]], known: str | None) -> str:
    if delimiter == ",":
        return "."
    proven = next((sign for sign in ".," if _is_proven(sign, rows)), known)
    has_commas = any(COMMA_NUMBER.fullmatch(cell.strip()) for row in rows for cell in row if "," in cell)
    return proven or ("," if has_commas else ".")


def _is_proven(sign: str, rows: list[list[str]]) -> bool:
    """Whether some cell can only be a number of which this is the decimal sign."""
    cells = (cell.strip() for row in rows for cell in row if "." in cell or "," in cell)
    return any(map(PROOF[sign].fullmatch, cells))


def _unclear(rows: list[list[str]], decimal: str, is_known: bool) -> frozenset[int]:
    found = set()
    thousands = re.compile(GROUPED[decimal])
    is_known = is_known or _is_proven(decimal, rows)
    for j, column in enumerate(zip(*rows, strict=True)):
        cells = [cell.strip() for cell in column if cell.strip()]
        pointed = [cell for cell in cells if thousands.fullmatch(cell)]
        whole = [cell for cell in cells if WHOLE.fullmatch(cell)]
        if pointed and (whole or not is_known) and len(pointed) + len(whole) == len(cells):
            found.add(j)
    return frozenset(found)


def _fractions(rows: list[list[str]], decimal: str) -> frozenset[int]:
    shape = POINT_NUMBER if decimal == "." else COMMA_NUMBER
    some = rows[:FEW_ROWS]
    return frozenset(j for j, cells in enumerate(zip(*some, strict=True)) if all(map(shape.fullmatch, cells)))


def _quoted(rest: str, delimiter: str, width: int, most: int) -> frozenset[int]:
    """Columns whose cells are all quoted, if others are not."""
    reader = csv.reader(io.StringIO(rest), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    try:
        rows = [row for row in itertools.islice(reader, most) if len(row) == width]
    except csv.Error:
        return frozenset()
    told = [[row[j] for row in rows if row[j] not in ("", "NA")] for j in range(width)]
    quoted = frozenset(j for j, cells in enumerate(told) if cells and all(cell.startswith('"') for cell in cells))
    plain = any(cells and not cells[0].startswith('"') for cells in told)
    return quoted if plain else frozenset()
