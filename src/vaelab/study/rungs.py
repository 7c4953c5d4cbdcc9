"""Rungs: the epochs at which a cohort reports, and trials that can no longer win are pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

# benchmarks/pruning.py replays these and other choices on studies without pruning.
SPACING = math.sqrt(2)  # of rungs
WINDOW = 2  # rungs over which a trial's progress is measured: half of its steps
FIRST_STEPS = 200  # before the first rung; the first decision follows after twice as many


def rung_epochs(epochs: int, steps_per_epoch: int, ramp: int = 0, stride: int = 1) -> list[int]:
    """The epochs after which trials report, before the last: none while beta rises, nor before 200 steps.

    Backwards from the last epoch, each with sqrt(2) times fewer steps; multiples of `stride`, the validated epochs.

    >>> rung_epochs(30, 540), rung_epochs(30, 540, ramp=10), rung_epochs(178, 45)
    ([1, 2, 3, 4, 5, 7, 11, 15, 21], [11, 12, 14, 15, 17, 20, 24], [6, 8, 11, 16, 22, 31, 44, 63, 89, 126])
    """
    rungs, length = set[int](), (epochs - ramp) / SPACING
    while length >= 1 and length * steps_per_epoch >= FIRST_STEPS:
        rungs.add(round((ramp + length) / stride) * stride)
        length /= SPACING
    return sorted(rung for rung in rungs if ramp < rung < epochs)


def survivors(
    reports: Mapping[int, Mapping[int, float]], rungs: Sequence[int], rung: int, end: int, best: float, ramp: int = 0
) -> list[int]:
    """The trials that can still reach `best`, the lowest cost so far of any trial, by the last epoch `end`.

    Learning curves flatten on a logarithmic scale of steps. So a trial that went from cost a to b while its epochs
    doubled ends, at the earliest epoch t, no lower than b - (a - b) log2(end / t): one that would still be above
    `best` cannot win, however small its cohort. Nothing is decided before a trial has reported half as many epochs.

    reports: costs by trial and rung. Epochs count from `ramp`, the last at which beta rises.

    >>> survivors({4: {10: 9.0, 20: 8.0}, 5: {10: 9.0, 20: 6.0}}, [10, 14, 20, 28], 20, 40, best=5.0)
    [5]
    """
    place = rungs.index(rung) - WINDOW
    if place < 0:
        return sorted(reports)
    now, before = rung - ramp, rungs[place] - ramp
    doublings = math.log((end - ramp) / now) / math.log(now / before)

    def least(own: Mapping[int, float]) -> float:
        return own[rung] - max(0.0, own[rungs[place]] - own[rung]) * doublings

    return sorted(n for n, own in reports.items() if least(own) <= best)
