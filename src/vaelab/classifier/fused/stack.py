"""Fused training of a stack of classifiers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vaelab.classifier.epoch import ClassifierStack, draw, noise_blocks
from vaelab.classifier.fused import steps
from vaelab.engine.fused.dense import ACTIVATIONS
from vaelab.engine.fused.stepper import Array, FusedSteps
from vaelab.engine.fused.table import LayerTable
from vaelab.settings.yardsticks import VALIDATION_ROWS


class FusedClassifier(FusedSteps[ClassifierStack]):
    """Cross-entropy by kernels."""

    stored = ("log_loss", "error")

    def __init__(self, stack: ClassifierStack):
        super().__init__(stack)
        self.activation = ACTIVATIONS.index(stack.model.activation)
        self.rates = [np.array(spec.dropouts, np.float64) for spec in stack.specs]

    def table(self, k: int) -> LayerTable:
        model, hidden = self.stack.model, self.stack.specs[k].hidden_sizes
        table = LayerTable(model.layout, self.stack.batch_size)
        last = table.hidden("network", model.features, hidden)
        table.linear(f"network.{len(hidden)}", last, model.classes)
        return table

    def train(self, k: int, order: Tensor, coefficients: Array, sums: Array) -> Iterator[tuple[int, int]]:
        stack, feed, B, spec = self.stack, self.stack.feed, self.stack.batch_size, self.stack.specs[k]
        scratch, state = self.scratch(), self.state(k)
        for block in noise_blocks(stack, len(order)):
            dropout, moves = draw(stack, k, block.stop - block.start)
            for part in self.chunks(block):
                own = slice(part.start - block.start, part.stop - block.start)
                x = feed.gather(order[part], spec, moves[own] if spec.is_augmented else None)
                number = slice(part.start // B, -(-part.stop // B))
                broken = steps.train(
                    *state, coefficients[number], self.layers[k], self.activation, self.rates[k], feed.classes,
                    spec.label_smoothing, B, x.numpy(), feed.labels[order[part]].numpy(), dropout[own].numpy(),
                    scratch, sums,
                )  # fmt: skip
                yield number.stop - number.start, int(broken)

    def validation(self) -> Tensor:
        """The logits of each member (K, n, C)."""
        stack, feed = self.stack, self.stack.feed
        found = []
        for x, _ in feed.kept_batches("validation", VALIDATION_ROWS):
            logits = np.empty((len(stack), len(x), feed.classes), np.float32)
            for k in range(len(stack)):
                parameters = stack.judged[k].detach().numpy()
                steps.answers(
                    parameters, self.layers[k], self.activation, stack.batch_size, x.numpy(), self.scratch(), logits[k]
                )
            found.append(torch.from_numpy(logits))
        return torch.cat(found, 1)
