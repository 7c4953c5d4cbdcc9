"""Student's t: like a Gaussian in the middle, with tails as heavy as the data have them."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from vaelab.engine.networks import Parameters
from vaelab.vae.fused import STUDENT
from vaelab.vae.likelihoods.fitting import descend
from vaelab.vae.likelihoods.likelihood import precise
from vaelab.vae.likelihoods.location_scale import Density

FREEDOM = 4.0  # degrees of freedom at the start
MOST = 12.0  # largest logarithm of the degrees of freedom beyond 1, and of its inverse


@dataclasses.dataclass(frozen=True)
class Student(Density):
    """-log p(x) = log s + log B(v / 2, 1 / 2) + log(v) / 2 + (v + 1) / 2 log(1 + r^2 / v), r = (x - m) / s.

    The degrees of freedom v = 1 + exp(raw) are learned with the scale, so that the mean exists (Lange et al. 1989).
    """

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(features) | {"likelihood.freedom": (1, features if self.per_feature else 1)}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        shape = self.shapes(x.shape[1])["likelihood.freedom"]
        return super().initial(x) | {"likelihood.freedom": torch.full(shape, FREEDOM - 1).log()}

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        s = self.scale_of(parameters)
        s = x.new_full((), s) if isinstance(s, float) else s.to(x)
        v = self.freedom(precise(parameters["likelihood.freedom"]))
        log_beta = torch.lgamma(v / 2) + torch.lgamma(torch.full_like(v, 0.5)) - torch.lgamma((v + 1) / 2)
        constant, v = torch.log(s) + (log_beta + 0.5 * torch.log(v)).to(x), v.to(x)
        return constant + 0.5 * (v + 1) * torch.log1p(((x - outputs) / s).square() / v)

    @staticmethod
    def freedom(raw: Tensor) -> Tensor:
        """v."""
        return 1 + torch.exp(raw.clamp(-MOST, MOST))

    def head_part(self, features: int) -> tuple[float, ...]:
        return (STUDENT, self.scale or 0.0, *self.least_scales(features))

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        v = self.freedom(parameters["likelihood.freedom"].double()).expand(outputs.shape)
        normal = torch.randn(outputs.shape, generator=generator, dtype=torch.float64, device=outputs.device)
        chi_square = 2 * torch._standard_gamma(v / 2, generator=generator)
        r = normal * torch.rsqrt(chi_square / v)
        return outputs + self.scale_of(parameters) * r.to(outputs.dtype)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = x.double()
        own = {name: value[None] for name, value in self.initial(x).items()}
        return descend(self.cost, x, self.start(x), own)

    def start(self, x: Tensor) -> Tensor:
        return x.double().nanmedian(0).values.nan_to_num(0.0)
