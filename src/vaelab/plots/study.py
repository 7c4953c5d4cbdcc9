"""Pictures of a study: search history, importance, rungs, latent size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from vaelab.plots import style
from vaelab.plots.style import BLUE, GREY, INK, LIGHT, MUTED, ORANGE, RED, Bools, Floats, Ints
from vaelab.settings.yardsticks import Yardstick
from vaelab.wording import counted, number, percent

Trials = Sequence[Mapping[str, Any]]

MAX_IMPORTANCES = 12
MAX_CURVES = 400


def _value(trial: Mapping[str, Any]) -> float:
    """The yardstick of a finished trial; NaN for any other."""
    return style.as_float(trial, "value") if trial["state"] == "COMPLETE" else float("nan")


def _rungs(trial: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Epochs and values of a trial's rungs, in order of the epochs, which are strings in JSON."""
    pairs = sorted((float(e), float("nan") if v is None else float(v)) for e, v in (trial.get("rungs") or {}).items())
    return np.array([e for e, _ in pairs]), np.array([v for _, v in pairs])


def _collapsed(trials: Trials) -> Bools:
    return np.array([trial.get("verdict") == "collapsed" for trial in trials], dtype=bool)


@dataclass(frozen=True)
class History:
    """The value of each trial, in order of their numbers."""

    numbers: Ints  # (T,)
    values: Floats  # (T,) NaN unless complete
    best: Floats  # (T,) lowest value so far among trials that did not collapse; NaN before the first
    last_rung: Floats  # (T,) last value of a pruned trial; NaN for the others
    collapsed: Bools  # (T,)
    failed: Bools  # (T,)
    winner: int | None = None  # index of the trial that won the finals


def history_data(trials: Trials, winner: int | None = None) -> History:
    """Values, the best so far, and the last values of pruned trials. winner: its number, after the finals."""
    trials = sorted(trials, key=lambda trial: int(trial["number"]))
    values = np.array([_value(trial) for trial in trials])
    collapsed = _collapsed(trials)
    usable = np.where(np.isfinite(values) & ~collapsed, values, np.inf)
    best = np.minimum.accumulate(usable) if len(usable) else usable
    last = [_rungs(t)[1][-1] if t["state"] == "PRUNED" and t.get("rungs") else float("nan") for t in trials]
    return History(
        np.array([int(trial["number"]) for trial in trials], dtype=np.int64),
        values,
        np.where(np.isfinite(best), best, np.nan),
        np.array(last),
        collapsed,
        np.array([trial["state"] == "FAIL" for trial in trials], dtype=bool),
        next((i for i, trial in enumerate(trials) if trial["number"] == winner), None),
    )


def _judged_by(axes: Axes, yardstick: Yardstick) -> str:
    """Labels costs on the vertical axis with values of the yardstick, in its usual direction; returns the axis name."""
    if yardstick.rises:
        axes.yaxis.set_major_formatter(lambda cost, _: f"{yardstick.cost(cost):.3f}".rstrip("0").rstrip("."))
        axes.invert_yaxis()
    return f"validation {yardstick.axis}"


def plot_history(data: History, path: str | Path, yardstick: Yardstick, title: str = "Search history") -> Path:
    """Draws every trial's value by its number, with the best so far as a step line."""
    figure = style.canvas(3.9)
    axes = style.chart(figure, 0.7, 0.55, 6.4, 3.9 - style.HEAD - 0.85)
    everything = np.concatenate([data.values, data.last_rung])
    low, high = style.legible_limits(everything)
    axes.set_ylim(low, high)
    if not np.isfinite(everything).any():
        axes.set_yticks([])
        style.note(axes, 0.5, 0.5, "no trial has a value yet", ha="center", fontsize=11)
    first = int(np.nanargmin(data.best)) if np.isfinite(data.best).any() else None
    if first is not None:
        look: dict[str, Any] = {"color": ORANGE, "markersize": 9, "markeredgecolor": "white", "zorder": 5}
        axes.plot(data.numbers[first], data.best[first], "o", **look)
    entries = []
    if data.winner is not None:
        _ring(axes, data.numbers[data.winner], data.values[data.winner])
        entries.append(("○", INK, f"the winner: trial {data.numbers[data.winner]}"))
    pad = 0.02 * max(1, len(data.numbers))
    axes.set_xlim(data.numbers.min(initial=0) - pad, data.numbers.max(initial=1) + pad)
    style.whole_ticks(axes)
    style.name_axes(axes, x="trial", y=f"{_judged_by(axes, yardstick)} ({yardstick.better})")
    finding = "there is no winner"
    if first is not None:
        found = f"best {number(yardstick.cost(data.best[first]))} at trial {data.numbers[first]}"
        finding = f"{found}  ·  {counted(len(data.numbers), 'trial')}"
        entries.append(("●", ORANGE, f"best value: trial {data.numbers[first]}"))
    side_key(axes, [*entries, *_draw_trials(axes, data, low, high)], 0.96)
    style.heading(figure, title, finding)
    return style.save(figure, path)


