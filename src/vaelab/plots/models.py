"""Pictures of several models at once: architectures, losses, rate and distortion, KL per dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from vaelab.plots import style
from vaelab.plots.style import BLUE, GREY, INK, NATS, ORANGE, Floats
from vaelab.wording import number

# Blue and orange first, as in every picture of two things; then class hues that are distinct from them.
COLOURS = (BLUE, ORANGE, "#117733", "#aa4499", "#44aa99", "#882255", "#ddaa33", "#332288", "#999933", "#cc6677")
MAX_MODELS = len(COLOURS)
MAX_RANKS = 64


def colour(index: int) -> str:
    """The colour of the model at this position; beyond ten all are grey."""
    return COLOURS[index] if index < MAX_MODELS else GREY


def short_names(names: Sequence[str], limit: int = 18) -> list[str]:
    """Names of models, cleaned for drawing and distinct."""
    return style.clean_names(names, limit)


@dataclass(frozen=True)
class Network:
    """The widths of one model, from the example to the latents and back."""

    name: str
    encoder: list[int]  # features and hidden widths
    latent: int
    decoder: list[int]  # hidden widths and features
    parameters: int
    about: str


def architectures_data(networks: Mapping[str, Mapping[str, Any]]) -> list[Network]:
    """From {"features", "hidden", "latent", "parameters", "about"} of each model, by name; decoders mirror encoders."""
    found = []
    for name, facts in list(networks.items())[:MAX_MODELS]:
        widths = [int(facts["features"]), *(int(width) for width in facts["hidden"])]
        about = str(facts.get("about", ""))
        found.append(Network(str(name), widths, int(facts["latent"]), widths[::-1], int(facts["parameters"]), about))
    return found


def plot_architectures(data: Sequence[Network], path: str | Path, title: str = "Architectures") -> Path:
    """Draws every model as a row of bars with heights by log width, and the latents aligned."""
    each = 1.55 if len(data) <= 4 else 1.2 if len(data) <= 7 else 0.95
    height = style.HEAD + 0.3 + each * max(1, len(data))
    figure = style.canvas(height)
    axes = style.place(figure, 0, 0, style.WIDTH, height - style.HEAD)
    axes.axis("off")
    axes.set_xlim(0, style.WIDTH)
    axes.set_ylim(0, height - style.HEAD)
    middle = 5.85
    most = max((len(network.encoder) for network in data), default=1)
    step = min(0.95, 2.6 / most)
    widest = max((max(*network.encoder, network.latent) for network in data), default=2)
    names = short_names([network.name for network in data], 24)
    top = height - style.HEAD - 0.12
    for x, text in ((middle - step * most / 2, "encoder"), (middle, "z"), (middle + step * most / 2, "decoder")):
        style.write(axes, x, top, text, ha="center", color=BLUE if text == "encoder" else ORANGE if x > middle else INK)
    for row, (network, name) in enumerate(zip(data, names, strict=True)):
        y = height - style.HEAD - 0.3 - each * (row + 0.5)
        if row:
            axes.hlines(y + each / 2, 0.35, style.WIDTH - 0.35, colors=style.GRID, linewidth=0.8)
        style.write(axes, 0.35, y + 0.2, name, color=INK, fontsize=11, weight="bold")
        style.write(axes, 0.35, y - 0.04, f"{network.parameters:,} parameters", color=INK)
        style.write(axes, 0.35, y - 0.25, style.clean(network.about, 38), fontsize=8.5)
        _draw_network(axes, network, (middle, y), step, each, widest)
    counts = sorted(network.parameters for network in data)
    finding = "height of a bar: logarithm of its width"
    ratio = counts[-1] / max(1, counts[0]) if counts else 1.0
    if ratio >= 1.05:
        times = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
        finding += f"  ·  the largest has {times} times the parameters of the smallest"
    style.heading(figure, title, finding)
    return style.save(figure, path)


def _draw_network(
    axes: Axes, network: Network, centre: tuple[float, float], step: float, room: float, widest: int
) -> None:
    middle, y = centre
    widths = [*network.encoder, network.latent, *network.decoder]
    turn = len(network.encoder)
    x = middle + (np.arange(len(widths)) - turn) * step
    tall = (room - 0.42) * (0.12 + 0.88 * np.log2(np.array(widths) + 1) / np.log2(max(2, widest) + 1)) / 2
    bar = min(0.17, 0.34 * step)
    y += 0.08
    funnels = [
        [(x[i], y - tall[i]), (x[i], y + tall[i]), (x[i + 1], y + tall[i + 1]), (x[i + 1], y - tall[i + 1])]
        for i in range(len(widths) - 1)
    ]
    shades = ["#e7eff8"] * turn + ["#fbeae0"] * len(network.decoder)
    axes.add_collection(PolyCollection(funnels, facecolors=shades, linewidths=0))
    bars = [
        [
            (x[i] - bar / 2, y - tall[i]),
            (x[i] - bar / 2, y + tall[i]),
            (x[i] + bar / 2, y + tall[i]),
            (x[i] + bar / 2, y - tall[i]),
        ]
        for i in range(len(widths))
    ]
    inks = [BLUE] * turn + [INK] + [ORANGE] * len(network.decoder)
    axes.add_collection(PolyCollection(bars, facecolors=inks, linewidths=0, zorder=3))
    spare = max(1, int(0.36 / step + 0.999)) if step < 0.36 else 1
    for i, width in enumerate(widths):
        if i in (0, turn, len(widths) - 1) or abs(i - turn) % spare == 0:
            text = f"{width:,}"
            style.write(axes, x[i], y - tall[i] - 0.1, text, ha="center", fontsize=8.5, color=INK)


@dataclass(frozen=True)
class Course:
    """One model's losses by epoch over its seeds, in nats per example; NaN if no seed has a value."""

    name: str
    epochs: Floats  # (E,)
    validation: Floats  # (E,) mean over seeds
    low: Floats  # (E,) lowest and highest validation value over seeds
    high: Floats
    train: Floats  # (E,) mean over seeds
    seeds: int


