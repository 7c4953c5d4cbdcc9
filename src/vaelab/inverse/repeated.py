"""Draws of p(x | y1, ..., yk) from repeated measurements of one x, by importance resampling."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import logsumexp

from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError
from vaelab.inverse.problems import apply
from vaelab.inverse.units import Floats, each_value

if TYPE_CHECKING:
    from vaelab.inverse.fitted import Inverter

Array = npt.NDArray[Any]
PROPOSED, MOST = 20, 100_000  # proposals for each draw, and at most
OF_BOUND, MOST_OF_BOUND = 128, 5_000  # latents for a density of a conditional VAE, and then at most so many proposals
LEAST = 20.0  # effective proposals


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled:
    """Draws x (n, *x_shape), and how many independent ones their proposals were worth.

    deviation: the root mean square of the measurements about their mean, in standard deviations of the noise, 1 if they
    are of one x; p_value: of so large a one (chi-squared). None if the noise is not known.
    """

    x: Array
    effective: float
    proposed: int
    deviation: float | None = None
    p_value: float | None = None


def draw_repeated(model: Inverter, y: Array, n: int, seed: int = 0) -> Pooled:
    """n draws of x given all of the measurements y (k, *y_shape) of it, whose noise is independent.

    Proposals x are draws of p(x | m), m the mean of the measurements, with weights p(x | y1, ..., yk) / p(x | m):

        prod_i p(y_i | x) / p(m | x)                      if f and the noise are known, by the normal density
        prod_i p(x | y_i) / (p(x)^(k - 1) p(x | m))       else, by the model's densities

    up to a factor. So many are drawn again by these weights. Raises InputError where fewer than 20 are effective.
    """
    if len(y) == 1:
        return Pooled(model.draw(y, n, seed).x[0], n, n)
    problem = model.problem
    mean = mean_of(y)
    by_noise = problem.has_forward and bool((problem.noise > 0).all())
    if not by_noise and np.isnan(y).any():
        raise InputError(
            "repeated measurements with missing values need f and its noise, but this run lacks them; leave them out."
        )
    most = MOST if by_noise or model.flow is not None else MOST_OF_BOUND
    count = max(n, min(PROPOSED * n, most))
    x = model.draw(mean[None], count, seed).x[0]
    log_w = _by_noise(model, x, y, mean) if by_noise else _by_densities(model, x, y, mean)
    log_w = np.where(np.isnan(log_w), -np.inf, log_w)
    weights = np.exp(log_w - logsumexp(log_w)) if np.isfinite(log_w).any() else np.zeros(count)
    effective = float(1 / np.square(weights).sum()) if weights.any() else 0.0
    if effective < LEAST:
        raise InputError(
            f"of {count:,} draws for the mean of {len(y)} measurements only {effective:.1f} are in effect compatible "
            "with all of them; give fewer rows, or train with a smaller noise and give their mean."
        )
    places = (np.random.default_rng(derive_seed(seed, 41)).random() + np.arange(n)) / n  # systematic resampling
    chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), count - 1)
    shuffled = np.random.default_rng(derive_seed(seed, 42)).permutation(n)
    return Pooled(x[chosen[shuffled]], effective, count, *_deviation(model, y, mean))


def _deviation(model: Inverter, y: Array, mean: Array) -> tuple[float | None, float | None]:
    """Of the measurements y (k, *y_shape) from their mean, in standard deviations of the noise, and its p-value."""
    problem = model.problem
    if len(y) < 2 or not (problem.noise > 0).all():
        return None, None
    residual = problem.relative_y(y - mean) / each_value(problem.noise / problem.y_scale, problem.y_shape)
    measured = ~np.isnan(residual)
    freedom = int((measured.sum(0) - 1).clip(0).sum())
    total = float(np.square(residual[measured]).sum())
    return math.sqrt(total / max(freedom, 1)), float(stats.chi2.sf(total, max(freedom, 1)))


def mean_of(y: Array) -> Array:
    """The mean (*y_shape) of what was measured of y (k, *y_shape); NaN where nothing was."""
    count = (~np.isnan(y)).sum(0)
    found: Array = np.divide(np.nansum(y, 0), count, out=np.full(y.shape[1:], np.nan), where=count > 0)
    return found


def _by_noise(model: Inverter, x: Array, y: Array, mean: Array) -> Floats:
    """log of prod_i p(y_i | x) / p(m | x) (n,), up to a constant."""
    problem = model.problem
    level = each_value(problem.noise / problem.y_scale, problem.y_shape)
    found = problem.relative_y(apply(problem.forward, x)) / level

    def log_p(own: Array) -> Floats:
        residual = found - problem.relative_y(own[None]) / level
        total: Floats = -0.5 * np.where(np.isnan(problem.relative_y(own[None])), 0.0, residual**2).sum(1)
        return total

    summed: Floats = np.sum([log_p(own) for own in y], 0) - log_p(mean)
    return summed


def _by_densities(model: Inverter, x: Array, y: Array, mean: Array) -> Floats:
    """log of prod_i p(x | y_i) / (p(x)^(k - 1) p(x | m)) (n,)."""

    def log_p(own: Array) -> Floats:
        return model.log_density(x, np.broadcast_to(own, (len(x), *own.shape)), OF_BOUND)

    summed: Floats = np.sum([log_p(own) for own in y], 0) - log_p(mean) - (len(y) - 1) * model.log_prior(x)
    return summed
