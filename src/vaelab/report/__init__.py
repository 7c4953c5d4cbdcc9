"""One self-contained page about a study or a run: no outside request, every text escaped by construction."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vaelab.errors import StoreError
from vaelab.report import words
from vaelab.report.captions import CAPTIONS
from vaelab.report.pictures import Picture, folder_pictures, load
from vaelab.spec import Spec
from vaelab.store import read_json, write_atomic

__all__ = ["build_run_report", "build_study_report"]

PAGE_BYTES = 8_000_000
TRIAL_PICTURES = ("losses", "latent", "reconstructions", "samples")
STUDY_PICTURES = ("history", "rungs", "importance", "latent_size")

COLUMNS = (
    ("number", "trial"),
    ("state", "state"),
    ("value", "neg. ELBO"),
    ("rate", "rate"),
    ("distortion", "distortion"),
    ("verdict", "verdict"),
    ("epochs", "epochs"),
    ("seconds", "time"),
)


@dataclass(frozen=True)
class Figure:
    """A picture with the words that say how to read it."""

    picture: Picture
    alt: str
    caption: str


@dataclass(frozen=True)
class GalleryItem:
    """One trial's pictures."""

    title: str
    pictures: list[Figure]


def build_study_report(folder: str | Path) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures beside it.

    Raises StoreError where results.json is missing or is not what a study writes.
    """
    folder = Path(folder)
    results = _read_object(folder / "results.json")
    missing: list[str] = []
    best = _figures(folder_pictures(folder / "best", TRIAL_PICTURES), "the best model", missing)
    study = _figures(folder_pictures(folder, STUDY_PICTURES), "the study", missing)
    used = sum(len(figure.picture.uri) for figure in (*best, *study))
    table = [row for row in results.get("table", []) if isinstance(row, Mapping)]
    gallery, omitted, small = _gallery(folder, table, PAGE_BYTES - used, missing)
    searched = sorted({str(name) for row in table for name in row.get("params") or {}})
    winner = results.get("best") or {}
    page = _render(
        "study.html.jinja",
        title=str(results.get("name") or folder.name),
        results=results,
        headline=words.headline(results),
        course=words.course(results),
        cards=_study_cards(results),
        scale=_scale(results),
        best_figures=best,
        study_figures=study,
        columns=[*COLUMNS, *((name, name) for name in searched)],
        rows=[_table_row(row, searched, winner.get("number")) for row in table],
        sort_keys=[_sort_keys(row, searched) for row in table],
        gallery=gallery,
        gallery_note=_gallery_note(omitted, small),
        settings=_settings(winner.get("spec") or {}, searched),
        data=_pairs(results.get("data") or {}),
        config=_read_text(folder / "config.toml"),
        notes=[*map(str, results.get("notes") or []), *missing],
    )
    return write_atomic(folder / "report.html", page)


def build_run_report(folder: str | Path) -> Path:
    """Writes FOLDER/report.html from a run's spec.json, metrics.json, history.jsonl and pictures.

    Raises StoreError where spec.json is missing or damaged; metrics and history may be absent.
    """
    folder = Path(folder)
    spec = _read_object(folder / "spec.json")
    metrics = _read_object(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
    history = _read_history(folder / "history.jsonl")
    missing: list[str] = []
    validation = metrics.get("validation") or {}
    value = validation.get("neg_elbo")
    headline = (
        "A trained model" if value is None else f"{words.number(value)} nats per example on the validation split."
    )
    page = _render(
        "run.html.jinja",
        title=str(metrics.get("name") or folder.resolve().name),
        headline=headline,
        course=[f"The model has {words.model(spec)}."] if words.model(spec) else [],
        cards=_metric_cards(validation, metrics.get("test") or {}),
        best_figures=_figures(folder_pictures(folder, TRIAL_PICTURES), "the model", missing),
        settings=_settings(spec, []),
        data=_pairs(metrics.get("data") or {}),
        history=history,
        config=_read_text(folder / "config.toml"),
        notes=missing,
    )
    return write_atomic(folder / "report.html", page)


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise StoreError(f"{path.name} must hold a JSON object, but holds a {type(content).__name__}.")
    return content


def _read_history(path: Path) -> list[dict[str, Any]]:
    """The records of a history.jsonl; a last line cut off by a crash is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for i, line in enumerate(lines):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if i < len(lines) - 1:
                raise StoreError(f"{path} must hold one JSON object per line, but line {i + 1}: {error}.") from None
    return [record for record in records if isinstance(record, dict)]


def _read_text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _figures(paths: Iterable[Path], subject: str, missing: list[str], *, thumbnail: bool = False) -> list[Figure]:
    """The pictures that can be read; the others are named in `missing`."""
    figures = []
    for path in paths:
        picture = load(path, thumbnail=thumbnail)
        if picture is None:
            missing.append(f"{path.name} of {subject} could not be read and is left out.")
        else:
            alt = f"{path.stem.replace('_', ' ')} of {subject}"
            figures.append(Figure(picture, alt, CAPTIONS.get(path.stem, "")))
    return figures


