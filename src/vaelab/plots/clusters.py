"""Pictures of a mixture on the latents: its plane, its components, what its names are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array

from vaelab.plots import examples, space, style
from vaelab.plots.models import colour
from vaelab.plots.style import BLUE, GREY, INK, MUTED, ORANGE, Floats, Ints

MAX_POINTS, MAX_ROWS, MAX_CELLS = 4_000, 20, 20
ELLIPSE = 2.0  # standard deviations, which hold 86 % of a plane Gaussian
METHODS = {
    "mixture": "mixture",
    "graph": "graph",
    "umap": "mixture on UMAP",
    "probe": "logistic probe",
    "neighbours": "nearest neighbours",
}


@dataclass(frozen=True)
class Plane:
    """Points and components in the plane of the points' two principal components."""

    points: Floats  # (n, 2)
    codes: Ints | None  # (n,), -1 where there is no class
    classes: list[str]
    ellipses: Floats  # (K, 120, 2) at two standard deviations
    named: Ints  # (K,) class of each component, -1 unknown
    weights: Floats  # (K,)
    shares: Floats  # (2,) of the variance


def plane_data(
    points: Floats,
    codes: Ints | None,
    classes: Sequence[str],
    means: Floats,
    covariances: Floats,
    named: Ints,
    weights: Floats,
    limit: int = MAX_POINTS,
) -> Plane:
    """Latents (n, L), and the mixture's means (K, L) and covariances (K, L, L), on two principal components."""
    points = np.asarray(points, dtype=np.float64)
    L = points.shape[1]
    centre = points.mean(0)
    values, vectors = np.linalg.eigh(np.cov(points.T).reshape(L, L))
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))  # of one dimension the second is empty
    shares = np.pad(values[::-1][:2] / max(values.sum(), 1e-300), (0, max(0, 2 - L)))
    angle = np.linspace(0, 2 * np.pi, 120)
    circle = ELLIPSE * np.stack([np.cos(angle), np.sin(angle)])
    flat = axes.T @ covariances @ axes  # (K, 2, 2)
    values2, vectors2 = np.linalg.eigh(flat)
    roots = vectors2 * np.sqrt(np.maximum(values2, 0))[:, None, :]
    ellipses = ((means - centre) @ axes)[:, None, :] + (roots @ circle).transpose(0, 2, 1)
    keep = np.sort(np.random.default_rng(0).permutation(len(points))[:limit])
    own = None if codes is None else np.asarray(codes)[keep]
    return Plane(
        (points[keep] - centre) @ axes, own, [str(c) for c in classes], ellipses, np.asarray(named), weights, shares
    )


