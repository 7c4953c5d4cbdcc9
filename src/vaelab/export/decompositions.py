"""Operators that ONNX does not have, in terms of those that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def cholesky(a: Tensor, *, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """The lower triangular root (..., k, k) of positive definite matrices, and zeros, as torch.linalg.cholesky_ex.

    >>> a = torch.tensor([[4.0, 2.0], [2.0, 5.0]])
    >>> cholesky(a)[0]
    tensor([[2., 0.],
            [1., 2.]])
    """
    columns: list[Tensor] = []
    rest, zero = a, torch.zeros_like(a[..., 0])  # a's Schur complement: a step per column, since each step is a node
    for j in range(a.shape[-1]):
        column = rest[..., 0] / rest[..., :1, 0].sqrt()
        columns.append(torch.cat([zero[..., :j], column], -1))
        below = column[..., 1:]
        rest = rest[..., 1:, 1:] - below[..., :, None] * below[..., None, :]
    return torch.stack(columns, -1), torch.zeros_like(a[..., 0, 0], dtype=torch.int32)


def cholesky_solve(b: Tensor, root: Tensor, upper: bool = False) -> Tensor:
    """The solution x (..., k, m) of root root^T x = b, as torch.cholesky_solve.

    >>> cholesky_solve(torch.tensor([[8.0], [9.0]]), torch.tensor([[2.0, 0.0], [1.0, 2.0]]))
    tensor([[1.3750],
            [1.2500]])
    """
    forth: list[Tensor] = []
    back: list[Tensor] = []
    rest = b
    for i in range(root.shape[-1]):
        forth.append(rest[..., :1, :] / root[..., i : i + 1, i : i + 1])
        rest = rest[..., 1:, :] - root[..., i + 1 :, i : i + 1] * forth[-1]
    rest = torch.cat(forth, -2)
    for i in reversed(range(root.shape[-1])):
        back.append(rest[..., -1:, :] / root[..., i : i + 1, i : i + 1])
        rest = rest[..., :-1, :] - root[..., i, :i, None] * back[-1]
    return torch.cat(back[::-1], -2)


def searchsorted(
    values: Tensor, x: Tensor, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """How many of increasing values (..., k) are below each of x (..., n), as torch.searchsorted.

    >>> searchsorted(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0, 2.0, 9.0]))
    tensor([0, 0, 1, 2])
    """
    ends, points = values[..., None, :], x[..., None]
    return (ends <= points if right or side == "right" else ends < points).sum(-1)


def erf(x: Tensor) -> Any:
    """In float32: onnxruntime has no other, and its error of 1e-7 is far below what is asked of probabilities."""
    return NotImplemented if x.dtype == torch.float32 else torch.erf(x.float()).to(x.dtype)


TABLE: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.linalg_cholesky_ex.default: cholesky,
    torch.ops.aten.cholesky_solve.default: cholesky_solve,
    torch.ops.aten.searchsorted.Tensor: searchsorted,
    torch.ops.aten.erf.default: erf,
}
