"""The network of a classifier, for K stacked members: rows to logits, and what a batch of answers costs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaelab.classifier.spec import ClassifierSpec
from vaelab.model import widen
from vaelab.networks import LINE, MLP, Layout, Parameters, bucket, initial_dense


def padded_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Padded widths of hidden layers. Only the first meets many features: behind it padding costs little, and a coarse
    bucket lets more trials share a stack.

    >>> padded_sizes((20, 20, 200))
    (64, 128, 256)
    """
    return tuple(bucket(size, 128 if i else 64) for i, size in enumerate(sizes))


@dataclasses.dataclass(frozen=True)
class ClassifierModel:
    """The shapes that the members of one stack share: x (K, B, D) to logits (K, B, C)."""

    features: int
    hidden: tuple[int, ...]  # padded
    classes: int
    activation: str

    @classmethod
    def for_spec(cls, spec: ClassifierSpec, features: int, classes: int) -> ClassifierModel:
        return cls(features, padded_sizes(spec.hidden_sizes), classes, spec.activation)

    @functools.cached_property
    def network(self) -> MLP:
        """With padding: of features, units and classes (see networks.LINE)."""
        wide = (self.features + -self.features % LINE, *self.hidden, self.classes + -self.classes % LINE)
        return MLP("network", wide, self.activation)

    @functools.cached_property
    def layout(self) -> Layout:
        return Layout(self.network.shapes)

    @functools.cached_property
    def largest_layer(self) -> int:
        """Weights of the largest layer, padding included."""
        return max(block.size for block in self.layout)

    @property
    def dropout_units(self) -> int:
        """Hidden units per example that dropout draws a number for."""
        return sum(self.hidden)

    def own_shapes(self, spec: ClassifierSpec) -> dict[str, tuple[int, ...]]:
        """Shapes of a member's parameters without padding."""
        return MLP("network", (self.features, *spec.hidden_sizes, self.classes), self.activation).shapes

    def initial(self, spec: ClassifierSpec, shares: Tensor, generator: torch.Generator) -> Tensor:
        """One member's initial parameters, a padded row (P,); the answers start at the classes' shares (C,)."""
        weights = initial_dense("network", (self.features, *spec.hidden_sizes, self.classes), generator)
        weights[f"network.{len(self.hidden)}.bias"] = shares.float().log().clamp_min(-12)[None]
        return self.pad(weights, spec)

    def pad(self, weights: Mapping[str, Tensor], spec: ClassifierSpec) -> Tensor:
        """A member's own weights as a padded row (P,)."""
        return self.layout.pad(weights)

    def unpad(self, row: Tensor, spec: ClassifierSpec) -> dict[str, Tensor]:
        """The inverse of `pad`."""
        return self.layout.unpad(row, self.own_shapes(spec))

    def logits(self, parameters: Parameters, x: Tensor, keep: Sequence[Tensor] = ()) -> Tensor:
        """(K, B, C) for x (K, B, D); `keep` holds dropout's multipliers (K, B, units) of each hidden layer."""
        return self.network(parameters, widen(x, self.network.widths[0]), keep)[..., : self.classes]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What the answers to a batch cost: log-loss in nats and whether the likeliest class is wrong, each (K, B)."""

    log_loss: Tensor
    error: Tensor
    loss: Tensor  # (K,)

    @property
    def stored(self) -> dict[str, Tensor]:
        """The terms that a record keeps."""
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
