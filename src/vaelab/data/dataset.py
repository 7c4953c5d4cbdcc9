"""A data set: examples, labels, seeded splits, and the scaling between its own units and the model's."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.errors import InputError

Array = npt.NDArray[Any]
SPLITS = ("train", "validation", "test")
CHUNK_BYTES = 32 << 20  # statistics read the array in chunks, so that a memory map is never fully loaded


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Examples in their own units and type, checked, with optional labels and seeded splits.

    `x` is (N, *shape), a number type that float32 holds, and may be a read-only memory map: nothing copies
    it. `labels` are class codes (N,) into `classes`. `splits` maps train, validation and test to row indices.
    """

    name: str
    x: Array
    splits: Mapping[str, npt.NDArray[np.int64]]
    labels: npt.NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  # column names of a table
    split_seed: int = 0
    condition: int = 0  # number of trailing condition columns, given but not modelled: rows are [x, y]
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # how to load the same data again

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: (D,), (H, W) or (H, W, C)."""
        return tuple(self.x.shape[1:])

    @property
    def flat(self) -> Array:
        """The examples as rows (N, D), a view."""
        return self.x.reshape(len(self.x), -1)

    @property
    def is_image(self) -> bool:
        return len(self.shape) >= 2

    @property
    def is_8bit(self) -> bool:
        return bool(self.x.dtype == np.uint8)

    def rows(self, split: str) -> Array:
        """The examples of one split (n, D); a copy."""
        return self.flat[self.splits[split]]

    def labels_of(self, split: str) -> npt.NDArray[np.int64] | None:
        return None if self.labels is None else self.labels[self.splits[split]]

    @functools.cached_property
    def statistics(self) -> Statistics:
        """Per-feature statistics of the training split, and the range of all rows."""
        return Statistics.of(self.flat, self.splits["train"])

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest, equal only if shape, type, splits, labels and (a sample of) the rows are equal."""
        digest = hashlib.sha256(repr((self.x.shape, str(self.x.dtype))).encode())
        for split in SPLITS:
            digest.update(np.ascontiguousarray(self.splits[split]).tobytes())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        row_bytes = self.x.itemsize * int(np.prod(self.shape))
        sample = max(1, min(1024, CHUNK_BYTES // row_bytes))
        for row in self.flat[:: max(1, len(self.x) // sample)]:
            digest.update(np.ascontiguousarray(row).tobytes())
        return digest.hexdigest()[:16]

    def suggested_likelihood(self) -> str:
        """Bernoulli for 8-bit images, for images in [0, 1], and for tables of 0 and 1; Gaussian otherwise."""
        low, high = self.statistics.range
        if self.is_image:
            return "bernoulli" if self.is_8bit or (low >= 0 and high <= 1) else "gaussian"
        # Only binary values have a variance of m (1 - m); a rescaled table has less, and new rows may leave its range.
        mean, std = self.statistics.mean, self.statistics.std
        is_binary = (low, high) == (0.0, 1.0) and np.allclose(std**2, mean * (1 - mean), rtol=0, atol=1e-9)
        return "bernoulli" if is_binary else "gaussian"


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation, minimum and maximum (D,) over the training rows; range over all rows."""

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    range: tuple[float, float]

    @classmethod
    def of(cls, flat: Array, train: npt.NDArray[np.int64]) -> Statistics:
        in_train = np.zeros(len(flat), dtype=bool)
        in_train[train] = True
        n, d = flat.shape
        size = max(1, CHUNK_BYTES // (8 * d))
        shift = np.asarray(flat[train[:1]], dtype=np.float64)[0]  # avoids cancellation in the sums of squares
        total, squares = np.zeros(d), np.zeros(d)
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        range_low, range_high = np.inf, -np.inf
        for start in range(0, n, size):
            piece = np.asarray(flat[start : start + size])
            range_low, range_high = min(range_low, float(piece.min())), max(range_high, float(piece.max()))
            piece = piece[in_train[start : start + size]].astype(np.float64)
            if len(piece):
                low, high = np.minimum(low, piece.min(0)), np.maximum(high, piece.max(0))
                piece -= shift
                total += piece.sum(0)
                squares += np.einsum("nd,nd->d", piece, piece)
        mean = total / len(train)
        variance = np.maximum(squares / len(train) - mean**2, 0.0)
        variance[low == high] = 0.0
        return cls(mean + shift, np.sqrt(variance), low, high, (range_low, range_high))

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        constant: npt.NDArray[np.bool_] = self.low == self.high
        return constant


@dataclasses.dataclass(frozen=True)
class Scaling:
    """The affine map from the data's own units to the model's: model = (own + dequantise * u - offset) /
    scale.

    Only the features in `kept` (indices into D) reach the model; the others are constant in training and
    `fill`
    restores them. `offset` and `scale` have one entry, or one per kept feature. u is uniform in [0, 1), used
    for
    8-bit data under a density, so that the density of a grey level is its probability (Theis et al. 2016).
    """

    offset: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    kept: npt.NDArray[np.int64] | None = None  # None: all
    fill: npt.NDArray[np.float32] | None = None  # (D,), where kept is not None
    dequantise: bool = False

    def log_jacobian(self, features: int) -> float:
        """log |d own / d model| in nats, summed over the `features` that the model sees.

        -log p(own) = -log p(model) + log_jacobian: densities are stated in the data's own units.
        """
        scale = self.scale if len(self.scale) == 1 else self.scale[:features]  # condition columns come last
        return float(np.log(np.broadcast_to(scale, (features,)).astype(np.float64)).sum())

    def to_own(self, x: Array, shape: tuple[int, ...]) -> Array:
        """Model values (..., D_model) as examples in the data's own units (..., *shape)."""
        own = x * self.scale + self.offset
        if self.dequantise:
            own = own - np.float32(0.5)  # dequantised to [level, level + 1)
        if self.kept is not None:
            assert self.fill is not None
            whole = np.broadcast_to(self.fill, (*x.shape[:-1], len(self.fill))).copy()
            whole[..., self.kept] = own
            own = whole
        return own.reshape(*x.shape[:-1], *shape)

    def to_model(self, rows: Array) -> npt.NDArray[np.float32]:
        """Rows in the data's own units (n, D) as model values (n, D_model); grey levels at the middle of their bin."""
        if self.kept is not None:
            rows = rows[:, self.kept]
        middle = np.float32(0.5 if self.dequantise else 0)
        return (rows.astype(np.float32) + middle - self.offset) / self.scale

    @classmethod
    def to_unit_interval(cls, data: Dataset) -> Scaling:
        """To [0, 1], for values read as probabilities: 8-bit data divided by 255, others unchanged."""
        low, high = data.statistics.range
        if data.is_8bit and high > 1:
            return cls(np.zeros(1, np.float32), np.full(1, 255, np.float32))
        if low < 0 or high > 1:
            raise InputError(
                f"the Bernoulli likelihood needs values in [0, 1], but the data range from {low:g} to {high:g}; "
                "rescale them, or use likelihood=gaussian."
            )
        return cls(np.zeros(1, np.float32), np.ones(1, np.float32))

    @classmethod
    def standardised(cls, data: Dataset) -> Scaling:
        """For densities: 8-bit data divided by 256 with dequantisation, images by their range, table columns to mean 0
        and standard deviation 1; features that are constant in training are dropped.
        """
        statistics = data.statistics
        kept = np.flatnonzero(~statistics.constant)
        if len(kept) == 0:
            raise InputError("at least one feature must vary, but all are constant; there is nothing to learn.")
        some = len(kept) < len(statistics.mean)
        dequantise = data.is_8bit and statistics.range[1] > 1
        if dequantise:
            offset, scale = np.zeros(1, np.float32), np.full(1, 256, np.float32)
        elif data.is_image:
            low, high = statistics.range
            offset, scale = np.full(1, low, np.float32), np.full(1, high - low, np.float32)
        else:
            offset, scale = statistics.mean[kept].astype(np.float32), statistics.std[kept].astype(np.float32)
        fill = statistics.mean.astype(np.float32) if some else None
        return cls(offset, scale, kept if some else None, fill, dequantise)


def split_rows(
    n: int,
    labels: npt.NDArray[np.int64] | None,
    seed: int,
    test_rows: npt.NDArray[np.int64] | None = None,
    validation: float = 0.1,
    test: float = 0.2,
) -> dict[str, npt.NDArray[np.int64]]:
    """Seeded train, validation and test rows, stratified by label if there are labels.

    `validation` and `test` are shares of all rows. An official test split (`test_rows`) is kept;
    validation is then a share of the remaining rows. Every split gets at least one row.
    """
    if n < 5:
        raise InputError(f"at least 5 examples are needed for three splits, but got {n}; add data.")
    rng = np.random.default_rng([seed, 0x5EED])
    chosen = np.zeros(n, dtype=np.int8)
    free = np.arange(n)
    if test_rows is not None:
        chosen[test_rows] = 2
        free = np.flatnonzero(chosen == 0)
        if len(free) < 2 or len(free) == n:
            raise InputError(
                "an official test split must leave at least 2 rows for training and validation and hold "
                f"at least 1, but it holds {n - len(free)} of {n}; add data."
            )
    groups = [free] if labels is None else [free[labels[free] == code] for code in np.unique(labels[free])]
    sizes = np.array([len(group) for group in groups])
    for number, share in (1, validation), (2, 0.0 if test_rows is not None else test):
        left = [rows[chosen[rows] == 0] for rows in groups]
        counts = _apportion(sizes, np.array([len(rows) for rows in left]), share, rng)
        for rows, count in zip(left, counts, strict=True):
            chosen[rng.permutation(rows)[:count]] = number
    return {name: np.flatnonzero(chosen == number) for number, name in enumerate(SPLITS)}


def _apportion(
    sizes: npt.NDArray[np.int64], left: npt.NDArray[np.int64], share: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Whole numbers near share * size, at most `left`, whose sum is the rounded share of the total.

    Largest remainders; ties are broken at random, so that with many small classes the last are not left out.
    """
    if share == 0:
        return np.zeros_like(sizes)
    exact = sizes * share
    counts: npt.NDArray[np.int64] = np.minimum(np.floor(exact).astype(np.int64), left)
    missing = max(1, round(share * int(sizes.sum()))) - int(counts.sum())
    order = rng.permutation(len(sizes))
    order = order[np.argsort((counts - exact)[order], kind="stable")]
    counts[order[counts[order] < left[order]][: max(0, missing)]] += 1
    return counts
