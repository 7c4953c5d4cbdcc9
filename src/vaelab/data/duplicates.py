"""Copies and near-copies of training rows among the test rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.dataset import Array, Dataset
from vaelab.wording import counted

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

NEAR = 0.1  # as a share of the typical distance between two training examples
NEAR_FEATURES = 8  # with fewer varying features, unrelated examples are as close as copies
FEW_VALUES = 16  # a column with fewer says little: unrelated rows agree on it
AROUND = 32  # nearest training rows that show how distances grow around a row
GROUP = 16  # copies of one row that are recognized as such; more are a cluster
CHANCE = 1e-4  # that independent rows leave so wide a gap around the nearest of them
FEWEST_SHARE, IN_ORDER = 0.05, 0.25  # of the near rows: with a gap; next to their training row
MAX_TRAIN, MAX_TEST, MAX_PAIRS = 60_000, 10_000, 12
PIECE_BYTES = 8 << 20
AXES, AXES_ROWS, CANDIDATES = 64, 512, 64
FEWEST = 10  # copies that are worth a warning, or a tenth of the test rows


def near_copies(data: Dataset) -> tuple[str, ...]:
    """A warning if test rows are copies or near-copies of training rows; compares rows, which takes seconds."""
    found = duplicates(data)
    near = found["near"] or 0
    total = found["exact"] + near
    if total < min(FEWEST, max(2, len(data.splits["test"]) // 10)):
        return ()
    pair = found["pairs"][0]
    names = (pair["train"], pair["test"]) if data.ids is None else (data.ids[pair["train"]], data.ids[pair["test"]])
    kind = "copies" if not near else "near-copies" if not found["exact"] else "copies or near-copies"
    rows = "" if data.ids is not None else "rows "
    again = "although groups are kept whole" if data.groups is not None else "if they are replicates"
    remedy = (
        "they may belong to one group"
        if data.groups is not None
        else "`--group` with a column that says so keeps them in one split"
    )
    return (
        f"{total:,} of {counted(found['compared']['test'], 'test row')} are {kind} of training rows, such as {rows}"
        f"{names[0]} and {names[1]}: {again}, {remedy}; scores on such rows are too good.",
    )


def duplicates(dataset: Dataset) -> dict[str, Any]:
    """Test examples that also occur in the training split, exactly or nearly.

    Two examples are near if their Euclidean distance is at most `NEAR` times the typical one, which is the root of
    the mean squared distance of two training examples, and closer than independent examples of the same density would
    be (`_are_copies`). Columns of a table are measured in standard deviations, those with few values not at all.
    Exact copies are searched among all rows; near ones for at most 10,000 test against at most 60,000 training rows,
    evenly spaced, and only where at least 8 features vary (else "near" is None).

    "exact" and "near" count test rows; "pairs" holds the 12 closest with row numbers of the data set, and with their
    distance as a share of the typical one.
    """
    flat, train, test = dataset.flat, dataset.splits["train"], dataset.splits["test"]
    exact = _exact_pairs(flat, train, test)
    known = {row for row, _ in exact}
    some_train, some_test = _thin(train, MAX_TRAIN), _thin(test, MAX_TEST)
    units = _Units(dataset, _thin(train, AXES_ROWS))
    near: list[tuple[float, int, int]] | None = None
    if len(units.kept) >= NEAR_FEATURES:
        fresh = np.array([row for row in some_test.tolist() if row not in known], dtype=np.int64)
        near = sorted(_near_pairs(units, some_train, fresh))
    closest = [(0.0, *pair) for pair in exact] + (near or [])
    return {
        "exact": len(exact),
        "near": None if near is None else len(near),
        "threshold": NEAR,
        "typical_distance": units.typical,
        "compared": {"train": len(some_train), "test": len(some_test)},
        "pairs": [{"test": a, "train": b, "distance": d} for d, a, b in closest[:MAX_PAIRS]],
    }


def _thin(rows: Rows, most: int) -> Rows:
    """At most `most` of the rows, evenly spaced."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _exact_pairs(flat: Array, train: Rows, test: Rows) -> list[tuple[int, int]]:
    """(test row, training row) for every test row with an equal training row."""
    held, sought = _digests(flat, train), _digests(flat, test)
    order = np.argsort(held, kind="stable")
    at = np.minimum(np.searchsorted(held[order], sought), len(train) - 1)
    match = train[order[at]]
    found = [(int(test[i]), int(match[i])) for i in np.flatnonzero(held[order[at]] == sought)]
    has_nan = flat.dtype.kind == "f"
    return [(a, b) for a, b in found if np.array_equal(flat[a], flat[b], equal_nan=has_nan)]


def _digests(flat: Array, rows: Rows) -> npt.NDArray[np.uint64]:
    """Eight bytes for each row, equal for equal rows."""
    parts = []
    for piece in pieces(flat, rows):
        piece = piece + piece.dtype.type(0) if piece.dtype.kind == "f" else piece  # -0.0 equals 0.0
        parts += [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in piece]
    return np.frombuffer(b"".join(parts), dtype=np.uint64)


