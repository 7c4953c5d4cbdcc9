"""Names that may stand in settings and options, and the things they mean, which load when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from vaelab.errors import unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name. A name that is not known raises InputError; none falls through to another.

    homes: where each thing is defined, as "package.module:NAME". A thing's module is imported when it is first asked
    for, so that names can be checked before anything heavy loads.

    >>> digits = Registry[str]("kind of digit", {"octal": "string:octdigits", "decimal": "string:digits"})
    >>> list(digits), digits["octal"]
    (['octal', 'decimal'], '01234567')
    >>> digits["octl"]
    Traceback (most recent call last):
    vaelab.errors.InputError: unknown kind of digit 'octl'; did you mean 'octal'?
    """

    def __init__(self, what: str, homes: Mapping[str, str]):
        self.what, self.homes = what, dict(homes)

    def __getitem__(self, name: str) -> T:
        if name not in self.homes:
            raise unknown_name(self.what, name, self.homes)
        module, _, attribute = self.homes[name].partition(":")
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        return name in self.homes

    def __iter__(self) -> Iterator[str]:
        return iter(self.homes)

    def __len__(self) -> int:
        return len(self.homes)
