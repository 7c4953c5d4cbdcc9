"""Rungs: the epochs at which a cohort reports and its weaker half is pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping

# Fractions of the epochs. A loss after the first ones ranks trials almost as well as a later one; the one-cycle rate
# peaks at 0.3, where losses are least predictive (benchmarks/pruning.py replays other choices).
SHARES = (1 / 30, 0.1, 0.5)
KEEP = 0.5


def rung_epochs(epochs: int, warmup: int = 0) -> list[int]:
    """The epochs after which trials are judged, before the last: never while beta is still rising.

    >>> rung_epochs(30), rung_epochs(30, warmup=10), rung_epochs(2)
    ([1, 3, 15], [15], [1])
    """
    rungs = {max(1, math.ceil(share * epochs)) for share in SHARES}
    return sorted(e for e in rungs if warmup < e < epochs)


def survivors(cohort: Mapping[int, float], history: Mapping[int, float]) -> list[int]:
    """The trials of a cohort that continue after a rung: those in the better half of all that ever reported there.

    Values are by trial number, lower is better, ties go to the lower number. `history` has earlier cohorts.
    A barrier makes the result independent of the reporting order.

    >>> survivors({4: 1.0, 5: 3.0, 6: 2.0}, {0: 1.5, 1: 9.0})
    [4, 6]
    """
    everyone = sorted((value, number) for number, value in {**history, **cohort}.items())
    passed = {number for _, number in everyone[: math.ceil(KEEP * len(everyone))]}
    return sorted(passed & cohort.keys())
