"""Many small models as stacks against one at a time, in the same code, on one pinned core.

    python benchmarks/stacks.py [--smoke]

64 trials on digits of equal depth and batch size, 30 epochs, widths 8 to 64, latents 2 to 16, with validation after
each epoch. Both take turns; medians of processor time. They must give the same bits, and the stacks must be at
least 8 times as fast. Then the whole study's ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
import torch

from vaelab.api import tune
from vaelab.data import load
from vaelab.engine import training
from vaelab.engine.process import keep_freed_memory
from vaelab.study import balance, finals, search
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Spec

LEAST = 8.0


def specs(trials: int, epochs: int) -> list[Spec]:
    rng = np.random.default_rng(0)
    return [
        resolve(
            Spec.create(
                hidden=(int(rng.integers(8, 65)),), latent_dim=int(rng.integers(2, 17)),
                lr=float(10 ** rng.uniform(-3.3, -2)), epochs=epochs, seed=number,
            ),
            DATA,
        )
        for number in range(trials)
    ]  # fmt: skip


DATA, METHOD = load("digits"), Variational()


def train(members: list[Spec], feed: Feed) -> torch.Tensor:
    stack = training.Stack(members, feed, METHOD)
    for _ in training.epochs(stack):
        pass
    return stack.best


def grouped(members: list[Spec], feed: Feed) -> list[list[Spec]]:
    groups: dict[object, list[Spec]] = {}
    for spec in members:
        groups.setdefault(METHOD.key(spec, feed.features), []).append(spec)
    return list(groups.values())


def stacks_against_singles(trials: int, epochs: int, rounds: int) -> float:
    members, alone, together = specs(trials, epochs), [], []
    feed = Feed(DATA, members[0])
    train(members[:1], feed)
    for _ in range(rounds):
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


def whole_study(trials: int, epochs: int) -> float:
    """The whole study: suggesting, rungs, files, finals; with stacks, and with stacks of one."""
    seconds = {}
    space = {"width": (8, 64), "latent_dim": (2, 16), "lr": (5e-4, 1e-2, "log")}
    for name, way in ("stacks", balance.stacks), ("one at a time", lambda members, *_: [[m] for m in members]):
        with (
            mock.patch.object(search, "stacks", way), mock.patch.object(finals, "stacks", way),
            tempfile.TemporaryDirectory() as folder,
        ):  # fmt: skip
            start = time.process_time()
            tune(
                DATA, space, trials, settings={"layers": 1, "epochs": epochs}, workers=1, figures="none", final_seeds=1,
                out=Path(folder) / "study",
            )  # fmt: skip
            seconds[name] = time.process_time() - start
    print(f"| whole study, one at a time | {seconds['one at a time']:.2f} s | 1.0 |")
    print(f"| whole study, stacks | {seconds['stacks']:.2f} s | {seconds['one at a time'] / seconds['stacks']:.1f} |")
    return seconds["one at a time"] / seconds["stacks"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: two trials, two epochs")
    smoke = parser.parse_args().smoke
    trials, epochs, rounds = (2, 2, 1) if smoke else (64, 30, 3)
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"| {trials} trials on digits | processor time | times as fast |\n|---|---:|---:|")
    ratio = stacks_against_singles(trials, epochs, rounds)
    whole_study(trials, epochs)
    assert smoke or ratio >= LEAST, f"stacks are {ratio:.2f} times as fast as one at a time, not {LEAST}"


if __name__ == "__main__":
    main()
