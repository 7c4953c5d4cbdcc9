"""p(z) and q(z|x): the densities over the latent space. Pure functions of the parameters, in nats."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from torch import Tensor

from vaelab.networks import Parameters
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
    """The prior p(z) = sum_c pi_c N(z; mu_c, S_c), learned with the model (VaDE; Jiang et al. 2017, eq. 5).

    Parameters of a member: `prior.logits` (1, C), pi = softmax; `prior.mean` and `prior.log_var` (C, L); where
    covariances are full, `prior.shear` (C, L, L), of which the part below the diagonal counts: (z - mu_c) (I + shear_c)
    has independent coordinates of variance exp(log_var_c). VaDE's own components are diagonal.

    The rate is E_q[log q(z|x) - log sum_c pi_c N(z; mu_c, S_c)], by draws of z: the exact bound. VaDE trains on eq. 12
    instead, which adds a factorised q(c|x) and so never lies below it.

    Members of a stack share C and L: unlike a standard normal, a padded dimension would cost a density that depends
    on the component.
    """

    components: int
    latent_dim: int
    full: bool = False

    @property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        return self.shapes(self.latent_dim)

    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
        C = self.components
        shapes: dict[str, tuple[int, ...]] = {
            "prior.logits": (1, C),
            "prior.mean": (C, latent),
            "prior.log_var": (C, latent),
        }
        return shapes | {"prior.shear": (C, latent, latent)} if self.full else shapes

    def log_weights(self, parameters: Parameters) -> Tensor:
        """log pi (K, 1, C)."""
        return torch.log_softmax(parameters["prior.logits"], -1)

    def _shear(self, parameters: Parameters) -> Tensor:
        """I + shear (K, C, L, L), lower triangular."""
        shear = parameters["prior.shear"]
        return torch.tril(shear, -1) + torch.eye(shear.shape[-1], dtype=shear.dtype, device=shear.device)

    def log_joint(self, z: Tensor, parameters: Parameters) -> Tensor:
        """log pi_c N(z; mu_c, S_c) (K, ..., C), without -L/2 log(2 pi)."""
        mean, log_var = parameters["prior.mean"], parameters["prior.log_var"]  # (K, C, L)
        K, C, L = mean.shape
        flat = z.reshape(K, -1, L)
        if self.full:
            shear = self._shear(parameters)
            centre = (mean[:, :, None] @ shear).view(K, 1, C * L)
            away = torch.baddbmm(centre, flat, shear.transpose(1, 2).reshape(K, L, C * L), beta=-1).view(K, -1, C, L)
        else:
            away = flat[:, :, None] - mean[:, None]
        energy = (away.square() * torch.exp(-log_var)[:, None]).sum(-1)  # (K, n, C)
        # Only here would padded dimensions count: their log_var would have a gradient.
        scale = log_var[..., : self.latent_dim].sum(-1)
        joint = torch.add(self.log_weights(parameters) - 0.5 * scale[:, None], energy, alpha=-0.5)
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

    def covariances(self, parameters: Parameters) -> Tensor:
        """S_c (K, C, L, L); padded dimensions are independent of the others, with variance 1."""
        variances = torch.exp(parameters["prior.log_var"])
        if not self.full:
            return torch.diag_embed(variances)
        back = torch.linalg.inv(self._shear(parameters))
        covariances: Tensor = back.mT @ (variances[..., None] * back)
        return covariances

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        weights, means = self.log_weights(parameters).exp(), parameters["prior.mean"]
        variances = self.covariances(parameters).diagonal(dim1=-2, dim2=-1)
        mean = weights @ means
        return mean, weights @ (variances + (means - mean).square())

    def occupied(self, parameters: Parameters) -> Tensor:
        log_weights = self.log_weights(parameters)[:, 0].double()
        return torch.exp(-(log_weights.exp() * log_weights).sum(-1)).cpu()

    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        shares = self.log_weights(parameters)[0, 0].exp().cumsum(0)
        c = torch.searchsorted(shares, uniform * shares[-1], right=True).clamp_max(self.components - 1)
        own = slice(self.latent_dim)
        means, log_vars = (parameters[f"prior.{name}"][0, c, own] for name in ("mean", "log_var"))
        away = torch.exp(0.5 * log_vars) * normal
        if self.full:
            back = torch.linalg.inv(self._shear(parameters)[0, :, own, own])
            away = (away[:, None] @ back[c])[:, 0]
        return means + away


def prior_for(spec: Spec) -> Prior:
    """The prior that a spec names."""
    return (
        StandardNormal()
        if spec.prior == "normal"
        else Mixture(spec.components, spec.latent_dim, spec.covariance == "full")
    )
