"""The network of a classifier, for K stacked members: rows to logits, and the loss."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaelab.classifier.spec import ClassifierSpec
from vaelab.engine.convolutions import Grid, Trunk
from vaelab.engine.networks import LINE, MLP, Layout, Parameters, Stacked, autocast, bucket, initial_dense, widen


def padded_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Padded widths of hidden layers. Only the first has many inputs: after it padding costs little, and coarse
    buckets let more trials share a stack.

    >>> padded_sizes((20, 20, 200))
    (64, 128, 256)
    """
    return tuple(bucket(size, 128 if i else 64) for i, size in enumerate(sizes))


def trunk_of(spec: ClassifierSpec, grid: Grid) -> Trunk:
    """The convolutions before a classifier's dense layers."""
    return Trunk(
        "maps", grid.shape, spec.channels, spec.blocks, spec.kernel, spec.norm, spec.activation,
        pooling=spec.pooling == "max", stem=spec.stem,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ClassifierModel(Stacked):
    """The shapes that the members of one stack share: x (K, B, D) to logits (K, B, C)."""

    features: int
    hidden: tuple[int, ...]  # padded
    classes: int
    activation: str
    grid: Grid | None = None  # positions of the features in an image, for convolutions
    trunk: Trunk | None = None
    half: bool = False  # matrix products in bfloat16 during training
    mirrors: bool = False  # trains on images and their mirror images, and averages over both to predict

    @classmethod
    def for_spec(cls, spec: ClassifierSpec, features: int, classes: int, grid: Grid) -> ClassifierModel:
        trunk = trunk_of(spec, grid) if spec.network == "conv" else None
        hidden = padded_sizes(spec.hidden_sizes)
        half, mirrors = spec.precision == "bf16", spec.flip != "none"
        return cls(features, hidden, classes, spec.activation, grid, trunk, half, mirrors)

    @property
    def ends(self) -> int:
        """Number of inputs of the dense layers."""
        return self.features if self.trunk is None else self.trunk.features

    @functools.cached_property
    def network(self) -> MLP:
        """The dense layers, with padding of values, units and classes (see networks.LINE)."""
        wide = (self.ends + -self.ends % LINE, *self.hidden, self.classes + -self.classes % LINE)
        return MLP("network", wide, self.activation)

    @functools.cached_property
    def layout(self) -> Layout:  # type: ignore[override]
        return Layout(self.network.shapes | ({} if self.trunk is None else self.trunk.shapes))

    @functools.cached_property
    def statistics(self) -> Layout:  # type: ignore[override]
        """Running statistics of batch norms: Q numbers per member in addition to its P parameters, without gradient."""
        return Layout({} if self.trunk is None else self.trunk.statistics)

    @property
    def dropout_units(self) -> int:
        """Hidden units per example with a dropout mask."""
        return sum(self.hidden)

    def own_shapes(self, spec: ClassifierSpec) -> dict[str, tuple[int, ...]]:
        """Shapes of a member's parameters without padding. Statistics have no padding; see `statistics`."""
        dense = MLP("network", (self.ends, *spec.hidden_sizes, self.classes), self.activation).shapes
        return dense | ({} if self.trunk is None else self.trunk.shapes)

    def initial(self, spec: ClassifierSpec, shares: Tensor, generator: torch.Generator) -> Tensor:
        """One member's initial parameters and statistics (P + Q,); predictions start at the class frequencies (C,)."""
        weights = initial_dense("network", (self.ends, *spec.hidden_sizes, self.classes), generator)
        weights[f"network.{len(self.hidden)}.bias"] = shares.float().log().clamp_min(-12)[None]
        return self.pad(weights | ({} if self.trunk is None else self.trunk.initial(generator)), spec)

    def pad(self, weights: Mapping[str, Tensor], spec: ClassifierSpec) -> Tensor:
        """A member's own weights and statistics as a padded row (P + Q,)."""
        return self.pad_member(weights)

    def unpad(self, row: Tensor, spec: ClassifierSpec) -> dict[str, Tensor]:
        """The inverse of `pad`."""
        return self.unpad_member(row, self.own_shapes(spec))

    def logits(self, parameters: Parameters, x: Tensor, dropout: Sequence[Tensor] = ()) -> Tensor:
        """(K, B, C) for x (K, B, D); `dropout` has the dropout multipliers (K, B, units) of each hidden layer."""
        with autocast(self.half, parameters, x):
            if self.trunk is not None:
                assert self.grid is not None
                x = self.trunk(parameters, self.grid.spread(x))
            logits = self.network(parameters, widen(x, self.network.widths[0]), dropout)[..., : self.classes]
        return logits.float() if logits.dtype == torch.bfloat16 else logits

    def answers(self, parameters: Parameters, x: Tensor) -> Tensor:
        """Logits (K, B, C) for prediction: averaged over an image and its mirror image if `mirrors`."""
        logits = self.logits(parameters, x)
        if not self.mirrors:
            return logits
        assert self.grid is not None
        mirrored = x.unflatten(-1, self.grid.shape).flip(-2).flatten(-3)
        return (logits + self.logits(parameters, mirrored)) / 2


@dataclasses.dataclass(frozen=True)
class Answers:
    """The loss of a batch: log-loss in nats and whether the most likely class is wrong, each (K, B)."""

    log_loss: Tensor
    error: Tensor
    loss: Tensor  # (K,)

    @property
    def stored(self) -> dict[str, Tensor]:
        """The terms that a record stores."""
        return {"log_loss": self.log_loss, "error": self.error}


def cross_entropy(logits: Tensor, y: Tensor, smoothing: Tensor) -> Answers:
    """-log p(y|x), and loss = mean((1 - s) * -log p(y|x) + s * mean_c -log p(c|x)), s the label smoothing.

    logits (K, B, C), classes y (K, B), smoothing (K, 1). (Szegedy et al. 2016, section 7.)
    """
    log_p = torch.log_softmax(logits, -1)
    log_loss = -log_p.gather(-1, y[..., None])[..., 0]
    error = (logits.detach().argmax(-1) != y).to(logits.dtype)
    loss = (1 - smoothing) * log_loss - smoothing * log_p.mean(-1)
    return Answers(log_loss.detach(), error, loss.mean(1))
