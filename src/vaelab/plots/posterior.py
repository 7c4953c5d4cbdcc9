"""Pictures of posterior draws: a corner plot of numbers, bands of curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from vaelab.plots import style
from vaelab.plots.style import BLUE, INK, LIGHT, ORANGE, Floats

MOST = 5  # inputs in a corner plot
LEVELS = (0.025, 0.975)
NARROW = 1e-4  # width of a range, relative to its values, from which on ticks have too many digits


@dataclass(frozen=True)
class Corner:
    """Draws (n, d) of x for one measurement, the true x (d,) if it is known, and the names of the inputs."""

    draws: Floats
    truth: Floats | None
    names: Sequence[str]


def corner_data(draws: Floats, truth: Floats | None, names: Sequence[str]) -> Corner:
    """Of many inputs the first five."""
    return Corner(draws[:, :MOST], None if truth is None else truth[:MOST], names[:MOST])


def plot_corner(data: Corner, path: str | Path, title: str) -> Path:
    """A histogram of each input on the diagonal, and below it each pair of inputs."""
    d = len(data.names)
    gap, left = 0.25, 0.95
    cell = min(2.6, (style.WIDTH - left - 0.2) / d - gap)
    height = style.HEAD + (cell + gap) * d + 0.45
    figure = style.canvas(height)
    known = "" if data.truth is None else "; orange: the true x"
    style.heading(figure, title, f"draws from p(x | y); shaded: 95 % interval{known}")
    ends = [_ends(data.draws[:, k], None if data.truth is None else data.truth[k]) for k in range(d)]
    origins = np.array([_origin(*each) for each in ends])
    draws, truth = data.draws - origins, None if data.truth is None else data.truth - origins
    ends = [(low - origin, high - origin) for (low, high), origin in zip(ends, origins.tolist(), strict=True)]
    ways = ["" if not origin else f"{'−' if origin > 0 else '+'} {abs(origin):.12g}" for origin in origins.tolist()]
    for row in range(d):
        for column in range(row + 1):
            bottom = height - style.HEAD - (cell + gap) * (row + 1) + 0.1
            axes = style.chart(figure, left + (cell + gap) * column, bottom, cell, cell, grid="")
            axes.set_xlim(*ends[column])
            axes.xaxis.set_major_locator(MaxNLocator(3))
            if row == column:
                low, high = np.quantile(draws[:, row], LEVELS)
                axes.axvspan(low, high, color=LIGHT, alpha=0.35, linewidth=0)
                axes.hist(draws[:, row], bins=30, range=ends[row], histtype="step", color=BLUE, linewidth=1.4)
                axes.set_yticks([])
            else:
                axes.scatter(draws[:, column], draws[:, row], s=4, color=BLUE, alpha=0.25, linewidths=0)
                axes.set_ylim(*ends[row])
                axes.yaxis.set_major_locator(MaxNLocator(3))
            if truth is not None:
                axes.axvline(truth[column], color=ORANGE, linewidth=1.4 if row == column else 0.9)
                if row != column:
                    axes.axhline(truth[row], color=ORANGE, linewidth=0.9)
            if row < d - 1:
                axes.set_xticklabels([])
            if column and row != column:
                axes.set_yticklabels([])
            below, beside = f"{data.names[column]}\n{ways[column]}", f"{data.names[row]} {ways[row]}"
            style.name_axes(axes, x=below.rstrip() if row == d - 1 else "", y="" if column else beside.rstrip())
    return style.save(figure, path)


def _ends(draws: Floats, truth: float | None) -> tuple[float, float]:
    """The range of an axis: all but a few draws, and the truth."""
    low, high = np.quantile(draws, (0.002, 0.998))
    if truth is not None:
        low, high = min(low, truth), max(high, truth)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    return low - margin, high + margin


def _origin(low: float, high: float) -> float:
    """What an axis counts from: 0, or the rounded middle of a range so narrow that ticks would have many digits."""
    middle = (low + high) / 2
    if high - low > NARROW * abs(middle):
        return 0.0
    return round(middle, -math.floor(math.log10(high - low)))


def plot_bands(draws: Floats, truth: Floats, names: Sequence[str], path: str | Path, title: str) -> Path:
    """Draws (k, n, inputs, points) of curves for some measurements: 95 % band, mean and truth (k, inputs, points)."""
    k, _, inputs, points = draws.shape
    inputs = min(inputs, 3)
    height = style.HEAD + 1.75 * k + 0.55
    figure = style.canvas(height)
    style.heading(
        figure, title, "shaded: 95 % of the draws from p(x | y) at each point; blue: their mean; dashed: the true x"
    )
    low, high = np.quantile(draws, LEVELS, axis=1)
    mean = draws.mean(1)
    t = np.arange(points)
    for row in range(k):
        bottom = height - style.HEAD - 1.75 * (row + 1) + 0.25
        for i in range(inputs):
            axes = style.chart(figure, 0.55 + 2.95 * i, bottom, 2.45, 1.3)
            axes.fill_between(t, low[row, i], high[row, i], color=LIGHT, alpha=0.4, linewidth=0)
            axes.plot(t, mean[row, i], color=BLUE, linewidth=1.6)
            axes.plot(t, truth[row, i], color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            style.name_axes(axes, x="point" if row == k - 1 else "", y=names[i] if row == 0 else "")
    return style.save(figure, path)
