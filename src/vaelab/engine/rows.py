"""Rows of a data set in a model's units: gathered by number, scaled, dequantised or binarised, on the device."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling
from vaelab.data.dataset import Array
from vaelab.data.scaling import LARGEST
from vaelab.engine import noise
from vaelab.engine.convolutions import Grid
from vaelab.engine.encoding import Encoding

KEPT_FLOATS = 1 << 23  # values of validation rows that are kept between epochs: 32 MB
CHUNK_FLOATS = 1 << 18  # values per member and evaluation chunk: bounds memory, and is large enough to be fast


@dataclasses.dataclass(frozen=True)
class Batches:
    """Rows as model values, in chunks: (n, D), with their noise keys (n,).

    Their number is known from the start, so that results are preallocated: many small results between large
    temporary chunks would fragment the heap.
    """

    rows: int
    pieces: Iterator[tuple[Tensor, Tensor]]

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Each chunk, preceded by its position among the rows."""
        start = 0
        for x, keys in self.pieces:
            yield slice(start, start + len(x)), x, keys
            start += len(x)

    def gather(self, features: int, dtype: torch.dtype) -> Tensor:
        """All rows (rows, D) at once."""
        values = None
        for place, x, _ in self:
            if values is None:
                values = x.new_empty(self.rows, features, dtype=dtype)
            values[place] = x
        assert values is not None
        return values


class Units:
    """From rows in the data's own units to the model's, for one scaling and one binarisation, and, for a model that
    needs no more of typed columns, to what a network sees of them.
    """

    def __init__(self, scaling: Scaling, binarize: str, device: torch.device, encoding: Encoding | None = None):
        self.scaling, self.binarize, self.encoding = scaling, binarize, encoding
        self._kept = None if scaling.kept is None else torch.from_numpy(scaling.kept).to(device)
        self._offset = torch.from_numpy(scaling.offset).to(device)
        self._factor = 1 / torch.from_numpy(scaling.scale).to(device)
        self._shifted, self._scaled = bool((self._offset != 0).any()), bool((self._factor != 1).any())
        self._logs = scaling.logs
        self._indexed = {j: torch.from_numpy(values).to(device) for j, values in scaling.indexed.items()}

    def features(self, raw: Tensor) -> int:
        if self.encoding is not None:
            return self.encoding.width
        return raw.shape[1] if self._kept is None else len(self._kept)

    @property
    def is_table(self) -> bool:
        """Whether columns have scales of their own."""
        return len(self._offset) > 1

    @property
    def needs_uniform(self) -> bool:
        """Whether each visit of a row draws a uniform per feature."""
        return self.scaling.dequantise or self.binarize == "dynamic"

    def convert(self, raw: Tensor, uniform: Tensor | None) -> Tensor:
        """Rows (n, D_own) as model values (n, D), float32; `uniform` (n, D) where `needs_uniform`."""
        x = (raw if self._kept is None else raw.index_select(1, self._kept)).to(self._offset.dtype)
        if self._logs.stop:
            x[:, self._logs] = torch.log(x[:, self._logs])
        for j, values in self._indexed.items():
            x[:, j] = indices(x[:, j], values)
        if self.scaling.dequantise:
            assert uniform is not None
            x = x + uniform
        if self._shifted:
            x = x - self._offset
        if self._scaled:
            x = x * self._factor
        x = x.float()
        if self.is_table:
            x = x.clamp(-LARGEST, LARGEST)
        if self.binarize == "dynamic":
            assert uniform is not None
            x = (uniform < x).float()
        return x if self.encoding is None else self.encoding(x)

    def keys(self, raw: Tensor) -> Tensor:
        """The noise keys (n,) of rows: by their content, of a table on its standardised scales, so that columns in
        other units get the same noise.
        """
        if not self.is_table or self.needs_uniform:
            return noise.row_keys(raw)
        return noise.row_keys(_coarse(self.convert(raw, None)))

    def fixed(self, raw: Tensor, keys: Tensor) -> Tensor:
        """Rows as model values with noise keyed by their content."""
        if self.binarize == "fixed":
            x = self.convert(raw, None)
            return (_pixel_noise(keys, x.shape[1]) < x).float()
        return self.convert(raw, _pixel_noise(keys, self.features(raw)) if self.needs_uniform else None)

    def batches(self, raw: Tensor, draws: int) -> Batches:
        """Rows in chunks, each small enough to be evaluated with `draws` draws of z."""
        pieces = ((piece, self.keys(piece)) for piece in raw.split(chunk(raw.shape[1], draws)))
        return Batches(len(raw), ((self.fixed(piece, keys), keys) for piece, keys in pieces))


