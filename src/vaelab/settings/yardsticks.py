"""Yardsticks, the figures that judge trials: what each is called, its unit, which way is better, and what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vaelab.errors import StoreError
from vaelab.settings.spec import ModelSpec

NATS = "nats per example"
VALIDATION_ROWS = 10_000  # most rows that the validation after each epoch looks at
SEARCH_DRAWS, FINAL_DRAWS = 8, 64  # of z per validation example, for a trial and for a finalist
TOLD = ("name", "title", "short", "unit", "rises", "headline")  # of a yardstick, in a study's results


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """A figure that judges trials. What a study minimises is its cost: the figure, or 1 - figure where it rises.

    >>> accuracy = Yardstick("accuracy", "accuracy", "accuracy", rises=True)
    >>> accuracy.cost(0.9), accuracy.better
    (0.09999999999999998, 'higher is better')
    """

    name: str
    title: str
    short: str  # as the head of a column
    unit: str = ""
    rises: bool = False  # a share of 1 of which more is better
    weights: tuple[str, ...] = ()  # settings that enter the figure, and so cannot be searched under it
    headline: str = ""  # the metric by which the winner is told; by default the figure itself

    def __post_init__(self) -> None:
        object.__setattr__(self, "headline", self.headline or self.name)

    def value(self, spec: ModelSpec, metrics: Mapping[str, Any]) -> float:
        """The figure of a model with these metrics on validation."""
        return float(metrics[self.name])

    def cost(self, figure: float) -> float:
        """What is minimised; also the way back, since 1 - (1 - figure) is the figure."""
        return 1 - figure if self.rises else figure

    @property
    def better(self) -> str:
        return "higher is better" if self.rises else "lower is better"

    def as_dict(self) -> dict[str, Any]:
        """What a study's results say of it."""
        return {name: getattr(self, name) for name in TOLD}

    @classmethod
    def of(cls, results: Mapping[str, Any]) -> Yardstick:
        """The yardstick of a study, as its results tell it; StoreError where they do not."""
        told = results.get("yardstick")
        if not isinstance(told, Mapping) or set(told) != set(TOLD):
            raise StoreError("the results name no yardstick, so they are not those of a study; run the study again.")
        return Yardstick(**told)
