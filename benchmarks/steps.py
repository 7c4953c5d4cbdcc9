"""Breakdown of the time of a training step, on one pinned core.

    python benchmarks/steps.py [--data DATA] [--smoke]

For digits 64-32-4 (K = 1, 16, 64) and, with --data, MNIST 784-64-16: microseconds per step and member for drawing
noise, gathering rows, the loss, its gradient, the update, the validation that ends an epoch, and the rest: the order of
the rows, joining of gradients, sums for the records. The library's own loop is timed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import torch

from vaelab.data import Dataset, load
from vaelab.engine import training
from vaelab.engine.process import keep_freed_memory
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Spec

PARTS = ("noise", "gather", "loss", "gradient", "update", "validation", "rest")


class Timed(Variational):
    """VAE training with timers on its disjoint parts; the rest is the remaining time."""

    def __init__(self) -> None:
        super().__init__()
        self.spent = dict.fromkeys(PARTS, 0.0)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            result = function(*args, **kwargs)
            self.spent[part] += time.process_time() - began
            return result

        return call

    def blocks(self, stack: Any, order: Any) -> Iterator[Any]:
        blocks = super().blocks(stack, order)  # batches are lazy: requesting a block only draws its noise
        yield from iter(self.timed("noise", lambda: next(blocks, None)), None)

    def objective(self, spec: Spec) -> Callable[..., Any]:
        return self.timed("loss", super().objective(spec))

    def validate(self, *given: Any) -> Any:
        return self.timed("validation", super().validate)(*given)


def dissect(data: Dataset, settings: dict[str, object], K: int) -> dict[str, float]:
    """Microseconds per step and member of each part, over one epoch after a warm-up."""
    method, spec = Timed(), resolve(Spec.create(**settings, epochs=50), data)
    stack = training.Stack([spec.replace(seed=k) for k in range(K)], Feed(data, spec), method)
    next(training.epochs(stack, 1))
    stack.feed.gather = method.timed("gather", stack.feed.gather)
    stack.optimizer.step = method.timed("update", stack.optimizer.step)
    method.spent = dict.fromkeys(PARTS, 0.0)
    with mock.patch("torch.autograd.grad", method.timed("gradient", torch.autograd.grad)):
        began = time.process_time()
        next(training.epochs(stack, 2))
        method.spent["rest"] = time.process_time() - began - sum(method.spent.values())
    return {part: seconds / stack.steps_per_epoch / K * 1e6 for part, seconds in method.spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that contains mnist/; without it only digits are measured")
    parser.add_argument("--smoke", action="store_true", help="check that it runs: small stacks on digits")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| microseconds per step and member | " + " | ".join(PARTS) + " | all |\n|---|" + "---:|" * (len(PARTS) + 1))
    sizes = (1, 4) if arguments.smoke else (1, 16, 64)
    cases = [(load("digits"), {"hidden": 32, "latent_dim": 4}, K) for K in sizes]
    if arguments.data and not arguments.smoke:
        cases.append(
            (load("mnist", data_dir=arguments.data), {"hidden": 64, "latent_dim": 16, "activation": "relu"}, 1)
        )
    for data, settings, K in cases:
        spent = dissect(data, settings, K)
        cells = " | ".join(f"{spent[part]:.1f}" for part in PARTS)
        name = f"{data.name} {settings['hidden']}-{settings['latent_dim']}, K = {K}"
        print(f"| {name} | {cells} | {sum(spent.values()):.1f} |")


if __name__ == "__main__":
    main()
