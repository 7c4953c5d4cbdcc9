"""Pictures of predictions: confusion matrix, accuracy against coverage and against the number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.plots import style
from vaelab.plots.models import colour
from vaelab.plots.style import BLUE, INK, ORANGE, Floats, Ints
from vaelab.wording import percent

MAX_CELLS = 20
METHODS = {
    "mixture": "mixture",
    "graph": "graph",
    "umap": "mixture on UMAP",
    "probe": "logistic probe",
    "neighbours": "nearest neighbours",
}


@dataclass(frozen=True)
class Confusion:
    """True classes (rows) by predictions (columns), and the share of each row."""

    counts: Ints  # (C, C + 1) with "unknown" last, or (C, C)
    shares: Floats
    classes: list[str]
    accuracy: float


def confusion_data(counts: Any, classes: Sequence[str]) -> Confusion:
    """From the counts (C, C + 1) or (C, C); beyond 20 classes, those with most errors."""
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
    said = f"rows: true class, columns: prediction{unknown}  ·  accuracy {data.accuracy:.3f}"
    if worst.any():
        i, j = np.unravel_index(int(worst.argmax()), worst.shape)
        answer = [*data.classes, "unknown"][int(j)]
        said += f"  ·  most often {style.clean(data.classes[int(i)], 12)} as {style.clean(answer, 12)}"
    style.heading(figure, title, said)
    return style.save(figure, path)


def plot_coverage(curve: Mapping[str, Sequence[float]], path: str | Path, title: str = "Accuracy and coverage") -> Path:
    """Draws accuracy against coverage, most confident predictions first. curve: coverage, accuracy, threshold (m,)."""
    figure = style.canvas(3.9)
    axes = style.chart(figure, 0.7, 0.6, 6.4, 3.9 - style.HEAD - 0.95)
    coverage, accuracy, threshold = (np.asarray(curve[k], np.float64) for k in ("coverage", "accuracy", "threshold"))
    axes.plot(coverage, accuracy, color=BLUE, linewidth=2)
    low = min(0.9, float(accuracy.min(initial=1)) - 0.02)
    high = 1 + 0.06 * (1 - low)  # a line at 1 and its last dot are inside the frame
    axes.set_xlim(0, 1.015)
    axes.set_ylim(low, high)
    taken: list[float] = []
    for level in (0.99, 0.95, 0.9, 0.8, 0.5):
        answered = np.flatnonzero(threshold >= level)
        if not len(answered) or any(abs(coverage[answered[-1]] - t) < 0.09 for t in taken):
            continue
        i = int(answered[-1])
        taken.append(float(coverage[i]))
        axes.plot([coverage[i]], [accuracy[i]], "o", color=ORANGE, markersize=5, zorder=4)
        left = coverage[i] < 0.12  # no room left of the dot
        look = {"ha": "left" if left else "right", "va": "top", "fontsize": 8.5, "color": INK}
        shift = 0.008 if left else -0.008
        style.write(axes, coverage[i] + shift, accuracy[i] - 0.04 * (high - low), f"p ≥ {level:g}", **look)
    style.name_axes(axes, x="share of test examples that are answered", y="accuracy of the answers")
    if len(coverage):
        last = f"no threshold: {accuracy[-1]:.3f}\nof {percent(coverage[-1], 1)} answered"
        style.note(axes, 1.02, float(np.clip((accuracy[-1] - low) / (high - low), 0.08, 0.94)), last, color=BLUE)
    style.heading(figure, title, "predictions below a probability are rejected  ·  dots: thresholds")
    return style.save(figure, path)


@dataclass(frozen=True)
class Budget:
    """Accuracy by number of labels, with standard errors; NaN if there is none."""

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


def plot_budget(data: Budget, path: str | Path, title: str = "Accuracy by number of labels") -> Path:
    """Draws a line per method over the number of labels, on a logarithmic axis, with bands of one standard error."""
    figure = style.canvas(4.6)
    axes = style.chart(figure, 0.7, 0.6, 5.9, 4.6 - style.HEAD - 0.95)
    every = np.concatenate([*data.means, np.empty(0)])
    low = max(0.0, float(np.nanmin(every)) - 0.04) if len(every) else 0.0
    axes.set_ylim(low, 1 + 0.02 * (1 - low))
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
    # Ticks at the numbers of labels tried, instead of those of a logarithmic axis.
    keep = [v for i, v in enumerate(data.labels) if i == 0 or v / data.labels[i - 1] > 1.35]
    axes.minorticks_off()
    axes.set_xticks(keep, labels=[f"{v:,.0f}" for v in keep])
    style.name_axes(axes, x="labels, balanced over classes", y="accuracy on the test split")
    style.heading(figure, title, f"mean and standard error over {data.draws} draws of labels; all labels: one draw")
    return style.save(figure, path)
