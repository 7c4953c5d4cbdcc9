"""The head of a table: each part of its columns by the head of its kind. Missing cells cost nothing.

Rows are [what the encoder sees (E), x (D), logarithm of the size, offset], the offset the part of the cost that depends
on x alone. The constants are the code MIXED, E, and then for each part, one after the other: how many numbers these
are, the part's code, its first column, how many columns, its first output, the first of its own parameters, how many
of these, and what its noise model states (`ColumnLikelihood.head_part`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import D1, F1, F2
from vaelab.engine.fused.functions import HALF, ONE, ZERO, decay, digamma, exp, expm1, log, log1p, softplus
from vaelab.vae.fused import BERNOULLI, CATEGORICAL, GAUSSIAN, LAPLACE, ORDINAL, POISSON, STUDENT
from vaelab.vae.fused.counts import BLOCK, PART, negative_binomial, poisson

HEADER = 7  # numbers of a part before those of its noise model
FACTORS = 96  # each in [1, 2], whose product is still a float32
FAR, LEAST_STEP = np.float32(1e4), np.float32(1e-3)  # as in `likelihoods.ordinal`
MOST = 12.0  # as in `likelihoods.student`
LEVEL, FREEDOM, BY_FREEDOM, BY_SCALE, BY_V = (BLOCK * i for i in range(1, 6))


@kernel(PART, any_order=True)
def density(
    code: int, constants: Any, outputs: Any, first: int, rows: Any, at: int, size: int, n: int, own: Any,
    own_gradient: Any, factor: Any, cost: Any,
) -> None:  # fmt: skip
    """energy((x - m) / s) + log s + log Z; constants: fixed scale or 0, log Z, least scales (n,); Huber's threshold."""
    fixed, threshold = constants[0], types.float32(constants[len(constants) - 1])
    inverse, level, by_scale = np.empty((3, n), np.float32)
    for j in range(n):
        scale = fixed if fixed > 0 else constants[2 + j] + math.exp(own[j])
        inverse[j], level[j], by_scale[j] = 1 / scale, math.log(scale) + constants[1], ZERO
    for b in range(len(rows)):
        m, x, total = outputs[b, first : first + n], rows[b, at : at + n], ZERO
        if code == GAUSSIAN:
            for j in range(n):
                there = x[j] == x[j]
                r = (x[j] - m[j]) * inverse[j] if there else ZERO
                total += HALF * r * r + level[j] if there else ZERO
                by_scale[j] += ONE - r * r if there else ZERO
                m[j] = -r * inverse[j] * factor
        elif code == LAPLACE:
            for j in range(n):
                there = x[j] == x[j]
                r = (x[j] - m[j]) * inverse[j] if there else ZERO
                sign = (ONE if r > ZERO else ZERO) - (ONE if r < ZERO else ZERO)
                total += abs(r) + level[j] if there else ZERO
                by_scale[j] += ONE - abs(r) if there else ZERO
                m[j] = -sign * inverse[j] * factor
        else:
            for j in range(n):
                there = x[j] == x[j]
                r = (x[j] - m[j]) * inverse[j] if there else ZERO
                slope = min(max(r, -threshold), threshold)
                total += slope * (r - HALF * slope) + level[j] if there else ZERO
                by_scale[j] += ONE - r * slope if there else ZERO
                m[j] = -slope * inverse[j] * factor
        cost[b] += total
    if fixed == 0:
        for j in range(n):
            own_gradient[j] += factor * by_scale[j] * inverse[j] * types.float32(math.exp(own[j]))