@dataclass(frozen=True)
class Courses:
    """The losses of all models, and axis limits."""

    models: list[Course]
    limits: tuple[float, float]


def courses_data(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Courses:
    """Mean and range over seeds of neg_elbo, from one record per epoch: {"epoch", "train", "validation"} each."""
    models = [_course(str(name), seeds) for name, seeds in histories.items()]
    # Every model skips its own first quarter; interleaving by the fraction of epochs keeps them in time order.
    settled = [curve[len(m.epochs) // 4 :] for m in models for curve in (m.high, m.low, m.train)]
    return Courses(models, style.legible_limits(np.concatenate([*settled, np.empty(0)]), share=0.97))


def _course(name: str, seeds: Sequence[Sequence[Mapping[str, Any]]]) -> Course:
    epochs = sorted({int(record["epoch"]) for records in seeds for record in records})
    place = {epoch: i for i, epoch in enumerate(epochs)}
    figures = np.full((2, len(seeds), len(epochs)), np.nan)
    for k, records in enumerate(seeds):
        for record in records:
            for s, split in enumerate(("train", "validation")):
                figures[s, k, place[int(record["epoch"])]] = style.as_float(record.get(split), "neg_elbo")
    known = np.isfinite(figures)
    count = known.sum(1)
    mean = np.where(count > 0, np.where(known, figures, 0).sum(1) / np.maximum(count, 1), np.nan)
    low = np.where(known, figures, np.inf).min(1, initial=np.inf)[1]
    high = np.where(known, figures, -np.inf).max(1, initial=-np.inf)[1]
    met = count[1] > 0
    low, high = np.where(met, low, np.nan), np.where(met, high, np.nan)
    return Course(name, np.array(epochs, dtype=np.float64), mean[1], low, high, mean[0], len(seeds))


def plot_courses(data: Courses, path: str | Path, title: str = "Loss by epoch") -> Path:
    """Draws validation as solid lines with bands over the seeds, training as thin lines, labelled at their ends."""
    figure = style.canvas(4.4)
    axes = style.chart(figure, 0.7, 0.55, 6.0, 4.4 - style.HEAD - 0.9)
    low, high = data.limits
    ends: list[tuple[str, str, float]] = []
    names = short_names([model.name for model in data.models])
    for i, (model, name) in enumerate(zip(data.models, names, strict=True)):
        met = np.isfinite(model.validation)
        ink = colour(i)
        marker = "o" if met.sum() < 3 else ""
        axes.plot(model.epochs, model.train, color=ink, linewidth=1.1, alpha=0.4, linestyle=(0, (3, 2)))
        axes.plot(model.epochs[met], model.validation[met], color=ink, linewidth=2.0, marker=marker, markersize=4)
        if model.seeds > 1:
            axes.fill_between(
                model.epochs[met], model.low[met], model.high[met], color=ink, alpha=0.18, linewidth=0, zorder=1
            )
        if met.any() and i < MAX_MODELS:
            last = float(model.validation[met][-1])
            ends.append((f"{name}  {number(last)}", ink, float(np.clip((last - low) / (high - low), 0.03, 0.97))))
    axes.set_ylim(low, high)
    every = np.concatenate([model.epochs for model in data.models] or [np.empty(0)])
    if every.size:
        pad = 0.02 * float(every.max() - every.min()) or 0.5
        axes.set_xlim(float(every.min()) - pad, float(every.max()) + pad)
    style.whole_ticks(axes)
    style.name_axes(axes, x="epoch", y=f"negative ELBO, {NATS} (lower is better)")
    for (text, ink, _), y in zip(ends, style.spread([end[2] for end in ends], 0.075), strict=True):
        style.note(axes, 1.02, y, text, color=ink, weight="bold")
    seeds = max((model.seeds for model in data.models), default=0)
    band = f"  ·  band: lowest to highest of {seeds} seeds" if seeds > 1 else ""
    more = f"  ·  {len(data.models) - MAX_MODELS} models in grey" if len(data.models) > MAX_MODELS else ""
    style.heading(figure, title, f"solid: validation  ·  dashed: training{band}{more}")
    return style.save(figure, path)


@dataclass(frozen=True)
class Plane:
    """Rate and distortion of every seed of every model, in nats per example."""

    names: list[str]
    points: list[Floats]  # per model (seeds, 2): rate, distortion
    means: Floats  # (models, 2)
    limits: tuple[tuple[float, float], tuple[float, float]]  # of rate and of distortion
    levels: Floats  # neg_elbo of the lines of equal sum


def plane_data(points: Mapping[str, Sequence[tuple[float, float]]]) -> Plane:
    """(rate, distortion) of each seed by model; non-finite values are dropped."""
    given = [np.array(list(pairs), dtype=np.float64).reshape(-1, 2) for pairs in points.values()]
    found: list[Floats] = [pairs[np.isfinite(pairs).all(1)] for pairs in given]
    means = np.array([pairs.mean(0) if len(pairs) else (np.nan, np.nan) for pairs in found]).reshape(-1, 2)
    every = np.concatenate([*found, np.empty((0, 2))])
    if not len(every):
        return Plane([str(name) for name in points], found, means, ((0, 1), (0, 1)), np.empty(0))
    spans = []
    for values in every.T:
        low, high = float(values.min()), float(values.max())
        pad = max(0.15 * (high - low), 0.01 * abs(high), 0.1)
        spans.append((low - pad, high + pad))
    low, high = (sum(span[k] for span in spans) for k in (0, 1))
    step = _round_step((high - low) / 6)
    levels = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return Plane([str(name) for name in points], found, means, (spans[0], spans[1]), levels)


def _round_step(size: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most `size`."""
    power = 10.0 ** np.floor(np.log10(size))
    return float(power * max(factor for factor in (1, 2, 5) if factor * power <= size * (1 + 1e-9)))


def plot_plane(data: Plane, path: str | Path, title: str = "Rate and distortion") -> Path:
    """Draws a dot per seed and a ring at each model's mean, over lines of equal negative ELBO."""
    figure = style.canvas(4.8)
    axes = style.chart(figure, 0.75, 0.6, 5.7, 4.8 - style.HEAD - 0.95, grid="none")
    (x0, x1), (y0, y1) = data.limits
    axes.set_xlim(x0, x1)
    axes.set_ylim(y0, y1)
    lines = [[(x0, level - x0), (x1, level - x1)] for level in data.levels.tolist()]
    axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.8, linestyles=[(0, (4, 3))], zorder=1))
    for level in data.levels.tolist():
        # At the upper edge if the line crosses it, else at the left edge.
        x, y = (level - y1, y1) if level - y1 >= x0 else (x0, level - x0)
        if x < x0 + 0.9 * (x1 - x0) and y > y0 + 0.06 * (y1 - y0):
            look = {"ha": "left", "va": "top"} if y == y1 else {"ha": "left", "va": "bottom"}
            style.write(axes, x + 0.008 * (x1 - x0), y, f"{level:.10g}", fontsize=8, **look)
    names = short_names(data.names)
    best = np.where(np.isfinite(data.means.sum(1)), data.means.sum(1), np.inf)
    if len(best) and not np.isfinite(best.min()):
        style.note(axes, 0.5, 0.5, "no model has a value", ha="center")
    at = 0.97
    for i, (name, points) in enumerate(zip(names, data.points, strict=True)):
        axes.scatter(points[:, 0], points[:, 1], s=26, color=colour(i), alpha=0.55, linewidths=0, zorder=3)
        if len(points) > 1:
            axes.scatter(
                data.means[i, 0],
                data.means[i, 1],
                s=95,
                facecolor="none",
                edgecolor=colour(i),
                linewidths=2.0,
                zorder=4,
            )
        if i < MAX_MODELS and len(points):
            style.note(axes, 1.03, at, f"● {name}", color=colour(i), weight="bold")
            rate, distortion = (number(value) for value in data.means[i])
            text = f"{number(data.means[i].sum())} = {rate} + {distortion}"
            style.note(axes, 1.065, at - 0.06, text, fontsize=8.5)
            at -= 0.14 if len(names) <= 7 else 0.1
    style.name_axes(axes, x="rate, nats: information in z", y="distortion, nats: reconstruction error")
    ring = "dot: a seed, ring: the mean of a model  ·  " if any(len(p) > 1 for p in data.points) else ""
    style.heading(figure, title, f"{ring}dashed: equal negative ELBO, lower left is better")
    return style.save(figure, path)


@dataclass(frozen=True)
class Carried:
    """KL per latent dimension, sorted within each seed, in nats per example."""

    names: list[str]
    means: list[Floats]  # per model (d,) mean over seeds at each rank
    lows: list[Floats]
    highs: list[Floats]
    totals: list[float]  # the rate


def carried_data(kls: Mapping[str, Sequence[Floats]]) -> Carried:
    """KL per dimension (d,) of each seed by model. Dimensions have no order, so each seed is sorted separately."""
    means, lows, highs, totals = [], [], [], []
    for seeds in kls.values():
        ranked = np.array([np.sort(np.nan_to_num(np.asarray(kl, np.float64)))[::-1] for kl in seeds])
        ranked = ranked if ranked.size else np.zeros((1, 0))
        means.append(ranked.mean(0))
        lows.append(ranked.min(0))
        highs.append(ranked.max(0))
        totals.append(float(ranked.sum(1).mean()))
    return Carried([str(name) for name in kls], means, lows, highs, totals)


def plot_carried(data: Carried, path: str | Path, title: str = "KL per latent dimension") -> Path:
    """Draws the KL by rank, one line per model with a band over its seeds."""
    figure = style.canvas(3.9)
    axes = style.chart(figure, 0.7, 0.55, 6.0, 3.9 - style.HEAD - 0.9)
    ranks = min(MAX_RANKS, max((len(mean) for mean in data.means), default=1))
    names = short_names(data.names)
    at = 0.96
    for i, (name, mean, low, high) in enumerate(zip(names, data.means, data.lows, data.highs, strict=True)):
        place = np.arange(1, min(ranks, len(mean)) + 1)
        size = 6 if ranks <= 20 else 3
        axes.plot(place, mean[:ranks], "o-", color=colour(i), linewidth=1.8, markersize=size, markeredgewidth=0)
        axes.fill_between(place, low[:ranks], high[:ranks], color=colour(i), alpha=0.18, linewidth=0)
        if i < MAX_MODELS:
            style.note(axes, 1.03, at, f"● {name}", color=colour(i), weight="bold")
            text = f"{number(data.totals[i])} nats in {len(mean)} dimensions"
            style.note(axes, 1.065, at - 0.075, text, fontsize=8.5)
            at -= 0.17 if len(names) <= 5 else 0.1
    top = max((float(high.max(initial=0)) for high in data.highs), default=0)
    axes.set_ylim(-0.02 * top, 1.07 * max(top, 0.1))
    axes.set_xlim(0.5 if ranks < 10 else 0, ranks + 0.5)
    style.whole_ticks(axes)
    more = max((len(mean) for mean in data.means), default=0)
    axes_name = f"dimension, sorted by KL, first {ranks} of {more}" if more > ranks else "dimension, sorted by KL"
    style.name_axes(axes, x=axes_name, y=f"KL, {NATS}")
    style.heading(figure, title, "each seed sorted separately  ·  next to the names: total over dimensions")
    return style.save(figure, path)


__all__ = [
    "architectures_data",
    "carried_data",
    "courses_data",
    "plane_data",
    "plot_architectures",
    "plot_carried",
    "plot_courses",
    "plot_plane",
]
