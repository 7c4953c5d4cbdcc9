"""Pictures of a mixture on the latents: projection, components, new examples, EM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array
from matplotlib.patheffects import withStroke

from vaelab.plots import examples, space, style
from vaelab.plots.features import Features, features_data
from vaelab.plots.models import colour
from vaelab.plots.style import GREY, INK, MUTED, ORANGE, Floats, Ints
from vaelab.wording import percent

MAX_POINTS, MAX_ROWS = 4_000, 20
ELLIPSE = 2.0  # standard deviations, which contain 86 % of a 2-d Gaussian


@dataclass(frozen=True)
class Plane:
    """Points and components, projected on the points' first two principal components."""

    points: Floats  # (n, 2)
    codes: Ints  # (n,), -1 where there is no class
    classes: list[str]
    ellipses: Floats  # (K, 120, 2) at two standard deviations
    named: Ints  # (K,) class of each component, -1 unknown
    weights: Floats  # (K,)
    shares: Floats  # (2,) of the variance
    are_clusters: bool = False  # classes are the components themselves, by number


def plane_data(
    points: Floats,
    codes: Ints,
    classes: Sequence[str],
    means: Floats,
    covariances: Floats,
    named: Ints,
    weights: Floats,
    limit: int = MAX_POINTS,
    are_clusters: bool = False,
) -> Plane:
    """Latents (n, L), and the mixture's means (K, L) and covariances (K, L, L), on two principal components."""
    points = np.asarray(points, dtype=np.float64)
    L = points.shape[1]
    centre = points.mean(0)
    values, vectors = np.linalg.eigh(np.cov(points.T).reshape(L, L))
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))  # with one dimension the second is empty
    shares = np.pad(values[::-1][:2] / max(values.sum(), 1e-300), (0, max(0, 2 - L)))
    angle = np.linspace(0, 2 * np.pi, 120)
    circle = ELLIPSE * np.stack([np.cos(angle), np.sin(angle)])
    flat = axes.T @ covariances @ axes  # (K, 2, 2)
    values2, vectors2 = np.linalg.eigh(flat)
    roots = vectors2 * np.sqrt(np.maximum(values2, 0))[:, None, :]
    ellipses = ((means - centre) @ axes)[:, None, :] + (roots @ circle).transpose(0, 2, 1)
    keep = np.sort(np.random.default_rng(0).permutation(len(points))[:limit])
    own = np.asarray(codes)[keep]
    return Plane(
        (points[keep] - centre) @ axes, own, [str(c) for c in classes], ellipses, np.asarray(named), weights, shares,
        are_clusters,
    )  # fmt: skip


