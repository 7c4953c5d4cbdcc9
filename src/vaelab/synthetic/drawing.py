"""Draws rows of a table from a trained model, written as the table writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.mixture import GaussianMixture

from vaelab.data import Column, Dataset
from vaelab.engine.seeds import derive_seed
from vaelab.errors import unknown_name
from vaelab.vae import conditions
from vaelab.vae.fitted import Fitted

Floats = npt.NDArray[np.float64]
COMPONENTS = (1, 2, 4, 8, 16)  # Gaussians among which the lowest BIC chooses
PER_COMPONENT = 10  # training rows at least
MANY_AT_ENDS = 0.05  # of the drawn values of a column, at the ends of its range, more than of real ones
FIT_ROWS, DRAWS = 5_000, 5  # of training, at most; and of each one's posterior


def _of_model(fitted: Fitted, data: Dataset, n: int, seed: int) -> Floats:
    """Rows at draws of the prior; those of `sample --noise`."""
    return np.asarray(fitted.sample(n, seed, noise=True), np.float64)


def _of_mixture(fitted: Fitted, data: Dataset, n: int, seed: int) -> Floats:
    """Rows at draws of a Gaussian mixture that is fitted to posterior draws of training rows.

    The prior may have regions that no training row is encoded to, where the decoder extrapolates; the mixture is
    where the rows are (Ghosh et al., From variational to deterministic autoencoders, 2020).
    """
    train = data.splits["train"]
    mean, std = fitted.encode(data.flat[train[:: -(-len(train) // FIT_ROWS)]])
    rng = np.random.default_rng(derive_seed(seed, 3))
    points = np.concatenate([mean + std * rng.standard_normal(mean.shape) for _ in range(DRAWS)])
    counts = [count for count in COMPONENTS if count == 1 or count * PER_COMPONENT <= len(mean)]
    mixtures = [
        GaussianMixture(count, reg_covar=1e-3, max_iter=1_000, n_init=2, random_state=seed).fit(points)
        for count in counts
    ]
    best = min(mixtures, key=lambda mixture: float(mixture.bic(points)))
    z = rng.permutation(best.sample(n)[0])
    return np.asarray(fitted.draw(z, seed, conditions.drawn(fitted, n, {}, rng)), np.float64)


PRIORS: dict[str, Callable[[Fitted, Dataset, int, int], Floats]] = {"model": _of_model, "fitted": _of_mixture}


def draw(fitted: Fitted, data: Dataset, n: int, prior: str = "model", seed: int = 0) -> Floats:
    """Rows (n, D) in the table's own units, with latents from the model's prior, or from a mixture "fitted" to those of
    training rows; conditions are those of training rows. Numbers are written `as_recorded`.
    """
    if prior not in PRIORS:
        raise unknown_name("prior", prior, PRIORS)
    return as_recorded(PRIORS[prior](fitted, data, n, seed), data.columns, data.rows("train"))


def at_ends(columns: Sequence[Column], train: Floats, made: Floats) -> list[tuple[int, float, float]]:
    """Columns of numbers of whose synthetic cells (n, D) many are the least or the most of the training rows (N, D),
    where those are not: their numbers, the share of synthetic cells, and that of real ones.

    >>> at_ends([Column("a")], np.arange(100.0)[:, None], np.array([[0.0]] * 3 + [[50.0]] * 7))
    [(0, 0.3, 0.02)]
    """
    found = []
    for j, column in enumerate(columns):
        known, own = (values[~np.isnan(values[:, j]), j] for values in (train, made))
        if column.has_levels or not len(known) or not len(own):
            continue
        made_there, there = (float(np.isin(values, (known.min(), known.max())).mean()) for values in (own, known))
        if made_there > MANY_AT_ENDS + there:
            found.append((j, made_there, there))
    return found


def as_recorded(rows: Floats, columns: Sequence[Column], train: npt.NDArray[Any]) -> Floats:
    """Rows (n, D) whose numbers have as many decimals as the columns, and stay in the range of training rows (N, D).

    A model of densities draws 43.948 where the table has whole years, and -0.1 where it has many zeros and nothing
    below: that alone would tell synthetic rows from real ones.

    >>> as_recorded(np.array([[43.948], [-3.0]]), [Column("age", decimals=0)], np.array([[0.0], [70.0]])).tolist()
    [[44.0], [0.0]]
    """
    found = np.array(rows, np.float64)
    for j in range(found.shape[1]):
        known = train[:, j].astype(np.float64)
        known = known[~np.isnan(known)]
        if not len(known) or (columns and columns[j].has_levels):
            continue
        decimals = columns[j].rounded_to if columns else None
        own = found[:, j] if decimals is None else np.round(found[:, j], decimals)
        found[:, j] = np.clip(own, known.min(), known.max())
    return found
