"""UMAP of latents, for mixtures on a flattened manifold (N2D: McConville et al. 2021). Needs the extra `manifold`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.errors import InputError

Floats = npt.NDArray[np.float64]
NEIGHBOURS = 10


def available() -> None:
    """Raises InputError with install instructions if umap-learn is missing."""
    try:
        import umap  # noqa: F401
    except ImportError:
        raise InputError("`umap` needs the package umap-learn: pip install 'vaelab[manifold]'.") from None


class Manifold:
    """UMAP with a minimum distance of 0, which packs clusters tightly (McInnes et al. 2018).

    `fit` takes points (n, L) and returns their embedding (n, dimensions); `place` embeds new points.
    """

    def __init__(self, dimensions: int, neighbours: int = NEIGHBOURS, seed: int = 0):
        available()
        self.dimensions, self.neighbours, self.seed = dimensions, neighbours, seed
        self._map: Any = None

    def fit(self, points: Any) -> Floats:
        from umap import UMAP

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from numba, and about parallelism disabled by the seed
            self._map = UMAP(
                n_components=self.dimensions, n_neighbors=min(self.neighbours, len(points) - 1), min_dist=0.0,
                random_state=self.seed, n_jobs=1,
            )  # fmt: skip
            return np.asarray(self._map.fit_transform(np.asarray(points, dtype=np.float32)), dtype=np.float64)

    def place(self, points: Any) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self._map.transform(np.asarray(points, dtype=np.float32)), dtype=np.float64)
