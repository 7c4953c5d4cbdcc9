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
from vaelab.metrics import contingency, log_loss
from vaelab.supervised.baselines import Baseline, Floats, inputs


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
        found.append(Baseline(name, *(_metrics(model, feed, split) for split in ("validation", "test"))))
    return found


def _metrics(model: Any, feed: LabelledFeed, split: str) -> dict[str, float]:
    codes = feed.codes(split)
    if not len(codes):
        return {}
    proba: Floats = np.zeros((len(codes), feed.outputs))
    proba[:, model.classes_] = model.predict_proba(inputs(feed, split))
    table = contingency(codes, proba.argmax(1), feed.outputs, feed.outputs)
    return scores.answer_metrics(table) | {"log_loss": log_loss(proba, codes)}
