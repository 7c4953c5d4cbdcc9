"""Training pairs with gaps in y: what was not measured is drawn from its distribution given x and the rest of y."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.engine.seeds import derive_seed
from vaelab.inverse.forward import UNKNOWN, ForwardFunction
from vaelab.inverse.mixture import LEAST, Mixture
from vaelab.inverse.units import Floats, each_value, spread

Array = npt.NDArray[Any]
MOST_VALUES = 200  # of x and y together, of which a mixture is fitted


def filled(
    x: Array, y: Array, forward: ForwardFunction, noise: Floats, seed: int
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """y (n, *y_shape) without its gaps, NaN, where they can be filled, and which rows of pairs x, y are then whole.

    With f known a gap is f(x) plus noise: the noise that is stated, or else that of what was measured. Without, it is
    drawn given x and the rest of y by a Gaussian mixture that is fitted to the complete rows, if there are 5 of them
    for each value. Both leave p(x | y) as it is, where gaps do not depend on what they hide.

    A row without any value of y, or with an infinite one, is never filled.
    """
    n, outputs = len(x), len(noise)
    flat = y.reshape(n, -1)
    complete: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(flat), axis=1)
    gaps = np.isnan(flat)
    some = ~complete & ~np.isinf(flat).any(1) & ~gaps.all(1)
    if not some.any() or not complete.any():
        return y, complete
    rng, found = np.random.default_rng(derive_seed(seed, 45)), flat.copy()
    if forward is not UNKNOWN:
        clean = forward.of_array(x).reshape(n, -1)
        level = noise if noise.any() else _level(clean[complete] - flat[complete], outputs)
        drawn = clean + each_value(level, y.shape[1:]) * rng.standard_normal(clean.shape)
        found[some] = np.where(gaps[some], drawn[some], flat[some])
    else:
        rows = np.concatenate([x.reshape(n, -1), flat], 1)
        if rows.shape[1] > MOST_VALUES or complete.sum() < LEAST * rows.shape[1]:
            return y, complete
        unit, mean = spread(rows[complete], rows.shape[1]), rows[complete].mean(0)
        relative = (rows - mean) / unit
        relative[some] = Mixture.of(relative[complete]).completed(relative[some], rng)
        relative[:, relative[complete].std(0) == 0] = 0.0  # a constant is known, and a mixture would blur it
        drawn = (relative * unit + mean)[:, -flat.shape[1] :]
        found[some] = np.where(gaps[some], drawn[some], flat[some])
    return found.reshape(y.shape), complete | (some & np.isfinite(found).all(1))


def _level(residual: Array, outputs: int) -> Floats:
    """The noise (outputs,) of what f(x) misses of y."""
    parts = residual.reshape(len(residual), outputs, -1)
    finite = np.isfinite(parts)
    level: Floats = np.sqrt(np.square(np.where(finite, parts, 0.0)).sum((0, 2)) / np.maximum(finite.sum((0, 2)), 1))
    return level
