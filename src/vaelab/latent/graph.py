"""Label propagation along a nearest-neighbour graph of the latents, from few labels and many unlabelled examples."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.neighbors import NearestNeighbors

from vaelab.latent.labels import UNKNOWN, draw_balanced
from vaelab.metrics import log_loss

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ACCURACY = 1e-4  # of the linear solver, relative to the labels
HELD_OUT = 200  # maximum number of labels left out in turn, for calibration
TEMPERATURES = np.geomspace(0.02, 2, 81)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Class probabilities from n propagated labels: p(c|x) = (n q_c + 1/C) / (n + 1) with q ~ share^(1/T).

    Propagation flattens the shares, which are strongly underconfident: T < 1 sharpens them (Guo et al. 2017). One more
    label, spread evenly over the classes, bounds the confidence from n labels. The order of the classes is unchanged.

    >>> Calibration(0.5, 9)(np.array([[0.8, 0.2], [0.5, 0.5]])).round(3).tolist()
    [[0.897, 0.103], [0.5, 0.5]]
    """

    temperature: float
    labels: int

    def __call__(self, shares: Floats) -> Floats:
        logs = np.log(np.maximum(shares, 1e-300)) / self.temperature
        sharp = normalised(np.exp(logs - logs.max(1, keepdims=True)))
        return np.asarray((self.labels * sharp + 1 / shares.shape[1]) / (self.labels + 1))


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
        self.neighbours = min(neighbours, len(points) - 1)
        self.search = NearestNeighbors(n_neighbors=self.neighbours + 1).fit(points)
        away, near = self.search.kneighbors(points)
        self.reach = np.maximum(away[:, -1], 1e-12)
        self.away, self.near = away[:, 1:], near[:, 1:]
        weights = self._weights(self.away, self.near, self.reach)
        n = len(points)
        rows = np.repeat(np.arange(n), self.neighbours)
        edges = sparse.csr_matrix((weights.ravel(), (rows, self.near.ravel())), shape=(n, n))
        edges = edges.maximum(edges.T)
        scale = 1 / np.sqrt(np.maximum(np.asarray(edges.sum(1)).ravel(), 1e-300))
        self.smooth = sparse.diags(scale) @ edges @ sparse.diags(scale)

    def _weights(self, away: Floats, near: Ints, reach: Floats) -> Floats:
        return np.asarray(np.exp(-np.square(away) / (reach[:, None] * self.reach[near])))

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
        return self._placed(away, near, self.spread(rows, codes, classes)[near])

    def _placed(self, away: Floats, near: Ints, arrived: Floats) -> Floats:
        """Shares (m, C) at points with neighbours at distances `away` (m, k) and shares `arrived` (m, k, C)."""
        weights = self._weights(away, near, np.maximum(away[:, -1], 1e-12))
        weights /= weights.sum(1, keepdims=True)
        return np.asarray(np.einsum("mk,mkc->mc", weights, normalised(arrived)))

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
        shares = self._placed(self.away[rows[left]], near, arrived)
        found = [log_loss(Calibration(t, len(rows))(shares), own) for t in TEMPERATURES]
        return Calibration(float(TEMPERATURES[int(np.argmin(found))]), len(rows))

    @staticmethod
    def answers(proba: Floats, reject: float = 0.0) -> Ints:
        """The most likely class (m,) of class shares (m, C); UNKNOWN if no label reached it, or below `reject`."""
        most = proba.max(1)
        return np.where((most > proba.min(1)) & (most >= reject), proba.argmax(1), UNKNOWN)


def normalised(found: Floats) -> Floats:
    """Numbers normalised to sum 1 along the last axis; uniform if all are 0."""
    total = found.sum(-1, keepdims=True)
    even = np.full_like(found, 1 / found.shape[-1])
    return np.where(total > 0, found / np.where(total > 0, total, 1), even)
