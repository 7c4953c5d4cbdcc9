"""Explores a data set for a report: counts, values, and duplicates between train and test."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.dataset import SPLITS, Array, Dataset
from vaelab.data.describe import describe
from vaelab.data.duplicates import NEAR, duplicates, pieces

Rows = npt.NDArray[np.int64]

BINS, LEVELS = 64, 64


def explore(dataset: Dataset) -> dict[str, Any]:
    """All of `describe`, and class counts by split, the histogram of intensities, and duplicates; JSON-able.

    The test split is only compared with the training split row by row; no output or picture shows it.

    >>> from vaelab.data import load
    >>> found = explore(load("digits"))
    >>> found["duplicates"]["exact"], len(found["histogram"]["counts"])
    (0, 17)
    """
    return {
        **describe(dataset),
        "class_counts": class_counts(dataset),
        "histogram": histogram(dataset) if dataset.is_image else None,
        "duplicates": duplicates(dataset),
    }


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]] | None:
    """Examples of each class by split; None without labels."""
    if dataset.labels is None:
        return None
    found = {}
    for split in SPLITS:
        counts = dataset.counts(dataset.splits[split])
        found[split] = {name: int(count) for name, count in zip(dataset.classes, counts, strict=True)}
    return found


def histogram(dataset: Dataset) -> dict[str, list[float]]:
    """How often each intensity occurs in the training examples: "edges" (n + 1) and "counts" (n).

    Up to 64 distinct values get a bin each; more share 64 bins of equal width.
    """
    train = dataset.splits["train"]
    levels = _levels(dataset.flat, train)
    if levels is not None:
        middle = (levels[1:] + levels[:-1]) / 2
        ends = (middle[0], middle[-1]) if len(middle) else (levels[0] + 0.5, levels[0] - 0.5)
        edges = np.array([2 * levels[0] - ends[0], *middle, 2 * levels[-1] - ends[1]])
    elif dataset.is_8bit:
        edges = np.arange(0, 257, 256 // BINS, dtype=np.float64)  # whole grey levels per bin
    else:
        edges = np.linspace(*_training_range(dataset), BINS + 1)
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    for piece in pieces(dataset.flat, train):
        if piece.dtype == np.uint8:
            grey = np.bincount(piece.reshape(-1), minlength=256)
            counts += np.histogram(np.arange(256), edges, weights=grey)[0].astype(np.int64)
        else:
            counts += np.histogram(piece, edges)[0]
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _training_range(dataset: Dataset) -> tuple[float, float]:
    return float(dataset.statistics.low.min()), float(dataset.statistics.high.max())


def _levels(flat: Array, rows: Rows) -> npt.NDArray[np.float64] | None:
    """The distinct values, sorted; None if there are too many for one bin each."""
    known: Array = np.empty(0, flat.dtype)
    for piece in pieces(flat, rows):
        values = piece.reshape(-1)
        # Checking the first values avoids sorting a large chunk of continuous ones.
        if len(np.unique(values[: 16 * LEVELS])) > LEVELS:
            return None
        new = np.flatnonzero(np.bincount(values)) if values.dtype == np.uint8 else np.unique(values)
        known = np.union1d(known, new)
        if len(known) > LEVELS:
            return None
    return known.astype(np.float64)


def example_rows(dataset: Dataset, each: int) -> list[tuple[str, Rows]]:
    """The first `each` training rows of every class, by name; without labels the first of all, under ""."""
    train = dataset.splits["train"]
    if dataset.labels is None:
        return [("", train[:each])]
    labels = dataset.labels[train]
    return [(name, train[labels == code][:each]) for code, name in enumerate(dataset.classes)]


__all__ = ["NEAR", "class_counts", "duplicates", "example_rows", "explore", "histogram"]
