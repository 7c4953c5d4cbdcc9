"""The weighted training loss, for searches in which the weights are fixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vaelab.settings.spec import ModelSpec
from vaelab.settings.yardsticks import NATS
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks.yardstick import VAEYardstick


@dataclasses.dataclass(frozen=True)
class WeightedLoss(VAEYardstick):
    """distortion + beta * rate."""

    def value(self, spec: ModelSpec, metrics: Mapping[str, Any]) -> float:
        assert isinstance(spec, Spec)
        return float(metrics["distortion"] + spec.beta * metrics["rate"])


WEIGHTED_LOSS = WeightedLoss(
    "weighted_loss",
    "weighted loss",
    "weighted loss",
    NATS,
    weights=("beta", "warmup", "free_bits"),
    headline="neg_elbo",
    is_bound=True,
)
