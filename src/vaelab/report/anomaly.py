"""The page of anomaly scores: the AUROC of each in every direction, failures first, with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.report.captions import ANOMALY
from vaelab.report.data import data_section
from vaelab.report.page import Card, closing, figures, render
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_object, write_atomic

Json = Mapping[str, Any]


def build_anomaly_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures next to it.

    Raises StoreError where results.json is missing or damaged.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    ways: list[Json] = results.get("directions") or []
    missing: list[str] = []
    paths = folder_pictures(folder, ())
    page = render(
        "anomaly.html.jinja",
        title=str(results.get("name") or folder.resolve().name),
        headline=_headline(ways),
        course=[],
        cards=_cards(ways),
        summary=_summary(ways),
        ways=[
            {
                "name": way["name"],
                "sentences": [verdict["sentence"] for verdict in way["scores"].values() if verdict["failed"]],
                "table": _scores(way),
                "figures": figures(
                    [path for path in paths if path.stem == f"anomaly_{number}"], str(way["name"]), missing,
                    captions=ANOMALY,
                ),
            }
            for number, way in enumerate(ways, 1)
        ],
        **data_section(results.get("data") or {}),
        **closing(folder, results, missing, spec_type),
    )  # fmt: skip
    return write_atomic(folder / "report.html", page)


def _worst(ways: Sequence[Json]) -> dict[str, float]:
    """The lowest AUROC of each score over the directions."""
    names = list(dict.fromkeys(name for way in ways for name in way["scores"]))
    return {name: min(way["scores"][name]["auroc"] for way in ways if name in way["scores"]) for name in names}


def _headline(ways: Sequence[Json]) -> str:
    worst = _worst(ways)
    failed = [_plain(name) for name, value in worst.items() if value < 0.5]
    if not failed:
        return f"No score failed: the weakest has an AUROC of {min(worst.values(), default=0):.3f}."
    where = " in at least one direction" if len(ways) > 1 else ""
    return f"Worse than chance{where}: {', '.join(failed)} ({len(failed)} of {len(worst)} scores)."


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _cards(ways: Sequence[Json]) -> list[Card]:
    return [
        Card(what, Cell.of(way["scores"][name]["auroc"], _share), f"AUROC, {way['name']}")
        for way in ways
        for name, what in (("bound", "the bound"), ("pixel_entropy", "pixels alone"))
        if name in way["scores"]
    ]


def _summary(ways: Sequence[Json]) -> Table | None:
    """AUROC of every score in all directions, and the worst; None if there is only one direction."""
    if len(ways) < 2:
        return None
    rows = [
        Row([Cell(_plain(name)), *(_auroc(way["scores"].get(name)) for way in ways), Cell.of(worst, _share)])
        for name, worst in _worst(ways).items()
    ]
    return Table("Both directions", ["score", *(str(way["name"]) for way in ways), "worst"], rows)


def _scores(way: Json) -> Table:
    heads = ["score", "AUROC", str(way["known"]["name"]), str(way["other"]["name"]), "higher means"]
    rows = [
        Row([Cell(_plain(name)), _auroc(own), Cell.of(own["known"]), Cell.of(own["other"]), Cell(str(own["meaning"]))])
        for name, own in way["scores"].items()
    ]
    return Table(f"Scores: {way['name']}", heads, rows)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _auroc(own: Json | None) -> Cell:
    if own is None:
        return Cell("–")
    cell = Cell.mean({"mean": own["auroc"], "se": own["se"]}, _share)
    return Cell(cell.text, cell.exact, cell.error, cell.error_text, "FAILED" if own["failed"] else "")
