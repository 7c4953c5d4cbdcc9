"""The picture of a front: trials judged by two yardsticks, and the retrained finalists."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.plots import style
from vaelab.plots.study import side_key
from vaelab.plots.style import BLUE, INK, LIGHT, MUTED, ORANGE, RED, Bools, Floats, Ints
from vaelab.settings.yardsticks import Yardstick
from vaelab.wording import counted


@dataclass(frozen=True)
class Front:
    """Values by both yardsticks."""

    trials: Floats  # (T, 2) complete trials, in the search
    collapsed: Bools  # (T,)
    finalists: Ints  # (F,) numbers
    means: Floats  # (F, 2) over their seeds
    errors: Floats  # (F, 2) standard errors; 0 with one seed
    steps: Floats  # (S, 2) corners of the line along the front of means
    winner: int | None  # index of the finalist kept as best


def front_data(results: Mapping[str, Any]) -> Front:
    """The trials, the finalists and the front of a study with two yardsticks, from its results."""
    complete = [row for row in results["table"] if row.get("values")]
    finalists = results["finalists"]
    means = np.array([row["means"] for row in finalists], dtype=np.float64).reshape(-1, 2)
    numbers = np.array([row["number"] for row in finalists], dtype=np.int64)
    winner = (results.get("best") or {}).get("number")
    ordered = [means[numbers.tolist().index(number)] for number in results.get("front") or ()]
    # Between two of its members a front is no better by either than the worse of the two.
    corners = [corner for a, b in itertools.pairwise(ordered) for corner in (a, (b[0], a[1]))]
    return Front(
        np.array([row["values"] for row in complete], dtype=np.float64).reshape(-1, 2),
        np.array([row.get("verdict") == "collapsed" for row in complete], dtype=bool),
        numbers,
        means,
        np.array([[e or 0.0 for e in row["errors"]] for row in finalists], dtype=np.float64).reshape(-1, 2),
        np.array([*corners, *ordered[-1:]], dtype=np.float64).reshape(-1, 2),
        numbers.tolist().index(winner) if winner in numbers.tolist() else None,
    )


def plot_front(
    data: Front, path: str | Path, yardsticks: Sequence[Yardstick], title: str = "The front of two yardsticks"
) -> Path:
    """Draws trials as dots, the retrained finalists with standard errors, and the front as steps."""
    figure = style.canvas(4.6)
    axes = style.chart(figure, 0.75, 0.6, 6.2, 4.6 - style.HEAD - 0.95)
    limits = [_limits(data, axis, yardsticks[axis]) for axis in (0, 1)]
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    bad = data.collapsed
    axes.scatter(
        data.trials[~bad, 0], data.trials[~bad, 1], s=30, color=LIGHT, edgecolor="white", linewidths=0.6, zorder=2
    )
    axes.scatter(data.trials[bad, 0], data.trials[bad, 1], s=28, color=RED, marker="x", linewidths=1.3, zorder=2)
    axes.plot(*data.steps.T, color=BLUE, linewidth=1.8, zorder=3)
    for i, (number, mean, error) in enumerate(zip(data.finalists, data.means, data.errors, strict=True)):
        won = i == data.winner
        axes.errorbar(
            mean[0], mean[1], xerr=error[0], yerr=error[1], fmt="o", color=ORANGE if won else BLUE,
            markersize=9 if won else 7, elinewidth=1.2, markeredgecolor="white", zorder=5 if won else 4,
        )  # fmt: skip
        axes.annotate(
            str(number), mean, xytext=(7, 6), textcoords="offset points", fontsize=8.5, color=INK, fontfamily=style.FONT
        )
    way = ["better →" if each.rises else "← better" for each in yardsticks]
    style.name_axes(
        axes,
        x=f"validation {yardsticks[0].axis}   ({way[0]})",
        y=f"validation {yardsticks[1].axis}   ({way[1].replace('→', '↑').replace('← better', 'better ↓')})",
    )
    outside = sum(
        not all(low <= value <= high for value, (low, high) in zip(point, limits, strict=True)) for point in data.trials
    )
    entries = [
        ("●", LIGHT, counted(int((~bad).sum()), "trial") + ",\nin the search", bool((~bad).any())),
        ("×", RED, f"{bad.sum()} collapsed", bool(bad.any())),
        ("●", BLUE, "finalist: mean\n± standard error", bool(len(data.means))),
        ("—", BLUE, "front of the means", len(data.steps) > 1),
        ("●", ORANGE, "the winner", data.winner is not None),
        (" ", MUTED, f"({outside} off scale)", outside > 0),
    ]
    side_key(axes, [entry[:3] for entry in entries if entry[3]], 0.95)
    members = (len(data.steps) + 1) // 2
    finding = "no trial finished, or all collapsed"
    if members:
        finding = f"{counted(members, 'finalist')} of {len(data.means)} on the front after retraining"
    style.heading(figure, title, finding)
    return style.save(figure, path)


def _limits(data: Front, axis: int, yardstick: Yardstick) -> tuple[float, float]:
    """The range of an axis: all finalists, and at least the better half of the trials."""
    edges = np.concatenate([(data.means - data.errors)[:, axis], (data.means + data.errors)[:, axis]])
    costs = [yardstick.cost(value) for value in data.trials[:, axis]]
    low, high = style.legible_limits(np.array(costs, dtype=np.float64), share=0.5)
    ends = [yardstick.cost(low), yardstick.cost(high), *edges]
    pad = 0.08 * (max(ends) - min(ends))
    return min(ends) - pad, max(ends) + pad
