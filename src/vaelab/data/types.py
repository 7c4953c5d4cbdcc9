"""The kind of each column of a table: inferred from its values, or given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vaelab.data.columns import LARGEST_WHOLE, LEVELLED, Column, Kind
from vaelab.data.dataset import CHUNK_BYTES, Array
from vaelab.data.values import chunks, quote
from vaelab.errors import InputError, unknown_name

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEW_ROWS = 20  # with fewer, numbers are read as real, unless all are 0 or 1
FEW_LEVELS = 10  # different whole numbers of a categorical column
COUNT_COLUMNS = 20  # whole columns with zeros that make a table one of counts
PIXEL_TOP = 255
SATURATED = 0.25  # of the columns that reach the largest value of all: grey levels rather than counts
SPREAD = 10  # of the largest values of columns of counts
LOW = 0.45  # of the largest value: the mean of counts, at most
TAIL = 0.02  # of the rows, at most, that hold the largest value of a count
RARE_SHARE = 0.01  # rows that differ from a rare column's common value
FEW_SAMPLE = 2_000  # rows from which the common value of a column is found
MOST_DECIMALS = 7
SAMPLE = 20_000  # rows from which shapes of distributions are judged


@dataclasses.dataclass(frozen=True)
class Found:
    """What the values of the D columns of a table are: from all rows, except for the sample (n, D)."""

    whole: Flags  # all are whole numbers
    low: Floats
    high: Floats
    missing: npt.NDArray[np.int64]
    sample: Array

    @classmethod
    def of(cls, x: Array) -> Found:
        d = x.shape[1]
        whole, missing = np.ones(d, bool), np.zeros(d, np.int64)
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        for _, piece in chunks(x):
            if x.dtype.kind == "f":
                nan = np.isnan(piece)
                missing += nan.sum(0)
                whole &= ((piece == np.round(piece)) | nan).all(0)
            low, high = np.fmin(low, np.fmin.reduce(piece)), np.fmax(high, np.fmax.reduce(piece))
        return cls(whole, low, high, missing, np.asarray(x[:: -(-len(x) // SAMPLE)]))

    def values(self, column: int) -> Floats:
        """The values of a column in the sample that are there."""
        values = self.sample[:, column].astype(np.float64)
        return values[~np.isnan(values)]


def infer(x: Array, known: Mapping[int, Kind] | None = None) -> list[Kind]:
    """The kind of each column of x (N, D), NaN where missing; `known` ones, by number, are not changed.

    Two values are binary. Few whole numbers are categorical, or ordinal if they are consecutive and their frequencies
    have one peak. Whole numbers from 0 on with a long tail are counts, and so are all columns of a wide table of whole
    numbers, most with zeros; if they share their largest value, they are grey levels, and real. Positive numbers over
    orders of magnitude are positive; others are real.
    """
    found, known = Found.of(x), known or {}
    if _is_count_table(found):
        kinds: list[Kind] = [
            "count" if w and low >= 0 else "real" for w, low in zip(found.whole, found.low, strict=True)
        ]
    elif _is_grey(found):
        kinds = ["real"] * x.shape[1]
    else:
        kinds = [_kind(found, j, len(x)) for j in range(x.shape[1])]
    for number, kind in known.items():
        kinds[number] = kind
    return kinds


def _is_count_table(found: Found) -> bool:
    """Whether most columns are whole numbers of no common small range, most with zeros; and not grey levels."""
    counts = found.whole & (found.low >= 0) & (found.high > 1)
    binary = found.whole & (found.low >= 0) & (found.high <= 1)
    many = int(counts.sum())
    if many < COUNT_COLUMNS or many + binary.sum() < len(counts) / 2 or _is_grey(found):
        return False
    highest, zeros = found.high[counts], float((found.low[counts] == 0).mean())
    top = float(highest.max())
    # Counts of few rows need not have zeros in most columns, but some columns are counted far more often than others.
    is_wide = many + binary.sum() > 0.95 * len(counts) and top > SPREAD * PIXEL_TOP
    spread = float(np.quantile(highest, 0.9)) > SPREAD * float(np.quantile(highest, 0.1))
    return top > FEW_LEVELS and (zeros >= 0.5 or bool(is_wide and spread and zeros > 0))


def _is_grey(found: Found) -> bool:
    """Whether many columns are whole numbers that reach the same largest value, as levels of a picture do."""
    whole = found.whole & (found.low >= 0) & (found.high > 1)
    if whole.sum() < COUNT_COLUMNS:
        return False
    top = float(found.high[whole].max())
    return top > FEW_LEVELS and float((found.high[whole] == top).mean()) > (0.1 if top == PIXEL_TOP else SATURATED)


def _kind(found: Found, j: int, rows: int) -> Kind:
    low, high = float(found.low[j]), float(found.high[j])
    if low == high or not np.isfinite(low):
        return "real"
    if found.whole[j] and low >= 0 and high == 1 and (rows >= FEW_ROWS or _is_binary_table(found)):
        return "binary"
    if rows < FEW_ROWS:
        return "real"
    if found.whole[j] and low >= 0:
        kind = _whole_kind(found.values(j), low, high)
        if kind is not None:
            return kind
    return "positive" if low > 0 and _is_log_scaled(found, j) else "real"


def _is_binary_table(found: Found) -> bool:
    return bool((found.whole & (found.low >= 0) & (found.high <= 1)).all())


def _whole_kind(values: Floats, low: float, high: float) -> Kind | None:
    """The kind of whole numbers from 0 on, if their values tell it."""
    if high - low > PIXEL_TOP:
        return "count" if low == 0 and _skew(values) > 2 else None
    distinct, sizes = np.unique(values, return_counts=True)
    if len(distinct) == 2:
        return "binary"
    is_full = high - low == len(distinct) - 1
    if low == 0 and len(distinct) > 4 and is_full:
        is_low = float(values.mean()) < LOW * high
        if is_low if len(distinct) > FEW_LEVELS else sizes[-1] <= TAIL * len(values):
            return "count"
    if len(distinct) <= FEW_LEVELS and len(values) >= FEW_LEVELS * len(distinct):
        return "ordinal" if is_full and len(distinct) > 4 and _has_one_peak(sizes) else "categorical"
    return "count" if low <= 1 and float(values.mean()) < high / 3 else None


def _has_one_peak(sizes: npt.NDArray[np.int64]) -> bool:
    steps = np.sign(np.diff(sizes))
    steps = steps[steps != 0]
    return bool((np.diff(steps) <= 0).all())


def _is_log_scaled(found: Found, j: int) -> bool:
    """Positive numbers over three orders of magnitude, or one and a half with a long tail, that logarithms even out."""
    ratio = float(found.high[j] / found.low[j])
    if ratio < 30:
        return False
    values = found.values(j)
    skew, of_logs = _skew(values), abs(_skew(np.log(values)))
    return of_logs < abs(skew) if ratio >= 1000 else skew > 2 and of_logs < skew / 2


def _skew(values: Floats) -> float:
    centered = values - values.mean()
    spread = float(centered.std())
    return float((centered**3).mean()) / spread**3 if spread > 0 else 0.0


def check_kinds(given: Mapping[str, Kind], names: Sequence[str]) -> dict[int, Kind]:
    """Kinds given by column name, as kinds by number."""
    places = {name: j for j, name in enumerate(names)}
    for name in given:
        if name not in places:
            raise unknown_name("column with a type:", name, names)
    return {places[name]: kind for name, kind in given.items()}


def columns_of(
    x: Array,
    names: Sequence[str],
    levels: Mapping[int, tuple[str, ...]],
    given: Mapping[int, Kind],
    train: npt.NDArray[np.int64],
    what: str,
) -> tuple[Column, ...]:
    """The columns of x (N, D), NaN where missing; columns of text hold indices into their `levels`, by number.

    given: kinds by number, instead of those inferred. train: the rows in which a column may be rare.
    """
    text: dict[int, Kind] = {j: "binary" if len(each) == 2 else "categorical" for j, each in levels.items()}
    for j, kind in given.items():
        if j in text and kind not in LEVELLED:
            raise InputError(
                f"{what}: a column of type {kind} must hold numbers, but {quote(names[j])} holds text such as "
                f"{quote(levels[j][0])}; make it categorical or ordinal."
            )
    kinds = infer(x, {**text, **given})
    columns: list[Column] = []
    for j, kind in enumerate(kinds):
        own: tuple[str, ...] = ()
        values: tuple[float, ...] = ()
        if kind in LEVELLED:
            there = np.unique(x[:, j][~np.isnan(x[:, j])]) if j not in levels else np.arange(len(levels[j]))
            values = tuple(float(value) for value in there)
            own = levels.get(j) or tuple(written(value) for value in there)
        if kind == "binary" and len(own) > 2:
            raise InputError(
                f"{what}: a binary column has two values, but {quote(names[j])} has {len(own)}; make it categorical."
            )
        _check_values(x[:, j], kind, names, j, what)
        columns.append(Column(names[j] if names else "", kind, own, values))
    return _counted(x, columns, train)


def conditioned(
    columns: Sequence[Column], names: Sequence[str], left_out: Mapping[str, str], what: str
) -> list[Column]:
    """The columns with these names as conditions: given rather than modelled."""
    known = [column.name or str(j) for j, column in enumerate(columns)]
    for name in names:
        if name in left_out:
            raise InputError(
                f"a column has one use, but condition {quote(name)} of {what} is {left_out[name]}; choose one."
            )
        if name not in known:
            raise unknown_name(f"condition of {what}:", name, known)
    if names and len(set(names)) == len(known):
        raise InputError(f"at least one column of {what} must be modelled, but all are conditions; leave one out.")
    return [dataclasses.replace(column, condition=name in names) for name, column in zip(known, columns, strict=True)]


def written(value: float) -> str:
    """A number as the name of a level.

    >>> written(3.0), written(0.5)
    ('3', '0.5')
    """
    if value == round(value):
        return str(int(value))
    return np.format_float_positional(value, trim="-") if isinstance(value, np.floating) else repr(float(value))


def numeric_order(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts in the order of the numbers that they are, if all are, else alphabetically.

    >>> numeric_order({"10", "2", "1"}), numeric_order({"10", "2", "one"})
    (('1', '2', '10'), ('10', '2', 'one'))
    """
    found = sorted(texts)
    if all(map(_is_number, found)):
        return tuple(sorted(found, key=float))
    return tuple(found)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _check_values(values: Array, kind: Kind, names: Sequence[str], j: int, what: str) -> None:
    bad: Flags | None = None
    if kind == "positive":
        bad, rule = values <= 0, "positive numbers"
    elif kind == "count":
        bad, rule = (values < 0) | (values != np.round(values)) & ~np.isnan(values), "whole numbers from 0 on"
    if bad is not None and bad.any():
        row = int(np.argmax(bad))
        name = quote(names[j]) if names else j
        raise InputError(
            f"{what}: a column of type {kind} must hold {rule}, but column {name} holds {float(values[row]):g} in row "
            f"{row}; give it another type."
        )


