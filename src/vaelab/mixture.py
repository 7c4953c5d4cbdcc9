"""A Gaussian mixture fitted to latents, in the coordinates in which its components are axis-parallel. No torch."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STARTS = 3  # of EM, the likeliest is kept
MOST_ROWS = 20_000  # that EM looks at
FLOOR = 1e-4  # least variance of a direction, as a share of the mean one


@dataclasses.dataclass(frozen=True)
class Fit:
    """A mixture with diagonal covariances in new coordinates z' = (z - centre) @ basis of the latents z (n, L).

    weights (C,); means and variances (C, L), in the new coordinates.
    """

    centre: Floats
    basis: Floats
    weights: Floats
    means: Floats
    variances: Floats


def fit(latents: npt.NDArray[Any], components: int, seed: int) -> Fit:
    """EM on latents (n, L) with full covariances, then the basis that makes components axis-parallel on average.

    A linear map in front of the decoder is free: the encoder ends and the decoder begins with one. So z is first
    turned and scaled by linear discriminant analysis of the mixture: in z' the mean covariance within components and
    the covariance between their means are both diagonal, and every z' has mean 0 and variance 1. What diagonal
    components cannot tell in the autoencoder's own coordinates, they can in these.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    z = np.asarray(latents, np.float64)
    centre, scale = z.mean(0), max(float(z.std(0).mean()), 1e-12)
    z = (z - centre) / scale
    some = z[:: -(-len(z) // MOST_ROWS)]
    model = GaussianMixture(components, reg_covar=FLOOR, n_init=STARTS, max_iter=200, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # joint training goes on from wherever EM stopped
        model.fit(some)
    return discriminant(z, model.predict_proba(z), centre, scale)


def discriminant(z: Floats, shares: Floats, centre: Floats, scale: float) -> Fit:
    """The M-step for responsibilities `shares` (n, C) of scaled latents z (n, L), in the discriminant's basis."""
    n, L = z.shape
    counts = shares.sum(0) + 1e-9
    means = shares.T @ z / counts[:, None]
    between = (means * (counts / n)[:, None]).T @ means
    within = z.T @ z / n - between + FLOOR * np.eye(L)
    values, vectors = np.linalg.eigh(within)
    white = vectors / np.sqrt(values.clip(FLOOR))
    spread, turn = np.linalg.eigh(white.T @ between @ white)
    basis = (white @ turn / np.sqrt(1 + spread.clip(0)))[:, ::-1]  # the most telling direction first
    turned = z @ basis
    new_means = means @ basis
    squares = shares.T @ turned**2 / counts[:, None]
    variances = (squares - new_means**2).clip(FLOOR)
    return Fit(centre, basis / scale, counts / counts.sum(), new_means, variances)
