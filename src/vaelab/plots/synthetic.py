"""Synthetic beside real rows: the distribution of each column, associations, distances to the nearest training row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from vaelab.data.columns import Column
from vaelab.plots import style
from vaelab.plots.columns import MAX_LEVELS
from vaelab.plots.correlations import draw_matrix, draw_scale
from vaelab.plots.features import nearest, on_axis, written
from vaelab.plots.rows import key
from vaelab.plots.style import BLUE, GREY, INK, LIGHT, MUTED, ORANGE, Floats
from vaelab.wording import percent

MAX_PANELS, ACROSS = 24, 4
MAX_MATRIX = 20  # columns of the matrices
BINS = 20


@dataclass(frozen=True)
class Panel:
    """One column: shares of real and of synthetic rows in bins between `edges` on its axis, or of its levels."""

    name: str
    real: Floats  # (bins,)
    made: Floats
    edges: Floats  # (bins + 1,); empty for levels
    levels: list[str]
    ends: tuple[str, str]  # the lowest and highest value in the table's own words
    is_log: bool = False


def panels_data(columns: Sequence[Column], real: Floats, made: Floats, order: Sequence[int]) -> list[Panel]:
    """The columns `order` of real rows (n, D) and synthetic ones (m, D); the least frequent of many levels as one."""
    return [_panel(columns[j], *(rows[~np.isnan(rows[:, j]), j] for rows in (real, made))) for j in order]


def _panel(column: Column, real: Floats, made: Floats) -> Panel:
    if column.has_levels:
        L = len(column.levels)
        counts = np.stack([np.bincount(nearest(values, column), minlength=L) for values in (real, made)])
        order = np.arange(L) if column.kind == "ordinal" else np.argsort(-counts.sum(0), kind="stable")
        names = [column.levels[k] for k in order]
        if L > MAX_LEVELS:
            shown = np.sort(np.argsort(-counts[:, order].sum(0), kind="stable")[: MAX_LEVELS - 1])
            rest = np.setdiff1d(np.arange(L), shown)
            counts = np.concatenate([counts[:, order[shown]], counts[:, order[rest]].sum(1, keepdims=True)], 1)
            names = [names[k] for k in shown] + [f"{len(rest)} others"]
        else:
            counts = counts[:, order]
        own = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return Panel(column.name, own[0], own[1], np.empty(0), names, ("", ""))
    both = np.concatenate([real, made])
    if not len(both):
        return Panel(column.name, np.zeros(1), np.zeros(1), np.array([0.0, 1.0]), [], ("", ""))
    low, high = float(both.min()), float(both.max())
    is_log = column.kind in ("positive", "count") and high > low and float(np.median(both)) < low + (high - low) / 4
    seen = [on_axis(column, values) if is_log else values for values in (real, made, np.array([low, high]))]
    first, last = seen[2]
    if column.kind == "count" and not is_log and last - first < BINS:
        edges = np.arange(first, last + 2) - 0.5
    else:
        edges = np.linspace(first, last, BINS + 1) if last > first else first + np.linspace(-0.5, 0.5, BINS + 1)
    own = np.stack([np.histogram(values, edges)[0] / max(1, len(values)) for values in seen[:2]])
    return Panel(column.name, own[0], own[1], edges, [], (written(column, low), written(column, high)), is_log)


def plot_panels(panels: Sequence[Panel], total: int, path: str | Path, title: str = "Columns") -> Path:
    """Draws real rows as filled steps or bars, and synthetic ones as lines or a second bar."""
    across = min(ACROSS, max(2, len(panels)))
    rows = -(-len(panels) // across)
    each, wide = 1.35, (style.WIDTH - 0.4) / across
    height = style.HEAD + 0.25 + each * rows + 0.1
    figure = style.canvas(height)
    names = style.clean_names([panel.name for panel in panels], int(wide / 0.08))
    for i, (panel, name) in enumerate(zip(panels, names, strict=True)):
        left, top = 0.2 + wide * (i % across), height - style.HEAD - 0.25 - each * (i // across)
        axes = style.place(figure, left, top - each + 0.3, wide - 0.25, each - 0.55)
        axes.axis("off")
        style.note(axes, 0, 1.14, name + ("  (log)" if panel.is_log else ""), color=INK, fontsize=8.5)
        if panel.levels:
            _draw_levels(axes, panel, wide)
        else:
            _draw_steps(axes, panel)
    some = f"{len(panels)} of {total:,} columns, the worst first" if len(panels) < total else "the worst first"
    style.heading(figure, title, f"{some}  ·  the share of rows in each bin or level")
    head = style.place(figure, 0.2, height - style.HEAD - 0.1, style.WIDTH - 0.45, 0.1)
    head.axis("off")
    key(head, ((LIGHT, "■", "test rows"), (ORANGE, "━", "synthetic rows")))
    return style.save(figure, path)


def _draw_steps(axes: Axes, panel: Panel) -> None:
    tallest = max(float(panel.real.max()), float(panel.made.max()), 1e-9)
    axes.stairs(panel.real / tallest, panel.edges, fill=True, color=LIGHT, linewidth=0)
    axes.stairs(panel.made / tallest, panel.edges, color=ORANGE, linewidth=1.4)
    axes.set_xlim(panel.edges[0], panel.edges[-1])
    axes.set_ylim(0, 1.05)
    axes.hlines([0], panel.edges[0], panel.edges[-1], colors=GREY, linewidth=0.8)
    first, last = (style.clean(end, 12) for end in panel.ends)
    style.note(axes, 0, -0.14, first, fontsize=7.5)
    if first != last:
        style.note(axes, 1, -0.14, last, fontsize=7.5, ha="right")


def _draw_levels(axes: Axes, panel: Panel, wide: float) -> None:
    count = len(panel.levels)
    most = max(float(panel.real.max()), float(panel.made.max()), 1e-9)
    axes.set_xlim(0, 1)
    axes.set_ylim(-max(3, count), 0)
    names = style.clean_names(panel.levels, max(3, int(0.42 * wide / 0.066)))
    for k, name in enumerate(names):
        style.write(axes, 0.44, -k - 0.5, name, fontsize=7.5, ha="right", color=INK)
        axes.barh(-k - 0.33, panel.real[k] / most * 0.42, 0.3, 0.46, color=LIGHT)
        axes.barh(-k - 0.67, panel.made[k] / most * 0.42, 0.3, 0.46, color=ORANGE)
        end = 0.48 + max(panel.real[k], panel.made[k]) / most * 0.42
        style.write(axes, end, -k - 0.5, percent(panel.made[k]), fontsize=7, color=MUTED)


def plot_matrices(
    columns: Sequence[str], matrices: Mapping[str, Floats], path: str | Path, title: str = "Associations"
) -> Path:
    """Draws the associations in test rows, in synthetic rows, and their difference; of many columns, those with the
    strongest.
    """
    real, made = matrices["test"], matrices["synthetic"]
    total = len(columns)
    strength = np.nanmax(np.nan_to_num(np.abs(real - np.eye(total))), axis=0) if total else np.empty(0)
    kept = np.sort(np.argsort(-strength, kind="stable")[:MAX_MATRIX])
    names = style.clean_names([columns[j] for j in kept], 18)
    left = 0.35 + 0.062 * max(len(name) + 4 for name in names)
    side = (style.WIDTH - left - 1.15) / 3 - 0.15
    height = style.HEAD + 0.55 + side + 0.2
    figure = style.canvas(height)
    parts = {"test rows": real, "synthetic rows": made, "synthetic − test": made - real}
    for place, (head, matrix) in enumerate(parts.items()):
        axes = style.place(figure, left + place * (side + 0.15), 0.2, side, side)
        draw_matrix(axes, np.nan_to_num(matrix[np.ix_(kept, kept)]), names, numbered=True, named=place == 0)
        axes.tick_params(axis="x", labelsize=6.5)
        style.note(axes, 0, 1 + 0.36 / side, head, color=INK, fontsize=9.5)
    draw_scale(style.place(figure, left + 3 * (side + 0.15) + 0.02, 0.25, 0.14, min(1.6, side - 0.1)))
    some = f"{len(kept)} of {total:,} columns, those with the strongest" if len(kept) < total else f"{total} columns"
    style.heading(figure, title, f"{some}  ·  white where there is none, or a pair is rarely filled")
    return style.save(figure, path)


def plot_nearest(test: Floats, made: Floats, close: float, path: str | Path, title: str = "Nearest rows") -> Path:
    """Draws the share of rows whose nearest training row is closer than a distance, for test and synthetic rows."""
    height = style.HEAD + 3.0
    figure = style.canvas(height)
    axes = style.chart(figure, 0.65, 0.55, style.WIDTH - 1.0, height - style.HEAD - 0.9)
    shown = np.concatenate([own[np.isfinite(own)] for own in (test, made)])
    last = float(np.quantile(shown, 0.99)) * 1.05 or 1.0
    for own, ink in ((test, BLUE), (made, ORANGE)):
        places = np.sort(own)
        axes.step(np.r_[0, places, last], np.r_[0, np.arange(1, len(own) + 1), len(own)] / len(own), ink, where="post")
    axes.axvline(close, color=MUTED, linewidth=0.9, linestyle=":")
    axes.set_xlim(0, last)
    axes.set_ylim(0, 1.02)
    style.name_axes(axes, "distance to the nearest training row", "share of rows that are as close")
    key(axes, ((BLUE, "━", "test rows"), (ORANGE, "━", "synthetic rows")))
    style.heading(figure, title, "dotted: the distance below which 5 % of test rows are")
    return style.save(figure, path)


__all__ = ["panels_data", "plot_matrices", "plot_nearest", "plot_panels"]
