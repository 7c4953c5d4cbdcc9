"""The interface of a noise model p(x|z), as used by VAEs, data scaling, pages and evaluation."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data import Column, Dataset, Scaling
from vaelab.engine.networks import Parameters
from vaelab.errors import InputError
from vaelab.vae.likelihoods import COLUMN_LIKELIHOODS, LIKELIHOODS
from vaelab.vae.spec import Spec

Link = Literal["identity", "sigmoid"]


class ColumnLikelihood(abc.ABC):
    """p(x_d|z) of features of one kind, in the model's units (see data.Scaling) and in nats; independent given z.

    D features of x are described by `head(D)` outputs of the decoder. Leading axes are free: (K, B, D) in training,
    (K, S, B, D) with S draws.
    """

    is_mass: bool  # a probability mass; else a density, which depends on the unit of x
    neutral: ClassVar[float] = 0.0  # a value that it allows, in place of a missing one

    @classmethod
    @abc.abstractmethod
    def for_columns(cls, spec: Spec, columns: Sequence[Column], least: Tensor) -> Self:
        """The noise model of some columns; `least` (D,) are the least scales of a density."""

    def head(self, features: int) -> int:
        """Number of decoder outputs for this number of features."""
        return features

    @abc.abstractmethod
    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        """Shapes of its own learned parameters; their names begin with "likelihood."."""

    @abc.abstractmethod
    def initial(self, x: Tensor) -> dict[str, Tensor]:
        """Their initial values, given training rows (N, D), NaN where missing."""

    @abc.abstractmethod
    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        """-log p(x_d|z) (..., D) of each feature in nats, for decoder outputs (..., head(D)) and x (..., D)."""

    @abc.abstractmethod
    def mean(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        """E[x|z] (..., D); of categories and ordered levels the most likely one."""

    def expectation(self, outputs: Tensor, weights: Tensor, parameters: Parameters) -> Tensor:
        """E[x] (n, D) over draws of outputs (S, n, head(D)) with weights (S, n, 1) that add up to 1; of categories and
        ordered levels the most likely one.
        """
        return (weights * self.mean(outputs, parameters)).sum(0)

    @abc.abstractmethod
    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        """One draw of x|z (..., D)."""

    @abc.abstractmethod
    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs (head(D),) and own parameters (1, *shape) of the best model without latents for rows x (N, D), NaN
        where missing, in float64.
        """

    def refit(self, outputs: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Own parameters that suit rows x (N, D) with outputs (N, head(D)); those that stay as they are left out."""
        return {}

    def head_part(self, features: int) -> tuple[float, ...] | None:
        """As part of a table: its code and what its fused head needs (see vae.fused.mixed); None if it has none."""
        return None

    def start(self, x: Tensor) -> Tensor:
        """Outputs (head(D),) at which a decoder starts: near those of `constant`."""
        return self.constant(x)[0].clamp(-6, 6)


class Likelihood(ColumnLikelihood):
    """p(x|z) of all features of a data set."""

    link: ClassVar[Link | None]  # `mean` of one output, as the page's decoder computes it too; None: of its own kind

    @classmethod
    @abc.abstractmethod
    def for_spec(cls, spec: Spec, is_image: bool, scaling: Scaling | None = None) -> Self:
        """The noise model of a spec. Scales are relative to an image's range, or a column's standard deviation.

        scaling: of the data, with what is known of typed columns.
        """

    @classmethod
    def for_columns(cls, spec: Spec, columns: Sequence[Column], least: Tensor) -> Self:
        return cls.for_spec(spec, False)

    @classmethod
    @abc.abstractmethod
    def scaling(cls, data: Dataset, spec: Spec) -> Scaling:
        """The scaling between the data's own units and the model's; InputError if the data do not fit."""

    @abc.abstractmethod
    def check_rows(self, rows: npt.NDArray[Any], scaling: Scaling) -> None:
        """Raise InputError for new rows (n, D) in the data's own units that this noise model does not allow."""

    def log_jacobian(self, scaling: Scaling, features: int) -> float:
        """What turns a cost in the model's units into one in the data's own, in nats per example."""
        return 0.0 if self.is_mass else scaling.log_jacobian(features)

    @property
    def is_dense(self) -> bool:
        """Whether every row has a density over all of its features, so that other densities can be compared."""
        return not self.is_mass

    def jacobian(self, x: Tensor) -> Tensor:
        """What turns the cost of complete rows x (n, D), beside `log_jacobian`, into one in the data's own units."""
        return x.new_zeros(len(x))

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        """-log p(x|z) (...,) in nats, the sum of the features' costs."""
        return self.cost(outputs, x, parameters).sum(-1)

    def head_constants(self) -> tuple[float, ...] | None:
        """What its fused head needs, first the head's code (see vae.fused.heads); None if it has none, so that
        training computes `nll` and its gradient by autograd.
        """
        return None

    def head_rows(self, x: Tensor) -> Tensor:
        """Rows x (n, D) with what else its fused head reads."""
        return x

    @abc.abstractmethod
    def floor(self, x: Tensor) -> Tensor | None:
        """The lower bound for any model, in nats for each value of rows x (n, D); None if there is no such floor."""


def precise(x: Tensor) -> Tensor:
    """x in double precision, where the device has that: log-gamma of large numbers has no digits to spare."""
    return x if x.device.type == "mps" else x.double()


@functools.lru_cache(maxsize=64)
def vector(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers as a tensor, made once: a captured step cannot copy from the host."""
    return torch.tensor(values, dtype=dtype, device=device)


def refuse_typed(data: Dataset, name: str) -> None:
    """Reject a table that one noise model of complete numbers cannot describe."""
    gaps = [column.name or str(j) for j, column in enumerate(data.columns) if column.missing]
    texts = [column.name for column in data.columns if column.has_levels and not column.is_numeric]
    if gaps or texts:
        what = f"missing values, as in column {gaps[0]!r}" if gaps else f"text, as in column {texts[0]!r}"
        raise InputError(
            f"likelihood = {name} needs complete numbers, but the table has {what}; leave it out: then each column is "
            "described by its type."
        )


def likelihood_type(name: str) -> type[Likelihood]:
    """The noise model of this name."""
    found = LIKELIHOODS[name]
    assert issubclass(found, Likelihood), f"{found.__name__} is registered as a likelihood, but is not one"
    return found


def column_likelihood_type(name: str) -> type[ColumnLikelihood]:
    """The noise model of columns of this name."""
    found = COLUMN_LIKELIHOODS[name]
    assert issubclass(found, ColumnLikelihood), f"{found.__name__} is registered as a likelihood, but is not one"
    return found


def likelihood_for(spec: Spec, is_image: bool, scaling: Scaling | None = None) -> Likelihood:
    """The noise model of a resolved spec, for images or table rows."""
    return likelihood_type(spec.likelihood).for_spec(spec, is_image, scaling)
