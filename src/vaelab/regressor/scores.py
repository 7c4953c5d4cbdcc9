"""Metrics of predictions: means, scales of the noise and true targets in, metrics out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vaelab.errors import InputError
from vaelab.metrics import share_error
from vaelab.regressor.density import LEAST, LOG_MOST, Floats, log_density
from vaelab.regressor.feed import TargetScale

LEVEL = 0.9  # of the intervals that a study states


def in_own_units(outputs: Floats, target: TargetScale) -> tuple[Floats, Floats]:
    """Mean and scale (n,) of the noise in the target's own units, from the network's outputs (n, 2); both finite."""
    scale = np.exp(np.minimum(outputs[..., 1], LOG_MOST)) + LEAST
    return target.center + target.scale * outputs[..., 0], target.scale * scale


def metrics(y: Floats, mean: Floats, scale: Floats | None = None) -> dict[str, Any]:
    """All metrics of predictions, with their standard errors over rows under "errors"; without scales no density.

    R² = 1 - mean((y - m)²) / var(y): 0 is the mean of these rows, and a split of equal targets has none.

    >>> metrics(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))["r2"]
    0.5
    """
    squared, absolute = (y - mean) ** 2, np.abs(y - mean)
    mse, variance, error = float(squared.mean()), float(y.var()), _error(squared)
    rmse = math.sqrt(mse)
    found: dict[str, Any] = {
        "r2": 1 - mse / variance if variance > 0 else None,
        "rmse": rmse,
        "mae": float(absolute.mean()),
    }
    errors = {
        "r2": error / variance if variance > 0 and error is not None else None,
        "rmse": error / (2 * rmse) if rmse > 0 and error is not None else None,
        "mae": _error(absolute),
    }
    if scale is not None:
        densities = log_density(y, mean, scale)
        found = {"log_density": float(densities.mean()), **found}
        errors["log_density"] = _error(densities)
    return {**found, "errors": errors, "examples": len(y)}


def _error(values: Floats) -> float | None:
    """The standard error of their mean."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def residuals(y: Floats, mean: Floats, scale: Floats) -> Floats:
    """|y - m| / s (n,) in ascending order, by which intervals are calibrated."""
    found: Floats = np.sort(np.abs(y - mean) / scale)
    return found


def half_width(scores: Floats, level: float) -> float:
    """Half the width of an interval in scales of the noise: the ceil((n + 1) level)-th smallest of n scores.

    If new rows and those of the scores are exchangeable, the interval covers a new target with a probability of at
    least `level`. (Lei et al. 2018, algorithm 2 and section 5.2; Vovk et al. 2005.) Raises InputError if there are
    too few scores.

    >>> half_width(np.arange(1.0, 20.0), 0.9)  # the 18th of 19
    18.0
    """
    if not 0 < level < 1:
        raise InputError(f"`interval` must be a share between 0 and 1, such as 0.9, but got {level:g}.")
    n = len(scores)
    place = math.ceil(round((n + 1) * level, 9))
    if place > n:
        most = n / (n + 1)
        raise InputError(
            f"an interval of {level:g} needs at least {math.ceil(round(level / (1 - level), 9))} validation rows, but "
            f"the model was calibrated on {n}; use at most {math.floor(100 * most) / 100:g}."
        )
    return float(scores[place - 1])


def coverage(y: Floats, mean: Floats, half: Floats) -> dict[str, float | None]:
    """The share of targets within `half` (n,) of the mean, its standard error, and the median width of the interval."""
    share = float((np.abs(y - mean) <= half).mean())
    return {
        "coverage": share,
        "se": share_error(share, len(y)),
        "median_width": float(np.median(2 * half)),
    }


def why_collapsed(gain: float, nearer: Floats) -> str | None:
    """The reason if predictions are no better than always the mean of training; else None.

    gain: of log-density on validation against the mean and spread of the training rows; nearer: by how much the
    squared error of each row (n,) is smaller than that of the mean. Predictions whose scale of the noise is wrong may
    have a low density and yet be nearer, by two standard errors.

    >>> why_collapsed(-0.125, np.array([1.0, 0.9, 1.1]))
    >>> why_collapsed(-0.125, np.array([1.0, -0.9, 0.1]))
    'its log-density on validation is 0.12 nats lower than that of always predicting the training mean, and its \
squared error not clearly smaller'
    """
    error = _error(nearer)
    if gain > 0 or (error is not None and nearer.mean() > 2 * error):
        return None
    return (
        f"its log-density on validation is {-gain:.2g} nats lower than that of always predicting the training mean, "
        "and its squared error not clearly smaller"
    )
