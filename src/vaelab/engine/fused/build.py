"""How kernels are compiled, and the BLAS they call."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import torch
from numba.extending import get_cython_function_address

from vaelab.engine.fused import folder

SGEMM = "vaelab_sgemm"  # the name under which compiled kernels look for the matrix product

# NaN and infinity must stay what they are, as they tell of a failed training.
EXACT = {"contract"}
ANY_ORDER = EXACT | {"reassoc", "nsz", "arcp"}


def kernel(signature: Any = None, any_order: bool = False, inline: bool = False) -> Callable[[Any], Any]:
    """Decorates a function that numba compiles: kept in `folder` if it has a signature, else inlined where it is used,
    if it is short or `inline`.

    any_order: sums may be in any order, so that they are vectorised. Indices are not checked.
    """
    options: dict[str, Any] = {"fastmath": ANY_ORDER if any_order else EXACT, "error_model": "numpy", "nogil": True}

    def decorate(function: Any) -> Any:
        if signature is None:
            return numba.njit(**options, forceinline=inline)(function)
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(folder())  # read as the function is decorated
        try:
            return numba.njit(signature, **options, cache=True)(function)
        finally:
            numba.config.CACHE_DIR = before

    return decorate


def _sgemm() -> int:
    """The address of BLAS's sgemm: PyTorch's, usually the fastest, or SciPy's, which every machine has."""
    if platform.system() == "Linux":
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        if hasattr(library, "sgemm_"):
            return ctypes.cast(library.sgemm_, ctypes.c_void_p).value or 0
    address: int = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    return address


llvmlite.binding.add_symbol(SGEMM, _sgemm())
