"""A Gaussian of few factors, learned from rows with missing cells: what these hold, given the cells that are there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FACTORS = (1, 2, 4, 8, 16, 32)
ROWS = 2_000  # of training, at most
PRODUCTS = 250_000_000  # rows x values x factors^2, at most: a round takes a tenth of a second
ROUNDS = 50  # of 100 rounds, the second half changes the error of filled cells by less than a hundredth
SHORT_ROUNDS = 20  # to compare numbers of factors
HIDDEN = 0.1  # of the cells that are there, to compare them
LEAST_NOISE = 1e-3  # variance, for values with variance 1: no cell decides alone
RIDGE = 1.0  # as one further row in which each value is 0 and each factor has mean 0 and variance 1


def fit(x: Floats, seed: int = 0) -> Floats | None:
    """mean (E,), noise variance (E,) and loadings (k, E) in one array (2 + k, E), for rows x (n, E) with variances of
    about 1, NaN where missing. None if no factor helps.

    x = mean + loadings^T z + noise with z ~ N(0, I), by expectation and maximisation over z alone, which needs no
    missing values (Rubin & Thayer 1982; with the expanded parameters of Liu, Rubin & Wu 1998, which makes it fast). The
    number of factors is the one that fills cells hidden for the purpose best.
    """
    x = x[:: -(-len(x) // ROWS)]
    center = np.where(np.isnan(x), 0.0, x).sum(0) / np.maximum((~np.isnan(x)).sum(0), 1)
    x = x - center
    rng = np.random.default_rng(seed)
    hidden = (rng.random(x.shape) < HIDDEN) & ~np.isnan(x)
    if not hidden.any():
        return None
    given = np.where(hidden, np.nan, x)
    best, lowest = 0, float(np.square(x[hidden]).mean())
    for k in FACTORS:
        if k >= min(x.shape) or x.size * k * k > PRODUCTS:
            break
        error = float(np.square((filled(_factors(given, k, SHORT_ROUNDS), given) - x)[hidden]).mean())
        if error < lowest:
            best, lowest = k, error
        elif k > 2 * best:
            break
    if not best:
        return None
    found = _factors(x, best, ROUNDS)
    found[0] += center
    return found


def filled(filling: Floats, x: Floats) -> Floats:
    """Rows x (n, E) with E[missing | there] in their missing cells."""
    there = ~np.isnan(x)
    z, _ = _posterior(filling, np.where(there, x, 0.0), there)
    return np.where(there, x, z @ filling[2:] + filling[0])


def _posterior(filling: Floats, x: Floats, there: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Means (n, k) and covariances (n, k, k) of z given the cells that are there."""
    (mean, noise), loadings = filling[:2], filling[2:]
    k = len(loadings)
    weight = there / noise
    inner = (weight @ products(loadings).T).reshape(-1, k, k) + np.eye(k)
    covariance = np.linalg.inv(inner)
    return np.einsum("nkl,nl->nk", covariance, (weight * (x - mean)) @ loadings.T), covariance


def products(loadings: Floats) -> Floats:
    """Of all pairs of rows of loadings (k, E): (k^2, E)."""
    return (loadings[:, None] * loadings[None]).reshape(len(loadings) ** 2, loadings.shape[1])


def _factors(x: Floats, k: int, rounds: int) -> Floats:
    """As `fit`, with k factors."""
    n, E = x.shape
    there = ~np.isnan(x)
    x = np.where(there, x, 0.0)
    count = there.sum(0)
    filling = np.concatenate([np.zeros((1, E)), np.ones((1, E)), 0.1 * np.random.default_rng(k).normal(size=(k, E))])
    ridge = RIDGE * np.eye(k + 1)
    for _ in range(rounds):
        z, covariance = _posterior(filling, x, there)
        shift, root = z.mean(0), np.linalg.cholesky(np.cov(z.T, bias=True).reshape(k, k) + covariance.mean(0))
        z1 = np.concatenate([z, np.ones((n, 1))], 1)
        second = z1[:, :, None] * z1[:, None]
        second[:, :k, :k] += covariance
        gram = (there.T.astype(float) @ second.reshape(n, -1)).reshape(E, k + 1, k + 1)
        cross = x.T @ z1
        weights = np.linalg.solve(gram + ridge, cross[..., None])[..., 0]  # (E, k + 1)
        squares = np.square(x).sum(0) - 2 * (weights * cross).sum(1)
        squares += np.einsum("ek,ekl,el->e", weights, gram, weights)
        loadings, mean = weights[:, :k].T, weights[:, k]
        # z is standardised anew, and its mean and covariance go into the parameters.
        mean, loadings = mean + shift @ loadings, root.T @ loadings
        noise = np.maximum((squares + RIDGE) / (count + RIDGE), LEAST_NOISE)
        filling = np.concatenate([mean[None], noise[None], loadings])
    return filling