def plot_plane(data: Plane, path: str | Path, title: str = "The mixture, by PCA") -> Path:
    """Draws the points in the colours of their classes, and each component as an ellipse in that of its answer."""
    figure = style.canvas(6.6)
    wide = 6.6
    axes = style.chart(figure, 0.6, 0.55, wide, 6.6 - style.HEAD - 0.75)
    colours, markers = style.class_look(len(data.classes))
    known = to_rgba_array([*colours, GREY])
    size = float(np.clip(14_000 / max(1, len(data.points)), 5, 22))
    look: dict[str, Any] = {"s": size, "linewidths": 0, "alpha": 0.55, "zorder": 2}
    if data.codes is None:
        axes.scatter(data.points[:, 0], data.points[:, 1], color=GREY, **look)
    else:
        shapes = np.array([*markers, style.MARKERS[0]])[data.codes]
        for marker in sorted(set(shapes.tolist())):
            mine = shapes == marker
            axes.scatter(data.points[mine, 0], data.points[mine, 1], c=known[data.codes[mine]], marker=marker, **look)
    strength = np.clip(data.weights / max(float(data.weights.max(initial=0)), 1e-12), 0.25, 1)
    inks = known[data.named] if len(data.classes) else np.tile(to_rgba_array(BLUE), (len(data.named), 1))
    halo = LineCollection(list(data.ellipses), colors="white", linewidths=3.2 * strength, zorder=3, alpha=0.8)
    axes.add_collection(halo)
    axes.add_collection(LineCollection(list(data.ellipses), colors=inks, linewidths=1.9 * strength, zorder=4))
    every = np.concatenate([data.points, data.ellipses.reshape(-1, 2)])
    low, high = np.quantile(data.points, 0.001, axis=0), np.quantile(data.points, 0.999, axis=0)
    reach = np.maximum(0.12 * (high - low), 1e-6)
    axes.set_xlim(max(low[0] - 2 * reach[0], every[:, 0].min()) - reach[0] / 4, high[0] + 2 * reach[0])
    axes.set_ylim(max(low[1] - 2 * reach[1], every[:, 1].min()) - reach[1] / 4, high[1] + 2 * reach[1])
    style.name_axes(axes, x=f"first principal component ({data.shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second ({data.shares[1]:.0%})", fontsize=9, color=MUTED, fontfamily=style.FONT, labelpad=2)
    names = style.clean_names(data.classes[: style.MAX_CLASSES], 16)
    for i, name in enumerate(names):
        at = 0.97 - 0.045 * i
        axes.scatter([1.035], [at], s=36, color=colours[i], marker=markers[i], transform=axes.transAxes, clip_on=False)
        owned = int((data.named == i).sum())
        style.note(axes, 1.06, at, f"{name}   ({owned})", color=INK)
    if len(names) and (data.named < 0).any():
        at = 0.97 - 0.045 * len(names) - 0.02
        style.note(axes, 1.02, at, f"○ unknown   ({(data.named < 0).sum()})", color=MUTED)
    said = "dots: examples by true class  ·  ellipses: components at two standard deviations"
    style.heading(figure, title, said + (" by answer (how many)" if len(data.classes) else ""))
    return style.save(figure, path)


@dataclass(frozen=True)
class Components:
    """What stands behind each component: its mean decoded, the examples nearest to it, draws from it."""

    names: list[str]  # the answer of each component
    notes: list[str]
    means: Floats  # (r, *shape)
    nearest: Floats  # (r, c, *shape)
    draws: Floats  # (r, c, *shape)
    features: space.Features | None
    total: int


def components_data(
    names: Sequence[str],
    notes: Sequence[str],
    means: Floats,
    nearest: Floats,
    draws: Floats,
    features: space.Features | None = None,
    total: int | None = None,
) -> Components:
    """Rows for the `total` components, or the first of them; images in [0, 1], tables in their own units."""
    return Components(
        [str(n) for n in names], [str(n) for n in notes], np.asarray(means), np.asarray(nearest), np.asarray(draws),
        features, len(means) if total is None else total,
    )  # fmt: skip


def plot_components(data: Components, path: str | Path, title: str = "The components") -> Path:
    """Draws a row of images per component; of a table, the columns of every component's mean as colours."""
    count = len(data.means)
    more = f"the {count} heaviest of {data.total}" if count < data.total else f"all {count}"
    if not examples.is_image(data.means.shape[1:]):
        return style.save(_component_columns(data, title, more), path)
    blank = np.ones_like(data.nearest[:, :1])  # white between the three kinds
    cells = np.concatenate([data.means[:, None], blank, data.nearest, blank, data.draws], axis=1)
    near = _centred("nearest training examples", data.nearest.shape[1])
    heads = ["mean", "", *near, "", *_centred("draws", data.draws.shape[1])]
    labels = (
        style.clean_names(data.names, 14)
        if len(set(data.names)) == count
        else [style.clean(name, 14) for name in data.names]
    )
    figure = space._strips(title, f"{more}, by weight  ·  mean and draws decoded", cells, labels, data.notes, heads)
    return style.save(figure, path)


