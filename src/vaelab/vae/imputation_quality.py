"""How well a model fills missing cells: cells hidden on validation, beside simpler ways to fill them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next import possible
from sklearn.impute import IterativeImputer, KNNImputer

from vaelab.data import Dataset
from vaelab.engine.encoding import Encoding
from vaelab.engine.seeds import derive_seed
from vaelab.vae.fitted import Fitted
from vaelab.vae.imputation import impute

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

HIDDEN = 0.1  # of the cells that are there
ROWS, FIT_ROWS = 1_000, 2_000  # of validation, and of training for the simpler ways
MOST_INPUTS = 200  # for the simpler ways but the mean
NEIGHBOURS = 5
MEAN, NEAREST, ITERATIVE = "column mean or mode", "nearest neighbours", "iterative regression"
SEED_PART = 4


@dataclasses.dataclass(frozen=True)
class _Table:
    """Rows of a table for the simpler ways: numbers on comparable scales, and an indicator per category."""

    encoding: Encoding
    scaling: Any

    def model(self, rows: Array) -> torch.Tensor:
        return torch.from_numpy(self.scaling.to_model(rows)).double()

    def inputs(self, rows: Array) -> Floats:
        """(n, E), NaN where missing."""
        found: Floats = self.encoding.inputs(self.model(rows)).numpy()
        return found

    def outputs(self, inputs: Floats) -> Floats:
        """(n, D) as `standard`: the most likely category of each column."""
        columns = self.encoding.typed.columns
        source, level = self.encoding.source.numpy(), self.encoding.level.numpy()
        out = np.empty((len(inputs), len(columns)))
        for j in range(len(columns)):
            own = np.flatnonzero(source == j)
            out[:, j] = inputs[:, own].argmax(1) if level[own[0]] >= 0 else inputs[:, own[0]]
        return out


def quality_of(fitted: Fitted | None, data: Dataset) -> dict[str, Any] | None:
    """`imputation_quality` where it says something: for a model of a table with missing values."""
    if fitted is None or fitted.scaling.typed is None:
        return None
    if not any(column.missing and not column.condition for column in data.columns):
        return None
    return imputation_quality(fitted, data)


def imputation_quality(fitted: Fitted, data: Dataset, seed: int = 0, share: float = HIDDEN) -> dict[str, Any]:
    """The errors of the model and of simpler ways on cells hidden at random in validation rows; JSON-able.

    "rmse" is over numeric cells, in standard deviations (of positive numbers and counts of their logarithm); "accuracy"
    over binary and categorical cells; None without such cells. The simpler ways are fitted to training rows. "behind":
    by how much each way's mean loss per cell (squared error; wrong or not) is above that of the best, with the standard
    error of the paired difference.
    """
    assert fitted.scaling.typed is not None
    table = _Table(Encoding(fitted.scaling.typed), fitted.scaling)
    rows = data.flat[data.splits["validation"][:ROWS]].astype(np.result_type(data.x, np.float32))
    rng = np.random.default_rng(derive_seed(seed, SEED_PART))
    hidden = (rng.random(rows.shape) < share) & ~np.isnan(rows)
    hidden[hidden.sum(1) == (~np.isnan(rows)).sum(1)] = False  # a row keeps at least one cell
    hidden[:, [j for j, column in enumerate(data.columns) if column.condition]] = False
    given = np.where(hidden, np.nan, rows)
    kept = fitted.scaling.kept
    assert kept is not None
    cells = hidden[:, kept]
    sized = table.model(given)
    truth = table.encoding.standard(table.model(rows), sized).numpy()
    named = np.array([column.kind in ("binary", "categorical") for column in table.encoding.typed.columns])

    def losses(found: Floats) -> dict[str, Floats]:
        wrong = np.abs(found - truth) >= 0.5 * _gaps(table)
        return {"rmse": np.square(found - truth)[cells & ~named], "accuracy": wrong[cells & named].astype(float)}

    train = data.splits["train"]
    fit = table.inputs(data.flat[train[:: -(-len(train) // FIT_ROWS)]])
    inputs = table.inputs(given)
    model = table.encoding.standard(table.model(impute(fitted, given)), sized).numpy()
    found: dict[str, dict[str, Floats]] = {"model": losses(model), MEAN: losses(table.outputs(_mean(fit, inputs)))}
    left_out = []
    ways: tuple[tuple[str, Callable[[], Any]], ...] = (
        (NEAREST, lambda: KNNImputer(n_neighbors=NEIGHBOURS, weights="distance", keep_empty_features=True)),
        (ITERATIVE, lambda: IterativeImputer(random_state=0, keep_empty_features=True)),
    )
    for name, make in ways:
        if fit.shape[1] > MOST_INPUTS:
            left_out.append(f"{name} is left out: it would take minutes for {fit.shape[1]:,} inputs.")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found[name] = losses(table.outputs(make().fit(fit).transform(inputs)))
    return {
        "cells": int(cells.sum()),
        "share": share,
        "errors": {name: _errors(own) for name, own in found.items()},
        "behind": {key: behind({name: own[key] for name, own in found.items()}) for key in ("rmse", "accuracy")},
        "left_out": left_out,
    }


def _errors(losses: dict[str, Floats]) -> dict[str, float | None]:
    squares, wrong = losses["rmse"], losses["accuracy"]
    return {
        "rmse": float(np.sqrt(squares.mean())) if len(squares) else None,
        "accuracy": float(1 - wrong.mean()) if len(wrong) else None,
    }


def behind(losses: dict[str, Floats]) -> dict[str, dict[str, float]]:
    """By how much the mean loss (n,) of each way is above the lowest, and the standard error of that difference.

    >>> behind({"a": np.array([0.0, 0.0, 0.0, 0.0]), "b": np.array([0.0, 1.0, 0.0, 1.0])})["b"]
    {'mean': 0.5, 'se': 0.28867513459481287}
    """
    if any(len(own) < 2 for own in losses.values()):
        return {}
    best = min(losses.values(), key=lambda own: float(own.mean()))
    apart = {name: own - best for name, own in losses.items()}
    return {
        name: {"mean": float(own.mean()), "se": float(own.std(ddof=1) / np.sqrt(len(own)))}
        for name, own in apart.items()
    }


def _gaps(table: _Table) -> Floats:
    """The distance (D,) between neighbouring levels on the scales of `standard`."""
    return np.asarray(1 / table.encoding.typed.spread)


def _mean(fit: Floats, inputs: Floats) -> Floats:
    """Missing inputs by the means of the training rows: of indicators, the shares of the categories."""
    count = np.maximum((~np.isnan(fit)).sum(0), 1)
    return np.where(np.isnan(inputs), np.nansum(fit, 0) / count, inputs)
