"""Scores of a set of candidates: gates, recall and precision against all solutions, hull area."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from vaelab.inverse.lines import NEAR, ends_of
from vaelab.inverse.problems import Problem, apply

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
PEARSON_GATE = 0.8


def misfits(problem: Problem, x: Array, y: Array) -> npt.NDArray[np.float64]:
    """The root mean squared error (curves, n, outputs) of each output of f(x), in its own unit, over what was measured.

    Candidates x (curves, n, *x_shape) of y (curves, *y_shape), whose NaN were not measured: an output without a
    measured value has a NaN, and where f fails the misfit is infinite.
    """
    m, n = x.shape[:2]
    found = problem.relative_y(apply(problem.forward, x.reshape(m * n, *problem.x_shape))).reshape(m, n, -1)
    target = problem.relative_y(y)[:, None]
    residual = np.where(np.isnan(target), 0.0, np.where(np.isnan(found), np.inf, found) - target)
    count = (~np.isnan(target)).reshape(m, 1, problem.outputs, -1).sum(-1)
    squares = (residual.reshape(m, n, problem.outputs, -1) ** 2).sum(-1)
    mean = np.divide(squares, count, out=np.full(squares.shape, np.nan), where=count > 0)
    missed: npt.NDArray[np.float64] = np.sqrt(mean) * problem.y_scale
    return missed


def pooled(problem: Problem, missed: Array) -> npt.NDArray[np.float64]:
    """One misfit (...) from those of the outputs (..., outputs): the root mean square, each in units of its spread.

    With a single output it is that output's misfit in its own unit. Outputs that were not measured do not count.
    """
    unit = problem.y_scale if problem.outputs > 1 else 1.0
    found: npt.NDArray[np.float64] = np.sqrt(np.nanmean((missed / unit) ** 2, -1))
    return found


def rmse(problem: Problem, x: Array, y: Array) -> npt.NDArray[np.float64]:
    """The pooled misfit (curves, n) of candidates x (curves, n, *x_shape) of y (curves, *y_shape)."""
    return pooled(problem, misfits(problem, x, y))


def gates(problem: Problem, x: Array, y: Array) -> dict[str, Bools]:
    """Which candidates (curves, n) pass each gate. `rmse`: every output of f(x) reproduces that of y.

    Lines also have `slope`, the least-squares slope of x0 below and of x1 above 0, and `pearson`, the absolute
    correlation of both with a straight line above 0.8.
    """
    missed = misfits(problem, x, y)
    passed: dict[str, Bools] = {"rmse": np.asarray(((missed < problem.gate) | np.isnan(missed)).all(-1))}
    if problem.family is not None:
        t = np.linspace(-1, 1, x.shape[-1])
        t /= np.linalg.norm(t)
        centred = x - x.mean(-1, keepdims=True)
        slope = centred @ t
        norm = np.maximum(np.linalg.norm(centred, axis=-1), 1e-300)
        passed["slope"] = (slope[..., 0] < 0) & (slope[..., 1] > 0)
        passed["pearson"] = (np.abs(slope) / norm > PEARSON_GATE).all(-1)
    return passed


def passes(passed: dict[str, Bools]) -> Bools:
    """Candidates that pass every gate."""
    everything: Bools = np.logical_and.reduce(list(passed.values()))
    return everything


def found_solutions(solutions: list[Array], ends: Array, passing: Bools) -> list[npt.NDArray[np.int64]]:
    """For each curve, the number of candidates after which each solution was first found; 0 if never.

    solutions: (S, 4) per curve; ends (curves, n, 4); passing (curves, n). Found means that a candidate that passes
    the gates has end points within 0.02 in the max norm.
    """
    first = []
    for own, near, good in zip(solutions, ends, passing, strict=True):
        hit = (np.abs(own[:, None] - near[None]).max(-1) <= NEAR) & good
        first.append(np.where(hit.any(1), hit.argmax(1) + 1, 0))
    return first


def recall(problem: Problem, x: Array, reference: Array, passing: Bools) -> float:
    """The share of all solutions, over all curves, found by some passing candidate.

    `reference` (curves, *x_shape) has one solution of each curve, from which the others are listed.
    """
    return recall_curve(problem, x, reference, passing)[-1]


def recall_curve(problem: Problem, x: Array, reference: Array, passing: Bools) -> list[float]:
    """Recall after the first 1, 2, ..., n candidates of each curve."""
    assert problem.family is not None
    solutions = [problem.family.solutions(ends) for ends in ends_of(reference)]
    first = np.concatenate(found_solutions(solutions, ends_of(x), passing))
    counts = np.bincount(first, minlength=x.shape[1] + 1)[1:]
    return [float(v) for v in np.cumsum(counts) / len(first)]


def hull_area(x: Array, passing: Bools) -> float:
    """Mean area, over curves, of the convex hull of the points (x0, x1) of all passing candidates; at most 1 in [0, 1].

    A curve without a passing candidate counts as 0.
    """
    areas = []
    for curve, good in zip(x, passing, strict=True):
        points = np.moveaxis(curve[good], 1, -1).reshape(-1, 2)
        try:
            areas.append(ConvexHull(points).volume if len(points) >= 3 else 0.0)
        except QhullError:  # all points on one line
            areas.append(0.0)
    return float(np.mean(areas))


@dataclasses.dataclass(frozen=True)
class Score:
    """The scores of a set of candidates. `gates` has the shares that pass, and `all_pass` whether every one passes all.

    `precision` is the share that passes all gates. recall and hull_area are None if solutions are not known.
    """

    gates: dict[str, Any]
    precision: float
    recall: float | None
    hull_area: float | None
    recall_curve: list[float] = dataclasses.field(default_factory=list, repr=False)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def score(problem: Problem, x: Array, reference: Array, y: Array) -> Score:
    """Score all candidates x (curves, n, *x_shape), unfiltered; `reference` as in `recall`."""
    passed = gates(problem, x, y)
    passing = passes(passed)
    shares: dict[str, Any] = {name: float(values.mean()) for name, values in passed.items()}
    shares["all_pass"] = bool(passing.all())
    if problem.family is None:
        return Score(shares, float(passing.mean()), None, None)
    curve = recall_curve(problem, x, reference, passing)
    return Score(shares, float(passing.mean()), curve[-1], hull_area(x, passing), curve)
