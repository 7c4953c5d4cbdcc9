"""The update rules of `optimizers`, for one member, in one pass over its parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import D1, F1
from vaelab.engine.fused.functions import ONE, ZERO

# Smaller moments are set to 0: arithmetic with denormal numbers is a hundred times slower.
FIRST_LEAST, SECOND_LEAST = np.float32(1e-30), np.float32(1e-36)


@kernel(types.boolean(F1, F1, F1, F1, D1, types.float64, types.float32, types.float32, types.float32))
def update(
    parameters: Any, gradient: Any, first: Any, second: Any, rule: Any, squares: float, root: Any, floor: Any,
    shrink: Any,
) -> bool:  # fmt: skip
    """One step of a member's rule (1 - b1, 1 - b2, coupled decay, largest norm), given the gradient's sum of squares.

    False if that is not finite, and then nothing changes.
    """
    length = math.sqrt(squares)
    if not math.isfinite(length):
        return False
    factor = types.float32(rule[3] / length) if length > rule[3] else ONE
    b1, b2, decay = types.float32(rule[0]), types.float32(rule[1]), types.float32(rule[2])
    for i in range(len(parameters)):
        p = parameters[i]
        g = gradient[i] * factor + decay * p
        m = first[i] + b1 * (g - first[i])
        v = second[i] + b2 * (g * g - second[i])
        m = m if abs(m) > FIRST_LEAST else ZERO
        v = v if v > SECOND_LEAST else ZERO
        first[i], second[i] = m, v
        parameters[i] = p * shrink - m / (root * np.sqrt(v) + floor)
    return True
