"""Chains of dense layers, forward and backward, for one member at its own widths inside its padded parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.functions import ONE, ZERO, expm1, normal_cdf, sigmoid, tanh
from vaelab.engine.fused.products import multiply, multiply_by_transposed, multiply_transposed

ACTIVATIONS = ("silu", "relu", "leaky_relu", "tanh", "gelu", "elu")  # their codes
SILU, RELU, LEAKY_RELU, TANH, GELU, ELU = range(6)

# Columns of a table of layers (layers, COLUMNS): where the weights (n_in, n_out) and biases start among the
# parameters, both widths, the padded width, where its outputs and derivatives start in the scratch memory, and the
# first of its units among the words for dropout.
WEIGHT, BIAS, N_IN, N_OUT, PADDED, OUTPUT, SLOPE, UNIT = range(8)
COLUMNS = 8

F1 = types.Array(types.float32, 1, "C")
F2 = types.Array(types.float32, 2, "C")
F3 = types.Array(types.float32, 3, "C")
W2 = types.Array(types.int16, 2, "C")
I1 = types.Array(types.int64, 1, "C")
I2 = types.Array(types.int64, 2, "C")
D1 = types.Array(types.float64, 1, "C")
PART = 4096  # numbers that are added in float32
_LEAK = np.float32(0.01)


def row_width(width: int) -> int:
    """The distance between rows of a matrix of this width: whole cache lines."""
    return width + -width % 16


_row_width = kernel()(row_width)


@kernel()
def address(array: Any, offset: int) -> Any:
    """The address of an element of a float32 array."""
    return types.int64(array.ctypes.data) + 4 * offset


@kernel(types.void(types.int64, F1, F1))
def activate(activation: int, y: Any, slope: Any) -> None:
    """y = act(y), slope = act'(y)."""
    n = len(y)
    if activation == SILU:
        for i in range(n):
            x = y[i]
            s = sigmoid(x)
            y[i] = x * s
            slope[i] = s * (ONE + x * (ONE - s))
    elif activation == RELU:
        for i in range(n):
            x = y[i]
            slope[i] = ONE if x > ZERO else ZERO
            y[i] = ZERO if x < ZERO else x
    elif activation == LEAKY_RELU:
        for i in range(n):
            x = y[i]
            slope[i] = ONE if x > ZERO else _LEAK
            y[i] = x * slope[i]
    elif activation == TANH:
        for i in range(n):
            t = tanh(y[i])
            y[i] = t
            slope[i] = ONE - t * t
    elif activation == GELU:
        for i in range(n):
            x = y[i]
            mass, density = normal_cdf(x)
            y[i] = x * mass
            slope[i] = mass + x * density
    else:
        for i in range(n):
            x = y[i]
            e = expm1(x)
            slope[i] = ONE if x > ZERO else e + ONE
            y[i] = x if x > ZERO else e


@kernel(types.void(F2, F2, W2, types.int64, types.int64, types.float64))
def drop(y: Any, slopes: Any, words: Any, first: int, width: int, rate: float) -> None:
    """Dropout of the outputs and slopes of a layer, whose words (see engine.draws) begin at column `first`."""
    kept, least = types.float32(1 / (1 - rate)), types.int16(min(round(rate * 65536) - 32768, 32767))
    for b in range(len(y)):
        own = words[b, first : first + width]
        for j in range(width):
            factor = kept if own[j] >= least else ZERO
            y[b, j] *= factor
            slopes[b, j] *= factor


@kernel()
def linear(parameters: Any, layer: Any, B: int, x: int, row: int, y: Any) -> None:
    """y = x W + b, for B examples at address x, `row` numbers apart, and y (B, at least n_out)."""
    n, n_out = y.shape[1], layer[N_OUT]
    bias = parameters[layer[BIAS] : layer[BIAS] + n_out]
    for b in range(B):
        for j in range(n_out):
            y[b, j] = bias[j]
    weight = address(parameters, layer[WEIGHT])
    multiply(B, n_out, layer[N_IN], x, row, weight, layer[PADDED], address(y, 0), n, ONE)


@kernel(types.float64(F1, types.int64, types.int64), any_order=True)
def squares_of(values: Any, row: int, width: int) -> float:
    """The sum of squares of the first `width` of every `row` numbers; those of a part are added in float32."""
    total: Any = 0.0
    step = PART if width == row else row
    for start in range(0, len(values), step):
        part, squares = values[start : start + min(step, PART if width == row else width)], ZERO
        for i in range(len(part)):
            squares += part[i] * part[i]
        total += squares
    return float(total)


