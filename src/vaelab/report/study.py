"""The page of a study: the winner, the search, every trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.report import words
from vaelab.report.about_columns import columns_sections
from vaelab.report.captions import captions
from vaelab.report.charts import search_data
from vaelab.report.data import DATA_PICTURES, data_pictures, data_section, unit_note
from vaelab.report.explorer import Explore, Explorer, no_explorer
from vaelab.report.page import (
    Card,
    Figure,
    figures,
    finite,
    inside,
    made_by,
    metric_cards,
    read_text,
    render,
    settings,
)
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table, baselines_table, mean_over_rows
from vaelab.settings.reached import Reached, error_over_rows
from vaelab.settings.spec import ModelSpec
from vaelab.settings.yardsticks import Yardstick
from vaelab.store import read_object, write_atomic
from vaelab.wording import counted, number

PAGE_BYTES = 8_000_000
TRIAL_PICTURES = ("losses", "latent", "reconstructions", "samples")
STUDY_PICTURES = ("front", "history", "rungs", "importance", "latent_size")
MOST_ROWS = 1000  # of the table and the charts of trials: browsers are slow with more
REST_BYTES = 200_000  # style, script, tables: everything except pictures and the explorer

SPLITS = ("validation", "test")
COLUMNS = {"rate": "rate", "distortion": "distortion"}


@dataclass(frozen=True)
class GalleryItem:
    """One trial's pictures."""

    title: str
    pictures: list[Figure]


@dataclass(frozen=True)
class Scale:
    """The range from the model without latents down to the floor, and the share that the winner covers."""

    top: Cell
    bottom: Cell
    value: Cell
    share: float  # in [0, 1]
    whose: str  # value it is


def build_study_report(folder: str | Path, spec_type: type[ModelSpec], explore: Explore = no_explorer) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures next to it.

    `explore` makes the page's explorer of the best model. Raises StoreError if results.json is missing
    or not written by a study.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    missing: list[str] = []
    described = results.get("data") or {}
    said = captions(described)
    best = figures(folder_pictures(folder / "best", TRIAL_PICTURES), "the best model", missing, captions=said)
    of_study = [path for path in folder_pictures(folder, STUDY_PICTURES) if path.stem not in DATA_PICTURES]
    study = figures(of_study, "the study", missing, captions=said)
    winner = results.get("best") or {}
    explorer = _explorer(folder, winner, explore, missing)
    used = sum(len(figure.picture.uri) for figure in (*best, *study)) + _size(explorer)
    baseline = results.get("baseline") or {}
    table = [row for row in results.get("table", []) if isinstance(row, Mapping)]
    yardstick, *others = Yardstick.both(results)
    every, table = len(table), foremost(table, yardstick, winner.get("number"))
    columns = {"value": yardstick.short} | {each.name: each.short for each in others}
    columns |= {name: head for name, head in COLUMNS.items() if name not in (yardstick.name, *columns)}
    items, omitted, small = gallery(folder, table, PAGE_BYTES - used, missing, TRIAL_PICTURES, yardstick)
    notes = (results.get("notes") or [])[0 if winner else 1 :]  # without a winner, the headline says the first
    if len(table) < every:
        notes = [*notes, f"the page has the best {len(table):,} of {every:,} trials; results.json has all."]
    searched = sorted({str(name) for row in table for name in row.get("params") or {}})
    page = render(
        "study.html.jinja",
        title=str(results.get("name") or folder.name),
        results=results,
        headline=words.headline(results),
        course=[*words.course(results), *unit_note(described, winner.get("spec") or {})],
        cards=_cards(results, (yardstick, *others)),
        scale=_scale(results),
        beaten=str(results.get("beaten") or ""),
        baselines=_baselines(results),
        **columns_sections(results),
        best_figures=best,
        study_figures=study,
        trials=trials(table, searched, winner.get("number"), columns),
        finalists=front_table(results) if others else finalists(results, yardstick),
        purpose=str(results.get("purpose") or "").replace(",", " and "),
        yardsticks=(yardstick, *others),
        seeds=_seeds(winner, (yardstick, *others)),
        gallery=items,
        gallery_note=gallery_note(omitted, small),
        settings=settings(winner.get("spec") or {}, searched, spec_type),
        **data_section(described),
        table_figures=data_pictures(folder, described, missing),
        config=read_text(folder / "config.toml"),
        made_by=made_by(folder, missing),
        explorer=explorer,
        search=search_data(folder, results, table) if table else None,
        notes=[*map(str, [*notes, *(baseline.get("left_out") or [])]), *missing],
    )
    return write_atomic(folder / "report.html", page)


