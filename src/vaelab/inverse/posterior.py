"""Checks of a model's posterior draws: calibration on held-out pairs, and comparison with the exact posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from vaelab.engine.seeds import derive_seed
from vaelab.inverse.calibration import Draws, c2st, calibration, energy_distance, expected_coverage
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.lines import ends_of, is_inside, lines
from vaelab.inverse.local import local_c2st
from vaelab.inverse.problems import Problem, apply
from vaelab.inverse.refine import jacobian
from vaelab.inverse.units import each_value
from vaelab.inverse.weighted import can_be_exact, efficiency

Array = npt.NDArray[Any]
CURVES, DRAWS, BINS, BAND = (
    1_000,
    99,
    20,
    0.99,
)  # of the calibration: pairs, draws per pair, rank bins, coverage of their band
WEIGHTED, WEIGHTED_DRAWS = 50, 400  # measurements whose draws are weighted, and draws of each
PREDICTED = 200  # pairs of the predictive check
EXAMPLES, EXAMPLE_DRAWS = 3, 1_000  # measurements shown with mean and interval, and draws of each
INTERVAL = (0.025, 0.975)
REFERENCES, REFERENCE_DRAWS = 5, 500  # measurements compared with the exact posterior, and draws per measurement
LEVELS = (0.5, 0.9)  # of credible regions
STEPS = 400  # of the chains that sample the exact posterior


def check(model: Inverter, seed: int = 0) -> dict[str, Any]:
    """Calibration on validation pairs, and the distances to the exact posterior if it can be sampled.

    All with unrefined draws of x ~ p(x|z, y). Evaluated in coordinates: x itself if it is a vector, else x along its
    principal directions (coordinates.Frame).
    """
    x, y = (part[:CURVES] for part in model.problem.rows("validation"))
    drawn = Draws(_coordinates(model, model.draw(y, DRAWS, derive_seed(seed, 3)).x))
    found = calibration(drawn, _coordinates(model, x))
    edges = np.linspace(0, DRAWS + 1, BINS + 1).round() - 0.5
    counts = np.array([np.histogram(ranks, edges)[0] for ranks in found.ranks.T])
    low, high = (stats.binom.ppf(p, len(x), 1 / BINS) for p in ((1 - BAND) / 2, (1 + BAND) / 2))
    ranks = {
        "names": _names(model, len(found.p_values)), "curves": len(x), "draws": DRAWS,
        "p_values": [float(p) for p in found.p_values],
        "counts": counts.tolist(), "band": [int(low), int(high)],
        "inside": float(((counts >= low) & (counts <= high)).mean()),
    }  # fmt: skip
    covered = expected_coverage(drawn, _coordinates(model, x), seed)
    coverage = {"p_value": covered.p_value, "levels": {str(level): covered.at(level) for level in LEVELS}}
    predictive, misfit = _reproduced(model, seed)
    return {
        "calibration": ranks, "coverage": coverage, "predictive": predictive, "misfit": misfit,
        "efficiency": _efficiency(model, seed), "local": _local(model, seed),
        "reference": _against_exact(model, seed), "examples": _examples(model, seed),
    }  # fmt: skip


def example_draws(model: Inverter, seed: int = 0) -> tuple[Array, Array]:
    """Draws (k, n, *x_shape) for the first scored measurements, and the true x (k, *x_shape)."""
    x, y = (part[:EXAMPLES] for part in model.problem.rows("test"))
    return model.draw(y, EXAMPLE_DRAWS, derive_seed(seed, 8)).x, x


def _examples(model: Inverter, seed: int) -> list[list[dict[str, Any]]] | None:
    """Mean, 95 % interval and truth of each input for a few scored measurements; None for curves."""
    if len(model.problem.x_shape) > 1:
        return None
    draws, truth = example_draws(model, seed)
    low, high = np.quantile(draws, INTERVAL, axis=1)
    return [
        [
            {"name": name, "mean": m, "low": a, "high": b, "truth": t}
            for name, m, a, b, t in zip(model.problem.inputs, *map(np.ndarray.tolist, parts), strict=True)
        ]
        for parts in zip(draws.mean(1), low, high, truth, strict=True)
    ]


def _reproduced(model: Inverter, seed: int) -> tuple[dict[str, float] | None, float | None]:
    """How well draws x ~ p(x | y) reproduce y: the share of measured values within the central intervals of new
    measurements f(x) + noise, and the root mean square of f(x) - y, in standard deviations of the noise.

    The shares are close to one for an exact y, and above the level even for a correct posterior, since y itself chose
    x; a share below the level means that draws do not reproduce what was measured. The pair of a posterior draw and y
    is distributed as that of the true x and y: the misfit of a correct posterior is 1. Without a forward function or
    noise there are no shares, without noise of every output there is no misfit.
    """
    problem = model.problem
    if not (problem.has_forward and problem.noise.any()):
        return None, None
    y = problem.rows("validation")[1][:PREDICTED]
    clean = _clean(problem, model.draw(y, DRAWS, derive_seed(seed, 9)).x)
    again = _noisy(problem, clean, derive_seed(seed, 10))
    measured = problem.relative_y(y)
    shares = {str(level): float(_inside(measured, again, level).mean()) for level in LEVELS}
    if not (problem.noise > 0).all():
        return shares, None
    squares = ((clean - measured[:, None]) / _level(problem)) ** 2
    return shares, float(np.sqrt(np.mean(squares[np.isfinite(squares)])))


def _efficiency(model: Inverter, seed: int) -> dict[str, float] | None:
    """What share of draws is in effect of the exact posterior: the median over measurements, and at the worst tenth.

    Where it is low the model is wrong at that y, whatever calibration says on average. None where f, its noise or the
    prior is not known.
    """
    if not can_be_exact(model.problem):
        return None
    y = model.problem.rows("validation")[1][:WEIGHTED]
    found = efficiency(model, y, WEIGHTED_DRAWS, derive_seed(seed, 11))
    return {"median": float(np.median(found)), "worst tenth": float(np.quantile(found, 0.1)), "measurements": len(y)}


def local_p_values(model: Inverter, x: Array, y: Array, at: Array, n: int, seed: int) -> Array:
    """p-values (m,) of n draws at each of the measurements `at` following p(x | y), by pairs x, y (`local_c2st`)."""
    space = model.space
    drawn = model.draw(y, 1, derive_seed(seed, 12)).x[:, 0]
    draws = model.draw(at, n, derive_seed(seed, 13)).x
    flat = space.x_model(draws.reshape(-1, *model.problem.x_shape)).numpy()
    return local_c2st(
        space.x_model(x).numpy(), space.x_model(drawn).numpy(), space.y_model(y).numpy(), space.y_model(at).numpy(),
        flat.reshape(*draws.shape[:2], -1), seed,
    )  # fmt: skip


def _local(model: Inverter, seed: int) -> list[float]:
    """p-values of the draws for the scored measurements that the page shows, by validation pairs."""
    at = model.problem.rows("test")[1][:EXAMPLES]
    x, y = (part[:CURVES] for part in model.problem.rows("validation"))
    return local_p_values(model, x, y, at, EXAMPLE_DRAWS, seed).tolist() if len(at) else []


def predicted(problem: Problem, x: Array, seed: int) -> Array:
    """New measurements f(x) + noise (curves, n, V), in units of y_scale, of draws x (curves, n, *x_shape)."""
    return _noisy(problem, _clean(problem, x), seed)


def _clean(problem: Problem, x: Array) -> Array:
    """f(x) (curves, n, V)."""
    m, n = x.shape[:2]
    found: Array = problem.relative_y(apply(problem.forward, x.reshape(m * n, *problem.x_shape))).reshape(m, n, -1)
    return found


def _noisy(problem: Problem, clean: Array, seed: int) -> Array:
    again: Array = clean + _level(problem) * np.random.default_rng(seed).standard_normal(clean.shape)
    return again


def _level(problem: Problem) -> Array:
    """The noise of each value (V,), in units of y_scale."""
    return each_value(problem.noise / problem.y_scale, problem.y_shape)


def _inside(y: Array, again: Array, level: float) -> Array:
    """Which values y (curves, V) are within the central intervals of again (curves, n, V)."""
    rank = (again < y[:, None]).mean(1)
    inside: Array = np.abs(rank - 0.5) <= level / 2
    return inside


def _names(model: Inverter, count: int) -> list[str]:
    """What the coordinates are called: the inputs, or of curves the directions in which they vary."""
    if len(model.problem.x_shape) == 1:
        return list(model.problem.inputs)
    return [f"principal direction {k}" for k in range(1, count + 1)]


def _coordinates(model: Inverter, x: Array) -> Array:
    """Examples (..., *x_shape) as coordinates (..., d)."""
    shape = model.problem.x_shape
    lead = x.shape[: x.ndim - len(shape)]
    if len(shape) == 1:
        return x
    return model.ground.frame.coordinates(x.reshape(-1, *shape)).reshape(*lead, -1)


def _against_exact(model: Inverter, seed: int) -> dict[str, Any] | None:
    """C2ST and energy distance from draws of the exact posterior, which has a density only if y is noisy."""
    problem = model.problem
    if problem.family is None or not problem.noise.any():
        return None
    x, y = (part[:REFERENCES] for part in problem.rows("test"))
    rng = np.random.default_rng([seed, 0xB0])
    n = REFERENCE_DRAWS
    drawn = _coordinates(model, model.draw(y, n, derive_seed(seed, 4)).x)
    accuracies, distances = [], []
    for own, ends, measured in zip(drawn, ends_of(x), y, strict=True):
        reference = _coordinates(model, lines(exact_posterior(problem, ends, measured, n, rng)))
        accuracies.append(c2st(Draws(own[None]), reference, seed))
        distances.append(energy_distance(Draws(own[None]), reference))
    return {
        "curves": len(y), "draws": n, "c2st": float(np.mean(accuracies)), "energy_distance": float(np.mean(distances)),
    }  # fmt: skip


def exact_posterior(problem: Problem, ends: Array, y: Array, n: int, rng: np.random.Generator) -> Array:
    """Draws (n, 4) of the end points from p(ends | y) of a built-in problem with noise, given the ends (4,) behind y.

    n Metropolis chains, started at the listed solutions. A proposal is a Gaussian with the covariance implied by the
    noise and the forward function's slope at some solution, or the difference of two solutions; the choice does not
    depend on the chain's state, so proposals are symmetric.
    """
    assert problem.family is not None

    def forward(u: Tensor) -> Tensor:
        t = torch.linspace(0, 1, problem.x_shape[-1], dtype=u.dtype)
        pairs = u.view(-1, 2, 2)
        return problem.forward(pairs[..., :1] * (1 - t) + pairs[..., 1:] * t).flatten(1)

    (noise,) = problem.noise

    def log_density(u: Array) -> Array:
        missed = ((apply(problem.forward, lines(u)) - y) ** 2).reshape(len(u), -1).sum(1)
        return np.where(is_inside(u), -0.5 * missed / noise**2, -np.inf)

    modes = problem.family.solutions(ends)
    J = jacobian(forward, torch.from_numpy(modes))
    precision, axes = (a.numpy() for a in torch.linalg.eigh(J.mT @ J / noise**2))
    scale = np.minimum(1 / np.sqrt(np.maximum(precision, 1e-12)), 0.5)  # 0.5: along a continuum y is uninformative
    u = modes[rng.integers(len(modes), size=n)]
    log_p = log_density(u)
    for step in range(STEPS):
        if step % 4 == 3:
            other = u + modes[rng.integers(len(modes), size=n)] - modes[rng.integers(len(modes), size=n)]
        else:
            k, size = rng.integers(len(modes), size=n), (0.3, 1.0, 2.0)[step % 4]
            other = u + size * np.einsum("nij,nj->ni", axes[k], scale[k] * rng.standard_normal((n, 4)))
        proposed = log_density(other)
        taken = np.log(rng.uniform(size=n)) < proposed - log_p
        u, log_p = np.where(taken[:, None], other, u), np.where(taken, proposed, log_p)
    return u
