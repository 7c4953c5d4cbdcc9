"""What drives what in a model of a table: which columns each latent moves and is moved by, and what latents explain."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Dataset
from vaelab.engine.seeds import derive_seed
from vaelab.plots.dataset import features
from vaelab.plots.features import Features
from vaelab.settings.latents import in_use
from vaelab.vae.fitted import Array, Fitted
from vaelab.vae.quantities import level_shares, quantities, reconstructed

Floats = npt.NDArray[np.float64]

ROWS = 200  # of validation, at most
LATENTS, SHOWN, TOP = 16, 30, 5  # described; columns of the picture; columns named for each latent
LEAST = 0.1  # standard deviations, or probability, that a described latent moves some column
ENDS = 0.1, 0.9  # quantiles of a latent, between which it moves
MOST_COLUMNS = 2_000  # beyond that shuffling each would take minutes
SHUFFLED = 5  # seed part


def drivers(fitted: Fitted | None, data: Dataset) -> dict[str, Any] | None:
    """For the latents of a table's model that move some column, by falling information; JSON-able. None for images, and
    if there is no such latent.

    "moves": the change of each column's mean (standard deviations, of positive numbers and counts of their logarithm)
    or of each level's probability while a latent goes from its 10 % to its 90 % quantile, averaged over rows that keep
    their other latents. "moved_by": how far a latent's posterior mean moves, in its own standard deviations, when a
    column is shuffled among the rows (Breiman 2001, "Random forests", section 10).
    "explained": R^2 of each column reconstructed from the posterior means, of levels that of their probabilities.
    """
    known = None if fitted is None else features(data)
    if fitted is None or known is None:
        return None
    if fitted.is_conditional:  # no latent moves what is given
        known = known.some(np.flatnonzero([not column.condition for column in known.columns]))
    rows = data.flat[data.splits["validation"][:ROWS]]
    z, std = (part.astype(np.float64) for part in fitted.encode(rows))
    information = 0.5 * (z**2 + std**2 - 1 - 2 * np.log(std)).mean(0)
    used = in_use(z.var(0), fitted.prior_moments[1])
    active = [int(k) for k in np.argsort(-information, kind="stable") if used[k]]
    if not active or len(rows) < 2:
        return None
    effects = np.stack([_effect(fitted, data, z, k, known) for k in active[:LATENTS]])
    moving = np.abs(effects).max(1) >= LEAST
    described, effects = [k for k, moves in zip(active, moving, strict=False) if moves], effects[moving]
    if not described:
        return None
    most = np.sort(np.argsort(-np.abs(effects).max(0), kind="stable")[:SHOWN])
    moved_by, left_out = _moved_by(fitted, data, rows, z, described)
    return {
        "rows": len(rows),
        "latents": [k + 1 for k in described],
        "information": [round(float(information[k]), 4) for k in described],
        "names": [known.names[j] for j in most.tolist()],
        "effects": np.round(effects[:, most], 4).tolist(),
        "moves": [_top(known.names, effect) for effect in effects],
        "moved_by": moved_by,
        "explained": _explained(fitted, data, rows, known),
        "left_out": left_out,
    }


def _effect(fitted: Fitted, data: Dataset, z: Floats, k: int, known: Features) -> Floats:
    """What latent k moves (quantities,)."""
    ends = []
    for end in np.quantile(z[:, k], ENDS):
        moved = z.copy()
        moved[:, k] = end
        ends.append(known.seen(quantities(fitted, data, moved, known)).mean(0))
    scale = np.where(known.shares, 1.0, known.scale)
    found: Floats = (ends[1] - ends[0]) / scale
    return found


def _top(names: list[str], effects: Floats) -> list[list[Any]]:
    """The names with the largest effects, and these."""
    order = np.argsort(-np.abs(effects), kind="stable")[:TOP]
    return [[names[j], round(float(effects[j]), 4)] for j in order.tolist()]


def _moved_by(
    fitted: Fitted, data: Dataset, rows: Array, z: Floats, described: list[int]
) -> tuple[list[list[list[Any]]], list[str]]:
    """What moves each latent, by column."""
    count = rows.shape[1]
    if count > MOST_COLUMNS:
        return [[] for _ in described], [f"what moves a latent is left out: shuffling {count:,} columns takes minutes."]
    rng = np.random.default_rng(derive_seed(0, SHUFFLED))
    names = list(data.features) or [f"feature {j + 1}" for j in range(count)]
    found = np.empty((count, len(described)))
    for j in range(count):
        shuffled = rows.copy()
        shuffled[:, j] = rows[rng.permutation(len(rows)), j]
        found[j] = np.abs(fitted.encode(shuffled)[0] - z).mean(0)[described]
    found /= z.std(0)[described]
    return [_top(names, found[:, i]) for i in range(len(described))], []


def _explained(fitted: Fitted, data: Dataset, rows: Array, known: Features) -> list[list[Any]]:
    """Column and R^2, None where a column does not vary in these rows; conditions are no columns to explain, but what
    they tell of others is part of it.
    """
    original, made = known.spread(rows), known.spread(reconstructed(fitted, rows).reshape(len(rows), -1))
    shares = level_shares(fitted, fitted.encode(rows)[0], rows)
    for i, (level, column) in enumerate(zip(known.levels, known.of, strict=True)):
        if level >= 0 and column in shares:
            made[:, i] = shares[column][:, level]
    apart = (known.seen(made) - known.seen(original)) ** 2
    about = known.seen(original) - np.nanmean(known.seen(original), 0)
    names = list(data.features) or known.names
    found: list[list[Any]] = []
    of = np.array(known.of or range(len(known.names)))
    for j in np.unique(of).tolist():
        if data.columns and data.columns[j].condition:
            continue
        own = of == j
        total = float(np.nansum(about[:, own] ** 2))
        share = 1 - float(np.nansum(apart[:, own])) / total if total > 0 else None
        found.append([names[j], None if share is None else round(share, 4)])
    return sorted(found, key=lambda pair: -np.inf if pair[1] is None else -pair[1])
