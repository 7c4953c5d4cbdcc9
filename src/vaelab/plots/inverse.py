"""Pictures of an inverse problem: candidates over measurements, end points over solutions, recall against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vaelab.plots import style
from vaelab.plots.style import BLUE, INK, LIGHT, MUTED, ORANGE, Bools, Floats
from vaelab.wording import percent

SHOWN = 3  # curves
RANKED = 8  # most coordinates shown
METHOD_COLOURS = (LIGHT, BLUE, ORANGE, "#44aa99", "#aa4499", INK)


@dataclass(frozen=True)
class Solved:
    """Candidates for some measurements: inputs (k, n, inputs, points), outputs, the measurements, and the gates."""

    x: Floats
    reference: Floats  # (k, inputs, points)
    reproduced: Floats  # (k, n, outputs, points)
    measured: Floats  # (k, outputs, points)
    passing: Bools  # (k, n)
    x_unit: str = ""  # in words, unless each input is in its own
    y_unit: str = ""


def solved_data(
    x: Floats, reference: Floats, reproduced: Floats, measured: Floats, passing: Bools,
    x_scale: Floats, y_scale: Floats,
) -> Solved:  # fmt: skip
    """The first curves; arrays with one output get an axis for it.

    Inputs or outputs whose scales (parts,) differ by more than a factor of ten are shown in units of these.
    """
    k = slice(SHOWN)
    outputs = reproduced if reproduced.ndim == 4 else reproduced[:, :, None]
    targets = measured if measured.ndim == 3 else measured[:, None]
    x_unit, y_unit = (_common_unit(scale) for scale in (x_scale, y_scale))
    return Solved(
        x[k] / x_unit, reference[k] / x_unit, outputs[k] / y_unit, targets[k] / y_unit, passing[k],
        "in units of each range" if x_unit.size > 1 else "", "in standard deviations" if y_unit.size > 1 else "",
    )  # fmt: skip


def _common_unit(scale: Floats) -> Floats:
    """1, or if one axis does not suit all parts, their scales (parts, 1)."""
    return scale[:, None] if scale.max() > 10 * scale.min() else np.ones(1)


def _curves(axes: Axes, curves: Floats, colours: Sequence[str], alpha: float = 0.35) -> None:
    t = np.arange(curves.shape[-1])
    segments = [np.column_stack([t, c]) for c in curves]
    axes.add_collection(LineCollection(segments, colors=list(colours), linewidths=1.0, alpha=alpha))


def plot_solved(data: Solved, path: str | Path, title: str = "Candidates") -> Path:
    """A row per measurement: inputs over the true ones, outputs over the measured ones, and the residuals."""
    k, _, inputs, points = data.x.shape
    outputs = data.reproduced.shape[2]
    height = style.HEAD + 1.75 * k + 0.55
    figure = style.canvas(height)
    share = float(data.passing.mean()) if data.passing.size else 0.0
    style.heading(
        figure,
        title,
        f"{percent(share, 1)} of those shown pass every gate (blue); the others are orange; dark: the truth",
    )
    for row in range(k):
        bottom = height - style.HEAD - 1.75 * (row + 1) + 0.25
        panels = [style.chart(figure, 0.55 + 2.95 * i, bottom, 2.45, 1.3) for i in range(3)]
        colours = [BLUE if ok else ORANGE for ok in data.passing[row]]
        for i in range(inputs):
            _curves(panels[0], data.x[row, :, i], colours)
            panels[0].plot(data.reference[row, i], color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        for i in range(outputs):
            _curves(panels[1], data.reproduced[row, :, i], colours)
            panels[1].plot(data.measured[row, i], color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            _curves(panels[2], data.reproduced[row, :, i] - data.measured[row, i], colours)
        largest = float(np.abs(data.reproduced[row] - data.measured[row, None]).max()) or 1.0
        panels[2].yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0e}" if 0 < abs(v) < 1e-3 else f"{v:g}"))
        panels[2].set_ylim(-1.1 * largest, 1.1 * largest)
        for axes in panels:
            axes.set_xlim(-1, points)
            axes.autoscale_view(scalex=False)
        if row == 0:
            units = [f", {unit}" if unit else "" for unit in (data.x_unit, data.y_unit, data.y_unit)]
            for axes, name in zip(panels, map(str.__add__, ("inputs x", "f(x) and y", "f(x) - y"), units), strict=True):
                style.name_axes(axes, y=name)
        if row == k - 1:
            for axes in panels:
                style.name_axes(axes, x="point")
    return style.save(figure, path)


@dataclass(frozen=True)
class Ends:
    """End points (n, 4) of candidates for one measurement, whether they pass, and those (S, 4) of all solutions."""

    candidates: Floats
    passing: Bools
    solutions: Floats


def plot_ends(data: Sequence[Ends], path: str | Path, title: str = "End points over all solutions") -> Path:
    """For some measurements, the first and last points (x0, x1) of candidates over those of all solutions."""
    k = min(SHOWN, len(data))
    height = style.HEAD + 6.1
    figure = style.canvas(height)
    counts = ", ".join(str(len(d.solutions)) for d in data[:k])
    style.heading(
        figure, title, f"rings: all solutions ({counts}); blue: candidates that pass every gate, orange: others"
    )
    for column in range(k):
        for row, (a, b, name) in enumerate(((0, 2, "first points"), (1, 3, "last points"))):
            axes = style.chart(figure, 0.55 + 2.95 * column, 0.5 + 3.0 * (1 - row), 2.3, 2.3)
            own = data[column]
            colours = np.where(own.passing, BLUE, ORANGE)
            axes.scatter(own.candidates[:, a], own.candidates[:, b], s=9, c=colours, alpha=0.6, linewidths=0, zorder=3)
            axes.scatter(own.solutions[:, a], own.solutions[:, b], s=60, facecolors="none", edgecolors=INK, zorder=4)
            axes.set_xlim(-0.05, 1.05)
            axes.set_ylim(-0.05, 1.05)
            style.name_axes(axes, x="x0", y=f"{name}, x1" if column == 0 else "x1")
    return style.save(figure, path)


@dataclass(frozen=True)
class Race:
    """Recall of each method against candidates per curve and seconds per curve."""

    names: list[str]
    candidates: list[Floats]
    seconds: list[Floats]
    recall: list[Floats]


def race_data(attempts: Sequence[Mapping[str, Any]], curves: int) -> Race:
    """From attempts as dictionaries; for a method with several budgets, the one with the most candidates."""
    longest: dict[str, Mapping[str, Any]] = {}
    for attempt in attempts:
        name = str(attempt["method"]).replace(", refined", " refined").split(", ")[0]
        if attempt["recall_curve"] and attempt["candidates"] > longest.get(name, {"candidates": 0})["candidates"]:
            longest[name] = attempt
    candidates: list[Floats] = []
    seconds: list[Floats] = []
    recall: list[Floats] = []
    for attempt in longest.values():
        table = np.array(attempt["recall_curve"], dtype=np.float64)
        candidates.append(table[:, 0])
        seconds.append(table[:, 0] / attempt["candidates"] * attempt["seconds"] / curves)
        recall.append(table[:, 1])
    return Race(list(longest), candidates, seconds, recall)


def plot_race(data: Race, path: str | Path, title: str = "Recall and cost") -> Path:
    """Recall against candidates on the left and seconds on the right, on logarithmic axes."""
    figure = style.canvas(4.4)
    style.heading(figure, title, "share of all solutions found; cost includes sampling and refinement, not training")
    left, right = style.chart(figure, 0.6, 1.2, 3.8, 2.2), style.chart(figure, 4.95, 1.2, 3.8, 2.2)
    for axes, price, name in (
        (left, data.candidates, "candidates per measurement"),
        (right, data.seconds, "seconds per measurement"),
    ):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        for i, recall in enumerate(data.recall):
            axes.plot(np.maximum(price[i], 1e-6), recall, color=METHOD_COLOURS[i % len(METHOD_COLOURS)], linewidth=1.7)
        axes.set_ylim(-0.02, 1.04)
        style.name_axes(axes, x=name, y="recall" if axes is left else "")
    right.set_xlim(left=1e-4)
    for i, name in enumerate(data.names):
        colour = METHOD_COLOURS[i % len(METHOD_COLOURS)]
        style.note(left, 0.78 * (i % 3), -0.32 - 0.12 * (i // 3), style.clean(name), color=colour, weight="bold")
    return style.save(figure, path)


def plot_refinement(misfit: Floats, inside: float, path: str | Path, title: str = "Misfit by refinement step") -> Path:
    """Quantiles over all candidates of the misfit (steps + 1, candidates) after each step: the largest of all outputs,
    in units of its gate. inside: the share of candidates that pass it for every output.
    """
    figure = style.canvas(3.7)
    style.heading(figure, title, f"{percent(inside, 1)} of the candidates are within the gate of every output")
    axes = style.chart(figure, 0.75, 0.55, 6.6, 2.2)
    steps = np.arange(len(misfit))
    levels = np.maximum(np.quantile(misfit, [0.1, 0.25, 0.5, 0.75, 0.9], axis=1), 1e-8)  # 0 has no logarithm
    axes.set_yscale("log")
    axes.fill_between(steps, levels[0], levels[4], color=LIGHT, alpha=0.3, linewidth=0)
    axes.fill_between(steps, levels[1], levels[3], color=LIGHT, alpha=0.5, linewidth=0)
    axes.plot(steps, levels[2], color=BLUE, linewidth=1.8)
    axes.axhline(1, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    style.note(axes, 1.02, 1, "gate", transform=axes.get_yaxis_transform(), fontsize=8.5)
    style.note(axes, 1.02, float(levels[2, -1]), "median", transform=axes.get_yaxis_transform(), color=BLUE)
    axes.set_xlim(0, max(1, len(misfit) - 1))
    style.whole_ticks(axes)
    style.name_axes(axes, x="step", y="largest misfit of an output / its gate; bands: 50 % and 80 % of the candidates")
    return style.save(figure, path)


@dataclass(frozen=True)
class Pairs:
    """Candidates (n, d) for one measurement of a problem whose x is a vector."""

    candidates: Floats
    passing: Bools
    reference: Floats  # (d,)
    names: Sequence[str] = ("x0", "x1")


def plot_pairs(data: Sequence[Pairs], path: str | Path, title: str = "Candidates") -> Path:
    """The first two inputs of candidates for some measurements, over the true x."""
    k = min(SHOWN, len(data))
    figure = style.canvas(style.HEAD + 2.95)
    style.heading(figure, title, "blue: candidates that pass the gate, orange: others; cross: the true x")
    for column in range(k):
        own = data[column]
        axes = style.chart(figure, 0.6 + 2.95 * column, 0.55, 2.3, 2.1)
        second = own.candidates[:, 1] if own.candidates.shape[1] > 1 else np.zeros(len(own.candidates))
        colours = np.where(own.passing, BLUE, ORANGE)
        axes.scatter(own.candidates[:, 0], second, s=9, c=colours, alpha=0.6, linewidths=0)
        at = own.reference[1] if len(own.reference) > 1 else 0.0
        axes.scatter([own.reference[0]], [at], marker="x", s=70, color=INK, zorder=4)
        second_name = own.names[1] if len(own.names) > 1 else ""
        style.name_axes(axes, x=own.names[0], y=second_name if column == 0 else "")
        if not second_name:
            axes.set_yticks([])
    return style.save(figure, path)


@dataclass(frozen=True)
class Ranks:
    """For some coordinates, counts of true values per rank bin (d, bins) among draws, and their band."""

    counts: Floats
    low: float
    high: float
    p_values: list[float]
    names: list[str]


def ranks_data(calibration: Mapping[str, Any]) -> Ranks:
    """The first coordinates of the result of inverse.posterior.check."""
    low, high = calibration["band"]
    return Ranks(
        np.array(calibration["counts"], dtype=np.float64)[:RANKED], low, high, calibration["p_values"][:RANKED],
        calibration["names"][:RANKED],
    )  # fmt: skip


def plot_ranks(data: Ranks, path: str | Path, title: str = "Calibration of unrefined posterior draws") -> Path:
    """A histogram per coordinate of the truth's rank among draws, over the band of a calibrated model (Talts 2018)."""
    d, bins = data.counts.shape
    rows = -(-d // 4)
    height = style.HEAD + 1.95 * rows + 0.35
    figure = style.canvas(height)
    inside = float(((data.counts >= data.low) & (data.counts <= data.high)).mean())
    style.heading(figure, title, f"{percent(inside)} of the bins are in the grey band; 99 % for a calibrated model")
    top = 1.15 * max(float(data.counts.max()), data.high)
    for k in range(d):
        row, column = divmod(k, 4)
        bottom = height - style.HEAD - 1.95 * (row + 1) + 0.4
        axes = style.chart(figure, 0.6 + 2.08 * column, bottom, 1.7, 1.25, grid="y")
        axes.axhspan(data.low, data.high, color=MUTED, alpha=0.25, linewidth=0)
        outside = (data.counts[k] < data.low) | (data.counts[k] > data.high)
        colours = np.where(outside, ORANGE, BLUE)
        axes.bar((np.arange(bins) + 0.5) / bins, data.counts[k], width=0.9 / bins, color=list(colours))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, top)
        style.name_axes(axes, x="rank of the true value" if row == rows - 1 else "", y="pairs" if column == 0 else "")
        style.note(axes, 0.03, 0.93, style.clean(data.names[k], 26), transform=axes.transAxes, fontsize=8.5)
    return style.save(figure, path)
