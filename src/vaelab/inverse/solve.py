"""Solutions and posterior draws for measurements in a file, from a trained run, as numbers and as columns."""

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
from vaelab.data import readers
from vaelab.data.cells import number_column
from vaelab.data.csv import read_csv
from vaelab.data.limits import check_file
from vaelab.data.npy import read_npy
from vaelab.data.stray import reads_as_number
from vaelab.errors import InputError
from vaelab.inverse import scores
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.forward import Function
from vaelab.inverse.problems import Problem
from vaelab.inverse.solutions import REFINE, Solutions
from vaelab.inverse.units import check_gate
from vaelab.wording import counted

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Solved:
    """The solutions of the measurements in a file, and the JSON document that tells them."""

    document: Mapping[str, Any]
    problem: Problem
    found: Sequence[Solutions]

    @property
    def notes(self) -> list[str]:
        """What the user should know of the measurements."""
        return notes_on([curve["p_value"] for curve in self.document["curves"]])

    def columns(self) -> dict[str, Array]:
        """One row a solution: measurement, rank, misfit, that of each of several outputs, and x."""
        problem, misfit = self.problem, self._joined("misfit")
        table = {
            "measurement": self._measurement,
            "rank": np.concatenate([np.arange(1, len(own) + 1) for own in self.found]),
            "misfit": self._joined("rmse"),
        }
        if problem.outputs > 1:
            table |= {f"misfit of {name}": misfit[:, m] for m, name in enumerate(problem.outputs_named)}
        return table | x_columns(problem, self._joined("x"))

    def save(self, path: Path) -> None:
        """As an .npz file of arrays: curve (s,), the measurement of each solution; x (s, *x_shape); rmse; misfit."""
        written = io.BytesIO()
        arrays = {name: self._joined(name) for name in ("x", "rmse", "misfit")}
        np.savez(written, allow_pickle=False, curve=self._measurement, **arrays)
        store.write_atomic(path, written.getvalue())

    @property
    def _measurement(self) -> Array:
        return np.repeat(np.arange(len(self.found)), [len(own) for own in self.found])

    def _joined(self, name: str) -> Array:
        return np.concatenate([getattr(own, name) for own in self.found])


UNUSUAL = 0.005  # p-value at or below which a measurement is told to be unlike the examples
LISTED = 5  # of these
LONGEST_LINE = 1 << 24  # characters of a row of measurements


def solve(
    folder: str | Path, y: str | Path, *, samples: int = 200, refine: int = REFINE, walk: int | None = None, seed: int = 0,
    gate: Any = None, top: int | None = None, forward: Function | None = None,
) -> Solved:  # fmt: skip
    """Distinct solutions of the measurements in a file.

    gate: the largest misfit of a solution in y's own units, a number or one per output; default: the run's. A
    measurement's `nearest` is the candidate of the smallest misfit, also where no one is a solution. top: as for
    `ConditionalVAE.solve`. forward: the run's forward function, if it is one in Python.
    """
    model = Inverter.load(folder, forward)
    problem = model.problem
    if not problem.has_forward:
        raise InputError(f"{folder} has no forward function, so no solutions; use `draw` for posterior draws.")
    measured = problem.curves(read_measurements(Path(y), problem))
    usual = _p_values(model, measured)
    began = time.perf_counter()
    found = model.solve(measured, samples, refine, seed, walk, gate, top)
    document = {
        "run": str(folder),
        "samples": samples,
        "refine": refine,
        "seconds": time.perf_counter() - began,
        "gate": (problem.gate if gate is None else check_gate(gate, problem.outputs)).tolist(),
        "y_scale": problem.y_scale.tolist(),
        "inputs": list(problem.inputs),
        "outputs": list(problem.outputs_named),
        "curves": [
            {
                "candidates": own.candidates, "evaluations": own.evaluations,
                "solutions": [
                    {"rank": rank, "rmse": float(rmse), "misfit": misfit.tolist(), "x": _described(x)}
                    for rank, (x, rmse, misfit) in enumerate(zip(own.x, own.rmse, own.misfit, strict=True), 1)
                ],
                "nearest": {"misfit": own.miss.tolist(), "x": _described(own.nearest)},
                "p_value": p_value,
            }
            for own, p_value in zip(found, usual, strict=True)
        ],
    }  # fmt: skip
    return Solved(document, problem, found)


def _p_values(model: Inverter, measured: Array) -> list[float | None]:
    return [None] * len(measured) if model.examples is None else model.p_values(measured).tolist()


