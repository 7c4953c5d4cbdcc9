"""The training steps of a classifier with dense layers, for one member."""

from __future__ import annotations

import math
from typing import Any

from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import D1, F1, F2, I1, I2, W2, outputs_of
from vaelab.engine.fused.functions import ONE, ZERO, exp
from vaelab.engine.fused.update import update
from vaelab.supervised.fused.steps import backward, forward


@kernel(types.void(F2, types.int64, I1, types.float32, F1, D1))
def cross_entropy(logits: Any, classes: int, labels: Any, smoothing: Any, weights: Any, sums: Any) -> None:
    """Adds each example's -log p(y|x), and whether another class is the most likely, to `sums`.

    The gradient of the mean of w_y ((1 - s) * -log p(y|x) + s * mean_c -log p(c|x)), s the smoothing, w the weights of
    the classes, replaces the logits.
    """
    B = len(logits)
    for b in range(B):
        weight = weights[labels[b]]
        scale, each = weight * types.float32(1 / B), weight * types.float32(smoothing / (classes * B))
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
        F1, F1, F1, F1, D1, F2, I2, types.int64, D1, types.int64, types.float32, F1, types.int64, F2, I1, W2, F1, D1
    )
)
def train(
    parameters: Any, gradient: Any, first: Any, second: Any, rule: Any, coefficients: Any, layers: Any,
    activation: int, rates: Any, classes: int, smoothing: Any, weights: Any, batch_size: int, rows: Any, labels: Any,
    words: Any, scratch: Any, sums: Any,
) -> int:  # fmt: skip
    """A step for each of the coefficients; adds log-loss and errors of all examples to `sums`.

    Returns the first step whose gradient is not finite, or -1.
    """
    broken = -1
    for step in range(len(coefficients)):
        part = slice(step * batch_size, min((step + 1) * batch_size, len(rows)))
        own = rows[part]
        forward(parameters, layers, activation, own, words[part], rates, scratch)
        logits = outputs_of(layers, len(own), scratch)
        cross_entropy(logits, classes, labels[part], smoothing, weights, sums)
        squares = backward(parameters, gradient, layers, own, logits, scratch)
        root, floor, shrink = coefficients[step]
        if not update(parameters, gradient, first, second, rule, squares, root, floor, shrink) and broken < 0:
            broken = step
    return broken
