"""The columns of a table: the kind of each, and what its values stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

Kind = Literal["real", "positive", "count", "binary", "categorical", "ordinal", "date"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEVELLED = ("binary", "categorical", "ordinal")
LARGEST_WHOLE = 2.0**53  # from here on, float64 has gaps between whole numbers


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table; its cells are numbers, and NaN where the value is missing.

    kind: real numbers; positive numbers, compared by ratios; counts 0, 1, ...; binary, categorical or ordinal, whose
        cells are among `values`; or dates, as days since 1970-01-01.
    levels: what the values of the last kinds stand for, as text; in their order for an ordinal column.
    values: increasing numbers, one per level: the table's own, or 0, 1, ... for text.
    missing: number of missing values in all rows.
    rare: almost all training rows hold one value, so a standard deviation says little about the others.
    condition: given rather than modelled, such as a batch: the model is of the other columns given this one.
    decimals: of the numbers of a real or positive column in the training rows, so that others are written alike; None
        if they have more than 7.
    """

    name: str
    kind: Kind = "real"
    levels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    missing: int = 0
    rare: bool = False
    condition: bool = False
    decimals: int | None = None

    @property
    def rounded_to(self) -> int | None:
        """The decimals of its numbers: 0 for counts; None for levels and dates, and where they have many."""
        return 0 if self.kind == "count" else self.decimals

    @property
    def has_levels(self) -> bool:
        """Whether its cells are among `values`."""
        return self.kind in LEVELLED

    @property
    def is_numeric(self) -> bool:
        """Whether its cells are the table's own numbers, and not text by number."""
        return all(_reads_as(level, value) for level, value in zip(self.levels, self.values, strict=True))

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """From `dataclasses.asdict`, as stored in a run."""
        return cls(**{**facts, "levels": tuple(facts.get("levels", ())), "values": tuple(facts.get("values", ()))})


def _reads_as(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False
