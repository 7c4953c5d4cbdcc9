"""The common base of location-scale densities; each has its own file."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data import Column, Dataset, Scaling
from vaelab.data.scaling import LEAST_SCALE
from vaelab.engine.networks import Parameters
from vaelab.vae.likelihoods.likelihood import Likelihood, refuse_typed, vector
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class Density(Likelihood):
    """A density whose location is the output, with a scale s, in standardised units.

    `scale` fixes s; otherwise it is learned as least + exp(raw), one for all features or one per feature. The least
    scale keeps a density from growing without bound if data are nearly constant.
    """

    is_mass = False
    link: ClassVar = "identity"

    scale: float | None
    per_feature: bool
    least_scale: float | tuple[float, ...]  # of each feature, or the same for all

    @classmethod
    def for_spec(cls, spec: Spec, is_image: bool, scaling: Scaling | None = None) -> Self:
        is_learned = isinstance(spec.sigma, str)
        per_feature = spec.sigma == "feature" or (spec.sigma == "auto" and not is_image)
        least = 1 / 256 if is_image else LEAST_SCALE
        return cls(
            None if is_learned else float(spec.sigma), is_learned and per_feature, least, **cls.energy_settings(spec)
        )

    @classmethod
    def for_columns(cls, spec: Spec, columns: Sequence[Column], least: Tensor) -> Self:
        """A scale per column; a fixed `sigma` is in units of the columns' standard deviation."""
        own = cls.for_spec(spec, False)
        return dataclasses.replace(own, per_feature=own.scale is None, least_scale=tuple(least.tolist()))

    @classmethod
    def energy_settings(cls, spec: Spec) -> dict[str, float]:
        """Settings that shape the energy, as further fields."""
        return {}

    @classmethod
    def scaling(cls, data: Dataset, spec: Spec) -> Scaling:
        refuse_typed(data, spec.likelihood)
        return Scaling.standardised(data)

    def check_rows(self, rows: npt.NDArray[Any], scaling: Scaling) -> None:
        """Every real number has a density."""

    def floor(self, x: Tensor) -> None:
        """None: a density is unbounded as it gets sharper."""

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {} if self.scale is not None else {"likelihood.scale": (1, features if self.per_feature else 1)}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        if self.scale is not None:
            return {}
        x = x.double()
        spread = (x - x.nanmean(0)).square().nanmean(0).sqrt()
        spread = (spread if self.per_feature else spread.nanmean()).nan_to_num(1.0)  # NaN where no row has a value
        least = self._least(x)
        return {"likelihood.scale": torch.log((spread - least).clamp_min(least)).reshape(1, -1).float()}

    def refit(self, outputs: Tensor, x: Tensor) -> dict[str, Tensor]:
        return {name: value for name, value in self.initial(x - outputs).items() if name == "likelihood.scale"}

    def scale_of(self, parameters: Parameters) -> Tensor | float:
        """s: a number, or (K, 1, 1) or (K, 1, D)."""
        if self.scale is not None:
            return self.scale
        raw = parameters["likelihood.scale"]
        return (self.least_scale if isinstance(self.least_scale, float) else self._least(raw)) + torch.exp(raw)

    def _least(self, like: Tensor) -> Tensor:
        """The least scales, as a tensor."""
        values = (self.least_scale,) if isinstance(self.least_scale, float) else self.least_scale
        return vector(values, like.dtype, like.device)

    def least_scales(self, features: int) -> list[float]:
        """Of each feature."""
        return [self.least_scale] * features if isinstance(self.least_scale, float) else list(self.least_scale)

    def mean(self, outputs: Tensor, parameters: Parameters) -> Tensor:
        return outputs


@dataclasses.dataclass(frozen=True)
class LocationScale(Density):
    """A location-scale density exp(-energy((x - m) / s)) / (s Z), m = outputs."""

    head_code: ClassVar[int | None] = None  # of its energy in vae.fused.heads
    rounds: ClassVar[int]  # of alternating location and scale, when fitting the best model without latents

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

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        s = self.scale_of(parameters)
        log_s = math.log(s) if isinstance(s, float) else torch.log(s)
        return self.energy((x - outputs) / s) + (log_s + self.log_z)

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        s = self.scale_of(parameters)
        energy = self.energy((x - outputs) / s).sum(-1)
        features = outputs.shape[-1]
        if isinstance(s, float):
            return energy + features * (math.log(s) + self.log_z)
        return energy + (torch.log(s).expand(*s.shape[:-1], features).sum(-1) + features * self.log_z)

    def head_constants(self) -> tuple[float, ...] | None:
        if self.head_code is None or not isinstance(self.least_scale, float):
            return None
        return (self.head_code, self.scale or 0.0, self.least_scale, self.log_z)

    def head_part(self, features: int) -> tuple[float, ...] | None:
        least = self.least_scales(features)
        return None if self.head_code is None else (self.head_code, self.scale or 0.0, self.log_z, *least)

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        u = torch.rand(outputs.shape, generator=generator, dtype=torch.float64, device=outputs.device)
        return outputs + self.scale_of(parameters) * self.quantile(u).to(outputs.dtype)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = x.double()
        m = x.nanmedian(0).values
        least = self._least(x)
        for _ in range(self.rounds):
            deviation = (x - m).abs()
            if self.scale is not None:
                s = torch.tensor(self.scale, dtype=x.dtype, device=x.device)
            else:
                s = self.spread(deviation if self.per_feature else deviation.reshape(-1, 1))
                s = s.clamp_min(least)
            m = self.location(x, m, s)
        m, s = m.nan_to_num(0.0), s.nan_to_num(1.0)  # NaN where no row has a value
        if self.scale is not None:
            return m, {}
        return m, {"likelihood.scale": torch.log((s - least).clamp_min(1e-30)).reshape(1, 1, -1)}
