"""Models side by side: reconstructions of the same examples, and decoded samples of the same prior points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vaelab.plots import examples, style
from vaelab.plots.examples import is_image
from vaelab.plots.models import MAX_MODELS, colour, short_names
from vaelab.plots.space import Features, features_data
from vaelab.plots.style import GREY, GRID, INK, MUTED, Floats
from vaelab.wording import number

MAX_ROWS = 30  # columns of a table in one picture


@dataclass(frozen=True)
class Sides:
    """The same examples, and each model's reconstructions of them."""

    originals: Floats  # (n, *shape)
    names: list[str]
    cells: list[Floats]  # per model (n, *shape)
    errors: list[float]  # per model, root mean squared error; for a table in standard deviations
    columns: Floats | None  # (models, D) the same per column of a table
    features: Features | None


def sides_data(originals: Floats, reconstructions: Mapping[str, Floats], features: Features | None = None) -> Sides:
    """Originals (n, *shape) and the reconstructions of each model by name; tables are scaled by `features`."""
    originals = np.asarray(originals)
    chosen = dict(list(reconstructions.items())[:MAX_MODELS])
    cells = [np.asarray(cells) for cells in chosen.values()]
    assert all(one.shape == originals.shape for one in cells)
    if not is_image(originals.shape[1:]):
        features = features or features_data(np.zeros(originals[0].size), np.ones(originals[0].size))
    scale = 1.0 if features is None else features.scale
    wrong = [
        (one.astype(np.float64) - originals.astype(np.float64)).reshape(len(originals), -1) / scale for one in cells
    ]
    columns = [np.sqrt((one**2).mean(0)) for one in wrong]
    errors = [float(np.sqrt((one**2).mean())) for one in columns]
    table = None if features is None else np.array(columns).reshape(len(columns), -1)
    return Sides(originals, [str(name) for name in chosen], cells, errors, table, features)


def plot_sides(data: Sides, path: str | Path, title: str = "Reconstructions") -> Path:
    """Draws originals above one row of reconstructions per model; for a table, the error of every column by model."""
    if data.columns is None:
        return style.save(_image_rows(data, title), path)
    return style.save(_error_rows(data, title), path)


