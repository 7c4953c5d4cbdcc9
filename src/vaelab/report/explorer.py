"""The data of the page's explorer; callers build it, since only they know the models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Builds the explorer for models in run folders, by name. Arguments: the folders, whether the test split may be shown,
# and a list that collects what could not be read.
Explore = Callable[[Mapping[str, Path], bool, list[str]], "Explorer | None"]


def no_explorer(folders: Mapping[str, Path], test_is_open: bool, notes: list[str]) -> None:
    """For a page without an explorer."""


@dataclasses.dataclass(frozen=True)
class Explorer:
    """The text for the template and the data for the script."""

    summary: str
    data: dict[str, Any]

    @property
    def decodes(self) -> bool:
        """Whether the page contains any model's decoder."""
        return any(model["decoder"] is not None for model in self.data["models"])
