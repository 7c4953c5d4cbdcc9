"""Formatting of numbers and words, the same on pages, in pictures and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

FEW = 5  # of words in a sentence
FAR, NEAR = 1e9, 1e-4  # from which on, and below which, no one counts digits


def number(value: Any, *beside: float) -> str:
    """A number: two decimals from 10 up, else four significant digits, as from 1e9 up; "–" for None.

    `beside` are numbers in the same sentence: all get the decimals that the largest needs.

    >>> number(101.234), number(0.97301), number(2e-05), number(16), number(1234), number(None)
    ('101.23', '0.973', '2e-05', '16', '1,234', '–')
    >>> number(-0.4, 1.05), number(1.05, -0.4), number(2.5e12)
    ('-0.400', '1.050', '2.5e+12')
    >>> number(2e-05, 1e-06), number(1e-06, 2e-05)
    ('2e-05', '1e-06')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if abs(value) >= FAR:
        return f"{value:.4g}"
    if beside and not 0 < (largest := max(abs(v) for v in (value, *beside))) < NEAR:
        return f"{value:,.{_decimals(largest)}f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.4g}"


def table_value(value: float) -> str:
    """A value of a table: whole from 1000 up, else with at most four significant digits. Digits are grouped from five
    on, so that years are written as such.

    >>> table_value(10.2), table_value(1974.0), table_value(34567.8), table_value(0.99683), table_value(2.5e9)
    ('10.2', '1974', '34,568', '0.9968', '2.5e+09')
    """
    if not 1000 <= abs(value) < FAR:
        return f"{value:.4g}"
    return f"{value:,.0f}" if round(abs(value)) >= 10_000 else f"{value:.0f}"


def significant(value: float) -> str:
    """A value in any unit: at most five significant digits, the same digits in every unit.

    >>> significant(1.5), significant(1.23456e-5), significant(225000.0), significant(1.0707e11), significant(0.0)
    ('1.5', '1.2346e-05', '225000', '1.0707e+11', '0')
    """
    rounded = float(f"{value:.5g}")
    return f"{rounded:.0f}" if 1e4 <= abs(rounded) < 1e7 else f"{rounded:.5g}"


def told_apart(value: str | float, other: str | float) -> tuple[str, str]:
    """Two values of a table; numbers have five significant digits, or as many more as tell them apart.

    >>> told_apart(8.0, 7.6123456), told_apart(8.0, 8.00001), told_apart("a", "b")
    (('8', '7.6123'), ('8', '8.00001'), ('a', 'b'))
    """
    for digits in range(5, 10):
        told = [each if isinstance(each, str) else f"{each:.{digits}g}" for each in (value, other)]
        if told[0] != told[1]:
            break
    return told[0], told[1]


def difference(value: float) -> str:
    """The size of a difference of two numbers, which itself is known less well: two significant digits.

    >>> difference(-0.08629), difference(12.4), difference(0.00002)
    ('0.086', '12', '2e-05')
    """
    return f"{abs(value):,.0f}" if abs(value) >= 10 else f"{abs(value):.2g}"


