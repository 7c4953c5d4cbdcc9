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
from vaelab.inverse.problems import Problem, apply
from vaelab.inverse.refine import jacobian

Array = npt.NDArray[Any]
CURVES, DRAWS, BINS, BAND = (
    1_000,
    99,
    20,
    0.99,
)  # of the calibration: pairs, draws per pair, rank bins, coverage of their band
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
        "curves": len(x), "draws": DRAWS, "p_values": [float(p) for p in found.p_values],
        "counts": counts.tolist(), "band": [int(low), int(high)],
        "inside": float(((counts >= low) & (counts <= high)).mean()),
    }  # fmt: skip
    covered = expected_coverage(drawn, _coordinates(model, x), seed)
    coverage = {"p_value": covered.p_value, "levels": {str(level): covered.at(level) for level in LEVELS}}
    return {"calibration": ranks, "coverage": coverage, "reference": _against_exact(model, seed)}


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
