"""Labels spread along a nearest-neighbour graph of the latents: what few labels and many unlabelled examples give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.neighbors import NearestNeighbors

from vaelab.latent.labels import UNKNOWN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ACCURACY = 1e-4  # of the equations' solution, relative to the labels


class LabelGraph:
    """The symmetric k-nearest-neighbour graph of points (n, L), and labels that spread along it.

    With W the graph's weights, D its degrees and S = D^-1/2 W D^-1/2, the labels Y (n, C) become

        F = (1 - alpha) (I - alpha S)^-1 Y,

    the fixed point of F <- alpha S F + (1 - alpha) Y (Zhou et al. 2004, equation 4; scikit-learn's LabelSpreading on
    its k-nearest-neighbour kernel, here symmetric, kept for many draws of labels, and weighted: an edge of length d
    weighs exp(-d^2 / (s_i s_j)), s the distance to the k-th neighbour (Zelnik-Manor & Perona 2004). No label is read
    but those given.

    >>> z = np.concatenate([np.zeros((20, 1)), np.ones((20, 1))]) + np.linspace(0, 0.1, 40)[:, None]
    >>> LabelGraph(z, 5).predict_proba(z[[3, 33]], np.array([0, 39]), np.array([0, 1]), 2).argmax(1).tolist()
    [0, 1]
    """

    def __init__(self, points: Any, neighbours: int = 5, alpha: float = 0.99):
        self.alpha = alpha
        self.neighbours = min(neighbours, len(points) - 1)
        self.search = NearestNeighbors(n_neighbors=self.neighbours + 1).fit(points)
        away, near = self.search.kneighbors(points)
        self.reach = np.maximum(away[:, -1], 1e-12)
        weights = self._weights(away[:, 1:], near[:, 1:], self.reach)
        n = len(points)
        rows = np.repeat(np.arange(n), self.neighbours)
        edges = sparse.csr_matrix((weights.ravel(), (rows, near[:, 1:].ravel())), shape=(n, n))
        edges = edges.maximum(edges.T)
        scale = 1 / np.sqrt(np.maximum(np.asarray(edges.sum(1)).ravel(), 1e-300))
        self.smooth = sparse.diags(scale) @ edges @ sparse.diags(scale)

    def _weights(self, away: Floats, near: Ints, reach: Floats) -> Floats:
        return np.asarray(np.exp(-np.square(away) / (reach[:, None] * self.reach[near])))

    def spread(self, rows: Ints, codes: Ints, classes: int) -> Floats:
        """F (n, C) from labels `codes` at the points `rows`; each class's labels weigh 1 in all."""
        given = np.zeros((self.smooth.shape[0], classes))
        given[rows, codes] = 1 / np.bincount(codes, minlength=classes)[codes]
        system = sparse.identity(len(given), format="csr") - self.alpha * self.smooth
        columns = [cg(system, column, rtol=ACCURACY)[0] for column in given.T]
        return np.maximum((1 - self.alpha) * np.stack(columns, 1), 0)  # rounding, where nothing arrived

    def predict_proba(self, points: Any, rows: Ints, codes: Ints, classes: int) -> Floats:
        """Class shares (m, C) of new points (m, L): what spread to their neighbours; even where nothing did."""
        away, near = self.search.kneighbors(points, self.neighbours)
        reach = np.maximum(away[:, -1], 1e-12)
        shares = normalised(self.spread(rows, codes, classes))
        weights = self._weights(away, near, reach)
        weights /= weights.sum(1, keepdims=True)
        return np.asarray(np.einsum("mk,mkc->mc", weights, shares[near]))

    @staticmethod
    def answers(proba: Floats, reject: float = 0.0) -> Ints:
        """The likeliest class (m,) of class shares (m, C); UNKNOWN where no label arrived, or below `reject`."""
        most = proba.max(1)
        return np.where((most > proba.min(1)) & (most >= reject), proba.argmax(1), UNKNOWN)


def normalised(found: Floats) -> Floats:
    """Rows that sum to 1; a row of zeros becomes even."""
    total = found.sum(1, keepdims=True)
    even = np.full_like(found, 1 / found.shape[1])
    return np.where(total > 0, found / np.where(total > 0, total, 1), even)
