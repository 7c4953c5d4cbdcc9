"""The training steps of a regressor with dense layers, for one member."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import BIAS, D1, F1, F2, I2, W2, outputs_of
from vaelab.engine.fused.functions import ONE, exp, log
from vaelab.engine.fused.update import update
from vaelab.regressor.density import EDGE as EDGE_
from vaelab.regressor.density import LEAST as LEAST_
from vaelab.regressor.density import LOG_MASS as LOG_MASS_
from vaelab.supervised.fused.steps import backward, forward

EDGE, LEAST, LOG_MASS = np.float32(EDGE_), np.float32(LEAST_), LOG_MASS_


@kernel(types.float32(F2, F1, types.float32, D1))
def density(outputs: Any, targets: Any, constant: Any, sums: Any) -> Any:
    """Adds each example's -log p(y|x) and squared error to `sums`; the gradient of the mean of the former replaces
    the outputs (B, 2): the mean and log-scale.

    With constant noise, whose log-scale is `constant` (else NaN), its gradient is returned, and that of the outputs
    is 0.
    """
    B = len(outputs)
    share, of_constant = types.float32(1 / B), types.float32(0)
    is_constant = constant == constant
    for b in range(B):
        spread = exp(constant if is_constant else outputs[b, 1])
        scale = spread + LEAST
        error = targets[b] - outputs[b, 0]
        r = error / scale
        size = abs(r)
        inner = min(size, EDGE)
        outer = max(size, EDGE) / EDGE
        sums[0] += log(scale) + LOG_MASS + inner * inner / 2 + EDGE * EDGE * log(outer)
        sums[1] += types.float64(error) * error
        # r times the slope of the cost: r² in the core, 9 in the tails.
        product = inner * inner
        outputs[b, 0] = -share * (r if size <= EDGE else product / r) / scale
        by_log = share * (ONE - product) * spread / scale
        outputs[b, 1] = types.float32(0) if is_constant else by_log
        of_constant += by_log if is_constant else types.float32(0)
    return of_constant


@kernel(
    types.int64(
        F1, F1, F1, F1, D1, F2, I2, types.int64, D1, types.boolean, types.int64, F2, F1, W2, F1, D1
    )
)  # fmt: skip
def train(
    parameters: Any, gradient: Any, first: Any, second: Any, rule: Any, coefficients: Any, layers: Any,
    activation: int, rates: Any, is_constant: bool, batch_size: int, rows: Any, targets: Any, words: Any,
    scratch: Any, sums: Any,
) -> int:  # fmt: skip
    """A step for each of the coefficients; adds the terms of all examples to `sums`.

    Returns the first step whose gradient is not finite, or -1.
    """
    broken, at = -1, layers[len(layers) - 1, BIAS] + 1  # of the log-scale
    for step in range(len(coefficients)):
        part = slice(step * batch_size, min((step + 1) * batch_size, len(rows)))
        own = rows[part]
        forward(parameters, layers, activation, own, words[part], rates, scratch)
        outputs = outputs_of(layers, len(own), scratch)
        constant = parameters[at] if is_constant else types.float32(np.nan)
        of_constant = density(outputs, targets[part], constant, sums)
        squares = backward(parameters, gradient, layers, own, outputs, scratch)
        if is_constant:
            gradient[at] = of_constant
            squares += types.float64(of_constant) * of_constant
        root, floor, shrink = coefficients[step]
        if not update(parameters, gradient, first, second, rule, squares, root, floor, shrink) and broken < 0:
            broken = step
    return broken
