"""The network of a classifier or regressor, for K stacked members: rows to logits, or to mean and scale."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.engine.convolutions import Grid, Trunk
from vaelab.engine.networks import (
    LINE,
    MLP,
    Layout,
    Parameters,
    Stacked,
    autocast,
    bucket,
    fast_products,
    initial_dense,
    widen,
)
from vaelab.engine.rows import Batches
from vaelab.supervised.spec import SupervisedSpec


def padded_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Padded widths of hidden layers. Only the first has many inputs: after it padding costs little, and coarse
    buckets let more trials share a stack.

    >>> padded_sizes((20, 20, 200))
    (64, 128, 256)
    """
    return tuple(bucket(size, 128 if i else 64) for i, size in enumerate(sizes))


def trunk_of(spec: SupervisedSpec, grid: Grid) -> Trunk:
    """The convolutions before the dense layers."""
    return Trunk(
        "maps", grid.shape, spec.channels, spec.blocks, spec.kernel, spec.norm, spec.activation,
        pooling=spec.pooling == "max", stem=spec.stem,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SupervisedModel(Stacked):
    """The shapes that the members of one stack share: x (K, B, D) to outputs (K, B, C)."""

    features: int
    hidden: tuple[int, ...]  # padded
    outputs: int  # C: logits of classes, or mean and log-scale
    activation: str
    grid: Grid | None = None  # positions of the features in an image, for convolutions
    trunk: Trunk | None = None
    half: bool = False  # matrix products in bfloat16 during training
    mirrors: bool = False  # trains on images and their mirror images, and averages over both to predict

    @classmethod
    def for_spec(cls, spec: SupervisedSpec, features: int, outputs: int, grid: Grid) -> SupervisedModel:
        trunk = trunk_of(spec, grid) if spec.network == "conv" else None
        hidden = padded_sizes(spec.hidden_sizes)
        half, mirrors = spec.precision == "bf16", spec.flip != "none"
        return cls(features, hidden, outputs, spec.activation, grid, trunk, half, mirrors)

    @property
    def ends(self) -> int:
        """Number of inputs of the dense layers."""
        return self.features if self.trunk is None else self.trunk.features

    @functools.cached_property
    def network(self) -> MLP:
        """The dense layers, with padding of values, units and outputs (see networks.LINE)."""
        wide = (self.ends + -self.ends % LINE, *self.hidden, self.outputs + -self.outputs % LINE)
        return MLP("network", wide, self.activation)

    @functools.cached_property
    def layout(self) -> Layout:  # type: ignore[override]
        return Layout(self.network.shapes | ({} if self.trunk is None else self.trunk.shapes))

    @functools.cached_property
    def statistics(self) -> Layout:  # type: ignore[override]
        """Running statistics of batch norms: Q numbers per member in addition to its P parameters, without gradient."""
        return Layout({} if self.trunk is None else self.trunk.statistics)

    @property
    def last_bias(self) -> str:
        """The name of the bias of the outputs."""
        return f"network.{len(self.hidden)}.bias"

    @property
    def dropout_units(self) -> int:
        """Hidden units per example with a dropout mask."""
        return sum(self.hidden)

    def own_shapes(self, spec: SupervisedSpec) -> dict[str, tuple[int, ...]]:
        """Shapes of a member's parameters without padding. Statistics have no padding; see `statistics`."""
        dense = MLP("network", (self.ends, *spec.hidden_sizes, self.outputs), self.activation).shapes
        return dense | ({} if self.trunk is None else self.trunk.shapes)

    def initial(self, spec: SupervisedSpec, bias: Tensor, generator: torch.Generator) -> Tensor:
        """One member's initial parameters and statistics (P + Q,); `bias` (C,) are the outputs at the start."""
        weights = initial_dense("network", (self.ends, *spec.hidden_sizes, self.outputs), generator)
        weights[self.last_bias] = bias.float()[None]
        return self.pad(weights | ({} if self.trunk is None else self.trunk.initial(generator)), spec)

    def pad(self, weights: Mapping[str, Tensor], spec: SupervisedSpec) -> Tensor:
        """A member's own weights and statistics as a padded row (P + Q,)."""
        return self.pad_member(weights)

    def unpad(self, row: Tensor, spec: SupervisedSpec) -> dict[str, Tensor]:
        """The inverse of `pad`."""
        return self.unpad_member(row, self.own_shapes(spec))

    def predict(self, parameters: Parameters, x: Tensor, dropout: Sequence[Tensor] = ()) -> Tensor:
        """(K, B, C) for x (K, B, D); `dropout` has the dropout multipliers (K, B, units) of each hidden layer."""
        with autocast(self.half, parameters, x):
            if self.trunk is not None:
                assert self.grid is not None
                x = self.trunk(parameters, self.grid.spread(x))
            outputs = self.network(parameters, widen(x, self.network.widths[0]), dropout)[..., : self.outputs]
        return outputs.float() if outputs.dtype == torch.bfloat16 else outputs

    def answers(self, parameters: Parameters, x: Tensor) -> Tensor:
        """Outputs (K, B, C) in use: averaged over an image and its mirror image if `mirrors`."""
        outputs = self.predict(parameters, x)
        if not self.mirrors:
            return outputs
        assert self.grid is not None
        mirrored = x.unflatten(-1, self.grid.shape).flip(-2).flatten(-3)
        return (outputs + self.predict(parameters, mirrored)) / 2


@torch.no_grad()
def outputs_of(model: SupervisedModel, parameters: Parameters, batches: Batches) -> npt.NDArray[np.float64]:
    """Outputs (K, n, C) in float64 of all members for the same rows."""
    buffer = next(iter(parameters.values()))
    K = len(buffer)
    every = torch.empty(K, batches.rows, model.outputs, dtype=torch.float64)
    with fast_products(model.largest_layer):
        for place, x, _ in batches:
            every[:, place] = model.answers(parameters, x.to(buffer.dtype).expand(K, *x.shape)).cpu().double()
    return every.numpy()
