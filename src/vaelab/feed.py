"""A data set as models see it: gathered by row, scaled, dequantised or binarised, on the device."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vaelab import noise
from vaelab.convolutions import Grid, why_unfit
from vaelab.data import Dataset, Scaling
from vaelab.data.dataset import Array
from vaelab.errors import InputError
from vaelab.likelihoods import likelihood_for
from vaelab.spec import ModelSpec, Spec

CHUNK_FLOATS = 1 << 18  # values per member and piece of an evaluation: bounds memory, and is large enough to be fast
INITIAL_ROWS = 2_000  # training rows that set a model's initial output scale
BASELINE_ROWS = 20_000  # training rows that the model without latents is fitted to


@dataclasses.dataclass(frozen=True)
class Batches:
    """Rows as model values, piece by piece: (n, D), with their noise keys (n,).

    Their number is known from the start, so that results have one place to go: many small ones kept between large
    pieces that come and go would leave the heap full of holes.
    """

    rows: int
    pieces: Iterator[tuple[Tensor, Tensor]]

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Each piece after its place among the rows."""
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


def resolve(spec: Spec, data: Dataset) -> Spec:
    """The spec with everything that was left to the data decided: likelihood, batch size, device."""
    n = len(data.splits["train"])
    changes = resolve_training(spec, data)
    if spec.likelihood == "auto":
        changes["likelihood"] = "bernoulli" if spec.binarize != "none" else data.suggested_likelihood()
    if spec.prior != "normal" and spec.components > n:
        raise InputError(
            f"`components` must be at most the number of training examples, but got {spec.components} for {n}; "
            "choose fewer."
        )
    if not data.condition and (spec.wx != 1 or spec.wy != 0):
        name = "wx" if spec.wx != 1 else "wy"
        raise InputError(f"`{name}` weighs a term of an inverse problem; leave it out, or use `vaelab invert`.")
    if data.condition and spec.prior != "normal":
        raise InputError(f"an inverse problem needs the normal prior, but got prior = {spec.prior!r}; leave it out.")
    if spec.network == "conv":
        if data.condition:
            raise InputError(
                "an inverse problem needs network = mlp: a condition has no place in an image; leave it out."
            )
        check_convolutions(spec, data)
    return spec.but(**changes)


