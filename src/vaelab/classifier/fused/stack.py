"""Fused training of a stack of classifiers."""

from __future__ import annotations

from typing import Any

from vaelab.classifier.fused import steps
from vaelab.engine.fused.stepper import Array
from vaelab.supervised.epoch import SupervisedStack
from vaelab.supervised.fused.stack import FusedSupervised


class FusedClassifier(FusedSupervised):
    """Cross-entropy by kernels."""

    stored = ("log_loss", "error")

    def __init__(self, stack: SupervisedStack):
        super().__init__(stack)
        self.weights = [stack.feed.weights(spec).numpy() for spec in stack.specs]

    def learn(self, k: int, coefficients: Array, rest: tuple[Any, ...], x: Array, target: Array, words: Array) -> int:
        (state, scratch, sums), spec = rest, self.stack.specs[k]
        broken: int = steps.train(
            *state, coefficients, self.layers[k], self.activation, self.rates[k], self.stack.feed.outputs,
            spec.label_smoothing, self.weights[k], self.stack.batch_size, x, target, words, scratch, sums,
        )  # fmt: skip
        return broken


FUSED = FusedClassifier
