"""Pictures of a data set: average appearance, values, classes, columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from vaelab.plots import examples, style
from vaelab.plots.samples import sheets
from vaelab.plots.style import BLUE, GREY, GRID, INK, MUTED, ORANGE, Floats, Ints
from vaelab.wording import number

MAX_COLUMNS = 30
MAX_GROUPS = 5  # most classes shown in a small histogram
BINS = 24
NAMED_BARS = 16
CUT = 4  # times the next bar
ROTATED = 16  # most columns with names above a correlation matrix


@dataclass(frozen=True)
class Overview:
    """Mean and standard deviation of a set of images, and the intensities and classes in it."""

    mean: Floats  # (H, W[, C]) in [0, 1]
    std: Floats  # (H, W[, C]) in the units of `mean`
    edges: Floats  # (n + 1,)
    shares: Floats  # (n,) of all pixel values
    classes: list[str]
    counts: Ints  # (classes,)


def overview_data(
    mean: Floats, std: Floats, histogram: Mapping[str, Sequence[float]], classes: Mapping[str, int] | None = None
) -> Overview:
    """Mean and standard deviation per pixel, where 0 is black and 1 is white, and counts as shares.

    histogram: {"edges": (n + 1), "counts": (n)}. classes: examples by name.
    """
    counts = np.asarray(histogram["counts"], dtype=np.float64)
    names = [str(name) for name in classes or ()]
    return Overview(
        np.asarray(mean, np.float64),
        np.asarray(std, np.float64),
        np.asarray(histogram["edges"], dtype=np.float64),
        counts / max(1.0, float(counts.sum())),
        names,
        np.array(list((classes or {}).values()), dtype=np.int64),
    )


def plot_overview(data: Overview, path: str | Path, title: str = "The data") -> Path:
    """Draws the mean and the standard-deviation image, the histogram of intensities, and the class counts."""
    classes = 1.75 if data.classes else 0.0
    height = style.HEAD + 0.35 + 2.25 + 0.45 + classes
    figure = style.canvas(height)
    top = height - style.HEAD - 0.35
    brightest = float(data.std.max(initial=0)) or 1.0
    H, W = data.mean.shape[:2]
    for left, image, name in (
        (0.35, data.mean, "mean"),
        (2.85, data.std / brightest, "standard deviation"),
    ):
        scale = 2.2 * style.DPI / max(H, W)
        axes = examples._show(figure, examples.as_pixels(image[None])[0], left, top, scale)
        style.name_axes(axes, y=name)
    style.write(axes, -0.5, H - 0.5 + 0.16 * style.DPI / scale, f"white: ±{brightest:.0%} of the range", fontsize=8.5)
    _draw_histogram(style.chart(figure, 5.85, top - 2.2, 2.9, 2.2, grid="y"), data)
    if data.classes:
        _draw_counts(style.chart(figure, 0.35, 0.42, 8.4, classes - 0.75, grid="none"), data)
    peak = int(data.shares.argmax())
    ends = {0: "at the dark end", len(data.shares) - 1: "at the bright end"}
    where = ends.get(peak, f"near {number((data.edges[peak] + data.edges[peak + 1]) / 2)}")
    finding = f"training examples  ·  {data.shares[peak]:.0%} of all pixels are {where}"
    style.heading(figure, title, finding)
    return style.save(figure, path)


def _draw_histogram(axes: Axes, data: Overview) -> None:
    """Shares by intensity; a bar far above the others is cut off and labelled to keep the others visible."""
    widths = np.diff(data.edges)
    centres = data.edges[:-1] + widths / 2
    axes.bar(centres, data.shares, width=0.92 * widths, color=BLUE, linewidth=0)
    rest = np.sort(data.shares)[::-1]
    top = 1.06 * max(float(rest.max(initial=0)), 1e-9)
    if len(rest) > 2 and rest[0] > CUT * rest[1] > 0:
        top = 1.5 * float(rest[1])
        tall = int(data.shares.argmax())
        left = tall < len(rest) / 2
        beside = centres[tall] + (1.5 if left else -1.5) * widths[tall]
        style.write(axes, beside, 0.95 * top, f"▲ {rest[0]:.0%}", ha="left" if left else "right", color=BLUE)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}" if top >= 0.05 else f"{100 * share:.2g}%")
    style.name_axes(axes, x="intensity", y="share of all pixels")


def _draw_counts(axes: Axes, data: Overview) -> None:
    """A bar per class with its count, in class order, as many as fit."""
    shown = min(len(data.classes), 3 * NAMED_BARS)
    counts = data.counts[:shown]
    place = np.arange(shown)
    colours, _ = style.class_look(len(data.classes))
    axes.bar(place, counts, width=0.72, color=colours[:shown], linewidth=0)
    axes.set_xlim(-0.6, max(shown, 6) - 0.4)
    top = float(counts.max(initial=1))
    axes.set_ylim(0, top * 1.02)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    few = shown <= NAMED_BARS
    if few:
        for x, count in zip(place.tolist(), counts.tolist(), strict=True):
            style.write(axes, x, count + 0.03 * top, f"{count:,}", ha="center", va="bottom", fontsize=8.5, color=INK)
    letters = max(2, int(8.0 / max(shown, 6) / 0.075)) if few else 4
    names = style.clean_names(data.classes, letters)[:shown]
    style.named_ticks(axes, "x", place.tolist(), names)
    axes.tick_params(axis="x", labelsize=9 if few else 7)
    more = f"  ·  first {shown} of {len(data.classes)}" if shown < len(data.classes) else ""
    spread = "" if few else f", {data.counts.min():,} to {data.counts.max():,}"
    style.note(axes, 0, 1.27, f"training examples of each class{spread}{more}", color=INK, fontsize=9.5)


@dataclass(frozen=True)
class Examples:
    """A few images of each class."""

    classes: list[str]
    images: list[Floats]  # per class (n, *shape) in [0, 1]


def examples_data(groups: Sequence[tuple[str, Floats]]) -> Examples:
    """Images of each class by name, at most twenty classes; one group of any name if there are no classes."""
    kept = [(str(name), np.asarray(images)) for name, images in groups if len(images)][: style.MAX_CLASSES]
    return Examples([name for name, _ in kept], [images for _, images in kept])


def plot_examples(data: Examples, path: str | Path, title: str = "Examples") -> Path:
    """Draws one row of images per class, or a sheet of them if there are no classes."""
    if not data.images:
        return style.save(examples._empty(title, "no examples"), path)
    shape = data.images[0].shape[1:]
    H, W = shape[:2]
    gap = max(1, W // 14)
    if len(data.images) == 1:
        sheet = examples.mosaic(examples.as_pixels(data.images[0]), min(12, len(data.images[0])), gap)
        names: list[str] = []
    else:
        columns = max(len(images) for images in data.images)
        cells = np.full((len(data.images), columns, H, W, 3), examples.PAPER, dtype=np.uint8)
        for row, images in enumerate(data.images):
            cells[row, : len(images)] = examples.as_pixels(images)
        sheet = examples.mosaic(cells.reshape(-1, H, W, 3), columns, gap)
        names = style.clean_names(data.classes, 14)
    found = "the first training examples of each class" if names else "the first training examples"
    return style.save(sheets(title, found, [("", sheet, names)], gap, (H, W)), path)


@dataclass(frozen=True)
class Columns:
    """Histograms of the columns of a table, stacked by class if there are few classes."""

    names: list[str]
    edges: Floats  # (columns, bins + 1)
    counts: Ints  # (groups, columns, bins)
    groups: list[str]  # class names, or one empty name
    sizes: Ints  # (groups,) examples of each
    total: int  # columns of the table


def columns_data(
    rows: Floats,
    features: Sequence[str] = (),
    labels: Ints | None = None,
    classes: Sequence[str] = (),
    limit: int = MAX_COLUMNS,
) -> Columns:
    """Counts of the first `limit` columns of rows (n, D) in 24 equal bins from minimum to maximum.

    labels: (n,) codes into `classes`; up to five classes are counted separately.
    """
    rows = np.asarray(rows, dtype=np.float64)
    n, D = rows.shape
    shown = min(D, limit)
    apart = labels is not None and 1 < len(classes) <= MAX_GROUPS
    codes = np.asarray(labels) if apart else np.zeros(n, dtype=np.int64)
    groups = [str(name) for name in classes] if apart else [""]
    edges = np.empty((shown, BINS + 1))
    counts = np.zeros((len(groups), shown, BINS), dtype=np.int64)
    for column in range(shown):
        values = rows[:, column]
        low, high = float(values.min()), float(values.max())
        edges[column] = np.linspace(low, high, BINS + 1) if high > low else low + np.linspace(-0.5, 0.5, BINS + 1)
        for group in range(len(groups)):
            counts[group, column] = np.histogram(values[codes == group], edges[column])[0]
    names = [str(name) for name in features] or [f"feature {i + 1}" for i in range(D)]
    return Columns(names[:shown], edges, counts, groups, np.bincount(codes, minlength=len(groups)), D)


def plot_columns(data: Columns, path: str | Path, title: str = "The data") -> Path:
    """Draws a small histogram per column, each scaled to its own range and height."""
    shown = len(data.names)
    across = 5 if shown > 8 else min(4, max(2, shown))
    rows = -(-shown // across)
    cell = 1.12 if rows > 2 else 1.5
    height = style.HEAD + 0.2 + cell * rows + 0.1
    figure = style.canvas(height)
    axes = style.place(figure, 0.3, 0.1, style.WIDTH - 0.5, cell * rows)
    axes.axis("off")
    axes.set_xlim(0, across)
    axes.set_ylim(-rows, 0)
    colours = [BLUE] if len(data.groups) == 1 else [BLUE, ORANGE, "#44aa99", "#aa4499", "#999933"]
    tallest = np.maximum(1, data.counts.sum(0).max(1))  # (columns,)
    index = np.arange(shown)
    x0, y0 = index % across, -(index // across) - 0.78
    share = np.arange(BINS + 1) / BINS * 0.9
    base = np.zeros((shown, BINS))
    for group, colour in zip(data.counts, colours, strict=False):
        tall = group / tallest[:, None] * 0.55
        left, right = x0[:, None] + share[:-1], x0[:, None] + share[1:] - 0.004
        low, high = y0[:, None] + base, y0[:, None] + base + tall
        corners = [(left, low), (left, high), (right, high), (right, low)]
        verts = np.stack([np.stack(np.broadcast_arrays(x, y), -1) for x, y in corners], 2).reshape(-1, 4, 2)
        axes.add_collection(PolyCollection(verts[group.ravel() > 0], facecolors=colour, linewidths=0))
        base += tall
    axes.hlines(y0, x0, x0 + 0.9, colors=GREY, linewidth=0.8)
    letters = int((style.WIDTH - 0.5) / across * 0.9 / 0.076)
    for i, name in enumerate(style.clean_names(data.names, letters)):
        style.write(axes, x0[i], y0[i] + 0.66, name, fontsize=8.5, color=INK)
        style.write(axes, x0[i], y0[i] - 0.09, number(data.edges[i, 0]), fontsize=7.5)
        style.write(axes, x0[i] + 0.9, y0[i] - 0.09, number(data.edges[i, -1]), fontsize=7.5, ha="right")
    if len(data.groups) > 1:
        entries = [
            (colour, "■", f"{style.clean(name, 14)} {size:,}")
            for colour, name, size in zip(colours, data.groups, data.sizes.tolist(), strict=False)
        ]
        examples._key(axes, entries)
    more = f"first {shown} of {data.total:,} columns" if shown < data.total else f"{shown} columns"
    style.heading(
        figure, title, f"{more} of {data.sizes.sum():,} training examples, each from its minimum to its maximum"
    )
    return style.save(figure, path)


@dataclass(frozen=True)
class Correlations:
    """Pearson correlations of the columns of a table that vary."""

    names: list[str]
    matrix: Floats  # (c, c)
    strongest: tuple[int, int] | None  # the pair with the largest absolute correlation
    total: int  # columns of the table


def correlations_data(rows: Floats, features: Sequence[str] = (), limit: int = MAX_COLUMNS) -> Correlations:
    """Correlations between the first `limit` varying columns of rows (n, D)."""
    rows = np.asarray(rows, dtype=np.float64)
    names = [str(name) for name in features] or [f"feature {i + 1}" for i in range(rows.shape[1])]
    kept = np.flatnonzero(rows.max(0) > rows.min(0))[:limit]
    centred = rows[:, kept] - rows[:, kept].mean(0)
    scaled = centred / np.sqrt((centred**2).sum(0))
    matrix = np.clip(scaled.T @ scaled, -1, 1)
    strongest = None
    if len(kept) > 1:
        away = np.abs(matrix) - 2 * np.eye(len(kept))
        i, j = divmod(int(away.argmax()), len(kept))
        strongest = (min(i, j), max(i, j))
    return Correlations([names[i] for i in kept.tolist()], matrix, strongest, rows.shape[1])


def plot_correlations(data: Correlations, path: str | Path, title: str = "Correlations") -> Path:
    """Draws the matrix as a heat map: orange for positive correlations, blue for negative ones."""
    count = len(data.names)
    if not count:
        return style.save(examples._empty(title, "no column varies"), path)
    names = style.clean_names(data.names, 24)
    left = 0.5 + 0.066 * max(len(name) for name in names)
    side = float(np.clip(0.42 * count, 1.6, min(5.6, style.WIDTH - left - 1.5)))
    above = 0.15 + (0.052 * max(len(name) for name in names) if count <= ROTATED else 0.25)
    height = style.HEAD + above + side + 0.2
    figure = style.canvas(height)
    axes = style.place(figure, left, 0.2, side, side)
    _draw_matrix(axes, data.matrix, names)
    _draw_scale(style.place(figure, left + side + 0.3, 0.25, 0.16, min(1.6, side - 0.1)))
    finding = "one column varies"
    if data.strongest is not None:
        i, j = data.strongest
        pair = " and ".join(style.clean(data.names[k], 30).replace(r"\$", "$") for k in (i, j))
        finding = f"strongest: {pair}, {data.matrix[i, j]:.2f}"
    more = f"first {count} of {data.total:,} columns  ·  " if count < data.total else ""
    style.heading(figure, title, more + finding)
    return style.save(figure, path)


def _shades(values: Floats) -> Floats:
    """Values in [-1, 1] as colours (..., 3): orange above 0, blue below, white at 0."""
    share = np.clip(values, -1, 1)[..., None]
    ink = np.where(share > 0, np.array([217, 100, 30]), np.array([36, 99, 168]))
    return np.asarray(examples.PAPER + np.abs(share) * (ink - examples.PAPER)) / 255


def _draw_matrix(axes: Axes, matrix: Floats, names: Sequence[str]) -> None:
    count = len(names)
    axes.imshow(_shades(matrix), aspect="auto", interpolation="nearest")
    small = 8.5 if count <= 16 else 7.5
    if count <= ROTATED:
        axes.set_yticks(range(count), labels=list(names))
        axes.set_xticks(range(count), labels=list(names), rotation=45, ha="left", rotation_mode="anchor")
    else:  # too many names: number the columns
        axes.set_yticks(range(count), labels=[f"{name}  {i + 1}" for i, name in enumerate(names)])
        axes.set_xticks(range(count), labels=[str(i + 1) for i in range(count)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=small, labelcolor=INK, labelfontfamily=style.FONT, pad=3)
    for spine in axes.spines.values():
        spine.set(color=GRID)
    if count <= 12:
        for i in range(count):
            for j in range(count):
                dark = abs(matrix[i, j]) > 0.6
                look = {"ha": "center", "fontsize": 8, "color": "white" if dark else MUTED}
                style.write(axes, j, i, f"{matrix[i, j]:.2f}", **look)


def _draw_scale(axes: Axes) -> None:
    axes.imshow(_shades(np.linspace(1, -1, 64)[:, None]), aspect="auto", extent=(0, 1, -1, 1))
    axes.set_xticks([])
    axes.set_yticks([-1, 0, 1], labels=["−1 negative", "0", "+1 positive"])
    axes.yaxis.tick_right()
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED, labelfontfamily=style.FONT)
    for spine in axes.spines.values():
        spine.set_visible(False)


__all__ = [
    "columns_data",
    "correlations_data",
    "examples_data",
    "overview_data",
    "plot_columns",
    "plot_correlations",
    "plot_examples",
    "plot_overview",
]
