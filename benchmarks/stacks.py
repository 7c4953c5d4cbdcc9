"""Many small models as stacks against one at a time, in the same code, on one pinned core.

    python benchmarks/stacks.py

64 trials on digits of equal depth and batch size, 30 epochs, widths 8 to 64, latents 2 to 16, with validation after
each epoch. Both ways take turns; medians of processor time. They must give the same bits, and the stacks must be at
least 8 times as fast. Then the whole study's ratio, and where a step's time goes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
import torch

from vaelab.engine import training
from vaelab.data import load
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.spec import Spec
from vaelab.study import balance, finals, search
from vaelab.study.tune import tune

TRIALS, EPOCHS, ROUNDS, LEAST = 64, 30, 3, 8.0


def specs() -> list[Spec]:
    rng = np.random.default_rng(0)
    return [
        resolve(
            Spec.create(
                hidden=(int(rng.integers(8, 65)),), latent_dim=int(rng.integers(2, 17)),
                lr=float(10 ** rng.uniform(-3.3, -2)), epochs=EPOCHS, seed=number,
            ),
            DATA,
        )
        for number in range(TRIALS)
    ]  # fmt: skip


DATA = load("digits")


def train(members: list[Spec], feed: Feed) -> torch.Tensor:
    stack = training.Stack(members, feed)
    for _ in training.epochs(stack):
        pass
    return stack.best


def grouped(members: list[Spec], feed: Feed) -> list[list[Spec]]:
    groups: dict[object, list[Spec]] = {}
    for spec in members:
        groups.setdefault(training.stack_key(spec, feed.features), []).append(spec)
    return list(groups.values())


def stacks_against_singles() -> float:
    members, alone, together = specs(), [], []
    feed = Feed(DATA, members[0])
    train(members[:1], feed)
    for _ in range(ROUNDS):
        start = time.process_time()
        singles = {spec.seed: train([spec], feed)[0] for spec in members}
        alone.append(time.process_time() - start)
        start = time.process_time()
        stacked = [(group, train(group, feed)) for group in grouped(members, feed)]
        together.append(time.process_time() - start)
        assert all(
            torch.equal(singles[s.seed], row) for group, rows in stacked for s, row in zip(group, rows, strict=True)
        )
    one, many = statistics.median(alone), statistics.median(together)
    print(f"| one at a time | {one:.2f} s | 1.0 |\n| stacks | {many:.2f} s | {one / many:.1f} |")
    return one / many


def whole_study() -> float:
    """The study around them: asking, rungs, files, finals; with stacks, and with stacks of one."""
    seconds = {}
    grouping = balance.stacks
    space = {"width": (8, 64), "latent_dim": (2, 16), "lr": (5e-4, 1e-2, "log")}
    for name, way in ("stacks", grouping), ("one at a time", lambda members, *_: [[m] for m in members]):
        search.stacks = finals.stacks = way
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            tune(
                DATA, space, {"layers": 1, "epochs": EPOCHS}, trials=TRIALS, workers=1, figures="none", final_seeds=1,
                out=Path(folder) / "study",
            )  # fmt: skip
            seconds[name] = time.process_time() - start
    search.stacks = finals.stacks = grouping
    print(f"| whole study, one at a time | {seconds['one at a time']:.2f} s | 1.0 |")
    print(f"| whole study, stacks | {seconds['stacks']:.2f} s | {seconds['one at a time'] / seconds['stacks']:.1f} |")
    return seconds["one at a time"] / seconds["stacks"]


def main() -> None:
    torch.set_num_threads(1)
    training.keep_freed_memory()
    print("| 64 trials on digits | processor time | times as fast |\n|---|---:|---:|")
    ratio = stacks_against_singles()
    whole_study()
    assert ratio >= LEAST, f"stacks are {ratio:.2f} times as fast as one at a time, not {LEAST}"


if __name__ == "__main__":
    main()
