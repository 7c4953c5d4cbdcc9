"""Fused training of a stack: its members one after another, each at its own widths.

So a member computes the same bits in any stack, and a stack takes as long as its members alone.
"""

from __future__ import annotations

import abc
import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.engine.fused.table import LayerTable
from vaelab.engine.optimizers import rule_of
from vaelab.engine.training import AVERAGE_EVERY, Stack

Array = npt.NDArray[Any]

CHUNK_FLOATS = 1 << 18  # values gathered at once: few enough to stay in the cache, enough steps to call a kernel for

AnyStack = TypeVar("AnyStack", bound=Stack[Any, Any, Any])


class FusedSteps(abc.ABC, Generic[AnyStack]):
    """The steps of the members of a stack; each kind of model has its own kernels."""

    stored: tuple[str, ...]  # the terms that its kernels add up

    def __init__(self, stack: AnyStack):
        self.stack: AnyStack = weakref.proxy(stack)  # which holds these steps: a circle would keep its memory for long
        tables = [self.table(k) for k in range(len(stack))]
        self.layers = [table.array for table in tables]
        # Allocated by torch, which aligns memory to cache lines: products may round differently without.
        self.gradient = torch.zeros(stack.model.layout.size).numpy()
        self.memory = torch.zeros(max(table.numbers for table in tables)).numpy()

    @abc.abstractmethod
    def table(self, k: int) -> LayerTable:
        """The layers of a member."""

    @abc.abstractmethod
    def train(self, k: int, order: Tensor, coefficients: Array, sums: Array) -> Iterator[tuple[int, int]]:
        """Train a member on rows `order` (n,), adding its terms to `sums`; yields the number of steps of each part, and
        the first of them whose gradient was not finite, or -1.
        """

    def scratch(self) -> Array:
        """Scratch memory, whose padding is zero."""
        self.memory[:] = 0
        return self.memory

    def state(self, k: int) -> tuple[Array, Array, Array, Array, Array]:
        """Parameters, gradient and moments of a member, and the constants of its rule, as kernels take them."""
        stack = self.stack
        self.gradient[:] = 0
        parameters, first, second = (
            rows[k].detach().numpy() for rows in (stack.parameters, stack.optimizer.first, stack.optimizer.second)
        )
        spec, rule = stack.specs[k], rule_of(stack.specs[k])
        decay = 0.0 if rule.decoupled else spec.weight_decay
        return parameters, self.gradient, first, second, np.array([1 - rule.b1, 1 - rule.b2, decay, spec.clip])

    def chunks(self, block: slice) -> Iterator[slice]:
        """Some of an epoch's rows in parts to gather at once: whole steps, and none beyond one that is averaged."""
        B: int = self.stack.batch_size
        features: int = self.stack.feed.features
        chunk = max(1, CHUNK_FLOATS // (features * B)) * B
        mark = AVERAGE_EVERY * B if self.stack.is_averaged else block.stop
        start = block.start
        while start < block.stop:
            stop = min(start + chunk, (start // mark + 1) * mark, block.stop)
            yield slice(start, stop)
            start = stop

    def epoch(self, order: Tensor) -> tuple[dict[str, Tensor], dict[int, int]]:
        """All steps over rows `order` (K, n): the sum of each stored term (K,), and the step, counted from this
        epoch's first, in which the gradient of a member was not finite.
        """
        K, n = order.shape
        optimizer, steps = self.stack.optimizer, -(-n // self.stack.batch_size)
        coefficients, is_averaged = optimizer.coefficients(steps), self.stack.is_averaged
        sums, broken = np.zeros((K, len(self.stored))), dict[int, int]()
        for k in range(K):
            done = 0
            for count, fault in self.train(k, order[k], coefficients[k], sums[k]):
                if fault >= 0:
                    broken.setdefault(k, done + fault)
                done += count
                if is_averaged and (done % AVERAGE_EVERY == 0 or done == steps):
                    self.stack.blend(k, optimizer.step_number + done, (done - 1) % AVERAGE_EVERY + 1)
        optimizer.step_number += steps
        return dict(zip(self.stored, torch.from_numpy(sums).unbind(1), strict=True)), broken
