"""Yardsticks, the metrics that judge trials: name, unit, direction and cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vaelab.errors import StoreError
from vaelab.settings.spec import ModelSpec

NATS = "nats per example"
VALIDATION_ROWS = 10_000  # most rows used for validation after each epoch
SEARCH_DRAWS, FINAL_DRAWS = 8, 64  # draws of z per validation example, for a trial and a finalist
TOLD = ("name", "title", "short", "unit", "rises", "headline")  # fields of a yardstick in a study's results


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """A metric that judges trials. A study minimises its cost: the value, or 1 - value if higher is better.

    >>> accuracy = Yardstick("accuracy", "accuracy", "accuracy", rises=True)
    >>> accuracy.cost(0.9), accuracy.better
    (0.09999999999999998, 'higher is better')
    """

    name: str
    title: str
    short: str  # column head
    unit: str = ""
    rises: bool = False  # in [0, 1], higher is better
    weights: tuple[str, ...] = ()  # settings that change the value, and so cannot be searched with it
    headline: str = ""  # the metric reported for the winner; by default the yardstick itself

    def __post_init__(self) -> None:
        object.__setattr__(self, "headline", self.headline or self.name)

    def value(self, spec: ModelSpec, metrics: Mapping[str, Any]) -> float:
        """The value for a model with these validation metrics."""
        return float(metrics[self.name])

    def cost(self, figure: float) -> float:
        """The minimised cost of a value; also its own inverse, since 1 - (1 - value) = value."""
        return 1 - figure if self.rises else figure

    @property
    def better(self) -> str:
        return "higher is better" if self.rises else "lower is better"

    def as_dict(self) -> dict[str, Any]:
        """Its entry in a study's results."""
        return {name: getattr(self, name) for name in TOLD}

    @classmethod
    def of(cls, results: Mapping[str, Any]) -> Yardstick:
        """The yardstick of a study, from its results; StoreError if it is missing."""
        told = results.get("yardstick")
        if not isinstance(told, Mapping) or set(told) != set(TOLD):
            raise StoreError("the results contain no yardstick, so they are not from a study; run the study again.")
        return Yardstick(**told)
