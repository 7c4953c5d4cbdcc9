"""The picture of anomaly scores: normal examples against anomalous ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.plots import style
from vaelab.plots.style import BLUE, ORANGE, Floats


def plot_anomaly(
    known: Mapping[str, Floats],
    other: Mapping[str, Floats],
    found: Mapping[str, Mapping[str, Any]],
    names: tuple[str, str],
    path: str | Path,
    title: str = "Anomaly scores",
) -> Path:
    """Draws the histograms of every score for the model's own examples and for the others, with its AUROC."""
    rows = -(-len(found) // 2)
    each = 1.75
    height = style.HEAD + 0.1 + each * rows + 0.15
    figure = style.canvas(height)
    for i, (name, verdict) in enumerate(found.items()):
        top = height - style.HEAD - 0.1 - each * (i // 2)
        axes = style.chart(figure, 0.4 + 4.4 * (i % 2), top - each + 0.42, 3.9, each - 0.78, grid="x")
        both = np.concatenate([known[name], other[name]])
        low, high = np.quantile(both, (0.002, 0.998))
        edges = np.linspace(low, high if high > low else low + 1, int(np.clip(1.5 * len(both) ** 0.5, 15, 60)))
        for values, ink in ((known[name], BLUE), (other[name], ORANGE)):
            counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges, density=True)
            axes.fill_between((edges[1:] + edges[:-1]) / 2, counts, color=ink, alpha=0.35, linewidth=0)
            axes.plot((edges[1:] + edges[:-1]) / 2, counts, color=ink, linewidth=1.4)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelleft=False)
        word = "  FAILED" if verdict["failed"] else ""
        style.name_axes(axes, y=f"{name.replace('_', ' ')}  ·  AUROC {verdict['auroc']:.3f}{word}")
    own, others = (style.clean(name, 24) for name in names)
    style.heading(figure, title, f"blue: {own}, the model's own  ·  orange: {others}  ·  right is more anomalous")
    return style.save(figure, path)
