"""From components to classes with a few labels: counts, probabilities, and "unknown"."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vaelab.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
UNKNOWN = -1
# Labels required to support a prediction: one, rounded, since no posterior is exactly 1. With 10 labels of MNIST and 20
# components a threshold of exactly 1 answers 7 % of the test images instead of 52 %, with no better accuracy.
ENOUGH = 0.5
STEPS = 20  # of expectation-maximisation for the class distributions


@dataclasses.dataclass(frozen=True)
class ClassTable:
    """The class distribution of each component: the labelled mass n_kc (K, C) of class c in component k.

    The class distribution of a component has a Dirichlet prior of `smoothing` labels spread evenly over the classes,

        p(c|k) = (n_kc + smoothing / C) / (n_k + smoothing),    p(c|x) = sum_k p(k|x) p(c|k).

    The counts are those of maximum posterior p(c|k), by expectation-maximisation: a label is assigned to the components
    that explain it, n_kc = sum_i p(k|x_i, c_i) over the labels of class c.

    >>> table = ClassTable.of(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 1, 0]), 2)
    >>> table.counts.tolist(), table.predict(np.eye(2)).tolist()
    ([[2.0, 0.0], [0.0, 1.0]], [0, 1])
    """

    counts: Floats
    smoothing: float = 1.0

    @classmethod
    def of(cls, shares: Floats, codes: Ints, classes: int, smoothing: float = 1.0) -> ClassTable:
        """From the posterior over components (n, K) of labelled examples, and their classes (n,), each below C."""
        codes = np.asarray(codes)
        if len(codes) == 0:
            raise InputError("at least one label is needed to name components, but got none; use more `labels`.")
        if codes.min() < 0 or codes.max() >= classes:
            wrong = codes[(codes < 0) | (codes >= classes)][0]
            raise InputError(f"labels must be class numbers from 0 to {classes - 1}, but got {wrong}; check them.")
        given = np.eye(classes)[codes]
        held = shares = np.asarray(shares)
        for _ in range(STEPS):
            # Raw shares would blur classes twice: here and again in p(c|x).
            joint = shares * cls(held.T @ given, smoothing).distributions[:, codes].T
            held = joint / joint.sum(1, keepdims=True)
        return cls(held.T @ given, smoothing)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which classes have a label (C,); the others are never predicted."""
        return np.asarray(self.counts.sum(0) > 0)

    @property
    def distributions(self) -> Floats:
        """p(c|k) (K, C)."""
        C = self.counts.shape[1]
        table: Floats = (self.counts + self.smoothing / C) / (self.counts.sum(1, keepdims=True) + self.smoothing)
        return table

    def predict_proba(self, shares: Floats) -> Floats:
        """p(c|x) (n, C) from the posterior over components (n, K); rows sum to 1."""
        return np.asarray(shares @ self.distributions)

    def support(self, shares: Floats) -> Floats:
        """Number of labels supporting each prediction (n,): those of its components, weighted by the posterior."""
        return np.asarray(shares @ self.counts.sum(1))

    def predict(self, shares: Floats, reject: float = 0.0) -> Ints:
        """The most likely class (n,); UNKNOWN if its supporting labels round to less than one, or below `reject`."""
        return answers(self.predict_proba(shares), self.known, self.support(shares), reject)

    def component_weights(self, code: int, weights: Floats) -> Floats:
        """p(k|c) (K,) from the mixture's weights; components with less than a label are excluded if others have one."""
        if not self.known[code]:
            raise InputError(f"class number {code} has no label, so it has no components; label an example of it.")
        sure = self.counts.sum(1) >= ENOUGH
        share = weights * self.distributions[:, code] * (sure if (self.counts[sure, code] > 0).any() else 1)
        # A component belongs to the class with the largest share.
        leads = self.distributions[:, code] >= self.distributions.max(1)
        share = share * leads if (share * leads).sum() > 0 else share
        return np.asarray(share / share.sum())


def answers(proba: Floats, known: npt.NDArray[np.bool_], support: Floats, reject: float = 0.0) -> Ints:
    """Classes (n,) from probabilities (n, C), with UNKNOWN if `support` (n,) or the probability is too low."""
    among = np.where(known, proba, -1.0)
    sure = (support >= ENOUGH) & (among.max(1) >= reject)
    return np.where(sure, among.argmax(1), UNKNOWN)


def draw_balanced(codes: Ints, number: int, classes: int, seed: int = 0, groups: Ints | None = None) -> Ints:
    """Positions (number,) in `codes` (n,), balanced over classes as far as possible; ascending.

    A remainder goes to random classes; with fewer labels than classes some get none. Codes below 0 are
    unlabelled. groups: (n,) codes; a class gets labels from as many groups as possible, since a second label of one
    group, such as a replicate, says little.
    """
    codes = np.asarray(codes)
    labelled = int((codes >= 0).sum())
    if not 1 <= number <= labelled:
        raise InputError(
            f"the number of labels must be from 1 to {labelled:,}, the number of labelled examples, but got {number}."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(codes))
    order = order[codes[order] >= 0]
    if groups is not None:
        order = order[np.argsort(_repeats(codes[order], groups[order]), kind="stable")]
    turn = rng.permutation(classes)  # class order for the remainder
    rank = np.empty(len(order), dtype=np.int64)
    for code in range(classes):
        mine = codes[order] == code
        rank[mine] = np.arange(mine.sum())
    place = np.empty(classes, dtype=np.int64)
    place[turn] = np.arange(classes)
    chosen = np.lexsort((place[codes[order]], rank))[:number]
    return np.sort(order[chosen])


def _repeats(codes: Ints, groups: Ints) -> Ints:
    """How many rows of the same class and group are before each row (n,)."""
    own = np.unique(np.stack([codes, groups], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(own, kind="stable")
    sizes = np.bincount(own)
    before = np.empty(len(own), dtype=np.int64)
    before[order] = np.arange(len(own)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return before


def unknown_classes(known: npt.NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    """The names of classes without a label."""
    return [str(name) for name, seen in zip(names, known.tolist(), strict=True) if not seen]
