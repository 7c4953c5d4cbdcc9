"""Simpler classifiers beside a network: logistic regression and gradient boosting."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from vaelab.classifier import scores
from vaelab.classifier.feed import LabelledFeed
from vaelab.metrics import Ints, contingency, log_loss
from vaelab.supervised.baselines import Baseline, Floats, OnTest, inputs


def baselines(feed: LabelledFeed) -> list[Baseline]:
    """Both with scikit-learn's defaults, on the network's inputs."""
    x, codes = inputs(feed, "train"), feed.codes("train")
    models: dict[str, Any] = {
        "logistic regression": LogisticRegression(max_iter=1000),
        "gradient boosting": HistGradientBoostingClassifier(random_state=0),
    }
    found = []
    for name, model in models.items():
        with warnings.catch_warnings():
            # Separable classes have no optimum: where the solver stops, the model is as good.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, codes)
        on = {split: _probabilities(model, feed, split) for split in ("validation", "test")}
        found.append(Baseline(name, _metrics(on["validation"], feed.codes("validation")), on_test(on["test"], feed)))
    return found


def on_test(proba: Floats, feed: LabelledFeed) -> OnTest:
    """Of the probabilities (n, C) of the rows of test."""
    codes = feed.codes("test")
    return OnTest(lambda rows: _metrics(proba[rows], codes[rows]), len(codes))


def _probabilities(model: Any, feed: LabelledFeed, split: str) -> Floats:
    proba: Floats = np.zeros((len(feed.codes(split)), feed.outputs))
    if len(proba):
        proba[:, model.classes_] = model.predict_proba(inputs(feed, split))
    return proba


def _metrics(proba: Floats, codes: Ints) -> dict[str, float]:
    """Of predictions (n, C) of n > 0 rows."""
    classes = proba.shape[1]
    table = contingency(codes, proba.argmax(1), classes, classes)
    return scores.answer_metrics(table) | {"log_loss": log_loss(proba, codes)}
