"""Hires the crew of a study or a comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vaelab.data import Dataset
from vaelab.settings.spec import ModelSpec
from vaelab.study.balance import cores
from vaelab.study.crew import Crew
from vaelab.study.local_crew import LocalCrew
from vaelab.study.ray_options import Ray
from vaelab.study.task import Task


def hire(
    data: Dataset, spec: ModelSpec, task: Task, yardstick: str, *,
    workers: int | None, ray: Ray | None, scratch: Path, note: Callable[[str], None],
) -> Crew:  # fmt: skip
    """Workers on a Ray cluster if one is given, else on this machine: by default as many as there is room for.

    scratch: a folder for what local workers share. note: called with messages for the user.
    """
    if ray is None:
        return LocalCrew(data, spec, cores() if workers is None else workers, scratch, task, yardstick)
    from vaelab.study.ray_crew import RayCrew  # ray is an extra

    return RayCrew(data, spec, workers, ray, task, yardstick, note)