def plot_class_samples(
    images: Floats, names: Sequence[str], path: str | Path, title: str = "New examples by class"
) -> Path:
    """Draws a row of images (r, c, H, W) in [0, 1] per class."""
    said = "decoded from draws of the components that answer with the class"
    labels = style.clean_names(names, 14)
    return style.save(space._strips(title, said, images, labels, [], [""] * images.shape[1]), path)


def _centred(text: str, count: int) -> list[str]:
    return [text if i == (count - 1) // 2 else "" for i in range(count)]


def _component_columns(data: Components, title: str, more: str) -> Any:
    """Component means (r, D) in standard deviations of the columns, those that differ most first."""
    flat: Floats = data.means.reshape(len(data.means), -1).astype(np.float64)
    features = data.features or space.features_data(flat.mean(0), flat.std(0))
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
    style.named_ticks(axes, "x", range(len(data.means)), [style.clean(name, 9) for name in data.names])
    axes.xaxis.tick_top()
    style.heading(figure, title, f"{more}, by weight  ·  mean of each column: orange above the data's, blue below")
    return figure


@dataclass(frozen=True)
class Confusion:
    """True classes (rows) by answers (columns), and the share of each row."""

    counts: Ints  # (C, C + 1) with "unknown" last, or (C, C)
    shares: Floats
    classes: list[str]
    accuracy: float


def confusion_data(counts: Any, classes: Sequence[str]) -> Confusion:
    """From the counts (C, C + 1) or (C, C); a table of more than 20 classes shows those of most errors."""
    table = np.asarray(counts, dtype=np.int64)
    accuracy = float(np.trace(table) / max(1, table.sum()))
    if len(classes) > MAX_CELLS:
        wrong = table.sum(1) - np.diag(table) + table[:, : len(table)].sum(0) - np.diag(table)
        worst = np.sort(np.argsort(-wrong, kind="stable")[:MAX_CELLS])
        table = table[worst][:, [*worst.tolist(), *range(len(classes), table.shape[1])]]
        classes = [classes[i] for i in worst.tolist()]
    total = np.maximum(table.sum(1, keepdims=True), 1)
    return Confusion(table, table / total, [str(c) for c in classes], accuracy)


def plot_confusion(data: Confusion, path: str | Path, title: str = "Confusion") -> Path:
    """Draws the matrix; the diagonal blue, errors orange."""
    C, columns = data.counts.shape
    cell = float(np.clip(6.6 / columns, 0.3, 0.6))
    names = style.clean_names(data.classes, 16)
    longest = max((len(name) for name in names), default=1)
    left, slanted = 0.75 + 0.078 * longest, 0.085 * longest > cell
    top = 0.35 + 0.07 * longest * slanted
    height = style.HEAD + top + cell * C + 0.3
    figure = style.canvas(height)
    axes = style.chart(figure, left, 0.25, cell * columns, cell * C, grid="none")
    right = np.eye(C, columns, dtype=bool)
    strength = np.where(right, data.shares, np.minimum(1, 4 * data.shares))[..., None] ** 0.6
    ink = np.where(right[..., None], np.array([36, 99, 168]), np.array([217, 100, 30]))
    axes.imshow((255 + strength * (ink - 255)).round().astype(np.uint8), aspect="auto", interpolation="nearest")
    size = float(np.clip(18 * cell, 6, 9))
    for i, j in zip(*np.nonzero(data.counts), strict=True):
        dark = strength[i, j, 0] > 0.6
        text = f"{data.counts[i, j]:,}"
        style.write(axes, j, i, text, ha="center", fontsize=size, color="white" if dark else INK)
    style.named_ticks(axes, "y", range(C), names)
    style.named_ticks(axes, "x", range(columns), [*names, "?"][:columns])
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", rotation=90 if slanted else 0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    worst = data.counts * ~right
    unknown = ", ?: unknown" if columns > C else ""
    said = f"rows: true class, columns: answer{unknown}  ·  accuracy {data.accuracy:.3f}"
    if worst.any():
        i, j = np.unravel_index(int(worst.argmax()), worst.shape)
        answer = [*data.classes, "unknown"][int(j)]
        said += f"  ·  most often {style.clean(data.classes[int(i)], 12)} as {style.clean(answer, 12)}"
    style.heading(figure, title, said)
    return style.save(figure, path)


def plot_coverage(curve: Mapping[str, Sequence[float]], path: str | Path, title: str = "Accuracy and coverage") -> Path:
    """Draws the accuracy of the surest answers against their share. curve: coverage, accuracy, threshold (m,)."""
    figure = style.canvas(3.9)
    axes = style.chart(figure, 0.7, 0.6, 6.4, 3.9 - style.HEAD - 0.95)
    coverage, accuracy, threshold = (np.asarray(curve[k], np.float64) for k in ("coverage", "accuracy", "threshold"))
    axes.plot(coverage, accuracy, color=BLUE, linewidth=2)
    axes.set_xlim(0, 1)
    low = min(0.9, float(accuracy.min(initial=1)) - 0.02)
    axes.set_ylim(low, 1.005)
    taken: list[float] = []
    for level in (0.99, 0.95, 0.9, 0.8, 0.5):
        answered = np.flatnonzero(threshold >= level)
        if not len(answered) or any(abs(coverage[answered[-1]] - t) < 0.09 for t in taken):
            continue
        i = int(answered[-1])
        taken.append(float(coverage[i]))
        axes.plot([coverage[i]], [accuracy[i]], "o", color=ORANGE, markersize=5, zorder=4)
        left = coverage[i] < 0.12  # where the axis leaves no room before the dot
        look = {"ha": "left" if left else "right", "va": "top", "fontsize": 8.5, "color": INK}
        shift = 0.008 if left else -0.008
        style.write(axes, coverage[i] + shift, accuracy[i] - 0.04 * (1.005 - low), f"p ≥ {level:g}", **look)
    style.name_axes(axes, x="share of test examples that are answered", y="accuracy among them")
    if len(coverage):
        last = f"all it knows: {accuracy[-1]:.3f}\nof {coverage[-1]:.1%} answered"
        style.note(axes, 1.02, float(np.clip((accuracy[-1] - low) / (1.005 - low), 0.08, 0.94)), last, color=BLUE)
    style.heading(figure, title, "answers below a probability are rejected  ·  dots: thresholds on it")
    return style.save(figure, path)


@dataclass(frozen=True)
class Budget:
    """Accuracy by number of labels, with standard errors; NaN where there is none."""

    labels: Floats  # (m,)
    names: list[str]
    means: list[Floats]
    errors: list[Floats]
    draws: int


def budget_data(table: Sequence[Mapping[str, Any]]) -> Budget:
    """From the rows of `label_budget`."""
    names = list(table[0]["accuracy"]) if table else []
    means, errors = [], []
    for name in names:
        means.append(np.array([style.as_float(row["accuracy"][name], "mean") for row in table]))
        errors.append(np.nan_to_num(np.array([style.as_float(row["accuracy"][name], "se") for row in table])))
    labels = np.array([row["labels"] for row in table], dtype=np.float64)
    return Budget(labels, names, means, errors, max((int(row["draws"]) for row in table), default=0))


def plot_budget(data: Budget, path: str | Path, title: str = "How many labels are enough") -> Path:
    """Draws a line per method over the number of labels, on a logarithmic axis, with bands of one standard error."""
    figure = style.canvas(4.6)
    axes = style.chart(figure, 0.7, 0.6, 5.9, 4.6 - style.HEAD - 0.95)
    every = np.concatenate([*data.means, np.empty(0)])
    low = max(0.0, float(np.nanmin(every)) - 0.04) if len(every) else 0.0
    axes.set_ylim(low, 1.0)
    axes.set_xscale("log")
    ends = []
    for i, (name, mean, error) in enumerate(zip(data.names, data.means, data.errors, strict=True)):
        ink = colour(i)
        axes.fill_between(data.labels, mean - error, mean + error, color=ink, alpha=0.18, linewidth=0)
        axes.plot(data.labels, mean, color=ink, linewidth=2, marker="o", markersize=3.5)
        ends.append((f"{METHODS.get(name, name)}  {mean[-1]:.3f}", ink, float((mean[-1] - low) / (1 - low))))
    heights = style.spread([e[2] for e in ends], 0.07)
    over = max(0.0, max(heights, default=0.0) - 0.98)
    for (text, ink, _), y in zip(ends, heights, strict=True):
        style.note(axes, 1.02, y - over, text, color=ink, weight="bold")
    # A logarithmic axis has ticks of its own; the numbers of labels that were tried say more.
    keep = [v for i, v in enumerate(data.labels) if i == 0 or v / data.labels[i - 1] > 1.35]
    axes.minorticks_off()
    axes.set_xticks(keep, labels=[f"{v:,.0f}" for v in keep])
    style.name_axes(axes, x="labels, as many of each class as they go", y="accuracy on the test split")
    style.heading(figure, title, f"mean and standard error over {data.draws} draws of labels; all labels: one draw")
    return style.save(figure, path)


def plot_em(
    curves: Mapping[str, Sequence[float]],
    bic: Mapping[str, float],
    path: str | Path,
    title: str = "Fitting",
) -> Path:
    """Draws the log-likelihood by iteration of each number of components, and BIC beside it."""
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
    style.name_axes(axes, x="iteration of EM", y="log p(z), nats per point")
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
    style.heading(figure, title, f"{said}  ·  the best of the starts of each number of components")
    return style.save(figure, path)


def plot_anomaly(
    known: Mapping[str, Floats],
    other: Mapping[str, Floats],
    found: Mapping[str, Mapping[str, Any]],
    names: tuple[str, str],
    path: str | Path,
    title: str = "Anomaly scores",
) -> Path:
    """Draws the histograms of every score for the model's own examples and for the others, with its AUROC."""
    rows = -(-len(found) // 2)
    each = 1.75
    height = style.HEAD + 0.1 + each * rows + 0.15
    figure = style.canvas(height)
    for i, (name, verdict) in enumerate(found.items()):
        top = height - style.HEAD - 0.1 - each * (i // 2)
        axes = style.chart(figure, 0.4 + 4.4 * (i % 2), top - each + 0.42, 3.9, each - 0.78, grid="x")
        both = np.concatenate([known[name], other[name]])
        low, high = np.quantile(both, (0.002, 0.998))
        edges = np.linspace(low, high if high > low else low + 1, int(np.clip(1.5 * len(both) ** 0.5, 15, 60)))
        for values, ink in ((known[name], BLUE), (other[name], ORANGE)):
            counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges, density=True)
            axes.fill_between((edges[1:] + edges[:-1]) / 2, counts, color=ink, alpha=0.35, linewidth=0)
            axes.plot((edges[1:] + edges[:-1]) / 2, counts, color=ink, linewidth=1.4)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelleft=False)
        word = "  FAILED" if verdict["failed"] else ""
        style.name_axes(axes, y=f"{name.replace('_', ' ')}  ·  AUROC {verdict['auroc']:.3f}{word}")
    own, others = (style.clean(name, 24) for name in names)
    style.heading(figure, title, f"blue: {own}, the model's own  ·  orange: {others}  ·  right is stranger")
    return style.save(figure, path)


__all__ = [
    "budget_data",
    "components_data",
    "confusion_data",
    "plane_data",
    "plot_anomaly",
    "plot_budget",
    "plot_class_samples",
    "plot_components",
    "plot_confusion",
    "plot_coverage",
    "plot_em",
    "plot_plane",
]