def _draw_trials(axes: Axes, data: History, low: float, high: float) -> list[tuple[str, str, str]]:
    """Marks of all trials by their final state; returns their entries of the legend."""
    fine, bad = np.isfinite(data.values) & ~data.collapsed, np.isfinite(data.values) & data.collapsed
    everything = np.concatenate([data.values, data.last_rung])
    _scatter(axes, data.numbers, data.last_rung, high, color=GREY, marker="_", s=40, linewidths=1.6)
    _scatter(
        axes,
        data.numbers[fine],
        data.values[fine],
        high,
        color=LIGHT,
        s=34,
        edgecolor="white",
        linewidths=0.6,
    )
    _scatter(axes, data.numbers[bad], data.values[bad], high, color=RED, marker="x", s=32, linewidths=1.5)
    axes.plot(
        data.numbers[data.failed],
        np.full(data.failed.sum(), low),
        "|",
        color=RED,
        markersize=9,
        clip_on=False,
    )
    axes.step(data.numbers, data.best, where="post", color=BLUE, linewidth=1.8)
    entries = [
        ("●", LIGHT, f"{fine.sum()} complete", fine.any()),
        (
            "—",
            GREY,
            f"{np.isfinite(data.last_rung).sum()} pruned,\nat their last rung",
            np.isfinite(data.last_rung).any(),
        ),
        ("×", RED, f"{bad.sum()} collapsed", bad.any()),
        ("|", RED, f"{data.failed.sum()} failed", data.failed.any()),
        ("▲", MUTED, "off scale", (everything[np.isfinite(everything)] > high).any()),
    ]
    return [(mark, ink, name) for mark, ink, name, is_there in entries if is_there]


def _scatter(axes: Axes, x: Ints | Floats, y: Floats, top: float, **look: Any) -> None:
    """Points; those above `top` become small triangles at the upper edge."""
    inside = np.isfinite(y) & (y <= top)
    axes.scatter(x[inside], y[inside], zorder=3, **look)
    above = np.isfinite(y) & (y > top)
    if above.any():
        axes.scatter(
            x[above],
            np.full(above.sum(), top),
            s=18,
            marker="^",
            color=look["color"],
            clip_on=False,
            zorder=3,
        )


def _ring(axes: Axes, x: Any, y: Any) -> None:
    """Marks the trial that won the finals, in every picture alike: orange is the best value of the search."""
    axes.plot(x, y, "o", markersize=12, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6, zorder=6)


def side_key(axes: Axes, entries: Sequence[Sequence[str]], start: float = 0.86) -> None:
    """Legend right of the axes: (mark, colour, name) each."""
    for mark, colour, name in entries:
        style.note(axes, 1.02, start, mark, color=colour, weight="bold", fontsize=10)
        style.note(axes, 1.05, start + 0.035, name, va="top", fontsize=8.5, linespacing=1.2)
        start -= 0.12 + 0.06 * name.count("\n")


@dataclass(frozen=True)
class Importance:
    """Share of the yardstick's variation explained by each parameter, largest first."""

    names: list[str]
    shares: Floats
    omitted: int


def importance_data(importance: Mapping[str, float], limit: int = MAX_IMPORTANCES) -> Importance:
    """The `limit` largest shares; non-finite ones count as 0."""
    cleaned = {name: value if np.isfinite(value) else 0.0 for name, value in importance.items()}
    pairs = sorted(cleaned.items(), key=lambda pair: (-pair[1], pair[0]))
    shares = np.array([value for _, value in pairs[:limit]], dtype=np.float64)
    return Importance([name for name, _ in pairs[:limit]], shares, max(0, len(pairs) - limit))


def plot_importance(
    data: Importance, path: str | Path, title: str = "Hyperparameter importance", of: str = "the variation"
) -> Path:
    """Draws the shares as horizontal bars, each labelled with its percentage."""
    count = len(data.names)
    height = style.HEAD + 0.35 + 0.3 * max(1, count)
    figure = style.canvas(height)
    names = style.clean_names(data.names, 28)
    left = 0.4 + 0.076 * max((len(name) for name in names), default=0)
    axes = style.chart(figure, left, 0.2, style.WIDTH - left - 0.8, height - style.HEAD - 0.25, grid="none")
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    if not count:
        style.heading(figure, title, "too few finished trials")
        axes.axis("off")
        return style.save(figure, path)
    y = np.arange(count)
    axes.barh(y, data.shares, height=0.62, color=[BLUE if s >= 0.1 else LIGHT for s in data.shares], linewidth=0)
    top = float(data.shares.max()) or 1.0
    for i, share in enumerate(data.shares):
        style.write(axes, share + 0.012 * top, i, percent(share), color=INK)
    axes.set_xlim(0, top * 1.02)
    axes.set_ylim(count - 0.5, -0.5)
    style.named_ticks(axes, "y", y.tolist(), names)
    axes.tick_params(axis="y", labelcolor=INK)
    more = f"  ·  {data.omitted} smaller ones not shown" if data.omitted else ""
    style.heading(figure, title, f"share of {of} between trials explained by each setting{more}")
    return style.save(figure, path)