def plot_plane(data: Plane, path: str | Path, title: str = "The mixture, by PCA") -> Path:
    """Draws the points coloured by class, and each component as an ellipse coloured by the class it predicts."""
    figure = style.canvas(6.6)
    wide = 6.6
    axes = style.chart(figure, 0.6, 0.55, wide, 6.6 - style.HEAD - 0.75)
    style.draw_classes(axes, data.points, data.codes, len(data.classes), alpha=0.55, zorder=2)
    strength = np.clip(data.weights / max(float(data.weights.max(initial=0)), 1e-12), 0.25, 1)
    colours, markers = style.class_look(len(data.classes))
    inks = to_rgba_array([*colours, GREY])[data.named]
    halo = LineCollection(list(data.ellipses), colors="white", linewidths=3.2 * strength, zorder=3, alpha=0.8)
    axes.add_collection(halo)
    axes.add_collection(LineCollection(list(data.ellipses), colors=inks, linewidths=1.9 * strength, zorder=4))
    every = np.concatenate([data.points, data.ellipses.reshape(-1, 2)])
    low, high = np.quantile(data.points, 0.001, axis=0), np.quantile(data.points, 0.999, axis=0)
    reach = np.maximum(0.12 * (high - low), 1e-6)
    axes.set_xlim(max(low[0] - 2 * reach[0], every[:, 0].min()) - reach[0] / 4, high[0] + 2 * reach[0])
    axes.set_ylim(max(low[1] - 2 * reach[1], every[:, 1].min()) - reach[1] / 4, high[1] + 2 * reach[1])
    style.name_axes(axes, x=f"first principal component ({percent(data.shares[0])} of the variance)")
    second = f"second ({percent(data.shares[1])})"
    axes.set_ylabel(second, fontsize=9, color=MUTED, fontfamily=style.FONT, labelpad=2)
    names = style.clean_names(data.classes[: style.MAX_CLASSES], 13)
    for i, name in enumerate(names):
        at = 0.97 - 0.045 * i
        axes.scatter([1.035], [at], s=36, color=colours[i], marker=markers[i], transform=axes.transAxes, clip_on=False)
        owned = data.codes == i if data.are_clusters else data.named == i
        style.note(axes, 1.06, at, f"{name}   ({int(owned.sum()):,})", color=INK)
    if len(names) and (data.named < 0).any():
        at = 0.97 - 0.045 * len(names) - 0.02
        style.note(axes, 1.02, at, f"○ unknown   ({(data.named < 0).sum()})", color=MUTED)
    ellipses = "ellipses: components at two standard deviations"
    if data.are_clusters:
        outline = [withStroke(linewidth=3, foreground="white")]
        for number, (x, y) in enumerate(data.ellipses.mean(1).tolist()):
            if axes.viewLim.contains(x, y):
                axes.text(x, y, data.classes[number], ha="center", va="center", fontsize=10, fontweight="bold",
                          color=INK, fontfamily=style.FONT, zorder=5, path_effects=outline)  # fmt: skip
        said = f"dots: examples by cluster (count)  ·  {ellipses}"
    else:
        said = f"dots: examples by true class  ·  {ellipses} by predicted class (count)"
    style.heading(figure, title, said)
    return style.save(figure, path)


@dataclass(frozen=True)
class Components:
    """The components: decoded means, nearest examples, and samples."""

    names: list[str]  # the class each component predicts; "" if it has none
    notes: list[str]
    means: Floats  # (r, *shape)
    nearest: Floats  # (r, c, *shape)
    draws: Floats  # (r, c, *shape)
    features: Features | None
    total: int


def components_data(
    names: Sequence[str],
    notes: Sequence[str],
    means: Floats,
    nearest: Floats,
    draws: Floats,
    features: Features | None = None,
    total: int | None = None,
) -> Components:
    """Rows for the `total` components, or the first of them; images in [0, 1], tables in their own units."""
    return Components(
        [str(n) for n in names], [str(n) for n in notes], np.asarray(means), np.asarray(nearest), np.asarray(draws),
        features, len(means) if total is None else total,
    )  # fmt: skip


def plot_components(data: Components, path: str | Path, title: str = "The components") -> Path:
    """Draws a row of images per component; for a table, the columns of every component's mean as colours."""
    count = len(data.means)
    more = f"the {count} heaviest of {data.total}" if count < data.total else f"all {count}"
    if not examples.is_image(data.means.shape[1:]):
        return style.save(_component_columns(data, title, more), path)
    blank = np.ones_like(data.nearest[:, :1])  # white between the three kinds
    cells = np.concatenate([data.means[:, None], blank, data.nearest, blank, data.draws], axis=1)
    near = _centred("nearest training examples", data.nearest.shape[1])
    heads = ["mean", "", *near, "", *_centred("draws", data.draws.shape[1])]
    labels = [style.clean(label, 14) for label in _numbered(data.names, ": ")]
    figure = space._strips(title, f"{more}, by weight  ·  mean and draws decoded", cells, labels, data.notes, heads)
    return style.save(figure, path)


def _numbered(names: Sequence[str], joint: str) -> list[str]:
    return [f"{k}{joint}{name}" if name else f"{k}" for k, name in enumerate(names, 1)]


def plot_class_samples(
    images: Floats, names: Sequence[str], path: str | Path, title: str = "New examples by class"
) -> Path:
    """Draws a row of images (r, c, H, W) in [0, 1] per class."""
    said = "decoded from samples of the components that predict the class"
    labels = style.clean_names(names, 14)
    return style.save(space._strips(title, said, images, labels, [], [""] * images.shape[1]), path)


