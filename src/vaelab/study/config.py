"""The resolved configuration of a study: what config.toml holds, and what running it again repeats."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from vaelab import store
from vaelab.errors import InputError, StoreError, unknown_name
from vaelab.space import Space, check_disjoint, networks_of
from vaelab.spec import CONVOLUTIONS, Spec, written

YARDSTICKS = ("neg_elbo", "weighted_loss")
FIGURES = ("all", "best", "none")
SAMPLERS = ("tpe", "random", "grid")
# Searching these would compare figures that cannot be compared, or let a trial change how it is judged.
FIXED = {
    "likelihood": "densities and masses under different likelihoods have no common unit",
    "binarize": "it changes the data that are judged",
    "epochs": "it is the budget of every trial",
    "seed": "every trial has its own already",
    "wx": "it weighs a term of inverse problems, which `vaelab invert` tunes",
    "wy": "it weighs a term of inverse problems, which `vaelab invert` tunes",
    "device": "it is where trials run, not what they are",
    "precision": "it is how trials run, not what they are",
}
WEIGHTS = ("beta", "warmup", "free_bits")


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
    trials: int = 40
    timeout: float | None = None
    seed: int = 0
    sampler: str = "tpe"
    yardstick: str = "neg_elbo"
    final_seeds: int = 3
    figures: str = "best"
    cohort: int = 4
    prune: bool = True

    @classmethod
    def create(
        cls,
        space: Space | None,
        settings: Mapping[str, Any],
        features: int,
        *,
        shape: Sequence[int] = (),
        figures: str = "auto",
        trials: int = 40,
        **options: Any,
    ) -> Config:
        """A checked configuration; without a space, the default one for examples of so many `features` and of `shape`
        is searched, less what is set.
        """
        Spec.create(**settings)
        idle = CONVOLUTIONS if settings.get("network") == "mlp" else ()
        chosen = Space.default(features, shape).without({*settings, *idle}) if space is None else space
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
            trials=trials,
            figures=figures,
            cohort=cohort_size(max(1, trials)),
            **options,
        )
        config._check()
        return config

    def _check(self) -> None:
        for name, known in ("sampler", SAMPLERS), ("yardstick", YARDSTICKS), ("figures", FIGURES):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for option, lowest in ("trials", 1), ("final_seeds", 1), ("seed", 0):
            if getattr(self, option) < lowest:
                raise InputError(f"`{option}` must be at least {lowest}, but got {getattr(self, option)}.")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"`timeout` must be a positive number of seconds, but got {self.timeout}.")
        for name, reason in FIXED.items():
            if name in self.space:
                raise InputError(f"`{name}` cannot be searched: {reason}; fix it among the settings.")
        searched = [name for name in WEIGHTS if name in self.space]
        if self.yardstick == "weighted_loss" and searched:
            raise InputError(
                f"`{searched[0]}` cannot be searched under the yardstick weighted_loss: the smallest weight would "
                "always win; use the yardstick neg_elbo, which no weight enters."
            )

    def warnings(self) -> list[str]:
        """What the user should know before waiting for the study."""
        notes = []
        if "beta" in self.space:
            notes.append("beta is searched under neg_elbo, whose own beta is 1: the search can only find about 1.")
        if "conv" in networks_of(self.settings, self.space):
            notes.append("on a CPU a network with convolutions trains alone: stacking several was no faster there.")
        return notes

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
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"{path} does not exist; this is not the folder of a study.") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise StoreError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
        known = {f.name for f in dataclasses.fields(cls)}
        study = dict(table.get("study", {}))
        for name in study:
            if name not in known:
                raise unknown_name("key of [study]", name, known)
        config = cls(dict(table.get("settings", {})), Space.from_json(table.get("space", {})), **study)
        Spec.create(**config.settings)
        config._check()
        return config, dict(table.get("data", {}))

    def save(self, folder: Path, data: Mapping[str, Any]) -> None:
        store.write_atomic(folder / "config.toml", self.to_toml(data))


def _plain(name: str, value: Any) -> Any:
    """Widths as --set takes them; TOML knows the rest."""
    return written(name, value) if isinstance(value, tuple) else value
