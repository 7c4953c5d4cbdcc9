"""Pictures of one training run: its losses and its latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.plots import style
from vaelab.plots.style import BLUE, GREY, INK, MUTED, Bools, Floats, Ints
from vaelab.settings.latents import in_use
from vaelab.wording import percent

MAX_POINTS = 3000
MAX_BARS = 64
MAX_PCA_DIMS = 256


@dataclass(frozen=True)
class Panel:
    """One plane of points."""

    points: Floats  # (n, 2), or (n, 1) for one latent dimension
    x: str
    y: str
    standard: bool  # whether the prior is the standard normal in these coordinates


@dataclass(frozen=True)
class Latent:
    """Posterior means, and the KL of each dimension."""

    panels: list[Panel]
    labels: Ints | None  # (n,) codes of the drawn points
    classes: list[str]
    kl: Floats  # (d,) nats per example, highest first
    order: Ints  # (d,) the dimension each entry of `kl` belongs to
    active: Bools  # (d,) in the order of `kl`
    total: int  # number of examples; the drawn points are a sample


def latent_data(
    means: Floats,
    labels: Ints | None,
    classes: Sequence[str] | None,
    kl: Floats,
    *,
    limit: int = MAX_POINTS,
    standard: bool = True,
    active: Bools | None = None,
) -> Latent:
    """Panels of at most `limit` points from posterior means (N, d).

    labels: (N,) codes into `classes`, -1 for none. kl: (d,) nats per example. Rows with NaN are not drawn.
    standard: whether the prior is standard normal; if so, it is drawn. active: which dimensions (d,) are in use; by
    default those whose means vary.
    """
    means = np.asarray(means, dtype=np.float64)
    N, d = means.shape
    kl = np.asarray(kl, dtype=np.float64)
    assert kl.shape == (d,)
    order = np.argsort(-kl, kind="stable")
    sound = np.flatnonzero(np.isfinite(means).all(1))
    keep = np.sort(np.random.default_rng(0).permutation(sound)[:limit])
    drawn = means[keep]
    codes = None if labels is None else np.asarray(labels)[keep].astype(np.int64)
    known = [] if codes is None else [str(name) for name in (classes or range(int(codes.max(initial=-1)) + 1))]
    if d == 1:
        panels = [Panel(drawn, "posterior mean of z", "", standard)]
    elif d == 2:
        panels = [Panel(drawn, "z1", "z2", standard)]
    else:
        i, j = int(order[0]), int(order[1])
        scores, shares = principal_plane(drawn)
        names = [f"component {k + 1} ({percent(share)} of variance)" for k, share in enumerate(shares)]
        panels = [
            Panel(drawn[:, [i, j]], f"z{i + 1}", f"z{j + 1}", standard),
            Panel(scores, names[0], names[1], False),
        ]
    if active is None:
        active = in_use(means[sound].var(0)) if len(sound) else np.zeros(d, dtype=bool)
    return Latent(panels, codes, known, kl[order], order, active[order], N)


def principal_plane(points: Floats) -> tuple[Floats, Floats]:
    """First two principal components of `points` (n, d): scores (n, 2) and explained shares (2,).

    Beyond 256 dimensions only those with the largest variance are used; unused dimensions have none.
    The largest loading of each component is positive, so that the same points give the same picture.
    """
    if not len(points):
        return np.empty((0, 2)), np.zeros(2)
    centred = points - points.mean(0)
    variance = centred.var(0)
    total = float(variance.sum())
    if points.shape[1] > MAX_PCA_DIMS:
        centred = centred[:, np.sort(np.argsort(-variance, kind="stable")[:MAX_PCA_DIMS])]
    values, vectors = np.linalg.eigh(centred.T @ centred / len(points))
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    shares = np.maximum(values[::-1][:2], 0) / total if total > 0 else np.zeros(2)
    return centred @ axes, shares


def plot_latent(data: Latent, path: str | Path, title: str = "Latent space") -> Path:
    """Draws the posterior means, coloured by class or by density, and the KL of each dimension."""
    height = 6.1 if len(data.order) == 2 else 4.75
    figure = style.canvas(height)
    style.heading(figure, title, _latent_finding(data))
    bottom = 0.55
    side = height - style.HEAD - bottom - 0.3
    if data.panels[0].points.shape[1] == 1:
        _draw_line(style.chart(figure, 1.35, bottom, 5.4, side, grid="x"), data)
    elif len(data.panels) == 1:
        _draw_plane(style.chart(figure, 0.6, bottom, 6.15, side), data, data.panels[0], side / 6.15)
        style.name_axes(figure.axes[0], y="posterior means")
    else:
        for left, panel, name in zip(
            (0.5, 3.93), data.panels, ("two dimensions with the highest KL", "all dimensions, by PCA"), strict=True
        ):
            axes = style.chart(figure, left, bottom, 2.95, side)
            _draw_plane(axes, data, panel, side / 2.95)
            style.name_axes(axes, y=name)
    _draw_kl(style.chart(figure, 7.3, height - 1.8, 1.5, 1.8 - style.HEAD - 0.3, grid="y"), data)
    _draw_legend(figure, data)
    return style.save(figure, path)


def _latent_finding(data: Latent) -> str:
    n = len(data.panels[0].points)
    shown = f"{n:,} of {data.total:,} examples" if n < data.total else f"{n:,} examples"
    colour = "coloured by density" if data.labels is None else "coloured by class"
    if data.labels is not None and (data.labels < 0).any():
        colour += ", grey without a label"
    return f"{shown}, {colour}  ·  {data.active.sum()} of {len(data.kl)} dimensions active"


def _limits(values: Floats, standard: bool) -> tuple[float, float]:
    """Middle and half width of the axis for `values` (n,), ignoring a few outliers."""
    middle = 0.0 if standard else float((values.min() + values.max()) / 2)
    away = np.abs(values - middle)
    half = min(float(away.max()), 1.6 * float(np.quantile(away, 0.98)))
    return middle, max(half, 2.2 if standard else 1e-6) * 1.06


def _draw_plane(axes: Axes, data: Latent, panel: Panel, tallness: float) -> None:
    """Points of a panel in axes with height `tallness` times the width, with equal scales on both axes."""
    if not len(panel.points):
        style.note(axes, 0.5, 0.5, "no examples", ha="center")
        return
    (x0, half_x), (y0, half_y) = (_limits(panel.points[:, k], panel.standard) for k in (0, 1))
    half_x = max(half_x, half_y / tallness)
    axes.set_xlim(x0 - half_x, x0 + half_x)
    axes.set_ylim(y0 - half_x * tallness, y0 + half_x * tallness)
    if panel.standard:
        angle = np.linspace(0, 2 * np.pi, 120)
        for sigma in (1, 2):
            axes.plot(sigma * np.cos(angle), sigma * np.sin(angle), color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
            style.write(axes, 0, -sigma, f"{sigma}σ", fontsize=8, ha="center", color=MUTED, bbox=_PAPER)
    _draw_points(axes, data, panel.points[:, 0], panel.points[:, 1])
    if data.labels is not None:
        _label_classes(axes, data, panel.points, half_x)
    style.name_axes(axes, x=panel.x)
    axes.set_ylabel(panel.y, fontsize=9, color=MUTED, fontfamily=style.FONT, labelpad=2)


_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}


def _draw_points(axes: Axes, data: Latent, x: Floats, y: Floats) -> None:
    alpha, zorder = 0.75, 2.5
    if data.labels is None:
        look: dict[str, Any] = {"s": style.dot_size(len(x)), "linewidths": 0, "alpha": alpha, "zorder": zorder}
        axes.scatter(x, y, c=_density(x, y), cmap="viridis", **look)
        return
    classes = max(len(data.classes), int(data.labels.max(initial=-1)) + 1)
    style.draw_classes(axes, np.stack([x, y], 1), data.labels, classes, alpha, zorder)


def _density(x: Floats, y: Floats) -> Floats:
    """Density around each point: counts in a 24 x 24 grid, smoothed, as a rank in [0, 1]."""
    grid, x_edges, y_edges = np.histogram2d(x, y, bins=24)
    padded = np.pad(grid, 1)
    smooth = sum(padded[i : i + 24, j : j + 24] for i in range(3) for j in range(3))
    column = np.clip(np.searchsorted(x_edges, x, side="right") - 1, 0, 23)
    row = np.clip(np.searchsorted(y_edges, y, side="right") - 1, 0, 23)
    density = np.asarray(smooth, dtype=np.float64)[column, row]
    return density / max(float(density.max(initial=0)), 1.0)


def _label_classes(axes: Axes, data: Latent, points: Floats, half: float) -> None:
    """Writes each class's name at its median, unless another name is already there."""
    assert data.labels is not None
    colours, _ = style.class_look(len(data.classes))
    names = style.clean_names(data.classes, 12)
    taken: list[Floats] = []
    for code, name in list(enumerate(names))[: style.MAX_CLASSES]:
        mine = points[data.labels == code]
        if not len(mine):
            continue
        centre = np.median(mine, axis=0)
        apart = 0.04 + 0.02 * len(name)
        if any(abs(centre[0] - t[0]) < 2 * half * apart and abs(centre[1] - t[1]) < 0.12 * half for t in taken):
            continue
        taken.append(centre)
        # Dark text with an outline in the class's colour: coloured text is unreadable over points of that colour.
        pill = {"facecolor": "white", "edgecolor": colours[code], "boxstyle": "round,pad=0.2", "alpha": 0.9}
        look = {"weight": "bold", "fontsize": 8.5, "ha": "center", "zorder": 4, "bbox": pill}
        style.write(axes, centre[0], centre[1], name, color=INK, **look)


