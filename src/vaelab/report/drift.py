"""The page of a drift: the columns that differ, the change of the bound, and whether the latents can be told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.report.captions import DRIFT
from vaelab.report.data import data_section
from vaelab.report.page import Card, closing, figures, render
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_object, write_atomic
from vaelab.wording import counted, difference, number, percent, with_error

LEVEL = 0.05
FOUND = 2.8  # standard errors of a mean, at which a test at this level has a power of 0.8


def build_drift_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the picture next to it.

    Raises StoreError where results.json is missing or damaged.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    missing: list[str] = []
    pictures = [path for path in folder_pictures(folder, ()) if path.stem == "drift"]
    page = render(
        "drift.html.jinja",
        title=str(results.get("name") or folder.resolve().name),
        headline=drift_in_words(results),
        course=_reach(results["score"]),
        cards=_cards(results),
        drifts=_columns(results),
        figures=figures(pictures, "the drift", missing, captions=DRIFT),
        **data_section(results.get("data") or {}),
        **closing(folder, results, missing, spec_type),
    )
    return write_atomic(folder / "report.html", page)


def drift_in_words(results: Mapping[str, Any]) -> str:
    """The finding in one sentence."""
    columns, score, latents = results["columns"], results["score"], results["latents"]
    said = []
    if columns:
        said.append(f"{sum(own['differs'] for own in columns)} of {counted(len(columns), 'column')} differ")
    apart = "a classifier tells their latents apart" if latents["p_value"] <= LEVEL else "their latents look alike"
    said.append(f"{apart} (AUC {with_error(latents['auc'], latents['se'])})")
    way = "less" if score["change"] > 0 else "more"
    change = f"{with_error(abs(score['change']), score['se'])} nats {way} likely"
    shown = f"rows are {change}"
    if not _is_shown(score):
        shown = f"rows are not shown to be less or more likely ({change} on average, p = {score['p_value']:.2g})"
    said.append(shown)
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _is_shown(score: Mapping[str, Any]) -> bool:
    return bool(score["p_value"] <= LEVEL)


def _reach(score: Mapping[str, Any]) -> list[str]:
    """Where no change of the bound is shown, how large it would have to be: (1.96 + 0.84) standard errors."""
    if _is_shown(score):
        return []
    return [f"With these rows, a change of about {difference(FOUND * score['se'])} nats would be found 4 times in 5."]


def _cards(results: Mapping[str, Any]) -> list[Card]:
    score, latents = results["score"], results["latents"]
    cards = [
        Card("rows", Cell.of(results["rows"]), f"against {results['reference_rows']:,}"),
        Card("change of the bound", Cell.mean({"mean": score["change"], "se": score["se"]}),
             f"nats, higher is less likely; p = {score['p_value']:.2g}"),
        Card("AUC of the latents", Cell.mean({"mean": latents["auc"], "se": latents["se"]}),
             f"0.5: not to be told apart; p = {latents['p_value']:.2g}"),
    ]  # fmt: skip
    if results["columns"]:
        cards.append(Card("columns that differ", Cell.of(sum(own["differs"] for own in results["columns"])),
                          f"of {len(results['columns'])}"))  # fmt: skip
    return cards


def _columns(results: Mapping[str, Any]) -> Table | None:
    found = results["columns"]
    if not found:
        return None
    is_missing = any(own["missing_p_value"] is not None for own in found)
    heads = ["column", "kind", "distance", "shift of the mean, sd", "p, Holm"]
    heads += ["missing", "p of missing, Holm"] if is_missing else []
    rows = []
    for own in found:
        cells = [Cell(own["column"]), Cell(own["kind"])]
        cells += [Cell.of(own[key], _short) for key in ("distance", "shift", "p_holm")]
        if is_missing:
            shares = f"{percent(own['missing_reference'], 1)} to {percent(own['missing'], 1)}"
            cells += [Cell(shares, json.dumps(own["missing"])), Cell.of(own["missing_p_holm"], _short)]
        rows.append(Row(cells, "" if own["differs"] else "faint"))
    return Table("Drift of the columns", heads, rows)


def _short(value: Any) -> str:
    return number(value) if value is None else f"{value:.2g}"
