"""Gradient boosting on the rows of a table: tells synthetic from real rows, and learns from either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from vaelab.data import Column
from vaelab.metrics import placements

Floats = npt.NDArray[np.float64]
ROUNDS, LEAF = 50, 10  # trees, and the least rows in a leaf: test splits may have a few dozen
MOST_LEVELS = 250  # that boosting takes as categories
FOLDS, REPEATS = 5, 3
MANY = 500  # rows of each kind from which on one repeat is enough
MOST = 2_000  # rows of each kind that are told apart


def two_sample(columns: Sequence[Column], real: Floats, made: Floats, seed: int = 0) -> dict[str, Any]:
    """How well boosting tells rows `made` (m, D) from `real` ones (n, D): the cross-validated area under the ROC curve,
    its standard error, and the number of rows of each kind; JSON-able.

    1/2: rows that it has not seen cannot be told apart. Equally many rows of both are put into pairs, which are in one
    fold; a cell that is missing in one row of a pair is hidden in the other, so that missing cells tell nothing. The
    average is over three draws of rows and folds, or one if there are at least 500 rows.

    Source: D. Lopez-Paz, M. Oquab, Revisiting classifier two-sample tests, 2017.
    """
    n = min(len(real), len(made), MOST)
    rng = np.random.default_rng(seed)
    # For each row the share of rows of the other kind, in its fold, on the right side of it.
    placed, counted = np.zeros(len(real)), np.zeros(len(real))
    others: list[Floats] = []
    for repeat in range(REPEATS if n < MANY else 1):
        a, b = rng.permutation(len(real))[:n], rng.permutation(len(made))[:n]
        hidden = np.isnan(real[a]) | np.isnan(made[b])
        x = np.concatenate([np.where(hidden, np.nan, rows) for rows in (real[a], made[b])])
        y, fold = np.repeat([0, 1], n), np.tile(np.arange(n) % FOLDS, 2)
        for k in range(FOLDS):
            fit, held = fold != k, fold == k
            scores = boosted(columns, x[fit], y[fit], True, repeat)
            p = scores.predict_proba(x[held])[:, 1]
            above, below = placements(p[y[held] == 0], p[y[held] == 1])
            placed[a[np.arange(n) % FOLDS == k]] += above
            counted[a[np.arange(n) % FOLDS == k]] += 1
            others.append(below)
    own, other = placed[counted > 0] / counted[counted > 0], np.concatenate(others)
    variance = own.var(ddof=1) / len(own) + other.var(ddof=1) / len(other)
    return {"auc": float(other.mean()), "se": float(np.sqrt(variance)), "rows": n}


def usefulness(
    columns: Sequence[Column], target: int, train: Floats, test: Floats, made: Floats, seed: int = 0
) -> dict[str, Any] | None:
    """How well boosting predicts a column of test rows from the others, having learned from synthetic rows, beside
    having learned from as many training rows: accuracy for levels, else R^2 of at least -1; JSON-able.

    "chance" is what is right without either: the share of the most frequent level of training rows, or 0; "se" the
    standard error of the difference. Synthetic rows that are complete get the missing cells of training rows. None
    where the column varies too little, or is the only one.
    """
    if len(columns) < 2:
        return None
    column, rng = columns[target], np.random.default_rng(seed)
    features = [j for j in range(len(columns)) if j != target]
    n = min(len(train), len(made))
    train, made = train[rng.permutation(len(train))[:n]], made[rng.permutation(len(made))[:n]]
    made = np.concatenate([masked(made, train, rng)[:, features], made[:, [target]]], 1)
    train = np.concatenate([train[:, features], train[:, [target]]], 1)
    train, made = (rows[~np.isnan(rows[:, -1])] for rows in (train, made))
    answers = test[:, target]
    test, answers = test[~np.isnan(answers)][:, features], answers[~np.isnan(answers)]
    if len(answers) < 2 or any(len(rows) < 2 * LEAF or np.ptp(rows[:, -1]) == 0 for rows in (train, made)):
        return None
    of_features = [columns[j] for j in features]
    losses = {}
    for name, rows in (("real", train), ("synthetic", made)):
        guess = boosted(of_features, rows[:, :-1], rows[:, -1], column.has_levels, seed).predict(test)
        losses[name] = (guess != answers).astype(np.float64) if column.has_levels else (guess - answers) ** 2
    # A mean of losses becomes 1 - mean / scale: accuracy, or R^2.
    scale = 1.0 if column.has_levels else float(answers.var())
    if scale == 0:
        return None
    scores = {name: float(max(1 - loss.mean() / scale, -1.0)) for name, loss in losses.items()}
    apart = (losses["synthetic"] - losses["real"]) / scale
    values, counts = np.unique(train[:, -1], return_counts=True)
    chance = float((answers == values[counts.argmax()]).mean()) if column.has_levels else 0.0
    return {
        "column": column.name, "measure": "accuracy" if column.has_levels else "R2", **scores, "chance": chance,
        "difference": float(-apart.mean()), "se": float(apart.std(ddof=1) / np.sqrt(len(apart))),
        "learned_from": min(len(train), len(made)), "rows": len(answers),
    }  # fmt: skip


def masked(made: Floats, real: Floats, rng: np.random.Generator) -> Floats:
    """Rows `made` (m, D) in which the cells are hidden that are missing in real rows (n, D), each drawn at random."""
    return np.where(np.isnan(real[rng.integers(len(real), size=len(made))]), np.nan, made)


def boosted(columns: Sequence[Column], x: Floats, y: npt.NDArray[Any], is_class: bool, seed: int) -> Any:
    """Boosting fitted to rows x (n, D) and answers y (n,); columns with levels are categories."""
    make = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
    categories = [c.has_levels and c.kind != "ordinal" and len(c.levels) <= MOST_LEVELS for c in columns]
    model = make(
        max_iter=ROUNDS, min_samples_leaf=LEAF, early_stopping=False, categorical_features=categories, random_state=seed
    )
    return model.fit(np.where(np.isnan(x).all(0), 0.0, x), y)  # it refuses a column without values
