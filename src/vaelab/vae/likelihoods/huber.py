"""The likelihood with Huber's energy: Gaussian in the middle, exponential in the tails."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.vae.fused import HUBER
from vaelab.vae.likelihoods.location_scale import LocationScale
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class Huber(LocationScale):
    """energy(r) = r^2 / 2 for |r| <= d, d |r| - d^2 / 2 beyond.

    Z = sqrt(2 pi) erf(d / sqrt 2) + (2 / d) exp(-d^2 / 2).
    """

    head_code: ClassVar = HUBER
    rounds: ClassVar = 20

    threshold: float = 1.0  # in units of the scale

    @classmethod
    def energy_settings(cls, spec: Spec) -> dict[str, float]:
        return {"threshold": spec.threshold}

    def head_constants(self) -> tuple[float, ...]:
        return (*(super().head_constants() or ()), self.threshold)

    def head_part(self, features: int) -> tuple[float, ...]:
        return (*(super().head_part(features) or ()), self.threshold)

    @property
    def _core(self) -> float:
        return math.sqrt(2 * math.pi) * math.erf(self.threshold / math.sqrt(2))

    @property
    def _tails(self) -> float:
        return 2 / self.threshold * math.exp(-0.5 * self.threshold**2)

    @property
    def log_z(self) -> float:
        return math.log(self._core + self._tails)

    def energy(self, r: Tensor) -> Tensor:
        return functional.huber_loss(r, torch.zeros_like(r), reduction="none", delta=self.threshold)

    def quantile(self, u: Tensor) -> Tensor:
        d, core, tails = self.threshold, self._core, self._tails
        z = core + tails
        side = (0.5 - (u - 0.5).abs()).clamp_min(1e-300) * z  # mass in the nearer tail, times z
        tail = d - torch.log(side / (0.5 * tails)) / d
        middle = -torch.special.ndtri(0.5 - (0.5 * z - side) / math.sqrt(2 * math.pi)).clamp(-d, d)
        return torch.sign(u - 0.5) * torch.where(side < 0.5 * tails, tail, middle)

    def location(self, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
        weight = self.threshold / ((x - m).abs() / s).clamp_min(self.threshold)  # one reweighted mean (Huber 1964)
        return (weight * x).nansum(0) / weight.nansum(0)

    def spread(self, deviation: Tensor) -> Tensor:
        # Maximum likelihood: the mean of r energy'(r) is 1, r = deviation / s. It falls with s, so bisection finds it.
        top = deviation.square().nanmean(0).sqrt().clamp_min(1e-12)
        low, high = 1e-6 * top, 10 * top
        for _ in range(50):
            s = (low * high).sqrt()
            r = deviation / s
            too_small = (r * r.clamp_max(self.threshold)).nanmean(0) > 1
            low, high = torch.where(too_small, s, low), torch.where(too_small, high, s)
        return (low * high).sqrt()
