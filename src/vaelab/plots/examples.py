"""Pictures of single examples: reconstructions next to their originals, and new samples. Images or tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaelab.plots import style
from vaelab.plots.features import Features, features_data, mean_square, moments
from vaelab.plots.rows import draw_rows, key, rows_data
from vaelab.plots.style import BLUE, INK, ORANGE, Floats
from vaelab.wording import number

Pixels = NDArray[np.uint8]

MAX_EXAMPLES = 12
MAX_CURVES = 30
MAX_CELL = 0.96  # inches
PAPER = 255


def is_image(shape: Sequence[int]) -> bool:
    """Whether an example of this shape is a picture: (H, W), (H, W, 1) or (H, W, 3)."""
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3))


def as_pixels(images: Floats) -> Pixels:
    """Images (n, H, W[, 1 or 3]) in [0, 1] as (n, H, W, 3) bytes; clipped, and NaN is black."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    n, H, W, _ = images.shape
    pixels = (np.clip(np.nan_to_num(images), 0, 1) * 255).round().astype(np.uint8)
    return np.broadcast_to(pixels, (n, H, W, 3)).copy()


def mosaic(cells: Pixels, columns: int, gap: int) -> Pixels:
    """Cells (n, H, W, 3) row by row with `gap` white pixels between them: one array, one draw call."""
    n, H, W, _ = cells.shape
    rows = -(-n // columns)
    sheet = np.full((rows, columns, H + gap, W + gap, 3), PAPER, dtype=np.uint8)
    sheet.reshape(rows * columns, H + gap, W + gap, 3)[:n, :H, :W] = cells
    flat = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * (H + gap), columns * (W + gap), 3)
    return flat[: rows * (H + gap) - gap, : columns * (W + gap) - gap]


def difference(originals: Floats, reconstructions: Floats) -> Pixels:
    """Where a reconstruction is too bright (orange) or too dark (blue), else white; (n, H, W, 3)."""
    error = np.nan_to_num(np.asarray(reconstructions, np.float64) - np.asarray(originals, np.float64))
    error = error.mean(-1) if error.ndim == 4 else error
    weight = np.clip(np.abs(error), 0, 1)[..., None] ** 0.7
    ink = np.where(error[..., None] > 0, np.array([217, 100, 30]), np.array([36, 99, 168]))
    return np.asarray(PAPER + weight * (ink - PAPER)).round().astype(np.uint8)


def fit_scale(height: int, width: int, room: tuple[float, float], cell: int) -> float:
    """Screen pixels per pixel for a mosaic of (height, width) in `room` = (height, width) inches.

    A whole number keeps pixels crisp and is used if it wastes less than a quarter of the room.
    """
    most = min(room[0] * style.DPI / height, room[1] * style.DPI / width, MAX_CELL * style.DPI / cell)
    return float(np.floor(most)) if most >= 1 and np.floor(most) / most >= 0.75 else float(most)


def _show(figure: Figure, sheet: Pixels, left: float, top: float, scale: float) -> Axes:
    """Draws a mosaic at `scale` with its upper left corner at (left, top) inches; units are its pixels."""
    H, W, _ = sheet.shape
    height, width = H * scale / style.DPI, W * scale / style.DPI
    axes = style.place(figure, left, top - height, width, height)
    axes.axis("off")
    axes.imshow(sheet, interpolation="nearest" if scale == int(scale) else "antialiased", aspect="auto")
    axes.set_xlim(-0.5, W - 0.5)
    axes.set_ylim(H - 0.5, -0.5)
    return axes


@dataclass(frozen=True)
class Reconstructions:
    """A few examples and their reconstructions."""

    originals: Floats  # (n, *shape)
    reconstructions: Floats  # (n, *shape)
    error: Floats  # (n,) root of the mean squared difference, over the values that are there
    captions: list[str]  # n of them, or none
    features: Features | None  # the columns of a table
    are_curves: bool = False  # whether unnamed features form a sequence


def reconstructions_data(
    originals: Floats,
    reconstructions: Floats,
    *,
    captions: Sequence[str] = (),
    features: Features | Sequence[str] | None = None,
    curves: bool = False,
    limit: int = MAX_EXAMPLES,
) -> Reconstructions:
    """The first `limit` pairs of originals and reconstructions, each (n, *shape), and their errors.

    features: the columns of a table, or their names; by default with the spread of the originals.
    """
    originals, reconstructions = np.asarray(originals)[:limit], np.asarray(reconstructions)[:limit]
    assert originals.shape == reconstructions.shape
    apart = reconstructions.astype(np.float64) - originals.astype(np.float64)
    error = mean_square(apart.reshape(len(apart), -1).T) if len(apart) else np.empty(0)
    if not isinstance(features, Features) and not is_image(originals.shape[1:]):
        flat = originals.reshape(len(originals), -1).astype(np.float64)
        features = features_data(*moments(flat), features or ())
    known = features if isinstance(features, Features) else None
    captions = [str(c) for c in captions][: len(originals)]
    return Reconstructions(originals, reconstructions, error, captions, known, curves)


