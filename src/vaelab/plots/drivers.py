"""What each latent moves: columns by latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vaelab.plots import style
from vaelab.plots.correlations import shades
from vaelab.plots.style import GRID, INK, MUTED, Floats
from vaelab.wording import counted

ROW, COLUMN = 0.24, 0.52  # inches of a column of the table, and of a latent
NUMBERED = 12  # most latents with numbers in their cells


def plot_drivers(found: Mapping[str, Any], path: str | Path, title: str = "What each latent moves") -> Path:
    """Draws what `vaelab.vae.drivers` finds: a row for each quantity, a column for each latent; orange rises."""
    effects = np.array(found["effects"], np.float64).T  # (quantities, latents)
    names = style.clean_names(found["names"], 34)
    left = 0.5 + 0.066 * max(len(name) for name in names)
    height, width = ROW * len(names), min(COLUMN * effects.shape[1], style.WIDTH - left - 1.7)
    figure = style.canvas(style.HEAD + 0.45 + height + 0.2)
    top = max(float(np.abs(effects).max()), 1e-9)
    _draw(style.place(figure, left, 0.2, width, height), effects, top, names, found["latents"])
    _draw_scale(style.place(figure, left + width + 0.35, 0.25, 0.16, min(1.6, max(height - 0.1, 0.4))), top)
    shown = counted(effects.shape[1], "latent")
    style.heading(figure, title, f"{shown}, from its 10 % to its 90 % quantile, the others as they are")
    return style.save(figure, path)


def _draw(axes: Axes, effects: Floats, top: float, names: list[str], latents: list[int]) -> None:
    axes.imshow(shades(effects / top), aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(names)), labels=names)
    axes.set_xticks(range(len(latents)), labels=[f"z{k}" for k in latents])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK, labelfontfamily=style.FONT, pad=3)
    for spine in axes.spines.values():
        spine.set(color=GRID)
    if len(latents) > NUMBERED:
        return
    for (i, j), value in np.ndenumerate(effects):
        if abs(value) >= 0.1 * top:
            dark = abs(value) > 0.6 * top
            style.write(axes, j, i, f"{value:.1f}", ha="center", fontsize=7.5, color="white" if dark else MUTED)


def _draw_scale(axes: Axes, top: float) -> None:
    axes.imshow(shades(np.linspace(1, -1, 64)[:, None]), aspect="auto", extent=(0, 1, -1, 1))
    axes.set_xticks([])
    axes.set_yticks([-1, 0, 1], labels=[f"−{top:.1f} falls", "0", f"+{top:.1f} rises"])
    axes.yaxis.tick_right()
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED, labelfontfamily=style.FONT)
    for spine in axes.spines.values():
        spine.set_visible(False)


__all__ = ["plot_drivers"]
