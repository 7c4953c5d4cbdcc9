"""Tables of a page: each cell holds a rounded text for display and the exact value for the script and tests."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaelab.wording import number, value_and_error


@dataclass(frozen=True)
class Cell:
    """Text, plus its exact value and standard error as JSON; "" if there is none."""

    text: str
    exact: str = ""
    error: str = ""
    error_text: str = ""
    tag: str = ""
    is_best: bool = False  # set in bold

    @classmethod
    def of(cls, value: Any, show: Callable[[Any], str] = number) -> Cell:
        """A cell of any JSON value."""
        return cls(show(value), _exact(value))

    @classmethod
    def mean(cls, summary: Any, show: Callable[[Any], str] = number) -> Cell:
        """A cell of {"mean", "se"}, or of a bare value."""
        if not isinstance(summary, Mapping):
            return cls.of(summary, show)
        mean, se = summary.get("mean"), summary.get("se")
        error = _exact(se) if mean is not None else ""
        if not error or show is not number:
            return cls(show(mean), _exact(mean), error, f"± {show(se)}" if error else "")
        text, margin = value_and_error(mean, se)
        return cls(text, _exact(mean), error, f"± {margin}")


@dataclass(frozen=True)
class Row:
    cells: Sequence[Cell]
    mark: str = ""  # "winner", "faint" or ""


@dataclass(frozen=True)
class Table:
    """A sortable table; the first cell of a row is its name. `sorted_by` is the column by which rows are in order."""

    label: str
    heads: Sequence[str]
    rows: Sequence[Row]
    sorted_by: int | None = None

    @property
    def order(self) -> str:
        """Which way that column goes: "ascending", "descending" as where higher is better, or "" if neither."""
        if self.sorted_by is None:
            return ""
        values = [float(cell.exact) for row in self.rows if (cell := row.cells[self.sorted_by]).exact]
        ways = {"ascending": sorted(values), "descending": sorted(values, reverse=True)}
        return next((way for way, ordered in ways.items() if values == ordered), "")


def _exact(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return json.dumps(value)


def mean_over_rows(runs: Sequence[tuple[Any, float | None]]) -> dict[str, float | None]:
    """The mean of the values of several seeds, and its standard error over the rows, which all of them share.

    >>> mean_over_rows([(1.0, 0.5), (2.0, 0.25)])
    {'mean': 1.5, 'se': 0.375}
    """
    values = [float(value) for value, _ in runs if value is not None]
    errors = [error for _, error in runs if error is not None]
    return {
        "mean": statistics.fmean(values) if values else None,
        "se": statistics.fmean(errors) if errors else None,
    }


def baselines_table(baseline: Mapping[str, Any], models: Iterable[tuple[str, Any, Any]]) -> Table | None:
    """Models by name, with their values on validation and test, beside the baselines; None without structured ones."""
    structured = baseline.get("structured") or []
    if not structured:
        return None
    rows = [Row([Cell(name), Cell.mean(value), Cell(""), Cell.mean(test)], "winner") for name, value, test in models]
    for own in structured:
        value = {"mean": own.get("validation"), "se": own.get("validation_se")}
        gain = {"mean": own.get("gain"), "se": own.get("gain_se")}
        cells = [Cell(str(own.get("label"))), Cell.mean(value), Cell.mean(gain), Cell.of(own.get("test"))]
        rows.append(Row(cells))
    rows.append(Row([Cell("without latents"), Cell.of(baseline.get("no_latents")), Cell(""), Cell("")]))
    heads = ("model", "validation, nats", "gain of its dimensions", "test, nats")
    return Table("Beside simpler models", heads, rows)


def history_table(history: Iterable[Mapping[str, Any]]) -> Table:
    """A record per epoch."""
    heads = ("epoch", "learning rate", "train, nats", "validation, nats", "rate", "distortion")
    rows = []
    for record in history:
        train, validation = record.get("train") or {}, record.get("validation") or {}
        values = [record.get("epoch"), record.get("lr"), train.get("neg_elbo")]
        values += [validation.get(name) for name in ("neg_elbo", "rate", "distortion")]
        rows.append(Row([Cell.of(value) for value in values]))
    return Table("History", heads, rows, 0)
