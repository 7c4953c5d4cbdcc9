"""Yardsticks, the metrics that judge trials: name, unit, direction and cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from vaelab.errors import InputError, StoreError, unknown_name
from vaelab.settings import checks
from vaelab.settings.spec import ModelSpec

NATS = "nats per example"
VALIDATION_ROWS = 10_000  # most rows used for validation after each epoch
SEARCH_DRAWS, FINAL_DRAWS = 8, 64  # draws of z per validation example, for a trial and a finalist
TOLD = ("name", "title", "short", "unit", "rises", "headline", "how")  # fields of a yardstick in a study's results
MOST = 2  # yardsticks of one study: a front of two can be drawn and read
FRONT = (
    "Two yardsticks judge, and no trial is pruned. The finalists are spread along the front of the search: trials that "
    "none beats by one yardstick without losing by the other. The front is stated over means after retraining; best/ "
    "has its member closest to the best by each yardstick, on axes scaled to the front."
)


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """A metric that judges trials. A study minimises its cost: the value, or 1 - value if higher is better.

    A study has one, or two of which neither is given up for the other: then the best trials form a front.

    >>> accuracy = Yardstick("accuracy", "accuracy", "accuracy", rises=True)
    >>> accuracy.cost(0.9), accuracy.better
    (0.09999999999999998, 'higher is better')
    """

    name: str
    title: str
    short: str  # column head
    unit: str = ""
    rises: bool = False  # higher is better
    weights: tuple[str, ...] = ()  # settings that change the value, and so cannot be searched with it
    headline: str = ""  # the metric reported for the winner; by default the yardstick itself
    how: str = ""  # if it is measured only where trials are judged: how, and with which labels, for the page
    partner: str = ""  # a yardstick beside which it judges: alone it would choose a useless model

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

    @classmethod
    def both(cls, results: Mapping[str, Any]) -> tuple[Yardstick, ...]:
        """The yardsticks of a study, one or two, from its results."""
        return tuple(cls.of({"yardstick": told}) for told in results.get("yardsticks") or [results.get("yardstick")])

    @property
    def axis(self) -> str:
        """Title and unit."""
        return f"{self.title}{', ' + self.unit if self.unit else ''}"


Y = TypeVar("Y", bound=Yardstick)


def parse_yardsticks(given: str | Sequence[str], known: Mapping[str, Y]) -> tuple[Y, ...]:
    """One or two yardsticks by name, as a list or as text with a comma.

    >>> known = {name: Yardstick(name, name, name) for name in ("accuracy", "log_loss")}
    >>> [yardstick.name for yardstick in parse_yardsticks("accuracy,log_loss", known)]
    ['accuracy', 'log_loss']
    """
    names = checks.names("yardstick", given)
    for name in names:
        if name not in known:
            raise unknown_name("yardstick", name, known)
    if not 1 <= len(set(names)) == len(names) <= MOST:
        raise InputError(f"`yardstick` must be one name or two different ones, but got {', '.join(names)}; keep two.")
    chosen = tuple(known[name] for name in names)
    if len(chosen) == 1 and chosen[0].partner:
        raise InputError(
            f"`yardstick` = {names[0]} alone would choose a useless model; judge by it and another, "
            f"such as {names[0]},{chosen[0].partner}."
        )
    return chosen
