"""The page of one trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.report import words
from vaelab.report.about_columns import columns_sections
from vaelab.report.captions import captions
from vaelab.report.data import DATA_PICTURES, data_pictures, data_section, unit_note
from vaelab.report.explorer import Explore, no_explorer
from vaelab.report.page import (
    figures,
    made_by,
    metric_cards,
    read_text,
    render,
    settings,
)
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table, baselines_table, history_table
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_history, read_object, write_atomic
from vaelab.wording import counted, kept_start, number

PICTURES = ("losses", "latent", "reconstructions", "samples")


def build_run_report(
    folder: str | Path, spec_type: type[ModelSpec], explore: Explore = no_explorer, title: str = ""
) -> Path:
    """Writes FOLDER/report.html from a run's spec.json, metrics.json, history.jsonl and pictures; `title`: by default
    the folder's name.

    `explore` makes the page's explorer, which includes the test split if that was opened. Raises
    StoreError if spec.json is missing or damaged; metrics and history may be absent.
    """
    folder = Path(folder)
    spec = read_object(folder / "spec.json")
    metrics = read_object(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
    history = read_history(folder)
    missing: list[str] = []
    validation, test = metrics.get("validation") or {}, metrics.get("test") or {}
    value, starts, size = validation.get("neg_elbo"), metrics.get("starts") or [], words.model(spec)
    headline = "A trained model" if value is None else f"{number(value)} nats per example on the validation split."
    title = title or str(metrics.get("name") or folder.resolve().name)
    baseline, described = metrics.get("reference") or {}, metrics.get("data") or {}
    of_model = [path for path in folder_pictures(folder, PICTURES) if path.stem not in DATA_PICTURES]
    reached = ("this model", {"mean": value, "se": validation.get("se")}, test.get("neg_elbo"))
    page = render(
        "run.html.jinja",
        beaten=str(metrics.get("beaten") or ""),
        baselines=baselines_table(baseline, [reached]),
        **columns_sections(metrics),
        title=title,
        headline=headline,
        course=[text for text in (size and f"The model has {size}.", kept_start(starts)) if text]
        + unit_note(described, spec),
        cards=metric_cards(validation, test),
        best_figures=figures(of_model, "the model", missing, captions=captions(described)),
        settings=settings(spec, [], spec_type),
        **data_section(described),
        table_figures=data_pictures(folder, described, missing),
        epochs=counted(history[-1]["epoch"], "epoch") if history else "",
        history=history_table(history),
        starts=_starts(starts) if len(starts) > 1 else None,
        config=read_text(folder / "config.toml"),
        made_by=made_by(folder, missing),
        explorer=explore({title: folder}, bool(test), missing),
        notes=[*map(str, baseline.get("left_out") or []), *missing],
    )
    return write_atomic(folder / "report.html", page)


def _starts(starts: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        Row(
            [Cell.of(start["seed"]), Cell.of(start["neg_elbo"]), Cell("kept" if start["kept"] else "")],
            "winner" if start["kept"] else "",
        )
        for start in starts
    ]
    return Table("Starts", ["seed", "validation, nats", "choice"], rows)
