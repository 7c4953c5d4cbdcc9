"""The front of trials judged by two yardsticks: those that no other trial beats by one without losing by the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Costs = Sequence[float]  # by both yardsticks, lower is better


def front(points: Mapping[int, Costs]) -> list[int]:
    """The numbers of the points that none dominates, in order of their first cost.

    A point dominates another if it is at least as good by both and better by one.

    >>> front({0: (1.0, 3.0), 1: (2.0, 2.0), 2: (2.0, 4.0), 3: (3.0, 1.0)})
    [0, 1, 3]
    """

    found: list[int] = []
    lowest = math.inf  # second cost of any point with a lower first cost
    for number in sorted(points, key=lambda n: (*points[n], n)):
        costs = points[number]
        if costs[1] < lowest or (found and tuple(points[found[-1]]) == tuple(costs)):
            found.append(number)
            lowest = costs[1]
    return found


def _scaled(points: Mapping[int, Costs]) -> dict[int, Costs]:
    """The front with each axis from 0, its ideal, to 1."""
    on_front = {n: points[n] for n in front(points)}
    axes = list(zip(*on_front.values(), strict=True))
    lows, extents = [min(axis) for axis in axes], [max(axis) - min(axis) or 1.0 for axis in axes]
    return {n: [(c - low) / e for c, low, e in zip(own, lows, extents, strict=True)] for n, own in on_front.items()}


def closest(points: Mapping[int, Costs]) -> int:
    """The point of the front closest to the ideal, which is the best by each; axes are scaled to the front's extent."""
    scaled = _scaled(points)
    return min(scaled, key=lambda n: (math.hypot(*scaled[n]), n))


def spread(points: Mapping[int, Costs]) -> list[int]:
    """The front, so that any first few are spread along it: the closest to the ideal, the ends, then the remotest.

    >>> spread({0: (0.0, 9.0), 1: (0.1, 8.9), 2: (2.0, 2.0), 3: (5.0, 1.5), 4: (9.0, 0.0)})
    [2, 0, 4, 3, 1]
    """
    scaled = _scaled(points)
    left = list(scaled)
    if len(left) < 3:
        return sorted(left, key=lambda n: n != closest(points))
    chosen = list(dict.fromkeys((closest(points), left[0], left[-1])))
    left = [n for n in left if n not in chosen]
    while left:
        remotest = max(left, key=lambda n: (min(math.dist(scaled[n], scaled[c]) for c in chosen), -n))
        chosen.append(remotest)
        left.remove(remotest)
    return chosen
