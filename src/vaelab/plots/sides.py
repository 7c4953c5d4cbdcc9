"""Models side by side: reconstructions of the same examples, and decoded samples of the same prior points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.plots import examples, style
from vaelab.plots.examples import is_image
from vaelab.plots.features import Features, features_data, mean_square, moments, nearest, quantiles
from vaelab.plots.models import MAX_MODELS, colour, short_names
from vaelab.plots.style import GREY, GRID, INK, MUTED, Floats, Ints
from vaelab.wording import number, percent

MAX_ROWS = 30  # columns of a table in one picture


@dataclass(frozen=True)
class Sides:
    """The same examples, and each model's reconstructions of them."""

    originals: Floats  # (n, *shape)
    names: list[str]
    cells: list[Floats]  # per model (n, *shape)
    errors: list[float]  # per model, root mean squared error; of a table's numbers in standard deviations
    columns: Floats | None  # (models, D) the same per column of a table, of levels the share that is wrong
    features: Features | None
    common: Floats | None = None  # (D,) the share that is wrong if always the most frequent level is said; else NaN


def sides_data(originals: Floats, reconstructions: Mapping[str, Floats], features: Features | None = None) -> Sides:
    """Originals (n, *shape) and the reconstructions of each model by name; tables are scaled by `features`."""
    originals = np.asarray(originals)
    chosen = dict(list(reconstructions.items())[:MAX_MODELS])
    cells = [np.asarray(cells) for cells in chosen.values()]
    assert all(one.shape == originals.shape for one in cells)
    names = [str(name) for name in chosen]
    if is_image(originals.shape[1:]):
        apart = [one.astype(np.float64) - originals.astype(np.float64) for one in cells]
        return Sides(originals, names, cells, [float(np.sqrt((one**2).mean())) for one in apart], None, None)
    flat = originals.reshape(len(originals), -1).astype(np.float64)
    features = features or features_data(np.zeros(flat.shape[1]), np.ones(flat.shape[1]))
    levels = features.has_levels
    columns = np.empty((len(cells), flat.shape[1]))
    for found, one in zip(columns, cells, strict=True):
        wrong = features.errors(flat, one.reshape(flat.shape).astype(np.float64))
        found[:] = np.where(levels, moments(wrong)[0], mean_square(wrong))
    used = ~levels if (~levels).any() else levels
    errors = [float(np.sqrt((one[used] ** 2).mean()) if used is not levels else one.mean()) for one in columns]
    common = np.full(flat.shape[1], np.nan)
    for j in np.flatnonzero(levels).tolist():
        places = nearest(flat[:, j], features.columns[j])
        places = places[places >= 0]
        common[j] = 1 - np.bincount(places).max() / len(places) if len(places) else np.nan
    return Sides(originals, names, cells, errors, columns, features, common)


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
    """A line per column of the table with a dot per model, largest errors first; columns of levels below."""
    assert data.columns is not None
    assert data.features is not None
    levels = data.features.has_levels
    D = len(levels)
    worst = data.columns.max(0) if len(data.columns) else np.zeros(D)
    order = np.argsort(-worst, kind="stable")
    parts = [order[~levels[order]], order[levels[order]]]
    room = [MAX_ROWS - min(len(parts[1]), MAX_ROWS // 2), MAX_ROWS - min(len(parts[0]), MAX_ROWS // 2)]
    parts = [part[:most] for part, most in zip(parts, room, strict=True)]
    shown = [part for part in parts if len(part)]
    talls = [max(0.19 * len(part), 1.6 if len(shown) == 1 else 0.5) for part in shown]
    height = style.HEAD + 0.95 + sum(talls) + 0.75 * (len(shown) - 1) + 0.1
    figure = style.canvas(height)
    names, widest = style.side_names([data.features.names[i] for part in shown for i in part.tolist()], 3.0)
    left = 0.35 + widest
    bottom = height - style.HEAD - 0.2
    for part, tall in zip(shown, talls, strict=True):
        bottom -= tall
        axes = style.chart(figure, left, bottom, style.WIDTH - left - 2.2, tall)
        _draw_errors(axes, data, part, bool(levels[part[0]]))
        style.named_ticks(axes, "y", range(len(part)), names[: len(part)])
        names = names[len(part) :]
        bottom -= 0.75
    inch = 1 / talls[0]
    first = figure.axes[0]
    of = "numbers" if levels.any() and (~levels).any() else "all columns"
    for i, (name, error) in enumerate(zip(short_names(data.names), data.errors, strict=True)):
        style.note(first, 1.03, 1 - (0.1 + 0.42 * i) * inch, f"● {name}", color=colour(i), weight="bold")
        text = f"{of} {number(error)}" if (~levels).any() else f"{percent(error, 1)} wrong"
        style.note(first, 1.07, 1 - (0.28 + 0.42 * i) * inch, text, fontsize=8.5)
    count = sum(map(len, shown))
    more = f"  ·  the {count} of {D:,} columns with the largest errors" if count < D else ""
    style.heading(figure, title, f"{len(data.originals):,} validation examples, the first seed of each model{more}")
    return figure


def _draw_errors(axes: Axes, data: Sides, chosen: Ints, are_levels: bool) -> None:
    assert data.columns is not None
    assert data.features is not None
    found, y = data.columns[:, chosen], np.arange(len(chosen))
    if len(found):
        axes.hlines(y, found.min(0), found.max(0), colors=GREY, linewidth=1.4)
    for i, errors in enumerate(found):
        axes.scatter(errors, y, s=34, color=colour(i), linewidths=0, zorder=3 + i, alpha=0.9)
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    most = float(found.max(initial=0))
    if are_levels:
        assert data.common is not None
        ends = data.common[chosen]
        axes.vlines(ends, y - 0.38, y + 0.38, colors=MUTED, linewidth=1.4)
        axes.set_xlim(0, min(1.02, max(0.1, 1.08 * max(most, float(np.nan_to_num(ends).max())))))
        axes.xaxis.set_major_formatter(lambda share, _: percent(share))
        style.name_axes(axes, x="share of values whose level is wrong (line: always the most frequent level)")
        return
    axes.axvline(1, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlim(0, max(1.05, 1.05 * most))
    unit = "standard deviations, of logarithms for positive numbers and counts"
    unit = unit if data.features.some(chosen).are_logarithms.any() else "standard deviations of the column"
    style.name_axes(axes, x=f"root mean squared error in {unit} (dashed: predicting the mean)")


@dataclass(frozen=True)
class Draws:
    """The same points of the prior decoded by each model."""

    names: list[str]
    cells: list[Floats]  # per model (n, *shape)
    spread: Floats | None  # (1 + models, 3, D): 5, 50, 95 % quantiles of the data and each model, for a table
    features: Features | None
    shares: Floats | None = None  # (1 + models, D) means, which for a level are its shares


def draws_data(draws: Mapping[str, Floats], originals: Floats | None = None, features: Features | None = None) -> Draws:
    """New examples (n, *shape) of each model by name. originals: (N, D) quantities of a table to compare with."""
    chosen = dict(list(draws.items())[:MAX_MODELS])
    cells = [np.asarray(cells) for cells in chosen.values()]
    spread = shares = None
    if originals is not None:
        held = np.asarray(originals, np.float64)
        features = features or features_data(*moments(held))
        flat = [one.reshape(len(one), -1).astype(np.float64) for one in (held, *cells)]
        spread = np.array([quantiles(features(one), (0.05, 0.5, 0.95)) for one in flat])
        shares = np.array([moments(one)[0] for one in flat])
    return Draws([str(name) for name in chosen], cells, spread, features, shares)


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
    """A band for validation rows, a line with a dot per model for every number, dots for levels; worst fits first."""
    assert data.spread is not None
    assert data.shares is not None
    assert data.features is not None
    gaps = np.nan_to_num(np.abs(data.spread[1:] - data.spread[0])).max((0, 1))
    shares = data.features.shares
    gaps = np.where(shares, np.abs(data.shares[1:] - data.shares[0]).max(0), gaps)
    order = np.argsort(-gaps, kind="stable")
    parts = [order[~shares[order]], order[shares[order]]]
    room = [MAX_ROWS - min(len(parts[1]), MAX_ROWS // 2), MAX_ROWS - min(len(parts[0]), MAX_ROWS // 2)]
    parts = [part[:most] for part, most in zip(parts, room, strict=True)]
    shown = [part for part in parts if len(part)]
    count, models, D = sum(map(len, shown)), len(data.spread) - 1, len(shares)
    each = min(0.16 + 0.075 * models, 9.2 / count)  # inches
    talls = [max(each * len(part), 1.6 if len(shown) == 1 else 0.5) for part in shown]
    height = style.HEAD + 0.95 + sum(talls) + 0.75 * (len(shown) - 1) + 0.1
    figure = style.canvas(height)
    names, widest = style.side_names([data.features.names[i] for part in shown for i in part.tolist()], 3.0)
    left = 0.35 + widest
    bottom = height - style.HEAD - 0.2
    for part, tall in zip(shown, talls, strict=True):
        bottom -= tall
        axes = style.chart(figure, left, bottom, style.WIDTH - left - 2.2, tall, grid="x")
        _draw_spread(axes, data, part, min(72 * tall / len(part) * 0.8, 24.0))
        style.named_ticks(axes, "y", range(len(part)), names[: len(part)])
        names = names[len(part) :]
        bottom -= 0.75
    inch = 1 / talls[0]
    entries = [(MUTED, "validation rows"), *((colour(i), name) for i, name in enumerate(short_names(data.names)))]
    for i, (ink, name) in enumerate(entries):
        look = {"color": ink, "weight": "bold"}
        style.note(figure.axes[0], 1.03, 1 - (0.1 + 0.24 * i) * inch, f"{'●' if i else '■'} {name}", **look)
    more = f"  ·  the {count} of {D:,} with the worst fit" if count < D else ""
    of = "draws" if data.features.columns else "decoded means"
    said = f"5 to 95 % and medians of validation rows and of {of} from the prior"
    if shares.any():
        said = f"validation rows beside {of} from the prior: 5 to 95 % and medians, shares of levels"
    style.heading(figure, title, said + more)
    return figure


def _draw_spread(axes: Axes, data: Draws, chosen: Ints, thick: float) -> None:
    """A part of the quantities, numbers or shares; the band of the data is `thick` points."""
    assert data.spread is not None
    assert data.shares is not None
    assert data.features is not None
    y = np.arange(len(chosen))
    are_shares = bool(data.features.shares[chosen[0]])
    models = len(data.spread) - 1
    shifts = (np.arange(models) - (models - 1) / 2) * 0.62 / max(models, 2)
    held = np.array([data.shares[0, chosen]] * 3) if are_shares else data.spread[0][:, chosen]
    if are_shares:
        axes.hlines(y, 0, held[0], colors=GRID, linewidth=thick)
    else:
        axes.hlines(y, held[0], held[2], colors=GRID, linewidth=thick)
    axes.vlines(held[1], y - 0.4, y + 0.4, colors=GREY, linewidth=1.6)
    for i, shift in enumerate(shifts.tolist()):
        if are_shares:
            axes.scatter(data.shares[1 + i, chosen], y + shift, s=22, color=colour(i), linewidths=0, zorder=4)
            continue
        own = data.spread[1 + i][:, chosen]
        axes.hlines(y + shift, own[0], own[2], colors=colour(i), linewidth=1.5, zorder=3)
        axes.scatter(own[1], y + shift, s=14, color=colour(i), linewidths=0, zorder=4)
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    if are_shares:
        axes.set_xlim(0, 1.02)
        axes.xaxis.set_major_formatter(lambda share, _: percent(share))
        style.name_axes(axes, x="share of the rows")
        return
    axes.margins(x=0.03)
    style.name_axes(axes, x=data.features.some(chosen).unit)


__all__ = ["draws_data", "plot_draws", "plot_sides", "sides_data"]