@dataclass(frozen=True)
class Rungs:
    """Every trial's values at the rungs."""

    epochs: list[Floats]  # per trial
    values: list[Floats]  # per trial; for complete trials the last point is the final value
    pruned: Bools  # (T,)
    winner: int | None  # index of the best complete trial
    rung_epochs: Floats  # (R,) epochs of the rungs
    live: Ints  # (R,) trials that reported there


def rungs_data(trials: Trials, winner: int | None = None) -> Rungs:
    """Values at the rungs; a complete trial's curve ends at its last epoch with its final value.

    winner: the number of the trial that won the finals; by default the best of the search.
    """
    epochs, values, kept = [], [], []
    reached: dict[float, int] = {}
    for trial in trials:
        at, figures = _rungs(trial)
        for epoch in at.tolist():
            reached[epoch] = reached.get(epoch, 0) + 1
        last, final = style.as_float(trial, "epochs"), _value(trial)
        if np.isfinite(final) and np.isfinite(last) and (not at.size or last > at[-1]):
            at, figures = np.append(at, last), np.append(figures, final)
        if at.size:
            epochs.append(at)
            values.append(figures)
            kept.append(trial)
    pruned = np.array([trial["state"] == "PRUNED" for trial in kept], dtype=bool)
    rung_epochs = np.array(sorted(reached), dtype=np.float64)
    live = np.array([reached[epoch] for epoch in rung_epochs.tolist()], dtype=np.int64)
    return Rungs(epochs, values, pruned, _winner(kept, winner), rung_epochs, live)


