"""The data of a page's charts, without drawing: the trials of a search and the intervals of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.report.page import finite, inside
from vaelab.settings.yardsticks import Yardstick
from vaelab.store import read_history
from vaelab.wording import number

CURVE_RECORDS = 200  # points of one learning curve


def search_data(folder: Path, results: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The chart data of a study: trials with their metrics and those settings that had an effect, importance,
    learning curves."""
    importance = {str(name): share for name, share in (results.get("importance") or {}).items()}
    names = {str(name) for row in table for name in row.get("params") or {}}
    searched = sorted(names, key=lambda name: (-(finite(importance.get(name)) or 0.0), name))
    winner = (results.get("best") or {}).get("number")
    yardstick = Yardstick.of(results)
    keys = ("number", "value", "rate", "distortion", "active_units", "epochs")
    trials = []
    for row in table:
        idle = row.get("idle") or ()
        params = {name: value for name, value in (row.get("params") or {}).items() if name not in idle}
        trial = {key: row.get(key) for key in keys} | {"state": str(row.get("state", "")).lower()}
        trial["params"] = [params.get(name) for name in searched]
        curve = _curve(folder, row, yardstick.name)
        if yardstick.how and row.get("state") == "COMPLETE":  # no epoch's record has the last value
            curve.append((int(row["epochs"]), row["value"]))
        trial["curve"] = curve
        trials.append(trial)
    shares = [[name, importance[name]] for name in searched if finite(importance.get(name)) is not None]
    shown = {
        "name": yardstick.short,
        "unit": yardstick.unit.split(" ")[0],
        "rises": yardstick.rises,
        "better": yardstick.better,
        "measured": bool(yardstick.how),
    }
    return {"settings": searched, "importance": shares, "winner": winner, "trials": trials, "yardstick": shown}


def _curve(folder: Path, row: Mapping[str, Any], metric: str) -> list[tuple[int, float]]:
    """Epoch and validation metric; only at rungs if the trial left no history."""
    where = inside(folder, row.get("folder"))
    history = read_history(where) if where else []
    points = [(record.get("epoch"), finite((record.get("validation") or {}).get(metric))) for record in history]
    if not points:
        points = [(int(epoch), finite(value)) for epoch, value in (row.get("rungs") or {}).items()]
    sound = [(int(epoch), value) for epoch, value in points if epoch is not None and value is not None]
    step = max(1, -(-len(sound) // CURVE_RECORDS))
    return sound[::step] if not sound or (len(sound) - 1) % step == 0 else [*sound[::step], sound[-1]]


@dataclass(frozen=True)
class Interval:
    """One pairwise comparison; positions in percent of the plot's width."""

    name: str
    text: str
    p: str
    shown: bool
    low: float
    high: float
    at: float


@dataclass(frozen=True)
class Forest:
    """Intervals of one metric on a shared axis with a line at zero difference."""

    metric: str
    intervals: Sequence[Interval]
    zero: float
    ticks: Sequence[tuple[float, str]]


def forests(comparisons: Sequence[Mapping[str, Any]]) -> list[Forest]:
    """The pairwise differences that have an interval, by metric, since units differ between metrics."""
    sound = [c for c in comparisons if all(finite(c.get(key)) is not None for key in ("difference", "low", "high"))]
    names = dict.fromkeys(str(c.get("metric", "neg_elbo")) for c in sound)
    return [_forest(name, [c for c in sound if str(c.get("metric", "neg_elbo")) == name]) for name in names]


def _forest(metric: str, compared: Sequence[Mapping[str, Any]]) -> Forest:
    left = float(min(0.0, *(c["low"] for c in compared)))
    right = float(max(0.0, *(c["high"] for c in compared)))
    margin = 0.06 * (right - left) or 1.0
    start, end = left - margin, right + margin

    def place(value: float) -> float:
        return 100 * (value - start) / (end - start)

    intervals = [
        Interval(
            f"{c.get('a')} − {c.get('b')}",
            f"{_signed(c['difference'])} [{_signed(c['low'])}, {_signed(c['high'])}]",
            number(c.get("p_holm")),
            bool(c.get("shown")),
            place(c["low"]),
            place(c["high"]),
            place(c["difference"]),
        )
        for c in compared
    ]
    ticks = [(place(value), _signed(value)) for value in (left, 0.0, right)]
    apart = [tick for i, tick in enumerate(ticks) if all(abs(tick[0] - other[0]) > 12 for other in ticks[:i])]
    return Forest(metric, intervals, place(0.0), apart)


def _signed(value: float) -> str:
    text = number(value)
    return f"+{text}" if value > 0 else f"−{text[1:]}" if text.startswith("-") else text
