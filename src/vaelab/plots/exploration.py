"""Pictures of a set of images: average appearance, intensities, classes, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from vaelab.plots import examples, style
from vaelab.plots.samples import sheets
from vaelab.plots.style import BLUE, INK, Floats, Ints
from vaelab.wording import number, percent

NAMED_BARS = 16
CUT = 4  # times the next bar


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
    white = f"white: ±{percent(brightest)} of the range"
    style.write(axes, -0.5, H - 0.5 + 0.16 * style.DPI / scale, white, fontsize=8.5)
    _draw_histogram(style.chart(figure, 5.85, top - 2.2, 2.9, 2.2, grid="y"), data)
    if data.classes:
        _draw_counts(style.chart(figure, 0.35, 0.42, 8.4, classes - 0.75, grid="none"), data)
    peak = int(data.shares.argmax())
    ends = {0: "at the dark end", len(data.shares) - 1: "at the bright end"}
    where = ends.get(peak, f"near {number((data.edges[peak] + data.edges[peak + 1]) / 2)}")
    finding = f"training examples  ·  {percent(data.shares[peak])} of all pixels are {where}"
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
        style.write(axes, beside, 0.95 * top, f"▲ {percent(rest[0])}", ha="left" if left else "right", color=BLUE)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(lambda share, _: percent(share) if top >= 0.05 else f"{100 * share:.2g} %")
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


__all__ = ["examples_data", "overview_data", "plot_examples", "plot_overview"]
