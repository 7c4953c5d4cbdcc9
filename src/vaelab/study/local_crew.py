"""The crew of one machine: this process alone, or workers that are replaced if they die."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from vaelab.data import Dataset
from vaelab.engine.process import one_thread
from vaelab.errors import StoreError
from vaelab.settings.spec import ModelSpec
from vaelab.study import jobs
from vaelab.study.crew import MAX_DEATHS, Crew, Progress, died, failed
from vaelab.study.jobs import Job, Outcome
from vaelab.study.task import Task
from vaelab.study.worker import dump_data


class LocalCrew(Crew):
    """Does jobs with `workers` processes, or in this process if `workers` is 1."""

    def __init__(self, data: Dataset, spec: ModelSpec, workers: int, scratch: Path, task: Task, yardstick: str):
        super().__init__(data, spec, task, yardstick)
        self.workers, self.scratch = workers, scratch
        self._processes: list[_Process] = []
        self._opening = ""

    def __enter__(self) -> Self:
        if self.workers > 1:
            where = dump_data(self.data, self.scratch / "data")
            spec = self.spec.model_dump(mode="json")
            self._opening = json.dumps(
                {"task": type(self.task).__module__, "yardstick": self.yardstick, "data": where, "spec": spec}
            )
            self._processes = [_Process(self._opening, gpu(self.spec.device, n)) for n in range(self.workers)]
        return self

    def dismiss(self) -> None:
        while self._processes:
            self._processes.pop().stop()

    def _run(self, todo: Sequence[Job], progress: Progress) -> dict[str, Outcome]:
        if self.workers == 1:
            return self._run_here(todo, progress)
        waiting = collections.deque((job, 0) for job in todo)
        outcomes: dict[str, Outcome] = {}
        idle = list(self._processes)
        with selectors.DefaultSelector() as selector:
            while waiting or selector.get_map():
                while waiting and idle:
                    process = idle.pop(0)
                    process.start(*waiting.popleft())
                    selector.register(process.answers, selectors.EVENT_READ, process)
                for key, _ in selector.select():
                    process = key.data
                    for message in process.read():
                        if "progress" in message:
                            progress(message["progress"], message["epoch"])
                            continue
                        selector.unregister(process.answers)
                        if "outcomes" in message:
                            outcomes.update({o["name"]: Outcome(**o) for o in message["outcomes"]})
                            idle.append(process)
                        elif "error" in message:
                            raise StoreError(message["error"])
                        elif "failure" in message:
                            raise failed(message["failure"], process.job)
                        else:
                            waiting.appendleft(self._replace(process))
                            idle.append(self._processes[-1])
        return outcomes

    def _run_here(self, todo: Sequence[Job], progress: Progress) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        with one_thread():
            for job in todo:
                done = jobs.run(
                    job, self.system, self.feed, lambda j, epoch: progress([m.name for m in j.members], epoch)
                )
                outcomes.update({o.name: o for o in done})
        return outcomes

    def _replace(self, process: _Process) -> tuple[Job, int]:
        """A dead worker's job, to be redone from its checkpoints by a new worker."""
        job, deaths, reason = process.job, process.deaths + 1, process.bury()
        self._processes.remove(process)
        if deaths >= MAX_DEATHS:
            raise died(reason, job)
        self._processes.append(_Process(self._opening, process.own))
        return job, deaths


def gpu(device: str, number: int) -> dict[str, str]:
    """The environment that gives worker `number` a GPU of its own; nothing if there is one, or one was chosen."""
    if device != "cuda" or torch.cuda.device_count() < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    gpus = visible.split(",")
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}


class _Process:
    """One worker process and the job it has; `own` is what differs in its environment from the others'."""

    def __init__(self, opening: str, own: Mapping[str, str]):
        self.own = own
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **own}
        # -P: a file of the working folder, such as random.py, must not be imported in place of a module.
        command = [sys.executable, "-P", "-m", "vaelab.study.worker", str(os.getpid())]
        # A separate session sends Ctrl-C only to the parent, which then stops its workers in order.
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._input, self.answers = self._popen.stdin, self._popen.stdout
        self.job: Job
        self.deaths, self._rest = 0, b""
        self._send(opening)

    def _send(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a dead worker is detected when its answer is missing
            self._input.write(line.encode() + b"\n")
            self._input.flush()

    def start(self, job: Job, deaths: int) -> None:
        self.job, self.deaths = job, deaths
        self._send(job.to_json())

    def read(self) -> list[dict[str, Any]]:
        """The received messages; the last is empty if the worker is dead."""
        piece = os.read(self.answers.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [json.loads(line) for line in lines] + ([] if piece else [{}])

    def bury(self) -> str:
        self.stop()
        code = self._popen.returncode
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        self._popen.kill() if self._popen.poll() is None else None
        self._popen.wait()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self.answers.close()
