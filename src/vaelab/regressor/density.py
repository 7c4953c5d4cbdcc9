"""The noise of a regressor: Gaussian up to three scales from the mean, with tails of a power beyond."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from torch import Tensor

Floats = npt.NDArray[np.float64]

# Beyond EDGE scales the density falls as |r|^-POWER, which continues value and slope of the Gaussian. So an outlier
# costs its logarithm, and no row has a gradient by the log-scale of more than POWER - 1.
EDGE = 3.0
POWER = EDGE**2
LOG_MASS = math.log(
    math.sqrt(2 * math.pi) * math.erf(EDGE / math.sqrt(2)) + 2 * math.exp(-(EDGE**2) / 2) * EDGE / (POWER - 1)
)
LEAST = 1e-3  # scale of the noise, in those of the target: a target without noise has a finite density
LOG_MOST = math.log(1e30)  # the largest log-scale that is predicted: far from the training rows it may grow without end


@dataclasses.dataclass(frozen=True)
class Fit:
    """The loss of a batch: -log p(y|x) in nats, and the squared error, in standardised units, each (K, B)."""

    neg_log_density: Tensor
    squared_error: Tensor
    loss: Tensor  # (K,)

    @property
    def stored(self) -> dict[str, Tensor]:
        """The terms that a record stores."""
        return {"neg_log_density": self.neg_log_density, "squared_error": self.squared_error}


def fit_loss(outputs: Tensor, y: Tensor) -> Fit:
    """-log p(y|x) = log s + log Z + r² / 2, or for |r| > 3 log s + log Z + 9 / 2 + 9 log(|r| / 3), r = (y - m) / s.

    outputs (K, B, 2): the mean m and log(s - LEAST). y (K, B) in standardised units. A Gaussian core with tails of a
    power on both sides. (Oreglia 1980, appendix D; Gaiser 1982, appendix F.)
    """
    mean, log_scale = outputs.unbind(-1)
    scale = log_scale.exp() + LEAST
    error = y - mean
    r = (error / scale).abs()
    inner = r.clamp_max(EDGE)
    nats = scale.log() + LOG_MASS + inner.square() / 2 + POWER * (r.clamp_min(EDGE) / EDGE).log()
    return Fit(nats.detach(), error.detach().square(), nats.mean(1))


def log_density(y: Floats, mean: Floats, scale: Floats) -> Floats:
    """log p(y|x) (n,), in nats, for targets, means and scales in one unit.

    >>> log_density(np.zeros(1), np.zeros(1), np.ones(1)).round(3)
    array([-0.92])
    """
    r = np.abs(y - mean) / scale
    found: Floats = (
        -np.log(scale) - LOG_MASS - np.minimum(r, EDGE) ** 2 / 2 - POWER * np.log(np.maximum(r, EDGE) / EDGE)
    )
    return found


def best_scale(error: Floats, least: float) -> float:
    """The constant scale, at least `least`, at which errors (n,) have the highest density."""
    if not error.any():
        return least
    sizes = np.abs(error[error != 0])
    low, high = (math.log(max(each, least)) for each in (sizes.min() / 10, 10 * sizes.max()))
    zeros = np.zeros(len(error))

    def cost(log_scale: float) -> float:
        return -float(log_density(error, zeros, np.full(len(error), math.exp(log_scale))).mean())

    if low >= high:
        return least
    # The cost may have several minima where there are outliers: the best of a grid, and around it.
    grid = np.linspace(low, high, 200)
    at, step = grid[int(np.argmin([cost(each) for each in grid]))], grid[1] - grid[0]
    return math.exp(float(minimize_scalar(cost, bounds=(at - step, at + step), method="bounded").x))
