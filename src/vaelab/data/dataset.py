"""A data set: examples, labels, seeded splits, and the scaling between its own units and the model's."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vaelab.data.columns import Column
from vaelab.data.style import ISO, Style

Array = npt.NDArray[Any]
LabelKind = Literal["text", "int", "bool"]
SPLITS = ("train", "validation", "test")
CHUNK_BYTES = 32 << 20  # statistics read the array in chunks, so that a memory map is never fully loaded
SMALLEST = 1e-290  # variance that is summed exactly: squares below 1e-308 are rounded


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Examples in their own units and type, checked, with optional labels and seeded splits.

    `x` is (N, *shape), uint8 or float32, or float64 if float32 would lose differences between rows; it may be a
    read-only memory map: nothing copies it. `labels` are class codes (N,) into `classes`, -1 of rows without a
    label; `targets` are numbers (N,) to predict. `splits` maps train, validation and test to row indices. A table has
    `columns`, whose cells may be missing (NaN).
    """

    name: str
    x: Array
    splits: Mapping[str, npt.NDArray[np.int64]]
    labels: npt.NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()  # of a table (N, D)
    split_seed: int = 0
    condition: int = 0  # number of trailing condition columns, given but not modelled: rows are [x, y]
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # how to load the same data again
    ids: Array | None = None  # (N,) text: names of the rows, kept and returned, never a feature
    id_name: str = "id"
    groups: npt.NDArray[np.int64] | None = None  # (N,) codes; rows of one group are in one split
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)  # columns as read that are no features: why
    notes: tuple[str, ...] = ()  # sentences for the user about how the data were read
    targets: npt.NDArray[np.float64] | None = None  # (N,), in their own units
    numbers: npt.NDArray[np.int64] | None = None  # (N,) of the rows as read, where those without a target are left out
    style: Style = ISO  # how a table of text was written
    label_kind: LabelKind = "text"  # what labels were given as, for answers

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {len(rows):,}" for name, rows in self.splits.items())
        told = f"{len(self.x):,} examples of shape {self.shape} in {self.x.dtype}; {splits}"
        return f"Dataset({self.name}, {told}{f'; {len(self.classes)} classes' if self.classes else ''})"

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
    def features(self) -> tuple[str, ...]:
        """The names of a table's columns; empty if they have none."""
        return names_of(self.columns)

    @property
    def is_typed(self) -> bool:
        """Whether some column needs more than a density of real numbers that are all there, or is a condition."""
        return any(c.kind not in ("real", "date") or c.missing or c.rare or c.condition for c in self.columns)

    @property
    def is_8bit(self) -> bool:
        return bool(self.x.dtype == np.uint8)

    def rows(self, split: str) -> Array:
        """The examples of one split (n, D); a copy."""
        return self.flat[self.splits[split]]

    def labels_of(self, split: str) -> npt.NDArray[np.int64] | None:
        return None if self.labels is None else self.labels[self.splits[split]]

    def counts(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many of these rows are of each class (C,)."""
        assert self.labels is not None
        codes = self.labels[rows]
        return np.bincount(codes[codes >= 0], minlength=len(self.classes))

    @property
    def labelled(self) -> Dataset:
        """The same examples, but only those with a label are in a split."""
        if self.labels is None or all((self.labels[rows] >= 0).all() for rows in self.splits.values()):
            return self
        return dataclasses.replace(self, splits={k: v[self.labels[v] >= 0] for k, v in self.splits.items()})

    @functools.cached_property
    def statistics(self) -> Statistics:
        """Per-feature statistics of the training split, and the range of all rows."""
        return Statistics.of(self.flat, self.splits["train"])

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest, equal only if shape, type, splits, labels and (a sample of) the rows are equal."""
        digest = hashlib.sha256(repr((self.x.shape, str(self.x.dtype))).encode())
        digest.update(repr([(c.name, c.kind, c.levels) for c in self.columns if c.kind != "real"]).encode())
        if given := [j for j, c in enumerate(self.columns) if c.condition]:
            digest.update(repr(given).encode())
        for split in SPLITS:
            digest.update(np.ascontiguousarray(self.splits[split]).tobytes())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        if self.targets is not None:
            digest.update(self.targets.tobytes())
        row_bytes = self.x.itemsize * int(np.prod(self.shape))
        sample = max(1, min(1024, CHUNK_BYTES // row_bytes))
        for row in self.flat[:: max(1, len(self.x) // sample)]:
            digest.update(np.ascontiguousarray(row).tobytes())
        return digest.hexdigest()[:16]

    def suggested_likelihood(self) -> str:
        """Bernoulli for 8-bit images, images in [0, 1], and tables of complete binary columns; Gaussian for other
        images and tables of complete real columns; otherwise mixed, each column by its kind.
        """
        if self.is_image:
            low, high = self.statistics.range
            return "bernoulli" if self.is_8bit or (low >= 0 and high <= 1) else "gaussian"
        if self.columns and all(c.values == (0, 1) and not (c.missing or c.condition) for c in self.columns):
            return "bernoulli"
        return "mixed" if self.is_typed else "gaussian"


def names_of(columns: Sequence[Column]) -> tuple[str, ...]:
    """Their names; empty if they have none."""
    return tuple(column.name for column in columns) if columns and columns[0].name else ()


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Mean, standard deviation, minimum and maximum (D,) of the values in the training rows, where there are any
    (else 0), and how many are missing; range over all rows.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    missing: npt.NDArray[np.int64]
    range: tuple[float, float]

    @classmethod
    def of(cls, flat: Array, train: npt.NDArray[np.int64]) -> Statistics:
        in_train = np.zeros(len(flat), dtype=bool)
        in_train[train] = True
        n, d = flat.shape
        size = max(1, CHUNK_BYTES // (8 * d))
        shift = _first_values(flat, train)  # avoids cancellation in the sums of squares
        total, squares, count = np.zeros(d), np.zeros(d), np.zeros(d, np.int64)
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        range_low, range_high = np.inf, -np.inf
        for start in range(0, n, size):
            piece = np.asarray(flat[start : start + size])
            range_low = min(range_low, float(np.fmin.reduce(piece, axis=None)))
            range_high = max(range_high, float(np.fmax.reduce(piece, axis=None)))
            piece = piece[in_train[start : start + size]].astype(np.float64)
            if len(piece):
                low, high = np.fmin(low, np.fmin.reduce(piece)), np.fmax(high, np.fmax.reduce(piece))
                piece -= shift
                seen = ~np.isnan(piece)
                piece[~seen] = 0.0
                count += seen.sum(0)
                total += piece.sum(0)
                squares += np.einsum("nd,nd->d", piece, piece)
        some = np.maximum(count, 1)
        mean = total / some
        variance = np.maximum(squares / some - mean**2, 0.0)
        empty = count == 0
        low[empty], high[empty] = 0.0, 0.0
        variance[low == high] = 0.0
        std = np.sqrt(variance)
        for column in np.flatnonzero((variance < SMALLEST) & (low < high)):
            std[column] = _spread(flat[train, column].astype(np.float64), low[column], high[column])
        return cls(mean + shift, std, low, high, len(train) - count, (range_low, range_high))

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        constant: npt.NDArray[np.bool_] = self.low == self.high
        return constant


def _spread(values: npt.NDArray[np.float64], low: float, high: float) -> float:
    """The standard deviation of values between two bounds, whose squares may be too small for float64."""
    return float(np.nanstd((values - low) / (high - low))) * (high - low)


def _first_values(flat: Array, train: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The first value (D,) of each column in the training rows; 0 where all are missing."""
    first: npt.NDArray[np.float64] = np.asarray(flat[train[:1]], dtype=np.float64)[0]
    for column in np.flatnonzero(np.isnan(first)):
        values = np.asarray(flat[train, column], dtype=np.float64)
        there = values[~np.isnan(values)]
        first[column] = there[0] if len(there) else 0.0
    return first
