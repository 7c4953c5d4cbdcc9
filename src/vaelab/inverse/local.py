"""Whether draws of x at one measurement follow p(x | y), told by pairs alone: the local classifier two-sample test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SWAPS = 999  # of true and drawn x, among which the classifier of the test is one
MOST = 10  # leading coordinates of x, and of y
RIDGE = 1e-2  # of features of variance 1


def local_c2st(x: Floats, drawn: Floats, y: Floats, at: Floats, draws: Floats, seed: int = 0) -> Floats:
    """p-values (m,) of draws (m, n, D) at measurements `at` (m, C) being of p(x | y), by pairs x (k, D), y (k, C).

    A classifier tells true x from drawn ones, one for each y, both beside their y; its answers at (draws, at) are all
    1/2 where the draws are right. The statistic is the mean of (2 d - 1)^2, and its distribution that under swaps of x
    and drawn x within pairs (Linhart, Gramfort & Rodrigues 2023, l-C2ST; theirs is a neural network). d is linear in
    products of two of the standardised values: it sees means, spreads and correlations, and how they change with y.

    x and y are in coordinates of any unit, of which the first 10 are used. The pairs must be new to the model.

    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=(400, 1))
    >>> x, right = y + rng.normal(size=(2, 400, 1))
    >>> at = np.array([[0.0], [2.0]])
    >>> drawn = at[:, None] + rng.normal(size=(2, 500, 1))
    >>> bool((local_c2st(x, right, y, at, drawn) > 0.01).all()), local_c2st(x, 1.5 * right, y, at, 1.5 * drawn)[1]
    (True, np.float64(0.001))
    """
    x, drawn, draws, y, at = (own[..., :MOST] for own in (x, drawn, draws, y, at))
    both = np.concatenate([x, drawn])
    x, drawn, draws = ((own - both.mean(0)) / _spread(both) for own in (x, drawn, draws))
    y, at = ((own - y.mean(0)) / _spread(y) for own in (y, at))
    true, false = _products(np.concatenate([x, y], 1)), _products(np.concatenate([drawn, y], 1))
    unit = np.sqrt(np.mean(np.concatenate([true, false]) ** 2, 0))
    true, false = true / unit, false / unit
    gram = (true.T @ true + false.T @ false) / (2 * len(y)) + RIDGE * np.eye(len(unit))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (len(y), SWAPS))
    signs = np.column_stack([np.ones(len(y)), signs])
    weights = np.linalg.solve(gram, (true - false).T @ signs / (2 * len(y)))  # of least squares on labels 1 and -1
    found = []
    for own, where in zip(draws, at, strict=True):
        rows = np.concatenate([own, np.broadcast_to(where, (len(own), len(where)))], 1)
        statistic = ((_products(rows) / unit @ weights) ** 2).mean(0)
        found.append((statistic[1:] >= statistic[0]).sum() + 1)
    return np.array(found) / (SWAPS + 1)


def _spread(values: Floats) -> Floats:
    spread: Floats = values.std(0)
    return np.where(spread > 0, spread, 1.0)


def _products(values: Floats) -> Floats:
    """1, the values (n, d), and all products of two of them."""
    whole = np.column_stack([np.ones(len(values)), values])
    first, second = np.triu_indices(whole.shape[1])
    found: Floats = whole[:, first] * whole[:, second]
    return found
