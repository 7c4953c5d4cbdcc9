"""Rows of a table and their reconstructions: a dot plot of numbers, levels by name, and what is missing."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vaelab.plots import style
from vaelab.plots.features import Features, mean_square, nearest, on_axis
from vaelab.plots.style import GRID, INK, MUTED, ORANGE, Floats, Ints
from vaelab.wording import counted

MAX_FEATURES = 40  # all columns of a table are shown up to here, fewer of levels, which take two lines
SHOWN = 30  # of wider ones
NAMED = 8  # examples beside each other if there are levels, whose names need room
LINE, TWO_LINES = 0.19, 0.31  # inches
CAPTION_LINES = 3


@dataclass(frozen=True)
class Rows:
    """Some rows and their reconstructions, for some columns."""

    originals: Floats  # (n, c)
    made: Floats  # (n, c)
    features: Features  # c columns
    total: int  # columns of the table
    wrong: Floats  # (c,) typical error: numbers in standard deviations, levels as the share that is wrong


def rows_data(originals: Floats, made: Floats, features: Features) -> Rows:
    """The columns of rows (n, D), of a wide table those with the largest errors, in the table's order."""
    x, y = np.asarray(originals, np.float64), np.asarray(made, np.float64)
    errors = mean_square(features.errors(x, y))
    D = x.shape[1]
    is_short = float(np.where(features.has_levels, TWO_LINES, LINE).sum()) <= SHOWN * TWO_LINES
    is_small = D <= MAX_FEATURES and is_short
    chosen = np.arange(D) if is_small else np.sort(np.argsort(-errors, kind="stable")[:SHOWN])
    return Rows(x[:, chosen], y[:, chosen], features.some(chosen), D, errors[chosen])


def draw_rows(data: Rows, captions: list[str], title: str) -> Figure:
    """One column per example, one line per column of the table: a dot for the value, a bar to its reconstruction; the
    names of levels, the reconstruction's below.
    """
    levels = data.features.has_levels
    n, c = data.originals.shape
    if levels.any() and n > NAMED:
        some = np.linspace(0, n - 1, NAMED).round().astype(np.int64)
        captions = [captions[i] for i in some.tolist()] if captions else []
        data = Rows(data.originals[some], data.made[some], data.features, data.total, data.wrong)
        n = NAMED
    tall = np.where(levels, TWO_LINES, LINE)
    tall = tall * max(1.0, 1.6 / float(tall.sum()))
    place = np.cumsum(tall) - tall / 2  # inches from the top
    body = float(tall.sum())
    below = 0.12 + 0.15 * CAPTION_LINES if captions else 0.15
    bottom = below + (0.3 if data.total > c else 0.12)
    height = style.HEAD + 0.4 + bottom + body
    figure = style.canvas(height)
    names, widest = style.side_names(data.features.names, 2.3)
    left = 0.35 + widest
    right = 1.5 if (~levels).any() else 0.3
    axes = style.chart(figure, left, bottom, style.WIDTH - left - right, body, grid="none")
    room = (style.WIDTH - left - right) / n  # inches per example
    axes.set_xlim(0, n)
    axes.set_ylim(body, 0)
    axes.hlines(place[~levels], 0, n, colors=GRID, linewidth=0.8, zorder=0)
    axes.vlines(np.arange(n + 1), 0, body, colors=GRID, linewidth=0.8)
    _draw_numbers(axes, data, np.flatnonzero(~levels), place)
    for j in np.flatnonzero(levels).tolist():
        _draw_names(axes, data, j, float(place[j]), float(tall[j]), max(3, int(room / 0.068)))
    style.named_ticks(axes, "y", place.tolist(), names)
    axes.set_xticks([])
    gaps = bool(np.isnan(data.originals).any())
    entries = [(INK, "●", "original"), (ORANGE, "○", "reconstruction")] if (~levels).any() else []
    entries += [(ORANGE, "■", "wrong level")] if levels.any() else []
    entries += [(MUTED, "○", "of a missing value")] if gaps and (~levels).any() else []
    key(axes, entries)
    said = "one column per validation example"
    said += (
        "; numbers between the lowest and highest shown"
        if (~levels).any()
        else "; below each level, its reconstruction"
    )
    more = f"  ·  {c} of {data.total:,} columns: the largest errors" if data.total > c else ""
    style.heading(figure, title, said + more)
    letters = max(3, int(room / 0.088))  # of capitals, which are widest
    for i, caption in enumerate(captions):
        lines = textwrap.wrap(caption[:200], letters, max_lines=CAPTION_LINES, placeholder="…")
        text = "\n".join(style.clean(line, letters) for line in lines)
        style.note(axes, (i + 0.5) / n, -0.06 / body, text, ha="center", va="top", fontsize=8)
    if data.total > c:
        left_out = counted(data.total - c, "more column")
        style.note(axes, 0, -below / body, f"… and {left_out}, with smaller errors", fontsize=8.5)
    return figure


