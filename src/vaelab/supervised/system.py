"""What the Systems of classifiers and regressors share: how a study trains, judges and tests them."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from vaelab.data import Dataset
from vaelab.engine.convolutions import Grid
from vaelab.engine.process import one_thread
from vaelab.settings.yardsticks import Yardstick, parse_yardsticks
from vaelab.supervised.baselines import Baseline, OnTest, beaten_by, left_out
from vaelab.supervised.epoch import SupervisedStack
from vaelab.supervised.feed import SupervisedFeed, standardisation
from vaelab.supervised.fitted import FittedSupervised
from vaelab.supervised.learning import Supervised
from vaelab.supervised.model import padded_sizes, trunk_of
from vaelab.supervised.spec import SupervisedSpec

S = TypeVar("S", bound=SupervisedSpec)
F = TypeVar("F", bound=SupervisedFeed)
T = TypeVar("T", bound=FittedSupervised)


class SupervisedSystem(abc.ABC, Generic[S, F, T]):
    """Networks with a target, judged by the yardsticks of their task, the first of which chooses the best epoch."""

    always: ClassVar[tuple[str, ...]]  # facts of a trial that are shown whatever the yardstick
    familiar: ClassVar[str]  # the yardstick by which simpler models are compared too: the one that readers look for
    fitted: type[T]

    def __init__(self, yardstick: str, known: Mapping[str, Yardstick], method: type[Supervised]):
        self.known, self.yardsticks = known, parse_yardsticks(yardstick, known)
        names = [each.name for each in self.yardsticks]
        self.facts = (*dict.fromkeys((*self.always, *names)),)
        self.headline = names[0]
        self.method = method(names[0])  # type: ignore[call-arg]

    @abc.abstractmethod
    def resolved(self, spec: S, data: Dataset) -> S:
        """The spec with automatic settings resolved, for data that are checked."""

    def resolve(self, spec: S, data: Dataset) -> S:
        resolved = self.resolved(spec, data)
        standardisation(data, resolved)
        return resolved

    def products(self, spec: S, shape: Sequence[int]) -> int:
        ends, products = math.prod(shape), 0
        if spec.network == "conv":
            trunk = trunk_of(spec, Grid.of(shape))
            ends, products = trunk.features, trunk.products
        widths = (ends, *padded_sizes(spec.hidden_sizes), 16)
        return products + sum(a * b for a, b in itertools.pairwise(widths))

    def measure(self, stack: SupervisedStack) -> list[dict[str, float]]:
        """Nothing: an epoch's record has every metric."""
        return [{} for _ in stack.specs]

    def load(self, folder: Path) -> T:
        return self.fitted.load(folder)

    def prepare(self, feed: F, left: float) -> None:
        """Nothing: the reference takes no time."""

    @abc.abstractmethod
    def reference(self, feed: F) -> dict[str, Any]:
        """What always the same prediction reaches on validation."""

    @abc.abstractmethod
    def baselines(self, feed: F) -> list[Baseline]:
        """Simpler models, fitted on the training rows."""

    @abc.abstractmethod
    def on_test(self, feed: F, model: T) -> OnTest:
        """What a model predicts for the rows of test."""

    def results(self, feed: F, best: Mapping[str, Any] | None, model: T | None) -> dict[str, Any]:
        """The reference; with a winner also simpler models, on the same rows as it, and which of them are better."""
        found: dict[str, Any] = {"baseline": self.reference(feed)}
        if best is None or model is None:
            return found
        reason = left_out(feed)
        if reason is not None:
            return found | {"baselines": [], "baselines_left_out": reason}
        with one_thread():
            simpler, own = self.baselines(feed), self.on_test(feed, model)
        judges = dict.fromkeys((self.yardsticks[0], self.known[self.familiar]))
        said = " ".join(filter(None, (beaten_by(simpler, best["validation"], own, each) for each in judges)))
        return found | {"baselines": [each.as_dict() for each in simpler], "beaten": said}
