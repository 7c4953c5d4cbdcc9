"""The resolved configuration of a study, stored in config.toml, from which it can be rerun."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from vaelab import store
from vaelab.errors import InputError, unknown_name
from vaelab.settings.checks import MOST_RUNS, MOST_TRIALS, choice, flag, positive, seed, table, whole
from vaelab.settings.purposes import parse_purposes
from vaelab.settings.space import Space, check_disjoint
from vaelab.settings.spec import written
from vaelab.settings.yardsticks import MOST, Yardstick, parse_yardsticks
from vaelab.store.files import name_of
from vaelab.study.task import Task

FIGURES = ("all", "best", "none")
SAMPLERS = ("tpe", "random", "grid")
MOST_EPOCHS = 1_000_000
OF_TRIALS = ("yardstick", "seed", "sampler", "cohort", "prune", "final_epochs")  # keys of [study] that decide trials


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
    yardsticks: tuple[Yardstick, ...]  # one or two; (): those of the purpose, which depend on the data (see `decided`)
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
    purpose: str | None = None  # one or two, with a comma between

    @classmethod
    def create(
        cls,
        task: Task,
        space: Space | None,
        settings: Mapping[str, Any],
        *,
        figures: str = "auto",
        trials: int = 40,
        yardstick: str | Sequence[str] | None = None,
        purpose: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Config:
        """A checked configuration. options: further fields; None means the default of the task or of this class."""
        task.spec_type.create(**settings)
        whole("trials", trials, 1, MOST_TRIALS)
        purposes = () if purpose is None else parse_purposes(purpose, task.purposes)
        for each in purposes:
            settings = {k: v for k, v in each.settings.items() if space is None or k not in space} | {**settings}
        if yardstick is None and not purposes:
            yardstick = next(iter(task.yardsticks))
        named = {name: value for name, value in options.items() if value is not None}
        if figures == "auto":
            figures = "all" if trials <= 20 else "best"
        config = cls(
            task,
            () if yardstick is None else parse_yardsticks(yardstick, task.yardsticks),
            dict(settings),
            space,
            trials=trials,
            figures=figures,
            purpose=",".join(each.name for each in purposes) or None,
            **{"cohort": cohort_size(trials), **task.defaults, **named},
        )
        config._check()
        return config

    def judged(self, has_labels: bool) -> Config:
        """This configuration with the yardsticks of its purpose."""
        if self.yardsticks:
            return self
        purposes = parse_purposes(self.purpose or "", self.task.purposes)
        names = dict.fromkeys(name for each in purposes for name in each.yardsticks(has_labels))
        if len(names) > MOST:
            raise InputError(
                f"`for` = {self.purpose} has {len(names)} yardsticks without labels ({', '.join(names)}), but a study "
                f"has at most {MOST}; name the labels with `target` (in Python: y), or keep one purpose."
            )
        config = dataclasses.replace(self, yardsticks=parse_yardsticks(list(names), self.task.yardsticks))
        config._check()
        return config

    def decided(self, space: Space) -> Config:
        """This configuration with the task's default space, to which its purpose may add."""
        ranges: dict[str, Any] = {}
        for each in parse_purposes(self.purpose, self.task.purposes) if self.purpose else ():
            ranges |= each.ranges
        weights = [name for yardstick in self.yardsticks for name in yardstick.weights]
        space = Space.parse({**space.to_json(), **ranges}, self.task.spec_type).without([*self.settings, *weights])
        config = dataclasses.replace(self, space=space)
        config._check()
        return config

    @property
    def yardstick(self) -> Yardstick:
        """The first, which alone is shown where there is room for one."""
        return self.yardsticks[0]

    @property
    def judged_by(self) -> str:
        """The names of the yardsticks, with a comma between."""
        return ",".join(each.name for each in self.yardsticks)

    def _check(self) -> None:
        for name, known in ("sampler", SAMPLERS), ("figures", FIGURES):
            choice(name, getattr(self, name), known)
        for name, most in ("trials", MOST_TRIALS), ("final_seeds", MOST_RUNS), ("finalists", MOST_RUNS):
            whole(name, getattr(self, name), 1, most)
        seed("seed", self.seed)
        whole("cohort", self.cohort, 1, MOST_TRIALS)
        flag("prune", self.prune)
        if self.timeout is not None:
            positive("timeout", self.timeout, "seconds")
        if self.final_epochs is not None:
            whole("final_epochs", self.final_epochs, 1, MOST_EPOCHS)
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
        for yardstick in self.yardsticks:
            for name in yardstick.weights:
                if name in space:
                    remedy = f"use the yardstick {next(iter(self.task.yardsticks))}, which no loss weight enters"
                    raise InputError(
                        f"`{name}` cannot be searched with the yardstick {yardstick.name}: the smallest weight would "
                        f"always win; {remedy}."
                    )

    @property
    def searched(self) -> Space:
        """The space, once resolved."""
        assert self.space is not None, "the space must be resolved before the search"
        return self.space

    def warnings(self) -> list[str]:
        """Notes shown to the user before the study starts."""
        notes = self.task.warnings(self.settings, self.searched, self.yardsticks)
        if self.prune and len(self.yardsticks) > 1:
            notes.append("no trial is pruned: with two yardsticks a trial that is weak by one may be on the front.")
        elif self.prune and not self.prunes:
            notes.append(f"no trial is pruned: {self.yardstick.name} may still improve when the loss no longer does.")
        return notes

    @property
    def prunes(self) -> bool:
        """Whether weak trials are pruned: by one yardstick whose learning curves are known to flatten."""
        return self.prune and len(self.yardsticks) == 1 and not self.yardstick.how

    def to_toml(self, data: Mapping[str, Any]) -> str:
        study = {name: getattr(self, name) for name in _plain_fields()}
        settings = {k: _plain(k, v) for k, v in self.settings.items() if v is not None}
        written_table = {
            "study": {
                "task": self.task.name,
                "yardstick": self.judged_by,
                **{k: v for k, v in study.items() if v is not None},
            },
            "data": {k: v for k, v in data.items() if v is not None},
            "settings": settings,
            "space": self.searched.to_json(),
        }
        return tomli_w.dumps(written_table)

    @classmethod
    def read(cls, path: Path, task: Task) -> tuple[Config, dict[str, Any]]:
        """The configuration and the data source of a config.toml, which must be of this task."""
        found = store.read_toml(path, "this is not a study folder")
        study, data, settings, ranges = (
            table(f"[{name}] of {name_of(path)}", found.get(name, {}))
            for name in ("study", "data", "settings", "space")
        )
        if not study or not ranges:
            raise InputError(f"{name_of(path)} is not from a study: it has no [study] and [space]; check the path.")
        known = {"task", "yardstick", *_plain_fields()}
        for name in study:
            if name not in known:
                raise unknown_name("key of [study]", name, known)
        if study.pop("task", task.name) != task.name:
            raise InputError(f"{name_of(path)} is not from a {task.name} study; use the command that started it.")
        space = Space.from_json(ranges, task.spec_type)
        yardsticks = parse_yardsticks(study.pop("yardstick", next(iter(task.yardsticks))), task.yardsticks)
        config = cls(task, yardsticks, settings, space, **study)
        task.spec_type.create(**config.settings)
        config._check()
        return config, data

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the trials and how they are judged, by name, as it is written in config.toml."""
        found = tomllib.loads(self.to_toml({}))
        study = {name: value for name, value in found["study"].items() if name in OF_TRIALS}
        return {**study, **found["settings"], **{f"{name} searched": text for name, text in found["space"].items()}}

    def save(self, folder: Path, data: Mapping[str, Any]) -> None:
        store.write_atomic(folder / "config.toml", self.to_toml(data))


def _plain_fields() -> list[str]:
    """Fields of a Config that are written to config.toml unchanged."""
    return [f.name for f in dataclasses.fields(Config) if f.name not in ("task", "yardsticks", "settings", "space")]


def _plain(name: str, value: Any) -> Any:
    """Widths in --set syntax; TOML handles the rest."""
    return written(name, value) if isinstance(value, tuple) else value
