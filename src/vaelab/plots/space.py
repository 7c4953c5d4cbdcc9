"""Latent space traversals: the decoder over a grid, along each dimension, and between two examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vaelab.plots import examples, style, trial
from vaelab.plots.examples import PAPER, is_image
from vaelab.plots.features import Features
from vaelab.plots.style import GRID, INK, MUTED, Floats, Ints
from vaelab.plots.trial import Latent
from vaelab.plots.walks import Walks, draw_curves, draw_walks
from vaelab.wording import number

REACH = 2.5  # range of a traversal each way, in standard deviations of the prior
MAX_MAPS = 9


def quantiles(count: int) -> Floats:
    """The medians of `count` equally likely parts of the standard normal, in ascending order."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)])


def grid_points(count: int) -> Floats:
    """Points (count * count, 2) at the prior's quantiles, row by row from the top."""
    values = quantiles(count)
    z2, z1 = np.meshgrid(values[::-1], values, indexing="ij")
    return np.stack([z1.ravel(), z2.ravel()], axis=1)


@dataclass(frozen=True)
class Grid:
    """Every point of the grid, decoded."""

    values: Floats  # (n,) quantiles, low to high
    cells: Floats  # (n, n, *shape), first row at the highest z2
    features: Features | None  # of a table


def grid_data(decoded: Floats, features: Features | None = None) -> Grid:
    """The decoded points (n * n, *shape) of `grid_points(n)`."""
    count = round(len(decoded) ** 0.5)
    assert count * count == len(decoded)
    return Grid(quantiles(count), np.asarray(decoded).reshape(count, count, *np.shape(decoded)[1:]), features)


def plot_map(latent: Latent, grid: Grid, path: str | Path, title: str = "Latent space") -> Path:
    """Draws the examples in the latent plane next to the decoded plane."""
    assert len(latent.panels) == 1
    side = 4.05
    classes = len(latent.classes) if latent.labels is not None else 0
    below = 0.62 + (0.3 if classes else 0) + (0.2 if classes > 10 else 0)
    height = style.HEAD + 0.3 + side + below
    figure = style.canvas(height)
    shown = len(latent.panels[0].points)
    of = f"{shown:,} of {latent.total:,}" if shown < latent.total else f"{shown:,}"
    images = is_image(grid.cells.shape[2:])
    right = "the decoder's mean at each point" if images else "decoded columns, orange above their mean, blue below"
    if not images and grid.features is not None and grid.features.shares.any():
        right = "decoded: orange above the mean of a column or the share of a level"
    style.heading(figure, title, f"left: posterior means of {of} examples  ·  right: {right}")
    left = style.chart(figure, 0.55, below, side, side)
    trial._draw_plane(left, latent, latent.panels[0], 1.0)
    style.name_axes(left, y="posterior means")
    if images:
        _draw_sheet(figure, grid, (4.9, below, side - 0.15))
    else:
        _draw_maps(figure, grid, (4.9, below, side - 0.15))
    if classes:
        _draw_classes(figure, latent)
    return style.save(figure, path)


