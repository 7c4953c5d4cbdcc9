"""The clusters of a clustering, row by row and in words: the cluster of each row, and what sets each apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import store
from vaelab.data import SPLITS, Dataset
from vaelab.data.writing import csv_text
from vaelab.plots.dataset import features
from vaelab.plots.features import Features, moments, quantiles

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TOLD = 3  # columns named for each cluster
LEAST = 0.3  # standard deviations by which a column must stand out
TAIL = 0.05  # of the lowest, and of the highest numbers of a cluster, whose size does not count
NOISE = "unknown"


def assigned(shares: Floats, reject: float) -> Ints:
    """The cluster of each row (n,) from p(k|x) (n, K); -1 where the highest is below `reject`."""
    return np.where(shares.max(1) >= reject, shares.argmax(1), -1)


def cluster_names(number: int) -> tuple[str, ...]:
    """Clusters are numbered from 1, in the order of the weights of their components.

    >>> cluster_names(3)
    ('1', '2', '3')
    """
    return tuple(str(k + 1) for k in range(number))


def write_rows(data: Dataset, shares: Floats, reject: float, path: Path) -> None:
    """A CSV file with the cluster of every row: row or id, split, cluster or "unknown", and its probability."""
    split = np.empty(len(data.x), dtype=object)
    for name in SPLITS:
        split[data.splits[name]] = name
    codes, names = assigned(shares, reject), cluster_names(shares.shape[1])
    table = {
        "row" if data.ids is None else data.id_name: np.arange(len(data.x)) if data.ids is None else data.ids,
        "split": split,
        "cluster": np.array([NOISE if code < 0 else names[code] for code in codes.tolist()]),
        "probability": shares.max(1),
    }
    store.write_atomic(path, csv_text(table, 6, data.style))


def describe_clusters(data: Dataset, shares: Floats, reject: float) -> list[dict[str, Any]]:
    """Of each cluster, the largest first, its number of rows and, of a table, the columns that set it apart from all
    other rows.

    The difference of a number is that of the means, in standard deviations of the column, winsorised by 5 % on each
    side: one broken reading sets no cluster apart. Positive numbers and counts are compared by their logarithm. Of a
    level it is that of its shares, in standard deviations of being it or not. Numbers are told by their medians, or by
    their means where these do not differ.
    """
    codes = assigned(shares, reject)
    known = features(data)
    values = np.zeros((len(codes), 0)) if known is None else known.spread(data.flat.astype(np.float64))
    found = []
    for k, name in enumerate(cluster_names(shares.shape[1])):
        own = codes == k
        columns = [] if known is None or own.all() or not own.any() else _columns(known, values, own)
        found.append({"cluster": name, "rows": int(own.sum()), "share": float(own.mean()), "columns": columns})
    return sorted(found, key=lambda own: -own["rows"])


def _columns(known: Features, values: npt.NDArray[Any], own: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The quantities (N, D) in which the rows of a cluster differ most from the others; of a column's levels one."""
    inside, outside = (_middle(values[rows], known.shares) for rows in (own, ~own))
    means = [moments(values[rows])[0] for rows in (own, ~own)]
    same = inside == outside
    inside, outside = (np.where(same, mean, middle) for mean, middle in zip(means, (inside, outside), strict=True))
    seen = known.seen(values)
    sides = [_without_tails(seen[rows], known.shares) for rows in (own, ~own)]
    scale = moments(np.concatenate(sides))[1]
    apart = (moments(sides[0])[0] - moments(sides[1])[0]) / np.where(scale > 0, scale, 1.0)
    seldom = np.minimum(*((~np.isnan(values[rows])).sum(0) for rows in (own, ~own))) == 0
    apart[seldom] = 0.0  # no value on one side: nothing is known
    found: dict[int, dict[str, Any]] = {}
    for i in np.argsort(-np.abs(apart), kind="stable").tolist():
        column = known.of[i] if known.of else i
        if abs(apart[i]) < LEAST or len(found) == TOLD:
            break
        told = {
            "column": known.names[i], "inside": known.written(i, inside[i]), "outside": known.written(i, outside[i]),
            "difference": float(apart[i]),
        }  # fmt: skip
        found.setdefault(column, told)
    return list(found.values())


def _middle(values: npt.NDArray[Any], shares: npt.NDArray[np.bool_]) -> Floats:
    """Medians (D,) of numbers (n, D), and means of shares of levels."""
    found: Floats = np.where(shares, moments(values)[0], quantiles(values, [0.5])[0])
    return found


def _without_tails(values: npt.NDArray[Any], shares: npt.NDArray[np.bool_]) -> Floats:
    """Numbers (n, D) with the lowest and highest 5 % of each column brought to the next; shares of levels stay."""
    found: Floats = np.array(values)
    for j in np.flatnonzero(~shares & ~np.isnan(values).all(0)).tolist():
        low = np.nanquantile(values[:, j], TAIL, method="higher")
        found[:, j] = np.clip(values[:, j], low, np.nanquantile(values[:, j], 1 - TAIL, method="lower"))
    return found
