"""Distinct solutions of y = f(x), from candidates of the network and the nearest training examples."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaelab.engine.process import one_thread
from vaelab.inverse import methods, scores
from vaelab.inverse.units import Floats
from vaelab.report.notebook import table
from vaelab.wording import counted

if TYPE_CHECKING:
    from vaelab.inverse.fitted import Inverter
    from vaelab.inverse.problems import Problem

Array = npt.NDArray[Any]
LISTED = 10  # solutions, and values of each, that a notebook shows
WALK, REFINE = 12, 20  # steps of the random walk in the latent space, and of the refinement after it
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the forward evaluations that the network's candidates may take
MEASURED, TRIED = 20, 50  # validation measurements, and candidates of each kind, that decide on `Sources`


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where candidates for solutions come from: `share` of them from the network, each after `walk` steps of the random
    walk in the latent space, and the others are the training examples with the nearest y.
    """

    share: float = 0.5
    walk: int = WALK


@dataclasses.dataclass(frozen=True, eq=False)
class Solutions:
    """Distinct solutions x (s, *x_shape) of one y, best first, with the misfit (s, outputs) of each output.

    They were refined, filtered by the gates and de-duplicated: solutions, not posterior samples. `rmse` (s,) is the
    root mean squared misfit: of one output in y's own unit; of several the root mean square over all, each in
    standard deviations of that output. `nearest` (*x_shape) is the candidate with the smallest rmse, whether it passed
    or not, `miss` (outputs,) its misfit: if there is no solution, the nearest miss.
    """

    x: Array
    rmse: Floats
    misfit: Floats
    nearest: Array
    miss: Floats
    candidates: int
    evaluations: int  # of the forward function

    def __len__(self) -> int:
        return len(self.x)

    def diverse(self, problem: Problem, top: int) -> Solutions:
        """At most `top` of them, far apart: the best, then always that farthest from the others."""
        chosen = methods.diverse(problem, self.x, top)
        return dataclasses.replace(self, x=self.x[chosen], rmse=self.rmse[chosen], misfit=self.misfit[chosen])

    def _repr_html_(self) -> str:
        """In a notebook: the best solutions, their first values, and their misfits."""
        flat = self.x.reshape(len(self.x), math.prod(self.x.shape[1:]))[:LISTED, :LISTED]
        misfits = [f"misfit {j}" for j in range(self.misfit.shape[1])]
        rows = [
            [f"{value:.5g}" for value in [*own, *missed]]
            for own, missed in zip(flat, self.misfit[:LISTED], strict=True)
        ]
        told = f"{counted(len(self), 'solution')} of {self.candidates:,} candidates"
        return f"<p>{told}</p>{table([*(f'x{j}' for j in range(flat.shape[1])), *misfits], rows)}"


def solutions(
    model: Inverter, problem: Problem, y: Array, n: int, refine: int, walk: int | None, seed: int
) -> list[Solutions]:
    """Those of measurements y (curves, *y_shape), from n candidates each; `problem` is the model's, or has other gates."""
    of_network = n if model.examples is None else round(model.sources.share * n)
    x, calls = model.candidates(y, of_network, seed, model.sources.walk if walk is None else walk)
    found = []
    with one_thread():
        if model.examples is not None:
            near = model.examples.nearest(problem, model.ground.frame, y, n - of_network)
            x = np.concatenate([x, near], 1)
        if refine:
            x, refined = methods.refine_candidates(model.problem, model.ground, x, y, refine)
            calls += refined.evaluations
        missed = scores.misfits(problem, x, y)
        for own, measured, each in zip(x, y, missed, strict=True):
            kept, misfit = methods.distinct(problem, own, measured)
            pooled = scores.pooled(problem, each)
            best = int(np.argmin(np.where(np.isnan(pooled), np.inf, pooled)))
            rmse = scores.pooled(problem, misfit)
            found.append(Solutions(kept, rmse, misfit, own[best], each[best], len(own), calls // len(y) + len(own)))
    return found


def sources_of(model: Inverter) -> Sources:
    """Those by which most distinct solutions of validation measurements are found with equal forward evaluations; of
    equal ones those with the smallest share of the network.
    """
    problem = model.problem
    _, y = (part[:MEASURED] for part in problem.rows("validation"))
    if model.examples is None or not len(y):
        return Sources(1.0)

    def refined(x: Array, walked: int) -> tuple[Array, float]:
        x, found = methods.refine_candidates(problem, model.ground, x, y, REFINE)
        return x, (walked + found.evaluations) / (len(y) * x.shape[1])

    best, most = Sources(0.0), -1
    with one_thread():
        near, of_near = refined(model.examples.nearest(problem, model.ground.frame, y, TRIED), 0)
        for walk in (0, WALK):
            x, price = refined(*model.candidates(y, TRIED, model.spec.seed, walk))
            budget = min(price * x.shape[1], of_near * near.shape[1])  # evaluations for one measurement
            for share in SHARES:
                n, beside = int(share * budget / price), int((1 - share) * budget / of_near)
                tried = np.concatenate([x[:, :n], near[:, :beside]], 1)
                distinct = sum(len(methods.distinct(problem, own, one)[0]) for own, one in zip(tried, y, strict=True))
                if distinct > most:
                    best, most = Sources(n / (n + beside), walk if n else 0), distinct
    return best
