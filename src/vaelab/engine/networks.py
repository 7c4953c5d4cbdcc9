"""Stacked layers: every tensor carries a leading member axis K, and all parameters are views of one (K, P) buffer."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Parameters = Mapping[str, Tensor]


class Training(dict[str, Tensor]):
    """Parameters in a training step: given these, norms use a batch's own statistics and keep count of them."""


# Floats in 64 bytes. A product may round differently if a matrix is not aligned to such a boundary, so all members'
# matrices have the same alignment: else a member's bits would depend on its position in the stack.
LINE = 16

# Each maps 0 to 0, which keeps padded units at 0 (see `bucket`).
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "elu": functional.elu,
}


def bucket(width: int, least: int = 32) -> int:
    """The padded width of a layer of `width` units: powers of two from `least` to 256, then multiples of 128.

    Members of different widths share a stack by padding to a common bucket. It depends only on the width, never on
    the other members, so a member computes the same bits in any stack. No mask is needed: a padded unit starts with
    zero weights on both sides and an activation that maps 0 to 0, so it always outputs exactly 0 and receives gradient
    exactly 0, under every update rule.

    >>> [bucket(n) for n in (1, 33, 200, 300)]
    [32, 64, 256, 384]
    """
    if width <= 256:
        return max(least, 1 << (width - 1).bit_length())
    return -(-width // 128) * 128


def padded_latent(latent_dim: int) -> int:
    """The padded width of a latent space."""
    return bucket(latent_dim, 16)


@dataclasses.dataclass(frozen=True)
class Block:
    """One named parameter of one member: its offset in the buffer, its padded shape, and its own shape."""

    name: str
    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Layout:
    """The positions of the named parameters in the P columns of a stack's buffer."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.blocks: dict[str, Block] = {}
        self.size = 0
        for name, shape in shapes.items():
            self.blocks[name] = Block(name, self.size, shape)
            self.size += math.prod(shape)
        self.tail = -self.size % LINE  # unused columns
        self.size += self.tail

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks.values())

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The buffer (K, P) as named parameters (K, *shape); views, no copies."""
        K = len(buffer)
        return {b.name: buffer[:, b.offset : b.offset + b.size].view(K, *b.shape) for b in self}

    def pad(self, weights: Mapping[str, Tensor]) -> Tensor:
        """One member's own weights, zero-padded into a row (P,)."""
        row = torch.zeros(self.size, dtype=next(iter(weights.values())).dtype)
        views = self.views(row[None])
        for name, weight in weights.items():
            views[name][0][tuple(slice(n) for n in weight.shape)] = weight
        return row

    def unpad(self, row: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """The inverse of `pad`, for a member whose own shapes are `shapes`."""
        views = self.views(row[None])
        return {name: views[name][0][tuple(slice(n) for n in shape)].clone() for name, shape in shapes.items()}


class Stacked:
    """The base of stacked models: P parameters of each member, and Q running statistics of norms."""

    layout: Layout
    statistics: Layout  # numbers per member besides its parameters, without gradient

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """Full members (K, P + Q) as named parameters and statistics; views, no copies."""
        return self.layout.views(rows) | self.statistics.views(rows[:, self.layout.size :])

    @functools.cached_property
    def largest_layer(self) -> int:
        """Weights of the largest layer, padding included."""
        return max(block.size for block in self.layout)

    def pad_member(self, weights: Mapping[str, Tensor]) -> Tensor:
        """One member's own weights and statistics as a padded row (P + Q,)."""
        statistics = {name: weights[name] for name in self.statistics.blocks}
        row = self.layout.pad({name: weight for name, weight in weights.items() if name not in statistics})
        return torch.cat([row, self.statistics.pad(statistics)]) if statistics else row

    def unpad_member(self, row: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """The inverse of `pad_member`, for a member whose own shapes are `shapes`."""
        statistics = {block.name: block.shape for block in self.statistics}
        return self.layout.unpad(row, shapes) | self.statistics.unpad(row[self.layout.size :], statistics)


@functools.cache
def _onednn_is_exact() -> bool:
    """Whether oneDNN's float32 products on this processor really are float32, checked on random numbers.

    PyTorch calls oneDNN only if bfloat16 is allowed, and only some processors then use bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(128, 256, generator=generator) for _ in range(2))
    with _onednn(True):
        error = (a @ b.T).double() - a.double() @ b.double().T
    return float(error.abs().max()) < 1e-4


@contextlib.contextmanager
def _onednn(use: bool) -> Iterator[None]:
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16" if use else before
    try:
        yield
    finally:
        matmul.fp32_precision = before


@contextlib.contextmanager
def fast_products(largest: int) -> Iterator[None]:
    """Context in which float32 products on the CPU use the faster library for layers of `largest` weights.

    From 128 x 128 up oneDNN's kernels are up to twice as fast as MKL's on some processors; they are used if
    they are exact. The choice depends only on the padded shapes, not on the other members.
    """
    with _onednn(largest >= 1 << 14 and _onednn_is_exact()):
        yield


def dense(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """x W + b per member: (K, B, in) -> (K, B, out)."""
    return torch.baddbmm(parameters[f"{name}.bias"], x, parameters[f"{name}.weight"])


def dense_shapes(prefix: str, widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of a chain of dense layers through `widths`: weights (in, out), biases (1, out)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        shapes[f"{prefix}.{i}.weight"] = (n_in, n_out)
        shapes[f"{prefix}.{i}.bias"] = (1, n_out)
    return shapes


@dataclasses.dataclass(frozen=True)
class MLP:
    """A chain of dense layers with an activation between them: (K, B, widths[0]) -> (K, B, widths[-1])."""

    prefix: str
    widths: tuple[int, ...]
    activation: str

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return dense_shapes(self.prefix, self.widths)

    def __call__(self, parameters: Parameters, x: Tensor, dropout: Sequence[Tensor] = ()) -> Tensor:
        """`dropout` has a mask (K, B, width) for each hidden layer's output, scaled by 1 / (1 - p)."""
        act = ACTIVATIONS[self.activation]
        last = len(self.widths) - 2
        for i in range(last + 1):
            x = dense(parameters, f"{self.prefix}.{i}", x)
            if i < last:
                x = act(x)
                if dropout:
                    x = x * dropout[i]
        return x


def initial_dense(prefix: str, widths: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
    """Initial weights of a chain: uniform with variance 1 / in for hidden layers (LeCun), zero biases.

    Drawn in the member's own widths, so padding does not change them. (LeCun et al. 1998, section 4.6.)
    """
    weights: dict[str, Tensor] = {}
    for name, shape in dense_shapes(prefix, widths).items():
        if name.endswith("bias"):
            weights[name] = torch.zeros(shape)
        else:
            bound = math.sqrt(3 / shape[0])
            weights[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return weights


def autocast(half: bool, parameters: Parameters, x: Tensor) -> contextlib.AbstractContextManager[None]:
    """Context in which products are in bfloat16 if `half`; only for training, since evaluation must be exact."""
    if half and isinstance(parameters, Training):
        return torch.autocast(x.device.type, torch.bfloat16)
    return contextlib.nullcontext()


def widen(x: Tensor, width: int) -> Tensor:
    """x (..., n) with zeros up to `width`."""
    more = width - x.shape[-1]
    return functional.pad(x, (0, more)) if more else x
