"""The interface of a crew, which does a study's jobs: here, in worker processes, or on the machines of a cluster."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from vaelab.data import Dataset
from vaelab.settings.spec import ModelSpec
from vaelab.study.jobs import Job, Outcome
from vaelab.study.task import Task

MAX_DEATHS = 3  # of workers in a row, with the same job
Progress = Callable[[Sequence[str], int], None]  # names of members, epoch


class WorkerDied(RuntimeError):
    """A job failed in its worker, or killed it several times in a row."""


class Crew(abc.ABC):
    """Does jobs. Their outcomes, checkpoints and run folders are the same whichever crew does them."""

    workers: int  # jobs done at the same time

    def __init__(self, data: Dataset, spec: ModelSpec, task: Task, yardstick: str):
        self.data, self.spec, self.task, self.yardstick = data, spec, task, yardstick
        self.system = task.system(yardstick)
        self.has_worked = False  # whether anything was trained
        self._feed: Any = None

    @property
    def feed(self) -> Any:
        """The data as seen by this process."""
        if self._feed is None:
            self._feed = self.system.feed(self.data, self.spec)
        return self._feed

    def run(self, todo: Sequence[Job], progress: Progress) -> dict[str, Outcome]:
        """Do all jobs, longest first as given; outcomes by member name.

        Raises WorkerDied if a job fails or repeatedly kills its worker, StoreError if files cannot be written.
        """
        self.has_worked = self.has_worked or bool(todo)
        return self._run(todo, progress)

    @abc.abstractmethod
    def _run(self, todo: Sequence[Job], progress: Progress) -> dict[str, Outcome]: ...

    @abc.abstractmethod
    def dismiss(self) -> None:
        """Stop the workers and free their memory when nothing is left to train."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.dismiss()


def died(reason: str, job: Job) -> WorkerDied:
    """The error for a job with which MAX_DEATHS workers died in a row."""
    return WorkerDied(
        f"a worker died {MAX_DEATHS} times in a row ({reason}) while training {names(job)}; if memory is short, "
        "use fewer `workers` or a smaller `batch_size`, then resume."
    )


def failed(reason: str, job: Job) -> WorkerDied:
    """The error for a job that raised an exception in its worker."""
    return WorkerDied(
        f"a worker failed while training {names(job)}: {reason}; finished work is kept, and can be resumed."
    )


def names(job: Job) -> str:
    return ", ".join(member.name for member in job.members)
