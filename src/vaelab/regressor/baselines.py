"""Simpler regressors beside a network: the mean, ridge regression and gradient boosting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from vaelab.regressor import scores
from vaelab.regressor.density import LEAST, Floats, best_scale
from vaelab.regressor.feed import NumericFeed
from vaelab.supervised.baselines import Baseline, OnTest, inputs

PENALTIES = np.logspace(-3, 5, 33)  # of ridge regression; the best is chosen by leave-one-out
SPLITS = ("validation", "test")


def constant(feed: NumericFeed) -> tuple[float, float]:
    """The mean of the training rows, and the constant scale of the noise around it."""
    y = feed.targets("train")
    mean = float(y.mean())
    return mean, best_scale(y - mean, LEAST * feed.target_scale.scale)


def baselines(feed: NumericFeed) -> list[Baseline]:
    """All with scikit-learn's defaults, on the network's inputs and standardised targets.

    The noise of each has one scale, which for ridge and boosting is fitted on validation: boosting nearly interpolates
    its training rows.
    """
    mean, scale = constant(feed)
    found = [_baseline("the mean", feed, {split: np.full(_rows(feed, split), mean) for split in SPLITS}, scale)]
    unit = feed.target_scale
    x, y = inputs(feed, "train"), (feed.targets("train") - unit.center) / unit.scale
    models: dict[str, Any] = {
        "ridge regression": RidgeCV(PENALTIES),
        "gradient boosting": HistGradientBoostingRegressor(random_state=0),
    }
    for name, model in models.items():
        model.fit(x, y)
        means = {
            split: unit.center + unit.scale * model.predict(inputs(feed, split)) if _rows(feed, split) else np.zeros(0)
            for split in SPLITS
        }
        own = best_scale(feed.targets("validation") - means["validation"], LEAST * unit.scale)
        found.append(_baseline(name, feed, means, own))
    return found


def _rows(feed: NumericFeed, split: str) -> int:
    return len(feed.data.splits[split])


def _baseline(name: str, feed: NumericFeed, means: Mapping[str, Floats], scale: float) -> Baseline:
    """Of predictions for validation and test, with one scale of the noise."""
    mean, own = means["validation"], means["test"]
    metrics = scores.metrics(feed.targets("validation"), mean, np.full(len(mean), scale))
    return Baseline(name, metrics, on_test(own, np.full(len(own), scale), feed))


def on_test(mean: Floats, scale: Floats, feed: NumericFeed) -> OnTest:
    """Of the means and scales of the noise (n,) of the rows of test."""
    y = feed.targets("test")
    return OnTest(lambda rows: scores.metrics(y[rows], mean[rows], scale[rows]), len(y))
