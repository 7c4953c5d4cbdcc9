"""Learning curves of a network with a target: two metrics by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.plots import style
from vaelab.plots.style import BLUE, LIGHT, ORANGE, Floats

# Metrics: the title of the axis, and 1 where lower is better, else -1.
AXES = {
    "log_loss": ("log-loss, nats (lower is better)", 1),
    "accuracy": ("accuracy (higher is better)", -1),
    "log_density": ("log-density, nats (higher is better)", -1),
    "r2": ("R² (higher is better)", -1),
}
SPLITS = (("train", LIGHT, "#5c8fc4"), ("validation", BLUE, BLUE))


@dataclass(frozen=True)
class Learning:
    """Two metrics by epoch of both splits, NaN where an epoch has no value."""

    epochs: Floats  # (E,)
    curves: dict[str, dict[str, Floats]]  # metric -> split -> (E,)
    best: int | None  # index of the kept epoch
    floor: dict[str, float]  # per metric, the value of always the same prediction


def learning_data(
    history: Sequence[Mapping[str, Any]], reference: Mapping[str, Any], metrics: Sequence[str]
) -> Learning:
    """Two metrics from one record per epoch; `reference` has those of always the same prediction."""
    curves = {
        figure: {split: np.array([style.as_float(r.get(split), figure) for r in history]) for split, *_ in SPLITS}
        for figure in metrics
    }
    kept = [i for i, record in enumerate(history) if record.get("is_best")]
    floor = {figure: style.as_float(reference, figure) for figure in curves}
    epochs = np.array([style.as_float(record, "epoch") for record in history])
    return Learning(epochs, curves, kept[-1] if kept else None, floor)


def plot_learning(data: Learning, always: str, path: str | Path, title: str = "Learning") -> Path:
    """Draws both metrics; an orange dot marks the kept weights. always: what the reference predicts, in words."""
    figure = style.canvas(3.9)
    for i, name in enumerate(data.curves):
        label, sign = AXES[name]
        axes = style.chart(figure, 0.6 + 4.5 * i, 0.55, 2.45, 3.9 - style.HEAD - 0.95)
        own = data.curves[name]
        joint = np.stack([own[split] for split, *_ in SPLITS], axis=1).ravel()
        low, high = sorted(sign * v for v in style.legible_limits(sign * joint, skip=len(data.epochs) // 2, share=0.97))
        ends = []
        for split, ink, text in SPLITS:
            marker = "o" if len(data.epochs) < 4 else ""
            axes.plot(data.epochs, own[split], color=ink, linewidth=1.8, marker=marker, markersize=4)
            finite = own[split][np.isfinite(own[split])]
            if finite.size:
                ends.append((f"{split} {finite[-1]:.4g}", text, float(finite[-1])))
        if data.best is not None:
            value = float(own["validation"][data.best])
            axes.plot(data.epochs[data.best], value, "o", color=ORANGE, markersize=7, markeredgecolor="white", zorder=5)
            ends.append((f"● kept {value:.4g}", ORANGE, value))
        if name in ("accuracy", "r2"):
            high = min(high, 1 + 0.02 * (1 - low))  # nothing exceeds 1, but a dot needs some room
        axes.set_ylim(low, high)
        heights = style.spread([float(np.clip((v - low) / (high - low), 0.05, 0.97)) for *_, v in ends], 0.08)
        for (text, ink, _), height in zip(ends, heights, strict=True):
            style.note(axes, 1.02, height, text, color=ink, weight="bold", fontsize=8.5)
        style.whole_ticks(axes)
        style.name_axes(axes, x="epoch", y=label)
    said = f"always {always}: " + ", ".join(
        f"{AXES[n][0].split(',')[0].split(' (')[0]} {v:.3g}" for n, v in data.floor.items()
    )
    kept = "" if data.best is None else f"epoch {data.epochs[data.best]:.0f} of {data.epochs[-1]:.0f} is kept  ·  "
    style.heading(figure, title, kept + said)
    return style.save(figure, path)
