"""Stacked convolutions: images (K, B, H W C) to features and back. Curves are images of height 1.

Members are groups of channels: maps are (B, K C, H, W) in channels-last memory, which for K = 1 is the memory of the
rows themselves, so that one member's maps and weights are views, without copies.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.engine.kernels import double, halve, halve_by_maximum, keep
from vaelab.engine.networks import ACTIVATIONS, Parameters, Training
from vaelab.settings.spec import ModelSpec, Norm

GROUPS = 8  # of group norm
MOMENTUM, EPSILON = 0.1, 1e-5  # as in torch.nn


def as_maps(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Rows (K, B, H W C), values in that order, as maps (B, K C, H, W)."""
    (K, B, _), (H, W, C) = x.shape, shape
    maps = x.reshape(K, B, H, W, C).permute(1, 0, 4, 2, 3).reshape(B, K * C, H, W)
    return maps.contiguous(memory_format=torch.channels_last)


def as_rows(maps: Tensor, members: int) -> Tensor:
    """The inverse of `as_maps`: (K, B, H W C)."""
    B, _, H, W = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(B, H, W, members, -1).permute(3, 0, 1, 2, 4).reshape(members, B, -1)


def convolve(parameters: Parameters, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """Each member's convolution of x (B, K in, H, W) by an odd kernel, zero-padded: (B, K out, ceil(H / stride), ...).

    The weight is (K, out, height, width, in): channels-last, like the maps.
    """
    weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
    return halve(x, weight, bias) if stride == 2 else keep(x, weight, bias)


def convolve_transposed(parameters: Parameters, name: str, x: Tensor, size: tuple[int, int]) -> Tensor:
    """The transpose of a convolution of stride 2 that made maps of x's height and width from maps of `size`.

    x (B, K in, H, W) -> (B, K out, *size); the weight is (K, in, height, width, out).
    """
    return double(x, parameters[f"{name}.weight"], size, parameters.get(f"{name}.bias"))


def batch_norm(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """(x - mean) / std * scale + shift per channel of x (B, K C, H, W) (Ioffe & Szegedy 2015, algorithms 1 and 2).

    In a training step mean and variance are those of the batch, and update the running ones with momentum 0.1; else
    they are the running ones, `name`.mean and `name`.var, each (K, C). The running variance is unbiased.
    """
    mean, var = parameters[f"{name}.mean"], parameters[f"{name}.var"]
    flat_mean, flat_var = mean.flatten(), var.flatten()  # views for one member, else copies
    scale, shift = parameters[f"{name}.scale"].flatten(), parameters[f"{name}.shift"].flatten()
    # One value per channel has no variance; an epoch's last batch may have one example.
    training = isinstance(parameters, Training) and x.numel() > x.shape[1]
    y = functional.batch_norm(x, flat_mean, flat_var, scale, shift, training, MOMENTUM, EPSILON)
    if training and len(mean) > 1:
        mean.copy_(flat_mean.view_as(mean))
        var.copy_(flat_var.view_as(var))
    return y


def group_norm(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """Like `batch_norm`, with mean and variance of each example over each group of channels (Wu & He 2018, eq. 1-3)."""
    scale, shift = parameters[f"{name}.scale"], parameters[f"{name}.shift"]
    K, C = scale.shape
    return functional.group_norm(x, K * groups_of(C), scale.flatten(), shift.flatten(), EPSILON)


def groups_of(channels: int) -> int:
    """Number of groups of group norm: GROUPS, if it divides the channels."""
    return math.gcd(channels, GROUPS)


def normalise(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """The norm of layer `name`, from its parameters, if any."""
    if f"{name}.scale" not in parameters:
        return x
    return batch_norm(parameters, name, x) if f"{name}.mean" in parameters else group_norm(parameters, name, x)


def residual(parameters: Parameters, name: str, x: Tensor, activation: str) -> Tensor:
    """act(x + norm(conv(act(norm(conv(x)))))) (He et al. 2016, fig. 2)."""
    act, inner, outer = ACTIVATIONS[activation], f"{name}.inner", f"{name}.outer"
    y = act(normalise(parameters, inner, convolve(parameters, inner, x)))
    return act(x + normalise(parameters, outer, convolve(parameters, outer, y)))


@dataclasses.dataclass(frozen=True)
class Layer:
    """One convolution of a network: its stage (-1: before the first) and channels, the norm that follows, and whether
    it is initialised to 0.
    """

    name: str
    stage: int
    n_in: int
    n_out: int
    norm: Norm
    transposed: bool = False
    in_block: bool = False
    silent: bool = False  # its contribution to a residual block starts at 0 (Goyal et al. 2017, section 5.1)


@dataclasses.dataclass(frozen=True)
class _Stages:
    """What an encoder's and a decoder's convolutions share: one stage per entry of `channels`, each of half the size.

    shape: (H, W, C) of an example. blocks: residual blocks per stage, at its size. kernel: odd.
    """

    prefix: str
    shape: tuple[int, int, int]
    channels: tuple[int, ...]
    blocks: int = 0
    kernel: int = 3
    norm: Norm = "none"
    activation: str = "silu"

    @functools.cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the example, and of the maps after each stage."""
        sizes = [self.shape[:2]]
        for _ in self.channels:
            H, W = sizes[-1]
            sizes.append((-(-H // 2), -(-W // 2)))
        return sizes

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the smallest maps."""
        return (*self.sizes[-1], self.channels[-1])

    @property
    def features(self) -> int:
        """Values of the smallest maps, in the order H, W, C."""
        return math.prod(self.map_shape)

    @property
    def layers(self) -> list[Layer]:
        raise NotImplementedError

    def _block_layers(self, stage: int) -> list[Layer]:
        C = self.channels[stage]
        return [
            Layer(
                f"{self.prefix}.{stage}.{block}.{place}", stage, C, C, self.norm, in_block=True, silent=place == "outer"
            )
            for block in range(self.blocks)
            for place in ("inner", "outer")
        ]

    def _blocks(self, parameters: Parameters, stage: int, x: Tensor) -> Tensor:
        for block in range(self.blocks):
            x = residual(parameters, f"{self.prefix}.{stage}.{block}", x, self.activation)
        return x

    def kernel_size(self) -> tuple[int, int]:
        return (1 if self.shape[0] == 1 else self.kernel, 1 if self.shape[1] == 1 else self.kernel)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters of one member."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            ends = (layer.n_in, layer.n_out) if layer.transposed else (layer.n_out, layer.n_in)
            shapes[f"{layer.name}.weight"] = (ends[0], *self.kernel_size(), ends[1])
            for kind in ("bias",) if layer.norm == "none" else ("scale", "shift"):
                shapes[f"{layer.name}.{kind}"] = (layer.n_out,)
        return shapes

    @property
    def products(self) -> int:
        """Multiplications for one example."""
        return sum(
            math.prod(self._smaller_size(layer)) * math.prod(self.kernel_size()) * layer.n_in * layer.n_out
            for layer in self.layers
        )

    def _smaller_size(self, layer: Layer) -> tuple[int, int]:
        """Height and width of the smaller maps of a convolution: those after its stage's halving."""
        return self.sizes[layer.stage + 1]

    @property
    def statistics(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the running statistics of one member."""
        layers = [layer for layer in self.layers if layer.norm == "batch"]
        return {f"{layer.name}.{kind}": (layer.n_out,) for layer in layers for kind in ("mean", "var")}

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Initial parameters and statistics: uniform weights of variance 2 / fan-in, no bias, identity norms.

        (He et al. 2015, eq. 10: half of a signal is lost at every activation.)
        """
        values = {name: torch.zeros(shape) for name, shape in (self.shapes | self.statistics).items()}
        for layer in self.layers:
            # A transposed convolution of stride 2 distributes each input over four outputs per kernel.
            fan_in = layer.n_in * math.prod(self.kernel_size()) / (self._spread() if layer.transposed else 1)
            bound = math.sqrt(6 / fan_in)
            weight = values[f"{layer.name}.weight"].uniform_(-bound, bound, generator=generator)
            if layer.norm != "none":
                values[f"{layer.name}.scale"].fill_(0 if layer.silent else 1)
            elif layer.silent:
                weight.zero_()
            if layer.norm == "batch":
                values[f"{layer.name}.var"].fill_(1)
        return values

    def _spread(self) -> int:
        return math.prod(2 for n in self.shape[:2] if n > 1)


@dataclasses.dataclass(frozen=True)
class Trunk(_Stages):
    """Images to features: (K, B, H W C) -> (K, B, features).

    Each stage is a convolution of stride 2, or with `pooling` one of stride 1 and the maximum over 2 x 2, then norm,
    activation and its blocks. Pooling comes before norm and activation, which then process a quarter of the values.
    `stem` is the number of channels of a convolution at full size before the first stage; 0 for none.

    >>> Trunk("trunk", (28, 33, 3), (16, 32)).map_shape
    (7, 9, 32)
    """

    pooling: bool = False
    stem: int = 0

    def _smaller_size(self, layer: Layer) -> tuple[int, int]:
        is_pooled = self.pooling and not layer.in_block  # pooling is applied to its output
        return self.sizes[max(0, layer.stage)] if is_pooled else super()._smaller_size(layer)

    @property
    def layers(self) -> list[Layer]:
        channels = (self.stem or self.shape[2], *self.channels)
        stem = [Layer(f"{self.prefix}.stem", -1, self.shape[2], self.stem, self.norm)] if self.stem else []
        return stem + [
            layer
            for stage, (n_in, n_out) in enumerate(itertools.pairwise(channels))
            for layer in (Layer(f"{self.prefix}.{stage}", stage, n_in, n_out, self.norm), *self._block_layers(stage))
        ]

    def __call__(self, parameters: Parameters, x: Tensor) -> Tensor:
        act, K = ACTIVATIONS[self.activation], len(x)
        maps = as_maps(x, self.shape)
        if self.stem:
            name = f"{self.prefix}.stem"
            maps = act(normalise(parameters, name, convolve(parameters, name, maps)))
        for stage in range(len(self.channels)):
            name = f"{self.prefix}.{stage}"
            maps = convolve(parameters, name, maps, 1 if self.pooling else 2)
            if self.pooling:
                maps = halve_by_maximum(maps)
            maps = act(normalise(parameters, name, maps))
            maps = self._blocks(parameters, stage, maps)
        return as_rows(maps, K)


@dataclasses.dataclass(frozen=True)
class Generator(_Stages):
    """Features to images, the stages of a `Trunk` backwards: (K, B, features) -> (K, B, H W C).

    Each stage is its blocks, then a transposed convolution of stride 2 to exactly the size that was halved.
    """

    @property
    def layers(self) -> list[Layer]:
        outputs = (self.shape[2], *self.channels)
        layers: list[Layer] = []
        for stage in reversed(range(len(self.channels))):
            norm: Norm = self.norm if stage else "none"
            last = Layer(f"{self.prefix}.{stage}", stage, outputs[stage + 1], outputs[stage], norm, transposed=True)
            layers += [*self._block_layers(stage), last]
        return layers

    def __call__(self, parameters: Parameters, features: Tensor) -> Tensor:
        act, K = ACTIVATIONS[self.activation], len(features)
        maps = act(as_maps(features, self.map_shape))
        for stage in reversed(range(len(self.channels))):
            name = f"{self.prefix}.{stage}"
            maps = self._blocks(parameters, stage, maps)
            maps = convolve_transposed(parameters, name, maps, self.sizes[stage])
            if stage:
                maps = act(normalise(parameters, name, maps))
        return as_rows(maps, K)


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """The positions of the values of a row in an image (H, W, C): all in order, or those in `kept`."""

    shape: tuple[int, int, int]
    kept: Tensor | None = None

    @classmethod
    def of(cls, shape: Sequence[int], kept: Tensor | None = None) -> Grid:
        """For examples of shape (H, W, C) or (H, W), or for curves (N,).

        >>> Grid.of((28, 28)).shape, Grid.of((37,)).shape
        ((28, 28, 1), (1, 37, 1))
        """
        H, W, C = {1: (1, *shape, 1), 2: (*shape, 1), 3: tuple(shape)}[len(shape)]
        return cls((H, W, C), kept)

    @property
    def values(self) -> int:
        """Values of a row."""
        return math.prod(self.shape) if self.kept is None else len(self.kept)

    def spread(self, x: Tensor) -> Tensor:
        """Rows (..., D) as full images (..., H W C), 0 at dropped positions."""
        if self.kept is None:
            return x
        return x.new_zeros(*x.shape[:-1], math.prod(self.shape)).index_copy(-1, self.kept.to(x.device), x)

    def take(self, images: Tensor) -> Tensor:
        """The inverse of `spread`."""
        return images if self.kept is None else images.index_select(-1, self.kept.to(images.device))


@dataclasses.dataclass(frozen=True)
class Convolutions:
    """The convolutions of a VAE: rows (K, B, D) to an encoder's features (K, B, features), and a decoder's to rows."""

    grid: Grid
    trunk: Trunk
    generator: Generator

    @classmethod
    def for_spec(cls, spec: ModelSpec, grid: Grid) -> Convolutions:
        def network(kind: type[Any], prefix: str) -> Any:
            return kind(prefix, grid.shape, spec.channels, spec.blocks, spec.kernel, spec.norm, spec.activation)

        return cls(grid, network(Trunk, "encoder.maps"), network(Generator, "decoder.maps"))

    @property
    def features(self) -> int:
        return self.trunk.features

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.trunk.shapes | self.generator.shapes

    @property
    def statistics(self) -> dict[str, tuple[int, ...]]:
        return self.trunk.statistics | self.generator.statistics

    @property
    def products(self) -> int:
        """Multiplications for one example."""
        return self.trunk.products + self.generator.products

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        return self.trunk.initial(generator) | self.generator.initial(generator)

    def encode(self, parameters: Parameters, x: Tensor) -> Tensor:
        return self.trunk(parameters, self.grid.spread(x))

    def decode(self, parameters: Parameters, features: Tensor) -> Tensor:
        return self.grid.take(self.generator(parameters, features))


def why_unfit(shape: Sequence[int], channels: Sequence[int], kernel: int) -> str | None:
    """Why such convolutions do not fit examples of (H, W, C); None if they do."""
    H, W = shape[:2]
    smallest, largest = min(n for n in (H, W) if n > 1 or (H, W) == (1, 1)), max(H, W)
    size = f"{H} x {W}" if H > 1 else f"{W} points"
    if kernel > smallest:
        return (
            f"`kernel` must be at most the smaller side of an example, but got {kernel} for {size}; use a smaller one."
        )
    most = max(1, (largest - 1).bit_length())
    if len(channels) > most:
        return (
            f"`channels` has {len(channels)} stages, each of half the size, but examples of {size} can be halved "
            f"{most} times; use fewer."
        )
    return None
