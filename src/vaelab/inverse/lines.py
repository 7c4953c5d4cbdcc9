"""The built-in problems: y = f(x0, x1) along two straight lines, with known solutions."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
POINTS = 50
NEAR = 0.02  # max-norm distance of the end points within which a solution counts as found
GRID = 21  # points on a continuum of solutions


def draw_ends(n: int, rng: np.random.Generator) -> Floats:
    """End points (n, 4) = (x0 start, x0 end, x1 start, x1 end): x0 falls, x1 rises, uniform in [0, 1]."""
    pairs = np.sort(rng.uniform(size=(n, 2, 2)), axis=2)
    return np.concatenate([pairs[:, 0, ::-1], pairs[:, 1]], axis=1)


def lines(ends: Floats) -> Floats:
    """End points (..., 4) as two lines of 50 points (..., 2, 50)."""
    t = np.linspace(0, 1, POINTS)
    pairs = ends.reshape(*ends.shape[:-1], 2, 2)
    drawn: Floats = pairs[..., :1] * (1 - t) + pairs[..., 1:] * t
    return drawn


def ends_of(x: npt.NDArray[Any]) -> Floats:
    """First and last points (..., 4) of two curves (..., 2, 50)."""
    pairs: Floats = np.stack([x[..., 0], x[..., -1]], -1).reshape(*x.shape[:-2], 4).astype(np.float64)
    return pairs


def is_inside(ends: Floats, slack: float = 1e-9) -> npt.NDArray[np.bool_]:
    """Whether lines given by end points (..., 4) stay in [0, 1] with x0 falling and x1 rising."""
    within = ((ends >= -slack) & (ends <= 1 + slack)).all(-1)
    inside: npt.NDArray[np.bool_] = within & (ends[..., 0] >= ends[..., 1]) & (ends[..., 2] <= ends[..., 3])
    return inside


class Family(Protocol):
    """Lists every solution of y = f(lines), given one of them."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The forward function as expressions."""

    def solutions(self, ends: Floats) -> Floats:
        """All solutions (S, 4), or a grid over their continuum, given one of them (4,)."""

    def draw(self, ends: Floats, n: int, rng: np.random.Generator) -> Floats:
        """`n` exact draws (n, 4) from p(x | y) under the prior of `draw_ends`."""


@dataclasses.dataclass(frozen=True)
class Product:
    """y = x0 x1. The roots of y determine both lines up to a scale: the solutions are (s x0, x1 / s).

    In the coordinates (s, y) the volume element of the end points is ds / s, so p(s | y) is uniform in log s.
    """

    texts: tuple[str, ...] = ("x0 * x1",)

    @staticmethod
    def _range(ends: Floats) -> tuple[float, float]:
        """Minimum and maximum log s: neither s x0 nor x1 / s may leave [0, 1]."""
        return math.log(max(float(ends[3]), 1e-12)), -math.log(max(float(ends[0]), 1e-12))

    @staticmethod
    def _scaled(ends: Floats, log_s: Floats) -> Floats:
        s = np.exp(log_s)[:, None]
        return np.concatenate([ends[None, :2] * s, ends[None, 2:] / s], axis=1)

    def solutions(self, ends: Floats) -> Floats:
        return self._scaled(ends, np.linspace(*self._range(ends), GRID))

    def draw(self, ends: Floats, n: int, rng: np.random.Generator) -> Floats:
        return self._scaled(ends, rng.uniform(*self._range(ends), n))


@dataclasses.dataclass(frozen=True)
class Waves:
    """y_i = sin or cos of a phase that is linear in (x0, x1): phases = A x.

    Waves are periodic, so every solution has phases +-phi + 2 pi k (for a sine: phi or pi - phi, + 2 pi k) along the
    line, mapped back by the inverse of A. All have the same posterior weight: the Jacobian's magnitude is that of A
    times |sin phi| (|cos phi|), equal for all of them, and the prior is uniform.
    """

    texts: tuple[str, ...]
    matrix: tuple[tuple[float, float], tuple[float, float]]
    kinds: tuple[str, str]

    def solutions(self, ends: Floats) -> Floats:
        A = np.array(self.matrix)
        corners = ends.reshape(2, 2)  # input, start or end
        phases = A @ corners
        reach = A.sum(1)  # phases of x in [0, 1] are in [0, reach], since A is non-negative
        options = [self._branches(kind, phases[i], reach[i]) for i, kind in enumerate(self.kinds)]
        back = np.linalg.inv(A)
        found = np.array([(back @ np.stack(pair)).reshape(4) for pair in itertools.product(*options)])
        found = found[is_inside(found)]
        kept: list[Floats] = []  # at flat phases two branches coincide
        for solution in found:
            if all(np.abs(solution - other).max() > 1e-9 for other in kept):
                kept.append(solution)
        return np.array(kept)

    @staticmethod
    def _branches(kind: str, phase: Floats, reach: float) -> list[Floats]:
        mirrored = -phase if kind == "cos" else math.pi - phase
        turns = range(-math.ceil(reach / math.pi) - 1, math.ceil(reach / math.pi) + 2)
        shifted = [p + 2 * math.pi * k for p in (phase, mirrored) for k in turns]
        return [p for p in shifted if p.min() > -1e-6 and p.max() < reach + 1e-6]

    def draw(self, ends: Floats, n: int, rng: np.random.Generator) -> Floats:
        solutions = self.solutions(ends)
        drawn: Floats = solutions[rng.integers(len(solutions), size=n)]
        return drawn


FAMILIES: dict[str, Family] = {
    "product": Product(),
    "two-birds-easy": Waves(("sin(5*x0 + 3*x1)", "cos(4*x0 + 8*x1)"), ((5, 3), (4, 8)), ("sin", "cos")),
    "two-birds": Waves(("cos(49*x0 + 42*x1)", "cos(56*x0 + 63*x1)"), ((49, 42), (56, 63)), ("cos", "cos")),
}
