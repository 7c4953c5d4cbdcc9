"""Ten thousand small trials: seconds per trial, where they go, and memory, beside a thousand.

    python benchmarks/ten_thousand.py [--trials 1000 10000] [--sampler tpe] [--ray ADDRESS] [--smoke]

Each row is a study in a process of its own: VAEs of a table with 60 rows, two epochs, pruning on, no pictures, one
worker unless `--ray` gives others. Training is then so short that the study's own cost shows: suggestions, the
database, the files of trials, and the results with their page. Processor seconds of the parent, wall seconds, memory.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SPACE = {"latent_dim": (1, 4), "lr": (1e-4, 1e-1, "log"), "width": (4, 16, "log"), "weight_decay": (1e-6, 1e-2, "log")}
SETTINGS = {"layers": 1, "epochs": 2, "batch_size": 30, "device": "cpu"}
PARTS = ("sampling", "storage", "training and files", "results and page")
MOST_GROWTH = 1.5  # of seconds per trial from the least to the most trials


class Stopwatch:
    """Processor seconds of functions by part; a part inside another counts as its own only."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inside: list[float] = []

    def watch(self, owner: Any, name: str, part: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*args: Any, **options: Any) -> Any:
            began = time.process_time()
            self._inside.append(0.0)
            try:
                return inner(*args, **options)
            finally:
                spent = time.process_time() - began
                self.seconds[part] += spent - self._inside.pop()
                if self._inside:
                    self._inside[-1] += spent

        setattr(owner, name, timed)


def study(trials: int, sampler: str, ray: str | None) -> dict[str, Any]:
    """One study; what it cost."""
    import numpy as np
    import optuna

    from vaelab.api import studies
    from vaelab.data import from_arrays
    from vaelab.study import results, tune
    from vaelab.study.local_crew import LocalCrew
    from vaelab.study.ray_options import Ray
    from vaelab.study.trials import Trials
    from vaelab.vae.system import VAESystem

    stopwatch, storage = Stopwatch(), optuna.storages.RDBStorage
    for name in ("_ask",):
        stopwatch.watch(Trials, name, "sampling")
    for name in dir(storage):
        if name.startswith(("set_trial", "create_new_trial", "get_")):
            stopwatch.watch(storage, name, "storage")
    stopwatch.watch(LocalCrew, "run", "training and files")
    for owner, name in ((tune, "trial_row"), (tune, "collect"), (results, "importance"), (VAESystem, "report")):
        stopwatch.watch(owner, name, "results and page")
    data = from_arrays(np.random.default_rng(0).normal(size=(60, 4)) @ np.ones((4, 4)), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        began, processor = time.monotonic(), time.process_time()
        found = studies.tune(
            data, SPACE, trials, settings=SETTINGS, sampler=sampler, figures="none", final_seeds=1, out=f"{folder}/s",
            **({"ray": Ray(ray), "workers": 2} if ray else {"workers": 1}),
        )  # fmt: skip
        wall, spent = time.monotonic() - began, time.process_time() - processor
        page = (Path(folder) / "s" / "report.html").stat().st_size
    assert len(found.trials) == trials
    return {
        "trials": trials, "wall": wall, "processor": spent, "parts": stopwatch.seconds, "page": page,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def show(rows: Sequence[dict[str, Any]]) -> None:
    print(
        "| trials | wall s | ms per trial | processor ms per trial | of these " + " | ".join(PARTS) + " | rest", end=""
    )
    print(" | memory MB | page MB |\n|" + "---:|" * (8 + len(PARTS)))
    for row in rows:
        each = 1000 / row["trials"]
        parts = [row["parts"][part] * each for part in PARTS]
        cells = [row["wall"] * each, row["processor"] * each, *parts, row["processor"] * each - sum(parts)]
        print(f"| {row['trials']} | {row['wall']:.0f} | " + " | ".join(f"{cell:.1f}" for cell in cells), end="")
        print(f" | {row['memory'] / 1e6:.0f} | {row['page'] / 1e6:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--ray", help="address of a Ray cluster, for two workers there")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: eight trials")
    arguments = parser.parse_args()
    if arguments.smoke:
        show([study(8, arguments.sampler, None)])
        return
    if arguments.one:
        print(json.dumps(study(arguments.one, arguments.sampler, arguments.ray)))
        return
    rows = []
    for trials in arguments.trials:
        options = ["--one", str(trials), "--sampler", arguments.sampler]
        options += ["--ray", arguments.ray] if arguments.ray else []
        done = subprocess.run([sys.executable, __file__, *options], check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    show(rows)
    if len(rows) > 1:
        growth = rows[-1]["processor"] / rows[-1]["trials"] / (rows[0]["processor"] / rows[0]["trials"])
        print(f"\nprocessor seconds per trial: {growth:.2f} times")
        if growth > MOST_GROWTH:
            sys.exit(f"a trial must cost at most {MOST_GROWTH} times as much at {rows[-1]['trials']}")


if __name__ == "__main__":
    main()
