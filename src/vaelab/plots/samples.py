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
from vaelab.plots.correlations import COMPARED
from vaelab.plots.examples import (
    MAX_CURVES,
    MAX_EXAMPLES,
    PAPER,
    Pixels,
    _curve_chart,
    _empty,
    _show,
    as_pixels,
    fit_scale,
    is_image,
    mosaic,
)
from vaelab.plots.features import Features, features_data, moments, quantiles
from vaelab.plots.rows import MAX_FEATURES, key
from vaelab.plots.style import BLUE, GREY, GRID, INK, MUTED, RED, Bools, Floats, Ints
from vaelab.wording import percent

SHOWN = 32  # quantities of a wide table
LINE = 0.2  # inches


@dataclass(frozen=True)
class Samples:
    """New examples by class and from the prior."""

    classes: list[str]
    rows: Floats | None  # (classes, m, *shape)
    prior: Floats  # (k, *shape)
    originals: Floats | None  # (N, D) of a table, to compare with
    features: Features | None  # what the D quantities of a table are
    are_curves: bool = False


def samples_data(
    samples: Mapping[str, Any],
    originals: Floats | None = None,
    features: Features | Sequence[str] | None = None,
    curves: bool = False,
) -> Samples:
    """Samples as {"classes": names, "rows": (classes, m, *shape) or None, "prior": (k, *shape)}.

    originals: (N, D) rows of a table to compare its samples with.
    features: the D quantities of a table, or their names; by default with the spread of `originals`.
    """
    prior = np.asarray(samples["prior"])
    names = [str(name) for name in samples.get("classes") or ()][: style.MAX_CLASSES]
    given = samples.get("rows")
    rows = np.asarray(given)[: len(names)] if names and given is not None and len(given) else None
    if rows is None:
        names = []
    if rows is not None and is_image(prior.shape[1:]):
        rows = rows[:, : 8 if len(names) >= 5 else MAX_EXAMPLES]
    if not isinstance(features, Features) and not is_image(prior.shape[1:]):
        held = np.asarray(prior if originals is None else originals, np.float64)
        features = features_data(*moments(held.reshape(len(held), -1)), features or ())
    return Samples(names, rows, prior, originals, features if isinstance(features, Features) else None, curves)


@dataclass(frozen=True)
class Marginals:
    """Quantiles of every number, in standard deviations of what is `Features.seen`, and means of every quantity."""

    data: Floats  # (5, D): the 5, 25, 50, 75, 95 % quantiles
    prior: Floats  # (5, D)
    shares: Floats  # (2, D): means in the data and in the samples, which for a level are its shares
    classes: Floats | None  # (classes, D) means of the samples of each class
    correlation_gap: float  # mean absolute difference of the correlations; NaN if there are none


