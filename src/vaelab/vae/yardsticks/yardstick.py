"""The interface of VAE yardsticks. Does not import torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vaelab.settings.yardsticks import Yardstick

if TYPE_CHECKING:
    from vaelab.engine.networks import Parameters
    from vaelab.vae.feed import Feed
    from vaelab.vae.model import Model
    from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class VAEYardstick(Yardstick):
    """A validation metric of a VAE, computed from each epoch's metrics (neg_elbo, distortion, rate) or measured."""

    def measure(
        self, model: Model, parameters: Parameters, specs: Sequence[Spec], feed: Feed, split: str, limit: int | None
    ) -> Sequence[float] | None:
        """The value for every member on (the first `limit` rows of) a split, if it is not among the metrics.

        Called after every epoch.
        """
        return None

    def added(
        self, specs: Sequence[Spec], metrics: Sequence[Mapping[str, Any]], measured: Sequence[float] | None
    ) -> list[dict[str, Any]]:
        """The metrics of every member, including this yardstick under its name."""
        values = measured or [self.value(spec, own) for spec, own in zip(specs, metrics, strict=True)]
        return [{**own, self.name: value} for own, value in zip(metrics, values, strict=True)]
