"""Likelihoods' heads: the cost of each example and its gradient by the decoder's outputs, for one member's batch.

A head is found by the code in the first of its constants, which a likelihood gives (`Likelihood.head_constants`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import D1, F1, F2
from vaelab.engine.fused.functions import HALF, ONE, ZERO, decay
from vaelab.vae.fused import BERNOULLI, GAUSSIAN, LAPLACE, MIXED
from vaelab.vae.fused.mixed import mixed

# constants; outputs (B, at least D), which become `factor` times the gradient of the batch's summed cost; rows [x, y]
# (B, D + C), or those of a table (see `mixed`); the number of features D; the likelihood's own parameters, and their
# gradient, to which is added; factor; the cost of each example (B,).
HEAD = types.void(D1, F2, F2, types.int64, F1, F1, types.float32, F1)

FACTORS = 96  # each in [1, 2], whose product is still a float32


@kernel(HEAD, any_order=True)
def bernoulli(
    constants: Any, outputs: Any, rows: Any, features: int, own: Any, own_gradient: Any, factor: Any, cost: Any
) -> None:
    """max(l, 0) - x l + log(1 + e^-|l|) of logits l, whose gradient is sigmoid(l) - x; factors share a logarithm."""
    for b in range(len(outputs)):
        total: Any = 0.0
        for start in range(0, features, FACTORS):
            stop = min(start + FACTORS, features)
            logits, x = outputs[b, start:stop], rows[b, start:stop]
            part, product = ZERO, ONE
            for j in range(stop - start):
                e = decay(-abs(logits[j]))
                q = ONE + e
                part += max(logits[j], ZERO) - x[j] * logits[j]
                product *= q
                logits[j] = ((ONE if logits[j] >= ZERO else e) / q - x[j]) * factor
            total += part + math.log(product)
        cost[b] = total


@kernel(HEAD, any_order=True)
def location_scale(
    constants: Any, outputs: Any, rows: Any, features: int, own: Any, own_gradient: Any, factor: Any, cost: Any
) -> None:
    """energy((x - m) / s) + log s + log Z; constants: code, fixed scale or 0, least scale, log Z; Huber's threshold."""
    energy, fixed, least, log_z = int(constants[0]), constants[1], constants[2], constants[3]
    threshold = types.float32(constants[len(constants) - 1])
    inverse, by_scale = np.empty(features, np.float32), np.zeros(features, np.float32)
    constant = features * log_z
    for j in range(features):
        scale = fixed if fixed > 0 else least + math.exp(own[j if len(own) > 1 else 0])
        inverse[j] = 1 / scale
        constant += math.log(scale)
    for b in range(len(outputs)):
        m, x, total = outputs[b, :features], rows[b, :features], ZERO
        if energy == GAUSSIAN:
            for j in range(features):
                r = (x[j] - m[j]) * inverse[j]
                total += HALF * r * r
                by_scale[j] += ONE - r * r
                m[j] = -r * inverse[j] * factor
        elif energy == LAPLACE:
            for j in range(features):
                r = (x[j] - m[j]) * inverse[j]
                sign = (ONE if r > ZERO else ZERO) - (ONE if r < ZERO else ZERO)
                total += abs(r)
                by_scale[j] += ONE - abs(r)
                m[j] = -sign * inverse[j] * factor
        else:
            for j in range(features):
                r = (x[j] - m[j]) * inverse[j]
                slope = min(max(r, -threshold), threshold)
                total += slope * (r - HALF * slope)
                by_scale[j] += ONE - r * slope
                m[j] = -slope * inverse[j] * factor
        cost[b] = constant + total
    if fixed == 0:
        for j in range(features):
            k = j if len(own) > 1 else 0
            own_gradient[k] += factor * by_scale[j] * inverse[j] * types.float32(math.exp(own[k]))


@kernel(HEAD)
def cost_of(
    constants: Any, outputs: Any, rows: Any, features: int, own: Any, own_gradient: Any, factor: Any, cost: Any
) -> None:
    """The head that the constants ask for."""
    if constants[0] == MIXED:
        mixed(constants, outputs, rows, features, own, own_gradient, factor, cost)
    elif constants[0] == BERNOULLI:
        bernoulli(constants, outputs, rows, features, own, own_gradient, factor, cost)
    else:
        location_scale(constants, outputs, rows, features, own, own_gradient, factor, cost)
