"""Derived seeds."""

from __future__ import annotations

import numpy as np


def derive_seed(*parts: int) -> int:
    """A 63-bit seed that depends on all parts, such as (study seed, trial number)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
