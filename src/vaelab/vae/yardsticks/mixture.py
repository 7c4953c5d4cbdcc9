"""Clusters of latents, for yardsticks: a Gaussian mixture fitted to some, applied to others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

STARTS, FLOOR = 3, 1e-6  # those of `vaelab cluster`


def assigned(fit: npt.NDArray[Any], judged: npt.NDArray[Any], components: int) -> npt.NDArray[np.int64]:
    """The component (m,) of each judged row (m, L) in a mixture with full covariances of rows (n, L)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(min(components, len(fit)), n_init=STARTS, reg_covar=FLOOR, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step's clusters are judged then
        mixture.fit(fit.astype(np.float64))
    return np.asarray(mixture.predict(judged.astype(np.float64)), dtype=np.int64)
