"""A crew on a Ray cluster. This process asks, judges and writes every file; the workers, Ray actors, only train."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray import exceptions

from vaelab import store
from vaelab.data import Dataset
from vaelab.errors import InputError, StoreError
from vaelab.settings.spec import ModelSpec
from vaelab.study.checkpoints import checkpoint_path
from vaelab.study.crew import MAX_DEATHS, Crew, Progress, WorkerDied, died, failed, names
from vaelab.study.jobs import Job, Outcome
from vaelab.study.parcels import unpack_folder
from vaelab.study.ray_options import Ray
from vaelab.study.ray_worker import RayWorker, environment, portable, vector_units
from vaelab.study.task import Task
from vaelab.wording import counted

MAX_LOSSES = 20  # of nodes in a row, with the same job: more than preemption explains
PATIENCE = 30.0  # seconds without any worker after which the user is told why


class RayCrew(Crew):
    """Does jobs with actors on the nodes of a cluster; no file system has to be shared with them.

    A node that is lost takes no job with it: another worker continues from the last checkpoint that came back.
    """

    def __init__(
        self, data: Dataset, spec: ModelSpec, workers: int | None, cluster: Ray, task: Task, yardstick: str,
        note: Callable[[str], None],
    ):  # fmt: skip
        """workers: by default as many as the cluster has room for. note: called with messages for the user."""
        cluster.check_device(spec.device)
        super().__init__(data, spec, task, yardstick)
        self.cluster, self.note, self._wanted = cluster, note, workers
        self._actors: list[_Actor] = []
        self._joined = False  # whether this object connected to the cluster, and must leave it
        self._output = contextlib.ExitStack()
        self._told = set[str]()

    def __enter__(self) -> Self:
        self._connect()
        # Ray prints its own troubles on standard output, where only results belong.
        self._output.enter_context(contextlib.redirect_stdout(sys.stderr))
        room = self.cluster.fits(ray.cluster_resources())
        if self._wanted is None and not room:
            self._leave()
            raise InputError(
                f"no node of the Ray cluster has room for a worker with {_in_words(self.cluster)}; add nodes, ask for "
                "less per worker, or give `workers` if the cluster grows by itself."
            )
        self.workers = self._wanted or room
        self._class = ray.remote(max_restarts=0, max_task_retries=0)(RayWorker).options(
            num_cpus=self.cluster.cpus_per_worker, num_gpus=self.cluster.gpus_per_worker
        )
        self._data = ray.put(portable(self.data))
        self._fill()
        return self

    def _fill(self) -> None:
        while len(self._actors) < self.workers:
            self._actors.append(self._hire())

    def _connect(self) -> None:
        """Join the cluster; Ray's own handler of SIGTERM does not replace the caller's."""
        if ray.is_initialized():
            return
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=self.cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError, exceptions.RayError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"cannot join the Ray cluster {self.cluster.address}: {reason[:300]}; check the address, or start one "
                "with `ray start`."
            ) from None
        finally:
            with contextlib.suppress(ValueError):  # not in the main thread, where Ray sets none
                signal.signal(signal.SIGTERM, handler)
        self._joined = True

    def _leave(self) -> None:
        self._output.close()
        if self._joined:
            ray.shutdown()
            self._joined = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.dismiss()
        self._leave()

    def dismiss(self) -> None:
        for actor in list(self._actors):
            self._dismiss(actor)

    def _dismiss(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        if ray.is_initialized():  # else there is no cluster any more, and Ray would start one
            with contextlib.suppress(exceptions.RayError):  # it may be gone already
                ray.kill(actor.handle)

    def _hire(self) -> _Actor:
        """A new worker, which Ray starts when and where there is room."""
        handle = self._class.remote(
            type(self.task).__module__, self.yardstick, self.spec.model_dump(mode="json"), self._data
        )
        return _Actor(handle, handle.about.remote())

    def _run(self, todo: Sequence[Job], progress: Progress) -> dict[str, Outcome]:
        self._fill()
        try:
            return self._do(collections.deque(map(_Task, todo)), progress)
        finally:
            for actor in [each for each in self._actors if each.task]:  # after an error: nobody hears them any more
                self._dismiss(actor)

    def _do(self, waiting: collections.deque[_Task], progress: Progress) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        while waiting or any(actor.task for actor in self._actors):
            for actor in self._actors:
                if waiting and actor.is_idle:
                    actor.start(waiting.popleft())
            for actor in self._ready():
                try:
                    self._hear(actor, outcomes, progress)
                except exceptions.RayActorError as error:
                    if (task := self._replace(actor, error)) is not None:
                        waiting.appendleft(task)
        return outcomes

    def _ready(self) -> Iterator[_Actor]:
        """The workers from which there is news; waits for some."""
        expected = {id(actor.awaited): actor for actor in self._actors if actor.awaited is not None}
        ready, _ = ray.wait([actor.awaited for actor in expected.values()], timeout=PATIENCE)
        if not ready and not any(actor.node for actor in self._actors):
            self._tell_once(
                f"waiting for Ray to start a worker: each needs {_in_words(self.cluster)}, and the cluster has "
                f"{ray.cluster_resources().get('CPU', 0):g} CPUs and {ray.cluster_resources().get('GPU', 0):g} GPUs."
            )
        yield from (expected[id(one)] for one in ready)

    def _hear(self, actor: _Actor, outcomes: dict[str, Outcome], progress: Progress) -> None:
        """Take a worker's next message."""
        if actor.task is None:
            self._admit(actor, ray.get(actor.awaited))
            return
        job, message = actor.task.job, ray.get(next(actor.awaited))
        if "progress" in message:
            progress(message["progress"], message["epoch"])
        elif "checkpoint" in message:
            store.write_atomic(checkpoint_path(Path(job.work), message["checkpoint"]), message["content"], synced=False)
        elif "run" in message:
            unpack_folder(message["files"], Path(job.folders[message["run"]]))
        else:
            actor.task = actor.awaited = None
            if "error" in message:
                raise StoreError(message["error"])
            if "failure" in message:
                raise failed(message["failure"], job)
            outcomes.update({o["name"]: Outcome(**o) for o in message["outcomes"]})

    def _admit(self, actor: _Actor, about: dict[str, Any]) -> None:
        """Refuse a node whose software would change results; tell of a processor that may."""
        actor.node, actor.awaited = about["node"], None
        for name, version in environment().items():
            if about["environment"][name] != version:
                raise InputError(
                    f"a node of the Ray cluster has {name} {about['environment'][name]}, but here it is {version}; "
                    "install the same versions on every node."
                )
        if about["vector_units"] != vector_units():
            self._tell_once(
                f"nodes have different processors ({vector_units()} here, {about['vector_units']} on another): results "
                "may differ in their last digits from those of one machine."
            )

    def _replace(self, actor: _Actor, error: exceptions.RayActorError) -> _Task | None:
        """A new worker for one that is lost, whose job is to be continued. Losing a node is not the job's fault."""
        self._dismiss(actor)  # should it only be out of reach, it must not compute on
        reason = " ".join(str(error).split())
        if error.actor_init_failed:
            raise WorkerDied(f"a worker could not be started on a node of the Ray cluster: {reason[-600:]}")
        self._actors.append(self._hire())
        task = actor.task
        if task is None:
            return None
        task.losses += 1
        if isinstance(error, exceptions.ActorDiedError) and not error.preempted:
            task.deaths.append(actor.node)
        if len(task.deaths) >= MAX_DEATHS:  # by now Ray knows which of these nodes died themselves
            alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            task.deaths = [node for node in task.deaths if node in alive]
        if len(task.deaths) >= MAX_DEATHS:
            raise died(_cause(reason), task.job)
        if task.losses >= MAX_LOSSES:
            raise WorkerDied(
                f"{counted(task.losses, 'worker')} in a row were lost with their nodes while training "
                f"{names(task.job)}; give workers more memory (`cpus_per_worker`), then resume."
            )
        return task

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.note(text)


