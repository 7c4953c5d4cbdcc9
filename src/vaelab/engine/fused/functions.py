"""exp, expm1, sigmoid, tanh and the normal distribution function for float32, without branches so that LLVM vectorises
the loops that call them; NumPy's own are scalar calls there. Accurate to a few units in the last place.
"""

from __future__ import annotations

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
