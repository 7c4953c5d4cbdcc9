"""What a study needs of a system: a Task to be configured by, and its System to train, judge, keep and draw models.

A Task loads without torch, so that options are checked before anything heavy is imported; its System does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vaelab.errors import InputError, unknown_name
from vaelab.space import Space, networks_of
from vaelab.spec import CONVOLUTIONS, ModelSpec, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from vaelab import training
    from vaelab.data import Dataset


class Model(Protocol):
    """A trained model as its run folder holds it."""

    spec: Any
    folder: Path | None

    @property
    def parameter_count(self) -> int: ...

    def save(
        self, folder: Path, history: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], overwrite: bool = False
    ) -> Any: ...


class System(Protocol):
    """How the models of one task are made. Figures are a model's on a split, by name; a cost is what is minimised."""

    @property
    def method(self) -> training.Method:
        """How a model learns, for the loop."""

    @property
    def facts(self) -> Sequence[str]:
        """Which of a trial's figures stand beside its value."""

    @property
    def headline(self) -> str:
        """The figure by which the winner is told."""

    def resolve(self, spec: Any, data: Dataset) -> Any:
        """The spec with everything that was left to the data decided; InputError where the data do not fit."""

    def feed(self, data: Dataset, spec: Any) -> Any:
        """The data as these models see them."""

    def step_seconds(self, spec: Any, shape: Sequence[int]) -> float:
        """A rough time of one member's products in one step, for examples of this shape.

        It balances work and never changes a result.
        """

    def cost(self, spec: Any, figures: Mapping[str, Any]) -> float:
        """The yardstick's cost, from the figures of a record or of `judge`."""

    def judge(self, stack: training.Stack, is_final: bool) -> list[dict[str, Any]]:
        """Validation figures of every member at its best epoch; finalists are judged more closely."""

    def model(self, feed: Any, spec: Any, row: Tensor, figures: Mapping[str, Any]) -> Model:
        """What is kept of a trained member with parameters (P,)."""

    def load(self, folder: Path) -> Any:
        """The model of a run folder."""

    def test(self, model: Any, data: Dataset) -> dict[str, Any]:
        """A model's figures on the test split, which the caller counts as opened."""

    def reference(self, feed: Any) -> dict[str, Any]:
        """What validation figures are measured against; a run folder keeps it."""

    def results(self, feed: Any, best: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the results of a study say beside trials and finals; `best` is the winner, if there is one."""

    def draw(self, model: Any, data: Dataset, name: str) -> Sequence[Path]:
        """The pictures of a run folder."""

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        """The pictures and the page of a study whose results.json is written."""


class Task(Protocol):
    """What a study can be configured to do."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> type[ModelSpec]:
        """All settings of one model."""

    @property
    def yardsticks(self) -> Sequence[str]:
        """Names of the figures that may judge trials, the default first."""

    @property
    def fixed(self) -> Mapping[str, str]:
        """Settings that cannot be searched beside those that never are, and why."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Options of a study that differ from those of `Config`."""

    def default_space(self, shape: Sequence[int], settings: Mapping[str, Any]) -> Space:
        """What is searched for examples of this shape, unless told otherwise."""

    def check(self, yardstick: str, space: Space) -> None:
        """Refuse with InputError what could not be compared."""

    @property
    def nothing(self) -> str:
        """What it means if every trial collapsed."""

    def warnings(self, settings: Mapping[str, Any], space: Space) -> list[str]:
        """What the user should know before waiting for the study."""

    def label(self, spec: Any) -> str:
        """A model in a few characters, for names of folders."""

    def outline(self, spec: Any) -> str:
        """A model in some words, for a live table."""

    def system(self, yardstick: str) -> System: ...


class VAETask:
    """Search a VAE."""

    name = "vae"
    spec = Spec
    yardsticks = ("neg_elbo", "weighted_loss")
    nothing = "no shared structure was found"
    # Searching these would compare figures that cannot be compared, or let a trial change how it is judged.
    fixed: Mapping[str, str] = {
        "likelihood": "densities and masses under different likelihoods have no common unit",
        "binarize": "it changes the data that are judged",
        "wx": "it weighs a term of inverse problems, which `vaelab invert` tunes",
        "wy": "it weighs a term of inverse problems, which `vaelab invert` tunes",
    }
    defaults: Mapping[str, Any] = {}
    weights = ("beta", "warmup", "free_bits")

    def default_space(self, shape: Sequence[int], settings: Mapping[str, Any]) -> Space:
        idle = CONVOLUTIONS if settings.get("network") == "mlp" else ()
        return Space.default(shape).without({*settings, *idle})

    def check(self, yardstick: str, space: Space) -> None:
        searched = [name for name in self.weights if name in space]
        if yardstick == "weighted_loss" and searched:
            raise InputError(
                f"`{searched[0]}` cannot be searched under the yardstick weighted_loss: the smallest weight would "
                "always win; use the yardstick neg_elbo, which no weight enters."
            )

    def warnings(self, settings: Mapping[str, Any], space: Space) -> list[str]:
        notes = []
        if "beta" in space:
            notes.append("beta is searched under neg_elbo, whose own beta is 1: the search can only find about 1.")
        if "conv" in networks_of(settings, space):
            notes.append("on a CPU a network with convolutions trains alone: stacking several was no faster there.")
        return notes

    def label(self, spec: Spec) -> str:
        return f"latent{spec.latent_dim}"

    def outline(self, spec: Spec) -> str:
        return f"{spec.layers_text}, lr {spec.lr:.1e}"

    def system(self, yardstick: str) -> System:
        from vaelab.study.vae import VAESystem

        return VAESystem(yardstick)


TASK = VAETask()
# A task's name in config.toml and to workers, and the module of ours that holds it as TASK.
_HOMES = {"vae": "vaelab.study.task", "classifier": "vaelab.classifier.task"}


def task_named(name: str) -> Task:
    """The task of this name.

    >>> task_named("vae").yardsticks
    ('neg_elbo', 'weighted_loss')
    """
    if name not in _HOMES:
        raise unknown_name("task", name, _HOMES)
    task: Task = importlib.import_module(_HOMES[name]).TASK
    return task
