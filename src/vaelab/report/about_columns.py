"""What pages say of a table's columns: filled cells, conditions, and what drives what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vaelab.report.tables import Cell, Row, Table
from vaelab.wording import listed, number, percent

FILLED = (  # key, cells, head, format
    ("rmse", "numbers", "numbers: RMSE, standard deviations", number),
    ("accuracy", "categories", "categories: share that is right", percent),
)


def columns_sections(found: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of all sections, from the results of a study or the metrics of a run."""
    leakage = found.get("leakage")
    return {
        **imputation_section(found.get("imputation")),
        "leakage": leakage_table(leakage),
        "leakage_rows": max((row["rows"] for row in leakage or ()), default=0),
        "drivers": drivers_tables(found.get("drivers")),
    }


def imputation_section(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parts of a page's section on missing values, from the errors of ways to fill hidden cells, by
    `vaelab.vae.imputation_quality`; without it, nothing.
    """
    if not found:
        return {}
    errors: Mapping[str, Mapping[str, Any]] = found["errors"]
    shown = [column for column in FILLED if any(own[column[0]] is not None for own in errors.values())]
    rows = {name: [Cell("this model" if name == "model" else name)] for name in errors}
    best = []
    for key, cells, _, show in shown:
        values = {name: own[key] for name, own in errors.items() if own[key] is not None}
        reached = (max if key == "accuracy" else min)(values.values())
        behind = (found.get("behind") or {}).get(key) or {}
        first = [row[0].text for name, row in rows.items() if values.get(name) == reached]
        near = [
            row[0].text for name, row in rows.items()
            if row[0].text not in first and name in behind and behind[name]["mean"] <= 2 * behind[name]["se"]
        ]  # fmt: skip
        everyone = len(first) + len(near) == len(values) > 1
        for name, row in rows.items():
            row.append(replace(Cell.of(errors[name][key], show), is_best=row[0].text in first + near and not everyone))
        said = f"{cells} are filled best by {listed(first)}"
        if near:
            said = f"{cells} have the fewest errors by {listed(first)}, from which {listed(near)} cannot be told"
        best.append(f"{cells}: no difference shown" if everyone else said)
    heads = ["filled by", *(column[2] for column in shown)]
    said = "; ".join(best)
    return {
        "imputation": Table("Filled cells", heads, [*map(Row, rows.values())]),
        "hidden_cells": f"{found.get('cells', 0):,}",
        "best_filled": f"{said[0].upper()}{said[1:]}." if said else "",
        "not_filled": [str(why) for why in found.get("left_out") or []],
    }


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
