"""Posterior draws against the truth: C2ST, energy distance, calibration. Not for solutions."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaelab.errors import InputError

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Draws x (curves, n, *x_shape). `refined` ones were moved towards solutions and no longer follow the posterior."""

    x: Array
    refined: bool = False

    def posterior(self, measure: str) -> Array:
        """The draws; raises InputError if they are solutions."""
        if self.refined:
            raise InputError(
                f"{measure} compares posterior samples, but refined or de-duplicated samples are solutions; "
                "draw without refinement."
            )
        return self.x


@dataclasses.dataclass(frozen=True, eq=False)
class Coverage:
    """Credibilities (m,) of the true values, in (0, 1): uniform under the correct posterior; p-value of that."""

    credibility: npt.NDArray[np.float64]
    p_value: float

    def at(self, level: float) -> float:
        """The share of true values within credible regions of a level."""
        return float((self.credibility <= level).mean())


def expected_coverage(draws: Draws, truth: Array, seed: int = 0) -> Coverage:
    """How often regions that hold a share of the draws hold the truth, over all values of x together (TARP).

    A region is a ball about a random point, that of another truth; its credibility is the share of draws nearer to the
    point than the truth is. Under the correct posterior it is uniform, and, unlike ranks value by value, it can only be
    so for all points if the posterior is correct (Lemos et al. 2023). p-value: Kolmogorov and Smirnov's test.

    draws (curves, n, ...) of x given the y of truth (curves, ...).
    """
    x = draws.posterior("expected coverage")
    m, n = x.shape[:2]
    own = np.asarray(truth, dtype=np.float64).reshape(m, -1)
    spread = own.std(0)
    unit = np.where(spread > 0, spread, 1.0)
    rng = np.random.default_rng(seed)
    points = own[(np.arange(m) + rng.integers(1, m)) % m] / unit
    far = np.linalg.norm(x.reshape(m, n, -1) / unit - points[:, None], axis=2)
    below = (far < np.linalg.norm(own / unit - points, axis=1)[:, None]).sum(1)
    credibility = (below + rng.random(m)) / (n + 1)  # continuous, so that the test is exact
    return Coverage(credibility, float(stats.kstest(credibility, "uniform").pvalue))


def c2st(draws: Draws, reference: Array, seed: int = 0) -> float:
    """Accuracy of a classifier between draws (1, n, ...) for one y and reference draws (n, ...); 0.5 is perfect.

    A small neural network under five-fold cross-validation on standardised values (Lopez-Paz & Oquab 2017; settings of
    Lueckmann et al. 2021).
    """
    (a,) = draws.posterior("C2ST")
    a, b = a.reshape(len(a), -1), np.asarray(reference).reshape(len(reference), -1)
    joint, width = np.concatenate([a, b]), 10 * a.shape[1]
    labels = np.repeat([0, 1], [len(a), len(b)])
    network = MLPClassifier((width, width), max_iter=1000, random_state=seed, early_stopping=False, tol=1e-4)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(make_pipeline(StandardScaler(), network), joint, labels, cv=folds).mean())


def energy_distance(draws: Draws, reference: Array) -> float:
    """2 E|a - b| - E|a - a'| - E|b - b'| unbiased; 0 for equal distributions (Szekely & Rizzo 2013)."""
    (a,) = draws.posterior("the energy distance")
    a, b = a.reshape(len(a), -1), np.asarray(reference).reshape(len(reference), -1)
    n, m = len(a), len(b)
    return float(2 * cdist(a, b).mean() - cdist(a, a).sum() / (n * (n - 1)) - cdist(b, b).sum() / (m * (m - 1)))


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks (curves, D) of the true values among n draws, and per value the p-value of uniformity on 0..n."""

    ranks: npt.NDArray[np.int64]
    draws: int
    p_values: npt.NDArray[np.float64]


def calibration(draws: Draws, truth: Array) -> Calibration:
    """Simulation-based calibration: under the correct posterior each rank is uniform (Talts et al. 2018).

    draws (curves, n, ...) of x given the y of truth (curves, ...). p-values: chi-squared test on ten bins or fewer.
    """
    x = draws.posterior("simulation-based calibration")
    m, n = x.shape[:2]
    ranks = (x.reshape(m, n, -1) < truth.reshape(m, 1, -1)).sum(1)
    bins = max(2, min(10, n + 1, m // 5))
    edges = np.linspace(0, n + 1, bins + 1).round()
    expected = np.diff(edges) / (n + 1) * m
    p = [stats.chisquare(np.histogram(column, edges - 0.5)[0], expected).pvalue for column in ranks.T]
    return Calibration(ranks, n, np.array(p))