def _centred(text: str, count: int) -> list[str]:
    return [text if i == (count - 1) // 2 else "" for i in range(count)]


def _component_columns(data: Components, title: str, more: str) -> Any:
    """Component means (r, D) in standard deviations of the columns, most variable columns first."""
    flat: Floats = data.means.reshape(len(data.means), -1).astype(np.float64)
    features = data.features or features_data(flat.mean(0), flat.std(0))
    scaled = features(flat)
    order = np.argsort(-np.ptp(scaled, axis=0), kind="stable")[:40]
    names = style.clean_names([features.names[i] for i in order.tolist()], 24)
    left = 0.4 + 0.072 * max(len(name) for name in names)
    height = style.HEAD + 0.75 + max(1.4, 0.2 * len(order))
    figure = style.canvas(height)
    axes = style.chart(figure, left, 0.2, style.WIDTH - left - 0.4, height - style.HEAD - 0.75, grid="none")
    share = np.clip(scaled[:, order].T / max(1.0, float(np.abs(scaled).max())), -1, 1)[..., None]
    ink = np.where(share > 0, np.array([217, 100, 30]), np.array([36, 99, 168]))
    sheet = (255 + np.abs(share) * (ink - 255)).astype(np.uint8)
    axes.imshow(sheet, aspect="auto", interpolation="nearest")
    style.named_ticks(axes, "y", range(len(order)), names)
    style.named_ticks(axes, "x", range(len(data.means)), _numbered([style.clean(name, 9) for name in data.names], "\n"))
    axes.xaxis.tick_top()
    said = "mean of each column: orange above the data's, blue below"
    if len(order) < flat.shape[1]:
        said += f"  ·  the {len(order)} of {flat.shape[1]:,} that differ most"
    style.heading(figure, title, f"{more}, by weight  ·  {said}")
    return figure


def plot_em(
    curves: Mapping[str, Sequence[float]],
    bic: Mapping[str, float],
    path: str | Path,
    title: str = "Fitting",
) -> Path:
    """Draws the log-likelihood by iteration for each number of components, and BIC next to it."""
    figure = style.canvas(3.9)
    tall = 3.9 - style.HEAD - 0.95
    axes = style.chart(figure, 0.75, 0.6, 3.9, tall)
    ends = []
    values = [np.asarray(curve, dtype=np.float64) for curve in curves.values()]
    settled = np.concatenate([v[min(1, len(v) - 1) :] for v in values])
    low, high = float(settled.min()), float(settled.max())
    pad = 0.06 * (high - low) or 0.1
    axes.set_ylim(low - pad, high + pad)
    for i, (number, curve) in enumerate(zip(curves, values, strict=True)):
        axes.plot(np.arange(1, len(curve) + 1), curve, color=colour(i), linewidth=1.8)
        axes.plot([len(curve)], [curve[-1]], "o", color=colour(i), markersize=4)
        ends.append((number, colour(i), float((curve[-1] - low + pad) / (high - low + 2 * pad))))
    for (text, ink, _), y in zip(ends, style.spread([e[2] for e in ends], 0.08), strict=True):
        style.note(axes, 1.02, y, text, color=ink, weight="bold")
    style.whole_ticks(axes)
    style.name_axes(axes, x="EM iteration", y="log p(z), nats per point")
    right = style.chart(figure, 6.2, 0.6, 2.5, tall)
    sizes = np.array([int(n) for n in bic], dtype=np.float64)
    heights = np.array(list(bic.values()), dtype=np.float64) / 1_000
    right.plot(sizes, heights, color=GREY, linewidth=1.4)
    right.scatter(sizes, heights, color=[colour(i) for i in range(len(sizes))], s=30, zorder=3)
    best = int(heights.argmin())
    right.scatter(sizes[best], heights[best], s=120, facecolor="none", edgecolor=ORANGE, linewidths=1.8, zorder=4)
    right.margins(x=0.12, y=0.15)
    style.whole_ticks(right)
    style.name_axes(right, x="components (ring: lowest)", y="BIC, thousands")
    rises = all((np.diff(v) >= -1e-6).all() for v in values)
    said = "no iteration lowers the likelihood" if rises else "an iteration lowers the likelihood"
    style.heading(figure, title, f"{said}  ·  best start for each number of components")
    return style.save(figure, path)
