"""Training pairs that a run keeps: those whose y is nearest to a measurement are candidates, too."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.neighbors import NearestNeighbors

from vaelab import store
from vaelab.inverse.coordinates import Frame
from vaelab.inverse.mixture import Mixture, by_measured
from vaelab.inverse.problems import Problem

Array = npt.NDArray[Any]
FILE = "examples.safetensors"
BYTES = 16_000_000  # in a run folder, at most
AMONG, REFERENCE = 20_000, 2_000  # examples, and those of them whose distances to the others say what is usual


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Coordinates c (N, r) of x in a frame, and y (N, V) in units of its spread, both in single precision."""

    c: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]

    @classmethod
    def of(cls, problem: Problem, frame: Frame) -> Examples:
        """The training pairs of a problem, as many as 16 MB hold."""
        x, y = problem.rows("train")
        most = max(1, BYTES // (4 * (frame.size + y[0].size)))
        x, y = x[:most], y[:most]
        return cls(frame.coordinates(x).astype(np.float32), problem.relative_y(y).astype(np.float32))

    def nearest(self, problem: Problem, frame: Frame, y: Array, n: int) -> Array:
        """The x (curves, min(n, N), *x_shape) whose y are nearest to what was measured of y (curves, *y_shape)."""
        if not n:
            return np.empty((len(y), 0, *problem.x_shape))
        n = min(n, len(self.c))
        rows = np.empty((len(y), n), dtype=np.int64)
        for own, columns, measured in by_measured(problem.relative_y(y)):
            index = NearestNeighbors(algorithm="brute").fit(self.y[:, columns])
            rows[own] = index.kneighbors(measured, n, return_distance=False)
        x: Array = frame.own(torch.from_numpy(self.c[rows].astype(np.float64))).numpy()
        return x if problem.bounds is None else problem.bounds.clip(x)

    def p_values(self, y: Array) -> npt.NDArray[np.float64]:
        """Of measurements y (n, V) in units of the spread: the share of examples that are as far from all others as y
        is from the nearest one, (1 + m) / (1 + N); a conformal p-value (Vovk et al. 2005). NaN do not count.

        >>> line = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
        >>> Examples(line, line).p_values(np.array([[0.505], [3.0]])).round(3).tolist()
        [1.0, 0.01]
        """
        among = self.y[:: -(-len(self.y) // AMONG)]
        found = np.empty(len(y))
        for own, columns, measured in by_measured(y):
            index = NearestNeighbors(algorithm="brute").fit(among[:, columns])
            some = among[:: -(-len(among) // REFERENCE), columns]
            usual = np.sort(index.kneighbors(some, min(2, len(among)))[0][:, -1])  # the first is the example itself
            far = index.kneighbors(measured.astype(np.float32), 1)[0][:, 0]
            found[own] = (1 + len(usual) - np.searchsorted(usual, far, side="left")) / (1 + len(usual))
        return found

    @functools.cached_property
    def of_y(self) -> Mixture:
        """A mixture of y in units of its spread, by which outputs that were not measured are drawn."""
        return Mixture.of(self.y.astype(np.float64))

    def save(self, folder: Path) -> str:
        """In a run folder; returns the checksum."""
        return store.save_arrays(folder / FILE, {"c": self.c, "y": self.y})

    @classmethod
    def load(cls, folder: Path, sha256: str) -> Examples:
        """From a run folder."""
        arrays = store.load_arrays(folder / FILE, sha256)
        return cls(arrays["c"], arrays["y"])
