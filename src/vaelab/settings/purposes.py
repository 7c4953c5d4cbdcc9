"""Purposes: what a user wants of a model, as yardsticks and the search space that serves them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vaelab.errors import InputError, unknown_name
from vaelab.settings import checks

MOST = 2  # purposes of one study, as of yardsticks


@dataclasses.dataclass(frozen=True)
class Purpose:
    """The yardsticks of a purpose, with labels and without, and its search space."""

    name: str
    meaning: str
    labelled: tuple[str, ...]  # yardsticks
    unlabelled: tuple[str, ...]
    ranges: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # added to the task's default space
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # fixed by default

    def yardsticks(self, has_labels: bool) -> tuple[str, ...]:
        return self.labelled if has_labels else self.unlabelled


def parse_purposes(given: str | Sequence[str], known: Mapping[str, Purpose]) -> tuple[Purpose, ...]:
    """One or two purposes by name, as a list or as text with a comma."""
    names = checks.names("purpose", given)
    for name in names:
        if name not in known:
            raise unknown_name("purpose", name, known)
    if not 1 <= len(set(names)) == len(names) <= MOST:
        raise InputError(f"a study is for one purpose or two different ones, but got {', '.join(names)}; keep two.")
    return tuple(known[name] for name in names)
