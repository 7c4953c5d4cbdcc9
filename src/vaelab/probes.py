"""What latents and reconstructions are worth for a task: arrays in, scores out. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Labelled = tuple[Array, npt.NDArray[np.int64]]  # latents (n, L) and class codes (n,)

NEIGHBOURS = 10
PROBE_STEPS = 1000  # of L-BFGS, which needs about 50


def reconstruction_mse(x: Array, reconstruction: Array, scale: Array) -> float:
    """Mean over examples and features of ((x - reconstruction) / scale)^2, for rows (n, D); 0 is perfect.

    scale: the unit of each feature, one or (D,): the range of an image's pixels, the standard deviations of a table's
        columns. Features whose scale is 0 are left out: they are constant and carry nothing.

    >>> reconstruction_mse(np.array([[1.0, 5.0]]), np.array([[0.0, 7.0]]), np.array([2.0, 0.0]))
    0.25
    """
    scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), x.shape[1:])
    used = scale > 0
    error = (x[:, used].astype(np.float64) - reconstruction[:, used]) / scale[used]
    return float(np.square(error).mean())


def task_scores(train: Labelled, splits: Mapping[str, Labelled]) -> dict[str, dict[str, float]]:
    """Accuracy of a logistic probe and of 10 nearest neighbours on each split, both fitted to `train`.

    Latents are standardised by the training rows. The probe is multinomial logistic regression with scikit-learn's
    default penalty (C = 1); neighbours vote with equal weight. A class that `train` lacks counts as missed.

    >>> z, codes = np.arange(40.0)[:, None], np.repeat([0, 1], 20)
    >>> task_scores((z, codes), {"test": (z[[2, 35]], codes[[2, 35]])})
    {'test': {'probe': 1.0, 'knn': 1.0}}
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    z, codes = train
    center, spread = z.mean(0, dtype=np.float64), z.std(0, dtype=np.float64)
    spread[spread == 0] = 1.0  # a dimension that never moves carries nothing, and must not become NaN

    def standard(latents: Array) -> Array:
        scaled: Array = (latents - center) / spread
        return scaled

    if len(np.unique(codes)) == 1:  # nothing to fit: every guess is that class
        scores = {name: float(np.mean(own == codes[0])) for name, (_, own) in splits.items()}
        return {name: {"probe": score, "knn": score} for name, score in scores.items()}
    probe = LogisticRegression(max_iter=PROBE_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step's accuracy is what is stated then
        probe.fit(standard(z), codes)
    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(z))).fit(standard(z), codes)
    return {
        name: {
            "probe": float(np.mean(probe.predict(standard(latents)) == own)),
            "knn": float(np.mean(neighbours.predict(standard(latents)) == own)),
        }
        for name, (latents, own) in splits.items()
    }
