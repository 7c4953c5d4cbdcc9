"""Correlations between the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from vaelab.data.columns import Column
from vaelab.plots import examples, style
from vaelab.plots.columns import most_variable
from vaelab.plots.features import columns_features, moments, named
from vaelab.plots.style import GRID, INK, MUTED, Floats
from vaelab.wording import counted

MAX_COLUMNS = 30
ROTATED = 16  # most columns with names above a correlation matrix
COMPARED = 400  # columns of a wide table among which the strongest are searched
LEAST = 20  # rows in which both columns of a pair must be there


@dataclass(frozen=True)
class Correlations:
    """Pearson correlations of the columns of a table that vary."""

    names: list[str]
    matrix: Floats  # (c, c)
    strongest: tuple[int, int] | None  # the pair with the largest absolute correlation
    total: int  # columns of the table
    unordered: int = 0  # categories among them


def correlations_data(rows: Floats, columns: Sequence[Column] = (), limit: int = MAX_COLUMNS) -> Correlations:
    """Correlations between the columns of rows (n, D) that vary, over the rows in which both are there; of a wide
    table, between those with the strongest.

    Positive numbers and counts are compared by their logarithm, two levels and ordered ones by their number; categories
    have no order and are left out.
    """
    rows = np.asarray(rows, dtype=np.float64)
    columns = tuple(columns) or tuple(Column("") for _ in range(rows.shape[1]))
    names = named([column.name for column in columns if column.name], rows.shape[1])
    seen = columns_features(rows, columns).seen(rows)
    ordered = np.array([len(column.levels) < 3 or column.kind == "ordinal" for column in columns])
    kept = np.flatnonzero(ordered & (moments(seen)[1] > 0))
    if len(kept) > COMPARED:
        kept = kept[most_variable(rows[:, kept], [columns[j] for j in kept.tolist()], COMPARED)]
    matrix = _pairwise(seen[:, kept])
    if len(kept) > limit:
        most = np.abs(matrix - np.eye(len(kept))).max(0)
        some = np.sort(np.argsort(-most, kind="stable")[:limit])
        kept, matrix = kept[some], matrix[np.ix_(some, some)]
    strongest = None
    if len(kept) > 1:
        away = np.abs(matrix) - 2 * np.eye(len(kept))
        i, j = divmod(int(away.argmax()), len(kept))
        strongest = (min(i, j), max(i, j))
    return Correlations([names[i] for i in kept.tolist()], matrix, strongest, rows.shape[1], int((~ordered).sum()))


def _pairwise(x: Floats) -> Floats:
    """Pearson correlations (c, c) of the columns of x (n, c), each pair over the rows in which both are there; 0 for
    pairs that are hardly ever there together.
    """
    there = ~np.isnan(x)
    held = there.astype(np.float64)
    mean, std = moments(x)
    values = np.where(there, (x - mean) / std, 0.0)
    count = held.T @ held
    some = np.maximum(count, 1)
    sums, squares = values.T @ held / some, (values**2).T @ held / some
    covariance = values.T @ values / some - sums * sums.T
    spread = np.sqrt(np.maximum(squares - sums**2, 0.0))
    size = spread * spread.T
    enough = (count >= min(LEAST, len(x))) & (size > 1e-9)
    return np.clip(np.where(enough, covariance / np.where(enough, size, 1.0), 0.0), -1, 1)


def plot_correlations(data: Correlations, path: str | Path, title: str = "Correlations") -> Path:
    """Draws the matrix as a heat map: orange for positive correlations, blue for negative ones."""
    count = len(data.names)
    if not count:
        return style.save(examples._empty(title, "no column of numbers or ordered levels varies"), path)
    names = style.clean_names(data.names, 24)
    left = 0.5 + 0.066 * max(len(name) for name in names)
    side = float(np.clip(0.42 * count, 1.6, min(5.6, style.WIDTH - left - 1.5)))
    above = 0.15 + (0.052 * max(len(name) for name in names) if count <= ROTATED else 0.25)
    height = style.HEAD + above + side + 0.2
    figure = style.canvas(height)
    axes = style.place(figure, left, 0.2, side, side)
    draw_matrix(axes, data.matrix, names, numbered=count > ROTATED)
    draw_scale(style.place(figure, left + side + 0.3, 0.25, 0.16, min(1.6, side - 0.1)))
    finding = "one column varies"
    if data.strongest is not None:
        i, j = data.strongest
        pair = " and ".join(style.clean(data.names[k], 26).replace(r"\$", "$") for k in (i, j))
        finding = f"strongest: {pair}, {data.matrix[i, j]:.2f}"
    most = data.total - data.unordered
    some = count < most and count == MAX_COLUMNS
    more = f"{count} of {data.total:,} columns, the most correlated  ·  " if some else ""
    more += f"without {counted(data.unordered, 'categorical column')}  ·  " if data.unordered else ""
    style.heading(figure, title, more + finding)
    return style.save(figure, path)


def shades(values: Floats) -> Floats:
    """Values in [-1, 1] as colours (..., 3): orange above 0, blue below, white at 0."""
    share = np.clip(values, -1, 1)[..., None]
    ink = np.where(share > 0, np.array([217, 100, 30]), np.array([36, 99, 168]))
    return np.asarray(examples.PAPER + np.abs(share) * (ink - examples.PAPER)) / 255


def draw_matrix(
    axes: Axes, matrix: Floats, names: Sequence[str], *, numbered: bool = False, named: bool = True
) -> None:
    """A heat map of correlations (c, c); too many names for its top are numbered. Without `named`, numbers alone."""
    count = len(names)
    axes.imshow(shades(matrix), aspect="auto", interpolation="nearest")
    small = 8.5 if count <= 16 else 7.5
    if not numbered:
        axes.set_yticks(range(count), labels=list(names))
        axes.set_xticks(range(count), labels=list(names), rotation=45, ha="left", rotation_mode="anchor")
    else:
        axes.set_yticks(
            range(count), labels=[f"{name}  {i + 1}" for i, name in enumerate(names)] if named else [""] * count
        )
        axes.set_xticks(range(count), labels=[str(i + 1) for i in range(count)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=small, labelcolor=INK, labelfontfamily=style.FONT, pad=3)
    for spine in axes.spines.values():
        spine.set(color=GRID)
    if count <= 12 and not numbered:
        for i in range(count):
            for j in range(count):
                dark = abs(matrix[i, j]) > 0.6
                look = {"ha": "center", "fontsize": 8, "color": "white" if dark else MUTED}
                style.write(axes, j, i, f"{matrix[i, j]:.2f}", **look)


def draw_scale(axes: Axes) -> None:
    """The colours of correlations from -1 to 1."""
    axes.imshow(shades(np.linspace(1, -1, 64)[:, None]), aspect="auto", extent=(0, 1, -1, 1))
    axes.set_xticks([])
    axes.set_yticks([-1, 0, 1], labels=["−1 negative", "0", "+1 positive"])
    axes.yaxis.tick_right()
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED, labelfontfamily=style.FONT)
    for spine in axes.spines.values():
        spine.set_visible(False)


__all__ = ["correlations_data", "draw_matrix", "draw_scale", "plot_correlations"]
