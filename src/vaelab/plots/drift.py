"""The picture of a drift: how far each column is from its reference, and the scores of both sets of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.plots import style
from vaelab.plots.style import BLUE, GREY, MUTED, ORANGE, Floats

SHOWN = 20  # columns


def plot_drift(
    columns: Sequence[Mapping[str, Any]], reference: Floats, scores: Floats, path: str | Path, names: tuple[str, str]
) -> Path:
    """Draws the distances of columns, those that differ in orange, and histograms of scores (m,) and (n,)."""
    shown = [own for own in columns if own["distance"] is not None][:SHOWN]
    inner = max(1.85, 0.2 * len(shown))
    figure = style.canvas(style.HEAD + inner + 0.9)
    right = (0.45, 8.25) if not shown else (5.35, 3.35)
    if shown:
        left = style.chart(figure, 2.1, 0.55, 2.75, inner, grid="x")
        places = np.arange(len(shown))[::-1]
        colours = [ORANGE if own["differs"] else GREY for own in shown]
        left.barh(places, [own["distance"] for own in shown], color=colours, height=0.6)
        style.named_ticks(left, "y", places.tolist(), style.clean_names([own["column"] for own in shown], 26))
        left.set_ylim(-0.6, len(shown) - 0.4)
        left.set_xlim(0, 1)
        style.name_axes(left, x="distance", y="columns" if len(shown) == len(columns) else f"the first {len(shown)}")
    axes = style.chart(figure, right[0], 0.55, right[1], min(inner, 3.0), grid="x")
    together = np.concatenate([reference, scores])
    low, high = float(np.quantile(together, 0.005)), float(np.quantile(together, 0.99))
    high = high if high > low else low + 1.0
    edges = np.linspace(low, high, int(np.clip(2 * len(together) ** 0.5, 12, 50)))
    middle = (edges[1:] + edges[:-1]) / 2
    for values, ink in ((reference, BLUE), (scores, ORANGE)):
        shares = np.histogram(np.clip(values, low, high), edges)[0] / len(values)
        axes.fill_between(middle, shares, color=ink, alpha=0.3, linewidth=0, step="mid")
        axes.step(middle, shares, color=ink, linewidth=1.4, where="mid")
        axes.axvline(float(np.median(values)), color=ink, linewidth=1.2, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set_xlim(low, high)
    axes.tick_params(labelleft=False)
    style.name_axes(axes, x=f"score, {style.NATS}", y="share of rows by score")
    axes.xaxis.label.set_color(MUTED)
    style.heading(
        figure, f"{names[0]} against {names[1]}",
        f"orange: {len(scores):,} rows of the file  ·  blue: {len(reference):,} rows they are compared with",
    )  # fmt: skip
    return style.save(figure, path)
