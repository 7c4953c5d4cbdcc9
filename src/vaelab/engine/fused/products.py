"""Matrix products of float32 in row-major order, by the BLAS that `build` chose."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vaelab.engine.fused.build import SGEMM, kernel

ONE, ZERO = np.float32(1), np.float32(0)


@intrinsic  # type: ignore[untyped-decorator]
def _sgemm(
    typing_context: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any,
    c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """BLAS's sgemm with alpha = 1, whose matrices are by columns and whose arguments are pointers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def by_reference(value: Any, kind: Any) -> Any:
            place = cgutils.alloca_once(builder, kind)
            builder.store(value, place)
            return builder.bitcast(place, pointer)

        byte, word, real, pointer = ir.IntType(8), ir.IntType(32), ir.FloatType(), ir.IntType(8).as_pointer()
        ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc = arguments
        letters = [by_reference(builder.trunc(t, byte), byte) for t in (ta, tb)]
        sizes = [by_reference(builder.trunc(v, word), word) for v in (m, n, k, lda, ldb, ldc)]
        alpha, beta = by_reference(ir.Constant(real, 1.0), real), by_reference(beta, real)
        a, b, c = (builder.inttoptr(v, pointer) for v in (a, b, c))
        m, n, k, lda, ldb, ldc = sizes
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [pointer] * 13), SGEMM)
        builder.call(function, [*letters, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc])
        return context.get_dummy_value()

    integer = types.int64
    return types.void(*[integer] * 9, types.float32, integer, integer), generate


N, T = ord("N"), ord("T")


@kernel()
def multiply(m: int, n: int, k: int, a: int, lda: int, b: int, ldb: int, c: int, ldc: int, beta: Any) -> None:
    """C = A B + beta C, for A (m, k), B (k, n) and C (m, n) at these addresses, with these distances between rows."""
    _sgemm(N, N, n, m, k, b, ldb, a, lda, beta, c, ldc)


@kernel()
def multiply_by_transposed(
    m: int, n: int, k: int, a: int, lda: int, b: int, ldb: int, c: int, ldc: int, beta: Any
) -> None:
    """C = A B^T + beta C, for B (n, k)."""
    _sgemm(T, N, n, m, k, b, ldb, a, lda, beta, c, ldc)


@kernel()
def multiply_transposed(m: int, n: int, k: int, a: int, lda: int, b: int, ldb: int, c: int, ldc: int) -> None:
    """C = A^T B, for A (k, m)."""
    _sgemm(N, T, n, m, k, b, ldb, a, lda, ZERO, c, ldc)