@dataclasses.dataclass
class _Task:
    """A job, and what was lost with it: nodes of workers that died, and workers in all."""

    job: Job
    deaths: list[str] = dataclasses.field(default_factory=list)
    losses: int = 0


@dataclasses.dataclass(eq=False)
class _Actor:
    """A worker: `node` is "" until it has started, `awaited` is what it was last asked for."""

    handle: Any
    awaited: Any
    node: str = ""
    task: _Task | None = None

    @property
    def is_idle(self) -> bool:
        return bool(self.node) and self.task is None

    def start(self, task: _Task) -> None:
        """Give it a job, with the checkpoints of its members."""
        found = {member.name: checkpoint_path(Path(task.job.work), member.name) for member in task.job.members}
        self.task = task
        self.awaited = self.handle.do.options(num_returns="streaming").remote(
            task.job.to_json(), {name: path.read_bytes() for name, path in found.items() if path.exists()}
        )


def _cause(reason: str) -> str:
    """The cause in Ray's long message on a worker that died."""
    for sign, words in {"OOM": "out of memory", "out of memory": "out of memory"}.items():
        if sign in reason and "Some common causes" not in reason:
            return words
    return "its process ended"


def _in_words(cluster: Ray) -> str:
    gpus = f" and {cluster.gpus_per_worker:g} GPU" if cluster.gpus_per_worker else ""
    return f"{cluster.cpus_per_worker:g} CPU{gpus}"
