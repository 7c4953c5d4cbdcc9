"""What it costs that nothing is lost: a study of digits as users get it, and one that never waits for the disk.

    python benchmarks/safety.py             # 64 trials with the defaults, three times each, alternating
    python benchmarks/safety.py --smoke     # four trials of two epochs, once

One worker in this process, pinned to one core; imports, kernels and data are not counted. The other study calls no
`fsync` (files, folders, SQLite with synchronous=OFF) and holds back no signal: it may be lost with the power, or with
Ctrl-C. Both leave the same trials and the same best model, which is checked. What is read again at the next rung is
written in both. The difference is at most `MOST` of the whole.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

MOST = 0.03  # of the time of a study


class Waits:
    """Calls of `fsync` by Python, and the seconds that they took. SQLite's own are not among them."""

    def __init__(self) -> None:
        self.calls, self.seconds, self._fsync = 0, 0.0, os.fsync

    def __call__(self, descriptor: int) -> None:
        began = time.perf_counter()
        self._fsync(descriptor)
        self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - began


@contextlib.contextmanager
def unsafe() -> Iterator[None]:
    from vaelab import signals
    from vaelab.study import trials

    def never(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    with (
        mock.patch.object(os, "fsync", return_value=None),
        mock.patch.object(signals, "held", contextlib.nullcontext),
        mock.patch.object(trials, "_without_sync", never),
    ):
        yield


def study(folder: Path, trials: int, settings: dict[str, Any]) -> tuple[float, float, Any]:
    """Seconds of the wall and of the processor, and what must not differ."""
    import vaelab

    wall, processor = time.perf_counter(), time.process_time()
    found = vaelab.tune("digits", trials=trials, settings=settings, workers=1, figures="none", out=folder)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in found.trials]
    return wall, processor, (rows, None if found.best is None else found.best.row.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    trials, repeats = (4, 1) if given.smoke else (given.trials, given.repeats)
    settings: dict[str, Any] = {"epochs": 2, "hidden": "16"} if given.smoke else {}
    walls: dict[str, list[float]] = {"safe": [], "unsafe": []}
    processors: dict[str, list[float]] = {"safe": [], "unsafe": []}
    waits, seen = Waits(), []
    with tempfile.TemporaryDirectory() as place:
        study(Path(place) / "first", 2, {"epochs": 1, "hidden": "16"})  # kernels, data and imports
        for repeat in range(repeats):
            for name in ("safe", "unsafe") if repeat % 2 == 0 else ("unsafe", "safe"):
                context = mock.patch.object(os, "fsync", waits) if name == "safe" else unsafe()
                with context:
                    wall, processor, what = study(Path(place) / f"{name}{repeat}", trials, settings)
                walls[name].append(wall)
                processors[name].append(processor)
                seen.append(what)
                print(f"{name:7s} {wall:7.1f} s, of the processor {processor:7.1f} s", flush=True)
    assert all(what == seen[0] for what in seen), "the studies differ"
    safe, other = statistics.median(walls["safe"]), statistics.median(walls["unsafe"])
    result = {
        "trials": trials, "safe_seconds": safe, "unsafe_seconds": other, "cost": safe / other - 1,
        "cost_of_processor": statistics.median(processors["safe"]) / statistics.median(processors["unsafe"]) - 1,
        "waits": waits.calls / repeats, "waited_seconds": waits.seconds / repeats,
        "waited_share": waits.seconds / sum(walls["safe"]),
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    if not given.smoke and result["cost"] > MOST:
        raise SystemExit(f"safety must cost at most {MOST:.0%} of a study, but costs {result['cost']:.1%}.")


if __name__ == "__main__":
    main()
