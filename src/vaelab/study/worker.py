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
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data import SPLITS, Column, Dataset
from vaelab.data.style import Style
from vaelab.errors import InputError
from vaelab.store import writing
from vaelab.study.task import Task

OF_ROWS = ("labels", "groups", "ids", "targets", "numbers")  # what a data set may hold of each row, besides x


def dump_data(data: Dataset, folder: Path) -> dict[str, Any]:
    """Write a data set to a file that all workers memory-map, so that they share one copy; returns how to open it."""
    x = folder / "x.npy"
    of_rows = {name: getattr(data, name) for name in OF_ROWS}
    held = [name for name, values in of_rows.items() if values is not None]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(data.x, np.memmap) and str(data.x.filename).endswith(".npy"):
            x = Path(str(data.x.filename))  # already memory-mapped: avoid a second large copy
        else:
            np.save(x, data.x)
        for name, rows in data.splits.items():
            np.save(folder / f"{name}.npy", rows)
        for name in held:
            np.save(folder / f"{name}.npy", np.asarray(of_rows[name]))
    facts = {
        "name": data.name,
        "classes": data.classes,
        "columns": [dataclasses.asdict(column) for column in data.columns],
        "split_seed": data.split_seed,
        "id_name": data.id_name,
        "left_out": dict(data.left_out),
        "notes": data.notes,
        "condition": data.condition,
        "style": dataclasses.asdict(data.style),
        "label_kind": data.label_kind,
    }
    return {
        **facts,
        "source": dict(data.source),
        "folder": str(folder),
        "x": str(x),
        "held": held,
    }


def open_data(where: dict[str, Any]) -> Dataset:
    folder = Path(where["folder"])
    rows = {name: np.load(folder / f"{name}.npy") for name in SPLITS}
    held = {name: np.load(folder / f"{name}.npy") for name in where["held"]}
    return Dataset(
        where["name"],
        np.load(where["x"], mmap_mode="r"),
        rows,
        classes=tuple(where["classes"]),
        columns=tuple(Column.from_dict(column) for column in where["columns"]),
        split_seed=where["split_seed"],
        condition=where["condition"],
        source=where["source"],
        id_name=where["id_name"],
        left_out=where["left_out"],
        notes=tuple(where["notes"]),
        style=Style(**where["style"]),
        label_kind=where["label_kind"],
        **held,
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
    from vaelab.engine.process import keep_freed_memory

    keep_freed_memory()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # other output must not enter the protocol

    def say(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")

    try:
        _serve(say)
    except InputError as error:
        say(error=str(error))
    except Exception as error:  # told to the parent, which a traceback among other output does not reach
        say(failure=in_one_line(error))


def in_one_line(error: Exception) -> str:
    """An exception and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{reason} ({Path(place.filename).name}, line {place.lineno})"


def _serve(say: Callable[..., None]) -> None:
    """Do the jobs of standard input, one a line."""
    from vaelab.engine.process import one_thread
    from vaelab.study import jobs

    opening = json.loads(sys.stdin.readline())
    task: Task = importlib.import_module(opening["task"]).TASK  # module named by the parent
    system = task.system(opening["yardstick"])
    feed = system.feed(open_data(opening["data"]), task.spec_type.create(**opening["spec"]))

    def progress(job: jobs.Job, epoch: int) -> None:
        say(progress=[m.name for m in job.members], epoch=epoch)

    with one_thread():
        for line in sys.stdin:
            job = jobs.Job.from_json(line, task.spec_type)
            say(outcomes=[dataclasses.asdict(o) for o in jobs.run(job, system, feed, progress)])


if __name__ == "__main__":
    main()
