"""A worker on a node of a Ray cluster: gets jobs and checkpoints as bytes, and returns what they become."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import platform
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaelab.data import Dataset
from vaelab.engine import fused
from vaelab.engine.process import keep_freed_memory, one_thread
from vaelab.errors import InputError
from vaelab.study import jobs
from vaelab.study.checkpoints import checkpoint_path
from vaelab.study.jobs import Job
from vaelab.study.parcels import pack_folder
from vaelab.study.task import Task
from vaelab.study.worker import in_one_line

PROGRESS_SECONDS = 0.2  # between two messages to the terminal
Message = dict[str, Any]


def environment() -> dict[str, str]:
    """What must be the same on every node, since results depend on it."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "numba")}
    return {"vaelab": _sources(), "Python": ".".join(platform.python_version_tuple()[:2]), **versions}


def _sources() -> str:
    """A digest of vaelab's own code: also what is not released has a version."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def vector_units() -> str:
    """The vector instructions of this processor, on which the last digits of results may depend."""
    return torch.backends.cpu.get_cpu_capability()


class RayWorker:
    """A Ray actor. It keeps nothing between two jobs but the data."""

    def __init__(self, task: str, yardstick: str, spec: Mapping[str, Any], data: Dataset):
        keep_freed_memory()
        self.task: Task = importlib.import_module(task).TASK  # module named by the parent
        self.system = self.task.system(yardstick)
        base = self.task.spec_type.create(**spec)
        if base.fuses:
            fused.prepare(self.system.method.kernels)
        self.feed = self.system.feed(_own(data), base)

    def about(self) -> dict[str, Any]:
        """Its node and what it computes with."""
        import ray

        context = ray.get_runtime_context()
        return {
            "node": context.get_node_id(),
            "environment": environment(),
            "vector_units": vector_units(),
            "gpus": ray.get_gpu_ids(),
        }

    def do(self, text: str, checkpoints: Mapping[str, bytes]) -> Iterator[Message]:
        """Do a job, from the checkpoints of its members; yields progress, new checkpoints and, last, the outcomes."""
        messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._train, args=(text, checkpoints, messages.put), daemon=True).start()
        while (message := messages.get()) is not None:
            yield message

    def _train(self, text: str, checkpoints: Mapping[str, bytes], say: Callable[[Message | None], None]) -> None:
        """In a thread of its own, since `do` must yield meanwhile."""
        try:
            with tempfile.TemporaryDirectory(prefix="vaelab-") as folder, one_thread():
                self._do(Job.from_json(text, self.task.spec_type), checkpoints, Path(folder), say)
        except InputError as error:
            say({"error": str(error)})
        except Exception as error:  # told to the parent, like a local worker's
            say({"failure": in_one_line(error)})
        finally:
            say(None)

    def _do(
        self, job: Job, checkpoints: Mapping[str, bytes], folder: Path, say: Callable[[Message | None], None]
    ) -> None:
        work, runs = folder / "work", folder / "runs"
        work.mkdir()
        for name, content in checkpoints.items():
            checkpoint_path(work, name).write_bytes(content)
        sent = {name: _written(work, name) for name in checkpoints}
        told = -PROGRESS_SECONDS

        def send_checkpoints() -> None:
            for member in job.members:
                now = _written(work, member.name)
                if now != sent.get(member.name):
                    sent[member.name] = now
                    say({"checkpoint": member.name, "content": checkpoint_path(work, member.name).read_bytes()})

        def progress(running: Job, epoch: int) -> None:
            nonlocal told
            send_checkpoints()
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                say({"progress": [member.name for member in running.members], "epoch": epoch})

        here = dataclasses.replace(job, work=str(work), folders={name: str(runs / name) for name in job.folders})
        outcomes = jobs.run(here, self.system, self.feed, progress)
        send_checkpoints()
        for name in job.folders:
            if files := pack_folder(runs / name):
                say({"run": name, "files": files})
        say({"outcomes": [dataclasses.asdict(outcome) for outcome in outcomes]})


def _written(work: Path, name: str) -> int | None:
    """When a member's checkpoint was last written."""
    path = checkpoint_path(work, name)
    return path.stat().st_mtime_ns if path.exists() else None


def portable(data: Dataset) -> Dataset:
    """The data in memory, for the object store: a memory map is a file of this machine."""
    return dataclasses.replace(data, x=np.asarray(data.x))


def _own(data: Dataset) -> Dataset:
    """The data from the object store, in which every array is read-only: the large one is left there."""
    fields = {name: getattr(data, name) for name in ("labels", "groups", "ids", "targets", "numbers")}
    copies = {name: values.copy() for name, values in fields.items() if values is not None}
    return dataclasses.replace(data, splits={name: rows.copy() for name, rows in data.splits.items()}, **copies)
