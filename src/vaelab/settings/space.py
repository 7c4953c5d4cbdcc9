"""Search spaces: ranges and choices of a model's settings. Imports neither torch, sklearn nor optuna."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.errors import InputError, shown
from vaelab.settings.dimension import Dimension, Suggester
from vaelab.settings.spec import ModelSpec, check_idle
from vaelab.store import read_toml


@dataclass(frozen=True)
class Space:
    """The searched settings, in the order in which Optuna suggests them.

    >>> from vaelab import Spec
    >>> space = Space.parse({"latent_dim": (1, 20), "lr": "1e-4..1e-2:log", "optimizer": ["adam", "sgd"]}, Spec)
    >>> space.names
    ('latent_dim', 'lr', 'optimizer')
    >>> Space.from_json(space.to_json(), Spec) == space
    True
    """

    dimensions: tuple[Dimension, ...]
    spec_type: type[ModelSpec]

    @classmethod
    def parse(cls, space: Mapping[str, Any] | Space, spec_type: type[ModelSpec]) -> Space:
        """A space from a mapping: a tuple is a range, a list is choices, text is in `--search` syntax.

        Raises InputError with one line if a name is unknown or a range is not one that `spec_type` allows.
        """
        if isinstance(space, Space):
            return space if space.spec_type is spec_type else cls.parse(space.to_json(), spec_type)
        if not isinstance(space, Mapping):
            raise InputError(f"a search space is a mapping of settings to ranges, but got {shown(space)}.")
        if not space:
            raise InputError("a search space needs at least one setting, but got none.")
        dimensions = tuple(Dimension.parse(str(name), value, spec_type) for name, value in space.items())
        names = [dimension.name for dimension in dimensions]
        idle = [name for name in names if name in spec_type.under_hidden]
        if "hidden" in names and idle:
            raise InputError(f"`hidden` overrides {', '.join(idle)}; search either it or them.")
        return cls(dimensions, spec_type)

    @classmethod
    def from_strings(cls, pairs: Sequence[str], spec_type: type[ModelSpec]) -> Space:
        """A space from `--search` arguments.

        >>> Space.from_strings(["epochs=1..20", "hidden=512-256,256-128"], ModelSpec).to_json()
        {'epochs': '1..20', 'hidden': '512-256,256-128'}
        """
        texts: dict[str, str] = {}
        for pair in pairs:
            name, equals, text = pair.partition("=")
            name = name.strip()
            if not equals or not name:
                raise InputError(f"a search is written name=low..high or name=a,b,c, but got {shown(pair)}.")
            if name in texts:
                raise InputError(f"{shown(name)} is searched twice; keep one of the two.")
            texts[name] = text.strip()
        return cls.parse(texts, spec_type)

    @classmethod
    def from_toml(cls, path: str | Path, spec_type: type[ModelSpec]) -> Space:
        """A space from TOML: `name = "low..high"`, `name = ["a", "b"]` or `name = {low = 1, high = 20}`.

        Raises InputError if the file is missing, unreadable, too large, or not TOML (with the line).
        """
        table = read_toml(path, "give a TOML file of ranges")
        return cls.parse(table, spec_type)

    @classmethod
    def from_json(cls, table: Mapping[str, Any], spec_type: type[ModelSpec]) -> Space:
        """The space from the output of `to_json`."""
        return cls.parse(table, spec_type)

    def to_json(self) -> dict[str, str]:
        """The space as text per setting, in `--search` syntax and in order."""
        return {dimension.name: dimension.text for dimension in self.dimensions}

    @property
    def names(self) -> tuple[str, ...]:
        """The searched settings, in order."""
        return tuple(dimension.name for dimension in self.dimensions)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __len__(self) -> int:
        return len(self.dimensions)

    def without(self, names: Iterable[str]) -> Space:
        """The space without some settings, which need not be searched; may be empty.

        Removing `hidden` also removes layers, width and taper, which it overrides.

        >>> from vaelab import Spec
        >>> space = Space.parse({"layers": (1, 3), "taper": (0.5, 1.0), "lr": (1e-3, 1e-2)}, Spec)
        >>> space.without(["hidden", "dropout"]).names
        ('lr',)
        """
        if isinstance(names, str):
            raise TypeError("`without` takes a list of names")
        dropped = set(names)
        if "hidden" in dropped:
            dropped.update(self.spec_type.under_hidden)
        kept = tuple(dimension for dimension in self.dimensions if dimension.name not in dropped)
        return Space(kept, self.spec_type)

    def suggest(self, trial: Suggester) -> dict[str, Any]:
        """One value per setting, suggested by an Optuna trial (or anything with its interface)."""
        return {dimension.name: dimension.suggest(trial) for dimension in self.dimensions}

    def nearest(self, spec: ModelSpec, changes: Mapping[str, Any]) -> dict[str, Any] | None:
        """The parameters nearest to a spec with `changes`; None if the space does not hold these exactly.

        >>> space = Space.parse({"blocks": (1, 4), "lr": (1e-4, 1e-3)}, ModelSpec)
        >>> space.nearest(ModelSpec(), {}), space.nearest(ModelSpec(), {"kernel": 5})
        ({'blocks': 1, 'lr': 0.001}, None)
        """
        params = {d.name: d.nearest({**spec.model_dump(), **changes}[d.name]) for d in self.dimensions}
        return params if all(params.get(name) == value for name, value in changes.items()) else None

    def grid(self, points_per_range: int = 5) -> dict[str, list[Any]]:
        """Values per setting, for Optuna's GridSampler: choices, up to 20 whole numbers, else spread points.

        >>> Space.parse({"blocks": (1, 4), "lr": (1e-4, 1.0, "log")}, ModelSpec).grid(3)
        {'blocks': [1, 2, 3, 4], 'lr': [0.0001, 0.01, 1.0]}
        """
        if points_per_range < 2:
            raise InputError(f"`points_per_range >= 2` must hold for a grid, but got {points_per_range!r}.")
        return {dimension.name: dimension.grid(points_per_range) for dimension in self.dimensions}

    def spec(self, settings: Mapping[str, Any], params: Mapping[str, Any]) -> ModelSpec:
        """The Spec of one trial: the fixed settings, then the searched parameters.

        >>> Space.parse({"lr": (1e-4, 1e-2)}, ModelSpec).spec({"hidden": "64"}, {"lr": 1e-3}).lr
        0.001
        """
        return self.spec_type.create(**{**settings, **params})


def check_disjoint(settings: Mapping[str, Any], space: Space) -> None:
    """Reject settings that are both fixed and searched, and combinations that Spec does not allow.

    Raises InputError before anything is trained: every pair of ends or choices is tried with `settings`.

    >>> check_disjoint({"lr": 1e-3}, Space.parse({"lr": (1e-4, 1e-2)}, ModelSpec))
    Traceback (most recent call last):
    vaelab.errors.InputError: `lr` is both set and searched; keep one of the two.
    """
    for name in settings:
        if name in space:
            raise InputError(f"`{name}` is both set and searched; keep one of the two.")
    idle = [name for name in space.spec_type.under_hidden if name in space]
    if "hidden" in settings and idle:
        raise InputError(f"`hidden` is set and overrides {', '.join(idle)}; do not search them.")
    idle = [name for name in space.spec_type.under_hidden if name in settings]
    if "hidden" in space and idle:
        raise InputError(f"`hidden` is searched and overrides {', '.join(idle)}; do not set them.")
    if "conv" not in networks_of(settings, space):
        check_idle({**settings, **dict.fromkeys(space.names)}, space.spec_type)
    values = {dim.name: dim.choices or (dim.low, dim.high) for dim in space.dimensions}
    # No rule of Spec involves more than two settings.
    for names in itertools.combinations(values, min(2, len(values))):
        for corner in itertools.product(*(values[name] for name in names)):
            space.spec_type.create(**{**settings, **dict(zip(names, corner, strict=True))})


def networks_of(settings: Mapping[str, Any], space: Space) -> tuple[str, ...]:
    """The kinds of network that trials of a study can use."""
    for dimension in space.dimensions:
        if dimension.name == "network":
            return dimension.choices
    return (settings.get("network", space.spec_type.model_fields["network"].default),)
