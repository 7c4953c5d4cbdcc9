"""A classifier with dense layers: its training steps and its logits, for one member."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import (
    D1,
    F1,
    F2,
    I1,
    I2,
    W2,
    address,
    chain,
    chain_back,
    last_of,
    linear,
    linear_back,
    linear_gradient,
    outputs_of,
)  # fmt: skip
from vaelab.engine.fused.functions import ONE, ZERO, exp
from vaelab.engine.fused.update import update


@kernel(types.void(F1, I2, types.int64, F2, W2, D1, F1))
def forward(parameters: Any, layers: Any, activation: int, rows: Any, words: Any, rates: Any, scratch: Any) -> None:
    """Logits of rows (B, D), in place of the last layer's outputs; `layers` are the hidden ones, then the logits."""
    B, hidden = len(rows), layers[: len(layers) - 1]
    x, row = address(rows, 0), types.int64(rows.shape[1])
    chain(parameters, hidden, activation, B, x, row, words, rates, scratch)
    x, row = last_of(hidden, B, scratch, x, row)
    linear(parameters, layers[len(layers) - 1], B, x, row, outputs_of(layers, B, scratch))


@kernel(types.void(F2, types.int64, I1, types.float32, D1))
def cross_entropy(logits: Any, classes: int, labels: Any, smoothing: Any, sums: Any) -> None:
    """Adds each example's -log p(y|x), and whether another class is the most likely, to `sums`.

    The gradient of the mean of (1 - s) * -log p(y|x) + s * mean_c -log p(c|x), s the smoothing, replaces the logits.
    """
    B = len(logits)
    scale, each = types.float32(1 / B), types.float32(smoothing / (classes * B))
    for b in range(B):
        own = logits[b, :classes]
        best = 0
        for c in range(1, classes):
            best = c if own[c] > own[best] else best
        top, at_label = own[best], own[labels[b]]
        for c in range(classes):
            own[c] = exp(own[c] - top)
        total = ZERO
        for c in range(classes):
            total += own[c]
        sums[0] += math.log(total) - (at_label - top)
        sums[1] += best != labels[b]
        share = scale / total
        for c in range(classes):
            own[c] = own[c] * share - each
        own[labels[b]] -= (ONE - smoothing) * scale


@kernel(
    types.int64(
        F1, F1, F1, F1, D1, F2, I2, types.int64, D1, types.int64, types.float32, types.int64, F2, I1, W2, F1, D1
    )
)
def train(
    parameters: Any, gradient: Any, first: Any, second: Any, rule: Any, coefficients: Any, layers: Any,
    activation: int, rates: Any, classes: int, smoothing: Any, batch_size: int, rows: Any, labels: Any, words: Any,
    scratch: Any, sums: Any,
) -> int:  # fmt: skip
    """A step for each of the coefficients; adds log-loss and errors of all examples to `sums`.

    Returns the first step whose gradient is not finite, or -1.
    """
    hidden, out = layers[: len(layers) - 1], layers[len(layers) - 1]
    broken = -1
    for step in range(len(coefficients)):
        part = slice(step * batch_size, min((step + 1) * batch_size, len(rows)))
        own = rows[part]
        B = len(own)
        forward(parameters, layers, activation, own, words[part], rates, scratch)
        logits = outputs_of(layers, B, scratch)
        cross_entropy(logits, classes, labels[part], smoothing, sums)
        at_rows, rows_row = address(own, 0), types.int64(own.shape[1])
        x, row = last_of(hidden, B, scratch, at_rows, rows_row)
        squares = linear_gradient(gradient, out, B, x, row, logits)
        if len(hidden) > 0:
            linear_back(parameters, out, B, logits, x, row, ZERO)
            squares += chain_back(parameters, gradient, hidden, B, at_rows, rows_row, 0, scratch)
        root, floor, shrink = coefficients[step]
        if not update(parameters, gradient, first, second, rule, squares, root, floor, shrink) and broken < 0:
            broken = step
    return broken


@kernel(types.void(F1, I2, types.int64, types.int64, F2, F1, F2))
def answers(
    parameters: Any, layers: Any, activation: int, batch_size: int, rows: Any, scratch: Any, logits: Any
) -> None:
    """The logits (n, C) of rows (n, D)."""
    none, no_rates = np.empty((batch_size, 0), np.int16), np.empty(0, np.float64)
    for begin in range(0, len(rows), batch_size):
        part = slice(begin, min(begin + batch_size, len(rows)))
        own = rows[part]
        forward(parameters, layers, activation, own, none[: len(own)], no_rates, scratch)
        logits[part] = outputs_of(layers, len(own), scratch)[:, : logits.shape[1]]