class _Units:
    """Rows in the units of the distances: centred, without constant features, table columns scaled.

    Of a table only columns that have many values in a sample of its rows are kept.
    """

    def __init__(self, dataset: Dataset, sample: Rows):
        statistics = dataset.statistics
        self.flat = dataset.flat
        # Rows are compared in single precision, in which a smaller deviation is none.
        varies = statistics.std > np.finfo(np.float32).tiny
        if not dataset.is_image:
            values = (np.diff(np.sort(self.flat[sample], axis=0), axis=0) > 0).sum(0) + 1
            varies &= values > min(FEW_VALUES, len(sample) // 2)
        self.kept = np.flatnonzero(varies)
        std = statistics.std[self.kept]
        self.mean = statistics.mean[self.kept].astype(np.float32)
        self.scale = np.ones(len(std), np.float32) if dataset.is_image else std.astype(np.float32)
        self.typical = float(np.sqrt(2 * np.sum((std / self.scale) ** 2)))

    def __call__(self, rows: Rows) -> Floats:
        values: Floats = self.flat[rows].astype(np.float32)
        if len(self.kept) < self.flat.shape[1]:
            values = values[:, self.kept]
        values -= self.mean
        values /= self.scale
        return np.nan_to_num(values, copy=False)  # a missing value is taken as the mean

    def projected(self, rows: Rows, axes: Floats | None) -> Floats:
        """Coordinates of the rows along orthonormal `axes` (D, k); None: all of them."""
        size = max(1, PIECE_BYTES // (4 * len(self.kept)))
        pieces = (self(rows[start : start + size]) for start in range(0, len(rows), size))
        return np.concatenate([piece if axes is None else piece @ axes for piece in pieces])


def _near_pairs(units: _Units, train: Rows, test: Rows) -> list[tuple[float, int, int]]:
    """(distance, test row, training row) of each test row whose nearest training row is near and its copy.

    A projection on orthonormal axes shortens every distance, so that pairs far apart along a few principal axes need
    not be compared in full. What remains of a row, its 64 nearest by projection, is measured exactly.
    """
    if not len(test):
        return []
    axes = _principal_axes(units(_thin(train, AXES_ROWS)))
    held = units.projected(train, axes)
    # [-2 a, 1] . [b, |b|^2] = |a - b|^2 - |a|^2: the distances come out of one product.
    held = np.concatenate([held, np.einsum("nk,nk->n", held, held)[:, None]], axis=1)
    radius = NEAR * units.typical
    slack = 1e-4 * radius**2 + 1e-5 * units.typical**2  # float32 rounding
    found, around = [], []
    reach = min(CANDIDATES, len(train))
    size = max(1, PIECE_BYTES // (4 * len(train)))
    for start in range(0, len(test), size):
        rows = test[start : start + size]
        sought = units.projected(rows, axes)
        limits = radius**2 + slack - np.einsum("nk,nk->n", sought, sought)
        shares = np.concatenate([-2 * sought, np.ones((len(rows), 1), np.float32)], axis=1) @ held.T
        for i in np.flatnonzero(shares.min(1) <= limits):
            closest = np.argpartition(shares[i], reach - 1)[:reach]
            apart = units(train[closest]).astype(np.float64) - units(rows[i : i + 1])
            squares = np.einsum("nd,nd->n", apart, apart)
            best = int(squares.argmin())
            if squares[best] <= radius**2:
                distance = float(np.sqrt(squares[best])) / units.typical
                found.append((distance, int(rows[i]), int(train[closest[best]])))
                around.append(np.sort(squares)[: AROUND + 1])
    if not found:
        return []
    k = min(AROUND, len(train) // 4)
    copies = _are_copies(np.sqrt(np.array(around))[:, : k + 1], len(units.kept))
    beside = np.array([abs(a - b) <= 2 for _, a, b in found])
    if beside.mean() > IN_ORDER:  # frames of a film, steps of a series
        copies |= beside
    return [pair for pair, is_copy in zip(found, copies.tolist(), strict=True) if is_copy]


def _are_copies(around: npt.NDArray[np.float64], D: int) -> npt.NDArray[np.bool_]:
    """Which rows have copies: a few training rows far closer than all others.

    around: distances (n, k + 1) to the nearest training rows, in order. Among independent rows of a density on m
    dimensions, d_{j+1} / d_j exceeds r with probability r^(-m j). m is that of the distances from the k/2-th to the
    k-th, beyond the copies of a row; unlike the distances themselves, it is that of the cluster around a row.
    """
    n, k = len(around), around.shape[1] - 1
    if k < 2:
        return np.ones(n, dtype=bool)
    logs = np.log(np.maximum(around, 1e-12 * around.max() + np.finfo(float).tiny))
    growth = float(np.median(logs[:, k] - logs[:, k // 2]))
    m = min(D, np.log((k + 1) / (k // 2 + 1)) / max(growth, 1e-12))
    j = np.arange(1, min(GROUP, k // 2) + 1)
    gaps = (m * j * np.diff(logs[:, : len(j) + 1], axis=1)).max(1)
    copies: npt.NDArray[np.bool_] = gaps > -np.log(CHANCE)
    return copies if copies.mean() > FEWEST_SHARE else np.zeros(n, dtype=bool)


def _principal_axes(sample: Floats) -> Floats | None:
    """Orthonormal axes (D, k) of largest variance in a sample (n, D) of the rows; None if every axis is needed."""
    if sample.shape[1] <= AXES:
        return None
    values, vectors = np.linalg.eigh((sample @ sample.T).astype(np.float64))
    chosen = np.flatnonzero(values > 1e-6 * max(float(values[-1]), 1e-300))[-AXES:]
    if not len(chosen):  # the sample is one point; any axis gives a lower bound on distances
        return np.eye(sample.shape[1], 1, dtype=np.float32)
    spanned = sample.T @ (vectors[:, chosen] / np.sqrt(values[chosen])).astype(np.float32)
    axes: Floats = np.linalg.qr(spanned.astype(np.float64))[0].astype(np.float32)
    return axes


def pieces(flat: Array, rows: Rows) -> Iterator[Array]:
    """The examples of `rows` in order, a few megabytes at a time."""
    size = max(1, PIECE_BYTES // max(1, 8 * flat.shape[1]))
    for start in range(0, len(rows), size):
        yield np.asarray(flat[rows[start : start + size]])