def _draw_sheet(figure: Figure, grid: Grid, place: tuple[float, float, float]) -> None:
    left, bottom, side = place
    n, H, W = len(grid.values), *grid.cells.shape[2:4]
    cells = examples.as_pixels(grid.cells.reshape(n * n, *grid.cells.shape[2:]))
    sheet = examples.mosaic(cells, n, 0)
    axes = style.place(figure, left, bottom, side, side * H / W if H <= W else side)
    exact = side * style.DPI / sheet.shape[1]
    axes.imshow(sheet, aspect="auto", interpolation="nearest" if exact == int(exact) else "antialiased")
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED, labelfontfamily=style.FONT, pad=3)
    picked = sorted({0, n // 4, n // 2, n - 1 - n // 4, n - 1})
    axes.set_xticks([i * W + W / 2 - 0.5 for i in picked], labels=[f"{grid.values[i]:.1f}" for i in picked])
    axes.set_yticks([(n - 1 - i) * H + H / 2 - 0.5 for i in picked], labels=[f"{grid.values[i]:.1f}" for i in picked])
    for spine in axes.spines.values():
        spine.set_visible(False)
    style.name_axes(axes, x="z1, at quantiles of the prior", y="decoded")


def _draw_maps(figure: Figure, grid: Grid, place: tuple[float, float, float]) -> None:
    """Up to nine small maps of the columns that change most over the plane: orange high, blue low."""
    assert grid.features is not None
    n = len(grid.values)
    values = grid.features(grid.cells.reshape(n, n, -1))
    order = np.argsort(-values.std((0, 1)), kind="stable")[:MAX_MAPS]
    across = int(np.ceil(np.sqrt(len(order))))
    left, bottom, side = place
    cell = side / across
    room = cell - 0.24
    names = style.clean_names(grid.features.names, max(6, int(cell / 0.072)))
    for rank, column in enumerate(order.tolist()):
        x, y = left + (rank % across) * cell, bottom + side - (rank // across + 1) * cell
        axes = style.place(figure, x, y, room, room)
        share = np.clip(values[..., column] / 2, -1, 1)[..., None]
        ink = np.where(share > 0, np.array([217, 100, 30]), np.array([36, 99, 168]))
        axes.imshow((PAPER + np.abs(share) * (ink - PAPER)).astype(np.uint8), aspect="auto", interpolation="bilinear")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=GRID)
        style.note(axes, 0, 1 + 0.1 / room, names[column], fontsize=8, color=INK)
    some = f": the {len(order)} of {values.shape[2]:,} that change most" if values.shape[2] > len(order) else ""
    span = f"z1 →, z2 ↑, each from {grid.values[0]:.1f} to {grid.values[-1]:.1f}{some}"
    look: dict[str, Any] = {"fontsize": 8.5, "color": MUTED, "fontfamily": style.FONT}
    figure.text(left / style.WIDTH, (bottom - 0.18) / float(figure.get_figheight()), span, **look)


def _draw_classes(figure: Figure, latent: Latent) -> None:
    """Legend of the classes in one or two lines at the bottom."""
    shown = latent.classes[: style.MAX_CLASSES]
    rows = 2 if len(shown) > 10 else 1
    columns = -(-len(shown) // rows)
    colours, markers = style.class_look(len(shown))
    axes = style.place(figure, 0.35, 0.08, style.WIDTH - 0.6, 0.2 * rows)
    axes.axis("off")
    axes.set_xlim(0, columns)
    axes.set_ylim(-rows, 0)
    room = (style.WIDTH - 0.6) / max(columns, 6)
    names = style.clean_names(shown, max(2, int((room - 0.25) / 0.08)))
    stretch = max(columns, 6) / columns
    for i, name in enumerate(names):
        x, y = (i % columns) / stretch + 0.05, -(i // columns) - 0.5
        axes.scatter([x], [y], s=34, color=colours[i], marker=markers[i], linewidths=0)
        style.write(axes, x + 0.16 / room / stretch, y, name, fontsize=8.5, color=INK)


@dataclass(frozen=True)
class Traversals:
    """One latent dimension varies while the others stay at 0."""

    dims: Ints  # (r,) the dimensions, highest KL first
    kl: Floats  # (r,) nats per example
    values: Floats  # (c,)
    cells: Floats  # (r, c, *shape)
    features: Features | None
    are_curves: bool = False  # whether the columns form a sequence


def active_dims(kl: Floats, limit: int = 10) -> Ints:
    """Up to `limit` dimensions of highest KL (d,) in nats; those below 0.01 nats only if there is no other."""
    kl = np.nan_to_num(np.asarray(kl, dtype=np.float64))
    order = np.argsort(-kl, kind="stable")
    used = order[kl[order] > 0.01]
    return (used if len(used) else order[:1])[:limit]


def traversal_values(steps: int = 11) -> Floats:
    """The values of a traversal, from -2.5 to 2.5."""
    return np.linspace(-REACH, REACH, steps)


def traversal_points(dims: Ints, latent: int, steps: int = 11) -> Floats:
    """Points (len(dims) * steps, latent): each dimension in turn takes the values, the others are 0."""
    points = np.zeros((len(dims), steps, latent))
    points[np.arange(len(dims)), :, dims] = traversal_values(steps)
    return points.reshape(-1, latent)


def traversals_data(
    decoded: Floats, dims: Ints, kl: Floats, features: Features | None = None, curves: bool = False
) -> Traversals:
    """The decoded points (r * c, *shape) of `traversal_points`. kl: (d,) of all dimensions."""
    cells = np.asarray(decoded).reshape(len(dims), -1, *np.shape(decoded)[1:])
    kl = np.asarray(kl, dtype=np.float64)
    return Traversals(np.asarray(dims), kl[dims], traversal_values(cells.shape[1]), cells, features, curves)


def plot_traversals(data: Traversals, path: str | Path, title: str = "One dimension at a time") -> Path:
    """Draws a row of images per dimension; for a table, a chart of its columns per dimension."""
    subtitle = "one latent dimension varies, the others stay at 0, highest KL first"
    labels = [f"z{dim + 1}" for dim in data.dims.tolist()]
    notes = [f"{number(kl)} nats" for kl in data.kl.tolist()]
    if is_image(data.cells.shape[2:]):
        heads = [f"{value:g}" for value in data.values.tolist()]
        return style.save(_strips(title, subtitle, data.cells, labels, notes, heads), path)
    names = [f"{label}  ·  {note}" for label, note in zip(labels, notes, strict=True)]
    walks = Walks(title, subtitle, data.cells, data.values, names, data.features)
    return style.save(draw_curves(walks) if data.are_curves else draw_walks(walks), path)


@dataclass(frozen=True)
class Interpolations:
    """Straight lines between the latents of two examples."""

    names: list[tuple[str, str]]  # what each end is
    ends: Floats  # (p, 2, *shape) the examples
    cells: Floats  # (p, c, *shape) decoded along the way
    features: Features | None
    are_curves: bool = False


def between(starts: Floats, stops: Floats, steps: int = 9) -> Floats:
    """Points (p * steps, L) on the straight lines from starts (p, L) to stops (p, L), both included."""
    share = np.linspace(0, 1, steps)[None, :, None]
    points = np.asarray(starts)[:, None] * (1 - share) + np.asarray(stops)[:, None] * share
    return points.reshape(-1, np.shape(starts)[1])


def interpolations_data(
    decoded: Floats,
    ends: Floats,
    names: Sequence[tuple[str, str]],
    features: Features | None = None,
    curves: bool = False,
) -> Interpolations:
    """The decoded points (p * c, *shape) of `between`, and the examples (p, 2, *shape) at their ends."""
    ends = np.asarray(ends)
    cells = np.asarray(decoded).reshape(len(ends), -1, *ends.shape[2:])
    return Interpolations([(str(a), str(b)) for a, b in names], ends, cells, features, curves)


def plot_interpolations(data: Interpolations, path: str | Path, title: str = "From one example to another") -> Path:
    """Draws a row per pair: the example, the path through the latent space, the other example."""
    subtitle = "decoded along the straight line between the latents of two validation examples"
    images = is_image(data.cells.shape[2:])
    pairs = [tuple(style.clean(end, 10 if images else 15) for end in pair) for pair in data.names]
    if images:
        cells = np.concatenate([data.ends[:, :1], data.cells, data.ends[:, 1:]], axis=1)
        labels = [f"{a} → {b}" if a or b else "" for a, b in pairs]
        heads = ["example", *[""] * data.cells.shape[1], "example"]
        return style.save(_strips(title, subtitle, cells, labels, [], heads, apart=True), path)
    names = [f"{a} → {b}" if a or b else f"pair {i + 1}" for i, (a, b) in enumerate(pairs)]
    share = np.linspace(0, 1, data.cells.shape[1])
    walks = Walks(title, subtitle, data.cells, share, names, data.features, data.ends)
    return style.save(draw_curves(walks) if data.are_curves else draw_walks(walks), path)


def _strips(
    title: str,
    subtitle: str,
    cells: Floats,
    labels: Sequence[str],
    notes: Sequence[str],
    heads: Sequence[str],
    apart: bool = False,
) -> Figure:
    """Rows of images (r, c, H, W[, C]) with names on the left; `apart` separates the outer columns."""
    r, c, H, W = cells.shape[:4]
    gap = max(1, W // 14)
    pixels = examples.as_pixels(cells.reshape(r * c, *cells.shape[2:])).reshape(r, c, H, W, 3)
    moved = 3 * gap if apart else 0
    sheet = np.full((r * (H + gap) - gap, c * (W + gap) - gap + 2 * moved, 3), PAPER, dtype=np.uint8)
    across = [j * (W + gap) + moved * ((j > 0) + (j == c - 1)) for j in range(c)]
    for j, x in enumerate(across):
        for i in range(r):
            sheet[i * (H + gap) : i * (H + gap) + H, x : x + W] = pixels[i, j]
    left = 0.45 + max(0.078 * max((len(label) for label in labels), default=0), 0.72 if notes else 0.3)
    scale = examples.fit_scale(sheet.shape[0], sheet.shape[1], (8.6, style.WIDTH - left - 0.25), max(H, W))
    height = style.HEAD + 0.3 + sheet.shape[0] * scale / style.DPI + 0.2
    figure = style.canvas(height)
    style.heading(figure, title, subtitle)
    axes = examples._show(figure, sheet, left, height - style.HEAD - 0.3, scale)
    inch = style.DPI / scale
    for x, head in zip(across, heads, strict=True):
        style.write(axes, x + W / 2, -0.06 * inch, head, ha="center", va="bottom", fontsize=8.5)
    for i, label in enumerate(labels):
        y = i * (H + gap) + H / 2
        shift = 0.08 * inch if notes else 0
        style.write(axes, -0.12 * inch, y - shift, label, ha="right", color=INK)
        if notes:
            style.write(axes, -0.12 * inch, y + 0.09 * inch, notes[i], ha="right", fontsize=8)
    return figure


__all__ = [
    "active_dims",
    "between",
    "grid_data",
    "grid_points",
    "interpolations_data",
    "plot_interpolations",
    "plot_map",
    "plot_traversals",
    "quantiles",
    "traversal_points",
    "traversal_values",
    "traversals_data",
]
