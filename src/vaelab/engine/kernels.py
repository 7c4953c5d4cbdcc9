"""Convolutions that keep, halve or double the size of maps, and max pooling.

Halving and doubling are each the adjoint of the other, so each is the other's gradient. Their weights are
(K, small, height, width, large): `small` channels of the half-sized maps, `large` of the others. Some of
PyTorch's own kernels take several times longer than their products need (the output is padded to 16 channels; a
transposed convolution in bfloat16 reorders its weights' gradient; that gradient processes small maps one by one); here
each case uses the fastest (`benchmarks/kernels.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]

# In bfloat16 on the CPU, up to this many pixels and weights per tap, the weight gradient is computed as one product:
# the native kernel accumulates the whole gradient once per example.
SMALL_MAP, MANY_WEIGHTS = 25, 1 << 14


def keep(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Each member's convolution of stride 1: x (B, K in, H, W) -> (B, K out, H, W), zero-padded.

    weight: (K, out, height, width, in), height and width odd. bias: (K, out).
    """
    x, weight, *rest = _meet(x, weight, bias)
    if _is_one_product(x, weight):
        y: Tensor = _Keep.apply(x, weight, *rest)
        return y
    return functional.conv2d(x, kernel_of(weight), flat(rest[0]), 1, padding_of(weight), groups=len(weight))


def halve_by_maximum(x: Tensor) -> Tensor:
    """Max pooling over 2 x 2 pixels: (B, C, H, W) -> (B, C, ceil(H / 2), ceil(W / 2)); a side of 1 stays."""
    y: Tensor = _Maximum.apply(x)
    return y


def halve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Each member's convolution of stride 2: x (B, K large, H, W) -> (B, K small, ceil(H / 2), ceil(W / 2)).

    bias: (K, small).
    """
    y: Tensor = _Halve.apply(*_meet(x, weight, bias))
    return y


def double(y: Tensor, weight: Tensor, size: Size, bias: Tensor | None = None) -> Tensor:
    """Its adjoint, onto maps of `size`: y (B, K small, ceil(H / 2), ceil(W / 2)) -> (B, K large, H, W).

    bias: (K, large).
    """
    x: Tensor = _Double.apply(*_meet(y, weight, bias), size)
    return x


def _meet(maps: Tensor, *of_layer: Tensor | None) -> tuple[Any, ...]:
    """All in the autocast dtype, which autocast does not apply in a custom backward pass."""
    device = maps.device.type
    if not torch.is_autocast_enabled(device):
        return maps, *of_layer
    half = torch.get_autocast_dtype(device)
    return maps.to(half), *(None if one is None else one.to(half) for one in of_layer)


def kernel_of(weight: Tensor) -> Tensor:
    """A weight (K, a, height, width, b) as torch's kernel (K a, b, height, width), a view."""
    return weight.flatten(0, 1).permute(0, 3, 1, 2)


def padding_of(weight: Tensor) -> Size:
    """The padding that keeps a map's size with stride 1."""
    return weight.shape[2] // 2, weight.shape[3] // 2


def flat(bias: Tensor | None) -> Tensor | None:
    """A bias (K, channels), if any, of all members' channels."""
    return None if bias is None else bias.flatten()


