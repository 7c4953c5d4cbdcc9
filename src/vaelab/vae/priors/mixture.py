"""A Gaussian mixture as the prior, learned with the model."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaelab.engine.networks import Parameters
from vaelab.errors import InputError
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors.normal import StandardNormal
from vaelab.vae.priors.prior import Encode, Prior
from vaelab.vae.spec import Spec


@functools.cache
def _triangle(latent: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """1 below the diagonal, and 1 on it, each (L, 1, L)."""
    one = torch.ones(latent, latent, dtype=dtype, device=device)
    return one.tril(-1)[:, None], one.diag().diag()[:, None]


class _LogDensity(torch.autograd.Function):
    """log sum_c pi_c N(z; mu_c, S_c) (K, n), with a manual gradient: autograd's many small steps would take half of a
    small model's time. The gradient of a mixture is that of its components, each weighted by its responsibility.
    """

    @staticmethod
    def forward(ctx: Any, prior: Mixture, z: Tensor, *parameters: Tensor) -> Tensor:
        """z (K, n, L); logits, mean, log_var and, if covariances are full, shear."""
        joint, whitened, root = prior.joint(z, *parameters)
        # The largest share is exp(largest - log sum), so one softmax, which is fast even for tiny shares, gives both.
        shares = torch.softmax(joint, -1)
        density = joint.amax(-1) - shares.amax(-1).log_()
        ctx.prior = prior
        ctx.save_for_backward(z, shares, whitened, root, *parameters)
        return density

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        z, shares, whitened, root, logits, mean, log_var, *shear = ctx.saved_tensors
        K, C, L = mean.shape
        shares = shares * upstream[0][..., None]  # (K, n, C)
        total = shares.sum(1)
        pulls = (whitened.view(K, -1, C, L) * shares[..., None]).view(K, -1, C * L)
        to_z = -torch.bmm(pulls, root.view(K, L, C * L).mT)
        pull = pulls.sum(1).view(K, 1, C, L)
        to_root = torch.addcmul(-torch.bmm(z.mT, pulls).view(K, L, C, L), mean.mT[..., None], pull)
        to_mean = (root * pull).sum(-1).mT
        to_log_var = -0.5 * (to_root * root).sum(1)
        to_log_var[..., : ctx.prior.latent_dim] -= 0.5 * total[..., None]
        to_logits = total - torch.softmax(logits[:, 0], -1) * total.sum(-1, keepdim=True)
        found = (None, to_z, to_logits[:, None], to_mean, to_log_var)
        if not shear:
            return found
        below, _ = _triangle(L, z.dtype, z.device)
        return *found, to_root.mul_(torch.exp(-0.5 * log_var)[:, None]).mul_(below)


@dataclasses.dataclass(frozen=True)
class Mixture(Prior):
    """The prior p(z) = sum_c pi_c N(z; mu_c, S_c), learned with the model (VaDE; Jiang et al. 2017, eq. 5).

    Parameters of a member: `prior.logits` (1, C), pi = softmax; `prior.mean` and `prior.log_var` (C, L); where
    covariances are full, `prior.shear` (L, C, L), of which only the part below the diagonal of each (L, L) is used:
    (z - mu_c) (I + shear_c) has independent coordinates of variance exp(log_var_c). VaDE's components are diagonal.

    The rate is E_q[log q(z|x) - log sum_c pi_c N(z; mu_c, S_c)], estimated from draws of z: the exact bound. VaDE
    trains on eq. 12 instead, which adds a factorised q(c|x) and so is never lower.

    Members of a stack share C and L: unlike with a standard normal, a padded dimension would have a density that
    depends on the component.
    """

    is_pretrained: ClassVar = True

    number: int  # C
    latent_dim: int
    full: bool = True

    @classmethod
    def for_spec(cls, spec: Spec, features: int, encode: Encode) -> Mixture:
        assert spec.covariance != "auto", "resolve the spec first"
        return cls(spec.components, spec.latent_dim, spec.covariance == "full")

    @classmethod
    def check(cls, spec: Spec, examples: int) -> None:
        if spec.components > examples:
            raise InputError(
                f"`components` must be at most the number of training examples, but got {spec.components} for "
                f"{examples}; choose fewer."
            )

    @property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        return self.shapes(self.latent_dim)

    def shapes(self, latent: int) -> dict[str, tuple[int, ...]]:
        C = self.number
        shapes: dict[str, tuple[int, ...]] = {
            "prior.logits": (1, C),
            "prior.mean": (C, latent),
            "prior.log_var": (C, latent),
        }
        return shapes | {"prior.shear": (latent, C, latent)} if self.full else shapes

    def initial(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {name: torch.zeros(shape) for name, shape in self.own_shapes.items()}

    def _own(self, parameters: Parameters) -> list[Tensor]:
        return [value for name, value in parameters.items() if name.startswith("prior")]

    def log_weights(self, parameters: Parameters) -> Tensor:
        """log pi (K, 1, C)."""
        return torch.log_softmax(parameters["prior.logits"], -1)

    def root(self, log_var: Tensor, shear: Tensor | None = None) -> Tensor:
        """(I + shear_c) / std_c (K, L, C, L): (z - mu_c) times it is standard normal under component c."""
        below, diagonal = _triangle(log_var.shape[-1], log_var.dtype, log_var.device)
        unit = diagonal if shear is None else torch.addcmul(diagonal, shear, below)
        return unit * torch.exp(-0.5 * log_var)[:, None]

    def joint(
        self, z: Tensor, logits: Tensor, mean: Tensor, log_var: Tensor, shear: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log pi_c N(z; mu_c, S_c) (K, n, C) without -L/2 log(2 pi), the whitened z (K, n, C L), and `root`."""
        K, C, L = mean.shape
        root = self.root(log_var, shear)
        centre = (root * mean.mT[..., None]).sum(1).view(K, 1, C * L)
        whitened = torch.baddbmm(centre, z, root.view(K, L, C * L), beta=-1)
        energy = whitened.square().view(K, -1, C, L).sum(-1)
        # Only here would padded dimensions matter: their log_var would have a gradient.
        scale = log_var[..., : self.latent_dim].sum(-1)[:, None]
        constant = torch.sub(torch.log_softmax(logits, -1), scale, alpha=0.5)
        return torch.sub(constant, energy, alpha=0.5), whitened, root

    def log_prob(self, z: Tensor, parameters: Parameters) -> Tensor:
        flat = z.reshape(len(z), -1, z.shape[-1])
        density: Tensor = _LogDensity.apply(self, flat, *self._own(parameters))
        return density.view(z.shape[:-1])

    def responsibilities(self, z: Tensor, parameters: Parameters) -> Tensor:
        """p(c|z) (K, ..., C); VaDE's q(c|x) at a draw of z (eq. 16)."""
        joint, _, _ = self.joint(z.reshape(len(z), -1, z.shape[-1]), *self._own(parameters))
        return torch.softmax(joint, -1).view(*z.shape[:-1], self.number)

    def rate(self, q: Posterior, noise: Tensor, z: Tensor, parameters: Parameters) -> Tensor:
        return q.log_prob(noise) - self.log_prob(z, parameters)

    def kl(self, q: Posterior, parameters: Parameters) -> Tensor:
        mean, variance = self.moments(parameters)
        scaled = Posterior((q.mean - mean) * variance.rsqrt(), q.log_var - variance.log())
        return StandardNormal().kl(scaled, parameters)

    def covariances(self, parameters: Parameters) -> Tensor:
        """S_c (K, C, L, L); padded dimensions are independent of the others, with variance 1."""
        unwhiten = self._unwhiten(parameters)
        covariances: Tensor = unwhiten.mT @ unwhiten
        return covariances

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        weights, means = self.log_weights(parameters).exp(), parameters["prior.mean"]
        variances = self._unwhiten(parameters).square().sum(-2)
        mean = weights @ means
        return mean, weights @ (variances + (means - mean).square())

    def _unwhiten(self, parameters: Parameters) -> Tensor:
        """The inverse of each component's root, (K, C, L, L)."""
        _, _, *rest = self._own(parameters)
        back: Tensor = torch.linalg.inv(self.root(*rest).transpose(1, 2))
        return back

    def occupied(self, parameters: Parameters) -> Tensor:
        log_weights = self.log_weights(parameters)[:, 0].double()
        return torch.exp(-(log_weights.exp() * log_weights).sum(-1)).cpu()

    def components(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        return self.log_weights(parameters)[:, 0].exp(), parameters["prior.mean"], self.covariances(parameters)

    def draw(self, normal: Tensor, uniform: Tensor, parameters: Parameters) -> Tensor:
        shares = self.log_weights(parameters)[0, 0].exp().cumsum(0)
        c = torch.searchsorted(shares, uniform * shares[-1], right=True).clamp_max(self.number - 1)
        own = slice(self.latent_dim)
        means, back = parameters["prior.mean"][0, c, own], self._unwhiten(parameters)[0, c, own, own]
        away: Tensor = normal[:, None] @ back  # (n, 1, L)
        return means + away[:, 0]