@kernel(PART, any_order=True)
def student(
    code: int, constants: Any, outputs: Any, first: int, rows: Any, at: int, size: int, n: int, own: Any,
    own_gradient: Any, factor: Any, cost: Any,
) -> None:  # fmt: skip
    """log s + log B(v / 2, 1 / 2) + log(v) / 2 + (v + 1) / 2 log(1 + r^2 / v); constants: fixed scale or 0, least
    scales (n,). Own parameters: scales, unless fixed, and then freedoms v = 1 + e^raw, one for all if scales are fixed.
    """
    fixed = constants[0]
    scales = 0 if fixed > 0 else n
    freedoms = len(own) - scales
    p = np.empty(6 * BLOCK, np.float32)
    for begin in range(0, n, BLOCK):
        width = min(BLOCK, n - begin)
        for j in range(width):
            scale = fixed if fixed > 0 else constants[1 + begin + j] + math.exp(own[begin + j])
            v = 1 + math.exp(min(max(own[scales + min(begin + j, freedoms - 1)], -MOST), MOST))
            log_beta = math.lgamma(v / 2) + 0.5 * math.log(math.pi) - math.lgamma((v + 1) / 2)
            p[j], p[LEVEL + j], p[FREEDOM + j] = 1 / scale, math.log(scale) + log_beta + 0.5 * math.log(v), v
            p[BY_FREEDOM + j] = 0.5 * digamma(v / 2) - 0.5 * digamma((v + 1) / 2) + 0.5 / v
            p[BY_SCALE + j], p[BY_V + j] = ZERO, ZERO
        for b in range(len(rows)):
            m, x = outputs[b, first + begin : first + begin + width], rows[b, at + begin : at + begin + width]
            total = ZERO
            for j in range(width):
                there = x[j] == x[j]
                r = (x[j] - m[j]) * p[j] if there else ZERO
                v = p[FREEDOM + j]
                square = r * r
                pull = (v + ONE) * r / (v + square)
                ratio = HALF * log1p(square / v)
                total += p[LEVEL + j] + (v + ONE) * ratio if there else ZERO
                p[BY_SCALE + j] += ONE - r * pull if there else ZERO
                p[BY_V + j] += p[BY_FREEDOM + j] + ratio - HALF * r * pull / v if there else ZERO
                m[j] = -pull * p[j] * factor
            cost[b] += total
        for j in range(width):
            if scales > 0:
                by_raw = types.float32(math.exp(own[begin + j]))
                own_gradient[begin + j] += factor * p[BY_SCALE + j] * p[j] * by_raw
            k = scales + min(begin + j, freedoms - 1)
            if abs(own[k]) <= MOST:
                own_gradient[k] += factor * p[BY_V + j] * types.float32(math.exp(own[k]))


@kernel(PART, any_order=True)
def binary(
    code: int, constants: Any, outputs: Any, first: int, rows: Any, at: int, size: int, n: int, own: Any,
    own_gradient: Any, factor: Any, cost: Any,
) -> None:  # fmt: skip
    """max(l, 0) - x l + log(1 + e^-|l|) of logits l; factors share a logarithm."""
    for b in range(len(rows)):
        total: Any = 0.0
        for start in range(0, n, FACTORS):
            stop = min(start + FACTORS, n)
            logits, x = outputs[b, first + start : first + stop], rows[b, at + start : at + stop]
            part, product = ZERO, ONE
            for j in range(stop - start):
                there = x[j] == x[j]
                e = decay(-abs(logits[j]))
                q = ONE + e
                part += max(logits[j], ZERO) - x[j] * logits[j] if there else ZERO
                product *= q if there else ONE
                logits[j] = ((ONE if logits[j] >= ZERO else e) / q - x[j]) * factor if there else ZERO
            total += part + math.log(product)
        cost[b] += total


@kernel(PART)
def categorical(
    code: int, constants: Any, outputs: Any, first: int, rows: Any, at: int, size: int, n: int, own: Any,
    own_gradient: Any, factor: Any, cost: Any,
) -> None:  # fmt: skip
    """log sum_l e^o_l - o_x; constants: numbers of levels (n,)."""
    for b in range(len(rows)):
        start, total = first, ZERO
        for j in range(n):
            levels, x = int(constants[j]), rows[b, at + j]
            out = outputs[b, start : start + levels]
            start += levels
            if x != x:
                out[:] = ZERO
                continue
            top, mass = out[0], ZERO
            for k in range(1, levels):
                top = max(top, out[k])
            chosen = int(x)
            total += top - out[chosen]
            for k in range(levels):
                out[k] = exp(out[k] - top)
                mass += out[k]
            total += log(mass)
            share = factor / mass
            for k in range(levels):
                out[k] *= share
            out[chosen] -= factor
        cost[b] += total


