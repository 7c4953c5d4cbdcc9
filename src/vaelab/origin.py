"""The command or call in Python that is being carried out: pages and folders tell it, without passwords."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_current: ContextVar[str] = ContextVar("command", default="")
PACKAGE = "vaelab"
LONGEST = 20  # items of a list that are written out


def command() -> str:
    """What is being carried out; "" if nobody said."""
    return _current.get()


@contextlib.contextmanager
def carrying_out(text: str) -> Iterator[None]:
    """While it lasts, `command` is `text`, unless it is part of another command.

    >>> with carrying_out(of_arguments(["train", "my table.csv"])), carrying_out("vaelab.train(x)"):
    ...     command()
    "vaelab train 'my table.csv'"
    """
    token = _current.set(_current.get() or text)
    try:
        yield
    finally:
        _current.reset(token)


def of_arguments(arguments: Sequence[str]) -> str:
    """The command line of vaelab with these arguments.

    >>> of_arguments(["tune", "digits", "--storage", "postgresql://ann:secret@host/db"])
    "vaelab tune digits --storage 'postgresql://ann:***@host/db'"
    """
    return shlex.join(["vaelab", *map(_hidden, arguments)])


def _hidden(text: str) -> str:
    """Text without the passwords of addresses in it."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*):.*@", r"\1:***@", text))


def told(function: Callable[P, R]) -> Callable[P, R]:
    """A function of `vaelab` whose calls are told; arrays and other objects by the parameter's name.

    >>> def train(x, spec=None, *, out=None, note=print): return command()
    >>> told(train)([1.5] * 99, {"epochs": 2}, out="runs/a", note=len)
    "vaelab.train(x, {'epochs': 2}, out='runs/a')"
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def told_function(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            unknown = [name for name in kwargs if name not in signature.parameters]
            if unknown:
                raise _unknown_argument(function.__name__, unknown[0], signature.parameters) from None
            return function(*args, **kwargs)  # which says what is wrong
        positional = list(signature.parameters)[: len(args)]
        parts = []
        for name, value in bound.arguments.items():
            if not callable(value):
                parts.append(_written(name, value) if name in positional else f"{name}={_written(name, value)}")
        with carrying_out(f"{PACKAGE}.{function.__name__}({', '.join(parts)})"):
            return function(*args, **kwargs)

    return told_function


def _unknown_argument(function: str, name: str, known: Collection[str]) -> TypeError:
    """The error for an argument that a function does not have: the nearest one, or where settings go.

    >>> print(_unknown_argument("train", "epochs", ["x", "spec", "out"]))
    vaelab.train has no argument 'epochs'; settings of the model are in `spec`, as in spec={'epochs': ...}.
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    place = next((each for each in ("settings", "spec") if each in known), None)
    remedy = f"known: {', '.join(known)}."
    if near:
        remedy = f"did you mean {near[0]!r}?"
    elif place is not None:
        remedy = f"settings of the model are in `{place}`, as in {place}={{{name!r}: ...}}."
    return TypeError(f"{PACKAGE}.{function} has no argument {name!r}; {remedy}")


def _written(name: str, value: Any) -> str:
    if isinstance(value, str | Path):
        return repr(_hidden(str(value)))
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_written(str(key), item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple) and len(value) <= LONGEST:
        items = ", ".join(_written(name, item) for item in value)
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' * (len(value) == 1)})"
    return name