def _explorer(folder: Path, winner: Mapping[str, Any], explore: Explore, missing: list[str]) -> Explorer | None:
    if not winner or not (folder / "best").is_dir():
        return None
    return explore({"the best model": folder / "best"}, bool(winner.get("test")), missing)


def _size(explorer: Explorer | None) -> int:
    """Approximate size of the explorer's data, in characters."""
    if explorer is None:
        return REST_BYTES

    def size(value: Any) -> int:
        if isinstance(value, str):
            return len(value)
        if isinstance(value, Mapping):
            return sum(map(size, value.values()))
        return sum(map(size, value)) if isinstance(value, list | tuple) else 20

    return REST_BYTES + size(explorer.data)


def gallery(
    folder: Path,
    table: Sequence[Mapping[str, Any]],
    budget: int,
    missing: list[str],
    pictures: tuple[str, ...],
    yardstick: Yardstick,
) -> tuple[list[GalleryItem], int, bool]:
    """Pictures of the trials, best first, until `budget` is used up: items, trials left out, shrunk?"""
    ordered = sorted(table, key=lambda row: _by_value(row, yardstick))
    rows = [(row, paths) for row in ordered if (paths := _trial_pictures(folder, row, pictures))]
    whole = sum(path.stat().st_size for _, paths in rows for path in paths) * 4 // 3
    small = whole > budget
    items: list[GalleryItem] = []
    for row, paths in rows:
        name = f"trial {row.get('number')}"
        found = figures(paths, name, missing, captions={}, thumbnail=small)
        budget -= sum(len(figure.picture.uri) for figure in found)
        if budget < 0:
            break
        value = row.get("value")
        unit = yardstick.unit.split(" ")[0] or yardstick.short
        ending = f"{number(value)} {unit}" if value is not None else str(row.get("state", "")).lower()
        if row.get("verdict") == "collapsed":
            ending += f", collapsed ({row.get('reason')})"
        items.append(GalleryItem(f"Trial {row.get('number')}: {ending}, {words.model(row.get('spec') or {})}", found))
    return items, len(rows) - len(items), small


def _trial_pictures(folder: Path, row: Mapping[str, Any], pictures: tuple[str, ...]) -> list[Path]:
    """The pictures of a trial; paths that lead out of the study are ignored."""
    where = inside(folder, row.get("folder"))
    return folder_pictures(where, pictures) if where else []


def gallery_note(omitted: int, small: bool) -> str:
    if not small:
        return ""
    left = f" and {counted(omitted, 'trial')} left out" if omitted else ""
    limit = f"{PAGE_BYTES // 1_000_000} MB"
    said = f"To keep this page under {limit}, pictures are reduced{left}"
    return f"{said}; the originals are in the trials' folders."


def _by_value(row: Mapping[str, Any], yardstick: Yardstick) -> tuple[float, int]:
    value = finite(row.get("value"))
    return (math.inf if value is None else yardstick.cost(value), int(row.get("number", 0)))


def _cards(results: Mapping[str, Any], yardsticks: Sequence[Yardstick]) -> list[Card]:
    best = results.get("best") or {}
    seeds = len(best.get("seeds") or [])
    cards: list[Card] = []
    for yardstick in yardsticks if best else ():
        for split in SPLITS if seeds > 1 or yardstick.how else ():
            found = Reached.of(results, yardstick, split)
            if found.mean is not None:
                unit = yardstick.title if yardstick.how or len(yardsticks) > 1 else yardstick.unit or yardstick.title
                unit = "; ".join(filter(None, (f"{unit}, {counted(seeds, 'seed')}", found.kind)))
                cards.append(Card(f"{split}, mean", Cell.mean({"mean": found.mean, "se": found.error}), unit))
    whose = ", best seed" if seeds > 1 else ""
    return cards + metric_cards(best.get("validation") or {}, best.get("test") or {}, whose)


def _baselines(results: Mapping[str, Any]) -> Table | None:
    """The winner's negative ELBO, whatever the yardstick, beside simpler models."""
    best = results.get("best") or {}
    reached = []
    for split in SPLITS:
        found = [seed.get(split) or {} for seed in best.get("seeds") or []]
        reached.append(mean_over_rows([(own.get("neg_elbo"), error_over_rows(own, "neg_elbo")) for own in found]))
    return baselines_table(results.get("baseline") or {}, [("the winner", reached[0], reached[1])] if best else [])


def _scale(results: Mapping[str, Any]) -> Scale | None:
    baseline = results.get("baseline") or {}
    value = finite(((results.get("best") or {}).get("validation") or {}).get("neg_elbo"))
    top, bottom, share = (finite(baseline.get(name)) for name in ("no_latents", "floor", "share"))
    if value is None or top is None or bottom is None:
        return None
    if share is None:
        share = (top - value) / (top - bottom) if top > bottom else 0.0
    whose = "this model" if len(results["best"].get("seeds") or []) <= 1 else "the best seed"
    return Scale(Cell.of(top), Cell.of(bottom), Cell.of(value), min(1.0, max(0.0, share)), whose)


