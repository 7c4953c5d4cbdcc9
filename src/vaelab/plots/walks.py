"""Walks through the latent space of a table: numbers in standard deviations, levels by their probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from vaelab.plots import style
from vaelab.plots.features import Features, features_data
from vaelab.plots.style import BLUE, GREY, ORANGE, Floats, Ints
from vaelab.wording import percent

MOVERS = 3  # quantities named in a chart
LINES = 60  # drawn in one, those that move most
INKS = (BLUE, ORANGE, "#117733")
EACH = 2.0  # inches of a chart with its names
MAX_ROWS = 5  # of two charts


@dataclass(frozen=True)
class Walks:
    """Rows of decoded points (r, c, D) at `place` (c,) along each walk, and examples (r, 2, D) at its ends."""

    title: str
    subtitle: str
    cells: Floats
    place: Floats
    names: Sequence[str]
    features: Features | None
    ends: Floats | None = None

    @property
    def flat(self) -> Floats:
        flat: Floats = np.asarray(self.cells, np.float64).reshape(*self.cells.shape[:2], -1)
        return flat


def draw_walks(data: Walks) -> Figure:
    """A chart per row, two beside each other: the quantities that move most are coloured and named, with their values
    at both ends. A table of numbers and levels has a chart of each per row.
    """
    D = data.flat.shape[2]
    features = data.features or features_data(np.zeros(D), np.ones(D))
    shares = features.shares
    kinds = [kind for kind in (~shares, shares) if kind.any()]
    both = len(kinds) == 2
    flat = data.flat[:MAX_ROWS] if both else data.flat
    r = len(flat)
    ends = None if data.ends is None else np.asarray(data.ends, np.float64)[:r].reshape(r, 2, D)
    # Numbers in standard deviations, shares as they are.
    scaled = np.where(shares, flat, features(flat))
    held = None if ends is None else np.where(shares, ends, features(ends))
    limits = _limits(scaled[:, :, ~shares], None if held is None else held[:, :, ~shares])
    rows = r if both else -(-r // 2)
    height = style.HEAD + 0.1 + EACH * rows + 0.3
    figure = style.canvas(height)
    for i in range(r):
        for side, kind in enumerate(kinds):
            row, column = (i, side) if both else (i // 2, i % 2)
            bottom = height - style.HEAD - 0.1 - EACH * row - EACH + 0.3
            axes = style.chart(figure, 0.5 + 4.4 * column, bottom, 2.5, EACH - 0.68, grid="y")
            are_shares = bool(shares[kind][0])
            axes.set_ylim(*((-0.03, 1.03) if are_shares else limits))
            if are_shares:
                axes.yaxis.set_major_formatter(lambda share, _: percent(share))
            axes.tick_params(labelleft=both or column == 0, labelbottom=i >= r - (1 if both else 2))
            unit = "probability" if are_shares else "standard deviations"
            name = data.names[i] if side == 0 else "levels"
            style.name_axes(axes, y=f"{name}  ·  {unit}" if row == 0 else name)
            moved = np.where(kind, np.ptp(scaled[i], axis=0), -1.0)
            movers = np.argsort(-moved, kind="stable")[: int(kind.sum())]
            _draw_lines(axes, data.place, scaled[i], movers)
            words = [[features.written(k, float(flat[i, end, k])) for end in (0, -1)] for k in movers[:MOVERS].tolist()]
            _name_movers(axes, data.place, scaled[i], movers, features.names, words, None if held is None else held[i])
    more = f", named: the {MOVERS} of {D:,} that move most" if D > MOVERS else ""
    more += f"  ·  {r} of {len(data.flat)}" if r < len(data.flat) else ""
    style.heading(figure, data.title, data.subtitle + more)
    return figure


def _limits(scaled: Floats, ends: Floats | None) -> tuple[float, float]:
    """The common range of all charts of numbers; distant examples may leave it."""
    if not scaled.size or np.isnan(scaled).all():
        return -1.0, 1.0
    low, high = float(np.nanmin(scaled)), float(np.nanmax(scaled))
    if ends is not None and not np.isnan(ends).all():
        reach = 0.5 * (high - low)
        low, high = (
            min(low, max(float(np.nanmin(ends)), low - reach)),
            max(high, min(float(np.nanmax(ends)), high + reach)),
        )
    pad = 0.08 * (high - low) or 0.5
    return low - pad, high + pad


def _draw_lines(axes: Axes, place: Floats, drawn: Floats, movers: Ints) -> None:
    """Quantities (c, D) as lines in grey, of many those that move most; those to be named in colour."""
    lines = [np.column_stack([place, drawn[:, k]]) for k in movers[:LINES].tolist()]
    axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.8, alpha=0.6))
    for k, ink in zip(movers.tolist(), INKS, strict=False):
        axes.plot(place, drawn[:, k], color=ink, linewidth=1.8)
    pad = 0.03 * float(place[-1] - place[0])
    axes.set_xlim(float(place[0]) - pad, float(place[-1]) + pad)


def _name_movers(
    axes: Axes,
    place: Floats,
    drawn: Floats,
    movers: Ints,
    names: Sequence[str],
    words: Sequence[Sequence[str]],
    ends: Floats | None,
) -> None:
    """The names of those that move most, with their values at both ends; the examples' own values (2, D) as dots."""
    low, high = axes.get_ylim()
    named = movers[:MOVERS].tolist()
    heights = [float(np.clip((drawn[-1, k] - low) / (high - low), 0.1, 0.88)) for k in named]
    shown = style.clean_names([names[k] for k in named], 19)
    for k, ink, y, name, values in zip(named, INKS, style.spread(heights, 0.27), shown, words, strict=False):
        style.note(axes, 1.04, y + 0.06, name, color=ink, fontsize=8)
        style.note(axes, 1.04, y - 0.06, style.clean(" → ".join(values), 24), fontsize=7)
        if ends is not None:
            there = ~np.isnan(ends[:, k])
            at = np.array([place[0], place[-1]])[there]
            axes.plot(at, np.clip(ends[there, k], low, high), "o", color=ink, markersize=4, clip_on=False)


def draw_curves(data: Walks) -> Figure:
    """Two charts per row of coloured curves over columns that form a sequence."""
    flat = data.flat
    r = len(flat)
    each, rows = 1.75, -(-len(flat) // 2)
    height = style.HEAD + 0.1 + each * rows + 0.3
    figure = style.canvas(height)
    style.heading(figure, data.title, f"{data.subtitle}  ·  curves over the columns, blue to orange")
    low, high = float(np.nanmin(flat)), float(np.nanmax(flat))
    pad = 0.08 * (high - low) or 0.5
    for i in range(r):
        top = height - style.HEAD - 0.1 - each * (i // 2)
        axes = style.chart(figure, 0.5 + 4.4 * (i % 2), top - each + 0.25, 3.9, each - 0.6, grid="y")
        axes.set_ylim(low - pad, high + pad)
        axes.tick_params(labelleft=i % 2 == 0, labelbottom=i >= r - 2)  # shared scales
        style.name_axes(axes, y=data.names[i])
        share = np.linspace(0, 1, len(flat[i]))[:, None]
        inks = (1 - share) * np.array(to_rgb(BLUE)) + share * np.array(to_rgb(ORANGE))
        place = np.arange(flat.shape[2]) + 1.0
        lines = [np.column_stack([place, row]) for row in flat[i]]
        axes.add_collection(LineCollection(lines, colors=inks, linewidths=1.1, alpha=0.85))
        axes.set_xlim(1, flat.shape[2])
    return figure


__all__ = ["Walks", "draw_curves", "draw_walks"]
