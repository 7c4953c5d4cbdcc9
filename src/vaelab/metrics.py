"""Metrics for clusters and predictions against true classes: arrays in, metrics out.

Every command that uses a model loads this module, and few need scipy and scikit-learn, which take seconds: these are
imported where they are used.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BINS = 15


def contingency(found: Ints, codes: Ints, rows: int, columns: int) -> Ints:
    """Counts of cluster i (rows) and class j (columns) together; (rows, columns)."""
    table = np.zeros((rows, columns), dtype=np.int64)
    np.add.at(table, (found, codes), 1)
    return table


def hungarian_accuracy(found: Ints, codes: Ints, clusters: int, classes: int) -> float | None:
    """Accuracy under the best one-to-one matching (Yang et al. 2010); None if clusters and classes differ in number.

    >>> hungarian_accuracy(np.array([1, 1, 0]), np.array([0, 0, 1]), 2, 2)
    1.0
    """
    if clusters != classes:
        return None
    table = contingency(found, codes, clusters, classes)
    from scipy.optimize import linear_sum_assignment

    return float(table[linear_sum_assignment(-table)].sum() / len(codes))


def purity(found: Ints, codes: Ints, clusters: int, classes: int) -> float:
    """Accuracy if every cluster is named after its most frequent true class; uses all labels.

    It grows with the number of clusters, and reaches 1 if each contains one example.

    >>> purity(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 2, 2)
    0.75
    """
    return float(contingency(found, codes, clusters, classes).max(1).sum() / len(codes))


def cluster_metrics(found: Ints, codes: Ints, clusters: int, classes: int) -> dict[str, float | None]:
    """Agreement of clusters (n,) with classes (n,): one-to-one accuracy, purity, NMI, adjusted Rand index."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "hungarian_accuracy": hungarian_accuracy(found, codes, clusters, classes),
        "purity": purity(found, codes, clusters, classes),
        "nmi": float(normalized_mutual_info_score(codes, found)),
        "ari": float(adjusted_rand_score(codes, found)),
    }


def nats(proba: Floats, codes: Ints) -> Floats:
    """-log p(true class) (n,); probabilities (n, C) below 1e-12 count as 1e-12."""
    found: Floats = -np.log(np.maximum(proba[np.arange(len(codes)), codes], 1e-12))
    return found


def log_loss(proba: Floats, codes: Ints) -> float:
    """The mean of `nats`."""
    return float(nats(proba, codes).mean()) + 0.0  # no -0


def share_error(share: float, n: int) -> float | None:
    """sqrt(p (1 - p) / n), the standard error of a share p of n examples; None for none and all of them, of which it is
    not known.

    >>> share_error(0.5, 25), share_error(1.0, 12)
    (0.1, None)
    """
    return math.sqrt(share * (1 - share) / n) if 0 < share < 1 else None


def jackknife_error(statistic: Callable[[Ints], float], n: int, groups: int = 50) -> float | None:
    """The standard error of a statistic of n rows, left out one group at a time (Quenouille 1956; Tukey 1958).

    sqrt((g - 1) / g sum_i (s_i - mean s)²), with s_i the statistic of the rows without group i, and g at most `groups`.
    statistic: of the numbers of rows. None if there is one row, or without a group the statistic is not finite.

    >>> x = np.arange(10.0)
    >>> round(jackknife_error(lambda rows: x[rows].mean(), 10), 6)  # sd / sqrt(n)
    0.957427
    """
    if n < 2:
        return None
    order = np.random.default_rng(0).permutation(n)
    own = np.arange(n) % min(n, groups)
    left = np.array([statistic(order[own != group]) for group in range(min(n, groups))])
    if not np.isfinite(left).all():
        return None
    g = len(left)
    return math.sqrt((g - 1) / g * float(np.square(left - left.mean()).sum()))


def brier(proba: Floats, codes: Ints) -> float:
    """sum_c (p(c|x) - [c is true])^2, from 0 to 2 (Brier 1950)."""
    return float(np.square(proba - np.eye(proba.shape[1])[codes]).sum(1).mean())


