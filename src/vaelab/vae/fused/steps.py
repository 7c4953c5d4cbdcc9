"""A VAE with dense networks and a standard normal prior: its training steps and its terms, for one member."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import (
    D1,
    F1,
    F2,
    F3,
    I1,
    I2,
    OUTPUT,
    W2,
    address,
    chain,
    chain_back,
    flat,
    last_of,
    linear,
    linear_back,
    linear_gradient,
    matrix,
    outputs_of,
    squares_of,
)  # fmt: skip
from vaelab.engine.fused.functions import HALF, ONE, ZERO, exp, expm1
from vaelab.engine.fused.update import update
from vaelab.vae.fused.heads import cost_of

# The layers of a member: the hidden ones of its encoder, the heads of mean and log-variance, the hidden ones of its
# decoder, and the outputs. `sizes` has the numbers of features D, values of the condition C, latent dimensions and the
# encoder's hidden layers; where the condition starts in a row; the activation; where the likelihood's own parameters
# start, and their number; where the scratch memory has std and e^log_var - 1 of q(z|x), and the inputs of the decoder.
FEATURES, CONDITION, LATENT, HIDDEN, GIVEN, ACTIVATION, OWN, N_OWN, STD, EXCESS, CODE = range(11)
SIZES = 11

BETA, WX, FREE_BITS = range(3)  # `weights` of the loss; free bits are -1 if there are none


@kernel(types.void(F1, F1))
def _exp_of_half(x: Any, y: Any) -> None:
    for i in range(len(y)):
        y[i] = exp(HALF * x[i])


@kernel(types.void(F1, F1))
def _expm1_of(x: Any, y: Any) -> None:
    for i in range(len(y)):
        y[i] = expm1(x[i])


@kernel(types.void(F1, I2, I1, F2, W2, D1, F1))
def encode(parameters: Any, layers: Any, sizes: Any, rows: Any, words: Any, rates: Any, scratch: Any) -> None:
    """Mean, log-variance and std of q(z|x, y) for rows [x, y] (B, D + C), with words for dropout (B, units)."""
    B, hidden, latent = len(rows), layers[: sizes[HIDDEN]], sizes[LATENT]
    x, row = address(rows, 0), rows.shape[1]
    chain(parameters, hidden, sizes[ACTIVATION], B, x, row, words, rates, scratch)
    x, row = last_of(hidden, B, scratch, x, row)
    mean, log_var = layers[len(hidden)], layers[len(hidden) + 1]
    linear(parameters, mean, B, x, row, matrix(scratch, mean[OUTPUT], B, latent))
    linear(parameters, log_var, B, x, row, matrix(scratch, log_var[OUTPUT], B, latent))
    _exp_of_half(flat(scratch, log_var[OUTPUT], B, latent), flat(scratch, sizes[STD], B, latent))


@kernel(types.void(F1, I2, I1, F2, F2, W2, D1, F1))
def decode(
    parameters: Any, layers: Any, sizes: Any, rows: Any, normal: Any, words: Any, rates: Any, scratch: Any
) -> None:
    """The decoder's outputs for z = mean + std * normal, after `encode`."""
    B, hidden, latent, condition = len(rows), sizes[HIDDEN], sizes[LATENT], sizes[CONDITION]
    means, std = matrix(scratch, layers[hidden, OUTPUT], B, latent), matrix(scratch, sizes[STD], B, latent)
    codes = matrix(scratch, sizes[CODE], B, condition + latent)
    for b in range(B):
        for j in range(condition):
            codes[b, j] = rows[b, sizes[GIVEN] + j]
        for j in range(latent):
            codes[b, condition + j] = means[b, j] + std[b, j] * normal[b, j]
    below = layers[hidden + 2 : len(layers) - 1]
    x, row = address(codes, 0), types.int64(codes.shape[1])
    chain(parameters, below, sizes[ACTIVATION], B, x, row, words, rates[hidden:], scratch)
    x, row = last_of(below, B, scratch, x, row)
    linear(parameters, layers[len(layers) - 1], B, x, row, outputs_of(layers, B, scratch))


@kernel(types.void(I2, I1, F1, F1, F1))
def divergence(layers: Any, sizes: Any, scratch: Any, per_latent: Any, rate: Any) -> None:
    """KL(q(z|x, y) || N(0, I)) of each example (B,), and summed over the batch for each latent dimension."""
    B, latent = len(rate), sizes[LATENT]
    mean, log_var = layers[sizes[HIDDEN]], layers[sizes[HIDDEN] + 1]
    _expm1_of(flat(scratch, log_var[OUTPUT], B, latent), flat(scratch, sizes[EXCESS], B, latent))
    means, log_vars = matrix(scratch, mean[OUTPUT], B, latent), matrix(scratch, log_var[OUTPUT], B, latent)
    excess = matrix(scratch, sizes[EXCESS], B, latent)
    per_latent[:] = ZERO
    for b in range(B):
        total = ZERO
        for j in range(latent):
            kl = HALF * (excess[b, j] - log_vars[b, j] + means[b, j] * means[b, j])
            per_latent[j] += kl
            total += kl
        rate[b] = total


