"""Conditions of a table: columns that are given to a VAE rather than modelled, p(x | c)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Column
from vaelab.data.cells import as_written, recode
from vaelab.data.stray import reads_as_number
from vaelab.errors import InputError, shown, unknown_name

if TYPE_CHECKING:
    from vaelab.vae.fitted import Fitted

Array = npt.NDArray[Any]


def places(fitted: Fitted) -> dict[str, int]:
    """Where the conditions are among the columns of a row, by name; of constant ones, too."""
    return {column.name or str(j): j for j, column in enumerate(fitted.facts.columns) if column.condition}


def known(fitted: Fitted) -> Array:
    """Rows (m, D) of the data's own units with the conditions of training rows; NaN elsewhere."""
    typed = fitted.scaling.typed
    assert typed is not None
    assert typed.conditions is not None
    model = np.full((len(typed.conditions), len(typed.columns)), np.nan)
    model[:, typed.modelled.stop :] = typed.conditions
    own = fitted.scaling.to_own(model, fitted.facts.shape)
    for j, column in enumerate(fitted.facts.columns):
        if column.condition and column.has_levels:
            values = np.array(column.values)
            own[:, j] = values[np.abs(own[:, j, None] - values).argmin(1)]
    return own


def typical(fitted: Fitted) -> Array:
    """A row (1, D) with the median of each condition of numbers, and the most frequent level of others."""
    rows = known(fitted)
    row = np.full((1, rows.shape[1]), np.nan)
    for j in places(fitted).values():
        values, counts = np.unique(rows[:, j], return_counts=True)
        row[0, j] = values[counts.argmax()] if fitted.facts.columns[j].has_levels else np.median(rows[:, j])
    return row


def written(fitted: Fitted) -> str:
    """The typical conditions as the table writes them; empty for a model without conditions."""
    if not fitted.is_conditional:
        return ""
    row, found = typical(fitted), []
    for name, j in places(fitted).items():
        value = as_written(row[:, j], fitted.facts.columns[j])[0]
        found.append(f"{name} {value if isinstance(value, str) else f'{value:.4g}'}")
    return ", ".join(found)


def drawn(
    fitted: Fitted, n: int, given: Mapping[Any, Any], rng: np.random.Generator | np.random.RandomState
) -> Array | None:
    """Rows (n, D) with conditions drawn from training rows in which those that are `given` have their values, if there
    are any; None for a model without conditions.
    """
    values = cells(fitted, given)
    if not fitted.is_conditional:
        return None
    rows = known(fitted)
    fits = np.all([rows[:, j] == value for j, value in values.items()], 0) if values else np.ones(len(rows), bool)
    chosen: Array = rows[rng.choice(np.flatnonzero(fits) if fits.any() else len(rows), n)]
    for j, value in values.items():
        chosen[:, j] = value
    return chosen


def changed(fitted: Fitted, rows: Array, to: Mapping[Any, Any]) -> Array:
    """Rows (n, D) with other values of some conditions."""
    if not to:
        raise InputError("say which condition changes to what, such as batch=B.")
    values = cells(fitted, to)
    rows = rows.astype(np.float64)
    for j, value in values.items():
        rows[:, j] = value
    return rows


def extrapolated(fitted: Fitted, given: Mapping[Any, Any]) -> list[str]:
    """What the user should know of given values: numbers beyond those of the training rows."""
    found = []
    for j, value in cells(fitted, given).items():
        column = fitted.facts.columns[j]
        if column.has_levels or not fitted.is_conditional:
            continue
        own = known(fitted)[:, j]
        if not own.min() <= value <= own.max():
            low, high, far = (_told(number, column) for number in (own.min(), own.max(), value))
            found.append(
                f"{column.name} = {far} is outside the training rows, {low} to {high}: the model extrapolates."
            )
    return found


def _told(value: float, column: Column) -> str:
    told = as_written(np.array([value]), column)[0]
    return told if isinstance(told, str) else f"{told:.6g}"


def cells(fitted: Fitted, given: Mapping[Any, Any]) -> dict[int, float]:
    """Values of conditions, by column number: levels by their name.

    Raises InputError for a name or a value that is not known, and for a condition whose effect is not.
    """
    found = places(fitted)
    if given and not found:
        raise InputError(f"{fitted.facts.name} has no conditions, so none can be given; train with `condition` first.")
    values: dict[int, float] = {}
    for name, value in ((str(key), value) for key, value in given.items()):
        if name not in found:
            raise unknown_name("condition", name, found)
        column = dataclasses.replace(fitted.facts.columns[found[name]], name=name)
        if isinstance(value, str) and not column.has_levels and column.kind != "date" and not reads_as_number(value):
            raise InputError(f"condition {name} must be a number such as 3.5, but got {shown(value)}; write it so.")
        told = np.array([value if isinstance(value, (int, float)) else str(value)], dtype=object)
        own = float(recode({name: told}, [column], "the condition", fitted.facts.reading.types)[0, 0])
        kept, fill = fitted.scaling.kept, fitted.scaling.fill
        if kept is not None and fill is not None and found[name] not in kept and own != fill[found[name]]:
            only = _told(float(fill[found[name]]), column)
            raise InputError(
                f"condition {name} was {only} in all training rows, so what it does is not known, but got "
                f"{shown(str(value))}; leave it out."
            )
        values[found[name]] = own
    return values
