"""A Gaussian mixture fitted to latents, in the coordinates that suit it. No torch."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ROWS = 8_000  # that EM and the graph look at
NEIGHBOURS = 10  # of a row in the graph
SOLVED_WHOLE = 1_000  # rows up to which eigenvectors come from the whole matrix
SUBSPACES = (1, 4, 16)  # of ARPACK, in multiples of its own choice
FLOOR = 1e-4  # least variance of a direction, as a share of the mean one


@dataclasses.dataclass(frozen=True)
class Fit:
    """A mixture in new coordinates z' = (z - centre) @ basis of the latents z (n, L).

    weights (C,), means (C, L) and covariances (C, L, L), in the new coordinates.
    """

    centre: Floats
    basis: Floats
    weights: Floats
    means: Floats
    covariances: Floats


def fit(latents: npt.NDArray[Any], components: int, seed: int) -> Fit:
    """EM on latents (n, L) with full covariances, then the basis that makes components axis-parallel on average.

    A linear map in front of the decoder is free: the encoder ends and the decoder begins with one. So z is first
    turned and scaled by linear discriminant analysis of the mixture: in z' the mean covariance within components and
    the covariance between their means are both diagonal, and every z' has mean 0 and variance 1. What diagonal
    components cannot tell in the autoencoder's own coordinates, they can in these.

    EM starts from the groups of a nearest-neighbour graph (see `graph_groups`): from k-means it ends, on digits, where
    one group holds two classes and another half of one, and the likelihood of such an end is no lower.
    """
    z = np.asarray(latents, np.float64)
    centre, scale = z.mean(0), max(float(z.std(0).mean()), 1e-12)
    z = (z - centre) / scale
    rng = np.random.default_rng(seed)
    some = z if len(z) <= MOST_ROWS else z[np.sort(rng.choice(len(z), MOST_ROWS, replace=False))]
    return discriminant(z, _em(some, components, rng).predict_proba(z), centre, scale)


def _em(z: Floats, components: int, rng: np.random.Generator) -> Any:
    """The scikit-learn mixture with full covariances to which EM on z (n, L) comes from the groups of the graph."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    start: dict[str, Any] = {}
    groups = graph_groups(z, components, rng)
    if groups is not None:
        weights, means, covariances = moments(z, np.eye(components)[groups])
        precisions = np.linalg.inv(covariances + FLOOR * np.eye(z.shape[1]))
        start = {"weights_init": weights, "means_init": means, "precisions_init": precisions}
    seed = int(rng.integers(2**31))
    model = GaussianMixture(components, reg_covar=FLOOR, max_iter=200, random_state=seed, **start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # joint training goes on from wherever EM stopped
        return model.fit(z)


def moments(z: Floats, shares: Floats) -> tuple[Floats, Floats, Floats]:
    """The M-step: weights (C,), means (C, L) and covariances (C, L, L) for responsibilities `shares` (n, C)."""
    counts = shares.sum(0) + 1e-9
    means = shares.T @ z / counts[:, None]
    covariances = np.stack(
        [
            (z - mean).T @ ((z - mean) * share[:, None]) / count
            for mean, share, count in zip(means, shares.T, counts, strict=True)
        ]
    )
    return counts / counts.sum(), means, covariances


def graph_groups(z: Floats, groups: int, rng: np.random.Generator) -> Ints | None:
    """Groups (n,) of z (n, L) that few edges of its nearest-neighbour graph leave; None where a row has no neighbours.

    Spectral clustering (Ng, Jordan & Weiss 2001): the leading eigenvectors of D^-1/2 A D^-1/2, rows scaled to length
    1, then k-means. A few more eigenvectors than groups are used: where one group is long and thin, the graph is cut
    across it more cheaply than between two groups that touch.
    """
    from scipy import sparse
    from sklearn.cluster import KMeans
    from sklearn.neighbors import kneighbors_graph
    from sklearn.preprocessing import normalize

    n, vectors = len(z), groups + -(-groups // 4)
    if n <= max(NEIGHBOURS, vectors) + 1:
        return None
    graph = kneighbors_graph(z, NEIGHBOURS)
    graph = 0.5 * (graph + graph.T)
    root = sparse.diags_array(1 / np.sqrt(np.asarray(graph.sum(1)).ravel()))
    leading = leading_vectors(root @ graph @ root, vectors, rng)
    found = KMeans(groups, n_init=10, random_state=int(rng.integers(2**31))).fit_predict(normalize(leading))
    return np.asarray(found, np.int64)


def leading_vectors(matrix: Any, count: int, rng: np.random.Generator) -> Floats:
    """Eigenvectors (n, count) of the largest eigenvalues of a sparse symmetric matrix.

    ARPACK can break off where an eigenvalue is repeated, as in the graph of islands, one for each: small matrices are
    solved whole, and for large ones it tries again in larger subspaces. Raises FloatingPointError where these fail too.
    """
    from scipy import linalg, sparse

    n = matrix.shape[0]
    if n <= SOLVED_WHOLE:
        return np.asarray(linalg.eigh(matrix.toarray(), subset_by_index=[n - count, n - 1])[1])
    smallest = max(2 * count + 1, 20)  # ARPACK's own choice
    for times in SUBSPACES:
        start = rng.random(n)  # else ARPACK draws one, and no seed repeats it
        try:
            _, vectors = sparse.linalg.eigsh(matrix, k=count, which="LA", v0=start, ncv=min(n, times * smallest))
        except sparse.linalg.ArpackError as error:
            reason = error
        else:
            return np.asarray(vectors)
    raise FloatingPointError(f"the graph of the latents has no eigenvectors that ARPACK finds ({reason})")


def discriminant(z: Floats, shares: Floats, centre: Floats, scale: float) -> Fit:
    """The mixture with responsibilities `shares` (n, C) of centred and scaled latents z (n, L), in its basis."""
    weights, means, covariances = moments(z, shares)
    within = np.einsum("c,cij->ij", weights, covariances) + FLOOR * np.eye(z.shape[1])
    between = (means * weights[:, None]).T @ means
    values, vectors = np.linalg.eigh(within)
    white = vectors / np.sqrt(values)
    spread, turn = np.linalg.eigh(white.T @ between @ white)
    basis = (white @ turn / np.sqrt(1 + spread))[:, ::-1]  # the most telling direction first
    turned = basis.T @ (covariances + FLOOR * np.eye(z.shape[1])) @ basis
    return Fit(centre, basis / scale, weights, means @ basis, turned)
