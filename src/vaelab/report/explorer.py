"""What the page's explorer is given: callers make it, since only they know the models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Makes the explorer of the models in some run folders, by name. It is told whether the points of the test split may be
# shown, and adds to the list what it could not read.
Explore = Callable[[Mapping[str, Path], bool, list[str]], "Explorer | None"]


def no_explorer(folders: Mapping[str, Path], test_is_open: bool, notes: list[str]) -> None:
    """Of a page without one."""


@dataclasses.dataclass(frozen=True)
class Explorer:
    """What the template says, and what the script reads."""

    summary: str
    data: dict[str, Any]

    @property
    def decodes(self) -> bool:
        """Whether any model's decoder is in the page."""
        return any(model["decoder"] is not None for model in self.data["models"])
