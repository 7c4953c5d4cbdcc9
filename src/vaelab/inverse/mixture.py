"""A Gaussian mixture of examples: the density of x, and draws of values that were not measured given the others."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from vaelab.engine.process import one_thread
from vaelab.inverse.units import Floats

Rows = npt.NDArray[np.int64]
COMPONENTS, LEAST = (1, 2, 4, 8), 5  # the second: rows for each component and value
ROWS = 3_000  # examples that it is fitted to, a quarter of which chooses the number of components


def by_measured(values: Floats) -> Iterator[tuple[Rows, Rows, Floats]]:
    """The rows (n,) of values (n, V) that have the same of them measured, not NaN; which these are; and the values."""
    measured = ~np.isnan(values)
    patterns, which = np.unique(measured, axis=0, return_inverse=True)
    for k, columns in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == k)
        yield rows, np.flatnonzero(columns), values[rows][:, columns]


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """p(v) = sum_k w_k N(v; m_k, S_k): weights (K,), means (K, d), covariances (K, d, d)."""

    weights: Floats
    means: Floats
    covariances: Floats

    @classmethod
    def of(cls, values: Floats) -> Mixture:
        """Of values (n, d) in units of their spread, with as many components as a quarter of them prefers.

        >>> values = np.random.default_rng(0).normal(size=(400, 2))
        >>> Mixture.of(values).log_prob(values[:3]).shape
        (3,)
        """
        values = values[:: -(-len(values) // ROWS)].astype(np.float64)
        held, kept = values[::4], np.delete(values, np.s_[::4], 0)
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # held-out values judge what was reached
            numbers = [k for k in COMPONENTS if k == 1 or LEAST * k * kept.shape[1] <= len(kept)]
            tried = [GaussianMixture(k, random_state=0).fit(kept) for k in numbers]
        best = max(tried, key=lambda found: float(found.score(held)))
        return cls(best.weights_, best.means_, best.covariances_)

    def log_prob(self, values: Floats) -> Floats:
        """log p (n,) of values (n, d)."""
        found: Floats = logsumexp(self._joint(values, np.arange(values.shape[1])), axis=1)
        return found

    def completed(self, values: Floats, rng: np.random.Generator) -> Floats:
        """Examples (n, d), whose NaN are drawn from their distribution given the other values."""
        found = values.copy()
        for rows, seen, measured in by_measured(values):
            lost = np.setdiff1d(np.arange(values.shape[1]), seen)
            joint = self._joint(measured, seen)
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)).cumsum(1)
            chosen = (share[:, :-1] < rng.random((len(rows), 1))).sum(1)
            for k in np.unique(chosen) if len(lost) else ():
                mean, S, own = self.means[k], self.covariances[k], chosen == k
                gain = np.linalg.solve(S[np.ix_(seen, seen)], S[np.ix_(seen, lost)])
                left = S[np.ix_(lost, lost)] - gain.T @ S[np.ix_(seen, lost)]
                noise = rng.multivariate_normal(np.zeros(len(lost)), (left + left.T) / 2, int(own.sum()))
                found[np.ix_(rows[own], lost)] = mean[lost] + (measured[own] - mean[seen]) @ gain + noise
        return found

    def _joint(self, values: Floats, columns: np.ndarray) -> Floats:
        """log w_k + log N (n, K) of some columns alone."""
        found = []
        for weight, mean, S in zip(self.weights, self.means, self.covariances, strict=True):
            root = np.linalg.cholesky(S[np.ix_(columns, columns)])
            z = np.linalg.solve(root, (values - mean[columns]).T)
            scale = np.log(root.diagonal()).sum() + 0.5 * len(columns) * np.log(2 * np.pi)
            found.append(np.log(weight) - 0.5 * np.square(z).sum(0) - scale)
        return np.stack(found, 1)