def marginals(data: Samples) -> Marginals:
    """How well the samples of a table match its data, quantity by quantity."""
    assert data.features is not None
    prior = np.asarray(data.prior, np.float64).reshape(len(data.prior), -1)
    held = prior if data.originals is None else np.asarray(data.originals, np.float64).reshape(len(data.originals), -1)
    both = [data.features(values) for values in (held, prior)]
    means = None
    if data.rows is not None:
        flat = data.features(data.rows.reshape(*data.rows.shape[:2], -1))
        means = flat.mean(1)
    gap = float("nan")
    varies = np.flatnonzero((moments(both[0])[1] > 0) & (moments(both[1])[1] > 0))
    varies = varies[:: -(-len(varies) // COMPARED) or 1]  # of all pairs of 10,000 columns, each matrix takes a gigabyte
    if data.originals is not None and len(varies) > 1 and len(prior) > 2 and np.isfinite(held).all():
        off = ~np.eye(len(varies), dtype=bool)
        found = [np.asarray(np.corrcoef(values[:, varies], rowvar=False))[off] for values in both]
        gap = float(np.abs(found[0] - found[1]).mean())
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    spread = [quantiles(values, levels) for values in both]
    shares = np.array([moments(values)[0] for values in (held, prior)])
    return Marginals(spread[0], spread[1], shares, means, gap)


def plot_samples(data: Samples, path: str | Path, title: str = "New samples") -> Path:
    """Draws a row of samples per class and a block from the prior; a table as marginals against the data."""
    if not len(data.prior):
        return style.save(_empty(title, "no samples"), path)
    if is_image(data.prior.shape[1:]):
        figure = _sampled_images(data, title)
    elif data.are_curves:
        figure = _sampled_curves(data, title)
    else:
        figure = _sampled_rows(data, title)
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
    """Intervals of each number and the shares of levels, data against prior; on the right a heat map of class means."""
    assert data.features is not None
    found = marginals(data)
    numbers, shares = worst_fits(found.data, found.prior, found.shares, data.features.shares)
    shown, total = len(numbers) + len(shares), len(data.features.names)
    top = 0.35 if data.classes else 0.0
    parts = [(numbers, _draw_intervals), (shares, _draw_shares)]
    talls = [
        max(LINE * len(chosen), 0.6 if len(numbers) and len(shares) else 1.8) for chosen, _ in parts if len(chosen)
    ]
    height = style.HEAD + 0.95 + top + sum(talls) + 0.75 * (len(talls) - 1)
    figure = style.canvas(height)
    heat = min(0.5 * len(data.classes), 3.2) if found.classes is not None else 0.0
    of = [data.features.names[i] for i in [*numbers.tolist(), *shares.tolist()]]
    names, widest = style.side_names(of, 2.0 if heat else 3.2)
    left = 0.35 + widest
    wide = style.WIDTH - left - 0.3 - heat - (0.75 if heat else 0)
    bottom = height - style.HEAD - 0.4 - top
    for chosen, draw in parts:
        if not len(chosen):
            continue
        tall = talls[0] if chosen is parts[0][0] or len(talls) == 1 else talls[1]
        bottom -= tall
        axes = style.chart(figure, left, bottom, wide, tall)
        draw(axes, found, chosen, data)
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        start = 0 if chosen is numbers else len(numbers)
        style.named_ticks(axes, "y", range(len(chosen)), names[start : start + len(chosen)])
        if found.classes is not None:
            place = style.place(figure, style.WIDTH - heat - 0.75, bottom, heat, tall)
            _heat_map(place, found.classes[:, chosen], data.classes if bottom + tall > height - style.HEAD - 1 else [])
        bottom -= 0.75
    entries = ((MUTED, "▬", "data"), (BLUE, "▬", "samples from the prior"))
    key(figure.axes[0], entries if data.originals is not None else entries[1:])
    said = ["line: 5 to 95 %, bar: 25 to 75 %, ring: median"] if len(numbers) else ["dots: share of each level"]
    if found.classes is not None:
        said.append("squares: orange above the data's mean")
    if np.isfinite(found.correlation_gap):
        said.append(f"mean correlation error {found.correlation_gap:.2f}")
    if shown < total:
        said.append(f"{shown} of {total:,}: the worst fits")
    style.heading(figure, title, "  ·  ".join(said))
    return figure


def worst_fits(held: Floats, made: Floats, shares: Floats, is_share: Bools) -> tuple[Ints, Ints]:
    """Numbers and shares (by number) to be shown, in their order: all, or of many those that fit the data worst.

    held, made: quantiles (q, D) in the data and of samples; shares: the means (2, D) of both.
    """
    numbers, levels = np.flatnonzero(~is_share), np.flatnonzero(is_share)
    if len(is_share) <= MAX_FEATURES:
        return numbers, levels
    room = len(numbers) if not len(levels) else max(SHOWN // 2, SHOWN - len(levels))
    gaps = np.nan_to_num(np.abs(made - held)).max(0)[numbers]
    numbers = np.sort(numbers[np.argsort(-gaps, kind="stable")[: min(room, SHOWN)]])
    gaps = np.abs(shares[0] - shares[1])[levels]
    return numbers, np.sort(levels[np.argsort(-gaps, kind="stable")[: SHOWN - len(numbers)]])


def _draw_intervals(axes: Axes, found: Marginals, chosen: Ints, data: Samples) -> None:
    assert data.features is not None
    held = ((found.data, GREY, -0.17), (found.prior, BLUE, 0.17))
    for spread, colour, shift in held if data.originals is not None else held[1:]:
        y = np.arange(len(chosen)) + shift
        own = spread[:, chosen]
        axes.hlines(y, own[0], own[4], colors=colour, linewidth=1.4)
        axes.hlines(y, own[1], own[3], colors=colour, linewidth=4.5)
        axes.scatter(own[2], y, s=16, color="white", edgecolor=colour, linewidths=1.2, zorder=3)
    axes.margins(x=0.03)
    style.name_axes(axes, x=data.features.some(chosen).unit)


def _draw_shares(axes: Axes, found: Marginals, chosen: Ints, data: Samples) -> None:
    y = np.arange(len(chosen))
    held, made = found.shares[:, chosen]
    if data.originals is not None:
        axes.hlines(y, held, made, colors=GREY, linewidth=1.4)
        axes.scatter(held, y, s=30, color=GREY, linewidths=0, zorder=2)
    axes.scatter(made, y, s=30, color=BLUE, linewidths=0, zorder=3)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(lambda share, _: percent(share))
    style.name_axes(axes, x="share of the rows")


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
    if len(classes):
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
    key(axes, entries)
    return figure
