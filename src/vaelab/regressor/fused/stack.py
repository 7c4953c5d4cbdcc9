"""Fused training of a stack of regressors."""

from __future__ import annotations

from typing import Any

from vaelab.engine.fused.stepper import Array
from vaelab.regressor.fused import steps
from vaelab.supervised.fused.stack import FusedSupervised


class FusedRegressor(FusedSupervised):
    """The log-density by kernels."""

    stored = ("neg_log_density", "squared_error")

    def learn(self, k: int, coefficients: Array, rest: tuple[Any, ...], x: Array, target: Array, words: Array) -> int:
        (state, scratch, sums), spec = rest, self.stack.specs[k]
        broken: int = steps.train(
            *state, coefficients, self.layers[k], self.activation, self.rates[k], spec.noise == "constant",
            self.stack.batch_size, x, target, words, scratch, sums,
        )  # fmt: skip
        return broken


FUSED = FusedRegressor
