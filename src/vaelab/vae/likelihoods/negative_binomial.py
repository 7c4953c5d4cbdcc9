"""Negative binomial counts: more variable than Poisson's, by a learned dispersion per column."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.engine.networks import Parameters
from vaelab.vae.fused import NEGATIVE_BINOMIAL
from vaelab.vae.likelihoods.fitting import descend
from vaelab.vae.likelihoods.likelihood import precise
from vaelab.vae.likelihoods.poisson import Counts, drawn

DISPERSION = 8.0  # largest logarithm of a dispersion, and of its inverse


@dataclasses.dataclass(frozen=True)
class NegativeBinomial(Counts):
    """Mean m and variance m + m^2 / t, with log m the output and log t a parameter per column (Hilbe 2011).

    -log p(x) = log G(t) - log G(x + t) + log x! + t log(1 + m / t) + x log(1 + t / m)
    """

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {"likelihood.dispersion": (1, features)}

    def initial(self, x: Tensor, expected: Tensor | None = None) -> dict[str, Tensor]:
        """From mean and variance."""
        x = x.double()
        mean = x.nanmean(0).nan_to_num(0.0).expand(x.shape) if expected is None else torch.exp(expected.double())
        excess = ((x - mean).square() - mean).nanmean(0).nan_to_num(0.0)  # NaN where no row has a value
        square = mean.square().mean(0).clamp_min(1e-6)
        return {"likelihood.dispersion": (square / excess.clamp_min(1e-3 * square)).log().clamp(-2, 5)[None].float()}

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        log_t = self.log_dispersion(parameters)
        ratio = self.log_mean(outputs) - log_t
        many, t = precise(x), torch.exp(precise(log_t))
        choices = torch.lgamma(t) - torch.lgamma(many + t) + torch.lgamma(many + 1)
        return choices.to(x) + torch.exp(log_t) * functional.softplus(ratio) + x * functional.softplus(-ratio)

    def head_part(self, features: int) -> tuple[float, ...]:
        return (NEGATIVE_BINOMIAL,)

    @staticmethod
    def log_dispersion(parameters: Parameters) -> Tensor:
        return parameters["likelihood.dispersion"].clamp(-DISPERSION, DISPERSION)

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        mean = torch.exp(self.log_mean(outputs).double())
        t = torch.exp(self.log_dispersion(parameters).double()).expand(mean.shape)
        rate = torch._standard_gamma(t, generator=generator) * mean / t
        return drawn(rate, generator).to(outputs.dtype)

    def constant(self, x: Tensor, expected: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        own = {name: value[None] for name, value in self.initial(x, expected).items()}
        return descend(self.cost, x, self.start(x, expected), own, expected)
