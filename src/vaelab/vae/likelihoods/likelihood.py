"""The interface of a noise model p(x|z), as used by VAEs, data scaling, pages and evaluation."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Literal, Self

import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling
from vaelab.engine.networks import Parameters
from vaelab.vae.likelihoods import LIKELIHOODS
from vaelab.vae.spec import Spec


class Likelihood(abc.ABC):
    """p(x|z) in the model's units (see data.Scaling) and in nats; features are summed.

    D features of x are described by `head(D)` outputs of the decoder. Leading axes are free: (K, B, D) in training,
    (K, S, B, D) with S draws.
    """

    is_mass: ClassVar[bool]  # a probability mass; else a density, which depends on the unit of x
    link: ClassVar[Literal["identity", "sigmoid"]]  # `mean` of one output, as the page's decoder computes it too

    @classmethod
    @abc.abstractmethod
    def for_spec(cls, spec: Spec, is_image: bool) -> Self:
        """The noise model of a spec. Scales are relative to an image's range, or a column's standard deviation."""

    @classmethod
    @abc.abstractmethod
    def scaling(cls, data: Dataset) -> Scaling:
        """The scaling between the data's own units and the model's; InputError if the data do not fit."""

    @abc.abstractmethod
    def check_rows(self, rows: npt.NDArray[Any], scaling: Scaling) -> None:
        """Raise InputError for new rows (n, D) in the data's own units that this noise model does not allow."""

    def head(self, features: int) -> int:
        """Number of decoder outputs for this number of features."""
        return features

    @abc.abstractmethod
    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        """Shapes of its own learned parameters; their names begin with "likelihood."."""

    @abc.abstractmethod
    def initial(self, x: Tensor) -> dict[str, Tensor]:
        """Their initial values, given training rows (N, D)."""

    @abc.abstractmethod
    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        """-log p(x|z) (...,) in nats for decoder outputs (..., head(D)) and x (..., D)."""

    def head_constants(self) -> tuple[float, ...] | None:
        """What its fused head needs, first the head's code (see vae.fused.heads); None if it has none, so that
        training computes `nll` and its gradient by autograd.
        """
        return None

    @abc.abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """E[x|z] (..., D)."""

    @abc.abstractmethod
    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        """One draw of x|z (..., D)."""

    @abc.abstractmethod
    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs (head(D),) and own parameters (1, *shape) of the best model without latents for rows x (N, D), in
        float64.
        """

    @abc.abstractmethod
    def floor(self, x: Tensor) -> Tensor | None:
        """The lower bound for any model, in nats for each value of rows x (n, D); None if there is no such floor."""


def likelihood_type(name: str) -> type[Likelihood]:
    """The noise model of this name."""
    found = LIKELIHOODS[name]
    assert issubclass(found, Likelihood), f"{found.__name__} is registered as a likelihood, but is not one"
    return found


def likelihood_for(spec: Spec, is_image: bool) -> Likelihood:
    """The noise model of a resolved spec, for images or table rows."""
    return likelihood_type(spec.likelihood).for_spec(spec, is_image)
