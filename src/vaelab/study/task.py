"""What a study needs of a wing: a Task to be configured by, and its System to train, judge, keep and draw models.

A Task loads without torch, so that options are checked before anything heavy is imported; its System does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from vaelab.settings.space import Space
from vaelab.settings.spec import ModelSpec
from vaelab.settings.yardsticks import Yardstick

if TYPE_CHECKING:
    from torch import Tensor

    from vaelab.data import Dataset
    from vaelab.engine import networks, rows, training


class TrainedModel(Protocol):
    """A trained model as its run folder holds it."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def folder(self) -> Path | None: ...

    @property
    def parameter_count(self) -> int: ...

    def save(
        self, folder: Path, history: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], overwrite: bool = False
    ) -> Self: ...


S = TypeVar("S", bound=ModelSpec)
F = TypeVar("F", bound="rows.Rows")
M = TypeVar("M", bound="networks.Stacked")
T = TypeVar("T", bound=TrainedModel)


class System(Protocol[S, F, M, T]):
    """How the models of one task are made: settings S, data as they see them F, networks M, trained models T.

    Metrics are a model's on a split, by name; a cost is what is minimised.
    """

    @property
    def method(self) -> training.Method[S, F, M]:
        """How a model learns, for the loop."""

    @property
    def facts(self) -> Sequence[str]:
        """Which of a trial's metrics stand beside its value."""

    @property
    def headline(self) -> str:
        """The metric by which the winner is told."""

    def resolve(self, spec: S, data: Dataset) -> S:
        """The spec with everything that was left to the data decided; InputError where the data do not fit."""

    def feed(self, data: Dataset, spec: S) -> F:
        """The data as these models see them."""

    def products(self, spec: S, shape: Sequence[int]) -> int:
        """Multiplications of one example's way through the networks, padding included, for examples of this shape."""

    def cost(self, spec: S, metrics: Mapping[str, Any]) -> float:
        """The yardstick's cost, from the metrics of a record or of `judge`."""

    def judge(self, stack: training.Stack[S, F, M], is_final: bool) -> list[dict[str, Any]]:
        """Validation metrics of every member at its best epoch; finalists are judged more closely."""

    def model(self, feed: F, spec: S, row: Tensor, metrics: Mapping[str, Any]) -> T:
        """What is kept of a trained member with parameters (P,)."""

    def load(self, folder: Path) -> T:
        """The model of a run folder."""

    def test(self, model: T, data: Dataset) -> dict[str, Any]:
        """A model's metrics on the test split, which the caller counts as opened."""

    def reference(self, feed: F) -> dict[str, Any]:
        """What validation metrics are measured against; a run folder keeps it."""

    def results(self, feed: F, best: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the results of a study say beside trials and finals; `best` is the winner, if there is one."""

    def draw(self, model: T, data: Dataset, name: str) -> Sequence[Path]:
        """The pictures of a run folder."""

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        """The pictures and the page of a study whose results.json is written."""


AnySystem = System[Any, Any, Any, Any]  # a study hands a system's things on to it and never looks inside


class Task(Protocol):
    """What a study can be configured to do. A module of its own holds it as TASK, where workers find it."""

    @property
    def name(self) -> str: ...

    @property
    def spec_type(self) -> type[ModelSpec]:
        """All settings of one model."""

    @property
    def yardsticks(self) -> Mapping[str, Yardstick]:
        """What may judge trials, by name, the default first."""

    @property
    def fixed(self) -> Mapping[str, str]:
        """Settings that cannot be searched beside those that never are, and why."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Options of a study that differ from those of `Config`."""

    def default_space(
        self, data: Dataset, settings: Mapping[str, Any], affords: Callable[[Mapping[str, Any]], bool]
    ) -> Space:
        """What is searched where no space is given. affords: whether the time allows several trainings by settings."""

    @property
    def nothing(self) -> str:
        """What it means if every trial collapsed."""

    def warnings(self, settings: Mapping[str, Any], space: Space) -> list[str]:
        """What the user should know before waiting for the study."""

    def label(self, spec: Any) -> str:
        """A model in a few characters, for names of folders."""

    def outline(self, spec: Any) -> str:
        """A model in some words, for a live table."""

    def system(self, yardstick: str) -> AnySystem: ...
