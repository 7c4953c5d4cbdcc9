"""The resolved configuration of a study: what config.toml holds, and what running it again repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from vaelab import store
from vaelab.errors import InputError, unknown_name
from vaelab.space import Space, check_disjoint
from vaelab.spec import written
from vaelab.study.task import Task, task_named
from vaelab.yardsticks import YARDSTICKS, Yardstick

FIGURES = ("all", "best", "none")
SAMPLERS = ("tpe", "random", "grid")


NEVER_SEARCHED = {
    "epochs": "it is the budget of every trial",
    "seed": "every trial has its own already",
    "device": "it is where trials run, not what they are",
    "precision": "it is how trials run, not what they are",
}


def cohort_size(trials: int) -> int:
    """How many trials are asked together: a fifth of all, at least 4 and at most 64.

    A cohort as large as the study would make every sampler a random one. It does not depend on the number of workers,
    since that must not change what is found.

    >>> [cohort_size(n) for n in (10, 40, 1000)]
    [4, 8, 64]
    """
    return min(64, max(4, -(-trials // 5)))


@dataclasses.dataclass(frozen=True)
class Config:
    """What a study is; equal configurations give equal studies, whatever the number of workers."""

    settings: Mapping[str, Any]
    space: Space
    task: str = "vae"
    trials: int = 40
    timeout: float | None = None
    seed: int = 0
    sampler: str = "tpe"
    yardstick: str = "neg_elbo"
    final_seeds: int = 3
    finalists: int = 5
    final_epochs: int | None = None  # those of the search, unless told
    figures: str = "best"
    cohort: int = 4
    prune: bool = True

    @classmethod
    def create(
        cls,
        space: Space | None,
        settings: Mapping[str, Any],
        shape: Sequence[int],
        *,
        task: str = "vae",
        figures: str = "auto",
        trials: int = 40,
        **options: Any,
    ) -> Config:
        """A checked configuration; without a space, the default one for this `shape` is searched, less what is set."""
        doing = task_named(task)
        doing.spec.create(**settings)
        chosen = doing.default_space(shape, settings) if space is None else space
        options = {"yardstick": doing.yardsticks[0], **doing.defaults, **options}
        if not len(chosen):
            raise InputError("a study needs at least one searched setting; name one, or train a single model.")
        if all(dimension.low == dimension.high or len(dimension.choices) == 1 for dimension in chosen.dimensions):
            name = chosen.dimensions[0].name
            raise InputError(f"`{name}` has only one value to search; give a range, or fix it.")
        check_disjoint(settings, chosen)
        if figures == "auto":
            figures = "all" if trials <= 20 else "best"
        config = cls(
            dict(settings),
            chosen,
            task=task,
            trials=trials,
            figures=figures,
            cohort=cohort_size(max(1, trials)),
            **options,
        )
        config._check()
        return config

    def _check(self) -> None:
        task = self.doing
        for name, known in ("sampler", SAMPLERS), ("yardstick", task.yardsticks), ("figures", FIGURES):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for option, lowest in ("trials", 1), ("final_seeds", 1), ("finalists", 1), ("seed", 0):
            if getattr(self, option) < lowest:
                raise InputError(f"`{option}` must be at least {lowest}, but got {getattr(self, option)}.")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"`timeout` must be a positive number of seconds, but got {self.timeout}.")
        if self.final_epochs is not None and self.final_epochs < 1:
            raise InputError(f"`final_epochs` must be at least 1, but got {self.final_epochs}.")
        for name, reason in {**NEVER_SEARCHED, **task.fixed}.items():
            if name in self.space:
                raise InputError(f"`{name}` cannot be searched: {reason}; fix it among the settings.")
        task.check(self.yardstick, self.space)

    @property
    def doing(self) -> Task:
        """What is searched, and all that is particular to it."""
        return task_named(self.task)

    @property
    def measure(self) -> Yardstick:
        """The figure that judges."""
        return YARDSTICKS[self.yardstick]

    def warnings(self) -> list[str]:
        """What the user should know before waiting for the study."""
        return self.doing.warnings(self.settings, self.space)

    def to_toml(self, data: Mapping[str, Any]) -> str:
        study = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("settings", "space")}
        settings = {k: _plain(k, v) for k, v in self.settings.items() if v is not None}
        table = {
            "study": {k: v for k, v in study.items() if v is not None},
            "data": {k: v for k, v in data.items() if v is not None},
            "settings": settings,
            "space": self.space.to_json(),
        }
        return tomli_w.dumps(table)

    @classmethod
    def read(cls, path: Path) -> tuple[Config, dict[str, Any]]:
        """The configuration and the data source of a config.toml."""
        table = store.read_toml(path, "this is not the folder of a study")
        known = {f.name for f in dataclasses.fields(cls)}
        study = dict(table.get("study", {}))
        for name in study:
            if name not in known:
                raise unknown_name("key of [study]", name, known)
        kind = task_named(study.get("task", "vae")).spec
        config = cls(dict(table.get("settings", {})), Space.from_json(table.get("space", {}), kind), **study)
        kind.create(**config.settings)
        config._check()
        return config, dict(table.get("data", {}))

    def save(self, folder: Path, data: Mapping[str, Any]) -> None:
        store.write_atomic(folder / "config.toml", self.to_toml(data))


def _plain(name: str, value: Any) -> Any:
    """Widths as --set takes them; TOML knows the rest."""
    return written(name, value) if isinstance(value, tuple) else value
