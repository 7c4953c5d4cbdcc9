"""Which latent dimensions count as used: by one rule in metrics, pictures and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ACTIVE_VARIANCE = 0.01  # of the posterior means, relative to the prior's; Burda et al. 2016, section 5.2
MOST_OF_RATE = 0.95


def in_use(variance: Any, prior_std: Any = 1.0) -> Any:
    """Which dimensions are active units, from the variance of their posterior means (..., L)."""
    return variance > ACTIVE_VARIANCE * prior_std**2


def carriers(kl: Sequence[float]) -> int:
    """The fewest dimensions that together carry 95 % of the rate, from the KL divergence of each (L,).

    An active unit may carry next to nothing: means that vary by a tenth of a standard deviation are 0.005 nats.

    >>> carriers([0.5, 0.01, 0.4, 0.01]), carriers([0.0, 0.0])
    (2, 0)
    """
    ordered = sorted((max(0.0, each) for each in kl), reverse=True)
    total, found = sum(ordered), 0.0
    for count, each in enumerate(ordered):
        if found >= MOST_OF_RATE * total:
            return count
        found += each
    return len(ordered)
