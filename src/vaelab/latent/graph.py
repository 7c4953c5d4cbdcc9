"""Label propagation along a nearest-neighbour graph of the latents, from few labels and many unlabelled examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.neighbors import NearestNeighbors

from vaelab.latent.labels import draw_balanced
from vaelab.latent.propagation import Calibration, Propagation, edge_weights, placed
from vaelab.metrics import log_loss

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ACCURACY = 1e-4  # of the linear solver, relative to the labels
HELD_OUT = 200  # maximum number of labels left out in turn, for calibration
TEMPERATURES = np.geomspace(0.02, 2, 81)


class LabelGraph:
    """The symmetric k-nearest-neighbour graph of points (n, L), and label propagation along it.

    With W the graph's weights, D its degrees and S = D^-1/2 W D^-1/2, the labels Y (n, C) become

        F = (1 - alpha) (I - alpha S)^-1 Y,

    the fixed point of F <- alpha S F + (1 - alpha) Y (Zhou et al. 2004, equation 4; scikit-learn's LabelSpreading on
    its k-nearest-neighbour kernel, here symmetric, kept for many draws of labels, and weighted: an edge of length d
    weighs exp(-d^2 / (s_i s_j)), s the distance to the k-th neighbour (Zelnik-Manor & Perona 2004). Only the given
    labels are used.

    >>> z = np.concatenate([np.zeros((20, 1)), np.ones((20, 1))]) + np.linspace(0, 0.1, 40)[:, None]
    >>> LabelGraph(z, 5).predict_proba(z[[3, 33]], np.array([0, 39]), np.array([0, 1]), 2).argmax(1).tolist()
    [0, 1]
    """

    def __init__(self, points: Any, neighbours: int = 5, alpha: float = 0.99):
        self.alpha = alpha
        self.points = np.asarray(points, dtype=np.float64)
        self.neighbours = min(neighbours, len(points) - 1)
        self.search = NearestNeighbors(n_neighbors=self.neighbours + 1).fit(points)
        away, near = self.search.kneighbors(points)
        self.reach = np.maximum(away[:, -1], 1e-12)
        self.away, self.near = away[:, 1:], near[:, 1:]
        weights = edge_weights(self.away, self.reach[:, None], self.reach[self.near])
        n = len(points)
        rows = np.repeat(np.arange(n), self.neighbours)
        edges = sparse.csr_matrix((weights.ravel(), (rows, self.near.ravel())), shape=(n, n))
        edges = edges.maximum(edges.T)
        scale = 1 / np.sqrt(np.maximum(np.asarray(edges.sum(1)).ravel(), 1e-300))
        self.smooth = sparse.diags(scale) @ edges @ sparse.diags(scale)

    def spread(self, rows: Ints, codes: Ints, classes: int) -> Floats:
        """F (n, C) from labels `codes` at the points `rows`; each class's labels have total weight 1."""
        given = np.zeros((len(self.near), classes))
        given[rows, codes] = 1 / np.bincount(codes, minlength=classes)[codes]
        return self._solved(given)

    def _solved(self, given: Floats) -> Floats:
        system = sparse.identity(len(given), format="csr") - self.alpha * self.smooth
        columns = [cg(system, column, rtol=ACCURACY)[0] for column in given.T]
        return np.maximum((1 - self.alpha) * np.stack(columns, 1), 0)  # rounding errors at unreached points

    def predict_proba(self, points: Any, rows: Ints, codes: Ints, classes: int) -> Floats:
        """Class shares (m, C) of new points (m, L), from their neighbours; uniform if these were not reached."""
        away, near = self.search.kneighbors(points, self.neighbours)
        return placed(away, self.reach[near], self.spread(rows, codes, classes)[near])

    def propagation(self, rows: Ints, codes: Ints, classes: int) -> Propagation:
        """Labels `codes` at the points `rows`, propagated once and calibrated: for any new points."""
        calibration = self.calibration(rows, codes, classes)
        return Propagation(self.points, self.reach, self.spread(rows, codes, classes), self.neighbours, calibration)

    def calibration(self, rows: Ints, codes: Ints, classes: int) -> Calibration | None:
        """The temperature with the highest leave-one-out likelihood of the labels; no other label is used.

        Propagation is linear: without one of its n_c labels a class has (n_c F_c - G) / (n_c - 1), with G from that
        label alone. None if no class has two labels, so that none can be left out.
        """
        counts = np.bincount(codes, minlength=classes)
        several = np.where(counts[codes] > 1, codes, -1)
        if (several < 0).all():
            return None
        left = draw_balanced(several, min(HELD_OUT, int((several >= 0).sum())), classes)
        alone = np.zeros((len(self.near), len(left)))
        alone[rows[left], np.arange(len(left))] = 1
        alone, own, near = self._solved(alone), codes[left], self.near[rows[left]]
        arrived, turn, n = self.spread(rows, codes, classes)[near], np.arange(len(left)), counts[own][:, None]
        missing = alone[near, turn[:, None]]
        arrived[turn, :, own] = np.maximum((n * arrived[turn, :, own] - missing) / (n - 1), 0)
        shares = placed(self.away[rows[left]], self.reach[near], arrived)
        found = [log_loss(Calibration(t, len(rows))(shares), own) for t in TEMPERATURES]
        return Calibration(float(TEMPERATURES[int(np.argmin(found))]), len(rows))