def notes_on(p_values: Sequence[float | None]) -> list[str]:
    """Which measurements are unlike the examples, in words.

    >>> notes_on([0.4, 0.0005])
    ['measurement 1 is unlike the training examples (p = 0.0005): what is told of it extrapolates.']
    """
    strange = [k for k, p_value in enumerate(p_values) if p_value is not None and p_value <= UNUSUAL]
    found = [
        f"measurement {k} is unlike the training examples (p = {p_values[k]:.2g}): what is told of it extrapolates."
        for k in strange[:LISTED]
    ]
    if len(strange) > LISTED:
        found.append(f"so are {counted(len(strange) - LISTED, 'further measurement')}.")
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """Posterior draws as columns, and what the user should know of them."""

    columns: dict[str, Array]
    notes: Sequence[str]


def draw(folder: str | Path, y: str | Path, n: int = 1_000, seed: int = 0, forward: Function | None = None) -> Drawn:
    """Posterior draws for the measurements in a file, as columns: measurement, draw, and x by its names; of curves
    x0_0, x0_1, ... with the number of the point.
    """
    model = Inverter.load(folder, forward, needs_forward=False)
    measured = model.problem.curves(read_measurements(Path(y), model.problem))
    drawn = model.draw(measured, n, seed).x
    x = drawn.reshape(len(measured) * n, *model.problem.x_shape)
    numbers = {
        "measurement": np.repeat(np.arange(len(measured)), n),
        "draw": np.tile(np.arange(1, n + 1), len(measured)),
    }
    notes = notes_on(_p_values(model, measured))
    if model.problem.has_forward:
        missed = scores.pooled(model.problem, scores.misfits(model.problem, drawn, measured))
        unit = "in y's unit" if model.problem.outputs == 1 else "in standard deviations of the outputs"
        notes.append(f"f(x) of a draw misses its y by {np.nanmedian(missed):.3g} ({unit}, median).")
    else:
        notes.append("the run has no forward function, so no draw was compared with its y.")
    return Drawn(numbers | x_columns(model.problem, x), notes)


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


def read_measurements(path: Path, problem: Problem) -> Array:
    """Measurements (n, *y_shape) from an .npy file, or from a table with one in each row.

    Columns are found by the names of the outputs, with or without units; a table without these names must hold just the
    values, in order. In place of a file, the numbers of one measurement with commas between them.
    """
    shape = problem.y_shape
    if not path.exists() and all(map(reads_as_number, cells := str(path).split(","))):
        return _shaped(np.array([[float(cell) for cell in cells]]), shape, path)
    check_file(path)
    if path.suffix == ".npy":
        return read_npy(path)
    if path.suffix == ".csv":
        with open(path, encoding="utf-8", errors="replace") as file:
            first = file.readline(LONGEST_LINE).rstrip("\n")
        separator = next((sign for sign in ";\t" if sign in first), ",")
        if first.strip() and all(reads_as_number(cell.strip()) for cell in first.split(separator)):
            try:
                rows = np.loadtxt(path, delimiter=separator, ndmin=2)
            except ValueError as error:
                raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from None
            return _shaped(rows, shape, path)
        columns = read_csv(path)
    elif path.suffix in (".parquet", ".feather", ".tsv"):
        columns = readers.read(path).x
    else:
        raise InputError(f"measurements are a .npy or .csv file, but got {path.name}.")
    names = problem.outputs_named
    bare = {name: name.partition(" [")[0] for name in names}
    known = {name: own for name in names for own in (bare[name], name) if own in columns}
    if problem.y_names and len(names) == int(np.prod(shape)):
        if missing := [name for name in names if name not in known]:
            raise InputError(
                f"{path.name} needs a column for every output of this problem, but has none for {missing[0]!r}; it has "
                f"{', '.join(map(repr, list(columns)[:8]))}."
            )
        columns = {name: columns[column] for name, column in known.items()}
    return _shaped(
        np.stack([number_column(np.asarray(v), name, path.name) for name, v in columns.items()], 1), shape, path
    )


def _shaped(rows: Array, shape: tuple[int, ...], path: Path) -> Array:
    wanted = int(np.prod(shape))
    if rows.shape[1] != wanted:
        raise InputError(
            f"a row of {path.name} must hold {counted(wanted, 'number')}, one measurement, but holds {rows.shape[1]}."
        )
    return rows.reshape(-1, *shape)
