"""The page of a classifier study: test metrics, overall and per class, and the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.report import words
from vaelab.report.captions import CLASSIFIER, captions
from vaelab.report.charts import search_data
from vaelab.report.data import DATA_PICTURES, data_pictures, data_section
from vaelab.report.page import Card, figures, finite, read_object, read_text, render, settings
from vaelab.report.pictures import folder_pictures
from vaelab.report.study import (
    PAGE_BYTES,
    REST_BYTES,
    STUDY_PICTURES,
    finalists,
    front_table,
    gallery,
    gallery_note,
    trials,
)
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.settings.yardsticks import Yardstick
from vaelab.store import write_atomic

PICTURES = ("confusion", "reliability", "mistakes", "learning")
COLUMNS = {"accuracy": "accuracy", "log_loss": "log-loss", "macro_f1": "macro F1"}
FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log-loss, nats",
    "brier": "Brier",
    "ece": "ECE",
}


def build_classifier_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures next to it.

    kind: the spec type of the models. Raises StoreError if results.json is missing or not written by a study.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    yardstick = Yardstick.of(results)
    missing: list[str] = []
    described = results.get("data") or {}
    said = captions(described) | CLASSIFIER
    best = figures(folder_pictures(folder / "best", PICTURES), "the best model", missing, captions=said)
    of_study = [path for path in folder_pictures(folder, STUDY_PICTURES) if path.stem not in DATA_PICTURES]
    study = figures(of_study, "the study", missing, captions=said)
    winner = results.get("best") or {}
    used = sum(len(figure.picture.uri) for figure in (*best, *study)) + REST_BYTES
    table = [row for row in results.get("table", []) if isinstance(row, Mapping)]
    items, omitted, small = gallery(folder, table, PAGE_BYTES - used, missing, PICTURES, yardstick)
    searched = sorted({str(name) for row in table for name in row.get("params") or {}})
    columns = {yardstick.name: yardstick.short} | COLUMNS  # the yardstick first
    columns = {"value" if name == yardstick.name else name: head for name, head in columns.items()}
    page = render(
        "classifier.html.jinja",
        title=str(results.get("name") or folder.name),
        yardstick=yardstick,
        headline=headline(results),
        course=words.course(results),
        cards=_cards(results),
        best_figures=best,
        study_figures=study,
        splits=_splits(winner),
        classes=_classes(winner),
        class_split=_split(winner),
        trials=trials(table, searched, winner.get("number"), columns),
        finalists=finalists(results, yardstick) if len(Yardstick.both(results)) == 1 else front_table(results),
        final_epochs=results.get("final_epochs"),
        gallery=items,
        gallery_note=gallery_note(omitted, small),
        settings=settings(winner.get("spec") or {}, searched, spec_type),
        **data_section(described),
        table_figures=data_pictures(folder, described, missing),
        config=read_text(folder / "config.toml"),
        search=search_data(folder, results, table) if table else None,
        notes=[*map(str, results.get("notes") or []), *missing],
    )
    return write_atomic(folder / "report.html", page)


def _split(winner: Mapping[str, Any]) -> str:
    return "test" if winner.get("test") else "validation"


def headline(results: Mapping[str, Any]) -> str:
    """The winner and its accuracy."""
    winner = results.get("best")
    if not winner:
        notes = results.get("notes") or ["no trial finished, so there is no best model."]
        return f"There is no winner: {notes[0]}"
    found, always = winner.get(_split(winner)) or {}, (results.get("baseline") or {}).get("accuracy")
    sentence = f"Trial {winner['number']} won: it classifies {_percent(found.get('accuracy'))} of the {_split(winner)} "
    sentence += f"examples correctly, {_percent((winner.get('validation') or {}).get('accuracy'))} on validation"
    return sentence + (f" (majority class: {_percent(always)})." if always is not None else ".")


def _percent(value: Any) -> str:
    number = finite(value)
    return "–" if number is None else f"{100 * number:.2f} %"


def _cards(results: Mapping[str, Any]) -> list[Card]:
    winner = results.get("best") or {}
    cards = []
    for split in ("test", "validation"):
        found = winner.get(split) or {}
        if found.get("accuracy") is not None:
            accuracy = Cell.mean({"mean": found["accuracy"], "se": found.get("se")})
            cards.append(Card(f"{split} accuracy", accuracy, "standard error over examples"))
    found = winner.get(_split(winner)) or {}
    units = {
        "macro_f1": "mean over classes (best: 1)",
        "log_loss": "nats per example",
        "ece": "calibration error (best: 0)",
    }
    names = {"macro_f1": "macro F1", "log_loss": "log-loss", "ece": "ECE"}
    cards += [
        Card(names[key], Cell.of(found[key], _figure), f"{unit}; {_split(winner)}")
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
    found = winner.get(_split(winner)) or {}
    keys = ("precision", "recall", "f1")
    rows = [
        Row([Cell(str(row["class"])), Cell.of(row.get("examples")), *(Cell.of(row.get(key), _figure) for key in keys)])
        for row in found.get("classes") or []
    ]
    return Table("Classes", ["class", "examples", "precision", "recall", "F1"], rows) if rows else None
