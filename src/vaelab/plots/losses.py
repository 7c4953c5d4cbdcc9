"""The picture of the losses by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vaelab.plots import style
from vaelab.plots.style import BLUE, LIGHT, MUTED, NATS, ORANGE, Floats
from vaelab.wording import number

TERMS = ("neg_elbo", "rate", "distortion")


SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Losses:
    """Loss curves by epoch, in nats per example."""

    epochs: Floats  # (E,)
    curves: dict[str, dict[str, Floats]]  # split -> term -> (E,), NaN where an epoch has no value
    limits: dict[str, tuple[float, float]]  # term -> lowest and highest value drawn
    best: int | None  # index of the epoch with the lowest validation neg_elbo
    drawn: dict[str, float]  # references within the limits
    noted: dict[str, float]  # references that would squash the curves


def losses_data(history: Sequence[Mapping[str, Any]], references: Mapping[str, float] | None = None) -> Losses:
    """Curves and limits from one record per epoch.

    history: {"epoch", "lr", "train": {"neg_elbo", "distortion", "rate"}, "validation": {...}} per epoch.
    references: named levels of neg_elbo, such as the model without latents, in nats per example.
    """
    epochs = np.array([style.as_float(record, "epoch") for record in history])
    curves = {
        split: {term: np.array([style.as_float(record.get(split), term) for record in history]) for term in TERMS}
        for split in SPLITS
    }
    skip = len(epochs) // 4
    limits = {term: _curve_limits([curves[split][term] for split in SPLITS], skip) for term in TERMS}
    validation = curves["validation"]["neg_elbo"]
    best = int(np.nanargmin(np.where(np.isfinite(validation), validation, np.inf))) if len(epochs) else None
    if best is not None and not np.isfinite(validation[best]):
        best = None
    drawn: dict[str, float] = {}
    noted: dict[str, float] = {}
    low, high = limits["neg_elbo"]
    for name, level in (references or {}).items():
        near = low - 0.4 * (high - low) <= level <= high + 0.4 * (high - low)
        (drawn if near else noted)[name] = float(level)
    pad = 0.05 * (high - low)
    limits["neg_elbo"] = (
        min([low, *(v - pad for v in drawn.values())]),
        max([high, *(v + pad for v in drawn.values())]),
    )
    return Losses(epochs, curves, limits, best, drawn, noted)


def _curve_limits(curves: list[Floats], skip: int) -> tuple[float, float]:
    """Limits for curves (E,) of one term: the first `skip` epochs may be cut off, the rest may not."""
    # Interleaving by epoch keeps time order, which `skip` needs.
    joint = np.stack(curves, axis=1).ravel() if curves[0].size else np.empty(0)
    return style.legible_limits(joint, skip=2 * skip, share=0.97)


def plot_losses(data: Losses, path: str | Path, title: str = "Loss by epoch") -> Path:
    """Draws neg_elbo of train and validation on the left, rate and distortion on the right."""
    figure = style.canvas(4.1)
    style.heading(figure, title, _losses_finding(data))
    bottom, top = 0.55, 4.1 - style.HEAD - 0.3
    main = style.chart(figure, 0.6, bottom, 4.1, top - bottom)
    _draw_term(main, data, "neg_elbo", f"negative ELBO, {NATS}")
    style.name_axes(main, x="epoch")
    low, high = data.limits["neg_elbo"]
    for name, level in data.drawn.items():
        main.axhline(level, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        text = f"{style.clean(name, 30)} {number(level)}"
        style.note(
            main,
            0.99,
            level + 0.015 * (high - low),  # clear of its line
            text,
            transform=main.get_yaxis_transform(),
            ha="right",
            va="bottom",
            fontsize=8.5,
        )
    if data.best is not None:
        x, y = data.epochs[data.best], data.curves["validation"]["neg_elbo"][data.best]
        main.plot(x, y, "o", color=ORANGE, markersize=7, markeredgecolor="white", markeredgewidth=1.2, zorder=5)
    _label_ends(main, data)
    small = (top - bottom - 0.55) / 2
    upper = style.chart(figure, 6.65, bottom + small + 0.55, 2.15, small)
    lower = style.chart(figure, 6.65, bottom, 2.15, small)
    _draw_term(upper, data, "rate", "rate, nats")
    _draw_term(lower, data, "distortion", "distortion, nats")
    upper.tick_params(labelbottom=False)
    style.name_axes(lower, x="epoch")
    return style.save(figure, path)


def _losses_finding(data: Losses) -> str:
    parts = []
    if data.best is None:
        parts.append("no validation loss was recorded")
    else:
        value = number(data.curves["validation"]["neg_elbo"][data.best])
        epoch = f"best epoch {data.epochs[data.best]:.0f} of {data.epochs[-1]:.0f}"
        parts.append(f"{epoch}: validation {value} {NATS} with few draws of z")
    parts += [f"{style.clean(name, 30)}: {number(level)}" for name, level in data.noted.items()]
    return "  ·  ".join(parts).replace(r"\$", "$")


def _draw_term(axes: Axes, data: Losses, term: str, name: str) -> None:
    for split, colour, width in (("train", LIGHT, 1.8), ("validation", BLUE, 1.8)):
        marker = "o" if len(data.epochs) < 4 else ""
        axes.plot(data.epochs, data.curves[split][term], color=colour, linewidth=width, marker=marker, markersize=4)
    axes.set_ylim(*data.limits[term])
    if len(data.epochs):
        first, last = float(data.epochs[0]), float(data.epochs[-1])
        pad = 0.02 * (last - first) or 0.5
        axes.set_xlim(first - pad, last + pad)
    style.whole_ticks(axes)
    style.name_axes(axes, y=name)


def _label_ends(axes: Axes, data: Losses) -> None:
    """Labels the curves at their ends and the best epoch at its height, so that no legend is needed."""
    low, high = data.limits["neg_elbo"]
    labels: list[tuple[str, str, float]] = []
    for split, colour in (("train", "#5c8fc4"), ("validation", BLUE)):
        finite = data.curves[split]["neg_elbo"][np.isfinite(data.curves[split]["neg_elbo"])]
        if finite.size:
            labels.append((f"{split} {number(finite[-1])}", colour, float(finite[-1])))
    if data.best is not None:
        best = float(data.curves["validation"]["neg_elbo"][data.best])
        labels.append((f"● best {number(best)}", ORANGE, best))
    wanted = [float(np.clip((value - low) / (high - low), 0.05, 0.97)) for _, _, value in labels]
    for (text, colour, _), height in zip(labels, style.spread(wanted, 0.08), strict=True):
        style.note(axes, 1.02, height, text, color=colour, weight="bold", fontsize=9)
