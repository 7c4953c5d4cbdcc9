"""Fixed noise for evaluation: each example has its own, keyed by its content.

Every model gets the same noise for the same example, independent of row order, subset and batch: validation metrics
of two trials differ only by the models, and `score_samples` of a subset is the subset of scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = -7046029254386353131  # 2^64 / golden ratio as a signed 64-bit number (SplitMix64, Steele et al. 2014)
STREAMS = {"latent": 1, "pixel": 2}


def _mix(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64 on int64, which wraps; a masked shift stands in for the logical one."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * -4658895280553007687
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * -7723592293110705685
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def row_keys(rows: Tensor) -> Tensor:
    """A 64-bit key (n,) per row (n, D) of the data's own values.

    A multilinear hash with fixed odd multipliers; integer arithmetic wraps, so it is exact in any order.
    """
    if rows.dtype == torch.float64:
        bits = rows.view(torch.int64)
    else:
        bits = rows.to(torch.int64) if rows.dtype == torch.uint8 else rows.float().view(torch.int32).to(torch.int64)
    place = _mix((torch.arange(rows.shape[1], device=rows.device) + 1) * GOLDEN) | 1
    return _mix((bits * place).sum(1))


def uniform(keys: Tensor, stream: str, draws: int, dims: int, first: int = 0) -> Tensor:
    """Uniforms in (0, 1), float64 (draws, n, dims), from draw number `first` on. Fewer dims are a prefix of more."""
    counter = torch.arange(first, first + draws, device=keys.device)[:, None] * (1 << 20) + torch.arange(
        dims, device=keys.device
    )
    salt = _mix(torch.tensor(STREAMS[stream], device=keys.device) * GOLDEN)
    bits = _mix(_mix(keys ^ salt)[None, :, None] + (counter[:, None, :] + 1) * GOLDEN)
    # 52 bits: with 53, adding a half would round the largest to 2^53 and so to 1.
    return ((bits >> 12) & ((1 << 52) - 1)).double().add_(0.5).mul_(2.0**-52)


def normal(keys: Tensor, draws: int, dims: int, first: int = 0) -> Tensor:
    """Standard normals, float64 (draws, n, dims)."""
    z: Tensor = torch.special.ndtri(uniform(keys, "latent", draws, dims, first))
    return z
