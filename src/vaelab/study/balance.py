"""How work is divided among workers, and how long it will take. Nothing here changes a result."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from typing import Any

from vaelab.networks import bucket
from vaelab.spec import Spec
from vaelab.study.jobs import Member
from vaelab.study.task import System

STEP_OVERHEAD, FLOPS = 4e-4, 1e11  # seconds of a step beside its products, and operations per second: rough guesses
LARGEST_STACK = 64
STACK_STEP = 2e-3  # seconds of products in a step beyond which more members only blur the balance


def cores() -> int:
    """Cores that this process may use, and how many workers there are unless told."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def step_seconds(spec: Spec, features: int) -> float:
    """A rough time of one member's products in one step, padding included."""
    hidden, latent = [bucket(width) for width in spec.hidden_sizes], bucket(spec.latent_dim, 16)
    encoder, decoder = [features, *hidden, 2 * latent], [latent, *reversed(hidden), features]
    weights = sum(a * b for widths in (encoder, decoder) for a, b in itertools.pairwise(widths))
    return 6.0 * int(spec.batch_size) * weights / FLOPS


def stacks(members: Sequence[Member], features: int, workers: int, system: System) -> list[list[Member]]:
    """Members grouped into stacks, largest first, small enough that the workers end at about the same time."""
    groups: dict[tuple[object, ...], list[Member]] = {}
    for member in members:
        groups.setdefault(system.method.key(member.spec, features), []).append(member)
    cost = {key: system.step_seconds(group[0].spec, features) for key, group in groups.items()}
    total = sum(STEP_OVERHEAD + cost[key] * len(group) for key, group in groups.items())
    result: list[tuple[float, list[Member]]] = []
    for key, group in groups.items():
        at_most = max(1, min(LARGEST_STACK, math.ceil(STACK_STEP / cost[key])))
        share = (STEP_OVERHEAD + cost[key] * len(group)) / (total / workers)
        pieces = min(len(group), max(math.ceil(len(group) / at_most), math.ceil(share - 0.25)))
        parts = [group[i::pieces] for i in range(pieces)]
        result += [(STEP_OVERHEAD + cost[key] * len(part), part) for part in parts]
    return [part for _, part in sorted(result, key=lambda item: -item[0])]


class Pace:
    """How long members take, learned as a search goes."""

    def __init__(self, features: int, steps_per_epoch: float, system: System):
        self.features, self.steps_per_epoch, self.system = features, steps_per_epoch, system
        self._spent, self._guessed = 0.0, 0.0

    def _guess(self, spec: Any) -> float:
        return self.steps_per_epoch * (STEP_OVERHEAD + self.system.step_seconds(spec, self.features))

    @property
    def is_measured(self) -> bool:
        return self._guessed > 0

    def learn(self, spec: Any, epochs: int, seconds: float) -> None:
        """A member took so many seconds for `epochs` epochs. What a checkpoint spared is no measurement."""
        if seconds > 0:
            self._spent += seconds
            self._guessed += epochs * self._guess(spec)

    def estimate(self, specs: Sequence[Any], epochs: int, workers: int) -> float:
        """Seconds that `epochs` epochs of these members take so many workers."""
        factor = self._spent / self._guessed if self.is_measured else 1.0
        busy = [0.0] * workers
        for seconds in sorted((factor * epochs * self._guess(spec) for spec in specs), reverse=True):
            busy[busy.index(min(busy))] += seconds  # whoever is free first takes the next
        return max(busy)
