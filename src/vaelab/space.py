"""What a study searches: ranges and choices of Spec's settings. Imports neither torch, sklearn nor optuna."""

from __future__ import annotations

import contextlib
import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from vaelab.errors import InputError, shown, unknown_name
from vaelab.spec import WIDTHS, ModelSpec, Spec, check_idle, number_kind, parse_value, written

# What `tune` searches unless told otherwise, beside widths and latent sizes that suit the data. Batch size and
# activation are left out on purpose: models that differ in them cannot be trained as one stack.
DEFAULT_RANGES: dict[str, tuple[float, float] | tuple[float, float, str]] = {
    "layers": (1, 3),
    "taper": (0.5, 1.0),
    "lr": (5e-4, 1e-2, "log"),
    "weight_decay": (1e-6, 1e-2, "log"),
    "dropout": (0.0, 0.2),
}

# What `tune` adds for images whose sides are at least SMALLEST_IMAGE: dense layers alone, or convolutions before them.
SMALLEST_IMAGE = 16
NETWORKS: dict[str, Any] = {"network": ["mlp", "conv"], "channels": ["8-16", "16-32"]}

LARGEST_SPACE_FILE = 1 << 20  # bytes


class Trial(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Dimension:
    """One searched setting: a range of whole (int) or real (float) numbers, ends included, or choices.

    Build it by `Dimension.range` or `Dimension.choice`, which check it against a kind of Spec, `of`.
    """

    name: str
    kind: Literal["int", "float", "choice"]
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def range(cls, name: str, low: Any, high: Any, log: bool = False, of: type[ModelSpec] = Spec) -> Self:
        """The range from low to high, both included; on a logarithmic scale if `log`.

        >>> Dimension.range("latent_dim", 1, 20)
        Dimension('latent_dim', 1..20)
        >>> Dimension.range("lr", 3, 1)
        Traceback (most recent call last):
        vaelab.errors.InputError: `low <= high` must hold for lr, but got low=3, high=1; swap them.
        """
        kind = _number_kind_of(name, of)
        ends: list[Any] = []
        for end in (low, high):
            if isinstance(end, bool) or not isinstance(end, Real):
                raise InputError(f"the ends of a range must be numbers, but {name} got {shown(end)}.")
            if kind is int and not isinstance(end, Integral):
                raise InputError(f"the ends of {name} must be whole numbers, but got {shown(end)}; write {name}=1..20.")
            # Spec refuses what it does not allow, so that no trial of the study can fail by its settings.
            of.create(**{name: end})
            ends.append(kind(end))
        if low > high:
            raise InputError(f"`low <= high` must hold for {name}, but got low={low}, high={high}; swap them.")
        # Spec refuses whole numbers between allowed ones for their parity alone: the next one tells.
        if kind is int and low < high and not _allows(of, name, int(low) + 1):
            raise InputError(
                f"a range must hold allowed values alone, but {name}={int(low) + 1} is none; list its choices, as "
                f"{name}={low},{high}."
            )
        if log and low <= 0:
            raise InputError(f"`low > 0` must hold for {name} on a log scale, but got low={low}; raise it or drop log.")
        return cls(name, "int" if kind is int else "float", ends[0], ends[1], log)

    @classmethod
    def choice(cls, name: str, choices: Iterable[Any], of: type[ModelSpec] = Spec) -> Self:
        """A choice from a list. Hidden widths are kept as text, which Optuna can store.

        >>> Dimension.choice("hidden", [(512, 256), "128"])
        Dimension('hidden', 512-256,128)
        """
        _check_name(name, of)
        values = tuple(_canonical(name, value, of) for value in choices)
        if not values:
            raise InputError(f"{name} needs at least one choice, but its list is empty.")
        for k, value in enumerate(values):
            if value in values[:k]:
                raise InputError(f"the choices of {name} must differ, but {shown(value)} stands twice.")
        return cls(name, "choice", choices=values)

    @classmethod
    def parse(cls, name: str, value: Any, of: type[ModelSpec] = Spec) -> Self:
        """A dimension from text, a (low, high) or (low, high, "log") tuple, a list of choices, or a table.

        >>> Dimension.parse("lr", "1e-4..1e-2:log") == Dimension.parse("lr", (1e-4, 1e-2, "log"))
        True
        """
        _check_name(name, of)
        if isinstance(value, str):
            return cls._parse_text(name, value, of)
        if isinstance(value, tuple):
            if len(value) == 3 and value[2] == "log":
                return cls.range(name, value[0], value[1], log=True, of=of)
            if len(value) != 2:
                raise InputError(
                    f'a range is (low, high) or (low, high, "log"), but {name} got {shown(value)}; '
                    "choices go in a list."
                )
            return cls.range(name, value[0], value[1], of=of)
        if isinstance(value, list):
            return cls.choice(name, value, of)
        if isinstance(value, Mapping):
            for key in value:
                if key not in ("low", "high", "log", "choices"):
                    raise unknown_name(f"key of {name}", str(key), ("low", "high", "log", "choices"))
            if set(value) == {"choices"} and isinstance(value["choices"], list | tuple):
                return cls.choice(name, value["choices"], of)
            if not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
                raise InputError(f"{name} needs low and high, or a list of choices, but got {shown(value)}.")
            log = value.get("log", False)
            if not isinstance(log, bool):
                raise InputError(f"log must be true or false, but {name} got {shown(log)}.")
            return cls.range(name, value["low"], value["high"], log, of)
        raise InputError(
            f"{name} needs a range such as (1, 20) or a list of choices, but got {shown(value)}; "
            "a fixed value is a setting, not a search."
        )

    @classmethod
    def _parse_text(cls, name: str, text: str, of: type[ModelSpec]) -> Self:
        if ".." not in text:
            parts = [part.strip() for part in text.split(",")]
            if "" in parts:
                raise InputError(f"{name} has an empty choice in {shown(text)}; write {name}=a,b,c.")
            return cls.choice(name, [parse_value(name, part, of) for part in parts], of)
        kind = _number_kind_of(name, of)
        ends, colon, scale = text.partition(":")
        low, _, high = ends.partition("..")
        if colon and scale.strip() != "log":
            raise InputError(f"the scale of a range is log or left out, but {name} got {shown(scale)}.")
        if high.startswith("."):
            raise InputError(f"a range is written low..high, but {name} got {shown(text)}; write numbers as 0.5.")
        return cls.range(name, _number(name, low, kind), _number(name, high, kind), log=bool(colon), of=of)

    @property
    def text(self) -> str:
        """The dimension as `--search` takes it.

        >>> Dimension.parse("lr", (1e-4, 1e-2, "log")).text
        '0.0001..0.01:log'
        """
        if self.kind == "choice":
            return ",".join(str(choice) for choice in self.choices)
        return f"{self.low!r}..{self.high!r}" + (":log" if self.log else "")

    def __repr__(self) -> str:
        return f"Dimension({self.name!r}, {self.text})"

    def suggest(self, trial: Trial) -> Any:
        """The value that an Optuna trial takes on this dimension."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.choices)
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def grid(self, points: int) -> list[Any]:
        """Values spread over the dimension, ends included; all of up to 20 whole numbers, and all choices."""
        if self.kind == "choice":
            return list(self.choices)
        if self.low == self.high:
            return [self.low]
        if self.kind == "int" and self.high - self.low < 20:
            return list(range(int(self.low), int(self.high) + 1))
        shares = [k / (points - 1) for k in range(1, points - 1)]
        if self.log:
            inner = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            inner = [self.low + (self.high - self.low) * share for share in shares]
        if self.kind == "int":
            inner = [round(value) for value in inner]
        # Rounding may carry an inner value past an end, where Optuna would refuse it.
        inner = [min(max(value, self.low), self.high) for value in inner]
        return list(dict.fromkeys([self.low, *inner, self.high]))


@dataclass(frozen=True)
class Space:
    """The searched settings, in the order in which they are suggested.

    >>> space = Space.parse({"latent_dim": (1, 20), "lr": "1e-4..1e-2:log", "optimizer": ["adam", "sgd"]})
    >>> space.names
    ('latent_dim', 'lr', 'optimizer')
    >>> Space.from_json(space.to_json()) == space
    True
    """

    dimensions: tuple[Dimension, ...]
    of: type[ModelSpec] = Spec

    @classmethod
    def parse(cls, space: Mapping[str, Any] | Space, of: type[ModelSpec] = Spec) -> Space:
        """A space from a mapping: a tuple is a range, a list is choices, text is as `--search` takes it.

        Raises InputError with one line if a name is unknown or a range is not one that `of` allows.
        """
        if isinstance(space, Space):
            return space if space.of is of else cls.parse(space.to_json(), of)
        if not isinstance(space, Mapping):
            raise InputError(f"a search space is a mapping of settings to ranges, but got {shown(space)}.")
        if not space:
            raise InputError("a search space needs at least one setting, but got none.")
        dimensions = tuple(Dimension.parse(str(name), value, of) for name, value in space.items())
        names = [dimension.name for dimension in dimensions]
        idle = [name for name in names if name in of.under_hidden]
        if "hidden" in names and idle:
            raise InputError(f"`hidden` overrides {', '.join(idle)}; search either it or them.")
        return cls(dimensions, of)

    @classmethod
    def from_strings(cls, pairs: Sequence[str], of: type[ModelSpec] = Spec) -> Space:
        """A space from `--search` arguments.

        >>> Space.from_strings(["latent_dim=1..20", "hidden=512-256,256-128"]).to_json()
        {'latent_dim': '1..20', 'hidden': '512-256,256-128'}
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
        return cls.parse(texts, of)

    @classmethod
    def from_toml(cls, path: str | Path, of: type[ModelSpec] = Spec) -> Space:
        """A space from TOML: `name = "low..high"`, `name = ["a", "b"]` or `name = {low = 1, high = 20}`.

        Raises InputError if the file is missing, unreadable, over 1 MiB, or not TOML (with the line).
        """
        path = Path(path)
        try:
            if not path.is_file():
                raise InputError(f"the search space {shown(str(path))} is not a file; check the path.")
            if path.stat().st_size > LARGEST_SPACE_FILE:
                raise InputError(f"the search space {shown(str(path))} is over 1 MiB; give a TOML file.")
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read {shown(str(path))}: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{shown(str(path))} is not UTF-8 text; save it as UTF-8.") from error
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{shown(str(path))} is not TOML: {' '.join(str(error).split())}.") from error
        except RecursionError as error:
            raise InputError(f"{shown(str(path))} is nested too deeply for a search space.") from error
        return cls.parse(table, of)

    @classmethod
    def default(cls, shape: Sequence[int]) -> Space:
        """The space that `tune` searches for examples of this shape, unless told otherwise.

        Widths reach to four times the features but at most 1024, latent sizes to half the features but at most 64.
        Images from 16 x 16 on try convolutions too.

        >>> Space.default((8, 8)).to_json()["width"], Space.default((784,)).to_json()["width"]
        ('32..256:log', '128..1024:log')
        >>> [name for name in Space.default((28, 28)).names if name not in Space.default((784,))]
        ['network', 'channels']
        """
        features = math.prod(shape)
        both = len(shape) >= 2 and min(shape[:2]) >= SMALLEST_IMAGE
        widest = min(1024, max(64, 1 << (4 * features - 1).bit_length()))
        most = min(64, max(2, features // 2))
        return cls.parse(
            {
                "width": (widest // 8, widest, "log"),
                "latent_dim": (max(2, most // 16), most, "log"),
                **DEFAULT_RANGES,
                **(NETWORKS if both else {}),
            }
        )

    @classmethod
    def from_json(cls, table: Mapping[str, Any], of: type[ModelSpec] = Spec) -> Space:
        """The space that `to_json` gave."""
        return cls.parse(table, of)

    def to_json(self) -> dict[str, str]:
        """The space as plain text per setting, as `--search` takes it; the order of the settings is kept."""
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
        """The space less some settings, whether searched or not; may be empty.

        Fixing `hidden` drops layers, width and taper too, which it overrides.

        >>> Space.default((64,)).without(["hidden", "lr", "seed"]).names
        ('latent_dim', 'weight_decay', 'dropout')
        """
        if isinstance(names, str):
            raise TypeError("`without` takes a list of names")
        dropped = set(names)
        if "hidden" in dropped:
            dropped.update(self.of.under_hidden)
        kept = tuple(dimension for dimension in self.dimensions if dimension.name not in dropped)
        return Space(kept, self.of)

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """One value per setting, drawn by an Optuna trial (or anything that suggests as it does)."""
        return {dimension.name: dimension.suggest(trial) for dimension in self.dimensions}

    def grid(self, points_per_range: int = 5) -> dict[str, list[Any]]:
        """Values per setting, for Optuna's GridSampler: choices, up to 20 whole numbers, else spread points.

        >>> Space.parse({"latent_dim": (1, 4), "lr": (1e-4, 1.0, "log")}).grid(3)
        {'latent_dim': [1, 2, 3, 4], 'lr': [0.0001, 0.01, 1.0]}
        """
        if points_per_range < 2:
            raise InputError(f"`points_per_range >= 2` must hold for a grid, but got {points_per_range!r}.")
        return {dimension.name: dimension.grid(points_per_range) for dimension in self.dimensions}

    def spec(self, settings: Mapping[str, Any], params: Mapping[str, Any]) -> ModelSpec:
        """The Spec of one trial: the fixed settings, then the searched parameters.

        >>> Space.parse({"lr": (1e-4, 1e-2)}).spec({"latent_dim": 2}, {"lr": 1e-3}).lr
        0.001
        """
        return self.of.create(**{**settings, **params})


def check_disjoint(settings: Mapping[str, Any], space: Space) -> None:
    """Refuse settings that are both fixed and searched, and values that no Spec allows together.

    Raises InputError before anything is trained: every pair of ends or choices is tried beside `settings`.

    >>> check_disjoint({"lr": 1e-3}, Space.default((64,)))
    Traceback (most recent call last):
    vaelab.errors.InputError: `lr` is both set and searched; keep one of the two.
    """
    for name in settings:
        if name in space:
            raise InputError(f"`{name}` is both set and searched; keep one of the two.")
    idle = [name for name in space.of.under_hidden if name in space]
    if "hidden" in settings and idle:
        raise InputError(f"`hidden` is set and overrides {', '.join(idle)}; do not search them.")
    idle = [name for name in space.of.under_hidden if name in settings]
    if "hidden" in space and idle:
        raise InputError(f"`hidden` is searched and overrides {', '.join(idle)}; do not set them.")
    if "conv" not in networks_of(settings, space):
        check_idle({**settings, **dict.fromkeys(space.names)}, space.of)
    values = {dim.name: dim.choices or (dim.low, dim.high) for dim in space.dimensions}
    # No rule of Spec spans more than two settings.
    for names in itertools.combinations(values, min(2, len(values))):
        for corner in itertools.product(*(values[name] for name in names)):
            space.of.create(**{**settings, **dict(zip(names, corner, strict=True))})


def networks_of(settings: Mapping[str, Any], space: Space) -> tuple[str, ...]:
    """The kinds of network that trials of a study may have."""
    for dimension in space.dimensions:
        if dimension.name == "network":
            return dimension.choices
    return (settings.get("network", space.of.model_fields["network"].default),)


def _check_name(name: str, of: type[ModelSpec]) -> None:
    if name not in of.model_fields:
        raise unknown_name("setting", name, of.model_fields)


def _allows(of: type[ModelSpec], name: str, value: Any) -> bool:
    with contextlib.suppress(InputError):
        of.create(**{name: value})
        return True
    return False


def _number_kind_of(name: str, of: type[ModelSpec]) -> type:
    _check_name(name, of)
    kind = number_kind(name, of)
    if kind is None:
        example = "512-256,256-128" if name in WIDTHS else "a,b,c"
        raise InputError(f"`{name}` is not a number and has no range; list its choices as {name}={example}.")
    return kind


def _number(name: str, text: str, kind: type) -> Any:
    for parse in (int, float):
        with contextlib.suppress(ValueError):
            return parse(text)
    example = "1..20" if kind is int else "1e-4..1e-2:log"
    raise InputError(f"the ends of a range must be numbers, but {name} got {shown(text)}; write {name}={example}.")


def _canonical(name: str, value: Any, of: type[ModelSpec]) -> Any:
    """The value as Spec holds it, so that 1 and "1" are one choice; widths as text."""
    held = getattr(of.create(**{name: value}), name)
    if name not in WIDTHS:
        return held
    if held is None:
        raise InputError("a choice of `hidden` is written as '512-256', or 'none', but got None.")
    return written(name, held)
