"""The common base of location-scale densities; each has its own file."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar, Self

import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling
from vaelab.engine.networks import Parameters
from vaelab.vae.likelihoods.likelihood import Likelihood
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class LocationScale(Likelihood):
    """A location-scale density exp(-energy((x - m) / s)) / (s Z), m = outputs.

    `scale` fixes s; otherwise it is learned as least + exp(raw), one for all features or one per feature. The least
    scale keeps a density from growing without bound if data are nearly constant.
    """

    is_mass: ClassVar = False
    link: ClassVar = "identity"

    scale: float | None
    per_feature: bool
    least_scale: float

    head_code: ClassVar[int | None] = None  # of its energy in vae.fused.heads
    rounds: ClassVar[int]  # of alternating location and scale, when fitting the best model without latents

    @classmethod
    def for_spec(cls, spec: Spec, is_image: bool) -> Self:
        is_learned = isinstance(spec.sigma, str)
        per_feature = spec.sigma == "feature" or (spec.sigma == "auto" and not is_image)
        least = 1 / 256 if is_image else 1e-3
        return cls(
            None if is_learned else float(spec.sigma), is_learned and per_feature, least, **cls.energy_settings(spec)
        )

    @classmethod
    def energy_settings(cls, spec: Spec) -> dict[str, float]:
        """Settings that shape the energy, as further fields."""
        return {}

    @classmethod
    def scaling(cls, data: Dataset) -> Scaling:
        return Scaling.standardised(data)

    def check_rows(self, rows: npt.NDArray[Any], scaling: Scaling) -> None:
        """Every real number has a density."""

    def floor(self, x: Tensor) -> None:
        """None: a density is unbounded as it gets sharper."""

    @property
    @abc.abstractmethod
    def log_z(self) -> float:
        """log Z."""

    @abc.abstractmethod
    def energy(self, r: Tensor) -> Tensor:
        """Energy of residuals r in units of the scale."""

    @abc.abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """The quantile function: the residual with mass u below it."""

    @abc.abstractmethod
    def location(self, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
        """A step towards the maximum likelihood location (D,) of rows x (N, D), from m with scale s."""

    @abc.abstractmethod
    def spread(self, deviation: Tensor) -> Tensor:
        """The maximum likelihood scale (D,) for absolute deviations (N, D)."""

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {} if self.scale is not None else {"likelihood.scale": (1, features if self.per_feature else 1)}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        if self.scale is not None:
            return {}
        spread = x.double().std(0, correction=0) if self.per_feature else x.double().std(0, correction=0).mean()
        return {
            "likelihood.scale": torch.log((spread - self.least_scale).clamp_min(self.least_scale))
            .reshape(1, -1)
            .to(x.dtype)
        }

    def scale_of(self, parameters: Parameters) -> Tensor | float:
        """s: a number, or (K, 1, 1) or (K, 1, D)."""
        return self.scale if self.scale is not None else self.least_scale + torch.exp(parameters["likelihood.scale"])

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        s = self.scale_of(parameters)
        energy = self.energy((x - outputs) / s).sum(-1)
        features = outputs.shape[-1]
        if isinstance(s, float):
            return energy + features * (math.log(s) + self.log_z)
        return energy + (torch.log(s).expand(*s.shape[:-1], features).sum(-1) + features * self.log_z)

    def head_constants(self) -> tuple[float, ...] | None:
        if self.head_code is None:
            return None
        return (self.head_code, self.scale or 0.0, self.least_scale, self.log_z)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        u = torch.rand(outputs.shape, generator=generator, dtype=torch.float64, device=outputs.device)
        return outputs + self.scale_of(parameters) * self.quantile(u).to(outputs.dtype)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = x.double()
        m = x.median(0).values
        for _ in range(self.rounds):
            deviation = (x - m).abs()
            if self.scale is not None:
                s = torch.tensor(self.scale, dtype=x.dtype)
            else:
                s = self.spread(deviation if self.per_feature else deviation.reshape(-1, 1))
                s = s.clamp_min(self.least_scale)
            m = self.location(x, m, s)
        if self.scale is not None:
            return m, {}
        return m, {"likelihood.scale": torch.log((s - self.least_scale).clamp_min(1e-30)).reshape(1, 1, -1)}
