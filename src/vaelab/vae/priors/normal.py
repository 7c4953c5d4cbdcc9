"""The standard normal prior."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from vaelab.engine.networks import Parameters
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors.prior import Encode, Prior
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class StandardNormal(Prior):
    """The prior p(z) = N(0, I)."""

    is_standard: ClassVar = True
    shares_latent_dim: ClassVar = False

    @classmethod
    def for_spec(cls, spec: Spec, features: int, encode: Encode) -> StandardNormal:
        return cls()

    @property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
        return {}

    def initial(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {}

    def log_prob(self, z: Tensor, parameters: Parameters) -> Tensor:
        return -0.5 * z.square().sum(-1)

    def rate(self, q: Posterior, noise: Tensor, z: Tensor, parameters: Parameters) -> Tensor:
        return self.kl(q, parameters).sum(-1)

    def kl(self, q: Posterior, parameters: Parameters) -> Tensor:
        return 0.5 * torch.addcmul(torch.expm1(q.log_var) - q.log_var, q.mean, q.mean)

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        one = next(iter(parameters.values())).new_ones(1, 1, 1)
        return torch.zeros_like(one), one

    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        return normal