def plot_rungs(data: Rungs, path: str | Path, yardstick: Yardstick, title: str = "Trials at the rungs") -> Path:
    """Draws one line per trial: grey if pruned, blue if not, bold and dark for the winner."""
    figure = style.canvas(4.1)
    axes = style.chart(figure, 0.7, 0.55, 6.4, 4.1 - style.HEAD - 1.15)
    joint = np.concatenate([*data.values, np.empty(0)])
    low, high = style.legible_limits(joint, share=0.85)
    for pruned, colour, alpha in ((True, GREY, 0.75), (False, BLUE, 0.45)):
        lines = [
            np.column_stack([e, v])
            for i, (e, v) in enumerate(zip(data.epochs, data.values, strict=True))
            if bool(data.pruned[i]) == pruned and i != data.winner
        ][:MAX_CURVES]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.0, alpha=alpha))
        ends = np.array([line[-1] for line in lines]).reshape(-1, 2)
        axes.scatter(ends[:, 0], ends[:, 1], s=12, color=colour, linewidths=0, zorder=3, clip_on=True)
    if data.winner is not None:
        e, v = data.epochs[data.winner], data.values[data.winner]
        axes.plot(e, v, color=INK, linewidth=2.6, marker="o", markersize=5, zorder=4)
    last = max((float(e[-1]) for e in data.epochs), default=1.0)
    first = min((float(e[0]) for e in data.epochs), default=0.0)
    axes.set_xlim(first - 0.03 * (last - first or 1), last + 0.03 * (last - first or 1))
    axes.set_ylim(low, high)
    if not data.values:
        axes.set_yticks([])
    style.whole_ticks(axes)
    style.name_axes(axes, x="epoch")
    style.note(axes, 0, 1.15, _judged_by(axes, yardstick), color=INK, fontsize=9.5)
    taken = -np.inf
    for epoch, live in zip(data.rung_epochs, data.live, strict=True):
        axes.axvline(epoch, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        share = (epoch - axes.get_xlim()[0]) / (axes.get_xlim()[1] - axes.get_xlim()[0])
        if share - taken > 0.075:
            style.note(axes, share, 1.05, f"{live} live", ha="center", color=INK, fontsize=8.5)
            taken = share
    entries = [("—", GREY, f"{data.pruned.sum()} pruned"), ("—", BLUE, f"{(~data.pruned).sum()} not pruned")]
    side_key(axes, [*entries, ("—", INK, "the winner")] if data.winner is not None else entries, 0.95)
    counts = " → ".join(str(n) for n in data.live[:8])
    finding = f"trials that reported at each rung: {counts}" if counts else "no trial reported at a rung"
    style.heading(figure, title, finding)
    return style.save(figure, path)


@dataclass(frozen=True)
class LatentSize:
    """Finished trials by the number of their latent dimensions."""

    sizes: Ints  # (T,)
    values: Floats  # (T,) costs
    collapsed: Bools  # (T,)
    winner: int | None  # index
    envelope_sizes: Ints  # (S,) each size once
    envelope: Floats  # (S,) lowest value at that size


def _winner(trials: Trials, number: int | None) -> int | None:
    """Index of the trial with this number, else of the best complete one that did not collapse."""
    for i, trial in enumerate(trials):
        if trial["number"] == number:
            return i
    values = np.array([_value(trial) for trial in trials])
    usable = np.where(np.isfinite(values) & ~_collapsed(trials), values, np.inf)
    return int(usable.argmin()) if len(usable) and np.isfinite(usable.min()) else None


def latent_size_data(trials: Trials, winner: int | None = None) -> LatentSize:
    """Finished trials and the lowest value at each latent size, collapsed ones excluded.

    winner: the number of the trial that won the finals; by default the best of the search.
    """
    done = [trial for trial in trials if np.isfinite(_value(trial))]
    sizes = np.array([int(t.get("params", {}).get("latent_dim") or t["spec"]["latent_dim"]) for t in done], np.int64)
    values = np.array([_value(trial) for trial in done])
    collapsed = _collapsed(done)
    usable = np.where(collapsed, np.inf, values)
    each = np.unique(sizes[~collapsed])
    envelope = np.array([usable[sizes == size].min() for size in each])
    return LatentSize(sizes, values, collapsed, _winner(done, winner), each, envelope)


def plot_latent_size(data: LatentSize, path: str | Path, yardstick: Yardstick) -> Path:
    """Draws one point per finished trial over its latent size (log2 scale), and the best of each size."""
    figure = style.canvas(3.9)
    axes = style.chart(figure, 0.7, 0.55, 6.4, 3.9 - style.HEAD - 0.85)
    low, high = style.legible_limits(data.values)
    axes.set_ylim(low, high)
    if not len(data.values):
        axes.set_yticks([])
    # Positions are log2 of the size with custom ticks: log axes take several times longer to draw.
    sizes, first = np.unique(np.log2(np.maximum(data.sizes, 1)), return_index=True)
    step = float(np.diff(sizes).min()) if len(sizes) > 1 else 1.0
    jitter = np.random.default_rng(0).uniform(-1, 1, len(data.sizes)) * min(0.12, 0.2 * step)
    x = np.log2(np.maximum(data.sizes, 1)) + jitter
    if data.winner is not None:
        x[data.winner] -= jitter[data.winner]
    if len(x):
        axes.set_xlim(sizes.min() - 0.25 * step, sizes.max() + 0.25 * step)  # the jitter is up to a fifth of a step
    axes.plot(np.log2(np.maximum(data.envelope_sizes, 1)), data.envelope, color=BLUE, linewidth=1.4, alpha=0.8)
    fine = ~data.collapsed
    _scatter(axes, x[fine], data.values[fine], high, color=LIGHT, s=38, edgecolor="white", linewidths=0.6)
    _scatter(axes, x[~fine], data.values[~fine], high, color=RED, marker="x", s=32, linewidths=1.5)
    entries = [
        ("●", LIGHT, counted(int(fine.sum()), "finished trial")),
        ("—", BLUE, "best of each size"),
    ]
    finding = "there is no winner"
    if data.winner is not None:
        _ring(axes, x[data.winner], data.values[data.winner])
        size = data.sizes[data.winner]
        entries.append(("○", INK, f"the winner: {size}"))
        value = number(yardstick.cost(data.values[data.winner]))
        finding = f"the winner reaches {value} with {counted(int(size), 'latent dimension')}"
    if not fine.all():
        entries.append(("×", RED, f"{(~fine).sum()} collapsed"))
    labels = data.sizes[first]
    _thin_ticks(axes, sizes, labels)
    style.name_axes(axes, x="latent dimensions", y=f"{_judged_by(axes, yardstick)} ({yardstick.better})")
    side_key(axes, entries, 0.95)
    style.heading(figure, f"{yardstick.title[:1].upper()}{yardstick.title[1:]} by latent size", finding)
    return style.save(figure, path)


def _thin_ticks(axes: Axes, positions: Floats, labels: Ints) -> None:
    """Ticks at the sizes that occur, as many as fit."""
    low, high = (float(positions.min()), float(positions.max())) if len(positions) else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.5
    axes.set_xlim(low - pad, high + pad)
    room = 0.045 * (high - low + 2 * pad)
    shown: list[int] = []
    for i in range(len(positions)):
        if not shown or positions[i] - positions[shown[-1]] >= room:
            shown.append(i)
    style.named_ticks(axes, "x", [float(positions[i]) for i in shown], [str(labels[i]) for i in shown])