def resolve_training(spec: ModelSpec, data: Dataset) -> dict[str, object]:
    """What a training of any kind leaves to the data and the machine: batch size and device."""
    n = len(data.splits["train"])
    changes: dict[str, object] = {}
    if spec.batch_size == "auto":
        changes["batch_size"] = min(n, 32 if n < 5_000 else 100)
    elif spec.batch_size > n:
        raise InputError(
            f"`batch_size` must be at most the number of training examples, but got {spec.batch_size} for {n}; "
            "choose a smaller one or leave it to auto."
        )
    if spec.device == "auto":
        changes["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    elif not _is_available(spec.device):
        raise InputError(f"device {spec.device!r} is not available here; use auto or cpu.")
    device = str(changes.get("device", spec.device))
    if spec.precision == "bf16" and not has_bfloat16(device):
        raise InputError("`precision` = bf16 needs a processor that multiplies bfloat16, which this one does not.")
    return changes


def check_convolutions(spec: ModelSpec, data: Dataset) -> None:
    """Refuse data in which there are no neighbours, and settings that do not suit their size."""
    if data.features:
        raise InputError(
            "`network` = conv needs images or curves, in which neighbours belong together, but got a table with "
            "named columns; use mlp, or give curves as an array without names (.npy)."
        )
    reason = why_unfit(Grid.of(data.shape).shape, spec.channels, spec.kernel)
    if reason is not None:
        raise InputError(reason)


def has_bfloat16(device: str) -> bool:
    """Whether the processor has instructions for bfloat16: else its products would be slower than float32's."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return kind == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))


def _is_available(device: str) -> bool:
    kind, _, number = device.partition(":")
    if kind == "cuda":
        return torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count()
    return kind == "cpu" or torch.backends.mps.is_available()


class Units:
    """From rows in the data's own units to the model's, for one scaling and one binarisation."""

    def __init__(self, scaling: Scaling, binarize: str, device: torch.device):
        self.scaling, self.binarize = scaling, binarize
        self._kept = None if scaling.kept is None else torch.from_numpy(scaling.kept).to(device)
        self._offset = torch.from_numpy(scaling.offset).to(device)
        self._factor = 1 / torch.from_numpy(scaling.scale).to(device)
        self._shifted, self._scaled = bool((self._offset != 0).any()), bool((self._factor != 1).any())

    def features(self, raw: Tensor) -> int:
        return raw.shape[1] if self._kept is None else len(self._kept)

    @property
    def needs_uniform(self) -> bool:
        """Whether each visit of a row draws a uniform per feature."""
        return self.scaling.dequantise or self.binarize == "dynamic"

    def convert(self, raw: Tensor, uniform: Tensor | None) -> Tensor:
        """Rows (n, D_own) as model values (n, D), float32; `uniform` (n, D) where `needs_uniform`."""
        x = (raw if self._kept is None else raw.index_select(1, self._kept)).float()
        if self.scaling.dequantise:
            assert uniform is not None
            x = x + uniform
        if self._shifted:
            x = x - self._offset
        if self._scaled:
            x = x * self._factor
        if self.binarize == "dynamic":
            assert uniform is not None
            x = (uniform < x).float()
        return x

    def fixed(self, raw: Tensor, keys: Tensor) -> Tensor:
        """Rows as model values under noise keyed by their content."""
        if self.binarize == "fixed":
            x = self.convert(raw, None)
            return (_pixel_noise(keys, x.shape[1]) < x).float()
        return self.convert(raw, _pixel_noise(keys, self.features(raw)) if self.needs_uniform else None)

    def batches(self, raw: Tensor, draws: int) -> Batches:
        """Some rows in pieces, each small enough to be evaluated with `draws` draws of z."""
        pieces = ((piece, noise.row_keys(piece)) for piece in raw.split(chunk(raw.shape[1], draws)))
        return Batches(len(raw), ((self.fixed(piece, keys), keys) for piece, keys in pieces))


def _pixel_noise(keys: Tensor, features: int) -> Tensor:
    """Uniforms in [0, 1), float32 (n, D). Rounded to 1, a pixel that is surely on would be drawn as off."""
    return noise.uniform(keys, "pixel", 1, features)[0].float().clamp_max(1 - 2.0**-24)


def chunk(features: int, draws: int) -> int:
    """How many rows an evaluation handles at once. Not a function of the stack: products round by their shape."""
    return max(1, CHUNK_FLOATS // (features * draws))


class Rows:
    """Rows of a data set in a model's units.

    The data stay in memory once, in the type they came in; only the rows asked for are converted.
    """

    def __init__(self, data: Dataset, units: Units, device: torch.device):
        self.data, self.units, self.device = data, units, device
        self._raw = as_tensor(data.flat).to(device)
        self.condition = data.condition
        self.features = units.features(self._raw) - self.condition
        self.grid = grid_of(data.shape, units.scaling)
        self._keys: dict[str, Tensor] = {}  # a cache here, not on the class, which would keep the data alive

    def rows(self, split: str) -> Tensor:
        """Row numbers of a split."""
        return torch.from_numpy(self.data.splits[split]).to(self.device)

    def keys(self, split: str) -> Tensor:
        """The noise keys of a split's rows."""
        if split not in self._keys:
            rows = self.rows(split)
            keys, size = torch.empty_like(rows), chunk(self._raw.shape[1], 1)
            for some, place in zip(rows.split(size), keys.split(size), strict=True):
                place[:] = noise.row_keys(self._raw.index_select(0, some))
            self._keys[split] = keys
        return self._keys[split]

    def batches(self, split: str, draws: int, limit: int | None = None) -> Batches:
        """(The first `limit` rows of) a split in pieces, under fixed noise."""
        size = chunk(self._raw.shape[1], draws)
        rows, keys = self.rows(split)[:limit], self.keys(split)[:limit]
        pieces = zip(rows.split(size), keys.split(size), strict=True)
        return Batches(len(rows), ((self.units.fixed(self._raw.index_select(0, r), k), k) for r, k in pieces))

    def sample_rows(self, most: int) -> Tensor:
        """At most `most` training rows, evenly spaced, as model values under fixed noise."""
        rows = self.rows("train")
        raw = self._raw.index_select(0, rows[:: -(-len(rows) // most)])
        return self.units.batches(raw, 1).gather(self.features + self.condition, torch.float32)


class Feed(Rows):
    """Rows as VAEs see them, for one likelihood and one binarisation."""

    def __init__(self, data: Dataset, spec: Spec, scaling: Scaling | None = None):
        """`scaling` is that of a trained model, which keeps it on any data; by default it is set by the data."""
        assert spec.likelihood != "auto", "resolve the spec first"
        device = torch.device(spec.device)
        self.likelihood_name, self.likelihood = spec.likelihood, likelihood_for(spec, data.is_image)
        super().__init__(data, Units(scaling or Scaling.for_data(data, spec.likelihood), spec.binarize, device), device)
        assert not self.condition or (self.units.scaling.kept is None and spec.binarize == "none")
        self._visited = self._binarised() if spec.binarize == "fixed" else None

    @functools.cached_property
    def log_jacobian(self) -> float:
        """What turns a distortion in the model's units into one in the data's own, in nats per example."""
        return self.units.scaling.log_jacobian(self.features) if self.likelihood.is_density else 0.0

    def gather(self, rows: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Rows (n,) as model values (n, D) for training; `uniform` (n, D) where the units need it."""
        if self._visited is not None:
            return self._visited.index_select(0, rows).float()
        return self.units.convert(self._raw.index_select(0, rows), uniform)

    def _binarised(self) -> Tensor:
        return self.units.batches(self._raw, 1).gather(self.features, torch.uint8)


def grid_of(shape: Sequence[int], scaling: Scaling) -> Grid:
    """Where the values that a model sees lie in examples of this shape (any kind of data has such a place)."""
    return Grid.of(shape, None if scaling.kept is None else torch.from_numpy(scaling.kept))


def as_tensor(rows: Array) -> Tensor:
    """An array as a tensor on the same memory. Nothing writes into data, so a read-only map will do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(rows)
