"""Simpler models of scikit-learn beside a network, fitted on its training rows and its inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.settings.yardsticks import Yardstick
from vaelab.supervised.feed import SupervisedFeed
from vaelab.wording import number

Floats = npt.NDArray[np.float64]
MOST_PIXELS = 200  # inputs of an image, beyond which these models take long and are no match for a network
MOST_CELLS = 20_000_000  # of the training rows of a table


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A simpler model, and its metrics on validation and test."""

    name: str
    validation: Mapping[str, Any]
    test: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def left_out(feed: SupervisedFeed) -> str | None:
    """Why no simpler model is fitted; None if they are."""
    if feed.data.is_image and feed.features > MOST_PIXELS:
        return f"simpler models are left out: the images have {feed.features:,} inputs, more than {MOST_PIXELS}."
    cells = feed.features * len(feed.data.splits["train"])
    if cells > MOST_CELLS:
        return f"simpler models are left out: {cells:,} cells to fit are more than {MOST_CELLS:,}."
    return None


def inputs(feed: SupervisedFeed, split: str) -> Floats:
    """A split's rows (n, D) as the network sees them."""
    x = feed.batches(split, 1).gather(feed.features, torch.float64)
    return np.ascontiguousarray(x.cpu().numpy())


def beaten_by(baselines: Sequence[Baseline], best: Mapping[str, Any], yardstick: Yardstick) -> str:
    """That a simpler model is better on test by a yardstick, in a sentence; "" if none is.

    The winner was chosen on validation, which flatters it there; nothing was chosen on test.
    """

    def cost(metrics: Mapping[str, Any]) -> float:
        value = metrics.get(yardstick.name)  # R² is none where the targets of a split are equal
        return np.inf if value is None else yardstick.cost(float(value))

    if not baselines:
        return ""
    first = min(baselines, key=lambda each: cost(each.test))
    if not cost(first.test) < cost(best["test"]):
        return ""
    found = [(each["test"][yardstick.name], each["validation"].get(yardstick.name)) for each in (first.as_dict(), best)]
    beside = [value for pair in found for value in pair if value is not None]
    theirs, own = ([number(value, *beside) if value is not None else "–" for value in pair] for pair in found)
    unit = f" {yardstick.unit.split(' ')[0]}" if yardstick.unit else ""
    return (
        f"A simpler model is better by {yardstick.title} on test: {first.name}, with {theirs[0]}{unit} against "
        f"{own[0]} of the winner (validation: {theirs[1]} against {own[1]})."
    )
