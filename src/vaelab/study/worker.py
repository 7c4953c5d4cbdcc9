"""A worker process: reads jobs as JSON lines, answers with JSON lines, one thread, exits with its parent.

Run as `python -m vaelab.study.worker PARENT`, a process id; standard output is reserved for the protocol.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data import SPLITS, Dataset
from vaelab.errors import InputError
from vaelab.study.task import Task


def dump_data(data: Dataset, folder: Path) -> dict[str, Any]:
    """Write a data set to a file that all workers memory-map, so that they share one copy; returns how to open it."""
    folder.mkdir(parents=True, exist_ok=True)
    x = folder / "x.npy"
    if isinstance(data.x, np.memmap) and str(data.x.filename).endswith(".npy"):
        x = Path(str(data.x.filename))  # already memory-mapped: avoid a second large copy
    else:
        np.save(x, data.x)
    for name, rows in data.splits.items():
        np.save(folder / f"{name}.npy", rows)
    if data.labels is not None:
        np.save(folder / "labels.npy", data.labels)
    facts = {
        "name": data.name,
        "classes": data.classes,
        "features": data.features,
        "split_seed": data.split_seed,
    }
    return {
        **facts,
        "source": dict(data.source),
        "folder": str(folder),
        "x": str(x),
        "labelled": data.labels is not None,
    }


def open_data(where: dict[str, Any]) -> Dataset:
    folder = Path(where["folder"])
    rows = {name: np.load(folder / f"{name}.npy") for name in SPLITS}
    return Dataset(
        where["name"],
        np.load(where["x"], mmap_mode="r"),
        rows,
        np.load(folder / "labels.npy") if where["labelled"] else None,
        tuple(where["classes"]),
        tuple(where["features"]),
        where["split_seed"],
        source=where["source"],
    )


def _leave_with_parent(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve jobs until standard input ends."""
    _leave_with_parent(int(sys.argv[1]))
    from vaelab.engine.process import keep_freed_memory, one_thread
    from vaelab.study import jobs

    keep_freed_memory()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # other output must not enter the protocol

    def say(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")

    opening = json.loads(sys.stdin.readline())
    task: Task = importlib.import_module(opening["task"]).TASK  # module named by the parent
    system = task.system(opening["yardstick"])
    feed = system.feed(open_data(opening["data"]), task.spec_type.create(**opening["spec"]))

    def progress(job: jobs.Job, epoch: int) -> None:
        say(progress=[m.name for m in job.members], epoch=epoch)

    with one_thread():
        for line in sys.stdin:
            job = jobs.Job.from_json(line, task.spec_type)
            try:
                say(outcomes=[dataclasses.asdict(o) for o in jobs.run(job, system, feed, progress)])
            except InputError as error:
                say(error=str(error))


if __name__ == "__main__":
    main()
