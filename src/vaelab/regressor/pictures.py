"""The pictures of one trained regressor: on the test split if it was opened, else on validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaelab import store
from vaelab.data import Dataset
from vaelab.plots import style
from vaelab.plots.learning import learning_data, plot_learning
from vaelab.plots.regressor import Predictions, plot_predictions, plot_residuals
from vaelab.regressor import scores
from vaelab.regressor.density import Floats, log_density
from vaelab.regressor.fitted import FittedRegressor


def draw_run(model: FittedRegressor, data: Dataset, name: str) -> list[Path]:
    """Learning curves, predictions with intervals, and residuals, in the run's figures/."""
    assert model.folder is not None
    run = store.load_run(model.folder)
    split = "test" if run.metrics.get("test") else "validation"
    folder = model.folder / "figures"
    folder.mkdir(exist_ok=True)
    learning = learning_data(run.history, run.metrics["reference"], ("log_density", "r2"))
    found = predictions(model, data, split)
    return [
        plot_learning(learning, "the training mean", folder / "learning.png", f"{name}: learning"),
        plot_predictions(found, model.predicts, folder / "predictions.png", f"{name}: {split} rows"),
        plot_residuals(found, _density, folder / "residuals.png", f"{name}: residuals, {split} rows"),
    ]


def predictions(model: FittedRegressor, data: Dataset, split: str) -> Predictions:
    """Predictions and intervals on a split."""
    assert data.targets is not None
    level = min(scores.LEVEL, model.highest_level)
    rows = data.splits[split]
    mean, scale = model.predict_noise(data.flat[rows])
    half = scores.half_width(model.extras["residuals"], level) * scale
    return Predictions(data.targets[rows], mean, mean - half, mean + half, scale, level)


def _density(r: style.Floats) -> style.Floats:
    zero: Floats = np.zeros(len(r))
    return np.exp(log_density(zero + r, zero, zero + 1))
