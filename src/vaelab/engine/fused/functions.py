"""exp, expm1, log, log1p, sigmoid, tanh and the normal distribution function for float32, without branches so that LLVM
vectorises the loops that call them; NumPy's own are scalar calls there. Accurate to a few units in the last place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vaelab.engine.fused.build import kernel

ONE, TWO, HALF, ZERO = np.float32(1), np.float32(2), np.float32(0.5), np.float32(0)

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # the high part has trailing zeros
_TO_INTEGER = np.float32(1.5 * 2**23)  # adding it rounds to an integer, which is then in the low bits
_LARGEST, _SMALLEST = np.float32(88.7228), np.float32(-86.6)  # beyond: infinity, and 0 instead of a denormal number
_INFINITY = np.float32(np.inf)
# expm1(r) = r + r^2 p(r), |r| <= log(2) / 2: p interpolated at Chebyshev points, to a relative error of 3e-8.
_P = tuple(np.float32(c) for c in (0.5, 0.16666576666, 0.04166655421, 0.00836323288, 0.00139262508))


_ROOT_BITS = 0x3F3504F3  # sqrt(1 / 2)
_LEAST, _MOST = np.float32(1.2e-38), np.float32(np.finfo(np.float32).max)
# log(1 + s) = s - s^2 / 2 + s^3 p(s)
_LOG = tuple(
    np.float32(c)
    for c in (
        3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1, 1.4249322787e-1, -1.2420140846e-1,
        1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2,
    )
)  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def _half_power(typing_context: Any, t: Any) -> Any:
    """2^(n - 1) for t = _TO_INTEGER + n, -126 < n < 129."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.add(builder.bitcast(arguments[0], word), ir.Constant(word, 126))
        return builder.bitcast(builder.shl(bits, ir.Constant(word, 23)), ir.FloatType())

    return types.float32(types.float32), generate


@kernel()
def _parts(x: Any) -> Any:
    """2^(n - 1) and expm1(r) of x = n log 2 + r, |r| <= log(2) / 2, for -87 < x < 88.7 (Cody & Waite 1980, ch. 6)."""
    t = x * _LOG2_E + _TO_INTEGER
    n = t - _TO_INTEGER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    a, b, c, d, e = _P
    return _half_power(t), r + r * r * (a + r * (b + r * (c + r * (d + r * e))))


@kernel()
def exp(x: Any) -> Any:
    """e^x."""
    half, q = _parts(min(max(x, _SMALLEST), _LARGEST))
    y = TWO * (half + half * q)
    y = _INFINITY if x > _LARGEST else y
    y = ZERO if x < _SMALLEST else y
    return y if x == x else x


@kernel()
def expm1(x: Any) -> Any:
    """e^x - 1."""
    half, q = _parts(min(max(x, _SMALLEST), _LARGEST))
    y = TWO * (half * q + (half - HALF))
    y = _INFINITY if x > _LARGEST else y
    y = -ONE if x < _SMALLEST else y
    return y if x == x else x


@kernel()
def decay(x: Any) -> Any:
    """e^x for x <= 0, but no less than 2e-38."""
    half, q = _parts(max(x, _SMALLEST))
    y = TWO * (half + half * q)
    return y if x == x else x


@intrinsic  # type: ignore[untyped-decorator]
def _exponent(typing_context: Any, x: Any) -> Any:
    """n of a positive x = 2^n f, with f from sqrt(1 / 2) to sqrt(2)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.sub(builder.bitcast(arguments[0], word), ir.Constant(word, _ROOT_BITS))
        return builder.sitofp(builder.ashr(bits, ir.Constant(word, 23)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def _fraction(typing_context: Any, x: Any) -> Any:
    """f of the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.sub(builder.bitcast(arguments[0], word), ir.Constant(word, _ROOT_BITS))
        bits = builder.and_(bits, ir.Constant(word, (1 << 23) - 1))
        return builder.bitcast(builder.add(bits, ir.Constant(word, _ROOT_BITS)), ir.FloatType())

    return types.float32(types.float32), generate


@kernel()
def log(x: Any) -> Any:
    """log x for x >= 1e-37; that of smaller ones is no less than -86 (Moshier 1989, as exp above)."""
    x = max(x, _LEAST) if x == x else x
    n, s = _exponent(x), _fraction(x) - ONE
    a, b, c, d, e, f, g, h, i = _LOG
    p = a + s * (b + s * (c + s * (d + s * (e + s * (f + s * (g + s * (h + s * i)))))))
    z = s * s
    y = s + (n * _LN2_LOW - HALF * z + z * s * p) + n * _LN2_HIGH
    return y if x <= _MOST else x


@kernel()
def log1p(x: Any) -> Any:
    """log(1 + x) for x > -1, with what rounding 1 + x loses (Kahan)."""
    u = ONE + x
    return log(u) + (x - (u - ONE)) / u


@kernel()
def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return max(x, ZERO) + log1p(decay(-abs(x)))


@kernel()
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    e = decay(-abs(x))
    return (ONE if x >= ZERO else e) / (ONE + e)


@kernel()
def tanh(x: Any) -> Any:
    """tanh x."""
    e = expm1(-TWO * abs(x))
    y = -e / (TWO + e)
    y = y if x >= ZERO else -y
    return y if x == x else x


_ERF = tuple(np.float32(c) for c in (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429))
_ERF_SLOPE, _ROOT_HALF = np.float32(0.3275911), np.float32(0.5**0.5)
_DENSITY = np.float32((2 * np.pi) ** -0.5)


@kernel()
def normal_cdf(x: Any) -> Any:
    """The standard normal distribution function and density, to 8e-8 (Abramowitz & Stegun 1964, 7.1.26)."""
    u = abs(x) * _ROOT_HALF
    t = ONE / (ONE + _ERF_SLOPE * u)
    a, b, c, d, e = _ERF
    bell = decay(-u * u)
    tail = HALF * t * (a + t * (b + t * (c + t * (d + t * e)))) * bell
    return (ONE - tail if x >= ZERO else tail), _DENSITY * bell


@kernel()
def digamma(x: Any) -> Any:
    """The derivative of log-gamma at x > 0, in double precision (Bernardo 1976)."""
    y = 0.0
    while x < 10:
        y -= 1 / x
        x += 1
    z = 1 / (x * x)
    return y + math.log(x) - 0.5 / x - z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z / 132))))