def _counted(x: Array, columns: Sequence[Column], train: npt.NDArray[np.int64]) -> tuple[Column, ...]:
    """The columns with the number of their missing values, and the decimals and rarity in the training rows."""
    missing, there, common = (np.zeros(x.shape[1], np.int64) for _ in range(3))
    some = x[train[:: -(-len(train) // FEW_SAMPLE)]]
    middle = np.nanmedian(np.where(np.isnan(some).all(0), 0.0, some), axis=0)
    for _, piece in chunks(x) if x.dtype.kind == "f" else ():
        missing += np.isnan(piece).sum(0)
    whole = np.ones(x.shape[1], bool)
    for rows in _parts(train, x):
        there += (~np.isnan(x[rows])).sum(0)
        common += (x[rows] == middle).sum(0)
        whole &= ((x[rows] == np.round(x[rows])) & (np.abs(x[rows]) < LARGEST_WHOLE) | np.isnan(x[rows])).all(0)
    others = there - common
    is_rare = (others > 0) & (others <= np.maximum(2, RARE_SHARE * there)) & (there >= 5 * FEW_ROWS)
    return tuple(
        dataclasses.replace(
            column,
            missing=int(m),
            rare=bool(rare and column.kind in ("real", "date")),
            decimals=number if column.kind in ("real", "positive") else None,
        )
        for column, m, rare, number in zip(columns, missing, is_rare, _decimals(some, whole, there > 0), strict=True)
    )


def _decimals(some: Array, whole: Flags, there: Flags) -> list[int | None]:
    """The fewest decimals of some values (n, D) of each column, up to rounding in float32; 0 only where all are whole;
    None without values, and if there are more than 7.
    """
    found: list[int | None] = [0 if is_whole and any_ else None for is_whole, any_ in zip(whole, there, strict=True)]
    left = np.flatnonzero(~whole & there)
    for decimals in range(1, MOST_DECIMALS + 1):
        values = some[:, left].astype(np.float64)
        tolerance = np.minimum(1e-6 * np.abs(values), 10.0 ** -(decimals + 1))
        fits = ((np.abs(np.round(values, decimals) - values) <= tolerance) | np.isnan(values)).all(0)
        fits &= ~np.isnan(values).all(0)
        for j in left[fits]:
            found[j] = decimals
        left = left[~fits]
    return found


def _parts(rows: npt.NDArray[np.int64], x: Array) -> Iterator[npt.NDArray[np.int64]]:
    size = max(1, CHUNK_BYTES // (8 * x.shape[1]))
    return (rows[start : start + size] for start in range(0, len(rows), size))
