"""Registries: names used in settings and options, and the objects they stand for, loaded on demand."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from vaelab.errors import unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Objects of one kind by name. An unknown name raises InputError; there is no fallback.

    homes: where each object is defined, as "package.module:NAME". Its module is imported on first use, so that names
    can be checked before anything heavy is loaded.

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
