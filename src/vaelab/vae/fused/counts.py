"""Heads of counts, as parts of a table (see `mixed`): Poisson, negative binomial, and that with additional zeros.

Costs are sums of small terms, without the cancellation of log-gamma of large numbers, so that float32 is enough.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from vaelab.engine.fused.build import kernel
from vaelab.engine.fused.dense import D1, F1, F2
from vaelab.engine.fused.functions import HALF, ONE, TWO, ZERO, decay, digamma, exp, log, log1p
from vaelab.vae.fused import ZERO_INFLATED

# Columns are taken in blocks, whose constants lie at fixed distances in one array: many arrays that might overlap would
# keep LLVM from vectorising a loop over them.
BLOCK = 128
LOG_T, T, LOG_GAMMA, SLOPE, BY_T = (BLOCK * i for i in range(1, 6))
FEW = np.float32(8)  # counts up to here by products, others by Stirling's series
HIGHEST, DISPERSION = np.float32(60), np.float32(8)  # as in `likelihoods.poisson` and `negative_binomial`
_HALF_LOG_2_PI = np.float32(0.5 * np.log(2 * np.pi))
_TWELFTH, _SECOND, _THIRD = np.float32(1 / 12), np.float32(1 / 360), np.float32(1 / 1260)
_BY_120 = np.float32(1 / 120)

# code; the part's constants, here the logarithms of the means of its n columns; outputs (B, ...), of which its own
# begin at `first`, and which become `factor` times the gradient; rows (B, ...), whose values of x begin at `at`, and
# whose logarithm of the size is at `size`; n; own parameters and their gradient, to which is added; factor; the costs
# of the examples, to which is added.
PART = types.void(
    types.int64, D1, F2, types.int64, F2, types.int64, types.int64, types.int64, F1, F1, types.float32, F1
)  # fmt: skip


@kernel(inline=True)
def _series(z: Any) -> Any:
    """log G(z) - (z - 1 / 2) log z + z - log(2 pi) / 2, for z > 8."""
    r = ONE / z
    s = r * r
    return r * (_TWELFTH - s * (_SECOND - s * _THIRD))


@kernel(inline=True)
def _slope(z: Any) -> Any:
    """The derivative of log G(z), less log z."""
    r = ONE / z
    s = r * r
    return -HALF * r - s * (_TWELFTH - s * _BY_120)


@kernel(inline=True)
def _next(p: Any, q: Any, t: Any, x: Any, i: Any) -> Any:
    """p = G(t + x) / G(t) / x! and its derivative q, by one more factor if x > i."""
    on, f, by = x > i, t + i, ONE / (i + ONE)
    return (p * f * by if on else p), ((q * f + p) * by if on else q)


@kernel(inline=True)
def _choices(x: Any, t: Any, log_gamma: Any, digamma: Any) -> Any:
    """log G(t + x) - log G(t) - log x!, and its derivative by t, given log G and its derivative at t.

    Of t >= FEW, where these are large, only what Stirling's series adds to the leading terms.
    """
    few, is_large = min(x, FEW), t >= FEW
    p, q = _next(ONE, ZERO, t, few, ZERO)
    p, q = _next(p, q, t, few, ONE)
    p, q = _next(p, q, t, few, np.float32(2))
    p, q = _next(p, q, t, few, np.float32(3))
    p, q = _next(p, q, t, few, np.float32(4))
    p, q = _next(p, q, t, few, np.float32(5))
    p, q = _next(p, q, t, few, np.float32(6))
    p, q = _next(p, q, t, few, np.float32(7))
    is_few = x <= FEW
    u, more = x + ONE, t - ONE
    w = max(x, FEW) + t
    common, ratio, other = log(p if is_few else u), log1p(max(more / u, -HALF)), log1p(x / t)
    near = (t - HALF) * other + x * ratio - HALF * common + (ONE - _HALF_LOG_2_PI)
    far = (w - HALF) * ratio + more * (common - ONE)
    many = (near if is_large else far) + (_series(w) - _series(max(u, FEW)) - log_gamma)
    slope = (other if is_large else common + ratio) + (_slope(w) - digamma)
    return (common if is_few else many), (q / p if is_few else slope)


@kernel(inline=True)
def _factorial(x: Any) -> Any:
    """x! of 0, 1, ... 8."""
    p = TWO if x > ONE else ONE
    p *= np.float32(3) if x > np.float32(2) else ONE
    p *= np.float32(4) if x > np.float32(3) else ONE
    p *= np.float32(5) if x > np.float32(4) else ONE
    p *= np.float32(6) if x > np.float32(5) else ONE
    p *= np.float32(7) if x > np.float32(6) else ONE
    return p * (np.float32(8) if x > np.float32(7) else ONE)


@kernel(PART, any_order=True)
def poisson(
    code: int, constants: Any, outputs: Any, first: int, rows: Any, at: int, size: int, n: int, own: Any,
    own_gradient: Any, factor: Any, cost: Any,
) -> None:  # fmt: skip
    """m - x log m + log x!; of many as x (d - log(1 + d)) + log(2 pi x) / 2 + ..., d = m / x - 1."""
    base = np.empty(n, np.float32)
    for j in range(n):
        base[j] = constants[j]
    for b in range(len(rows)):
        out, xs, total = outputs[b, first : first + n], rows[b, at : at + n], ZERO
        log_size = rows[b, size]
        for j in range(n):
            there = xs[j] == xs[j]
            x = xs[j] if there else ZERO
            given = out[j] + (base[j] + log_size)
            log_mean = min(given, HIGHEST) if given == given else given
            m = exp(log_mean)
            is_few, some = x <= FEW, max(x, ONE)
            log_x = log(_factorial(x) if is_few else x)  # of few that of x!
            d = (m - some) / some
            ratio = log1p(d) if abs(d) < HALF else log_mean - log_x
            many = x * (d - ratio) + (_HALF_LOG_2_PI + HALF * log_x) + _series(max(some, FEW))
            total += (m - x * log_mean + log_x if is_few else many) if there else ZERO
            out[j] = (m - x) * factor if there and not given > HIGHEST else ZERO
        cost[b] += total


@kernel(inline=True)
def _cell(x: Any, given: Any, log_t: Any, t: Any, log_gamma: Any, slope: Any) -> Any:
    """The cost of a count, given the logarithm of its mean; its derivatives by that and by log t; whether the
    mean could be larger still.
    """
    d = (min(given, HIGHEST) if given == given else given) - log_t
    e = decay(-abs(d))
    q = log1p(e)
    by_e = ONE / (ONE + e)
    above = (ONE if d >= ZERO else e) * by_e  # m / (t + m)
    below = (e if d >= ZERO else ONE) * by_e
    choices, by_t = _choices(x, t, log_gamma, slope)
    to_t, to_m = t * (max(d, ZERO) + q), x * (max(-d, ZERO) + q)
    return to_t + to_m - choices, t * above - x * below, to_t + x * below - t * above - t * by_t, not given > HIGHEST


@kernel(PART, any_order=True)
def negative_binomial(
    code: int, constants: Any, outputs: Any, first: int, rows: Any, at: int, size: int, n: int, own: Any,
    own_gradient: Any, factor: Any, cost: Any,
) -> None:  # fmt: skip
    """t log(1 + m / t) + x log(1 + t / m) - log(G(x + t) / G(t) / x!), t = e^own; zeros may have a second cause, whose
    logits are n further outputs.
    """
    p = np.empty(6 * BLOCK, np.float32)
    for begin in range(0, n, BLOCK):
        width = min(BLOCK, n - begin)
        for j in range(width):
            raw = min(max(own[begin + j], -DISPERSION), DISPERSION)
            p[j], p[LOG_T + j], p[T + j], p[BY_T + j] = constants[begin + j], raw, math.exp(raw), ZERO
            if p[T + j] < FEW:
                p[LOG_GAMMA + j], p[SLOPE + j] = math.lgamma(math.exp(raw)), digamma(math.exp(raw))
            else:
                p[LOG_GAMMA + j], p[SLOPE + j] = _series(p[T + j]), _slope(p[T + j])
        for b in range(len(rows)):
            out = outputs[b, first + begin : first + begin + width]
            xs, total, log_size = rows[b, at + begin : at + begin + width], ZERO, rows[b, size]
            if code == ZERO_INFLATED:
                logits = outputs[b, first + n + begin : first + n + begin + width]
                for j in range(width):
                    there = xs[j] == xs[j]
                    x = xs[j] if there else ZERO
                    counted, by_mean, by_log_t, is_free = _cell(
                        x, out[j] + (p[j] + log_size), p[LOG_T + j], p[T + j], p[LOG_GAMMA + j], p[SLOPE + j]
                    )
                    is_zero, logit = x == ZERO, logits[j]
                    e, both = decay(-abs(logit)), decay(-abs(logit + counted))
                    share = (ONE if logit >= ZERO else e) / (ONE + e)
                    inflated = (ONE if logit + counted >= ZERO else both) / (ONE + both)  # probability of that cause
                    down = max(-logit, ZERO) + log1p(e)
                    as_zero = down - (max(-logit - counted, ZERO) + log1p(both))
                    total += (as_zero if is_zero else down + logit + counted) if there else ZERO
                    weight = (ONE - inflated if is_zero else ONE) if there else ZERO
                    p[BY_T + j] += weight * by_log_t
                    out[j] = weight * by_mean * factor if is_free else ZERO
                    logits[j] = (share - inflated if is_zero else share) * factor if there else ZERO
            else:
                for j in range(width):
                    there = xs[j] == xs[j]
                    x = xs[j] if there else ZERO
                    counted, by_mean, by_log_t, is_free = _cell(
                        x, out[j] + (p[j] + log_size), p[LOG_T + j], p[T + j], p[LOG_GAMMA + j], p[SLOPE + j]
                    )
                    total += counted if there else ZERO
                    p[BY_T + j] += by_log_t if there else ZERO
                    out[j] = by_mean * factor if there and is_free else ZERO
            cost[b] += total
        for j in range(width):
            if abs(own[begin + j]) <= DISPERSION:
                own_gradient[begin + j] += factor * p[BY_T + j]