def bin_edges(ordered: Floats, bins: int) -> Ints:
    """Start indices of bins of about equal mass in ascending values; equal values share a bin."""
    return np.unique(np.searchsorted(ordered, ordered[np.arange(bins) * len(ordered) // bins]))


def calibration_error(proba: Floats, codes: Ints, bins: int = BINS) -> float:
    """Expected calibration error: |accuracy - confidence| of the most likely class, over bins of equal mass.

    >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
    0.0
    """
    confidence, right = proba.max(1), proba.argmax(1) == codes
    order = np.argsort(confidence, kind="stable")
    edges = bin_edges(confidence[order], bins)
    gaps = np.add.reduceat(right[order] - confidence[order], edges)
    return float(np.abs(gaps).sum() / len(order))


def answer_metrics(proba: Floats, answers: Ints, codes: Ints) -> dict[str, float]:
    """Accuracy with every "unknown" counted as an error, the share answered, and the quality of the probabilities."""
    return {
        "labelled_accuracy": float((answers == codes).mean()),
        "answered": float((answers >= 0).mean()),
        "log_loss": log_loss(proba, codes),
        "brier": brier(proba, codes),
        "ece": calibration_error(proba, codes),
    }


def confusion(answers: Ints, codes: Ints, classes: int) -> Ints:
    """True classes (rows) by predictions (columns); the last column counts "unknown"; (C, C + 1)."""
    return contingency(codes, np.where(answers < 0, classes, answers), classes, classes + 1)


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Accuracy of the answered examples as the threshold falls and more are answered."""

    coverage: Floats  # (m,) share answered, ascending
    accuracy: Floats  # (m,) of the answered
    threshold: Floats  # (m,) lowest answered probability


def accuracy_coverage(proba: Floats, answers: Ints, codes: Ints, points: int = 101) -> Coverage:
    """The curve over thresholds on the predicted probability; "unknown" is never answered."""
    confidence = np.where(answers < 0, -1.0, proba.max(1))
    order = np.argsort(-confidence, kind="stable")
    order = order[confidence[order] >= 0]
    right = np.cumsum(answers[order] == codes[order])
    # Examples of equal confidence are answered together.
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) < 0, True)) if len(order) else np.empty(0, np.int64)
    if len(ends) > points:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, points).round().astype(np.int64))]
    return Coverage((ends + 1) / len(codes), right[ends] / (ends + 1), confidence[order][ends])


def auroc(known: Any, other: Any) -> float:
    """P(score of `other` > score of `known`) + P(equal) / 2: 1 if scores separate them perfectly, 0.5 by chance.

    >>> auroc([0.0, 1.0], [1.0, 2.0])
    0.875
    """
    return float(placements(known, other)[1].mean())


def auroc_error(known: Any, other: Any) -> float | None:
    """The standard error of `auroc` over examples (DeLong et al. 1988); None with fewer than two of either kind."""
    beaten, beats = placements(known, other)
    if min(len(beaten), len(beats)) < 2:
        return None
    return float(np.sqrt(beaten.var(ddof=1) / len(beaten) + beats.var(ddof=1) / len(beats)))


def placements(known: Any, other: Any) -> tuple[Floats, Floats]:
    """For each known example (n,) the share of others above it; for each other (m,) the share of known ones below."""
    known, other = np.asarray(known, dtype=np.float64), np.asarray(other, dtype=np.float64)
    n, m = len(known), len(other)
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([known, other]))
    return 1 - (ranks[:n] - rankdata(known)) / m, (ranks[n:] - rankdata(other)) / n


Array = npt.NDArray[Any]


Labelled = tuple[Array, npt.NDArray[np.int64]]  # latents (n, L) and class codes (n,)


NEIGHBOURS = 10


PROBE_STEPS = 1000  # of L-BFGS; about 50 are enough


def reconstruction_mse(x: Array, reconstruction: Array, scale: Array) -> float:
    """Mean over examples and features of ((x - reconstruction) / scale)^2, for rows (n, D); 0 is perfect.

    scale: scalar or (D,): the range of an image's pixels, or the standard deviations of a table's columns.
        Features with scale 0 are constant and left out, as are missing values (NaN).

    >>> reconstruction_mse(np.array([[1.0, 5.0]]), np.array([[0.0, 7.0]]), np.array([2.0, 0.0]))
    0.25
    """
    scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), x.shape[1:])
    used = scale > 0
    error = (x[:, used].astype(np.float64) - reconstruction[:, used]) / scale[used]
    return float(np.square(error[~np.isnan(error)]).mean())


def task_scores(train: Labelled, splits: Mapping[str, Labelled]) -> dict[str, dict[str, float]]:
    """Accuracy of a logistic probe and of 10 nearest neighbours on each split, both fitted to `train`.

    Latents are standardised with the training rows. The probe is multinomial logistic regression with scikit-learn's
    default penalty (C = 1); neighbours vote with equal weight. Classes missing from `train` count as errors. Rows with
    a code of -1 have no label and are left out; a split has no scores without a label in it or in `train`.

    >>> z, codes = np.arange(40.0)[:, None], np.repeat([0, 1], 20)
    >>> task_scores((z, codes), {"test": (z[[2, 35]], codes[[2, 35]])})
    {'test': {'probe': 1.0, 'knn': 1.0}}
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    (z, codes), splits = _labelled(train), {name: _labelled(split) for name, split in splits.items()}
    splits = {name: split for name, split in splits.items() if len(split[1]) and len(codes)}
    if not splits:
        return {}
    center, spread = z.mean(0, dtype=np.float64), z.std(0, dtype=np.float64)
    spread[spread == 0] = 1.0  # a constant dimension must not become NaN

    def standard(latents: Array) -> Array:
        scaled: Array = (latents - center) / spread
        return scaled

    if len(np.unique(codes)) == 1:  # nothing to fit: every prediction is that class
        scores = {name: float(np.mean(own == codes[0])) for name, (_, own) in splits.items()}
        return {name: {"probe": score, "knn": score} for name, score in scores.items()}
    probe = LogisticRegression(max_iter=PROBE_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step's accuracy is reported then
        probe.fit(standard(z), codes)
    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(z))).fit(standard(z), codes)
    return {
        name: {
            "probe": float(np.mean(probe.predict(standard(latents)) == own)),
            "knn": float(np.mean(neighbours.predict(standard(latents)) == own)),
        }
        for name, (latents, own) in splits.items()
    }


def _labelled(split: Labelled) -> Labelled:
    latents, codes = split
    there = codes >= 0
    return latents[there], codes[there]
