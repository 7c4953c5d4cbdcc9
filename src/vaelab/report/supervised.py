"""The page of a study of networks with a target: metrics, simpler models, the search; and what each kind adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vaelab.report import words
from vaelab.report.captions import captions
from vaelab.report.charts import search_data
from vaelab.report.data import DATA_PICTURES, data_pictures, data_section
from vaelab.report.page import Card, figures, made_by, read_text, render, settings
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
from vaelab.store import read_object, write_atomic
from vaelab.wording import number

Json = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Page:
    """What the page of one kind of model says besides.

    pictures: of a run, in order. captions: of these. columns: metrics of the table of trials, with their heads.
    baselines: metrics of simpler models, with their heads; baselines_hint: how to read them. hint: of the table
    `splits`. extra: further entries of the template. The functions take the winner, `headline` and `cards` all results.
    """

    kind: str
    pictures: tuple[str, ...]
    captions: Mapping[str, str]
    columns: Mapping[str, str]
    baselines: Mapping[str, str]
    baselines_hint: str
    hint: str
    headline: Callable[[Json], str]
    cards: Callable[[Json], list[Card]]
    splits: Callable[[Json], Table | None]
    extra: Callable[[Json], dict[str, Any]]


def build_supervised_report(folder: str | Path, spec_type: type[ModelSpec], own: Page) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures next to it.

    spec_type: of the models. Raises StoreError if results.json is missing or not written by a study.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    yardstick = Yardstick.of(results)
    missing: list[str] = []
    described = results.get("data") or {}
    said = {**captions(described), **own.captions}
    best = figures(folder_pictures(folder / "best", own.pictures), "the best model", missing, captions=said)
    of_study = [path for path in folder_pictures(folder, STUDY_PICTURES) if path.stem not in DATA_PICTURES]
    study = figures(of_study, "the study", missing, captions=said)
    winner = results.get("best") or {}
    used = sum(len(figure.picture.uri) for figure in (*best, *study)) + REST_BYTES
    table = [row for row in results.get("table", []) if isinstance(row, Mapping)]
    items, omitted, small = gallery(folder, table, PAGE_BYTES - used, missing, own.pictures, yardstick)
    searched = sorted({str(name) for row in table for name in row.get("params") or {}})
    columns = {yardstick.name: yardstick.short, **own.columns}  # the yardstick first
    columns = {"value" if name == yardstick.name else name: head for name, head in columns.items()}
    page = render(
        "supervised.html.jinja",
        kind=own.kind,
        title=str(results.get("name") or folder.name),
        yardstick=yardstick,
        headline=own.headline(results),
        beaten=str(results.get("beaten") or ""),
        course=words.course(results),
        cards=own.cards(results),
        best_figures=best,
        study_figures=study,
        splits=own.splits(winner),
        hint=own.hint,
        baselines=_baselines(results, own.baselines),
        baselines_hint=own.baselines_hint,
        **{"classes": None, "intervals": None, **own.extra(winner)},
        trials=trials(table, searched, winner.get("number"), columns),
        finalists=finalists(results, yardstick) if len(Yardstick.both(results)) == 1 else front_table(results),
        final_epochs=results.get("final_epochs"),
        gallery=items,
        gallery_note=gallery_note(omitted, small),
        settings=settings(winner.get("spec") or {}, searched, spec_type),
        **data_section(described),
        table_figures=data_pictures(folder, described, missing),
        config=read_text(folder / "config.toml"),
        made_by=made_by(folder, missing),
        search=search_data(folder, results, table) if table else None,
        notes=[*map(str, [*(results.get("notes") or []), *_left_out(results)]), *missing],
    )
    return write_atomic(folder / "report.html", page)


def opened(winner: Json) -> str:
    """The split that judges the winner."""
    return "test" if winner.get("test") else "validation"


def no_winner(results: Json) -> str:
    """The headline of a study without a winner."""
    notes = results.get("notes") or ["no trial finished, so there is no best model."]
    return f"There is no winner: {notes[0]}"


def _left_out(results: Json) -> list[str]:
    reason = results.get("baselines_left_out")
    return [str(reason)] if reason else []


def _baselines(results: Json, metrics: Mapping[str, str]) -> Table | None:
    """The winner and simpler models, by their metrics on validation and test."""
    simpler, winner = results.get("baselines") or [], results.get("best") or {}
    if not simpler or not winner:
        return None
    rows = []
    for each in ({"name": f"trial {winner['number']}", **winner}, *simpler):
        cells = [
            Cell.of((each.get(split) or {}).get(name), number) for name in metrics for split in ("validation", "test")
        ]
        rows.append(Row([Cell(str(each["name"])), *cells], "" if each in simpler else "winner"))
    heads = ["model", *(f"{head}, {split}" for head in metrics.values() for split in ("validation", "test"))]
    return Table("Beside simpler models", heads, rows)
