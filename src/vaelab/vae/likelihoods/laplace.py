"""The Laplace likelihood."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from vaelab.vae.fused import LAPLACE
from vaelab.vae.likelihoods.location_scale import LocationScale


@dataclasses.dataclass(frozen=True)
class Laplace(LocationScale):
    """energy(r) = |r|, Z = 2."""

    head_code: ClassVar = LAPLACE
    rounds: ClassVar = 1

    @property
    def log_z(self) -> float:
        return math.log(2)

    def energy(self, r: Tensor) -> Tensor:
        return r.abs()

    def quantile(self, u: Tensor) -> Tensor:
        c = (u - 0.5).clamp(-0.5 + 1e-16, 0.5 - 1e-16)
        return -torch.sign(c) * torch.log1p(-2 * c.abs())

    def location(self, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
        return m

    def spread(self, deviation: Tensor) -> Tensor:
        return deviation.nanmean(0)
