"""Methods that propose candidates, with and without a network; all refined and scored in the same way."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vaelab.inverse import scores
from vaelab.inverse.coordinates import Frame, Support
from vaelab.inverse.lines import NEAR, ends_of, lines
from vaelab.inverse.problems import Problem
from vaelab.inverse.refine import Refined, refine
from vaelab.inverse.scores import Score
from vaelab.inverse.units import each_value

Array = npt.NDArray[Any]
# The k-th chunk of candidates (curves, n, *x_shape), and its number of forward evaluations.
Starts = Callable[[int], tuple[Array, int]]
CHUNK_ROWS = 20_000  # candidates refined at once
MOST_CHUNKS = 200
DONE = 1e-6  # relative misfit at which refinement ends
WITHIN = 1 - 1e-9  # of the gates, which a solution must be below
EXACT = 1e-5  # of the spread of y: the misfit of candidates that have converged
SAME = 5e-4  # of the range of an input, within which they are the same root
ISOLATED = 4  # of them for each root, at least, where solutions are isolated
CURVE = 40  # stored points of a recall curve


@dataclasses.dataclass(frozen=True, eq=False)
class Attempt:
    """The candidates of a method for all curves, and its total cost in forward evaluations and seconds."""

    name: str
    x: Array  # (curves, n, *x_shape)
    evaluations: int
    seconds: float
    score: Score
    misfit: npt.NDArray[np.float64] | None = None  # (steps + 1, curves, n) in the first chunk's refinement

    @property
    def candidates(self) -> int:
        return int(self.x.shape[1])

    def as_dict(self) -> dict[str, Any]:
        score, n = self.score.as_dict(), self.candidates
        # Recall by number of candidates, thinned; their cost is their share of the total.
        shown = sorted({round(n ** (i / (CURVE - 1))) for i in range(CURVE)}) if score["recall_curve"] else []
        score["recall_curve"] = [[k, self.score.recall_curve[k - 1]] for k in shown]
        return {
            "method": self.name, "candidates": n, "evaluations": self.evaluations, "seconds": self.seconds, **score,
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
    """The space of refinement: the frame in which x varies, and the support it must stay in."""

    frame: Frame
    support: Support

    @classmethod
    def of(cls, problem: Problem) -> Ground:
        x, _ = problem.rows("train")
        frame = Frame.of(x, problem.x_unit)
        return cls(frame, Support.of(x, frame, problem.bounds))


def refine_candidates(
    problem: Problem, ground: Ground, x: Array, y: Array, steps: int, exactly: Any = False
) -> tuple[Array, Refined]:
    """Candidates x (curves, n, *x_shape) of y (curves, *y_shape) after `steps` in the frame and support of x.

    Misfits are in units of the gates. If y is noisy, f(x) = y to the last digit is no better a solution than others
    within the noise, of which there are many more: a row is done within the gates, unless all of them or some curves
    (curves,) are to be solved `exactly`. Then it is done at a misfit of 1e-6 of y's spread, or of y itself where y is
    smaller than that. NaN of y do not count.
    """
    m, n = x.shape[:2]
    frame = ground.frame
    unit = each_value(problem.gate / problem.y_scale, problem.y_shape)
    gates = torch.from_numpy(unit)
    weight = 100 * math.sqrt(len(unit))  # leaving the support by a hundredth of a range costs as much as such a misfit
    u = torch.from_numpy(frame.coordinates(x.reshape(m * n, *problem.x_shape)))
    target = torch.from_numpy(problem.relative_y(y) / unit).repeat_interleave(n, 0)
    within = torch.from_numpy(np.broadcast_to(~np.asarray(exactly) & bool((problem.noise > 0).all()), m).copy())
    size = (target * gates).nan_to_num().square().mean(1).sqrt().clamp(max=1)
    done = torch.where(within.repeat_interleave(n), WITHIN, DONE * size / gates.max())

    def forward(c: Tensor) -> Tensor:
        return problem.relative(frame.own(c)) / gates

    def penalty(c: Tensor) -> Tensor:
        return weight * ground.support.excess(c)

    pieces = [
        refine(
            forward, a, b, steps, derivative=problem.forward.derivative, done=c, parts=problem.outputs, penalty=penalty
        )
        for a, b, c in zip(*(whole.split(CHUNK_ROWS) for whole in (u, target, done)), strict=True)
    ]
    refined = Refined(
        torch.cat([p.u for p in pieces]),
        torch.cat([p.misfit for p in pieces], 1),
        sum(p.evaluations for p in pieces),
    )
    found: Array = frame.own(refined.u).view(m, n, *problem.x_shape).numpy()
    return found if problem.bounds is None else problem.bounds.clip(found), refined


def attempt(
    name: str,
    problem: Problem,
    ground: Ground,
    starts: Starts,
    reference: Array,
    y: Array,
    steps: int,
    *,
    evaluations: int | None = None,
    seconds: float | None = None,
) -> Attempt:
    """Candidates from `starts`, refined by `steps`: one chunk, or chunks until a budget is used up.

    The budgets are for all curves together. Of the chunk that exceeds one, only the share that fits is kept, at that
    share of its cost. Without steps no forward evaluation is made before scoring.
    """
    found: list[Array] = []
    spent, calls, history = 0.0, 0.0, None
    for k in range(MOST_CHUNKS):
        began = time.perf_counter()
        x, price = starts(k)
        if not x.shape[1]:
            break
        if steps:
            x, refined = refine_candidates(problem, ground, x, y, steps)
            price += refined.evaluations
            if history is None:
                history = refined.misfit.view(-1, *x.shape[:2]).numpy()
        time_of = time.perf_counter() - began
        share = 1.0
        if evaluations is not None and price:
            share = min(share, (evaluations - calls) / price)
        if seconds is not None:
            share = min(share, (seconds - spent) / time_of)
        kept = max(0 if found else 1, int(share * x.shape[1]))
        found.append(x[:, :kept])
        calls, spent = calls + price * kept / x.shape[1], spent + time_of * kept / x.shape[1]
        if share < 1 or (evaluations is None and seconds is None):
            break
    everything = np.concatenate(found, 1)
    judged = scores.score(problem, everything, reference, y)
    return Attempt(name, everything, round(calls), spent, judged, history)


def from_prior(problem: Problem, n: int, curves: int, seed: int) -> Starts:
    """Random training examples: draws from the prior of x."""
    x, _ = problem.rows("train")

    def starts(chunk: int) -> tuple[Array, int]:
        rows = np.random.default_rng([seed, 0x9A, chunk]).integers(len(x), size=(curves, n))
        return x[rows], 0

    return starts


def nearest(problem: Problem, n: int, y: Array) -> Starts:
    """The training examples with the nearest y, the next n in each chunk."""
    x, known = problem.rows("train")
    flat = problem.relative_y(known)
    index = NearestNeighbors(algorithm="brute").fit(flat)
    order: list[Array] = []

    def starts(chunk: int) -> tuple[Array, int]:
        if not order or order[0].shape[1] < min(len(x), (chunk + 1) * n):
            reach = min(len(x), max(1, max(4, 2 * (chunk + 1)) * n))
            order[:] = [index.kneighbors(problem.relative_y(y), reach, return_distance=False)]
        return x[order[0][:, chunk * n : (chunk + 1) * n]], 0

    return starts


def exact(problem: Problem, n: int, reference: Array, seed: int) -> Starts:
    """Draws from the exact posterior of a built-in problem: the upper limit of any sampler."""
    assert problem.family is not None
    family = problem.family
    curves = ends_of(reference)

    def starts(chunk: int) -> tuple[Array, int]:
        rng = np.random.default_rng([seed, 0xE7, chunk])
        return lines(np.stack([family.draw(ends, n, rng) for ends in curves])), 0

    return starts


def rejection(problem: Problem, n: int, reference: Array, y: Array, evaluations: int, seed: int) -> Attempt:
    """The n prior draws with the smallest misfit among all that the evaluations allow, for each curve."""
    began = time.perf_counter()
    m = len(y)
    per_curve = max(n, evaluations // m)
    rng = np.random.default_rng([seed, 0x4E])
    x, _ = problem.rows("train")
    kept = []
    for own in y:
        best: Array = np.empty((0, *problem.x_shape))
        price = np.empty(0)
        for size in [*[CHUNK_ROWS] * (per_curve // CHUNK_ROWS), per_curve % CHUNK_ROWS]:
            if not size:
                continue
            drawn = x[rng.integers(len(x), size=size)]
            missed = scores.rmse(problem, drawn[None], own[None])[0]
            best, price = np.concatenate([best, drawn]), np.concatenate([price, missed])
            order = np.argsort(price, kind="stable")[:n]
            best, price = best[order], price[order]
        kept.append(best)
    found = np.stack(kept)
    seconds = time.perf_counter() - began
    judged = scores.score(problem, found, reference, y)
    return Attempt("rejection", found, per_curve * m, seconds, judged)


def diverse(problem: Problem, x: Array, n: int) -> list[int]:
    """Which n of the x (s, *x_shape) are far apart: the first, then always that farthest from those chosen, in
    ascending order. Distances are the largest over the values, in units of the ranges.
    """
    flat = x.reshape(len(x), len(problem.x_unit)) / problem.x_unit
    chosen = [0] if len(x) else []
    far = np.full(len(x), np.inf)
    while len(chosen) < min(n, len(x)):
        far = np.minimum(far, np.abs(flat - flat[chosen[-1]]).max(1))
        chosen.append(int(far.argmax()))
    return sorted(chosen)


def misfits(problem: Problem, x: Array, y: Array) -> npt.NDArray[np.float64]:
    """The misfit (n, outputs) of candidates x (n, *x_shape) of one y (*y_shape); of repeated measurements (k, *y_shape)
    of one x the largest."""
    rows = y.reshape(-1, *problem.y_shape)
    found: npt.NDArray[np.float64] = np.fmax.reduce([scores.misfits(problem, x[None], own[None])[0] for own in rows])
    return found


def distinct(problem: Problem, x: Array, y: Array) -> list[int]:
    """Which candidates x (n, *x_shape) pass the gates, the smallest misfit first, each kept only if it differs.

    y (*y_shape) is one measurement, or repeated ones (k, *y_shape) of one x, for all of which it must pass. Two differ
    if any value differs by more than 0.02 of the range of its input: along a continuum of solutions there is no natural
    distance. Where candidates that solve y exactly meet in few points instead, solutions are isolated, and such
    candidates differ by more than 0.0005.
    """
    rows = y.reshape(-1, *problem.y_shape)
    missed = misfits(problem, x, y)
    passing = np.logical_and.reduce([scores.passes(scores.gates(problem, x[None], own[None]))[0] for own in rows])
    flat = x.reshape(len(x), -1) / problem.x_unit
    order = [int(i) for i in np.argsort(scores.pooled(problem, missed), kind="stable") if passing[i]]

    def apart(chosen: list[int], distance: float, kept: list[int]) -> list[int]:
        kept = list(kept)
        for i in chosen:
            if not kept or (np.abs(flat[kept] - flat[i]).max(1) > distance).all():
                kept.append(i)
        return kept

    exact = [i for i in order if not (missed[i] > EXACT * problem.y_scale).any()]
    points = apart(exact, SAME, [])
    return apart(order, NEAR, points if len(exact) >= ISOLATED * len(points) else [])
