"""What the page of a regressor study says: density and errors in the target's own units, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.report.captions import REGRESSOR
from vaelab.report.page import Card
from vaelab.report.supervised import Page, build_supervised_report, no_winner, opened
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.wording import percent, with_error

FIGURES = {"log_density": "log-density, nats", "r2": "R²", "rmse": "RMSE", "mae": "mean absolute error"}
DENSITY = (
    "The log-density is that of the target in its own unit: another unit shifts it for all models alike, so only "
    "differences have a meaning."
)


def build_regressor_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json; see `build_supervised_report`."""
    return build_supervised_report(folder, spec_type, PAGE)


def _with_error(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {"mean": found.get(name), "se": (found.get("errors") or {}).get(name)}


def headline(results: Mapping[str, Any]) -> str:
    """The winner, the share of the variance that it explains, and its error."""
    winner = results.get("best")
    if not winner:
        return no_winner(results)
    split = opened(winner)
    found, own = winner[split], (winner.get("validation") or {})
    target = ((results.get("data") or {}).get("target") or {}).get("name", "the target")
    r2, rmse, ours = _with_error(found, "r2"), _with_error(found, "rmse"), _with_error(own, "r2")
    return (
        f"Trial {winner['number']} won: it predicts {target} with R² {with_error(r2['mean'], r2['se'])} on {split} "
        f"({with_error(ours['mean'], ours['se'])} on validation), RMSE {with_error(rmse['mean'], rmse['se'])}."
    )


def _cards(results: Mapping[str, Any]) -> list[Card]:
    winner = results.get("best") or {}
    split = opened(winner)
    found = winner.get(split) or {}
    units = {
        "r2": "share of the variance explained",
        "rmse": "in the target's unit",
        "mae": "in the target's unit",
        "log_density": "nats per example",
    }
    names = {"r2": "R²", "rmse": "RMSE", "mae": "mean absolute error", "log_density": "log-density"}
    cards = [
        Card(f"{split} {names[key]}", Cell.mean(_with_error(found, key)), unit)
        for key, unit in units.items()
        if found.get(key) is not None
    ]
    interval = found.get("interval")
    if interval:
        share = Cell.mean({"mean": interval["coverage"], "se": interval["se"]})
        cards.append(Card("coverage", share, f"{percent(interval['level'])} intervals; {split}"))
    return cards


def _splits(winner: Mapping[str, Any]) -> Table | None:
    rows = [
        Row([Cell(split), Cell.of(found.get("examples")), *(Cell.mean(_with_error(found, key)) for key in FIGURES)])
        for split in ("validation", "test")
        if (found := winner.get(split))
    ]
    return Table("Figures", ["split", "examples", *FIGURES.values()], rows) if rows else None


def _intervals(winner: Mapping[str, Any]) -> Table | None:
    found = (winner.get("test") or {}).get("interval")
    if not found:
        return None
    share = Cell.mean({"mean": found["coverage"], "se": found["se"]})
    row = Row([Cell("test"), Cell.of(found["level"]), share, Cell.of(found["median_width"])])
    return Table("Intervals", ["split", "level", "share of targets covered", "median width"], [row])


PAGE = Page(
    kind="Regressor study",
    pictures=("predictions", "residuals", "learning"),
    captions=REGRESSOR,
    columns={"log_density": "log-density", "r2": "R²", "rmse": "RMSE"},
    baselines={"log_density": "log-density", "r2": "R²", "rmse": "RMSE"},
    baselines_hint="Ridge regression chooses its penalty by leave-one-out; boosting has its defaults. The noise of "
    "each has one scale, that of ridge and boosting fitted on validation.",
    hint="The test split was opened after the model was chosen on validation. ±: standard error over rows. " + DENSITY,
    headline=headline,
    cards=_cards,
    splits=_splits,
    extra=lambda winner: {"intervals": _intervals(winner), "unit": "The width is in the target's unit."},
)
