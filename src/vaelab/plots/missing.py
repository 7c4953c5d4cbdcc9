"""Missing cells of a table: the share of every column, and which are missing together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaelab.data.columns import Column
from vaelab.plots import style
from vaelab.plots.features import named
from vaelab.plots.style import BLUE, GRID, INK, MUTED, ORANGE, Bools, Floats, Ints
from vaelab.wording import percent

MAX_COLUMNS, MAX_PATTERNS = 26, 12


@dataclass(frozen=True)
class Missing:
    """The columns with missing cells, most missing first, and the sets of them that rows lack, most frequent first."""

    names: list[str]
    shares: Floats  # (c,)
    patterns: Bools  # (p, c)
    counts: Ints  # (p,) rows that lack exactly these
    rows: int
    complete: int  # rows with every cell
    lacking: int  # columns with missing cells
    total: int  # columns of the table


def missing_data(rows: Floats, columns: Sequence[Column] = (), limit: int = MAX_COLUMNS) -> Missing | None:
    """What is missing in rows (n, D); None if nothing is."""
    gaps = np.isnan(rows)
    share = gaps.mean(0)
    lacking = int((share > 0).sum())
    if not lacking:
        return None
    names = named([column.name for column in columns if column.name], rows.shape[1])
    chosen = np.argsort(-share, kind="stable")[: min(limit, lacking)]
    found, counts = np.unique(gaps[:, chosen], axis=0, return_counts=True)
    lack = found.any(1)
    found, counts = found[lack], counts[lack]
    order = np.argsort(-counts, kind="stable")[:MAX_PATTERNS]
    return Missing(
        [names[j] for j in chosen.tolist()], share[chosen], found[order], counts[order], len(rows),
        int((~gaps.any(1)).sum()), lacking, rows.shape[1],
    )  # fmt: skip


def plot_missing(data: Missing, path: str | Path, title: str = "Missing values") -> Path:
    """Draws a bar per column, and next to it a column of squares per set that is missing together, with its rows."""
    count = len(data.names)
    tall = max(1.0, 0.21 * count)
    height = style.HEAD + 0.62 + tall + 0.45
    figure = style.canvas(height)
    names, widest = style.side_names(data.names, 2.2)
    left = 0.35 + widest
    across = 0.36 * len(data.counts)
    wide = style.WIDTH - left - across - 1.0
    axes = style.chart(figure, left, 0.45, wide, tall, grid="x")
    place = np.arange(count)
    axes.barh(place, data.shares, height=0.66, color=BLUE, linewidth=0)
    top = float(data.shares.max())
    axes.set_xlim(0, min(1.0, 1.18 * top))
    axes.xaxis.set_major_formatter(lambda share, _: percent(share) if top >= 0.05 else f"{100 * share:.2g} %")
    axes.set_ylim(count - 0.4, -0.6)
    style.named_ticks(axes, "y", place.tolist(), names)
    style.name_axes(axes, x="share of rows in which it is missing")
    right = style.place(figure, left + wide + 0.5, 0.45, across, tall)
    right.axis("off")
    right.set_xlim(-0.5, len(data.counts) - 0.5)
    right.set_ylim(count - 0.4, -0.6)
    right.hlines(place, -0.4, len(data.counts) - 0.6, colors=GRID, linewidth=0.8)
    x, y = np.nonzero(data.patterns)
    right.scatter(x, y, marker="s", s=58, color=ORANGE, linewidths=0, zorder=3)
    for i, rows in enumerate(data.counts.tolist()):
        style.write(right, i, -0.6, f"{rows:,}", ha="center", va="bottom", fontsize=8, color=INK)
    said = "rows that lack exactly these"
    style.note(right, 1, 1 + 0.3 / tall, said, color=MUTED, fontsize=8.5, ha="right")
    lack = "column lacks" if data.total == 1 else "columns lacks" if data.lacking == 1 else "columns lack"
    most = f", the {count} most missing are shown" if count < data.lacking else ""
    complete = f"{data.complete:,} of {data.rows:,} training rows are complete"
    style.heading(figure, title, f"{data.lacking:,} of {data.total:,} {lack} values{most}  ·  {complete}")
    return style.save(figure, path)


__all__ = ["missing_data", "plot_missing"]
