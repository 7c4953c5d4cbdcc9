"""Pictures of a regressor: predictions with intervals, residuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaelab.plots import style
from vaelab.plots.style import BLUE, GREY, INK, MUTED, ORANGE, Floats
from vaelab.wording import counted, percent

MOST = 400  # rows drawn with their intervals
SIDE = 4.2  # inches
BINS = 25
WIDEST = 5.0  # residuals beyond, in scales of the noise, are drawn at the edge


@dataclass(frozen=True)
class Predictions:
    """True and predicted values (n,) with the ends of their intervals, and the scale of the noise of each."""

    truth: Floats
    mean: Floats
    lower: Floats
    upper: Floats
    scale: Floats
    level: float

    @property
    def covered(self) -> Floats:
        """Whether the interval holds the true value, 1 or 0."""
        return ((self.truth >= self.lower) & (self.truth <= self.upper)).astype(np.float64)

    @property
    def residuals(self) -> Floats:
        """True value minus prediction, in scales of the noise."""
        return (self.truth - self.mean) / self.scale


def shown_range(values: Floats) -> tuple[float, float]:
    """The range of values without outliers: as far as 10 interquartile ranges from the quartiles.

    >>> shown_range(np.array([0.0, 1.0, 2.0, 3.0, 1e9]))
    (0.0, 3.0)
    """
    low, high = np.quantile(values, (0.25, 0.75))
    reach = 10 * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)] if reach > 0 else values
    return float(inside.min()), float(inside.max())


def plot_predictions(data: Predictions, target: str, path: str | Path, title: str = "Predictions") -> Path:
    """Draws true values against predictions, with intervals; orange where they miss the true value."""
    figure = style.canvas(SIDE + style.HEAD + 0.75)
    axes = style.chart(figure, 0.9, 0.6, SIDE, SIDE)
    low, high = shown_range(np.concatenate([data.truth, data.mean]))
    room = 0.04 * (high - low) or 1.0
    low, high = low - room, high + room
    beyond = int(((data.truth < low) | (data.truth > high)).sum())
    chosen = np.linspace(0, len(data.truth) - 1, min(MOST, len(data.truth))).astype(int)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    hit = data.covered.astype(bool)
    for inside, ink in ((True, BLUE), (False, ORANGE)):
        rows = chosen[hit[chosen] == inside]
        axes.vlines(data.mean[rows], data.lower[rows], data.upper[rows], color=ink, linewidth=0.7, alpha=0.25, zorder=2)
        axes.plot(data.mean[rows], data.truth[rows], "o", color=ink, markersize=3.2, alpha=0.8, zorder=3)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    style.name_axes(axes, x=f"predicted {style.clean(target, 30)}", y=f"true {style.clean(target, 30)}")
    style.note(axes, 1.06, 0.95, f"bars: {data.level:.3g} intervals", color=INK)
    style.note(axes, 1.06, 0.88, "● inside", color=BLUE, weight="bold")
    style.note(axes, 1.06, 0.82, "● outside", color=ORANGE, weight="bold")
    style.note(axes, 1.06, 0.72, "dashed: predicted as true", color=MUTED)
    lines = [f"{counted(len(chosen), 'row')} of {len(data.truth):,} are drawn"] if len(chosen) < len(data.truth) else []
    lines += [f"{counted(beyond, 'true value')} beyond the axes"] if beyond else []
    for i, line in enumerate(lines):
        style.note(axes, 1.06, 0.64 - 0.06 * i, line, color=MUTED)
    covered = percent(data.covered.mean(), 1)
    style.heading(figure, title, f"the intervals cover {covered} of {counted(len(data.truth), 'row')}")
    return style.save(figure, path)


def plot_residuals(
    data: Predictions, density: Callable[[Floats], Floats], path: str | Path, title: str = "Residuals"
) -> Path:
    """Draws residuals in scales of the noise against predictions, and their histogram beside the model's density.

    density: of a residual in scales of the noise.
    """
    figure = style.canvas(4.4)
    height = 4.4 - style.HEAD - 0.95
    found = np.clip(data.residuals, -WIDEST, WIDEST)
    axes = style.chart(figure, 0.75, 0.6, 4.5, height)
    low, high = shown_range(data.mean)
    room = 0.04 * (high - low) or 1.0
    axes.axhline(0, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    chosen = np.linspace(0, len(found) - 1, min(5 * MOST, len(found))).astype(int)
    axes.plot(data.mean[chosen], found[chosen], "o", color=BLUE, markersize=3, alpha=0.6)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(-WIDEST - 0.3, WIDEST + 0.3)
    style.name_axes(axes, x="prediction", y="true value minus prediction, in scales of the noise")
    beside = style.chart(figure, 5.95, 0.6, 2.7, height)
    counts, edges = np.histogram(found, BINS, (-WIDEST, WIDEST))
    share = counts / len(found) / np.diff(edges)
    beside.bar(edges[:-1], share, np.diff(edges), align="edge", color=GREY, linewidth=0)
    grid = np.linspace(-WIDEST, WIDEST, 201)
    beside.plot(grid, density(grid), color=ORANGE, linewidth=1.8)
    style.name_axes(beside, x="in scales of the noise", y="density")
    style.note(beside, 0.66, 0.94, "assumed", color=ORANGE, weight="bold")
    style.note(beside, 0.66, 0.86, "found", color=MUTED, weight="bold")
    far = int((np.abs(data.residuals) > WIDEST).sum())
    said = f"{counted(len(found), 'row')}, {np.abs(data.residuals).mean():.2g} scales on average from the true value"
    style.heading(figure, title, said + (f"; {far:,} beyond {WIDEST:g} are drawn at the edge" if far else ""))
    return style.save(figure, path)
