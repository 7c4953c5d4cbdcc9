"""What the latents still tell of conditions, which they need not hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from vaelab.data import Column, Dataset
from vaelab.vae.fitted import Fitted

Floats = npt.NDArray[np.float64]
FIT_ROWS, ROWS = 5_000, 2_000  # of training and validation, at most
ROUNDS = 50  # of boosting


def leakage(fitted: Fitted | None, data: Dataset) -> list[dict[str, Any]] | None:
    """For each condition how well gradient boosting predicts it in validation rows, fitted to training rows: from
    draws of z ~ q(z|x, c), and from the columns themselves; JSON-able. None for a model without conditions.

    "chance" is what is right without either: the share of the most frequent level, or 0 for R^2 of numbers. "se" is the
    standard error of the first figure. A probe that finds nothing is no proof that nothing is there. Draws, since the
    means of unused dimensions may differ by c, but by less than their noise.
    """
    if fitted is None or not fitted.is_conditional:
        return None
    train, validation = data.splits["train"], data.splits["validation"][:ROWS]
    fit = data.flat[train[:: -(-len(train) // FIT_ROWS)]]
    rows = data.flat[validation]
    rng = np.random.default_rng(0)
    latents = [mean + std * rng.standard_normal(mean.shape) for mean, std in map(fitted.encode, (fit, rows))]
    columns = [_inputs(fitted, part) for part in (fit, rows)]
    found = []
    for j, column in enumerate(data.columns):
        known = [~np.isnan(part[:, j].astype(np.float64)) for part in (fit, rows)]
        target = [part[there, j] for part, there in zip((fit, rows), known, strict=True)]
        if not column.condition or any(len(values) < 2 for values in target) or len(np.unique(target[0])) < 2:
            continue
        from_latents, from_columns = (
            _score(column, [part[there] for part, there in zip(inputs, known, strict=True)], target)
            for inputs in (latents, columns)
        )
        found.append(
            {
                "condition": column.name or str(j),
                "measure": "accuracy" if column.has_levels else "R2",
                "latents": from_latents,
                "columns": from_columns,
                "chance": _chance(column, target),
                "se": _error(column, from_latents, len(target[1])),
                "rows": len(target[1]),
            }
        )
    return found


def _inputs(fitted: Fitted, rows: Any) -> Floats:
    """What an encoder sees of the modelled columns (n, E), NaN where missing."""
    encoding = fitted.model.encoding
    assert encoding is not None
    x = torch.from_numpy(fitted.scaling.to_model(rows)).double()
    inputs: Floats = encoding.inputs(x)[:, : encoding.first].numpy()
    return inputs


def _score(column: Column, inputs: list[Floats], target: list[Any]) -> float:
    """Accuracy, or R^2 of at least -1."""
    make = HistGradientBoostingClassifier if column.has_levels else HistGradientBoostingRegressor
    model = make(max_iter=ROUNDS, early_stopping=False, random_state=0).fit(inputs[0], target[0])
    return max(float(model.score(inputs[1], target[1])), -1.0)


def _chance(column: Column, target: list[Any]) -> float:
    if not column.has_levels:
        return 0.0
    values, counts = np.unique(target[0], return_counts=True)
    return float((target[1] == values[counts.argmax()]).mean())


def _error(column: Column, score: float, n: int) -> float | None:
    return math.sqrt(max(score * (1 - score), 0.25 / n) / n) if column.has_levels else None
