"""Whole groups of rows into train, validation and test, near their shares of rows and of classes."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from vaelab.errors import InputError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
ROWS_WEIGHT = 10.0  # of the shares of all rows, against those of each class: the first are what was asked for
PASSES = 4  # over all groups; a few suffice
EXCHANGES = 4_000  # tried in a pass: with up to 90 groups these are all pairs


def divide(groups: Ints, labels: Ints | None, shares: tuple[float, float], rng: np.random.Generator) -> Ints:
    """The split of each row (n,): 0 train, 1 validation or 2 test, with `shares` of the last two; groups stay whole.

    Groups are placed one by one, from the largest, ties in random order, where they reduce

        sum over splits s of  w (n_s - N_s)^2 / N_s + sum over classes k of (n_sk - N_sk)^2 / N_sk,

    n the numbers of rows and N those that the shares ask for; then moved and exchanged while that reduces it.
    """
    codes, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = np.array([1 - sum(shares), *shares])
    used = np.flatnonzero(wanted > 0)
    if len(codes) < len(used):
        told = "train, validation and test" if len(used) == 3 else "train and validation"
        raise InputError(
            f"at least {len(used)} groups are needed for {told}, but there are {len(codes)}; add groups, or group by "
            "something finer."
        )
    state = _Division(_counts(group_of, labels), sizes, wanted, used)
    order = rng.permutation(len(codes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    for group in order.tolist():
        state.place(group, int(used[np.argmin([state.cost(group, int(s)) for s in used])]))
    state.fill_empty()
    for _ in range(PASSES):
        if not state.improve(rng.permutation(len(codes))):
            break
    return state.split[group_of]


def _counts(group_of: Ints, labels: Ints | None) -> list[tuple[Ints, Ints]]:
    """Of each group, which classes its rows have, and how many rows of each."""
    codes = np.zeros_like(group_of) if labels is None else np.unique(labels, return_inverse=True)[1]
    order = np.argsort(group_of, kind="stable")
    bounds = np.flatnonzero(np.diff(group_of[order])) + 1
    return [np.unique(part, return_counts=True) for part in np.split(codes[order], bounds)]


@dataclasses.dataclass
class _Division:
    """Groups in splits, and what that costs."""

    counts: list[tuple[Ints, Ints]]
    sizes: Ints
    wanted: Floats
    used: Ints

    def __post_init__(self) -> None:
        classes = 1 + max(int(codes.max()) for codes, _ in self.counts)
        totals = np.zeros(classes)
        for codes, numbers in self.counts:
            totals[codes] += numbers
        self.goal = np.outer(self.wanted, totals)
        self.goal_rows = self.wanted * self.sizes.sum()
        self.held, self.rows = np.zeros((3, classes)), np.zeros(3)
        self.split = np.full(len(self.sizes), -1)
        self.number = np.zeros(3, np.int64)  # of groups in each split

    def cost(self, group: int, split: int) -> float:
        """What placing the group in the split adds to the sum."""
        codes, numbers = self.counts[group]
        goal, size = self.goal[split, codes], self.sizes[group]
        classes = float((numbers * (2 * (self.held[split, codes] - goal) + numbers) / goal).sum())
        goal_rows = self.goal_rows[split]
        return classes + ROWS_WEIGHT * float(size * (2 * (self.rows[split] - goal_rows) + size) / goal_rows)

    def place(self, group: int, split: int) -> None:
        self._add(group, split, 1)
        self.split[group] = split

    def take(self, group: int) -> int:
        """Takes the group out of its split, which is returned."""
        split = int(self.split[group])
        self._add(group, split, -1)
        self.split[group] = -1
        return split

    def _add(self, group: int, split: int, sign: int) -> None:
        codes, numbers = self.counts[group]
        self.held[split, codes] += sign * numbers
        self.rows[split] += sign * self.sizes[group]
        self.number[split] += sign

    def fill_empty(self) -> None:
        """Moves the smallest group of the split with most groups into each empty split."""
        for split in self.used:
            if self.number[split] == 0:
                members = np.flatnonzero(self.split == np.argmax(self.number))
                group = int(members[np.argmin(self.sizes[members])])
                self.take(group)
                self.place(group, int(split))

    def improve(self, order: Ints) -> bool:
        """Moves groups, and exchanges pairs of them, where that reduces the sum; whether any was."""
        changed = False
        for group in order.tolist():
            if self.number[self.split[group]] > 1:
                home = self.take(group)
                costs = [self.cost(group, int(s)) for s in self.used]
                best = int(self.used[np.argmin(costs)])
                better = min(costs) < self.cost(group, home) - 1e-9
                self.place(group, best if better else home)
                changed |= better
        for shift in range(1, min(len(order) // 2 + 1, 1 + max(1, EXCHANGES // len(order)))):
            for first, second in zip(order.tolist(), np.roll(order, shift).tolist(), strict=True):
                if self.split[first] != self.split[second]:
                    changed |= self._exchange(first, second)
        return changed

    def _exchange(self, first: int, second: int) -> bool:
        a, b = self.take(first), self.take(second)
        before = self.cost(first, a) + self.cost(second, b)
        after = self.cost(first, b) + self.cost(second, a)
        better = after < before - 1e-9
        self.place(first, b if better else a)
        self.place(second, a if better else b)
        return better