@kernel(types.float64(F1, F1, I2, I1, F2, F2, D1, F1, F1))
def backward(
    parameters: Any, gradient: Any, layers: Any, sizes: Any, rows: Any, normal: Any, weights: Any, rate: Any,
    scratch: Any,
) -> float:  # fmt: skip
    """The gradient of the loss, after `decode`, given that by the outputs in their place and by the likelihood's own
    parameters; and each example's rate. Returns the gradient's sum of squares.
    """
    B, hidden, latent, condition = len(rows), layers[: sizes[HIDDEN]], sizes[LATENT], sizes[CONDITION]
    below, out = layers[len(hidden) + 2 : len(layers) - 1], layers[len(layers) - 1]
    outputs = outputs_of(layers, B, scratch)
    codes = matrix(scratch, sizes[CODE], B, condition + latent)
    at_codes, codes_row = address(codes, 0), types.int64(codes.shape[1])
    x, row = last_of(below, B, scratch, at_codes, codes_row)
    squares = squares_of(gradient[sizes[OWN] : sizes[OWN] + sizes[N_OWN]], 1, 1)
    squares += linear_gradient(gradient, out, B, x, row, outputs)
    linear_back(parameters, out, B, outputs, x, row, ZERO)
    squares += chain_back(parameters, gradient, below, B, at_codes, codes_row, at_codes, scratch)

    per_latent = np.empty(latent, np.float32)
    divergence(layers, sizes, scratch, per_latent, rate)
    beta = types.float32(weights[BETA] / B)
    for j in range(latent):  # the mean KL of a dimension has no gradient within its free bits
        per_latent[j] = beta if per_latent[j] > weights[FREE_BITS] * B else ZERO
    mean, log_var = layers[len(hidden)], layers[len(hidden) + 1]
    means, log_vars = matrix(scratch, mean[OUTPUT], B, latent), matrix(scratch, log_var[OUTPUT], B, latent)
    std, excess = matrix(scratch, sizes[STD], B, latent), matrix(scratch, sizes[EXCESS], B, latent)
    for b in range(B):
        for j in range(latent):
            dz = codes[b, condition + j]
            means[b, j] = dz + per_latent[j] * means[b, j]
            log_vars[b, j] = HALF * (dz * normal[b, j] * std[b, j] + per_latent[j] * excess[b, j])

    at_rows, rows_row = address(rows, 0), types.int64(rows.shape[1])
    x, row = last_of(hidden, B, scratch, at_rows, rows_row)
    squares += linear_gradient(gradient, mean, B, x, row, means)
    squares += linear_gradient(gradient, log_var, B, x, row, log_vars)
    if len(hidden) > 0:
        linear_back(parameters, mean, B, means, x, row, ZERO)
        linear_back(parameters, log_var, B, log_vars, x, row, ONE)
        squares += chain_back(parameters, gradient, hidden, B, at_rows, rows_row, 0, scratch)
    return float(squares)


@kernel(types.int64(F1, F1, F1, F1, D1, F2, I2, I1, D1, D1, D1, types.int64, F2, F2, W2, F1, D1))
def train(
    parameters: Any, gradient: Any, first: Any, second: Any, rule: Any, coefficients: Any, layers: Any, sizes: Any,
    rates: Any, weights: Any, constants: Any, batch_size: int, rows: Any, normal: Any, words: Any, scratch: Any,
    sums: Any,
) -> int:  # fmt: skip
    """A step for each of the coefficients; adds distortion and rate of all examples to `sums`.

    Returns the first step whose gradient is not finite, or -1.
    """
    start, stop = sizes[OWN], sizes[OWN] + sizes[N_OWN]
    costs, rate = np.empty(batch_size, np.float32), np.empty(batch_size, np.float32)
    broken = -1
    for step in range(len(coefficients)):
        part = slice(step * batch_size, min((step + 1) * batch_size, len(rows)))
        x, eps, dropped = rows[part], normal[part], words[part]
        B = len(x)
        encode(parameters, layers, sizes, x, dropped, rates, scratch)
        decode(parameters, layers, sizes, x, eps, dropped, rates, scratch)
        gradient[start:stop] = ZERO
        cost_of(
            constants, outputs_of(layers, B, scratch), x, sizes[FEATURES], parameters[start:stop],
            gradient[start:stop], types.float32(weights[WX] / B), costs[:B],
        )  # fmt: skip
        squares = backward(parameters, gradient, layers, sizes, x, eps, weights, rate[:B], scratch)
        for b in range(B):
            sums[0] += costs[b]
            sums[1] += rate[b]
        root, floor, shrink = coefficients[step]
        if not update(parameters, gradient, first, second, rule, squares, root, floor, shrink) and broken < 0:
            broken = step
    return broken


@kernel(types.void(F1, I2, I1, D1, types.int64, F2, F3, F1, F1, F1))
def terms(
    parameters: Any, layers: Any, sizes: Any, constants: Any, batch_size: int, rows: Any, normal: Any, scratch: Any,
    distortion: Any, rate: Any,
) -> None:  # fmt: skip
    """Distortion (n,), the mean over the draws of standard normals (S, n, latent), and rate (n,) of rows (n, D + C)."""
    start, stop = sizes[OWN], sizes[OWN] + sizes[N_OWN]
    none, no_rates = np.empty((batch_size, 0), np.int16), np.empty(0, np.float64)
    costs, per_latent = np.empty(batch_size, np.float32), np.empty(sizes[LATENT], np.float32)
    unused = np.zeros(stop - start, np.float32)
    for begin in range(0, len(rows), batch_size):
        part = slice(begin, min(begin + batch_size, len(rows)))
        x = rows[part]
        B = len(x)
        encode(parameters, layers, sizes, x, none[:B], no_rates, scratch)
        divergence(layers, sizes, scratch, per_latent, rate[part])
        distortion[part] = ZERO
        for draw in range(len(normal)):
            decode(parameters, layers, sizes, x, normal[draw, part], none[:B], no_rates, scratch)
            cost_of(
                constants, outputs_of(layers, B, scratch), x, sizes[FEATURES], parameters[start:stop], unused, ZERO,
                costs[:B],
            )  # fmt: skip
            distortion[part] += costs[:B]
        distortion[part] /= types.float32(len(normal))
