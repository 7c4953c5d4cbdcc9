"""The page of the anomaly scores of a file's rows: how many are flagged, the strangest, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.report.captions import ROW_SCORES
from vaelab.report.data import data_section
from vaelab.report.page import Card, closing, figures, render
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_object, write_atomic
from vaelab.wording import counted, number, percent, row_title, told_apart

FAR = 1e7  # scores from which on digits say nothing


def build_row_scores_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the picture next to it.

    Raises StoreError where results.json is missing or damaged.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    missing: list[str] = []
    pictures = [path for path in folder_pictures(folder, ()) if path.stem == "scores"]
    page = render(
        "row_scores.html.jinja",
        title=str(results.get("name") or folder.resolve().name),
        headline=_headline(results),
        course=[],
        cards=_cards(results),
        strangest=_strangest(results),
        figures=figures(pictures, "the rows", missing, captions=ROW_SCORES),
        **data_section(results.get("data") or {}),
        **closing(folder, results, missing, spec_type),
    )
    return write_atomic(folder / "report.html", page)


def _headline(results: Mapping[str, Any]) -> str:
    rows, flagged, share = int(results["rows"]), int(results["flagged"]), float(results["contamination"])
    return (
        f"{flagged:,} of {counted(rows, 'row')} flagged as anomalies ({percent(flagged / rows, 1)}); "
        f"of normal rows {100 * share:.2g} % would be."
    )


def _cards(results: Mapping[str, Any]) -> list[Card]:
    return [
        Card("flagged", Cell.of(results["flagged"]), f"of {counted(int(results['rows']), 'row')}"),
        Card("contamination", Cell.of(results["contamination"]), "share of normal rows that is flagged"),
        Card("calibration", Cell.of(results["calibration_rows"]), "rows the model was not trained on"),
    ]


def _strangest(results: Mapping[str, Any]) -> Table:
    found = results.get("strangest") or []
    is_explained = any(own["strange"] for own in found)
    heads = [row_title(str(results.get("id_name") or "row")), "score, nats", "p-value"]
    rows = []
    for own in found:
        cells = [Cell.of(own["row"]), Cell.of(own["score"], _score), Cell.of(own["p_value"])]
        cells += [Cell(_reasons(own["strange"]))] if is_explained else []
        rows.append(Row(cells, "" if own["is_anomaly"] else "faint"))
    return Table("The strangest rows", heads + (["what makes it strange"] if is_explained else []), rows)


def _reasons(found: list[Mapping[str, Any]]) -> str:
    told = ((own["column"], *told_apart(own["value"], own["expected"])) for own in found)
    return "; ".join(f"{column} {value}, expected {expected}" for column, value, expected in told)


def _score(value: float) -> str:
    return number(value) if value < FAR else f"{value:.4g}"
