"""Posterior draws for measurements in a file, from a trained run: columns, intervals, and how well they fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.forward import Function
from vaelab.inverse.measurements import Measurements, read
from vaelab.inverse.posterior import INTERVAL
from vaelab.inverse.problems import EXACT, Problem, apply
from vaelab.inverse.solutions import rows_of
from vaelab.inverse.solve import notes_on, p_values, x_columns
from vaelab.inverse.units import Floats, each_value
from vaelab.inverse.weighted import LEAST, Pooled, missing
from vaelab.plots.posterior import corner_data, plot_corner
from vaelab.wording import counted, first_few

Array = npt.NDArray[Any]
PICTURED = 5  # measurements with a corner plot
CHANCE = (0.005, 0.995)  # of the misfit of draws that is told to be usual
UNLIKE = 1e-3  # p-value at or below which repeated measurements are told to differ by more than their noise
COMPARED = 500  # examples by which noise that was not stated is estimated


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """Draws x (m, n, *x_shape) for m measurements, or groups of them, and what the user should know of them."""

    problem: Problem
    measured: Measurements
    x: Array
    notes: Sequence[str]

    def columns(self) -> dict[str, Array]:
        """Measurement, draw, and x by its names; of curves x0_0, x0_1, ... with the number of the point."""
        m, n = self.x.shape[:2]
        numbers = {
            self.measured.title: np.repeat(np.array(self.measured.names), n),
            "draw": np.tile(np.arange(1, n + 1), m),
        }
        return numbers | x_columns(self.problem, self.x.reshape(m * n, *self.problem.x_shape))

    def intervals(self) -> list[tuple[Any, str, float, float, float]]:
        """Measurement, input, mean and 95 % interval, for x that is no curve."""
        if len(self.problem.x_shape) > 1:
            return []
        low, high = np.quantile(self.x, INTERVAL, axis=1)
        mean = self.x.mean(1)
        return [
            (name, of, float(mean[k, j]), float(low[k, j]), float(high[k, j]))
            for k, name in enumerate(self.measured.names)
            for j, of in enumerate(self.problem.inputs)
        ]

    def plot(self, folder: Path) -> list[Path]:
        """A corner plot for each of the first measurements, as corner-0.png, corner-1.png, ..."""
        if len(self.problem.x_shape) > 1:
            raise InputError("a corner plot needs an x of a few numbers, but x is a curve; leave `corner` out.")
        folder.mkdir(parents=True, exist_ok=True)
        return [
            plot_corner(
                corner_data(x, None, self.problem.inputs), folder / f"corner-{k}.png",
                f"{self.problem.name}: posterior draws for {self.measured.title} {name}",
            )
            for k, (x, name) in enumerate(zip(self.x[:PICTURED], self.measured.names, strict=False))
        ]  # fmt: skip


def draw(
    folder: str | Path, y: str | Path, n: int = 1_000, seed: int = 0, forward: Function | None = None, *,
    repeated: bool = False, group: str | None = None, weighted: bool = True,
) -> Drawn:  # fmt: skip
    """n posterior draws for each of the measurements in a file. repeated: all measurements are of one x; group: those
    with the same value in this column are. weighted: by f, its noise and the prior where the run knows all three, so
    that draws are of the exact posterior (`inverse.weighted`).
    """
    model = Inverter.load(folder, forward, needs_forward=False)
    problem = model.problem
    measured = read(Path(y), problem, repeated, group)
    rows = rows_of(measured.group, len(measured.y))
    notes = [f"prior: {problem.prior_told}."]
    notes += notes_on(p_values(model, measured.y), range(len(measured.y)))
    lacking = missing(problem) if weighted else ""
    is_exact = weighted and not lacking
    if lacking:
        notes.append(f"draws are the model's own, not weighted by f, its noise and the prior: {lacking}.")
    if measured.group is None and not is_exact:
        x = model.draw(measured.y, n, seed).x
    else:
        pooled = [model.draw_weighted(measured.y[own], n, derive_seed(seed, 46, k)) for k, own in enumerate(rows)]
        x = np.stack([own.x for own in pooled])
        each = list(zip(measured.names, map(len, rows), pooled, strict=True))
        notes += [_of_pooled(name, k, own) for name, k, own in each if k > 1]
        alone = {name: own for name, k, own in each if k == 1 and own.proposed > n}
        notes += _of_single(alone, n) if is_exact else []
    return Drawn(problem, measured, x, [*notes, _misfit(model, x, [measured.y[own] for own in rows], is_exact)])


def _of_single(pooled: Mapping[Any, Pooled], n: int) -> list[str]:
    """What the weights say of measurements by themselves."""
    wrong = [name for name, own in pooled.items() if own.effective < LEAST]
    few = {name: own for name, own in pooled.items() if LEAST <= own.effective < n}
    notes = ["weighted by f, its noise and the prior: draws are of the exact posterior, where the model reaches it."]
    if few:
        told = first_few([f"{name} ({own.effective:,.0f})" for name, own in few.items()])
        notes.append(
            f"the model is far from the exact posterior of {told}: its proposals there are worth so many draws, "
            "and some are repeated; train longer or on more examples."
        )
    if wrong:
        told = first_few([str(name) for name in wrong])
        notes.append(
            f"hardly any proposal agrees with {told} within the noise: draws there are those of the model alone, "
            "and wrong; check that such a y is possible, or train longer or on more examples."
        )
    return notes


def _of_pooled(name: Any, k: int, found: Pooled) -> str:
    """How many of the proposals counted, and whether repeated measurements agree."""
    told = (
        f"x {name}, of {counted(k, 'measurement')}: {found.proposed:,} draws for their mean, weighted, are worth "
        f"{found.effective:,.0f}"
    )
    if found.deviation is None or found.p_value is None:
        return f"{told}."
    told += f"; they differ from their mean by {found.deviation:.3g} standard deviations of the noise (1 is expected)"
    return f"{told}: too much to be of one x (p = {found.p_value:.1g})." if found.p_value <= UNLIKE else f"{told}."


def _misfit(model: Inverter, x: Array, y: Sequence[Array], is_exact: bool = False) -> str:
    """How far f(x) of draws x (m, n, *x_shape) is from the measurements y (k, *y_shape) of each, in units of the noise.

    The pair of a posterior draw and y is distributed as that of the true x and y: the mean square is 1 on average.
    """
    problem = model.problem
    if not problem.has_forward:
        return (
            "no draw was compared with its y: the run stores no forward function; where there is one in Python, give "
            "it as `forward`."
        )
    noise, is_stated = _noise(model)
    flat = problem.relative_y(apply(problem.forward, x.reshape(-1, *problem.x_shape))).reshape(*x.shape[:2], -1)
    missed = [own[None] - problem.relative_y(rows)[:, None] for own, rows in zip(flat, y, strict=True)]
    if not (noise > 0).all():
        return _misfit_of_exact(problem, np.concatenate([own.reshape(-1, flat.shape[-1]) for own in missed]), noise)
    level = each_value(noise / problem.y_scale, problem.y_shape)
    squares = np.concatenate([(own / level).reshape(len(own), -1) ** 2 for own in missed])
    values = sum(int((~np.isnan(own)).sum()) for own in y)
    found = float(np.sqrt(np.mean(squares[np.isfinite(squares)])))
    low, high = np.sqrt(stats.chi2.ppf(CHANCE, values) / values)
    source = "stated" if is_stated else "estimated"
    told = (
        f"f(x) of a draw misses its y by {found:.3g} {source} standard deviations of the noise (root mean square; 1 is "
        f"expected, {low:.2g} to {high:.2g} by chance)"
    )
    if found > high and is_exact:
        return f"{told}: no x of the prior reproduces some y within the noise; check f, the noise, and these y."
    if found > high:
        return f"{told}: draws reproduce y less well than the noise allows; train longer, or check the noise."
    return f"{told}: the noise is smaller than this, or is stated too large." if found < low else f"{told}."


def _misfit_of_exact(problem: Problem, missed: Array, noise: Floats) -> str:
    """How far f(x) of draws is from y, (n, V) in units of `y_scale`, where the noise (outputs,) of some is 0; NaN of
    what was not measured or f does not give.
    """
    told = []
    for exact, unit in ((False, "the noise (root mean square; 1 is expected)"), (True, "y (median)")):
        own = (noise == 0) == exact
        columns = each_value(own, problem.y_shape)
        level = np.ones(len(columns)) if exact else each_value(noise / problem.y_scale, problem.y_shape)
        squares = np.square(missed[:, columns] / level[columns])
        squares = squares[np.isfinite(squares).any(1)]
        if not len(squares):
            continue
        size = np.nanmedian(np.sqrt(np.nanmean(squares, 1))) if exact else np.sqrt(np.nanmean(squares))
        names = [name for name, is_own in zip(problem.outputs_named, own, strict=True) if is_own]
        told.append(f"{'its y' if own.all() else first_few(names)} by {size:.3g} standard deviations of {unit}")
    return (
        f"f(x) of a draw misses {' and '.join(told)}." if told else "no draw was compared with its y: f has no value."
    )


def _noise(model: Inverter) -> tuple[Floats, bool]:
    """The noise of each output, and whether it was stated; else estimated by f on examples; 0 where there is none."""
    problem, examples = model.problem, model.examples
    if (problem.noise > 0).all() or examples is None:
        return problem.noise, True
    x = model.ground.frame.own(torch.from_numpy(examples.c[:COMPARED].astype(np.float64))).numpy()
    residual = problem.relative_y(apply(problem.forward, x)) - examples.y[:COMPARED]
    finite = np.where(np.isfinite(residual), residual, np.nan).reshape(len(x), problem.outputs, -1)
    level = np.sqrt(np.nanmean(finite**2, (0, 2)))
    return np.where(level > EXACT, level * problem.y_scale, 0.0), False
