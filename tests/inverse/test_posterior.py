"""The posterior predictive check against its closed form."""

from types import SimpleNamespace

import numpy as np
from scipy import stats

from vaelab.inverse import posterior, problems
from vaelab.inverse.calibration import Draws


def test_the_predictive_check_is_that_of_the_exact_posterior(monkeypatch):
    # x ~ N(0, 1), y = x + s e: x | y ~ N(y / (1 + s^2), s^2 / (1 + s^2)), and a new y has s^2 more.
    s, rng = 1.5, np.random.default_rng(0)
    x = rng.normal(size=(20_000, 1))
    problem = problems.create("exact", x, None, ["x0"], noise=s)
    monkeypatch.setattr(posterior, "PREDICTED", 2_000)
    monkeypatch.setattr(posterior, "DRAWS", 299)

    def draw(y, n, seed):
        mean, sd = y / (1 + s**2), s / np.sqrt(1 + s**2)
        return Draws(mean[:, None, None] + sd * np.random.default_rng(seed).normal(size=(len(y), n, 1)))

    found = posterior._reproduced(SimpleNamespace(problem=problem, draw=draw), 0)[0]
    of_mean = s**2 / np.sqrt(1 + s**2)  # the standard deviation of y - E[x | y]
    of_new = np.sqrt(s**2 / (1 + s**2) + s**2)
    for level in posterior.LEVELS:
        exact = 2 * stats.norm.cdf(stats.norm.ppf((1 + level) / 2) * of_new / of_mean) - 1
        assert abs(found[str(level)] - exact) < 4 * np.sqrt(exact * (1 - exact) / 2_000) + 0.005
