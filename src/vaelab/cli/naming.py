"""Messages of the library name arguments of Python, `out`; on the command line these are options, --out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

# The options of the command that runs, by argument.
OPTIONS: ContextVar[Mapping[str, str]] = ContextVar("OPTIONS", default=MappingProxyType({}))


@contextmanager
def options_of(named: Mapping[str, str]) -> Iterator[None]:
    """While a command with these options runs."""
    token = OPTIONS.set(named)
    try:
        yield
    finally:
        OPTIONS.reset(token)


def in_options(text: str) -> str:
    """A message in which arguments that are options of the running command are called as on the command line.

    >>> with options_of({"out": "--out"}):
    ...     in_options("`out` is taken; give another `out`, or fewer `labels`.")
    '--out is taken; give another --out, or fewer `labels`.'

    Keys of a file are none, whatever their names.

    >>> with options_of({"noise": "--noise"}):
    ...     in_options("`noise` of beam.toml must be at least 0.")
    '`noise` of beam.toml must be at least 0.'
    """
    known = OPTIONS.get()
    return re.sub(r"`(\w+)`(?! of \S+\.toml)", lambda found: known.get(found[1], found[0]), text)
