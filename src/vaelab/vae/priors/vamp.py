"""The VampPrior: the average of the encoder's posteriors at learned pseudo-inputs."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from vaelab.engine.networks import Parameters
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors.mixture import Mixture
from vaelab.vae.priors.prior import Encode, Prior
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class Vamp(Prior):
    """The prior p(z) = 1/C sum_c q(z|u_c) (Tomczak & Welling 2018, equation 9), a mixture of the encoder's posteriors.

    Parameters of a member: the pseudo-inputs `prior.inputs` (C, D) in the model's units, learned with the rest and
    initialised to training rows. The encoder sees them once per batch, without dropout.
    """

    mixture: Mixture
    features: int
    encode: Encode

    @classmethod
    def for_spec(cls, spec: Spec, features: int, encode: Encode) -> Vamp:
        return cls(Mixture(spec.components, spec.latent_dim, full=False), features, encode)

    @classmethod
    def check(cls, spec: Spec, examples: int) -> None:
        Mixture.check(spec, examples)

    @property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"prior.inputs": (self.mixture.number, self.features)}

    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
        return self.own_shapes

    def initial(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"prior.inputs": x[torch.randperm(len(x), generator=generator)[: self.mixture.number]].float()}

    def _mixture(self, parameters: Parameters) -> dict[str, Tensor]:
        """The parameters of the mixture: the encoded pseudo-inputs."""
        q = self.encode(parameters, parameters["prior.inputs"])
        even = q.mean.new_zeros(len(q.mean), 1, self.mixture.number)
        return {"prior.logits": even, "prior.mean": q.mean, "prior.log_var": q.log_var}

    def log_prob(self, z: Tensor, parameters: Parameters) -> Tensor:
        return self.mixture.log_prob(z, self._mixture(parameters))

    def rate(self, q: Posterior, noise: Tensor, z: Tensor, parameters: Parameters) -> Tensor:
        return self.mixture.rate(q, noise, z, self._mixture(parameters))

    def kl(self, q: Posterior, parameters: Parameters) -> Tensor:
        return self.mixture.kl(q, self._mixture(parameters))

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        return self.mixture.moments(self._mixture(parameters))

    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        return self.mixture.draw(normal, uniform, self._mixture(parameters))
