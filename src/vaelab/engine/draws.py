"""Random numbers of training by 16-bit words, of which one draw of a generator gives four.

In small networks random numbers cost as much as products. Uniforms, and inverted dropout (Srivastava et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def words(rows: int, units: int, generator: torch.Generator) -> Tensor:
    """Uniform words, int16 (rows, units)."""
    count = rows * units
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=generator.device)
    return drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[:count].view(rows, units)


def uniforms(rows: int, features: int, generator: torch.Generator) -> Tensor:
    """Uniforms in (0, 1), float32 (rows, features), the middles of 2^16 intervals."""
    return words(rows, features, generator).float().add_(2**15 + 0.5).mul_(2.0**-16)


def threshold(rate: float) -> int:
    """The least word of a unit that is kept: of all 2^16, a share `rate` is below it.

    >>> [threshold(rate) for rate in (0.0, 0.5, 1 - 2**-16)]
    [-32768, 0, 32767]
    """
    return min(round(rate * 2**16) - 2**15, 2**15 - 1)


def multipliers(drawn: Tensor, widths: Sequence[int], padded: Sequence[int], rates: Sequence[float]) -> Tensor:
    """What each output of hidden layers is multiplied by, 0 or 1 / (1 - rate): (rows, sum(padded)), for words
    (rows, sum(widths)) of layers with these widths and rates.
    """
    found = drawn.new_zeros(len(drawn), sum(padded), dtype=torch.float32)
    first = place = 0
    for width, wide, rate in zip(widths, padded, rates, strict=True):
        kept = drawn[:, first : first + width] >= threshold(rate)
        found[:, place : place + width] = kept * (1 / (1 - rate))
        first, place = first + width, place + wide
    return found
