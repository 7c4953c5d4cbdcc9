"""How close synthetic rows come to training rows, beside how close real rows of the test split come to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Column
from vaelab.errors import InputError
from vaelab.plots.features import columns_features
from vaelab.synthetic.boosting import masked

Floats = npt.NDArray[np.float64]
QUANTILE = 0.05  # of the distances of test rows, below which a row counts as close
PIECE = 4_000_000  # distances computed at once


def distances(columns: Sequence[Column], rows: Floats, train: Floats) -> Floats:
    """The distance (n,) of each row (n, D) from its nearest training row (N, D).

    d(a, b) = mean over the columns that both have of |a_j - b_j| / s_j for numbers and dates, with s_j their standard
    deviation in training rows, of logarithms for positive numbers and counts; of [a_j != b_j] for levels.
    Infinite for a row that shares no column with any training row.

    Source: J. Gower, A general coefficient of similarity, 1971, with standard deviations for ranges.

    >>> a = np.array([[0.0, 1.0], [2.0, 0.0]])
    >>> distances([Column("a"), Column("b", "binary", ("0", "1"), (0.0, 1.0))], np.array([[0.0, 0.0]]), a).tolist()
    [0.5]
    """
    features = columns_features(train, columns)
    parts = [features.seen(part) / features.scale for part in (rows, train)]
    for part, own in zip(parts, (rows, train), strict=True):
        for j, column in enumerate(columns):
            if column.has_levels:
                part[:, j] = own[:, j]
    found = np.empty(len(rows))
    size = max(1, PIECE // len(train))
    for start in range(0, len(rows), size):
        total = np.zeros((len(parts[0][start : start + size]), len(train)))
        shared = np.zeros_like(total)
        for j, column in enumerate(columns):
            apart = np.abs(parts[0][start : start + size, j, None] - parts[1][:, j])
            there = ~np.isnan(apart)
            apart = np.where(there, (apart > 0) if column.has_levels else apart, 0.0)
            total += apart
            shared += there
        found[start : start + size] = np.where(shared > 0, total / np.maximum(shared, 1), np.inf).min(1)
    return found


def nearest(
    columns: Sequence[Column], train: Floats, test: Floats, made: Floats, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """What is said of the distances to the nearest training row, JSON-able, and these distances.

    Synthetic rows that are complete get the missing cells of test rows, since over fewer columns distances differ more.
    """
    own = {
        "test": distances(columns, test, train),
        "synthetic": distances(columns, masked(made, test, np.random.default_rng(seed)), train),
    }
    own = {name: values[np.isfinite(values)] for name, values in own.items()}
    if not all(map(len, own.values())):
        raise InputError("test rows share no filled column with training rows, so they have no distance; fill some.")
    close = float(np.quantile(own["test"], QUANTILE))
    said = {
        "median": {name: float(np.median(values)) for name, values in own.items()},
        "close": close,
        "closer": {name: float((values < close).mean()) for name, values in own.items()},
        "copies": {name: int((values == 0).sum()) for name, values in own.items()},
        "rows": {name: len(values) for name, values in own.items()},
        "train": len(train),
    }
    return said, own
