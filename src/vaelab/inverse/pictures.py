"""The pictures of an inverse problem's run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.inverse import posterior, scores
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.judging import Attempts
from vaelab.inverse.lines import ends_of
from vaelab.inverse.problems import Problem, apply
from vaelab.plots import inverse as plots
from vaelab.plots import losses_data, plot_losses
from vaelab.plots.posterior import corner_data, plot_bands, plot_corner

Array = npt.NDArray[Any]


def draw(
    model: Inverter, judged: Attempts | None, folder: Path, calibration: Mapping[str, Any], seed: int = 0
) -> list[Path]:
    """The pictures of a run, in its figures/; `calibration` is the result of posterior.check. Without a forward
    function nothing was judged.
    """
    folder.mkdir(exist_ok=True)
    problem = model.problem
    drawn = [plot_losses(losses_data(list(model.history), {}), folder / "losses.png", f"{problem.name}: training")]
    drawn.append(plots.plot_ranks(plots.ranks_data(calibration), folder / "calibration.png"))
    x, truth = posterior.example_draws(model, seed)
    title = f"{problem.name}: posterior draws"
    if len(problem.x_shape) == 1:
        for k, (own, true) in enumerate(zip(x, truth, strict=True)):
            corner = corner_data(own, true, problem.inputs)
            drawn.append(plot_corner(corner, folder / f"corner-{k}.png", f"{title} for scored measurement {k}"))
    elif len(problem.x_shape) == 2:
        drawn.append(plot_bands(x, truth, problem.inputs, folder / "bands.png", f"{title} for scored measurements"))
    return drawn if judged is None else drawn + _of_candidates(model, judged, folder)


def _of_candidates(model: Inverter, judged: Attempts, folder: Path) -> list[Path]:
    """Candidates and solutions of some scored measurements, and what they cost."""
    problem, own = model.problem, judged.result
    drawn = []
    reference, y = problem.rows("test")
    passing = scores.passes(scores.gates(problem, own.x, y))
    shown = list(range(min(plots.SHOWN, len(y)))) if problem.family is None else _most_solutions(problem, reference)
    if len(problem.x_shape) == 2 and len(problem.y_shape) in (1, 2):
        x = own.x[shown]
        flat = apply(problem.forward, x.reshape(-1, *problem.x_shape))
        data = plots.solved_data(
            x, reference[shown], flat.reshape(*x.shape[:2], *problem.y_shape), y[shown], passing[shown],
            problem.x_scale, problem.y_scale,
        )  # fmt: skip
        drawn.append(plots.plot_solved(data, folder / "candidates.png", f"{problem.name}: candidates, unfiltered"))
    elif len(problem.x_shape) == 1:
        pairs = [plots.Pairs(own.x[i], passing[i], reference[i], problem.inputs) for i in shown]
        drawn.append(plots.plot_pairs(pairs, folder / "candidates.png", f"{problem.name}: candidates, unfiltered"))
    if problem.family is not None:
        ends = [
            plots.Ends(ends_of(own.x[i]), passing[i], problem.family.solutions(ends_of(reference[i]))) for i in shown
        ]
        drawn.append(plots.plot_ends(ends, folder / "ends.png", f"{problem.name}: end points over all solutions"))
        race = plots.race_data([a.as_dict() for a in judged.attempts], len(y))
        drawn.append(plots.plot_race(race, folder / "race.png", f"{problem.name}: recall and cost"))
    if own.misfit is not None:
        misfit = own.misfit.reshape(len(own.misfit), -1)
        inside = float(scores.gates(problem, own.x, y)["rmse"].mean())
        drawn.append(plots.plot_refinement(misfit, inside, folder / "refinement.png"))
    return drawn


def _most_solutions(problem: Problem, reference: Array) -> list[int]:
    """The curves with the most solutions, which are hardest to cover."""
    assert problem.family is not None
    counts = [len(problem.family.solutions(ends)) for ends in ends_of(reference)]
    return [int(i) for i in np.argsort(counts, kind="stable")[::-1][: plots.SHOWN]]
