"""Tables of a page: each cell holds a rounded text for display and the exact value for the script and tests."""

from __future__ import annotations

import json
import math
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
    """A sortable table; the first cell of a row is its name. `sorted_by` is the initially ascending column."""

    label: str
    heads: Sequence[str]
    rows: Sequence[Row]
    sorted_by: int | None = None


def _exact(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return json.dumps(value)


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
    return Table("Beside simpler models", heads, rows, 1)


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


def imputation_table(found: Mapping[str, Any] | None) -> Table | None:
    """The errors of ways to fill hidden cells, by `vaelab.vae.imputation_quality`."""
    if not found:
        return None
    errors: Mapping[str, Mapping[str, Any]] = found["errors"]
    shown = [
        (key, head)
        for key, head in (("rmse", "RMSE, standard deviations"), ("accuracy", "accuracy of categories"))
        if any(own[key] is not None for own in errors.values())
    ]
    rows = [
        Row(
            [Cell("this model" if name == "model" else name), *(Cell.of(own[key]) for key, _ in shown)],
            "winner" if name == "model" else "",
        )
        for name, own in errors.items()
    ]
    return Table("Filled cells", ["filled by", *(head for _, head in shown)], rows)


def leakage_table(found: Sequence[Mapping[str, Any]] | None) -> Table | None:
    """What latents tell of conditions, by `vaelab.vae.leakage`."""
    if not found:
        return None
    rows = []
    for own in found:
        measure = "accuracy" if own["measure"] == "accuracy" else "R²"
        first = Cell.mean({"mean": own["latents"], "se": own["se"]})
        rows.append(
            Row([Cell(own["condition"]), Cell(measure), first, Cell.of(own["chance"]), Cell.of(own["columns"])])
        )
    return Table("Conditions", ["condition", "measure", "from the latents", "chance", "from the columns"], rows)


def drivers_tables(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What drives what, by `vaelab.vae.drivers`: a table of latents, one of columns, and what the page says of them."""
    if not found:
        return None
    latents = [
        Row([Cell(f"z{k}"), Cell.of(information), Cell(_effects(moves, "+")), *([Cell(_effects(by))] if by else [])])
        for k, information, moves, by in zip(
            found["latents"], found["information"], found["moves"], found["moved_by"], strict=True
        )
    ]
    heads = ["latent", "information, nats", "moves", *(["is moved by"] if found["moved_by"][0] else [])]
    explained = [Row([Cell(str(name)), Cell.of(share)]) for name, share in found["explained"]]
    return {
        "rows": found["rows"],
        "left_out": found["left_out"],
        "latents": Table("Latents", heads, latents),
        "explained": Table("Columns explained", ["column", "R²"], explained),
    }


def _effects(pairs: Sequence[Sequence[Any]], form: str = "") -> str:
    return ", ".join(f"{name} {value:{form}.2f}" for name, value in pairs if abs(value) >= 0.05)
