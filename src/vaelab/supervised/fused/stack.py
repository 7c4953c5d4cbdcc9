"""Fused training of a stack of dense networks with a target."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab.engine.fused.dense import ACTIVATIONS
from vaelab.engine.fused.stepper import Array, FusedSteps
from vaelab.engine.fused.table import LayerTable
from vaelab.settings.yardsticks import VALIDATION_ROWS
from vaelab.supervised.epoch import SupervisedStack, draw, noise_blocks
from vaelab.supervised.fused import steps


class FusedSupervised(FusedSteps[SupervisedStack]):
    """Outputs and steps by kernels; a subclass has the kernel of its loss."""

    def __init__(self, stack: SupervisedStack):
        super().__init__(stack)
        self.activation = ACTIVATIONS.index(stack.model.activation)
        self.rates = [np.array(spec.dropouts, np.float64) for spec in stack.specs]

    def table(self, k: int) -> LayerTable:
        model, hidden = self.stack.model, self.stack.specs[k].hidden_sizes
        table = LayerTable(model.layout, self.stack.batch_size)
        last = table.hidden("network", model.features, hidden)
        table.linear(f"network.{len(hidden)}", last, model.outputs)
        return table

    @abc.abstractmethod
    def learn(self, k: int, coefficients: Array, rest: tuple[Any, ...], x: Array, target: Array, words: Array) -> int:
        """Steps of a member on rows x with their targets; returns the first whose gradient is not finite, or -1.

        rest: the state of the member, see `FusedSteps.state`, scratch memory, and the sums of its terms.
        """

    def train(self, k: int, order: Tensor, coefficients: Array, sums: Array) -> Iterator[tuple[int, int]]:
        stack, feed, B, spec = self.stack, self.stack.feed, self.stack.batch_size, self.stack.specs[k]
        rest = (self.state(k), self.scratch(), sums)
        for block in noise_blocks(stack, len(order)):
            dropout, moves = draw(stack, k, block.stop - block.start)
            for part in self.chunks(block):
                own = slice(part.start - block.start, part.stop - block.start)
                x = feed.gather(order[part], spec, moves[own] if spec.is_augmented else None)
                number = slice(part.start // B, -(-part.stop // B))
                broken = self.learn(
                    k, coefficients[number], rest, x.numpy(), feed.target[order[part]].numpy(), dropout[own].numpy()
                )
                yield number.stop - number.start, int(broken)

    def validation(self) -> Tensor:
        """The outputs of each member (K, n, C)."""
        stack, feed = self.stack, self.stack.feed
        found = []
        for x, _ in feed.kept_batches("validation", VALIDATION_ROWS):
            outputs = np.empty((len(stack), len(x), feed.outputs), np.float32)
            for k in range(len(stack)):
                parameters = stack.judged[k].detach().numpy()
                steps.answers(
                    parameters, self.layers[k], self.activation, stack.batch_size, x.numpy(), self.scratch(), outputs[k]
                )
            found.append(torch.from_numpy(outputs))
        return torch.cat(found, 1)
