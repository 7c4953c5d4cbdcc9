"""The interface of a prior p(z), as used by VAEs, training, pages and evaluation."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor

from vaelab.engine.networks import Parameters
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors import PRIORS
from vaelab.vae.spec import Spec

Encode = Callable[[Parameters, Tensor], Posterior]  # x (K, B, D) -> q(z|x)


class Prior(abc.ABC):
    """p(z). z is (K, ..., L), padded dimensions are 0 and have no effect. Values are in nats."""

    is_standard: ClassVar[bool] = False  # N(0, I): pages use its quantiles, and conditional models sample from it
    shares_latent_dim: ClassVar[bool] = True  # members of a stack must share latent_dim: padding would change a density
    is_pretrained: ClassVar[bool] = False  # fitted to the latents of an autoencoder trained in the first epochs

    @classmethod
    @abc.abstractmethod
    def for_spec(cls, spec: Spec, features: int, encode: Encode) -> Self:
        """The prior of a spec, for examples with D = `features` and a model's encoder."""

    @classmethod  # noqa: B027, most priors allow any number
    def check(cls, spec: Spec, examples: int) -> None:
        """Raise InputError if the spec does not suit this number of training examples."""

    @abc.abstractmethod
    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
        """Shapes of its parameters, padded for `latent` padded dimensions."""

    @property
    @abc.abstractmethod
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of its parameters without padding."""

    @abc.abstractmethod
    def initial(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Its initial parameters without padding, for training rows x (n, D)."""

    @abc.abstractmethod
    def log_prob(self, z: Tensor, parameters: Parameters) -> Tensor:
        """log p(z) in nats (K, ...), without -L/2 log(2 pi) (see Posterior.log_prob)."""

    @abc.abstractmethod
    def rate(self, q: Posterior, noise: Tensor, z: Tensor, parameters: Parameters) -> Tensor:
        """KL(q || p) in nats (K, ..., B): exact, or an unbiased estimate from the draw z = mean + std * noise."""

    @abc.abstractmethod
    def kl(self, q: Posterior, parameters: Parameters) -> Tensor:
        """KL per dimension in nats (K, B, L) of q against a Gaussian with the prior's mean and variance."""

    @abc.abstractmethod
    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Mean and variance per dimension, each (K, 1, L); 0 and 1 in padded dimensions."""

    def occupied(self, parameters: Parameters) -> Tensor | None:
        """exp H(pi) (K,): effective number of mixture components in use, from 1 to C; None without components."""
        return None

    def responsibilities(self, z: Tensor, parameters: Parameters) -> Tensor | None:
        """p(c|z) (K, ..., C) if the prior learns clusters; else None."""
        return None

    def components(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor] | None:
        """Weights (K, C), means (K, C, L) and covariances (K, C, L, L) if the prior learns clusters; else None."""
        return None

    @abc.abstractmethod
    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        """z (n, latent_dim) of the first member, from standard normals (n, latent_dim) and uniforms (n,)."""


def prior_type(name: str) -> type[Prior]:
    """The prior of this name."""
    found = PRIORS[name]
    assert issubclass(found, Prior), f"{found.__name__} is registered as a prior, but is not one"
    return found
