"""Rungs: the epochs at which a cohort reports, and trials that can no longer win are pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

# benchmarks/pruning.py replays these and other choices on studies without pruning.
SPACING = 2 ** (1 / 3)  # of rungs
WINDOW = 3  # rungs over which a trial's progress is measured: half of its steps
SAFE = 2  # best trials at a rung so far, which are never pruned: values are noisy, and the finals need a choice
FIRST_STEPS = 200  # before the first rung; the first decision follows after twice as many


def rung_epochs(epochs: int, steps_per_epoch: int, ramp: int = 0, stride: int = 1) -> list[int]:
    """The epochs after which trials report, before the last: none while beta rises, nor before 200 steps.

    Backwards from the last epoch, three while the steps double; multiples of `stride`, the validated epochs.

    >>> rung_epochs(30, 540), rung_epochs(30, 540, ramp=10)
    ([1, 2, 3, 4, 5, 6, 8, 9, 12, 15, 19, 24], [11, 12, 13, 14, 15, 16, 18, 20, 23, 26])
    """
    rungs, length = set[int](), (epochs - ramp) / SPACING
    while length >= 1 and length * steps_per_epoch >= FIRST_STEPS:
        rungs.add(round((ramp + length) / stride) * stride)
        length /= SPACING
    return sorted(rung for rung in rungs if ramp < rung < epochs)


def survivors(
    reports: Mapping[int, Mapping[int, float]],
    rungs: Sequence[int],
    rung: int,
    end: int,
    best: float,
    earlier: Sequence[float] = (),
    ramp: int = 0,
) -> list[int]:
    """The trials that can still reach `best`, the lowest cost so far of any trial, by the last epoch `end`.

    Learning curves flatten on a logarithmic scale of steps. So a trial that went from cost a to b while its epochs
    doubled ends, at the earliest epoch t, no lower than b - (a - b) log2(end / t): one that would still be above
    `best` cannot win, however small its cohort. Nothing is decided before a trial has reported half as many epochs.

    The two lowest of all costs ever reported at this rung go on in any case.

    reports: costs by trial and rung; earlier: costs of other cohorts at this rung. Epochs count from `ramp`, the last
    at which beta rises.

    >>> curves = {4: {10: 9.0, 20: 8.0}, 5: {10: 9.0, 20: 6.0}}
    >>> survivors(curves, [10, 13, 16, 20, 25], 20, 40, best=5.0, earlier=[5.0, 5.5, 5.6])
    [5]
    """
    place = rungs.index(rung) - WINDOW
    if place < 0:
        return sorted(reports)
    now, before = rung - ramp, rungs[place] - ramp
    doublings = math.log((end - ramp) / now) / math.log(now / before)

    def least(own: Mapping[int, float]) -> float:
        return own[rung] - max(0.0, own[rungs[place]] - own[rung]) * doublings

    everyone = sorted([*earlier, *(own[rung] for own in reports.values())])
    safe = everyone[min(SAFE, len(everyone)) - 1]
    return sorted(n for n, own in reports.items() if least(own) <= best or own[rung] <= safe)
