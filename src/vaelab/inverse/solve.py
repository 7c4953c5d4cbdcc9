"""Solutions of measurements in a file, from a trained run, as numbers and as columns."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import store
from vaelab.errors import InputError
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.forward import Function
from vaelab.inverse.measurements import Measurements, read
from vaelab.inverse.problems import Problem
from vaelab.inverse.solutions import REFINE, Solutions, rows_of
from vaelab.inverse.units import check_gate
from vaelab.settings import checks
from vaelab.wording import counted

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Solved:
    """The solutions of the measurements in a file, and the JSON document that tells `top` of each."""

    document: Mapping[str, Any]
    problem: Problem
    measured: Measurements
    found: Sequence[Solutions]

    @property
    def notes(self) -> list[str]:
        """What the user should know of the measurements."""
        return notes_on([curve["p_value"] for curve in self.document["curves"]], self.measured.names)

    def columns(self) -> dict[str, Array]:
        """One row a solution: measurement, rank, misfit, that of each of several outputs, log p(x), and x."""
        problem, misfit = self.problem, self._joined("misfit")
        table = {
            self.measured.title: np.array(self.measured.names)[self._place],
            "rank": np.concatenate([np.arange(1, len(own) + 1) for own in self.found]),
            "misfit": self._joined("rmse"),
        }
        if problem.outputs > 1:
            table |= {f"misfit of {name}": misfit[:, m] for m, name in enumerate(problem.outputs_named)}
        if self.found[0].log_density is not None:
            table["log_density"] = self._joined("log_density")
        return table | x_columns(problem, self._joined("x"))

    def save(self, path: Path) -> None:
        """As an .npz file of arrays: curve (s,), the measurement of each solution; x (s, *x_shape); rmse; misfit."""
        written = io.BytesIO()
        arrays = {name: self._joined(name) for name in ("x", "rmse", "misfit")}
        np.savez(written, allow_pickle=False, curve=self._place, **arrays)
        store.write_atomic(path, written.getvalue())

    @property
    def _place(self) -> Array:
        return np.repeat(np.arange(len(self.found)), [len(own) for own in self.found])

    def _joined(self, name: str) -> Array:
        return np.concatenate([getattr(own, name) for own in self.found])


UNUSUAL = 0.005  # p-value at or below which a measurement is told to be unlike the examples
LISTED = 5  # of these


def solve(
    folder: str | Path, y: str | Path, *, samples: int = 200, refine: int = REFINE, walk: int | None = None,
    seed: int = 0, gate: Any = None, top: int | None = None, rank: str = "misfit", repeated: bool = False,
    group: str | None = None, forward: Function | None = None,
) -> Solved:  # fmt: skip
    """Distinct solutions of the measurements in a file.

    gate: the largest misfit of a solution in y's own units, a number or one per output; default: the run's. A
    measurement's `nearest` is the candidate of the smallest misfit, also where no one is a solution. top: the document
    has at most so many of each measurement, far apart; `found` has all. rank: as for `ConditionalVAE.solve`. repeated:
    all measurements are of one x; group: those with the same value in this column are. forward: the run's forward
    function, if it is one in Python.
    """
    model = Inverter.load(folder, forward)
    problem = model.problem
    if not problem.has_forward:
        raise InputError(f"{folder} has no forward function, so no solutions; use `draw` for posterior draws.")
    if top is not None:
        checks.whole("top", top, 1, checks.MOST_DRAWS)
    measured = read(Path(y), problem, repeated, group)
    usual = p_values(model, measured.y)
    began = time.perf_counter()
    found = model.solve(measured.y, samples, refine, seed, walk, gate, None, measured.group, rank)
    curves = [
        _told(problem, own, top) | {"p_value": min((usual[k] for k in rows), key=lambda p: 1.0 if p is None else p)}
        for own, rows in zip(found, rows_of(measured.group, len(measured.y)), strict=True)
    ]
    document = {
        "run": str(folder), "samples": samples, "refine": refine, "seconds": time.perf_counter() - began,
        "gate": (problem.gate if gate is None else check_gate(gate, problem.outputs)).tolist(),
        "y_scale": problem.y_scale.tolist(), "inputs": list(problem.inputs), "outputs": list(problem.outputs_named),
        "by": measured.title, "repeated": repeated, "names": measured.names, "rank": rank, "prior": problem.prior_told,
        "sources": dataclasses.asdict(model.sources), "curves": curves,
    }  # fmt: skip
    return Solved(document, problem, measured, found)


def _told(problem: Problem, found: Solutions, top: int | None) -> dict[str, Any]:
    """The solutions of a measurement, at most `top`, as numbers; how many there are; the nearest candidate."""
    shown = found if top is None else found.diverse(problem, top)
    density = [None] * len(shown) if shown.log_density is None else shown.log_density.tolist()
    each = zip(shown.x, shown.rmse.tolist(), shown.misfit, density, strict=True)
    return {
        "candidates": found.candidates, "evaluations": found.evaluations, "distinct": len(found),
        "solutions": [
            {"rank": rank, "rmse": rmse, "misfit": _finite(misfit), "log_density": own, "x": _described(x)}
            for rank, (x, rmse, misfit, own) in enumerate(each, 1)
        ],
        "nearest": {"misfit": _finite(found.miss), "x": _described(found.nearest)},
    }  # fmt: skip


def _finite(misfit: Array) -> list[float | None]:
    """The misfit of each output; None where it was not measured, or f failed."""
    return [float(own) if np.isfinite(own) else None for own in misfit]


def p_values(model: Inverter, measured: Array) -> list[float | None]:
    """Of each measurement, see `Examples.p_values`; None where the run keeps no examples."""
    return [None] * len(measured) if model.examples is None else model.p_values(measured).tolist()


def notes_on(p_values: Sequence[float | None], names: Sequence[Any]) -> list[str]:
    """Which measurements are unlike the examples, in words.

    >>> notes_on([0.4, 0.0005], [0, 1])
    ['measurement 1 is unlike the training examples (p = 0.0005): what is told of it extrapolates.']
    """
    strange = [k for k, p_value in enumerate(p_values) if p_value is not None and p_value <= UNUSUAL]
    found = [
        f"measurement {names[k]} is unlike the training examples (p = {p_values[k]:.2g}): what is told of it "
        "extrapolates."
        for k in strange[:LISTED]
    ]
    if len(strange) > LISTED:
        found.append(f"so are {counted(len(strange) - LISTED, 'further measurement')}.")
    return found


def x_columns(problem: Problem, x: Array) -> dict[str, Array]:
    """Examples (n, *x_shape) as columns by name, of curves one for each point."""
    flat = x.reshape(len(x), -1)
    points = flat.shape[1] // problem.x_shape[0]
    names = [name if points == 1 else f"{name}_{p}" for name in problem.inputs for p in range(points)]
    return dict(zip(names, flat.T, strict=True))


def _described(x: Array) -> list[Any]:
    """A solution as numbers: its values, or for curves the first and last ones."""
    if x.ndim >= 2 and x.shape[-1] > 4:
        return [[float(v) for v in ends] for ends in np.stack([x[..., 0], x[..., -1]], -1).reshape(-1, 2)]
    listed: list[Any] = json.loads(json.dumps(x.tolist()))
    return listed
