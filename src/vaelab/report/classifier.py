"""What the page of a classifier study says: accuracy, calibration, classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.report.captions import CLASSIFIER
from vaelab.report.page import Card, finite
from vaelab.report.supervised import Page, build_supervised_report, no_winner, opened
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.wording import counted, percent

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log-loss, nats",
    "brier": "Brier",
    "ece": "ECE",
}


def build_classifier_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json; see `build_supervised_report`."""
    return build_supervised_report(folder, spec_type, PAGE)


def headline(results: Mapping[str, Any]) -> str:
    """The winner and its accuracy."""
    winner = results.get("best")
    if not winner:
        return no_winner(results)
    split, always = opened(winner), (results.get("baseline") or {}).get("accuracy")
    found, validation = winner.get(split) or {}, winner.get("validation") or {}
    examples = counted(int(found.get("examples") or 0), f"{split} example")
    sentence = (
        f"Trial {winner['number']} won: it classifies {percent(found.get('accuracy'), 2)} of {examples} correctly, "
        f"{percent(validation.get('accuracy'), 2)} on validation"
    )
    return sentence + (f" (majority class: {percent(always, 2)})." if always is not None else ".")


def _cards(results: Mapping[str, Any]) -> list[Card]:
    winner = results.get("best") or {}
    cards = []
    for split in ("test", "validation"):
        found = winner.get(split) or {}
        if found.get("accuracy") is not None:
            accuracy = Cell.mean({"mean": found["accuracy"], "se": found.get("se")})
            unit = f"share of {counted(int(found.get('examples') or 0), 'example')}"
            unit += ", ± standard error" if accuracy.error else ""
            cards.append(Card(f"{split} accuracy", accuracy, unit))
    found = winner.get(opened(winner)) or {}
    units = {
        "macro_f1": "mean over classes (best: 1)",
        "log_loss": "nats per example",
        "ece": "calibration error (best: 0)",
    }
    names = {"macro_f1": "macro F1", "log_loss": "log-loss", "ece": "ECE"}
    cards += [
        Card(names[key], Cell.of(found[key], _figure), f"{unit}; {opened(winner)}")
        for key, unit in units.items()
        if found.get(key) is not None
    ]
    if found.get("temperature") is not None:
        cards.append(Card("temperature", Cell.of(found["temperature"]), "fitted on validation"))
    return cards


def _figure(value: Any) -> str:
    number = finite(value)
    return "–" if number is None else f"{number:.4f}"


def _splits(winner: Mapping[str, Any]) -> Table | None:
    rows = []
    for split in ("validation", "test"):
        found = winner.get(split) or {}
        for name, own in ((split, found), (f"{split}, unscaled", found.get("unscaled") or {})):
            if own:
                rows.append(Row([Cell(name), *(Cell.of(own.get(key), _figure) for key in FIGURES)]))
    return Table("Figures", ["examples", *FIGURES.values()], rows) if rows else None


def _classes(winner: Mapping[str, Any]) -> Table | None:
    found = winner.get(opened(winner)) or {}
    keys = ("precision", "recall", "f1")
    rows = [
        Row([Cell(str(row["class"])), Cell.of(row.get("examples")), *(Cell.of(row.get(key), _figure) for key in keys)])
        for row in found.get("classes") or []
    ]
    return Table("Classes", ["class", "examples", "precision", "recall", "F1"], rows) if rows else None


PAGE = Page(
    kind="Classifier study",
    pictures=("confusion", "reliability", "mistakes", "learning"),
    captions=CLASSIFIER,
    columns={"accuracy": "accuracy", "log_loss": "log-loss", "macro_f1": "macro F1"},
    baselines={"accuracy": "accuracy", "log_loss": "log-loss"},
    baselines_hint="Their probabilities are not scaled by a temperature; log-loss is in nats per example.",
    hint="The test split was opened after the model was chosen. Temperature scaling is fitted on validation, so "
    "only test judges its probabilities fairly; it changes no prediction.",
    headline=headline,
    cards=_cards,
    splits=_splits,
    extra=lambda winner: {"classes": _classes(winner), "class_split": opened(winner)},
)
