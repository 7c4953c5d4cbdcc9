"""Pictures of a classifier: calibration, most confident errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.plots import examples, style
from vaelab.plots.style import BLUE, GREY, INK, MUTED, ORANGE, Floats
from vaelab.wording import counted, percent


def plot_reliability(found: Mapping[str, Any], path: str | Path, title: str = "Calibration") -> Path:
    """Draws accuracy against confidence in bins of equal mass, before and after temperature scaling.

    found: a model's metrics, with `reliability`, `ece`, `temperature` and `unscaled`.
    """
    figure = style.canvas(5.0)
    side = 5.0 - style.HEAD - 0.8
    axes = style.chart(figure, 0.7, 0.6, side, side)
    curves = {name: found["reliability"][name] for name in ("unscaled", "scaled")}
    every = np.concatenate([np.asarray(c[k], np.float64) for c in curves.values() for k in ("confidence", "accuracy")])
    low = max(0.0, float(np.floor(20 * every.min()) / 20 - 0.05))
    axes.plot([low, 1], [low, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for name, ink in (("unscaled", GREY), ("scaled", BLUE)):
        confidence, accuracy = (np.asarray(curves[name][k], np.float64) for k in ("confidence", "accuracy"))
        count = np.asarray(curves[name]["count"], np.float64)
        error = np.sqrt(np.maximum(accuracy * (1 - accuracy), 0) / count)
        axes.vlines(confidence, accuracy - error, np.minimum(1, accuracy + error), color=ink, linewidth=1.2, alpha=0.7)
        axes.plot(confidence, accuracy, color=ink, linewidth=1.6, marker="o", markersize=4.5, zorder=3)
    axes.set_xlim(low, 1.005)
    axes.set_ylim(low, 1.005)
    style.name_axes(axes, x="probability of the prediction", y="share of these predictions that are correct")
    temperature = found["temperature"]
    way = "overconfident" if temperature > 1 else "underconfident"
    style.note(axes, 1.06, 0.9, "● scaled", color=BLUE, weight="bold")
    style.note(axes, 1.06, 0.84, f"ECE {found['ece']:.4f}, log-loss {found['log_loss']:.4f}", color=BLUE)
    style.note(axes, 1.06, 0.74, "● unscaled", color=MUTED, weight="bold")
    raw = found["unscaled"]
    style.note(axes, 1.06, 0.68, f"ECE {raw['ece']:.4f}, log-loss {raw['log_loss']:.4f}", color=MUTED)
    style.note(axes, 1.06, 0.55, f"temperature {temperature:.3f}, fitted on\nvalidation: {way}", color=INK)
    style.note(
        axes,
        1.06,
        0.36,
        "dashed: perfect calibration;\nbelow it, predictions are\noverconfident",
        color=MUTED,
    )
    style.note(axes, 1.06, 0.18, "bars: one standard error", color=MUTED)
    bins = len(curves["scaled"]["count"])
    style.heading(figure, title, f"{counted(found['examples'], 'example')} in {bins} bins of equal mass")
    return style.save(figure, path)


@dataclass(frozen=True)
class Mistakes:
    """Misclassified images, most confident first."""

    images: Floats  # (m, H, W[, C]) in [0, 1]
    truth: list[str]
    answers: list[str]
    confidence: Floats  # (m,)
    total: int  # number of errors
    examples: int


def plot_mistakes(data: Mistakes, path: str | Path, title: str = "Most confident errors") -> Path:
    """Draws the images with the prediction, its probability and the true class below each."""
    if not len(data.images):
        return style.save(examples._empty(title, "every prediction is correct"), path)
    columns, (H, W) = 6, data.images.shape[1:3]
    rows = -(-len(data.images) // columns)
    each = (style.WIDTH - 0.4) / columns
    picture = min(1.05, each - 0.2)
    tall = picture * min(1.0, H / W) + 0.5
    figure = style.canvas(style.HEAD + rows * tall + 0.1)
    height = float(figure.get_size_inches()[1])
    pixels = examples.as_pixels(data.images)
    for i, image in enumerate(pixels):
        left = 0.2 + each * (i % columns) + (each - picture) / 2
        top = height - style.HEAD - tall * (i // columns)
        wide = picture * min(1.0, W / H)
        axes = style.place(
            figure, left + (picture - wide) / 2, top - picture * min(1.0, H / W), wide, picture * min(1.0, H / W)
        )
        axes.imshow(image, interpolation="nearest", aspect="auto")
        axes.axis("off")
        look = {"ha": "center", "va": "top", "fontsize": 8.5}
        style.note(
            axes,
            0.5,
            -0.05,
            f"{style.clean(data.answers[i], 12)} {percent(data.confidence[i])}",
            color=ORANGE,
            **look,
        )
        style.note(axes, 0.5, -0.21, f"is {style.clean(data.truth[i], 13)}", color=INK, **look)
    said = f"the {len(data.images)} most confident of {data.total:,} errors on {data.examples:,} examples"
    style.heading(figure, title, f"{said}  ·  orange: the prediction and its probability")
    return style.save(figure, path)