def foremost(table: Sequence[Mapping[str, Any]], yardstick: Yardstick, winner: Any = None) -> list[Mapping[str, Any]]:
    """The trials that the page shows, by number: the best MOST_ROWS, and the winner."""
    best = sorted(table, key=lambda row: _by_value(row, yardstick))[:MOST_ROWS]
    kept = {row.get("number") for row in best} | {winner}
    return [row for row in table if row.get("number") in kept]


def trials(
    table: Sequence[Mapping[str, Any]], searched: Sequence[str], winner: Any, columns: Mapping[str, str]
) -> Table:
    """Every trial with its metrics, `columns` by key, and its settings."""
    heads = {"number": "trial", "state": "state", **columns, "epochs": "epochs", "seconds": "time"}
    rows = []
    for row in table:
        best = winner is not None and row.get("number") == winner
        state = "collapsed" if row.get("verdict") == "collapsed" else str(row.get("state", "")).lower()
        cells = [Cell(state) if key == "state" else Cell.of(row.get(key), _show(key)) for key in heads]
        cells[0] = Cell(cells[0].text, cells[0].exact, tag="winner" if best else "")
        params, idle = row.get("params") or {}, row.get("idle") or ()
        cells += [Cell.of(None if name in idle else params.get(name)) for name in searched]
        rows.append(Row(cells, "winner" if best else "" if state == "complete" else "faint"))
    return Table("All trials", [*heads.values(), *searched], rows, 0)


def _show(key: str) -> Any:
    return (lambda value: words.duration(finite(value))) if key == "seconds" else number


def finalists(results: Mapping[str, Any], yardstick: Yardstick) -> Table | None:
    """The best trials, in the search and retrained."""
    found = sorted(results.get("finalists") or [], key=lambda row: yardstick.cost(row["mean"]))
    unit = yardstick.unit.split(" ")[0] or yardstick.short
    winner = (results.get("best") or {}).get("number")
    rows = [
        Row(
            [
                Cell.of(row["number"]),
                Cell.of(row.get("search")),
                Cell.mean({"mean": row["mean"], "se": row.get("se")}),
                Cell.of(row.get("parameters")),
            ],
            "winner" if row["number"] == winner else "",
        )
        for row in found
    ]
    again = (
        f"retrained, {unit}" if all(row.get("se") is None for row in found) else f"retrained, mean over seeds, {unit}"
    )
    heads = ("trial", f"in the search, {unit}", again, "parameters")
    return Table("Finalists", heads, rows, 2) if rows else None


def front_table(results: Mapping[str, Any]) -> Table | None:
    """The finalists of two yardsticks, in the search and retrained."""
    yardsticks, front = Yardstick.both(results), results.get("front") or ()
    winner = (results.get("best") or {}).get("number")
    rows = [
        Row(
            [
                Cell.of(row["number"]),
                Cell("yes" if row["number"] in front else "no"),
                *map(Cell.of, row["searches"]),
                *(Cell.mean({"mean": m, "se": e}) for m, e in zip(row["means"], row["errors"], strict=True)),
                Cell.of(row.get("parameters")),
            ],
            "winner" if row["number"] == winner else "" if row["number"] in front else "faint",
        )
        for row in sorted(results.get("finalists") or [], key=lambda row: yardsticks[0].cost(row["mean"]))
    ]
    heads = ["trial", "on the front", *(f"{each.short}, in the search" for each in yardsticks)]
    heads += [*(f"{each.short}, retrained" for each in yardsticks), "parameters"]
    return Table("Finalists", heads, rows, 4) if rows else None


def _seeds(best: Mapping[str, Any], yardsticks: Sequence[Yardstick]) -> Table | None:
    rows, measured = [], [each for each in yardsticks if each.how]
    for place, seed in enumerate(best.get("seeds") or [], 1):
        validation, test = seed.get("validation") or {}, seed.get("test") or {}
        values = [validation.get(name) for name in ("neg_elbo", "rate", "distortion")]
        name = Cell(str(place), tag="kept" if validation == best.get("validation") else "")
        values += [test.get("neg_elbo"), *(split.get(each.name) for each in measured for split in (validation, test))]
        rows.append(Row([name, *map(Cell.of, values)]))
    heads = ["seed", "validation, nats", "rate", "distortion", "test, nats"]
    heads += [f"{split}, {each.short}" for each in measured for split in SPLITS]
    return Table("Seeds", heads, rows) if rows else None
