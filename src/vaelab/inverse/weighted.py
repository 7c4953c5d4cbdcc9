"""Draws of p(x | y1, ..., yk) by importance resampling: by f, its noise and the prior, or of repeated measurements."""

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
from vaelab.inverse import priors
from vaelab.inverse.problems import Problem, apply
from vaelab.inverse.units import Floats, each_value
from vaelab.wording import first_few

if TYPE_CHECKING:
    from vaelab.inverse.fitted import Inverter

Array = npt.NDArray[Any]
PROPOSED, MOST = 20, 100_000  # proposals for each draw, and at most, where fewer are not worth as many draws
LEAST_BATCH = 1_000  # proposals
OF_BOUND, MOST_OF_BOUND = 128, 5_000  # latents for a density of a conditional VAE, and then at most so many proposals
LEAST = 20.0  # effective proposals


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled:
    """Draws x (n, *x_shape), and how many independent ones their proposals were worth (Kish 1965); fewer than `LEAST`
    are not resampled.

    deviation: the root mean square of the measurements about their mean, in standard deviations of the noise, 1 if they
    are of one x; p_value: of so large a one (chi-squared). None if the noise is not known.
    """

    x: Array
    effective: float
    proposed: int
    deviation: float | None = None
    p_value: float | None = None


def draw_weighted(model: Inverter, y: Array, n: int, seed: int = 0) -> Pooled:
    """n draws of x given all of the measurements y (k, *y_shape) of it, whose noise is independent.

    Proposals x are draws of the model's q(x | m), m the mean of the measurements, with weights, up to a factor,

        p(x) prod_i p(y_i | x) / q(x | m)                 if f, its noise and the prior of x are known
        prod_i p(y_i | x) / p(m | x)                      if f and its noise are
        prod_i q(x | y_i) / (p(x)^(k - 1) q(x | m))       else.

    So many are drawn again by these weights. By the first the posterior is the exact one, whatever the model learned,
    if its draws reach all of it: `effective` tells how far it is away. One measurement is not weighted otherwise.
    Raises InputError where fewer than 20 proposals for several measurements are effective.
    """
    problem, mean = model.problem, mean_of(y)
    by_noise = problem.has_forward and bool((problem.noise > 0).all())
    is_exact = can_be_exact(problem) and not np.isnan(mean).any()
    if len(y) == 1 and not is_exact:
        return Pooled(model.draw(y, n, seed).x[0], n, n)
    if not by_noise and np.isnan(y).any():
        raise InputError(
            "repeated measurements with missing values need f and its noise, but this run lacks them; leave them out."
        )
    weigh = _exactly if is_exact else _by_noise if by_noise else _by_densities
    uses_bound = model.flow is None and weigh is not _by_noise
    most = max(n, min(PROPOSED * n, MOST_OF_BOUND if uses_bound else MOST))
    proposed, log_w, effective = list[Array](), np.empty(0), 0.0
    while effective < n and len(log_w) < most:
        batch = min(max(n, LEAST_BATCH), most - len(log_w))
        x = model.draw(mean[None], batch, derive_seed(seed, 44, len(proposed))).x[0]
        proposed.append(x)
        log_w = np.concatenate([log_w, np.nan_to_num(weigh(model, x, y, mean), nan=-np.inf, posinf=-np.inf)])
        effective = _effective(log_w)
    x = np.concatenate(proposed)
    if effective < LEAST:
        if len(y) == 1:
            return Pooled(x[:n], effective, len(x))
        raise InputError(
            f"of {len(x):,} draws for the mean of {len(y)} measurements only {effective:.1f} are in effect compatible "
            "with all of them; give fewer rows, or train with a smaller noise and give their mean."
        )
    weights = np.exp(log_w - logsumexp(log_w))
    places = (np.random.default_rng(derive_seed(seed, 41)).random() + np.arange(n)) / n  # systematic resampling
    chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), len(x) - 1)
    shuffled = np.random.default_rng(derive_seed(seed, 42)).permutation(n)
    return Pooled(x[chosen[shuffled]], effective, len(x), *_deviation(model, y, mean))


def can_be_exact(problem: Problem) -> bool:
    """Whether f, its noise and the density of the prior are known."""
    return not missing(problem)


def missing(problem: Problem) -> str:
    """What weights would need and a run lacks, in words; "" if nothing is missing."""
    if not problem.has_forward:
        return "the run stores no forward function"
    if not problem.noise.any():
        return "no noise of y is stated"
    if not (problem.noise > 0).all():
        exact = [name for name, own in zip(problem.outputs_named, problem.noise, strict=True) if not own]
        return f"the noise of {first_few(exact)} is 0, which no draw can meet: state one for each output"
    if not problem.prior or any(entry["prior"] == priors.OTHER for entry in problem.prior):
        return "the density of the prior is not known"
    return ""


def efficiency(model: Inverter, y: Array, n: int, seed: int = 0) -> Floats:
    """What share of n draws of each measurement y (m, *y_shape) is in effect one of the exact posterior (m,)."""
    return np.array(
        [_effective(_exactly(model, x, own[None], own)) / n for x, own in zip(model.draw(y, n, seed).x, y, strict=True)]
    )


def _effective(log_w: Floats) -> float:
    """(sum w)^2 / sum w^2."""
    if not np.isfinite(log_w).any():
        return 0.0
    return float(np.exp(2 * logsumexp(log_w) - logsumexp(2 * log_w)))


def _exactly(model: Inverter, x: Array, y: Array, mean: Array) -> Floats:
    """log of p(x) prod_i p(y_i | x) / q(x | m) (n,), up to a constant."""
    proposed = model.log_density(x, np.broadcast_to(mean, (len(x), *mean.shape)), OF_BOUND)
    weights: Floats = _log_likelihood(model, x, y) + model.log_prior(x) - proposed
    return weights


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


def _log_likelihood(model: Inverter, x: Array, y: Array) -> Floats:
    """log of prod_i p(y_i | x) (n,), up to a constant; what was not measured, NaN, does not count."""
    problem = model.problem
    level = each_value(problem.noise / problem.y_scale, problem.y_shape)
    found = problem.relative_y(apply(problem.forward, x)) / level
    total = np.zeros(len(x))
    for own in problem.relative_y(y) / level:
        total -= 0.5 * np.where(np.isnan(own), 0.0, (found - own) ** 2).sum(1)
    return total


def _by_noise(model: Inverter, x: Array, y: Array, mean: Array) -> Floats:
    """log of prod_i p(y_i | x) / p(m | x) (n,), up to a constant."""
    return _log_likelihood(model, x, y) - _log_likelihood(model, x, mean[None])


def _by_densities(model: Inverter, x: Array, y: Array, mean: Array) -> Floats:
    """log of prod_i p(x | y_i) / (p(x)^(k - 1) p(x | m)) (n,)."""

    def log_p(own: Array) -> Floats:
        return model.log_density(x, np.broadcast_to(own, (len(x), *own.shape)), OF_BOUND)

    summed: Floats = np.sum([log_p(own) for own in y], 0) - log_p(mean) - (len(y) - 1) * model.log_prior(x)
    return summed