def plot_reconstructions(data: Reconstructions, path: str | Path, title: str = "Reconstructions") -> Path:
    """Draws originals above reconstructions; rows of a table as a dot plot, or as curves if they are sequences."""
    shape = data.originals.shape[1:]
    if not len(data.originals):
        return style.save(_empty(title, "no examples"), path)
    if is_image(shape):
        figure = _reconstructed_images(data, title)
    elif data.are_curves:
        figure = _reconstructed_curves(data, title)
    else:
        assert data.features is not None
        rows, made = (part.reshape(len(part), -1) for part in (data.originals, data.reconstructions))
        figure = draw_rows(rows_data(rows, made, data.features), data.captions, title)
    return style.save(figure, path)


def _empty(title: str, reason: str) -> Figure:
    figure = style.canvas(style.HEAD + 0.1)
    style.heading(figure, title, reason)
    return figure


def _reconstructed_images(data: Reconstructions, title: str) -> Figure:
    n, H, W = data.originals.shape[:3]
    gap = max(1, W // 14)
    rows = [
        as_pixels(data.originals),
        as_pixels(data.reconstructions),
        difference(data.originals, data.reconstructions),
    ]
    sheet = mosaic(np.concatenate(rows), n, gap)
    scale = fit_scale(sheet.shape[0], sheet.shape[1], (6.0, 7.6), max(H, W))
    head = style.HEAD + (0.3 if data.captions else 0.08)
    height = head + sheet.shape[0] * scale / style.DPI + 0.45
    figure = style.canvas(height)
    style.heading(
        figure,
        title,
        f"{n} validation examples  ·  typical error per pixel {number(data.error.mean())}",
    )
    axes = _show(figure, sheet, 1.25, height - head, scale)
    for row, name in enumerate(("original", "reconstruction", "difference")):
        style.write(axes, -gap - 2, row * (H + gap) + H / 2, name, ha="right", color=INK)
    letters = max(2, int(W * scale / 6.5))
    for column, caption in enumerate(data.captions):
        style.write(axes, column * (W + gap) + W / 2, -gap, style.clean(caption, letters), ha="center", va="bottom")
    foot = sheet.shape[0] + 0.2 * style.DPI / scale
    style.write(axes, 0, foot, "too bright", color=ORANGE, fontsize=8.5)
    style.write(axes, 0.8 * style.DPI / scale, foot, "too dark", color=BLUE, fontsize=8.5)
    return figure


def _reconstructed_curves(data: Reconstructions, title: str) -> Figure:
    """Small multiples in one pair of axes: the example in dark, its reconstruction in orange."""
    n = len(data.originals)
    x, y = data.originals.reshape(n, -1).astype(float), data.reconstructions.reshape(n, -1).astype(float)
    D = x.shape[1]
    columns = 4 if n > 6 else min(3, n)
    rows = -(-n // columns)
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    span = (high - low) or 1.0
    height = style.HEAD + 0.75 + 1.05 * rows
    figure = style.canvas(height)
    axes = style.chart(figure, 0.3, 0.3, style.WIDTH - 0.6, height - style.HEAD - 0.65, grid="none")
    axes.axis("off")
    place = np.linspace(0.04, 0.96, D)
    for values, colour, width in ((x, INK, 1.3), (y, ORANGE, 1.3)):
        shares = np.clip((values - low) / span, -0.1, 1.1)
        across = np.arange(n)[:, None] % columns + place
        up = -(np.arange(n)[:, None] // columns) + 0.05 + 0.72 * shares
        axes.add_collection(
            LineCollection(list(np.stack([across, up], -1)), colors=colour, linewidths=width, alpha=0.85)
        )
    for i in range(n):
        caption = data.captions[i] if data.captions else f"example {i + 1}"
        text = f"{style.clean(caption, 19)}  ·  error {number(data.error[i])}"
        style.write(axes, i % columns + 0.04, -(i // columns) + 0.9, text, fontsize=8.5)
    axes.set_xlim(0, columns)
    axes.set_ylim(1 - rows, 1.0)
    style.heading(figure, title, f"{n} validation examples over {D} features; all share one scale")
    key(axes, ((INK, "—", "original"), (ORANGE, "—", "reconstruction")))
    return figure


def plot_curves(curves: Floats, path: str | Path, title: str = "Curves") -> Path:
    """Draws curves (n, D) in one plot; at most the first MAX_CURVES."""
    every = np.asarray(curves, np.float64)
    figure, _ = _curve_chart(every[:MAX_CURVES])
    left = f"the first {MAX_CURVES} of {len(every):,}, " if len(every) > MAX_CURVES else ""
    style.heading(figure, title, f"{left}over {every.shape[1]} features")
    return style.save(figure, path)


def _curve_chart(curves: Floats) -> tuple[Figure, Axes]:
    """Thin lines (n, D)."""
    figure = style.canvas(4.2)
    axes = style.chart(figure, 0.7, 0.55, style.WIDTH - 1.0, 4.2 - style.HEAD - 0.9)
    place = np.arange(curves.shape[1]) + 1.0
    axes.add_collection(
        LineCollection([np.column_stack([place, curve]) for curve in curves], colors=BLUE, linewidths=0.9, alpha=0.45)
    )
    axes.autoscale_view()
    axes.margins(x=0)
    style.name_axes(axes, x="feature", y="value")
    return figure, axes
