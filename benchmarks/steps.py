"""Where the time of a training step goes, on one pinned core.

    python benchmarks/steps.py --data DATA

For digits 64-32-4 (K = 1, 16, 64) and MNIST 784-64-16: microseconds per step and member for drawing noise and order,
gathering rows, the loss, its gradient, the update, and the validation that ends an epoch.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import torch

from vaelab.engine import training
from vaelab.data import Dataset, load
from vaelab.vae.feed import Feed, resolve
from vaelab.engine.networks import fast_products
from vaelab.vae.objectives import elbo
from vaelab.vae.spec import Spec

PARTS = ("draw", "gather", "loss", "gradient", "update", "validation")


def dissect(data: Dataset, settings: dict[str, object], K: int) -> dict[str, float]:
    """Microseconds per step and member of each part, over one epoch after a warm one."""
    spec = resolve(Spec.create(**settings, epochs=50), data)
    stack = training.Stack([spec.replace(seed=k) for k in range(K)], Feed(data, spec))
    next(training.epochs(stack, 1))
    spent = dict.fromkeys(PARTS, 0.0)
    mark = time.process_time()

    def lap(part: str) -> None:
        nonlocal mark
        now = time.process_time()
        spent[part] += now - mark
        mark = now

    feed, B, leaves = stack.feed, stack.batch_size, list(stack.leaves.values())
    rows = feed.rows("train")
    order = torch.stack([rows[torch.randperm(len(rows), generator=g)] for g in stack.generators])
    weights, tail = training._weights(stack), stack.parameters.new_zeros(K, stack.model.layout.tail)
    with fast_products(stack.model.largest_layer):
        for start, noise in training._noise_blocks(stack, len(rows)):
            lap("draw")
            for offset in range(0, noise.rows, B):
                size = min(B, len(rows) - start - offset)
                chosen = order[:, start + offset : start + offset + size].reshape(-1)
                x = feed.gather(chosen, noise.uniform(offset, size)).view(K, size, -1)
                lap("gather")
                loss = elbo(stack.model, stack.leaves, x, noise.batch(offset, size), weights).loss.sum()
                lap("loss")
                gradients = torch.autograd.grad(loss, leaves)
                torch.cat([*(g.reshape(K, -1) for g in gradients), tail], 1, out=stack.gradient)
                lap("gradient")
                stack.optimizer.step(stack.gradient)
                lap("update")
    training._close_epoch(stack, {"distortion": torch.zeros(K), "rate": torch.zeros(K)}, [0.0] * K)
    lap("validation")
    return {part: seconds / stack.steps_per_epoch / K * 1e6 for part, seconds in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds mnist/; without it only digits are measured")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training.keep_freed_memory()
    print("| microseconds per step and member | " + " | ".join(PARTS) + " | all |\n|---|" + "---:|" * (len(PARTS) + 1))
    cases = [(load("digits"), {"hidden": 32, "latent_dim": 4}, K) for K in (1, 16, 64)]
    if arguments.data:
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
