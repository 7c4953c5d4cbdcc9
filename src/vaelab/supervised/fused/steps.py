"""A network with dense layers and a head: its outputs, and a step given their gradient, for one member."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import (
    D1,
    F1,
    F2,
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
from vaelab.engine.fused.functions import ZERO


@kernel(types.void(F1, I2, types.int64, F2, W2, D1, F1))
def forward(parameters: Any, layers: Any, activation: int, rows: Any, words: Any, rates: Any, scratch: Any) -> None:
    """Outputs for rows (B, D), in place of the last layer's; `layers` are the hidden ones, then the head."""
    B, hidden = len(rows), layers[: len(layers) - 1]
    x, row = address(rows, 0), types.int64(rows.shape[1])
    chain(parameters, hidden, activation, B, x, row, words, rates, scratch)
    x, row = last_of(hidden, B, scratch, x, row)
    linear(parameters, layers[len(layers) - 1], B, x, row, outputs_of(layers, B, scratch))


@kernel(types.float64(F1, F1, I2, F2, F2, F1))
def backward(parameters: Any, gradient: Any, layers: Any, rows: Any, dy: Any, scratch: Any) -> float:
    """The gradient of all layers, given that by the outputs dy; returns the sum of its squares."""
    B, hidden, out = len(rows), layers[: len(layers) - 1], layers[len(layers) - 1]
    at_rows, rows_row = address(rows, 0), types.int64(rows.shape[1])
    x, row = last_of(hidden, B, scratch, at_rows, rows_row)
    squares = linear_gradient(gradient, out, B, x, row, dy)
    if len(hidden) > 0:
        linear_back(parameters, out, B, dy, x, row, ZERO)
        squares += chain_back(parameters, gradient, hidden, B, at_rows, rows_row, 0, scratch)
    return float(squares)


@kernel(types.void(F1, I2, types.int64, types.int64, F2, F1, F2))
def answers(
    parameters: Any, layers: Any, activation: int, batch_size: int, rows: Any, scratch: Any, outputs: Any
) -> None:
    """The outputs (n, C) for rows (n, D)."""
    none, no_rates = np.empty((batch_size, 0), np.int16), np.empty(0, np.float64)
    for begin in range(0, len(rows), batch_size):
        part = slice(begin, min(begin + batch_size, len(rows)))
        own = rows[part]
        forward(parameters, layers, activation, own, none[: len(own)], no_rates, scratch)
        outputs[part] = outputs_of(layers, len(own), scratch)[:, : outputs.shape[1]]
