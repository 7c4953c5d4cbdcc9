"""The interface between studies and kinds of model: a Task for configuration, and a System to train and evaluate.

A Task loads without torch, so that options are checked before anything heavy is imported; its System does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from vaelab.settings.purposes import Purpose
from vaelab.settings.space import Space
from vaelab.settings.spec import ModelSpec
from vaelab.settings.yardsticks import Yardstick

if TYPE_CHECKING:
    from torch import Tensor

    from vaelab.data import Dataset
    from vaelab.engine import networks, rows, training


@dataclasses.dataclass(frozen=True)
class Nothing:
    """What it means that a study has no winner although trials ran to completion, in words: the verdict, what became
    of these trials, and what to do.
    """

    meaning: str
    fate: str = "collapsed"
    advice: str = ""


class TrainedModel(Protocol):
    """A trained model as stored in its run folder."""

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
    """How the models of one task are made: settings S, data as model input F, networks M, trained models T.

    Metrics are a model's on a split, by name; a cost is what is minimised.
    """

    @property
    def method(self) -> training.Method[S, F, M]:
        """The training method, for the loop."""

    @property
    def facts(self) -> Sequence[str]:
        """The metrics of a trial that are shown with its value."""

    @property
    def headline(self) -> str:
        """The metric reported for the winner."""

    def resolve(self, spec: S, data: Dataset) -> S:
        """The spec with all automatic settings resolved; InputError if the data do not fit."""

    def feed(self, data: Dataset, spec: S) -> F:
        """The data as input for these models."""

    def products(self, spec: S, shape: Sequence[int]) -> int:
        """Multiplications per example in the networks, padding included, for examples of this shape."""

    def costs(self, spec: S, metrics: Mapping[str, Any]) -> tuple[float, ...]:
        """The cost by each yardstick, from the metrics of `judge`, or of a record with those of `measure`."""

    def measure(self, stack: training.Stack[S, F, M]) -> list[dict[str, float]]:
        """Validation metrics of every member that yardsticks need at a rung, but that epochs' records do not have."""

    def judge(self, stack: training.Stack[S, F, M], is_final: bool) -> list[dict[str, Any]]:
        """Validation metrics of every member at its best epoch; more precise for finalists."""

    def model(self, feed: F, spec: S, row: Tensor, metrics: Mapping[str, Any]) -> T:
        """The trained model of a member with parameters (P,)."""

    def load(self, folder: Path) -> T:
        """The model of a run folder."""

    def test(self, model: T, data: Dataset) -> dict[str, Any]:
        """A model's metrics on the test split; the caller records that it was opened."""

    def reference(self, feed: F) -> dict[str, Any]:
        """The baseline for validation metrics, stored in the run folder."""

    def prepare(self, feed: F, left: float) -> None:
        """What the results need besides trials, computed once and before the search, so that its time counts among the
        seconds `left`.
        """

    def results(self, feed: F, best: Mapping[str, Any] | None, model: T | None) -> dict[str, Any]:
        """Further entries of a study's results; `best` is the winner and `model` its best run, if there is one."""

    def nothing(self, feed: F, metrics: Mapping[str, Any]) -> Nothing:
        """What it means that every completed trial collapsed; `metrics` are the `facts` of the best of them."""

    def draw(self, model: T, data: Dataset, name: str) -> Sequence[Path]:
        """The pictures of a run folder."""

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        """Draw the pictures and the page of a study after results.json is written."""


AnySystem = System[Any, Any, Any, Any]  # opaque to the study


class Task(Protocol):
    """The configuration options of a study. Each task is TASK in its own module, where workers find it."""

    @property
    def name(self) -> str: ...

    @property
    def spec_type(self) -> type[ModelSpec]:
        """All settings of one model."""

    @property
    def yardsticks(self) -> Mapping[str, Yardstick]:
        """The yardsticks by name, the default first."""

    @property
    def purposes(self) -> Mapping[str, Purpose]:
        """The purposes by name."""

    @property
    def fixed(self) -> Mapping[str, str]:
        """Further settings that cannot be searched, and why."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Defaults of a study's options that differ from those of `Config`."""

    def eligible(self, data: Dataset) -> Dataset:
        """The data with only those rows in its splits of which these models can be; InputError if they are too few."""

    def default_space(
        self, data: Dataset, settings: Mapping[str, Any], affords: Callable[[Mapping[str, Any]], bool]
    ) -> Space:
        """The default space. affords: whether the time limit allows several training runs with given settings."""

    @property
    def first(self) -> Sequence[Mapping[str, Any]]:
        """What a study tries first, as changes of the default settings: none for trial 0."""

    def warnings(self, settings: Mapping[str, Any], space: Space, yardsticks: Sequence[Yardstick]) -> list[str]:
        """Notes shown to the user before the study starts."""

    def label(self, spec: Any) -> str:
        """A short label of a model, for folder names."""

    def outline(self, spec: Any) -> str:
        """A short description of a model, for a live table."""

    def system(self, yardstick: str) -> AnySystem:
        """For one yardstick, or two with a comma between."""