def percent(value: float | None, decimals: int = 0) -> str:
    """A share in percent; what is above 0 is never told as 0; "–" for None and what is not finite.

    >>> percent(0.256), percent(0.0004), percent(0.0004, 1), percent(0.0), percent(1.0, 1), percent(None)
    ('26 %', '< 1 %', '< 0.1 %', '0 %', '100.0 %', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    least = 10.0**-decimals
    if 1e-9 < value < 0.005 * least:  # an axis may have a tick at 1e-17
        return f"< {least:.{decimals}f} %"
    return f"{100 * value:.{decimals}f} %"


def _decimals(size: float) -> int:
    if size >= 10 or size == 0:
        return 2
    return min(8, 3 - math.floor(math.log10(size)))


def with_error(value: float | None, error: float | None) -> str:
    """A number and its standard error, which has one significant digit; both have the same decimals, and from 1e9 up or
    below 1e-4 the same power of ten.

    >>> with_error(23.9042, 0.0146), with_error(0.9493, 0.0022), with_error(1523.4, 12.3), with_error(23.9, None)
    ('23.90 ± 0.01', '0.949 ± 0.002', '1,523 ± 12', '23.90')
    >>> with_error(2.5e12, 1.25e11), with_error(3.08e-6, 5.1e-7), with_error(2e-5, 0.002)
    ('2.5e+12 ± 0.1e+12', '3.1e-06 ± 0.5e-06', '0.000 ± 0.002')
    """
    shown, margin = value_and_error(value, error)
    return f"{shown} ± {margin}" if margin else shown


def value_and_error(value: float | None, error: float | None) -> tuple[str, str]:
    """Both parts of `with_error`; the second is "" without an error."""
    if value is None or error is None or not math.isfinite(value) or not math.isfinite(error):
        return number(value), ""
    largest = max(abs(value), error)
    if largest >= FAR or 0 < largest < NEAR:
        power = math.floor(math.log10(largest))
        shown, margin = value_and_error(value / 10.0**power, error / 10.0**power)
        return f"{shown}e{power:+03d}", f"{margin}e{power:+03d}"
    decimals = min(8, max(0, -math.floor(math.log10(error)))) if error > 0 else 2
    return f"{value:,.{decimals}f}", f"{error:,.{decimals}f}"


def error_only(error: float) -> str:
    """A standard error that is told without its number: one significant digit.

    >>> error_only(0.000374), error_only(12.4), error_only(3.2e-6)
    ('0.0004', '12', '3e-06')
    """
    return value_and_error(0.0, error)[1]


def counted(amount: int, one: str, many: str | None = None) -> str:
    """An amount with its noun.

    >>> counted(1, "trial"), counted(0, "trial"), counted(2, "class", "classes"), counted(1000, "row")
    ('1 trial', '0 trials', '2 classes', '1,000 rows')
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def kept_start(starts: Sequence[Mapping[str, Any]]) -> str:
    """Which of several starts was kept, and the bias of that choice; "" for a single start.

    >>> kept_start([{"seed": 0, "neg_elbo": 98.5, "kept": False}, {"seed": 1, "neg_elbo": 97.25, "kept": True}])
    'Of 2 starts seed 1 was kept, the lowest on validation (97.25 to 98.50 nats); this makes it slightly optimistic.'
    """
    if len(starts) < 2:
        return ""
    (seed,) = (start["seed"] for start in starts if start["kept"])
    reached = sorted(start["neg_elbo"] for start in starts if start["neg_elbo"] is not None)
    failed = f", {len(starts) - len(reached)} failed" if len(reached) < len(starts) else ""
    return (
        f"Of {len(starts)} starts seed {seed} was kept, the lowest on validation ({number(reached[0], *reached)} "
        f"to {number(reached[-1], *reached)} nats{failed}); this makes it slightly optimistic."
    )


def printable(text: str) -> str:
    """A text whose control characters, which a terminal would obey, are written as escapes; lines stay.

    >>> printable("a\\x1b[31mb\\u202e"), printable("two\\nlines")
    ('a\\\\x1b[31mb\\\\u202e', 'two\\nlines')
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode() for sign in text
    )


def one_line(text: str) -> str:
    """The same, with new lines written as escapes, too."""
    return printable(text).replace("\n", "\\n")


def listed(words: Sequence[str]) -> str:
    """Words joined for a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def first_few(words: Sequence[str]) -> str:
    """At most five words of a sentence, and how many more there are.

    >>> first_few(["a", "b"]), first_few(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    return ", ".join(words[:FEW]) + (f" and {len(words) - FEW:,} more" if len(words) > FEW else "")


def possessive(name: str) -> str:
    """The possessive of a name.

    >>> possessive("wide"), possessive("64 units")
    ("wide's", "64 units'")
    """
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def row_title(id_name: str) -> str:
    """The head of a column that names rows: by their ids, or by their numbers.

    >>> row_title("patient"), row_title("row")
    ('patient', 'row, from 0')
    """
    return "row, from 0" if id_name == "row" else id_name
