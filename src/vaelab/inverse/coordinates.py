"""The directions in which data vary: an orthonormal frame in which lines of 50 points have four coordinates."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from vaelab.inverse.units import Bounds

Array = npt.NDArray[Any]
ROWS = 20_000  # examples used to compute the frame
NEGLIGIBLE = 1e-8  # share of the largest variance below which a direction is constant
CONSTANT = 1e-20  # variance, in units of the spread, below which there is none
MARGIN = 5e-4  # of a range that examples show, by which solutions stay inside it
CURVE = 16  # from this many values up a vector counts as a curve
FEW = 20  # columns whose products of two are looked at
CHANCE = 1e-3  # that a direction without any correlation is taken for one that has it
LARGEST = 2_000  # above this many features, every feature is its own direction


@dataclasses.dataclass(frozen=True, eq=False)
class Support:
    """The support of the examples: ranges of all values and of steps to the next, as rows of normal c <= bound.

    Solutions must share what all examples have in common, such as a decreasing curve. Values are in units of the
    frame's scale.
    """

    normals: npt.NDArray[np.float64]  # (C, r), each in units of its range
    bounds: npt.NDArray[np.float64]  # (C,)

    @classmethod
    def of(cls, examples: Array, frame: Frame, bounds: Bounds | None = None) -> Support:
        """The bounds of values, whose ends are inside, or without bounds the ranges over examples (n, *shape), narrowed
        slightly so that solutions are strictly inside.
        """
        flat = np.eye(int(np.prod(frame.shape))).reshape(-1, *frame.shape)
        functionals = [flat.reshape(len(flat), -1)]
        if len(frame.shape) > 1 or frame.shape[-1] >= CURVE:  # a few separate inputs have no next one
            functionals.append(np.diff(flat, axis=-1).reshape(len(flat), -1).T)
        rows = np.concatenate([functionals[0], *functionals[1:]])
        normals = rows @ frame.basis.T
        c = frame.coordinates(examples[:: -(-len(examples) // ROWS)])
        low, high = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
        for piece in np.array_split(c, -(-len(c) // 1000)):
            values = piece @ normals.T
            low, high = np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
        margin = np.full(len(rows), MARGIN)
        if bounds is not None:
            for seen, ends in ((low, bounds.low), (high, bounds.high)):
                own = np.flatnonzero(np.isfinite(ends))
                seen[own] = ((ends - frame.mean) / frame.scale)[own]
            margin[: len(bounds.low)] = np.where(bounds.bounded, 0.0, MARGIN)
        wide = high - low > 1e-9
        normals, low, high, margin = normals[wide], low[wide], high[wide], margin[wide]
        size = (high - low)[:, None]
        normals = np.concatenate([normals / size, -normals / size])
        ends = np.concatenate([high, -low]) / np.concatenate([size, size])[:, 0] - np.concatenate([margin, margin])
        _, first = np.unique(np.column_stack([normals, ends]).round(9), axis=0, return_index=True)
        return cls(normals[np.sort(first)], ends[np.sort(first)])

    def excess(self, c: Tensor) -> Tensor:
        """How far, in units of the ranges, coordinates c (n, r) are outside (n, C); 0 inside."""
        normals, bounds = torch.from_numpy(self.normals).to(c), torch.from_numpy(self.bounds).to(c)
        return (c @ normals.T - bounds).clamp_min(0)


def beyond_noise(variances: Array, n: int, known: float = np.inf) -> npt.NDArray[np.bool_]:
    """Which variances (D,) along the principal directions of n examples are larger than noise explains.

    Noise is told by the median, and the threshold is the optimal one for it (Gavish & Donoho 2014). The mean of the
    smaller variances tells it less well where noise differs in size between values. known: the largest variance that
    noise has along any direction, if that was stated.

    >>> beyond_noise(np.array([9.0, 4.0, 1.1, 1.0, 0.9, 0.8, 0.7]), 1_000).tolist()
    [True, True, False, False, False, False, False]
    """
    beta = min(n, len(variances)) / max(n, len(variances))
    omega = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    middle = np.median(np.sort(variances)[::-1][: n - 1])  # n examples vary in n - 1 directions at most
    found: npt.NDArray[np.bool_] = variances > omega**2 * min(middle, known)
    return found


def correlated(c: Array, others: Array) -> npt.NDArray[np.bool_]:
    """Which columns of c (n, D) are correlated with those of others (n, d), or with their squares or, of few, products
    of two, beyond chance.
    """
    own = others - others.mean(0)
    first, second = np.triu_indices(own.shape[1]) if own.shape[1] <= FEW else 2 * (np.arange(own.shape[1]),)
    targets = np.concatenate([own, own[:, first] * own[:, second]], 1)
    n, (seen, told) = len(c), ((a - a.mean(0)) / np.maximum(a.std(0), 1e-300) for a in (c, targets))
    power = n * np.square(seen.T @ told / n)  # of no correlation: chi-squared with one degree of freedom
    found: npt.NDArray[np.bool_] = (power > stats.chi2.isf(CHANCE / power.size, 1)).any(1)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """x = mean + scale (c basis): own values (..., D) from coordinates (..., r), r <= D; the basis is orthonormal.

    Directions without variation carry no information; a model would have to learn to keep them constant, with small
    errors, while the frame is exact. In units of `scale` columns are comparable, whatever their own units.
    """

    mean: npt.NDArray[np.float64]  # (D,)
    basis: npt.NDArray[np.float64]  # (r, D)
    shape: tuple[int, ...]  # of one example in its original shape
    scale: npt.NDArray[np.float64]  # (D,)

    @classmethod
    def of(cls, examples: Array, scale: Any = 1.0, noise: Any = 0.0) -> Frame:
        """The principal directions of examples (n, *shape) whose variance is neither negligible nor that of the noise.

        scale: the unit of each value (D,) or of all; noise: its standard deviation in own units, likewise.
        """
        flat = examples.reshape(len(examples), -1)
        rows = flat[:: -(-len(flat) // ROWS)].astype(np.float64)
        D = flat.shape[1]
        scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), (D,)).copy()
        mean = rows.mean(0)
        if D > LARGEST:
            return cls(mean, np.eye(D), examples.shape[1:], scale)
        relative = np.broadcast_to(noise, (D,)) / scale
        variance, directions = np.linalg.eigh(np.cov(rows / scale, rowvar=False).reshape(D, D))
        unexplained = np.square(relative) @ np.square(directions)
        kept = (variance > max(NEGLIGIBLE * float(variance[-1]), CONSTANT)) & (variance > unexplained)
        basis = directions[:, kept].T[::-1].copy()
        # Else the sign of a direction hangs on the last digits of the examples, and so on their unit.
        basis *= np.where(basis @ np.cos(np.arange(D)) < 0, -1.0, 1.0)[:, None]
        return cls(mean, basis, examples.shape[1:], scale)

    def telling(self, examples: Array, others: Array, known: float = np.inf) -> Frame:
        """Only the directions in which examples (n, *shape) hold more than noise, or tell something of others (n, d);
        all if none stands out. known: the largest variance of the noise in units of the scale, if it was stated.
        """
        c = self.coordinates(examples)
        every = np.pad(c.var(0), (0, len(self.mean) - self.size))  # with the directions that hold nothing
        beyond = beyond_noise(every, len(c), known)[: self.size]
        if not beyond.any():  # the median need not be noise: all values may tell equally much
            return self
        kept = beyond | correlated(c, others)
        return dataclasses.replace(self, basis=self.basis[kept])

    @property
    def size(self) -> int:
        return len(self.basis)

    def coordinates(self, examples: Array) -> npt.NDArray[np.float64]:
        """c (n, r) of examples (n, *shape)."""
        flat = examples.reshape(len(examples), -1)
        found: npt.NDArray[np.float64] = np.concatenate(
            [((piece - self.mean) / self.scale) @ self.basis.T for piece in np.array_split(flat, -(-len(flat) // ROWS))]
        )
        return found

    def own(self, c: Tensor) -> Tensor:
        """Examples (..., *shape) from coordinates c (..., r), in double precision; differentiable."""
        mean, basis, scale = (torch.from_numpy(a) for a in (self.mean, self.basis, self.scale))
        return (mean + scale * (c.double() @ basis)).reshape(*c.shape[:-1], *self.shape)