def _draw_line(axes: Axes, data: Latent) -> None:
    """One latent dimension: one ridge per class above all points together, with the prior's density."""
    z = data.panels[0].points[:, 0]
    _, half = _limits(z, True) if len(z) else (0.0, 2.3)
    edges = np.linspace(-half, half, 81)
    middle = (edges[1:] + edges[:-1]) / 2
    groups: list[tuple[str, str, Floats]] = []
    if data.labels is not None:
        colours, _ = style.class_look(len(data.classes))
        names = style.clean_names(data.classes, 12)
        groups = [(name, colours[i], z[data.labels == i]) for i, name in enumerate(names[: style.MAX_CLASSES])]
    groups.append(("all", MUTED, z))
    ridges = [_smooth_histogram(values, edges) for _, _, values in groups]
    tallest = max(1e-9, max(float(ridge.max()) for ridge in ridges))
    for row, ((_, colour, _), ridge) in enumerate(zip(groups, ridges, strict=True)):
        base = len(groups) - 1 - row
        scale = 1.25 / tallest if row < len(groups) - 1 else 0.8 / max(0.4, float(ridge.max()))
        axes.fill_between(middle, base, base + scale * ridge, color=colour, alpha=0.65, linewidth=0, zorder=2 + row)
        axes.plot(middle, base + scale * ridge, color="white", linewidth=1.0, zorder=2 + row)
        if row == len(groups) - 1 and data.panels[0].standard:
            prior = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi)
            axes.plot(middle, scale * prior, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=40)
    jitter = np.random.default_rng(0).uniform(-0.75, -0.2, len(z))
    axes.set_ylim(-0.9, len(groups) - 1 + 1.35)
    _draw_points(axes, data, z, jitter)
    axes.set_xlim(-half, half)
    style.named_ticks(axes, "y", [len(groups) - 1 - i for i in range(len(groups))], [name for name, _, _ in groups])
    for tick, (_, colour, _) in zip(axes.get_yticklabels(), groups, strict=True):
        tick.set(color=colour, va="bottom")
    axes.spines["left"].set_visible(False)
    prior = " (dashed: the prior)" if data.panels[0].standard else ""
    style.name_axes(axes, x=data.panels[0].x, y=f"density of the posterior means{prior}")


