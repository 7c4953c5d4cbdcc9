"""The Gaussian likelihood."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from vaelab.vae.fused import GAUSSIAN
from vaelab.vae.likelihoods.location_scale import LocationScale


@dataclasses.dataclass(frozen=True)
class Gaussian(LocationScale):
    """energy(r) = r^2 / 2, Z = sqrt(2 pi)."""

    head_code: ClassVar = GAUSSIAN
    rounds: ClassVar = 2  # of alternating location and scale; the second round's scale is about the final location

    @property
    def log_z(self) -> float:
        return 0.5 * math.log(2 * math.pi)

    def energy(self, r: Tensor) -> Tensor:
        return r.square() * 0.5

    def quantile(self, u: Tensor) -> Tensor:
        standard: Tensor = torch.special.ndtri(u.clamp(1e-16, 1 - 1e-16))
        return standard

    def location(self, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
        return x.nanmean(0)

    def spread(self, deviation: Tensor) -> Tensor:
        return deviation.square().nanmean(0).sqrt()
