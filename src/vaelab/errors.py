"""The errors that vaelab raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMED = 60  # known names that a message lists


class InputError(ValueError):
    """Bad input: one line with rule, value and remedy. The command line exits with 2."""


class StoreError(InputError):
    """A run or study folder that is missing, damaged, locked, or in another format."""


class TrainingFailed(RuntimeError):
    """The loss or a gradient became non-finite."""


def unknown_name(what: str, name: object, known: Iterable[str]) -> InputError:
    """The error for an unknown name: suggests the nearest known one, or lists all.

    >>> print(unknown_name("setting", "latent_dims", ["latent_dim", "lr"]))
    unknown setting 'latent_dims'; did you mean 'latent_dim'?
    """
    names = sorted(known)
    folded = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1) if isinstance(name, str) else []
    some = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else "")
    hint = f"did you mean {folded[near[0]]!r}?" if near else f"known: {some}."
    return InputError(f"unknown {what} {shown(name)}; {hint}")


def shown(value: object, limit: int = 80) -> str:
    """The repr of a value, shortened in the middle to `limit` characters: an error is one readable line.

    >>> shown("x" * 100, limit=11)
    "'xxx...xxx'"
    """
    text = repr(value)
    if len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
