"""Convolutions of small maps in bfloat16, and pooling by the maximum, forward and backward, against PyTorch's own.

    python benchmarks/kernels.py [--rounds 15] [--smoke]

Batches of 100, one pinned core; the contestants take turns, and the table holds medians of processor time. It fails
where ours takes more than 1.1 times as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.engine import kernels
from vaelab.engine.process import keep_freed_memory
from vaelab.engine.resolve import has_bfloat16

BATCH, MOST = 100, 1.1
CONVOLUTIONS = [(128, 128, 4), (192, 192, 4), (256, 256, 4), (256, 256, 5)]  # in, out, side
POOLS = [(32, 28), (64, 28), (128, 14), (256, 7)]  # channels, side


def maps(channels: int, side: int, dtype: torch.dtype) -> Tensor:
    x = torch.randn(BATCH, channels, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


def milliseconds(forward: Callable[[], Tensor], leaves: list[Tensor], dy: Tensor) -> float:
    began = time.process_time()
    torch.autograd.grad(forward(), leaves, dy)
    return 1e3 * (time.process_time() - began)


def compare(name: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], leaves: list[Tensor], n: int) -> float:
    dy = torch.randn_like(theirs())
    took: dict[Callable[[], Tensor], list[float]] = {ours: [], theirs: []}
    for _ in range(n):
        for forward, times in took.items():
            times.append(milliseconds(forward, leaves, dy))
    mine, other = (statistics.median(times[2:]) for times in took.values())
    print(f"| {name} | {mine:.2f} | {other:.2f} | {mine / other:.2f} |", flush=True)
    return mine / other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: a round of the smallest maps")
    arguments = parser.parse_args()
    convolutions, pools = (CONVOLUTIONS[:1], POOLS[-1:]) if arguments.smoke else (CONVOLUTIONS, POOLS)
    rounds = 2 + (1 if arguments.smoke else arguments.rounds)  # the first ones warm up
    torch.set_num_threads(1)
    keep_freed_memory()
    ratios = []
    print("| milliseconds of a batch of 100 | vaelab | PyTorch | ratio |\n|---|---:|---:|---:|")
    dtypes = [torch.float32, *([torch.bfloat16] if has_bfloat16("cpu") else [])]
    for n_in, n_out, side in convolutions if len(dtypes) > 1 else []:
        x, weight = maps(n_in, side, torch.bfloat16), (torch.randn(1, n_out, 3, 3, n_in) / 50).bfloat16()
        weight.requires_grad_()
        ours = lambda: kernels.keep(x, weight)  # noqa: B023, E731
        theirs = lambda: functional.conv2d(x, kernels.kernel_of(weight), None, 1, 1)  # noqa: B023, E731
        ratios.append(compare(f"{n_in} to {n_out} channels, {side} x {side}, bf16", ours, theirs, [x, weight], rounds))
    for channels, side in pools:
        for dtype in dtypes:
            x = maps(channels, side, dtype)
            ours = lambda: kernels.halve_by_maximum(x)  # noqa: B023, E731
            theirs = lambda: functional.max_pool2d(x, 2, ceil_mode=True)  # noqa: B023, E731
            name = f"maximum, {channels} channels, {side} x {side}, {str(dtype).removeprefix('torch.')}"
            ratios.append(compare(name, ours, theirs, [x], rounds))
    if max(ratios) > MOST and not arguments.smoke:
        sys.exit(f"failed: {max(ratios):.2f} times PyTorch's own; {MOST} allowed")


if __name__ == "__main__":
    main()