def _down(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.conv2d(x, kernel_of(weight), flat(bias), 2, padding_of(weight), groups=len(weight))


def _up(y: Tensor, weight: Tensor, size: Size, bias: Tensor | None = None) -> Tensor:
    *_, height, width, large = weight.shape
    if y.device.type == "cpu" and (min(height, width) >= 5 or 4 * large <= 16):
        return _up_by_pixels(y, weight, size, bias)
    more = [n - (2 * half - 1) for n, half in zip(size, y.shape[2:], strict=True)]
    return functional.conv_transpose2d(
        y, kernel_of(weight), flat(bias), 2, padding_of(weight), more, groups=len(weight)
    )


def _up_by_pixels(y: Tensor, weight: Tensor, size: Size, bias: Tensor | None) -> Tensor:
    """Upsampling by a convolution whose channels are the four output pixels (Shi et al. 2016, section 3.2)."""
    K, small, height, width, large = weight.shape
    (B, _, H, W), taps, margins = y.shape, [], []
    for side in (height, width):
        # Output 2 u + r uses weight 2 j + r + side // 2 of input u - j; j goes from -reach to reach.
        reach = (side // 2 + 1) // 2
        before = 2 * reach - side // 2
        taps.append(2 * reach + 1)
        margins.append((before, 4 * reach + 2 - before - side))
    kernel = functional.pad(weight, (0, 0, *margins[1], *margins[0])).view(K, small, taps[0], 2, taps[1], 2, large)
    kernel = kernel.flip(2, 4).permute(0, 3, 5, 6, 2, 4, 1).reshape(K * 4 * large, *taps, small).permute(0, 3, 1, 2)
    each = None if bias is None else bias[:, None].expand(K, 4, large).flatten()
    pixels = functional.conv2d(y, kernel, each, 1, (taps[0] // 2, taps[1] // 2), groups=K)
    pixels = pixels.permute(0, 2, 3, 1).reshape(B, H, W, K, 2, 2, large).permute(0, 1, 4, 2, 5, 3, 6)
    return pixels.reshape(B, 2 * H, 2 * W, K * large)[:, : size[0], : size[1]].permute(0, 3, 1, 2)


def _of_layer(x: Tensor, y: Tensor, weight: Tensor, *wanted: bool) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of sum(y * halve(x, weight, bias)) by weight and bias, if required."""
    K, small, *_ = weight.shape
    if not any(wanted):
        return None, None
    _, by_weight, by_bias = torch.ops.aten.convolution_backward(
        y, x, kernel_of(weight), [K * small], (2, 2), padding_of(weight), (1, 1), False, (0, 0), K, (False, *wanted)
    )
    return (
        by_weight.permute(0, 2, 3, 1).reshape(weight.shape) if wanted[0] else None,
        by_bias.view(K, small) if wanted[1] else None,
    )


def _is_one_product(x: Tensor, weight: Tensor) -> bool:
    (*_, H, W), (K, n_out, *_, n_in) = x.shape, weight.shape
    is_half = x.dtype == torch.bfloat16 and x.device.type == "cpu"
    return is_half and K == 1 and H * W <= SMALL_MAP and n_in * n_out >= MANY_WEIGHTS


def _one_product(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    """The gradient of sum(dy * keep(x, weight)) by one member's weight: every output's inputs as a row (im2col)."""
    _, n_out, height, width, _ = weight.shape
    B, _, H, W = x.shape
    down, across = padding_of(weight)
    around = functional.pad(x.permute(0, 2, 3, 1), (0, 0, across, across, down, down))
    patches = around.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)  # (B, H, W, height, width, in)
    inputs = patches.reshape(B * H * W, -1)
    return (dy.permute(0, 2, 3, 1).reshape(-1, n_out).T @ inputs).view_as(weight)


class _Keep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, kernel_of(weight), flat(bias), 1, padding_of(weight))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x, weight), (of_x, of_weight, of_bias) = ctx.saved_tensors, ctx.needs_input_grad
        by_x, _, by_bias = torch.ops.aten.convolution_backward(
            dy, x, kernel_of(weight), [len(dy[0])], (1, 1), padding_of(weight), (1, 1), False, (0, 0), 1,
            (of_x, False, of_bias),
        )  # fmt: skip
        return by_x, _one_product(x, dy, weight) if of_weight else None, None if by_bias is None else by_bias[None]


class _Maximum(torch.autograd.Function):
    """Windows do not overlap, so the gradient goes to each maximum; PyTorch's own accumulates and is slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        window = [min(2, n) for n in x.shape[2:]]
        y, where = functional.max_pool2d(x, window, ceil_mode=True, return_indices=True)
        ctx.save_for_backward(where)
        ctx.window, ctx.size = window, x.shape[2:]
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return functional.max_unpool2d(dy, ctx.saved_tensors[0], ctx.window, output_size=ctx.size)


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _down(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x, weight), (of_x, *of_layer) = ctx.saved_tensors, ctx.needs_input_grad
        return _up(dy, weight, x.shape[2:]) if of_x else None, *_of_layer(x, dy, weight, *of_layer)


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor | None, size: Size) -> Tensor:
        ctx.save_for_backward(y, weight)
        return _up(y, weight, size, bias)

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Any:
        (y, weight), (of_y, of_weight, of_bias, _) = ctx.saved_tensors, ctx.needs_input_grad
        by_weight, _ = _of_layer(dx, y, weight, of_weight, False)
        by_bias = dx.sum((0, 2, 3)).view(len(weight), -1) if of_bias else None
        return _down(dx, weight) if of_y else None, by_weight, by_bias, None