def _draw_numbers(axes: Axes, data: Rows, chosen: Ints, place: Floats) -> None:
    """Dots and rings between the lowest and the highest original, which are written on the right."""
    n = len(data.originals)
    for j in chosen.tolist():
        column = data.features.columns[j] if data.features.columns else None
        x, y = on_axis(column, data.originals[:, j]), on_axis(column, data.made[:, j])
        there = ~np.isnan(x)
        held = x[there] if there.any() else y
        low, high = float(held.min()), float(held.max())
        span = high - low or 1.0
        # A reconstruction far outside the range of the originals is clipped to its cell.
        u = np.arange(n) + 0.1 + 0.8 * (x - low) / span
        v = np.arange(n) + 0.1 + 0.8 * np.clip((y - low) / span, -0.1, 1.1)
        lines = [[(u[i], place[j]), (v[i], place[j])] for i in np.flatnonzero(there)]
        axes.add_collection(LineCollection(lines, colors=ORANGE, linewidths=1.6, alpha=0.8))
        axes.scatter(u[there], np.full(there.sum(), place[j]), s=20, color=INK, linewidths=0, zorder=3)
        for some, ink in ((there, ORANGE), (~there, MUTED)):
            at = np.full(some.sum(), place[j])
            axes.scatter(v[some], at, s=20, facecolor="white", edgecolor=ink, linewidths=1.3, zorder=4)
        kept = data.originals[there, j] if there.any() else data.made[:, j]
        ends = [data.features.written(j, float(end)) for end in (kept.min(), kept.max())]
        text = style.clean(" to ".join(ends) if ends[0] != ends[1] else ends[0], 24)
        style.write(axes, n + 0.08 * n / 6, place[j], text, fontsize=7.5)


def _draw_names(axes: Axes, data: Rows, j: int, place: float, tall: float, letters: int) -> None:
    """The original's level, and below it the reconstruction's, in orange if it is another."""
    column = data.features.columns[j]
    was, made = nearest(data.originals[:, j], column), nearest(data.made[:, j], column)
    for i, (old, new) in enumerate(zip(was.tolist(), made.tolist(), strict=True)):
        first = column.levels[old] if old >= 0 else "missing"
        ink = INK if old >= 0 else MUTED
        style.write(
            axes, i + 0.5, place - 0.23 * tall, style.clean(first, letters), fontsize=7.5, ha="center", color=ink
        )
        right = old < 0 or old == new
        look = {"color": MUTED} if right else {"color": ORANGE, "weight": "bold"}
        text = style.clean(column.levels[new], letters)
        style.write(axes, i + 0.5, place + 0.23 * tall, text, fontsize=7.5, ha="center", **look)
    axes.hlines([place + tall / 2], 0, len(was), colors=GRID, linewidth=0.6, zorder=0)


def key(axes: Axes, entries: list[tuple[str, str, str]] | tuple[tuple[str, str, str], ...]) -> None:
    """Legend in one line above the axes on the right: (colour, mark, name) each."""
    width = axes.get_position().width * axes.figure.get_figwidth()  # type: ignore[union-attr]
    height = axes.get_position().height * axes.figure.get_figheight()  # type: ignore[union-attr]
    right = 1.0
    for colour, mark, name in reversed(entries):
        style.note(axes, right, 1 + 0.14 / height, f"{mark} {name}", ha="right", color=colour, fontsize=9)
        right -= (0.079 * len(name) + 0.36) / width


__all__ = ["Rows", "draw_rows", "rows_data"]
