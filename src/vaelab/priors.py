"""p(z) and q(z|x): the densities over the latent space. Pure functions of the parameters, in nats."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from vaelab.networks import LINE, Parameters
from vaelab.spec import Spec


@dataclasses.dataclass(frozen=True)
class Posterior:
    """q(z|x): a diagonal Gaussian per member and example; `mean` and `log_var` are (K, B, L)."""

    mean: Tensor
    log_var: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """z = mean + std * noise, for standard normal noise (K, B, L)."""
        return torch.addcmul(self.mean, torch.exp(0.5 * self.log_var), noise)

    def log_prob(self, noise: Tensor) -> Tensor:
        """log q(z|x) in nats (..., B) of the draw z = mean + std * noise, for noise (..., B, L).

        Without -L/2 log(2 pi), which cancels against the prior's: so padded dimensions, whose noise is exactly 0, add
        exactly 0. Their log_var must not count even while it is 0: its gradient would make q in padding ever wider.
        """
        own = noise != 0  # a normal that is 0 by chance, one in 10^7, leaves out its own log_var
        return -0.5 * torch.addcmul(noise.square(), self.log_var, own.to(noise.dtype)).sum(-1)

    def repeated(self) -> Posterior:
        """The same with an axis for several draws, (K, 1, B, L)."""
        return Posterior(self.mean[:, None], self.log_var[:, None])


class Prior(Protocol):
    """What the model asks of p(z). z is (K, ..., L), padded dimensions are 0 in it and count for nothing."""

    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
        """Shapes of its parameters, padded for `latent` padded dimensions."""

    @property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of its parameters without padding."""

    def log_prob(self, z: Tensor, parameters: Parameters) -> Tensor:
        """log p(z) in nats (K, ...), without -L/2 log(2 pi) (see Posterior.log_prob)."""

    def rate(self, q: Posterior, noise: Tensor, z: Tensor, parameters: Parameters) -> Tensor:
        """KL(q || p) in nats (K, ..., B): exact, or an unbiased estimate by the draw z = mean + std * noise."""

    def kl(self, q: Posterior, parameters: Parameters) -> Tensor:
        """KL per dimension in nats (K, B, L) of q against a Gaussian with the prior's mean and variance."""

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Mean and variance per dimension, each (K, 1, L); 0 and 1 in padded dimensions."""

    def occupied(self, parameters: Parameters) -> Tensor | None:
        """exp H(pi) (K,): how many of a mixture's components are in use, from 1 to C; None without components."""

    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        """z (n, latent_dim) of the first member, from standard normals (n, latent_dim) and uniforms (n,)."""


@dataclasses.dataclass(frozen=True)
class StandardNormal:
    """The prior p(z) = N(0, I)."""

    @property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
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

    def occupied(self, parameters: Parameters) -> None:
        return None

    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        return normal


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The prior p(z) = sum_c pi_c N(z; mu_c, diag s_c), learned with the model (VaDE; Jiang et al. 2017, eq. 5).

    Parameters of a member: `prior.logits` (1, C), pi = softmax; `prior.mean` and `prior.log_var` (C, L).

    The rate is E_q[log q(z|x) - log sum_c pi_c N(z; mu_c, s_c)], by draws of z: the exact bound. VaDE trains on eq. 12
    instead, which adds a factorised q(c|x) and so never lies below it.

    Members of a stack share C and L: unlike a standard normal, a padded dimension would cost a density that depends
    on the component.
    """

    components: int
    latent_dim: int

    @property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes(self.components, self.latent_dim)

    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
        return self._shapes(self.components + -self.components % LINE, latent)

    def _shapes(self, components: int, latent: int) -> dict[str, tuple[int, ...]]:
        each = (components, latent)
        return {"prior.logits": (1, components), "prior.mean": each, "prior.log_var": each}

    def log_weights(self, parameters: Parameters) -> Tensor:
        """log pi (K, 1, C)."""
        return torch.log_softmax(parameters["prior.logits"][..., : self.components], -1)

    def log_joint(self, z: Tensor, parameters: Parameters) -> Tensor:
        """log pi_c N(z; mu_c, s_c) (K, ..., C), without -L/2 log(2 pi).

        The square (z - mu)^2 / s is multiplied out, so that products do the work; in float32 that costs about
        1e-7 mu^2 / s nats, which is little as long as components are not hundreds of deviations away from 0.
        """
        C, mean, log_var = self.components, parameters["prior.mean"], parameters["prior.log_var"]
        flat = z.reshape(len(z), -1, z.shape[-1])
        precision = torch.exp(-log_var)
        linear = mean * precision
        # Only here would padded dimensions count: their log_var would have a gradient.
        own = torch.addcmul(log_var, mean, linear)[:, :C, : self.latent_dim].sum(-1)
        crossed = torch.bmm(flat, linear.mT)
        joint = torch.baddbmm(crossed, flat.square(), precision.mT, alpha=-0.5)[..., :C]
        joint = joint + (self.log_weights(parameters) - 0.5 * own[:, None])
        return joint.view(*z.shape[:-1], C)

    def log_prob(self, z: Tensor, parameters: Parameters) -> Tensor:
        return torch.logsumexp(self.log_joint(z, parameters), -1)

    def responsibilities(self, z: Tensor, parameters: Parameters) -> Tensor:
        """p(c|z) (K, ..., C); VaDE's q(c|x) at a draw of z (eq. 16)."""
        return torch.softmax(self.log_joint(z, parameters), -1)

    def rate(self, q: Posterior, noise: Tensor, z: Tensor, parameters: Parameters) -> Tensor:
        return q.log_prob(noise) - self.log_prob(z, parameters)

    def kl(self, q: Posterior, parameters: Parameters) -> Tensor:
        mean, variance = self.moments(parameters)
        scaled = Posterior((q.mean - mean) * variance.rsqrt(), q.log_var - variance.log())
        return StandardNormal().kl(scaled, parameters)

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        C, weights = self.components, self.log_weights(parameters).exp()
        means, log_vars = parameters["prior.mean"][:, :C], parameters["prior.log_var"][:, :C]
        mean = weights @ means
        return mean, weights @ (torch.exp(log_vars) + (means - mean).square())

    def occupied(self, parameters: Parameters) -> Tensor:
        log_weights = self.log_weights(parameters)[:, 0].double()
        return torch.exp(-(log_weights.exp() * log_weights).sum(-1)).cpu()

    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        shares = self.log_weights(parameters)[0, 0].exp().cumsum(0)
        c = torch.searchsorted(shares, uniform * shares[-1], right=True).clamp_max(self.components - 1)
        means, log_vars = (parameters[f"prior.{name}"][0, c, : self.latent_dim] for name in ("mean", "log_var"))
        return means + torch.exp(0.5 * log_vars) * normal


def prior_for(spec: Spec) -> Prior:
    """The prior that a spec names."""
    return StandardNormal() if spec.prior == "normal" else Mixture(spec.components, spec.latent_dim)