def _gallery(
    folder: Path, table: Sequence[Mapping[str, Any]], budget: int, missing: list[str]
) -> tuple[list[GalleryItem], int, bool]:
    """Pictures of the trials, best first, until `budget` is spent: items, trials left out, shrunk?"""
    rows = [(row, paths) for row in sorted(table, key=_by_value) if (paths := _trial_pictures(folder, row))]
    whole = sum(path.stat().st_size for _, paths in rows for path in paths) * 4 // 3
    small = whole > budget
    items: list[GalleryItem] = []
    for row, paths in rows:
        name = f"trial {row.get('number')}"
        figures = _figures(paths, name, missing, thumbnail=small)
        budget -= sum(len(figure.picture.uri) for figure in figures)
        if budget < 0:
            break
        value = row.get("value")
        ending = f"{words.number(value)} nats" if value is not None else str(row.get("state", "")).lower()
        items.append(GalleryItem(f"Trial {row.get('number')}: {ending}, {words.model(row.get('spec') or {})}", figures))
    return items, len(rows) - len(items), small


def _trial_pictures(folder: Path, row: Mapping[str, Any]) -> list[Path]:
    """The pictures of a trial; a path that leads out of the study is not followed."""
    if not row.get("folder"):
        return []
    inside = (folder / str(row["folder"])).resolve()
    return folder_pictures(inside, TRIAL_PICTURES) if inside.is_relative_to(folder.resolve()) else []


def _gallery_note(omitted: int, small: bool) -> str:
    if not small:
        return ""
    left = f" and {words.count(omitted, 'trial')} left out" if omitted else ""
    limit = f"{PAGE_BYTES // 1_000_000} MB"
    said = f"To keep this page under {limit}, pictures are reduced{left}"
    return f"{said}; the originals lie in the trials' folders."


def _by_value(row: Mapping[str, Any]) -> tuple[float, int]:
    value = _finite(row.get("value"))
    return (math.inf if value is None else value, int(row.get("number", 0)))


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _study_cards(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    best = results.get("best") or {}
    cards = _metric_cards(best.get("validation") or {}, best.get("test") or {})
    mean, error = best.get("test_mean"), best.get("test_se")
    if mean is not None:
        spread = f"± {words.number(error)} " if error is not None else ""
        seeds = words.count(len(best.get("seeds") or []), "seed")
        cards[1:1] = [("test, mean", words.number(mean), f"{spread}nats, {seeds}")]
    return cards


def _metric_cards(validation: Mapping[str, Any], test: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, figure and unit of what matters most."""
    cards = []
    if validation.get("neg_elbo") is not None:
        cards.append(("validation", words.number(validation["neg_elbo"]), "nats per example"))
    if test.get("neg_elbo") is not None:
        cards.append(("test, this model", words.number(test["neg_elbo"]), "nats per example"))
    for name, unit in (("rate", "nats: cost of the code"), ("distortion", "nats: missed detail")):
        if validation.get(name) is not None:
            cards.append((name, words.number(validation[name]), unit))
    if validation.get("active_units") is not None:
        cards.append(("active units", words.number(validation["active_units"]), "latent dimensions in use"))
    if validation.get("verdict") is not None:
        verdict = str(validation["verdict"])
        cards.append(("verdict", verdict, words.VERDICTS.get(verdict, "")))
    return cards


@dataclass(frozen=True)
class Scale:
    """The way from the model without latents down to the floor, and how far the winner went."""

    top: str
    bottom: str
    value: str
    share: float  # in [0, 1]


def _scale(results: Mapping[str, Any]) -> Scale | None:
    baseline = results.get("baseline") or {}
    value = _finite(((results.get("best") or {}).get("validation") or {}).get("neg_elbo"))
    top, bottom, share = (_finite(baseline.get(name)) for name in ("no_latents", "floor", "share"))
    if value is None or top is None or bottom is None:
        return None
    if share is None:
        share = (top - value) / (top - bottom) if top > bottom else 0.0
    return Scale(words.number(top), words.number(bottom), words.number(value), min(1.0, max(0.0, share)))


def _table_row(row: Mapping[str, Any], searched: Sequence[str], winner: Any) -> dict[str, Any]:
    cells = []
    for key, _ in COLUMNS:
        value = row.get(key)
        text = words.duration(_finite(value)) if key == "seconds" else words.number(value)
        cells.append(text.lower() if key == "state" else text)
    params = row.get("params") or {}
    cells += [words.number(params.get(name)) for name in searched]
    number = row.get("number")
    return {
        "cells": cells,
        "winner": winner is not None and number == winner,
        "state": str(row.get("state", "")).lower(),
    }


def _sort_keys(row: Mapping[str, Any], searched: Sequence[str]) -> list[float | str | None]:
    params = row.get("params") or {}
    values = [row.get(key) for key, _ in COLUMNS] + [params.get(name) for name in searched]
    keys: list[float | str | None] = []
    for value in values:
        number = _finite(value)
        keys.append(number if number is not None or value is None or isinstance(value, float) else str(value))
    return keys


def _settings(spec: Mapping[str, Any], searched: Sequence[str]) -> list[tuple[str, str, str, bool]]:
    """Name, value, meaning and "was it searched" of every setting of a spec."""
    return [(str(name), _plain(value), _meaning(str(name)), name in searched) for name, value in spec.items()]


def _meaning(name: str) -> str:
    return Spec.model_fields[name].description or "" if name in Spec.model_fields else ""


def _pairs(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name).replace("_", " "), _plain(value)) for name, value in mapping.items()]


def _plain(value: Any, limit: int = 600) -> str:
    """A JSON value as one line of text."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(_plain(item) for item in value) if value else "none"
    elif value is None:
        text = "–"
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = words.number
    return environment


def _render(template: str, **content: Any) -> str:
    here = Path(__file__).parent
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    # The policy lets only our own script run, by its digest: text that slipped through as markup stays dead.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    trusted = {"style": Markup(style), "script": Markup(script), "script_digest": Markup(digest)}
    return _environment().get_template(template).render(**trusted, **content)
