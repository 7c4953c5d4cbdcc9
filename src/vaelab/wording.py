"""Words for amounts and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def counted(amount: int, one: str, many: str | None = None) -> str:
    """An amount with its noun.

    >>> counted(1, "trial"), counted(0, "trial"), counted(2, "class", "classes"), counted(1000, "row")
    ('1 trial', '0 trials', '2 classes', '1,000 rows')
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def kept_start(starts: Sequence[Mapping[str, Any]]) -> str:
    """Which of several starts was kept, and what that does to its figure; nothing of a single start.

    >>> kept_start([{"seed": 0, "neg_elbo": 98.5, "kept": False}, {"seed": 1, "neg_elbo": 97.25, "kept": True}])
    'Of 2 starts seed 1 was kept, the lowest on validation (97.25 to 98.50 nats), which flatters that figure a little.'
    """
    if len(starts) < 2:
        return ""
    (seed,) = (start["seed"] for start in starts if start["kept"])
    reached = sorted(start["neg_elbo"] for start in starts if start["neg_elbo"] is not None)
    failed = f", {len(starts) - len(reached)} failed" if len(reached) < len(starts) else ""
    return (
        f"Of {len(starts)} starts seed {seed} was kept, the lowest on validation ({reached[0]:.2f} to "
        f"{reached[-1]:.2f} nats{failed}), which flatters that figure a little."
    )


def possessive(name: str) -> str:
    """A name as an owner.

    >>> possessive("wide"), possessive("64 units")
    ("wide's", "64 units'")
    """
    return f"{name}'" if name.endswith("s") else f"{name}'s"
