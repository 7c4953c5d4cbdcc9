"""The picture of the scores of a file's rows: beside those of calibration rows, and their p-values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaelab.plots import style
from vaelab.plots.style import BLUE, MUTED, ORANGE, Floats

BINS = 20  # of p-values


def plot_row_scores(
    calibration: Floats, scores: Floats, p_values: Floats, limit: float, path: str | Path, title: str
) -> Path:
    """Draws histograms of the scores of m calibration rows and n rows, and of the p-values (n,).

    limit: the score above which a row is flagged.
    """
    height = style.HEAD + 2.75
    figure = style.canvas(height)
    left = style.chart(figure, 0.45, 0.55, 4.85, 1.85, grid="x")
    low, high = _limits(calibration, scores, limit)
    edges = np.linspace(low, high, int(np.clip(2 * (len(scores) + len(calibration)) ** 0.5, 15, 60)))
    middle = (edges[1:] + edges[:-1]) / 2
    for values, ink in ((calibration, BLUE), (scores, ORANGE)):
        counts = np.histogram(np.clip(values, low, high), edges)[0] / len(values)
        left.fill_between(middle, counts, color=ink, alpha=0.3, linewidth=0, step="mid")
        left.step(middle, counts, color=ink, linewidth=1.4, where="mid")
    left.axvline(limit, color=MUTED, linewidth=1.2, linestyle="--")
    left.set_ylim(bottom=0)
    left.set_xlim(low, high)
    left.tick_params(labelleft=False)
    far = int((scores > high).sum())
    style.name_axes(
        left, x=style.NATS + (f"  ·  {far:,} further right, in the last bar" if far else ""), y="share of rows by score"
    )
    right = style.chart(figure, 5.85, 0.55, 2.85, 1.85, grid="y")
    counts, edges = np.histogram(p_values, BINS, (0, 1))
    right.bar(edges[:-1], counts / len(p_values), width=1 / BINS, align="edge", color=ORANGE, alpha=0.6)
    right.axhline(1 / BINS, color=MUTED, linewidth=1.2, linestyle="--")
    right.set_xlim(0, 1)
    style.name_axes(right, x="p-value", y="share of rows by p-value")
    style.heading(
        figure, title, f"blue: {len(calibration):,} rows that calibrate  ·  orange: {len(scores):,} rows of the file"
    )
    return style.save(figure, path)


def _limits(calibration: Floats, scores: Floats, limit: float) -> tuple[float, float]:
    """A range that shows the calibration rows and the flagged rows near them: a row far out must not flatten both."""
    low = float(min(calibration.min(), np.quantile(scores, 0.01)))
    top = max(float(calibration.max()), limit)
    high = min(float(max(scores.max(), top)), top + 2 * (top - low))
    return low, high + 0.02 * (high - low or 1.0)
