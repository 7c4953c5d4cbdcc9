"""Pictures of new examples, by class and from the prior: images, rows of tables, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.plots import style
from vaelab.plots.examples import (
    MAX_CURVES,
    MAX_EXAMPLES,
    MAX_FEATURES,
    PAPER,
    Pixels,
    _curve_chart,
    _empty,
    _key,
    _show,
    as_pixels,
    fit_scale,
    is_image,
    mosaic,
)
from vaelab.plots.style import BLUE, GREY, GRID, INK, MUTED, RED, Floats


@dataclass(frozen=True)
class Samples:
    """New examples by class and from the prior."""

    classes: list[str]
    rows: Floats | None  # (classes, m, *shape)
    prior: Floats  # (k, *shape)
    originals: Floats | None  # (N, D) of a table, to compare with
    features: list[str]
    are_curves: bool = False


def samples_data(
    samples: Mapping[str, Any], originals: Floats | None = None, features: Sequence[str] = (), curves: bool = False
) -> Samples:
    """Samples as {"classes": names, "rows": (classes, m, *shape) or None, "prior": (k, *shape)}.

    originals: (N, D) rows of a table to compare its samples with.
    """
    prior = np.asarray(samples["prior"])
    names = [str(name) for name in samples.get("classes") or ()][: style.MAX_CLASSES]
    given = samples.get("rows")
    rows = np.asarray(given)[: len(names)] if names and given is not None and len(given) else None
    if rows is None:
        names = []
    if rows is not None and is_image(prior.shape[1:]):
        rows = rows[:, : 8 if len(names) >= 5 else MAX_EXAMPLES]
    return Samples(names, rows, prior, originals, [str(name) for name in features], curves)


@dataclass(frozen=True)
class Marginals:
    """Quantiles of every feature, in standard deviations of the data from its mean."""

    data: Floats  # (5, D): the 5, 25, 50, 75, 95 % quantiles
    prior: Floats  # (5, D)
    classes: Floats | None  # (classes, D) means of the samples of each class
    correlation_gap: float  # mean absolute difference of the correlations; NaN if there are none


def marginals(data: Samples) -> Marginals:
    """How well the samples of a table match its data, feature by feature."""
    prior = np.asarray(data.prior, np.float64).reshape(len(data.prior), -1)
    held = prior if data.originals is None else np.asarray(data.originals, np.float64).reshape(len(data.originals), -1)
    centre, scale = np.nanmean(held, 0), np.nanstd(held, 0)
    scale = np.where(scale > 0, scale, 1.0)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    quantiles = [np.nanquantile((values - centre) / scale, levels, axis=0) for values in (held, prior)]
    means = None
    if data.rows is not None:
        flat = data.rows.reshape(*data.rows.shape[:2], -1).astype(np.float64)
        means = (flat.mean(1) - centre) / scale
    gap = float("nan")
    varies = (np.nanstd(held, 0) > 0) & (prior.std(0) > 0)
    if data.originals is not None and varies.sum() > 1 and len(prior) > 2 and np.isfinite(held).all():
        off = ~np.eye(int(varies.sum()), dtype=bool)
        both = [np.asarray(np.corrcoef(values[:, varies], rowvar=False))[off] for values in (held, prior)]
        gap = float(np.abs(both[0] - both[1]).mean())
    return Marginals(quantiles[0], quantiles[1], means, gap)


def plot_samples(data: Samples, path: str | Path, title: str = "New samples") -> Path:
    """Draws a row of samples per class and a block from the prior; a table as marginals against the data."""
    if not len(data.prior):
        return style.save(_empty(title, "no samples"), path)
    if is_image(data.prior.shape[1:]):
        figure = _sampled_images(data, title)
    elif int(np.prod(data.prior.shape[1:])) <= MAX_FEATURES and not data.are_curves:
        figure = _sampled_rows(data, title)
    else:
        figure = _sampled_curves(data, title)
    return style.save(figure, path)


def _sampled_images(data: Samples, title: str) -> Figure:
    H, W = data.prior.shape[1:3]
    gap = max(1, W // 14)
    prior = as_pixels(data.prior)
    if data.rows is None:
        return sheets(
            title,
            "drawn from the prior",
            [("", mosaic(prior[:48], min(MAX_EXAMPLES, len(prior)), gap), [])],
            gap,
            (H, W),
        )
    classes, m = data.rows.shape[:2]
    own = mosaic(as_pixels(data.rows.reshape(classes * m, *data.prior.shape[1:])), m, gap)
    names = style.clean_names(data.classes, 14)
    subtitle = "left: around each class's posterior  ·  right: the prior, any class"
    if classes < 5:
        subtitle = "above: around each class's posterior  ·  below: the prior, any class"
        block = mosaic(prior[: 3 * m], m, gap)
    else:
        block = mosaic(
            prior[: classes * min(4, max(1, len(prior) // classes))],
            min(4, max(1, len(prior) // classes)),
            gap,
        )
    return sheets(title, subtitle, [("by class", own, names), ("from the prior", block, [])], gap, (H, W))


def sheets(
    title: str, subtitle: str, sheets: list[tuple[str, Pixels, list[str]]], gap: int, cell: tuple[int, int]
) -> Figure:
    """Places mosaics side by side, or below each other if there are few rows; names are left of the first."""
    H, W = cell
    names = sheets[0][2]
    margin = 0.4 + 0.078 * max((len(name) for name in names), default=0)
    beside = len(names) >= 5
    between = 0.35
    heights, widths = [s.shape[0] for _, s, _ in sheets], [s.shape[1] for _, s, _ in sheets]
    count = len(sheets) - 1
    room = (
        8.2 - (0 if beside else 0.3 * count),
        style.WIDTH - margin - 0.25 - (between * count if beside else 0),
    )
    total = (max(heights), sum(widths)) if beside else (sum(heights), max(widths))
    scale = fit_scale(*total, room, max(H, W))
    captioned = 0.3 if count else 0.05
    inches = total[0] * scale / style.DPI + (captioned if beside else captioned * len(sheets))
    figure = style.canvas(style.HEAD + inches + 0.2)
    style.heading(figure, title, subtitle)
    left, top = margin, style.HEAD + inches + 0.2 - style.HEAD - captioned
    for caption, sheet, labels in sheets:
        axes = _show(figure, sheet, left, top, scale)
        if caption:
            style.write(axes, 0, -0.07 * style.DPI / scale, caption, va="bottom", color=INK, fontsize=9.5)
        for row, name in enumerate(labels):
            style.write(axes, -gap - 2, row * (H + gap) + H / 2, name, ha="right", color=INK)
        if beside:
            left += sheet.shape[1] * scale / style.DPI + between
        else:
            top -= sheet.shape[0] * scale / style.DPI + captioned
    return figure


def _sampled_rows(data: Samples, title: str) -> Figure:
    """Intervals of each feature, data against prior; on the right a heat map of the class means."""
    found = marginals(data)
    D = found.data.shape[1]
    height = style.HEAD + 0.95 + max(1.8, 0.2 * D) + (0.35 if data.classes else 0)
    figure = style.canvas(height)
    names = style.clean_names(data.features or [f"feature {i + 1}" for i in range(D)], 26)
    left = 0.35 + 0.072 * max(len(name) for name in names)
    heat = min(0.5 * len(data.classes), 3.2) if found.classes is not None else 0.0
    tall = height - style.HEAD - 0.95 - (0.35 if data.classes else 0)
    axes = style.chart(figure, left, 0.55, style.WIDTH - left - 0.3 - heat - (0.75 if heat else 0), tall)
    held = ((found.data, GREY, -0.17, "○"), (found.prior, BLUE, 0.17, "●"))
    for quantiles, colour, shift, _ in held if data.originals is not None else held[1:]:
        y = np.arange(D) + shift
        axes.hlines(y, quantiles[0], quantiles[4], colors=colour, linewidth=1.4)
        axes.hlines(y, quantiles[1], quantiles[3], colors=colour, linewidth=4.5)
        axes.scatter(quantiles[2], y, s=16, color="white", edgecolor=colour, linewidths=1.2, zorder=3)
    axes.set_ylim(D - 0.4, -0.6)
    axes.margins(x=0.03)
    style.named_ticks(axes, "y", range(D), names)
    style.name_axes(axes, x="standard deviations of the data from its mean")
    entries = ((MUTED, "▬", "data"), (BLUE, "▬", "samples from the prior"))
    _key(axes, entries if data.originals is not None else entries[1:])
    if found.classes is not None:
        _heat_map(style.place(figure, style.WIDTH - heat - 0.75, 0.55, heat, tall), found.classes, data.classes)
    said = ["line: 5 to 95 %, bar: 25 to 75 %, ring: median"]
    if found.classes is not None:
        said.append("squares: orange above the data's mean, blue below")
    if np.isfinite(found.correlation_gap):
        said.append(f"mean correlation error {found.correlation_gap:.2f}")
    style.heading(figure, title, "  ·  ".join(said))
    return figure


def _heat_map(axes: Axes, means: Floats, classes: Sequence[str]) -> None:
    """Means of the samples (classes, D), orange above the data's mean and blue below."""
    share = np.clip(means.T / max(1.0, float(np.abs(means).max())), -1, 1)[..., None]
    ink = np.where(share > 0, np.array([217, 100, 30]), np.array([36, 99, 168]))
    axes.imshow((PAPER + np.abs(share) * (ink - PAPER)).astype(np.uint8), aspect="auto", interpolation="nearest")
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED, labelfontfamily=style.FONT)
    axes.set_yticks([])
    axes.set_xticks(
        range(len(classes)),
        labels=style.clean_names(classes, 10),
        rotation=40,
        ha="left",
        rotation_mode="anchor",
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("class means", fontsize=9, color=MUTED, fontfamily=style.FONT, labelpad=6)


def _sampled_curves(data: Samples, title: str) -> Figure:
    """Samples from the prior as thin curves over the band that contains 90 % of the data."""
    curves = data.prior.reshape(len(data.prior), -1)[:MAX_CURVES].astype(float)
    figure, axes = _curve_chart(curves)
    place = np.arange(curves.shape[1]) + 1.0
    entries = [(BLUE, "—", f"{len(curves)} samples from the prior")]
    if data.originals is not None:
        held = data.originals.reshape(len(data.originals), -1)
        low, middle, high = np.nanquantile(held, (0.05, 0.5, 0.95), axis=0)
        axes.fill_between(place, low, high, color=GRID, linewidth=0, zorder=0)
        axes.plot(place, middle, color=RED, linewidth=1.4)
        entries = [(MUTED, "■", "90 % of the data"), (RED, "—", "their median"), *entries]
    axes.margins(x=0)
    style.heading(figure, title, f"samples over {curves.shape[1]} features")
    _key(axes, entries)
    return figure
