"""Words for amounts and names."""

from __future__ import annotations


def counted(amount: int, one: str, many: str | None = None) -> str:
    """An amount with its noun.

    >>> counted(1, "trial"), counted(0, "trial"), counted(2, "class", "classes"), counted(1000, "row")
    ('1 trial', '0 trials', '2 classes', '1,000 rows')
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def possessive(name: str) -> str:
    """A name as an owner.

    >>> possessive("wide"), possessive("64 units")
    ("wide's", "64 units'")
    """
    return f"{name}'" if name.endswith("s") else f"{name}'s"