def indices(x: Tensor, values: Tensor) -> Tensor:
    """Which of increasing `values` each of x (n,) is, NaN where missing."""
    return torch.searchsorted(values, x.to(values).contiguous()).to(x).masked_fill(torch.isnan(x), torch.nan)


def _coarse(x: Tensor) -> Tensor:
    """Values rounded to 12 bits: units that are no powers of two change the last bits of standardised ones."""
    bits = torch.nan_to_num(x.float(), nan=1e30).add(0.0).view(torch.int32)
    return ((bits + 0x400) & ~0x7FF).view(torch.float32)


def _pixel_noise(keys: Tensor, features: int) -> Tensor:
    """Uniforms in [0, 1), float32 (n, D). If rounded up to 1, a pixel with probability 1 would be drawn as 0."""
    return noise.uniform(keys, "pixel", 1, features)[0].float().clamp_max(1 - 2.0**-24)


def chunk(features: int, draws: int) -> int:
    """Rows evaluated at once. Independent of the stack, since rounding depends on the shape of products."""
    return max(1, CHUNK_FLOATS // (features * draws))


class Rows:
    """Rows of a data set in a model's units.

    The data are in memory once, in their original type; only requested rows are converted.
    """

    def __init__(self, data: Dataset, units: Units, device: torch.device):
        self.data, self.units, self.device = data, units, device
        self._raw = as_tensor(data.flat).to(device)
        self.condition = data.condition
        self.features = units.features(self._raw) - self.condition
        self.grid = grid_of(data.shape, units.scaling)
        self._kept: dict[tuple[str, int], list[tuple[Tensor, Tensor]]] = {}
        self._keys: dict[str, Tensor] = {}  # cached here, not on the class, which would keep the data alive

    def rows(self, split: str) -> Tensor:
        """Row numbers of a split."""
        return torch.from_numpy(self.data.splits[split]).to(self.device)

    def keys(self, split: str) -> Tensor:
        """The noise keys of a split's rows."""
        if split not in self._keys:
            rows = self.rows(split)
            keys, size = torch.empty_like(rows), chunk(self._raw.shape[1], 1)
            for some, place in zip(rows.split(size), keys.split(size), strict=True):
                place[:] = self.units.keys(self._raw.index_select(0, some))
            self._keys[split] = keys
        return self._keys[split]

    def batches(self, split: str, draws: int, limit: int | None = None) -> Batches:
        """(The first `limit` rows of) a split in chunks, with fixed noise."""
        size = chunk(self._raw.shape[1], draws)
        rows, keys = self.rows(split)[:limit], self.keys(split)[:limit]
        pieces = zip(rows.split(size), keys.split(size), strict=True)
        return Batches(len(rows), ((self.units.fixed(self._raw.index_select(0, r), k), k) for r, k in pieces))

    def kept_batches(self, split: str, limit: int) -> Iterable[tuple[Tensor, Tensor]]:
        """The same chunks with one draw, without their places; converted once if they are small enough to be kept."""
        if (split, limit) in self._kept:
            return self._kept[split, limit]
        batches = self.batches(split, 1, limit)
        if batches.rows * self._raw.shape[1] > KEPT_FLOATS:
            return batches.pieces
        return self._kept.setdefault((split, limit), list(batches.pieces))

    def sample_rows(self, most: int) -> Tensor:
        """At most `most` training rows, evenly spaced, as model values with fixed noise."""
        rows = self.rows("train")
        raw = self._raw.index_select(0, rows[:: -(-len(rows) // most)])
        return self.units.batches(raw, 1).gather(self.features + self.condition, torch.float32)


def grid_of(shape: Sequence[int], scaling: Scaling) -> Grid:
    """The positions of a model's input values in examples of this shape (defined for any kind of data)."""
    return Grid.of(shape, None if scaling.kept is None else torch.from_numpy(scaling.kept))


def as_tensor(rows: Array) -> Tensor:
    """An array as a tensor on the same memory. Data are never written to, so a read-only map is fine."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(rows)
