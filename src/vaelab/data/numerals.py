"""Numbers as people write them: thousands separated, a typographic minus, a unit behind or a currency before."""

from __future__ import annotations

from typing import Any

import pyarrow
import pyarrow.compute

SPACES = "[\u00a0\u2009\u202f]"  # no-break, thin, narrow: between thousands
PARTS = (
    r"^(?P<before>[€$£]?)\s*(?P<number>[+-]?[0-9.,][0-9.,' ]*(?:[eEdD][+-]?[0-9]+)?)"
    r"(?P<after>\s*[%€$£°]\S{0,2}|\s+[^\s0-9]\S{0,5}|)$"
)
PLAIN = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"


def as_numbers(texts: Any, decimal: str) -> Any | None:
    """A column of text as float64, if every cell is a number written in one of these ways; None if not.

    decimal: the sign before fractions; the other of "." and "," may separate thousands, and so may " " and "'".

    >>> as_numbers(pyarrow.array(["1,234", "5", None]), ".").to_pylist()
    [1234.0, 5.0, None]
    >>> as_numbers(pyarrow.array(["12 kg", "9.5 kg"]), ".").to_pylist(), as_numbers(pyarrow.array(["12", "x"]), ".")
    ([12.0, 9.5], None)
    >>> as_numbers(pyarrow.array(["1.234", "5"]), ",").to_pylist(), as_numbers(pyarrow.array(["1.25", "5"]), ",")
    ([1234.0, 5.0], None)
    """
    compute = pyarrow.compute
    texts = compute.replace_substring(compute.replace_substring_regex(texts, SPACES, " "), "\u2212", "-")
    texts = compute.replace_substring(texts, "\u2019", "'")
    parts = compute.extract_regex(texts, PARTS)
    if parts.null_count > texts.null_count or parts.null_count == len(texts):
        return None
    for part in ("before", "after"):
        told = compute.unique(compute.utf8_trim_whitespace(compute.struct_field(parts, part))).to_pylist()
        if len([each for each in told if each is not None]) > 1:
            return None
    found = compute.utf8_trim_whitespace(compute.struct_field(parts, "number"))
    for sign in (",." if decimal == "." else ".,")[0], " ", "'":
        grouped = rf"^[+-]?[1-9][0-9]{{0,2}}(?:[{sign}][0-9]{{3}})+(?:[{decimal}][0-9]+)?$"
        is_grouped = compute.match_substring_regex(found, grouped)
        if compute.any(is_grouped).as_py():
            found = compute.if_else(is_grouped, compute.replace_substring(found, sign, ""), found)
            break
    if decimal == ",":
        if compute.any(compute.match_substring(found, ".")).as_py():
            return None
        found = compute.replace_substring(found, ",", ".")
    found = compute.replace_substring_regex(found, "[dD]", "e")
    if not compute.all(compute.match_substring_regex(found, PLAIN)).as_py():
        return None
    return found.cast(pyarrow.float64())