def _image_rows(data: Sides, title: str) -> Figure:
    n, H, W = data.originals.shape[:3]
    gap = max(1, W // 14)
    names = short_names(data.names, 20)
    cells = np.concatenate([examples.as_pixels(one) for one in (data.originals, *data.cells)])
    sheet = examples.mosaic(cells, n, gap)
    sheet = np.insert(sheet, [H] * 2 * gap, examples.PAPER, axis=0)  # a gap below the originals
    left = 0.45 + max(0.95, 0.08 * max((len(name) for name in names), default=0))
    scale = examples.fit_scale(sheet.shape[0], sheet.shape[1], (9.0, style.WIDTH - left - 0.25), max(H, W))
    height = style.HEAD + 0.05 + sheet.shape[0] * scale / style.DPI + 0.2
    figure = style.canvas(height)
    style.heading(figure, title, f"the same {n} examples, one row per model (its first seed)")
    axes = examples._show(figure, sheet, left, height - style.HEAD - 0.05, scale)
    inch = style.DPI / scale
    style.write(axes, -0.12 * inch, H / 2, "original", ha="right", color=INK)
    for i, (name, error) in enumerate(zip(names, data.errors, strict=True)):
        y = (i + 1) * (H + gap) + 2 * gap + H / 2
        style.write(axes, -0.12 * inch, y - 0.09 * inch, name, ha="right", color=colour(i), weight="bold")
        text = f"error {number(error)}"
        style.write(axes, -0.12 * inch, y + 0.09 * inch, text, ha="right", fontsize=8)
    return figure


def _error_rows(data: Sides, title: str) -> Figure:
    """A line per column of the table with a dot per model, largest errors first."""
    assert data.columns is not None
    assert data.features is not None
    worst = data.columns.max(0) if len(data.columns) else np.zeros(len(data.features.names))
    order = np.argsort(-worst, kind="stable")[:MAX_ROWS]
    count = len(order)
    height = style.HEAD + 0.95 + max(1.6, 0.19 * count) + 0.1
    figure = style.canvas(height)
    names = style.clean_names([data.features.names[i] for i in order.tolist()], 26)
    left = 0.35 + 0.072 * max(len(name) for name in names)
    axes = style.chart(figure, left, 0.6, style.WIDTH - left - 2.2, height - style.HEAD - 0.8)
    y = np.arange(count)
    found = data.columns[:, order]
    if len(found):
        axes.hlines(y, found.min(0), found.max(0), colors=GREY, linewidth=1.4)
    for i, errors in enumerate(found):
        axes.scatter(errors, y, s=34, color=colour(i), linewidths=0, zorder=3 + i, alpha=0.9)
    axes.axvline(1, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlim(0, max(1.05, 1.05 * float(worst.max(initial=0))))
    style.named_ticks(axes, "y", y.tolist(), names)
    style.name_axes(
        axes, x="root mean squared error in standard deviations of the column (dashed: predicting the mean)"
    )
    inch = 1 / (height - style.HEAD - 0.8)
    for i, (name, error) in enumerate(zip(short_names(data.names), data.errors, strict=True)):
        style.note(axes, 1.03, 1 - (0.1 + 0.42 * i) * inch, f"● {name}", color=colour(i), weight="bold")
        style.note(axes, 1.07, 1 - (0.28 + 0.42 * i) * inch, f"all columns {number(error)}", fontsize=8.5)
    total = data.columns.shape[1]
    more = f"  ·  the {count} of {total:,} columns with the largest errors" if count < total else ""
    style.heading(figure, title, f"{len(data.originals):,} validation examples, the first seed of each model{more}")
    return figure


@dataclass(frozen=True)
class Draws:
    """The same points of the prior decoded by each model."""

    names: list[str]
    cells: list[Floats]  # per model (n, *shape)
    spread: Floats | None  # (1 + models, 3, D): 5, 50, 95 % quantiles of the data and each model, for a table
    features: Features | None


def draws_data(draws: Mapping[str, Floats], originals: Floats | None = None, features: Features | None = None) -> Draws:
    """New examples (n, *shape) of each model by name. originals: (N, D) rows of a table to compare with."""
    chosen = dict(list(draws.items())[:MAX_MODELS])
    cells = [np.asarray(cells) for cells in chosen.values()]
    spread = None
    if originals is not None:
        features = features or features_data(np.mean(originals, 0), np.std(originals, 0))
        scaled = [features(one.reshape(len(one), -1)) for one in (np.asarray(originals), *cells)]
        spread = np.array([np.quantile(one, (0.05, 0.5, 0.95), axis=0) for one in scaled])
    return Draws([str(name) for name in chosen], cells, spread, features)


def plot_draws(data: Draws, path: str | Path, title: str = "New examples") -> Path:
    """Draws two rows of images per model; for a table, the spread of every column in the data and the samples."""
    if not data.cells:
        return style.save(examples._empty(title, "no samples"), path)
    if data.spread is None:
        return style.save(_drawn_images(data, title), path)
    return style.save(_drawn_columns(data, title), path)


def _drawn_images(data: Draws, title: str) -> Figure:
    H, W = data.cells[0].shape[1:3]
    gap = max(1, W // 14)
    rows = 2 if len(data.cells) <= 5 else 1
    across = min(14, -(-len(data.cells[0]) // rows))
    block = rows * (H + gap) - gap
    apart = 3 * gap
    cells = [examples.mosaic(examples.as_pixels(one[: rows * across]), across, gap) for one in data.cells]
    sheet = np.full((len(cells) * (block + apart) - apart, across * (W + gap) - gap, 3), examples.PAPER, dtype=np.uint8)
    for i, one in enumerate(cells):
        sheet[i * (block + apart) : i * (block + apart) + one.shape[0], : one.shape[1]] = one
    names = short_names(data.names, 20)
    left = 0.45 + max(0.5, 0.08 * max(len(name) for name in names))
    scale = examples.fit_scale(sheet.shape[0], sheet.shape[1], (9.0, style.WIDTH - left - 0.25), max(H, W))
    height = style.HEAD + 0.05 + sheet.shape[0] * scale / style.DPI + 0.2
    figure = style.canvas(height)
    style.heading(figure, title, "decoded from the same points of the prior, the first seed of each model")
    axes = examples._show(figure, sheet, left, height - style.HEAD - 0.05, scale)
    for i, name in enumerate(names):
        y = i * (block + apart) + block / 2
        style.write(axes, -0.12 * style.DPI / scale, y, name, ha="right", color=colour(i), weight="bold")
    return figure


def _drawn_columns(data: Draws, title: str) -> Figure:
    """A band for the data and a line with a dot per model for every column, worst fit first."""
    assert data.spread is not None
    assert data.features is not None
    held, found = data.spread[0], data.spread[1:]
    order = np.argsort(-np.abs(found - held).max((0, 1)), kind="stable")[:MAX_ROWS]
    count, models = len(order), len(found)
    each = min(0.16 + 0.075 * models, 9.6 / count)  # inches
    height = style.HEAD + 0.95 + max(1.6, each * count) + 0.1
    figure = style.canvas(height)
    names = style.clean_names([data.features.names[i] for i in order.tolist()], 26)
    left = 0.35 + 0.072 * max(len(name) for name in names)
    axes = style.chart(figure, left, 0.6, style.WIDTH - left - 2.2, height - style.HEAD - 0.8, grid="x")
    y = np.arange(count)
    tall = min(72 * each * 0.8, 24.0)  # points
    axes.hlines(y, held[0, order], held[2, order], colors=GRID, linewidth=tall)
    axes.vlines(held[1, order], y - 0.4, y + 0.4, colors=GREY, linewidth=1.6)
    shifts = (np.arange(models) - (models - 1) / 2) * 0.62 / max(models, 2)
    for i, (quantiles, shift) in enumerate(zip(found[:, :, order], shifts.tolist(), strict=True)):
        axes.hlines(y + shift, quantiles[0], quantiles[2], colors=colour(i), linewidth=1.5, zorder=3)
        axes.scatter(quantiles[1], y + shift, s=14, color=colour(i), linewidths=0, zorder=4)
    axes.set_ylim(count - 0.4, -0.6)
    axes.margins(x=0.03)
    style.named_ticks(axes, "y", y.tolist(), names)
    style.name_axes(axes, x="standard deviations of the column from its mean")
    inch = 1 / (height - style.HEAD - 0.8)
    entries = [(MUTED, "data"), *((colour(i), name) for i, name in enumerate(short_names(data.names)))]
    for i, (ink, name) in enumerate(entries):
        style.note(axes, 1.03, 1 - (0.1 + 0.24 * i) * inch, f"{'●' if i else '■'} {name}", color=ink, weight="bold")
    total = held.shape[1]
    more = f"  ·  the {count} of {total:,} columns with the worst fit" if count < total else ""
    style.heading(figure, title, f"5 to 95 % and medians of the data and of decoded means from the prior{more}")
    return figure


__all__ = ["draws_data", "plot_draws", "plot_sides", "sides_data"]
