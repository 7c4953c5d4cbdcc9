"""How a table of text is written, so that what is made of its rows can be put beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Style:
    """How a .csv separates cells and writes numbers, missing cells, and the dates of some columns, by name; dates of
    others are those of ISO 8601.
    """

    delimiter: str = ","
    decimal: str = "."
    missing: str = ""
    dates: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def number(self, value: float, digits: int) -> str:
        """A number with this many significant digits.

        >>> Style(decimal=",").number(0.125, 7)
        '0,125'
        """
        return f"{value:.{digits}g}".replace(".", self.decimal)


ISO = Style()
