"""The columns of a table: a histogram of each of its numbers and dates, bars for levels by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from vaelab.data.columns import Column
from vaelab.plots import style
from vaelab.plots.features import Features, columns_features, frequent, moments, named, nearest, written
from vaelab.plots.rows import key
from vaelab.plots.style import BLUE, GREY, INK, MUTED, ORANGE, Floats, Ints
from vaelab.wording import percent

MAX_COLUMNS = 30
MAX_TYPED = 28
MAX_GROUPS = 5  # most classes shown in a small histogram
MAX_LEVELS = 6
BINS = 24
GROUP_COLOURS = (BLUE, ORANGE, "#44aa99", "#aa4499", "#999933")


@dataclass(frozen=True)
class Panel:
    """One column: counts (groups, bins) between edges on its axis, or of its levels."""

    name: str
    counts: Ints
    edges: Floats  # (bins + 1,) on the column's axis; empty for levels
    levels: list[str]
    values: int  # that are there, also of levels that are not shown
    ends: tuple[str, str]  # the lowest and highest value in the table's own words
    axis: str  # what the axis is, if it is not linear
    missing: float  # share of the rows
    more: int  # levels that are not shown


@dataclass(frozen=True)
class Columns:
    """The columns of a table, stacked by class if there are few classes."""

    panels: list[Panel]
    groups: list[str]  # class names, or one empty name
    sizes: Ints  # (groups,) examples of each
    total: int  # columns of the table
    is_typed: bool

    @property
    def names(self) -> list[str]:
        return [panel.name for panel in self.panels]


def columns_data(
    rows: Floats,
    columns: Sequence[Column] = (),
    labels: Ints | None = None,
    classes: Sequence[str] = (),
    limit: int = MAX_COLUMNS,
) -> Columns:
    """Counts of the columns of rows (n, D), NaN where missing; of a wide table, of those that vary most.

    labels: (n,) codes into `classes`; up to five classes are counted separately.
    """
    rows = np.asarray(rows, dtype=np.float64)
    n, D = rows.shape
    columns = tuple(columns) or tuple(Column("") for _ in range(D))
    names = named([column.name for column in columns if column.name], D)
    apart = labels is not None and 1 < len(classes) <= MAX_GROUPS
    codes = np.asarray(labels) if labels is not None and apart else np.zeros(n, dtype=np.int64)
    groups = [str(name) for name in classes] if apart else [""]
    typed = any(column.kind != "real" for column in columns) or bool(np.isnan(rows).any())
    chosen = most_variable(rows, columns, min(limit, MAX_TYPED) if typed else limit)
    panels = [_panel(names[j], rows[:, j], columns[j], codes, len(groups)) for j in chosen]
    return Columns(panels, groups, np.bincount(codes[codes >= 0], minlength=len(groups)), D, typed)


def most_variable(rows: Floats, columns: Sequence[Column], limit: int) -> list[int]:
    """At most `limit` columns that vary most for their size, in the table's order.

    Numbers by their standard deviation relative to their root mean square, or that of the logarithm of positive numbers
    and counts; levels by their entropy.
    """
    if rows.shape[1] <= limit:
        return list(range(rows.shape[1]))
    features: Features = columns_features(rows, columns)
    mean, std = moments(features.seen(rows))
    root = np.sqrt(mean**2 + std**2)
    logs = np.array([column.kind in ("positive", "count") for column in columns])
    score = np.where(logs, std, std / np.where(root > 0, root, 1.0))
    for j in np.flatnonzero(features.has_levels).tolist():
        places = nearest(rows[:, j], columns[j])
        share = np.bincount(places[places >= 0], minlength=2) / max(1, int((places >= 0).sum()))
        score[j] = -float((share[share > 0] * np.log(share[share > 0])).sum())
    return sorted(np.argsort(-score, kind="stable")[:limit].tolist())


def _panel(name: str, values: Floats, column: Column, codes: Ints, groups: int) -> Panel:
    there = ~np.isnan(values)
    missing, own, codes = 1 - float(there.mean()), values[there], codes[there]
    if column.has_levels:
        places = nearest(own, column)
        shown = frequent(own, column)
        if len(shown) > MAX_LEVELS:  # of ordered levels too the most frequent, in their order
            often = np.argsort(-np.bincount(places, minlength=len(shown)), kind="stable")[: MAX_LEVELS - 1]
            shown = [k for k in shown if k in often]
        counts = np.array(
            [[((places == k) & (codes == g)).sum() for k in shown] for g in range(groups)], dtype=np.int64
        )
        more = len(column.levels) - len(shown)
        names = [column.levels[k] for k in shown]
        return Panel(name, counts, np.empty(0), names, len(own), ("", ""), "", missing, more)
    if not len(own):
        return Panel(name, np.zeros((groups, 1), np.int64), np.array([0.0, 1.0]), [], 0, ("", ""), "", missing, 0)
    low, high = float(own.min()), float(own.max())
    axis, seen = "", own
    if column.kind == "positive" and high > low:
        axis, seen = "log scale", np.log(own)
    elif column.kind == "count" and high - low >= BINS and float(np.median(own)) < (low + high) / 4:
        axis, seen = "log scale", np.log1p(own)
    if column.kind == "count" and high - low < BINS:
        edges = np.arange(low, high + 2) - 0.5
    else:
        bottom, top = float(seen.min()), float(seen.max())
        edges = np.linspace(bottom, top, BINS + 1) if top > bottom else bottom + np.linspace(-0.5, 0.5, BINS + 1)
    counts = np.array([np.histogram(seen[codes == g], edges)[0] for g in range(groups)], dtype=np.int64)
    return Panel(name, counts, edges, [], len(own), (written(column, low), written(column, high)), axis, missing, 0)


def plot_columns(data: Columns, path: str | Path, title: str = "The data") -> Path:
    """Draws a small histogram per column, each scaled to its own range and height; levels as bars with their names."""
    shown = len(data.panels)
    across = 4 if data.is_typed else 5 if shown > 8 else 4
    across = min(across, max(2, shown))
    rows = -(-shown // across)
    cell = 1.42 if data.is_typed else 1.12 if rows > 2 else 1.5
    height = style.HEAD + 0.2 + cell * rows + 0.1
    figure = style.canvas(height)
    axes = style.place(figure, 0.3, 0.1, style.WIDTH - 0.5, cell * rows)
    axes.axis("off")
    axes.set_xlim(0, across)
    axes.set_ylim(-rows, 0)
    width = (style.WIDTH - 0.5) / across * 0.9  # inches
    letters = int(width / 0.076)
    names = style.clean_names(data.names, letters)
    for i, panel in enumerate(data.panels):
        x, y = float(i % across), -float(i // across)
        style.write(axes, x, y - 0.12, names[i], fontsize=8.5, color=INK)
        if panel.missing:
            share = percent(panel.missing)
            place = (x + 0.9, "right") if panel.levels else (x + 0.45, "center")
            style.write(axes, place[0], y - 0.87, f"{share} missing", fontsize=7, color=ORANGE, ha=place[1])
        if panel.levels:
            _draw_levels(axes, panel, x, y, width)
        else:
            _draw_histogram(axes, panel, x, y)
    if len(data.groups) > 1:
        entries = [
            (colour, "■", f"{style.clean(name, 14)} {size:,}")
            for colour, name, size in zip(GROUP_COLOURS, data.groups, data.sizes.tolist(), strict=False)
        ]
        key(axes, entries)
    _heading(figure, data, title)
    return style.save(figure, path)


def _heading(figure: Figure, data: Columns, title: str) -> None:
    shown = len(data.panels)
    some = f"the {shown} of {data.total:,} columns that vary most" if shown < data.total else f"{shown} columns"
    how = "each from its minimum to its maximum"
    style.heading(figure, title, f"{some}, {data.sizes.sum():,} training examples, {how}")


def _draw_histogram(axes: Axes, panel: Panel, x: float, y: float) -> None:
    bottom = y - 0.78
    colours = GROUP_COLOURS if len(panel.counts) > 1 else (BLUE,)
    tallest = max(1, int(panel.counts.sum(0).max(initial=1)))
    place = (panel.edges - panel.edges[0]) / (panel.edges[-1] - panel.edges[0]) * 0.9
    base = np.zeros(len(place) - 1)
    for group, colour in zip(panel.counts, colours, strict=False):
        tall = group / tallest * 0.5
        left, right = x + place[:-1], np.maximum(x + place[1:] - 0.004, x + place[:-1] + 0.002)
        low, high = bottom + base, bottom + base + tall
        corners = [(left, low), (left, high), (right, high), (right, low)]
        verts = np.stack([np.stack(pair, -1) for pair in corners], 1)
        axes.add_collection(PolyCollection(list(verts[group > 0]), facecolors=colour, linewidths=0))
        base = base + tall
    axes.hlines([bottom], [x], [x + 0.9], colors=GREY, linewidth=0.8)
    first, last = (style.clean(end, 12) for end in panel.ends)
    style.write(axes, x, bottom - 0.09, first, fontsize=7.5)
    if first != last:
        style.write(axes, x + 0.9, bottom - 0.09, last, fontsize=7.5, ha="right")
    if panel.axis:
        style.write(axes, x + 0.9, y - 0.22, panel.axis, fontsize=7, ha="right")


def _draw_levels(axes: Axes, panel: Panel, x: float, y: float, width: float) -> None:
    """Bars from left to right with the names of levels on their left, and their shares on their right."""
    lines = max(3, len(panel.levels) + bool(panel.more))
    step = 0.66 / lines
    totals = panel.counts.sum(0)
    every = max(1, panel.values)
    most = max(1, int(totals.max(initial=1)))
    names = style.clean_names(panel.levels, max(3, int(0.44 * width / 0.9 / 0.066)))
    start, room = x + 0.42, 0.36
    colours = GROUP_COLOURS if len(panel.counts) > 1 else (BLUE,)
    for k, name in enumerate(names):
        at = y - 0.27 - step * k
        style.write(axes, start - 0.015, at, name, fontsize=7.5, ha="right", color=INK)
        base = start
        for group, colour in zip(panel.counts, colours, strict=False):
            wide = float(group[k]) / most * room
            tall = min(0.1, 0.72 * step)
            corners = [
                (base, at - tall / 2),
                (base, at + tall / 2),
                (base + wide, at + tall / 2),
                (base + wide, at - tall / 2),
            ]
            if wide:
                axes.add_collection(PolyCollection([corners], facecolors=colour, linewidths=0))
            base += wide
        style.write(axes, base + 0.012, at, percent(totals[k] / every), fontsize=7, color=MUTED)
    if panel.more:
        at = y - 0.27 - step * len(names)
        style.write(axes, start - 0.015, at, f"+ {panel.more} more", fontsize=7.5, ha="right")


__all__ = ["columns_data", "plot_columns"]
