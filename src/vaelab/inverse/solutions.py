"""Distinct solutions of y = f(x), from candidates of the network and the nearest training examples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaelab.engine.process import one_thread
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError
from vaelab.inverse import methods, scores
from vaelab.inverse.units import Floats
from vaelab.inverse.weighted import mean_of
from vaelab.report.notebook import table
from vaelab.wording import counted

if TYPE_CHECKING:
    from vaelab.inverse.fitted import Inverter
    from vaelab.inverse.problems import Problem

Array = npt.NDArray[Any]
LISTED = 10  # solutions, and values of each, that a notebook shows
WALK, REFINE = 12, 20  # steps of the random walk in the latent space, and of the refinement after it
RANKS = ("misfit", "density")
COMPLETED = 10  # draws of missing values of y, each with its part of the network's candidates
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
    or not, `miss` (outputs,) its misfit: if there is no solution, the nearest miss. `log_density` (s,) is log p(x) in
    nats, each input in units of its range: among solutions with one misfit those with a higher one are more plausible.
    None where x varies in fewer directions than it has values.
    """

    x: Array
    rmse: Floats
    misfit: Floats
    nearest: Array
    miss: Floats
    candidates: int
    evaluations: int  # of the forward function
    log_density: Floats | None = None

    def __len__(self) -> int:
        return len(self.x)

    def diverse(self, problem: Problem, top: int) -> Solutions:
        """At most `top` of them, far apart: the best, then always that farthest from the others."""
        return self._at(methods.diverse(problem, self.x, top))

    def by_density(self) -> Solutions:
        """In the order of p(x), the largest first."""
        if self.log_density is None:
            raise InputError(
                "x varies in fewer directions than it has values, so it has no density; rank by misfit instead."
            )
        return self._at(np.argsort(-self.log_density, kind="stable").tolist())

    def _at(self, places: list[int]) -> Solutions:
        density = None if self.log_density is None else self.log_density[places]
        return dataclasses.replace(
            self, x=self.x[places], rmse=self.rmse[places], misfit=self.misfit[places], log_density=density
        )

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


def rows_of(group: Any, n: int) -> list[npt.NDArray[np.int64]]:
    """The rows of n measurements that are of one x: those with the same label, by first appearance; None: each alone.

    >>> [own.tolist() for own in rows_of(["b", "a", "b"], 3)]
    [[0, 2], [1]]
    """
    if group is None:
        return list(np.arange(n)[:, None])
    labels = list(group)
    if len(labels) != n:
        raise InputError(f"`group` needs a label for each of {counted(n, 'measurement')}, but has {len(labels)}.")
    return [np.array([k for k, own in enumerate(labels) if own == label]) for label in dict.fromkeys(labels)]


def solutions(
    model: Inverter, problem: Problem, y: Array, n: int, refine: int, walk: int | None, seed: int,
    groups: Sequence[npt.NDArray[np.int64]],
) -> list[Solutions]:  # fmt: skip
    """Those of measurements y (curves, *y_shape), from n candidates for each group of them, which is of one x.

    `problem` is the model's, or has other gates.
    """
    target = np.stack([mean_of(y[rows]) for rows in groups])  # least squares to all is least squares to the mean
    x, calls = _candidates(model, problem, target, n, walk, seed)
    found = []
    with one_thread():
        if refine:
            several = np.array([len(rows) > 1 for rows in groups])  # their mean is to be met, so that all are
            x, refined = methods.refine_candidates(problem, model.ground, x, target, refine, exactly=several)
            calls += refined.evaluations
        for own, rows in zip(x, groups, strict=True):
            every = methods.misfits(problem, own, y[rows])
            kept = methods.distinct(problem, own, y[rows])
            pooled = scores.pooled(problem, every)
            best = int(np.argmin(pooled))
            found.append(Solutions(
                own[kept], pooled[kept], every[kept], own[best], every[best], len(own), calls // len(groups) + len(own),
                _log_density(model, own[kept]),
            ))  # fmt: skip
    return found


def _candidates(model: Inverter, problem: Problem, y: Array, n: int, walk: int | None, seed: int) -> tuple[Array, int]:
    """n candidates of each of y (curves, *y_shape) from the model's sources, and the evaluations of the walk."""
    of_network = n if model.examples is None else round(model.sources.share * n)
    steps = model.sources.walk if walk is None else walk
    parts = COMPLETED if np.isnan(y).any() else 1  # of the network's candidates, each for other missing values
    full = y
    if parts > 1 and of_network:
        full = np.concatenate([model.completed(own, parts, derive_seed(seed, 44, k)) for k, own in enumerate(y)])
    x, calls = model.candidates(full, -(-of_network // parts), seed, steps)
    x = x.reshape(len(y), -1, *problem.x_shape)[:, :of_network]
    if model.examples is not None:
        x = np.concatenate([x, model.examples.nearest(problem, model.ground.frame, y, n - of_network)], 1)
    return x, calls


def _log_density(model: Inverter, x: Array) -> Floats | None:
    """log p(x) (s,) in nats, each input in units of its range; None where x has no density."""
    if not model.space.has_density or (model.examples is None and not model.problem.prior):
        return None
    if not len(x):
        return np.empty(0)
    return model.log_prior(x) + model.space.log_jacobian(x) + float(np.log(model.problem.x_unit).sum())


def sources_of(model: Inverter) -> Sources:
    """Those by which most distinct solutions of validation measurements are found with equal forward evaluations; of
    equal ones those with the smallest share of the network.
    """
    problem = model.problem
    _, y = (part[:MEASURED] for part in problem.rows("validation"))
    if not problem.has_forward:
        return Sources()
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
                distinct = sum(len(methods.distinct(problem, own, one)) for own, one in zip(tried, y, strict=True))
                if distinct > most:
                    best, most = Sources(n / (n + beside), walk if n else 0), distinct
    return best
