"""Load balancing: how work is divided among workers, and time estimates. Nothing here changes results."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from vaelab.data import Dataset
from vaelab.settings.spec import ModelSpec
from vaelab.study.checkpoints import Member
from vaelab.study.task import AnySystem

FLOPS = 1e11  # operations per second, a rough guess like the next two
STEP_OVERHEAD = 4e-4  # seconds of a step besides its products, by autograd: once for a whole stack
FUSED_STEP = 1e-5  # the same by fused kernels: for every member
FUSED_PARTS = 4  # pieces per worker, at least: stacks save nothing there, and small ones end together
LARGEST_STACK = 64
SEVERAL = 8  # training runs of an expensive network that a search should have time for
STACK_STEP = 2e-3  # seconds of products per step above which larger stacks only worsen the balance


def cores() -> int:
    """Cores available to this process; the default number of workers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def step_seconds(system: AnySystem, spec: ModelSpec, shape: Sequence[int]) -> float:
    """Rough time of one member's products in one step, for examples of this shape; with overhead if it has its own."""
    products = 6.0 * int(spec.batch_size) * system.products(spec, shape) / FLOPS
    return products + (FUSED_STEP if spec.fuses else 0.0)


def _overhead(spec: ModelSpec) -> float:
    """Rough time of a step that a stack shares."""
    return 0.0 if spec.fuses else STEP_OVERHEAD


def affords(system: AnySystem, spec: ModelSpec, data: Dataset, timeout: float | None, workers: int) -> bool:
    """Estimate whether a search with `timeout` seconds can train several models of a resolved spec."""
    if timeout is None:
        return True
    steps = int(spec.epochs) * len(data.splits["train"]) / int(spec.batch_size)
    return SEVERAL * steps * step_seconds(system, spec, data.shape) <= timeout * workers


def stacks(members: Sequence[Member], shape: Sequence[int], workers: int, system: AnySystem) -> list[list[Member]]:
    """Members grouped into stacks, largest first, small enough that workers finish at about the same time."""
    groups: dict[tuple[object, ...], list[Member]] = {}
    for member in members:
        groups.setdefault(system.method.key(member.spec, math.prod(shape)), []).append(member)
    cost = {key: step_seconds(system, group[0].spec, shape) for key, group in groups.items()}
    together = {key: _overhead(group[0].spec) + cost[key] * len(group) for key, group in groups.items()}
    total = sum(together.values())
    result: list[tuple[float, list[Member]]] = []
    for key, group in groups.items():
        at_most = 1 if group[0].spec.trains_alone else max(1, min(LARGEST_STACK, math.ceil(STACK_STEP / cost[key])))
        share = together[key] / (total / workers) * (FUSED_PARTS if workers > 1 and group[0].spec.fuses else 1)
        pieces = min(len(group), max(math.ceil(len(group) / at_most), math.ceil(share - 0.25)))
        parts = [group[i::pieces] for i in range(pieces)]
        result += [(_overhead(group[0].spec) + cost[key] * len(part), part) for part in parts]
    return [part for _, part in sorted(result, key=lambda item: -item[0])]


class Pace:
    """Training time of members for each kind of network, learned during the search."""

    def __init__(self, shape: Sequence[int], steps_per_epoch: float, system: AnySystem):
        self.shape, self.steps_per_epoch, self.system = shape, steps_per_epoch, system
        self._spent, self._guessed = dict[str, float](), dict[str, float]()

    def _guess(self, spec: Any) -> float:
        return self.steps_per_epoch * (_overhead(spec) + step_seconds(self.system, spec, self.shape))

    @property
    def is_measured(self) -> bool:
        return bool(self._guessed)

    def learn(self, spec: Any, epochs: int, seconds: float) -> None:
        """Record the seconds of a member for `epochs` epochs. Epochs restored from a checkpoint do not count."""
        if seconds > 0:
            self._spent[spec.network] = self._spent.get(spec.network, 0.0) + seconds
            self._guessed[spec.network] = self._guessed.get(spec.network, 0.0) + epochs * self._guess(spec)

    def _factor(self, network: str) -> float:
        """Ratio of measured to estimated seconds: for this kind of network, else for all, else 1."""
        known = [network] if network in self._guessed else list(self._guessed)
        return sum(self._spent[k] for k in known) / sum(self._guessed[k] for k in known) if known else 1.0

    def estimate(self, specs: Sequence[Any], epochs: int, workers: int) -> float:
        """Seconds that this many workers need for `epochs` epochs of these members."""
        seconds = (self._factor(spec.network) * epochs * self._guess(spec) for spec in specs)
        busy = [0.0] * workers
        for one in sorted(seconds, reverse=True):
            busy[busy.index(min(busy))] += one  # the first free worker takes the next
        return max(busy)