@kernel(PART)
def ordinal(
    code: int, constants: Any, outputs: Any, first: int, rows: Any, at: int, size: int, n: int, own: Any,
    own_gradient: Any, factor: Any, cost: Any,
) -> None:  # fmt: skip
    """-log(sigmoid(above) - sigmoid(below)), thresholds around x less the output; constants: numbers of levels (n,).

    With g = above - below it is softplus(-above) + softplus(below) - log(1 - e^-g).
    """
    steps = len(own) // n  # thresholds of the column with most levels
    thresholds, by_threshold = np.full((n, steps + 2), FAR), np.zeros((n, steps + 2), np.float32)
    for j in range(n):
        thresholds[j, 0] = -FAR
        t = own[j * steps]
        for k in range(1, int(constants[j])):
            t += softplus(own[j * steps + k - 1]) + LEAST_STEP if k > 1 else ZERO
            thresholds[j, k] = t
    for b in range(len(rows)):
        total = ZERO
        for j in range(n):
            x, out = rows[b, at + j], outputs[b, first + j]
            if x != x:
                outputs[b, first + j] = ZERO
                continue
            level = int(x)
            above, below = thresholds[j, level + 1] - out, thresholds[j, level] - out
            gap = min(max(thresholds[j, level + 1] - thresholds[j, level], HALF * LEAST_STEP), FAR)
            narrow = -expm1(-gap)
            total += softplus(-above) + softplus(below) - log(narrow)
            slope = (ONE - narrow) / narrow
            up, down = decay(-abs(above)), decay(-abs(below))
            by_above = -(up if above >= ZERO else ONE) / (ONE + up)
            by_below = (ONE if below >= ZERO else down) / (ONE + down)
            by_threshold[j, level + 1] += by_above - slope
            by_threshold[j, level] += by_below + slope
            outputs[b, first + j] = -(by_above + by_below) * factor
        cost[b] += total
    for j in range(n):
        beyond = ZERO  # a step moves its threshold and all above it
        for k in range(int(constants[j]) - 1, 0, -1):
            beyond += by_threshold[j, k]
            raw, place = own[j * steps + k - 1], j * steps + k - 1
            e = decay(-abs(raw))
            share = (ONE if raw >= ZERO else e) / (ONE + e)
            own_gradient[place] += factor * beyond * (share if k > 1 else ONE)


@kernel(types.void(D1, F2, F2, types.int64, F1, F1, types.float32, F1))
def mixed(
    constants: Any, outputs: Any, rows: Any, features: int, own: Any, own_gradient: Any, factor: Any, cost: Any
) -> None:
    """The sum over the parts, as a head (see `heads.HEAD`)."""
    x = int(constants[1])
    size = x + features
    for b in range(len(rows)):
        cost[b] = rows[b, size + 1]
    start = 2
    while start < len(constants):
        length, code, column, n, first, begin, count = [int(constants[start + i]) for i in range(HEADER)]
        stated = constants[start + HEADER : start + length]
        mine, slope, at = own[begin : begin + count], own_gradient[begin : begin + count], x + column
        if code == BERNOULLI:
            binary(code, stated, outputs, first, rows, at, size, n, mine, slope, factor, cost)
        elif code == STUDENT:
            student(code, stated, outputs, first, rows, at, size, n, mine, slope, factor, cost)
        elif code == CATEGORICAL:
            categorical(code, stated, outputs, first, rows, at, size, n, mine, slope, factor, cost)
        elif code == ORDINAL:
            ordinal(code, stated, outputs, first, rows, at, size, n, mine, slope, factor, cost)
        elif code == POISSON:
            poisson(code, stated, outputs, first, rows, at, size, n, mine, slope, factor, cost)
        elif code > POISSON:
            negative_binomial(code, stated, outputs, first, rows, at, size, n, mine, slope, factor, cost)
        else:
            density(code, stated, outputs, first, rows, at, size, n, mine, slope, factor, cost)
        start += length
