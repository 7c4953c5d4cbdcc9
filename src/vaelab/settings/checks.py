"""Checks of options: each raises an InputError with rule, value and remedy, whatever it is given."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vaelab.errors import InputError, shown, unknown_name

MOST_TRIALS = 1_000_000
MOST_RUNS = 1_000  # of starts, seeds and finalists, all of which are trained
MOST_WORKERS = 4_096
MOST_DRAWS = 10_000_000  # rows of `sample` and `synthetic`
MOST_VALUES = 1 << 30  # numbers that one request makes: 8 GB in double precision


def values(what: str, count: int, each: int, most: int = MOST_VALUES) -> None:
    """Raise InputError if `count` rows of `each` numbers are more than memory is to hold.

    >>> values("samples", 10**9, 64)
    Traceback (most recent call last):
    vaelab.errors.InputError: 1,000,000,000 samples of 64 numbers are more than 1,073,741,824 numbers; ask for fewer.
    """
    if count * each > most:
        raise InputError(f"{count:,} {what} of {each:,} numbers are more than {most:,} numbers; ask for fewer.")


def whole(name: str, value: Any, least: int, most: int) -> int:
    """A whole number from `least` to `most`.

    >>> whole("trials", 40, 1, 1000)
    40
    >>> whole("trials", "many", 1, 1000)
    Traceback (most recent call last):
    vaelab.errors.InputError: `trials` must be a whole number from 1 to 1,000, but got 'many'.
    """
    number = int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None
    if number is None or not least <= number <= most:
        raise InputError(f"`{name}` must be a whole number from {least:,} to {_short(most)}, but got {shown(value)}.")
    return number


def seed(name: str, value: Any) -> int:
    """A seed: a whole number from 0, below 2**63."""
    return whole(name, value, 0, 2**63 - 1)


def _short(most: int) -> str:
    return "2**63 - 1" if most == 2**63 - 1 else f"{most:,}"


def positive(name: str, value: Any, unit: str) -> float:
    """A finite positive number.

    >>> positive("timeout", 0, "seconds")
    Traceback (most recent call last):
    vaelab.errors.InputError: `timeout` must be a positive number of seconds, but got 0.
    """
    if not is_number(value) or not value > 0:
        raise InputError(f"`{name}` must be a positive number of {unit}, but got {shown(value)}.")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether this is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise InputError(f"`{name}` must be true or false, but got {shown(value)}.")
    return value


def folder(name: str, value: Any) -> Path:
    """A path."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"`{name}` must be a path, but got {shown(value)}.")
    return Path(value)


def choice(name: str, value: Any, known: Collection[str]) -> str:
    """One of some words.

    >>> choice("by", "grap", ("mixture", "graph"))
    Traceback (most recent call last):
    vaelab.errors.InputError: unknown `by` 'grap'; did you mean 'graph'?
    """
    if not isinstance(value, str) or value not in known:
        raise unknown_name(f"`{name}`", value, known)
    return value


def names(name: str, value: Any) -> list[str]:
    """Names, as a list or as text with commas.

    >>> names("yardstick", "accuracy, log_loss"), names("yardstick", ["accuracy"])
    (['accuracy', 'log_loss'], ['accuracy'])
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise InputError(f"`{name}` must be a name, or a list of names, but got {shown(value)}.")
    return list(value)


def table(name: str, value: Any) -> dict[str, Any]:
    """A mapping of names to values."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{name} must be a table of names and values, but got {shown(value)}.")
    return dict(value)