def _smooth_histogram(values: Floats, edges: Floats) -> Floats:
    """Density of `values` (n,) over the bins between `edges`, smoothed over about five bins."""
    counts, _ = np.histogram(values, bins=edges)
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")
    return np.asarray(smooth / max(1.0, len(values) * float(edges[1] - edges[0])))


def _draw_kl(axes: Axes, data: Latent) -> None:
    kl, active = data.kl[:MAX_BARS], data.active[:MAX_BARS]
    rank = np.arange(len(kl)) + 1
    width = float(np.clip(75 / len(kl), 1.2, 14))
    axes.vlines(rank, 0, np.maximum(kl, 0), colors=np.where(active, BLUE, GREY).tolist(), linewidth=width)
    axes.set_xlim(0.3, len(kl) + 0.7)
    axes.set_ylim(0, 1.08 * max(float(np.nan_to_num(kl).max(initial=0)), 0.1))
    style.name_axes(axes, y="KL, nats")
    if len(kl) <= 6:
        style.named_ticks(axes, "x", rank.tolist(), [f"z{i + 1}" for i in data.order[: len(kl)]])
    else:
        axes.set_xticks([])
        more = f", first {len(kl)}" if len(data.kl) > len(kl) else ""
        style.name_axes(axes, x=f"dimension, sorted{more}")
    if not active.all():
        style.note(axes, 0.97, 0.93, "active", color=BLUE, ha="right", weight="bold", fontsize=8.5)
        style.note(axes, 0.97, 0.75, "unused", color=MUTED, ha="right", fontsize=8.5)


def _draw_legend(figure: Figure, data: Latent) -> None:
    """Class names next to their marks, in one or two columns, right of the points."""
    if data.labels is None or len(data.order) == 1:
        return
    many = len(data.classes) > 11
    shown = data.classes[: style.MAX_CLASSES]
    names = style.clean_names(shown, 9 if many else 20)
    colours, markers = style.class_look(len(shown))
    rows = (len(shown) + 1) // 2 if many else len(shown)
    axes = style.place(figure, 7.05, float(figure.get_figheight()) - 4.55, 1.9, 2.35)
    axes.axis("off")
    axes.set_xlim(0, 1.9)
    axes.set_ylim(-2.35, 0)
    step = min(0.2, 2.2 / max(1, rows))
    at = np.array([(0.1 + (i // rows) * 0.95, -0.1 - (i % rows) * step) for i in range(len(shown))]).reshape(-1, 2)
    for marker in dict.fromkeys(markers):
        mine = [i for i in range(len(shown)) if markers[i] == marker]
        axes.scatter(at[mine, 0], at[mine, 1], s=36, c=[colours[i] for i in mine], marker=marker, linewidths=0)
    for name, (x, y) in zip(names, at.tolist(), strict=True):
        style.write(axes, x + 0.12, y - 0.008, name, fontsize=8.5, color=INK)
    if len(data.classes) > len(shown):
        style.write(axes, 0.1, -2.3, f"{len(data.classes) - len(shown)} more classes in grey", fontsize=8)
