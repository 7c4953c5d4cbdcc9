"""One searched setting: a range or choices, parsed from text, tuples, lists and tables, and suggested by Optuna."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, Protocol, Self

from vaelab.errors import InputError, shown, unknown_name
from vaelab.settings.spec import WIDTHS, ModelSpec, number_kind, parse_value, written


class Suggester(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Dimension:
    """One searched setting: a range of whole (int) or real (float) numbers, ends included, or choices.

    Build it by `Dimension.range` or `Dimension.choice`, which check it against the settings of a `spec_type`.
    """

    name: str
    kind: Literal["int", "float", "choice"]
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def range(cls, name: str, low: Any, high: Any, log: bool = False, *, spec_type: type[ModelSpec]) -> Self:
        """The range from low to high, both included; on a logarithmic scale if `log`.

        >>> from vaelab import Spec
        >>> Dimension.range("latent_dim", 1, 20, spec_type=Spec)
        Dimension('latent_dim', 1..20)
        >>> Dimension.range("lr", 3, 1, spec_type=Spec)
        Traceback (most recent call last):
        vaelab.errors.InputError: `low <= high` must hold for lr, but got low=3, high=1; swap them.
        """
        kind = _number_kind_of(name, spec_type)
        ends: list[Any] = []
        for end in (low, high):
            if isinstance(end, bool) or not isinstance(end, Real):
                raise InputError(f"the ends of a range must be numbers, but {name} got {shown(end)}.")
            if kind is int and not isinstance(end, Integral):
                raise InputError(f"the ends of {name} must be whole numbers, but got {shown(end)}; write {name}=1..20.")
            # Spec rejects invalid values, so that no trial of the study can fail because of its settings.
            spec_type.create(**{name: end})
            ends.append(kind(end))
        if low > high:
            raise InputError(f"`low <= high` must hold for {name}, but got low={low}, high={high}; swap them.")
        # Spec rejects whole numbers between allowed ones only for their parity: testing the next one is enough.
        if kind is int and low < high and not _allows(spec_type, name, int(low) + 1):
            raise InputError(
                f"a range must contain only allowed values, but {name}={int(low) + 1} is not; list its choices, as "
                f"{name}={low},{high}."
            )
        if log and low <= 0:
            raise InputError(f"`low > 0` must hold for {name} on a log scale, but got low={low}; raise it or drop log.")
        return cls(name, "int" if kind is int else "float", ends[0], ends[1], log)

    @classmethod
    def choice(cls, name: str, choices: Iterable[Any], spec_type: type[ModelSpec]) -> Self:
        """A choice from a list. Hidden widths are kept as text, since Optuna can store that.

        >>> Dimension.choice("hidden", [(512, 256), "128"], ModelSpec)
        Dimension('hidden', 512-256,128)
        """
        _check_name(name, spec_type)
        values = tuple(_canonical(name, value, spec_type) for value in choices)
        if not values:
            raise InputError(f"{name} needs at least one choice, but its list is empty.")
        for k, value in enumerate(values):
            if value in values[:k]:
                raise InputError(f"the choices of {name} must differ, but {shown(value)} appears twice.")
        return cls(name, "choice", choices=values)

    @classmethod
    def parse(cls, name: str, value: Any, spec_type: type[ModelSpec]) -> Self:
        """A dimension from text, a (low, high) or (low, high, "log") tuple, a list of choices, or a table.

        >>> Dimension.parse("lr", "1e-4..1e-2:log", ModelSpec) == Dimension.parse("lr", (1e-4, 1e-2, "log"), ModelSpec)
        True
        """
        _check_name(name, spec_type)
        if isinstance(value, str):
            return cls._parse_text(name, value, spec_type)
        if isinstance(value, tuple):
            if len(value) == 3 and value[2] == "log":
                return cls.range(name, value[0], value[1], log=True, spec_type=spec_type)
            if len(value) != 2:
                raise InputError(
                    f'a range is (low, high) or (low, high, "log"), but {name} got {shown(value)}; '
                    "choices go in a list."
                )
            return cls.range(name, value[0], value[1], spec_type=spec_type)
        if isinstance(value, list):
            return cls.choice(name, value, spec_type)
        if isinstance(value, Mapping):
            for key in value:
                if key not in ("low", "high", "log", "choices"):
                    raise unknown_name(f"key of {name}", str(key), ("low", "high", "log", "choices"))
            if set(value) == {"choices"} and isinstance(value["choices"], list | tuple):
                return cls.choice(name, value["choices"], spec_type)
            if not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
                raise InputError(f"{name} needs low and high, or a list of choices, but got {shown(value)}.")
            log = value.get("log", False)
            if not isinstance(log, bool):
                raise InputError(f"log must be true or false, but {name} got {shown(log)}.")
            return cls.range(name, value["low"], value["high"], log, spec_type=spec_type)
        raise InputError(
            f"{name} needs a range such as (1, 20) or a list of choices, but got {shown(value)}; "
            "a fixed value is a setting, not a search."
        )

    @classmethod
    def _parse_text(cls, name: str, text: str, spec_type: type[ModelSpec]) -> Self:
        if ".." not in text:
            parts = [part.strip() for part in text.split(",")]
            if "" in parts:
                raise InputError(f"{name} has an empty choice in {shown(text)}; write {name}=a,b,c.")
            return cls.choice(name, [parse_value(name, part, spec_type) for part in parts], spec_type)
        kind = _number_kind_of(name, spec_type)
        ends, colon, scale = text.partition(":")
        low, _, high = ends.partition("..")
        if colon and scale.strip() != "log":
            raise InputError(f"the scale of a range must be log or omitted, but {name} got {shown(scale)}.")
        if high.startswith("."):
            raise InputError(f"a range is written low..high, but {name} got {shown(text)}; write numbers as 0.5.")
        return cls.range(
            name, _number(name, low, kind), _number(name, high, kind), log=bool(colon), spec_type=spec_type
        )

    @property
    def text(self) -> str:
        """The dimension in `--search` syntax.

        >>> Dimension.parse("lr", (1e-4, 1e-2, "log"), ModelSpec).text
        '0.0001..0.01:log'
        """
        if self.kind == "choice":
            return ",".join(str(choice) for choice in self.choices)
        return f"{self.low!r}..{self.high!r}" + (":log" if self.log else "")

    def __repr__(self) -> str:
        return f"Dimension({self.name!r}, {self.text})"

    def suggest(self, trial: Suggester) -> Any:
        """The value that an Optuna trial suggests for this dimension."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.choices)
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def nearest(self, value: Any) -> Any:
        """The value of this dimension that is nearest to a setting's; of choices without it, the first.

        >>> Dimension.parse("lr", (1e-4, 1e-2), ModelSpec).nearest(1.0), Dimension("norm", "choice", choices=("group",))
        (0.01, Dimension('norm', group))
        """
        if self.kind == "choice":
            text = written(self.name, value) if self.name in WIDTHS and value is not None else value
            return text if text in self.choices else self.choices[0]
        return (int if self.kind == "int" else float)(min(max(value, self.low), self.high))

    def grid(self, points: int) -> list[Any]:
        """Values spread over the dimension, ends included; up to 20 whole numbers and choices in full."""
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
        # Rounding may move an inner value past an end, which Optuna would reject.
        inner = [min(max(value, self.low), self.high) for value in inner]
        return list(dict.fromkeys([self.low, *inner, self.high]))


def _check_name(name: str, spec_type: type[ModelSpec]) -> None:
    if name not in spec_type.model_fields:
        raise unknown_name("setting", name, spec_type.model_fields)


def _allows(spec_type: type[ModelSpec], name: str, value: Any) -> bool:
    with contextlib.suppress(InputError):
        spec_type.create(**{name: value})
        return True
    return False


def _number_kind_of(name: str, spec_type: type[ModelSpec]) -> type:
    _check_name(name, spec_type)
    kind = number_kind(name, spec_type)
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


def _canonical(name: str, value: Any, spec_type: type[ModelSpec]) -> Any:
    """The value as Spec stores it, so that 1 and "1" are one choice; widths as text."""
    held = getattr(spec_type.create(**{name: value}), name)
    if name not in WIDTHS:
        return held
    if held is None:
        raise InputError("a choice of `hidden` is written as '512-256', or 'none', but got None.")
    return written(name, held)
