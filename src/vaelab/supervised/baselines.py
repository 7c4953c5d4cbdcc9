"""Simpler models of scikit-learn beside a network, fitted on its training rows and its inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.metrics import Ints, jackknife_error
from vaelab.settings.yardsticks import Yardstick
from vaelab.supervised.feed import SupervisedFeed
from vaelab.wording import number, with_error

Floats = npt.NDArray[np.float64]
MOST_PIXELS = 200  # inputs of an image, beyond which these models take long and are no match for a network
MOST_CELLS = 20_000_000  # of the training rows of a table


@dataclasses.dataclass(frozen=True)
class OnTest:
    """What a model predicts for the rows of test: its metrics on some of them, by their numbers."""

    metrics: Callable[[Ints], Mapping[str, Any]]
    rows: int

    @property
    def all(self) -> Mapping[str, Any]:
        return self.metrics(np.arange(self.rows)) if self.rows else {}


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A simpler model, its metrics on validation, and what it predicts for test."""

    name: str
    validation: Mapping[str, Any]
    test: OnTest

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "validation": self.validation, "test": self.test.all}


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


def beaten_by(baselines: Sequence[Baseline], validation: Mapping[str, Any], test: OnTest, yardstick: Yardstick) -> str:
    """That a simpler model is better on test than the winner by a yardstick, in a sentence; "" if none is.

    The winner was chosen on validation, which flatters it there; nothing was chosen on test. A difference that is
    smaller than two of its standard errors, paired over the rows of test, does not say that one is better.

    validation, test: of the winner.
    """

    def cost(metrics: Mapping[str, Any]) -> float:
        value = metrics.get(yardstick.name)  # R² is none where the targets of a split are equal
        return math.inf if value is None else yardstick.cost(float(value))

    if not baselines:
        return ""
    every, own = [each.test.all for each in baselines], test.all
    at = int(np.argmin([cost(each) for each in every]))
    first, gain = baselines[at], cost(own) - cost(every[at])
    if not gain > 0:
        return ""
    error = jackknife_error(lambda rows: cost(test.metrics(rows)) - cost(first.test.metrics(rows)), test.rows)
    pairs = (every[at], first.validation), (own, validation)
    found = [(of_test[yardstick.name], of_validation.get(yardstick.name)) for of_test, of_validation in pairs]
    beside = [value for pair in found for value in pair if value is not None]
    theirs, ours = ([number(value, *beside) if value is not None else "–" for value in pair] for pair in found)
    unit = f" {yardstick.unit.split(' ')[0]}" if yardstick.unit else ""
    if error is not None and gain > 2 * error:
        return (
            f"A simpler model is better by {yardstick.title} on test: {first.name}, with {theirs[0]}{unit} against "
            f"{ours[0]} of the winner (validation: {theirs[1]} against {ours[1]})."
        )
    return (
        f"By {yardstick.title} the winner is no better than a simpler model on test: {first.name} has "
        f"{theirs[0]}{unit}, the winner {ours[0]}, a difference of {with_error(gain, error)}."
    )