@kernel()
def linear_gradient(gradient: Any, layer: Any, B: int, x: int, row: int, dy: Any) -> float:
    """The gradient by W and b, given that by y; returns the sum of its squares, while it is in the cache."""
    n, n_out = dy.shape[1], layer[N_OUT]
    weight = address(gradient, layer[WEIGHT])
    multiply_transposed(layer[N_IN], n_out, B, x, row, address(dy, 0), n, weight, layer[PADDED])
    bias = gradient[layer[BIAS] : layer[BIAS] + n_out]
    bias[:] = ZERO
    for b in range(B):
        for j in range(n_out):
            bias[j] += dy[b, j]
    rows = gradient[layer[WEIGHT] : layer[WEIGHT] + layer[N_IN] * layer[PADDED]]
    return float(squares_of(bias, n_out, n_out) + squares_of(rows, layer[PADDED], n_out))


@kernel()
def linear_back(parameters: Any, layer: Any, B: int, dy: Any, dx: int, row: int, beta: Any) -> None:
    """dx = dy W^T + beta dx."""
    n = dy.shape[1]
    weight = address(parameters, layer[WEIGHT])
    multiply_by_transposed(B, layer[N_IN], layer[N_OUT], address(dy, 0), n, weight, layer[PADDED], dx, row, beta)


@kernel()
def matrix(scratch: Any, start: int, B: int, width: int) -> Any:
    """B rows of the scratch memory, wide enough for `width` numbers."""
    row = _row_width(width)
    return scratch[start : start + B * row].reshape(B, row)


@kernel()
def flat(scratch: Any, start: int, B: int, width: int) -> Any:
    """The same numbers as one vector."""
    return scratch[start : start + B * _row_width(width)]


@kernel()
def outputs_of(layers: Any, B: int, scratch: Any) -> Any:
    """The outputs of the last of some layers (B, at least its width)."""
    return matrix(scratch, layers[len(layers) - 1, OUTPUT], B, layers[len(layers) - 1, N_OUT])


@kernel()
def last_of(layers: Any, B: int, scratch: Any, x: int, row: int) -> Any:
    """The address of these outputs, and the distance between their rows; x and row if there are no layers."""
    if len(layers) == 0:
        return x, row
    y = outputs_of(layers, B, scratch)
    return address(y, 0), types.int64(y.shape[1])


@kernel(types.void(F1, I2, types.int64, types.int64, types.int64, types.int64, W2, D1, F1))
def chain(
    parameters: Any, layers: Any, activation: int, B: int, x: int, row: int, words: Any, rates: Any, scratch: Any
) -> None:
    """The hidden layers, whose outputs and slopes go to the scratch memory. No dropout without words, (B, 0)."""
    for i in range(len(layers)):
        layer = layers[i]
        width = layer[N_OUT]
        y = matrix(scratch, layer[OUTPUT], B, width)
        linear(parameters, layer, B, x, row, y)
        activate(activation, flat(scratch, layer[OUTPUT], B, width), flat(scratch, layer[SLOPE], B, width))
        if words.shape[1] > 0:
            drop(y, matrix(scratch, layer[SLOPE], B, width), words, layer[UNIT], width, rates[i])
        x, row = address(y, 0), y.shape[1]


@kernel(types.float64(F1, F1, I2, types.int64, types.int64, types.int64, types.int64, F1))
def chain_back(parameters: Any, gradient: Any, layers: Any, B: int, x: int, row: int, dx: int, scratch: Any) -> float:
    """The gradient of the hidden layers, given that by the last outputs in their place, as `linear_back` leaves it.

    Also that by x at address dx, unless it is 0. Returns the gradient's sum of squares.
    """
    squares = 0.0
    for i in range(len(layers) - 1, -1, -1):
        layer = layers[i]
        width = layer[N_OUT]
        dy = matrix(scratch, layer[OUTPUT], B, width)
        out = flat(scratch, layer[OUTPUT], B, width)
        slope = flat(scratch, layer[SLOPE], B, width)
        for j in range(len(out)):
            out[j] *= slope[j]
        if i > 0:
            below = matrix(scratch, layers[i - 1, OUTPUT], B, layers[i - 1, N_OUT])
            source, step = address(below, 0), below.shape[1]
            squares += linear_gradient(gradient, layer, B, source, step, dy)
            linear_back(parameters, layer, B, dy, source, step, ZERO)
        else:
            squares += linear_gradient(gradient, layer, B, x, row, dy)
            if dx != 0:
                linear_back(parameters, layer, B, dy, dx, row, ZERO)
    return squares
