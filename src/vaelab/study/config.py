"""The resolved configuration of a study, stored in config.toml, from which it can be rerun."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from vaelab import store
from vaelab.errors import InputError, unknown_name
from vaelab.settings.space import Space, check_disjoint
from vaelab.settings.spec import written
from vaelab.settings.yardsticks import Yardstick
from vaelab.study.task import Task

FIGURES = ("all", "best", "none")
SAMPLERS = ("tpe", "random", "grid")


NEVER_SEARCHED = {
    "epochs": "it is the budget of every trial",
    "seed": "every trial already has its own",
    "device": "it is where trials run, not a hyperparameter",
    "engine": "it is how trials run, not a hyperparameter",
    "precision": "it is how trials run, not a hyperparameter",
}


def cohort_size(trials: int) -> int:
    """Number of trials suggested together: a fifth of all, at least 4 and at most 64.

    A cohort as large as the study would make every sampler random. It does not depend on the number of workers,
    since that must not change the results.

    >>> [cohort_size(n) for n in (10, 40, 1000)]
    [4, 8, 64]
    """
    return min(64, max(4, -(-trials // 5)))


@dataclasses.dataclass(frozen=True)
class Config:
    """What a study is; equal configurations give equal studies for any number of workers."""

    task: Task
    yardstick: Yardstick
    settings: Mapping[str, Any]
    space: Space | None  # None: the task's default, which depends on the data (see `decided`)
    trials: int = 40
    timeout: float | None = None
    seed: int = 0
    sampler: str = "tpe"
    final_seeds: int = 3
    finalists: int = 5
    final_epochs: int | None = None  # None: as in the search
    figures: str = "best"
    cohort: int = 4
    prune: bool = True

    @classmethod
    def create(
        cls,
        task: Task,
        space: Space | None,
        settings: Mapping[str, Any],
        *,
        figures: str = "auto",
        trials: int = 40,
        yardstick: str | None = None,
        **options: Any,
    ) -> Config:
        """A checked configuration. options: further fields; None means the default of the task or of this class."""
        task.spec_type.create(**settings)
        named = {name: value for name, value in options.items() if value is not None}
        if figures == "auto":
            figures = "all" if trials <= 20 else "best"
        config = cls(
            task,
            _yardstick(task, yardstick),
            dict(settings),
            space,
            trials=trials,
            figures=figures,
            cohort=cohort_size(max(1, trials)),
            **{**task.defaults, **named},
        )
        config._check()
        return config

    def decided(self, space: Space) -> Config:
        """This configuration with the space resolved from the data."""
        config = dataclasses.replace(self, space=space)
        config._check()
        return config

    def _check(self) -> None:
        for name, known in ("sampler", SAMPLERS), ("figures", FIGURES):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for option, lowest in ("trials", 1), ("final_seeds", 1), ("finalists", 1), ("seed", 0):
            if getattr(self, option) < lowest:
                raise InputError(f"`{option}` must be at least {lowest}, but got {getattr(self, option)}.")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"`timeout` must be a positive number of seconds, but got {self.timeout}.")
        if self.final_epochs is not None and self.final_epochs < 1:
            raise InputError(f"`final_epochs` must be at least 1, but got {self.final_epochs}.")
        if self.space is not None:
            self._check_space(self.space)

    def _check_space(self, space: Space) -> None:
        if not len(space):
            raise InputError("a study needs at least one searched setting; name one, or train a single model.")
        if all(dimension.low == dimension.high or len(dimension.choices) == 1 for dimension in space.dimensions):
            name = space.dimensions[0].name
            raise InputError(f"`{name}` has only one value to search; give a range, or fix it.")
        for name, reason in {**NEVER_SEARCHED, **self.task.fixed}.items():
            if name in space:
                raise InputError(f"`{name}` cannot be searched: {reason}; fix it among the settings.")
        check_disjoint(self.settings, space)
        for name in self.yardstick.weights:
            if name in space:
                raise InputError(
                    f"`{name}` cannot be searched with the yardstick {self.yardstick.name}: the smallest weight would "
                    f"always win; use the yardstick {next(iter(self.task.yardsticks))}, which no loss weight enters."
                )

    @property
    def searched(self) -> Space:
        """The space, once resolved."""
        assert self.space is not None, "the space must be resolved before the search"
        return self.space

    def warnings(self) -> list[str]:
        """Notes shown to the user before the study starts."""
        return self.task.warnings(self.settings, self.searched)

    def to_toml(self, data: Mapping[str, Any]) -> str:
        study = {name: getattr(self, name) for name in _plain_fields()}
        settings = {k: _plain(k, v) for k, v in self.settings.items() if v is not None}
        table = {
            "study": {
                "task": self.task.name,
                "yardstick": self.yardstick.name,
                **{k: v for k, v in study.items() if v is not None},
            },
            "data": {k: v for k, v in data.items() if v is not None},
            "settings": settings,
            "space": self.searched.to_json(),
        }
        return tomli_w.dumps(table)

    @classmethod
    def read(cls, path: Path, task: Task) -> tuple[Config, dict[str, Any]]:
        """The configuration and the data source of a config.toml, which must be of this task."""
        table = store.read_toml(path, "this is not a study folder")
        known = {"task", "yardstick", *_plain_fields()}
        study = dict(table.get("study", {}))
        for name in study:
            if name not in known:
                raise unknown_name("key of [study]", name, known)
        if study.pop("task", task.name) != task.name:
            raise InputError(f"{path} is not from a {task.name} study; use the command that started it.")
        space = Space.from_json(table.get("space", {}), task.spec_type)
        judged_by = _yardstick(task, study.pop("yardstick", None))
        config = cls(task, judged_by, dict(table.get("settings", {})), space, **study)
        task.spec_type.create(**config.settings)
        config._check()
        return config, dict(table.get("data", {}))

    def save(self, folder: Path, data: Mapping[str, Any]) -> None:
        store.write_atomic(folder / "config.toml", self.to_toml(data))


def _plain_fields() -> list[str]:
    """Fields of a Config that are written to config.toml unchanged."""
    return [f.name for f in dataclasses.fields(Config) if f.name not in ("task", "yardstick", "settings", "space")]


def _yardstick(task: Task, name: str | None) -> Yardstick:
    """The yardstick of this name, by default the task's own."""
    chosen = next(iter(task.yardsticks)) if name is None else name
    if chosen not in task.yardsticks:
        raise unknown_name("yardstick", chosen, task.yardsticks)
    return task.yardsticks[chosen]


def _plain(name: str, value: Any) -> Any:
    """Widths in --set syntax; TOML handles the rest."""
    return written(name, value) if isinstance(value, tuple) else value
