"""Progress events of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaelab.settings.spec import ModelSpec
    from vaelab.study.config import Config


class Watch:
    """Progress events of a study; displayed by the command line, ignored by default."""

    def started(self, config: Config, numbers: Sequence[int]) -> None: ...

    def cohort(self, specs: Mapping[int, ModelSpec], rungs: Sequence[int]) -> None: ...

    def epoch(self, names: Sequence[str], epoch: int) -> None: ...

    def rung(self, rung: int, values: Mapping[int, float], kept: Sequence[int]) -> None: ...

    def finished(self, number: int, state: str, value: float | None) -> None: ...

    def finalists(self, numbers: Sequence[int], seeds: int) -> None: ...

    def note(self, text: str) -> None: ...
