"""Solutions for measurements in a file, from a trained run."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from vaelab import store
from vaelab.data.cells import number_column
from vaelab.data.csv import read_csv
from vaelab.data.limits import check_file
from vaelab.data.npy import read_npy
from vaelab.data.stray import reads_as_number
from vaelab.errors import InputError
from vaelab.inverse.fitted import WALK, Inverter
from vaelab.inverse.run import Array
from vaelab.inverse.units import check_gate

LONGEST_LINE = 1 << 24  # characters of a row of measurements


def solve(
    folder: str | Path, y: str | Path, *, samples: int = 100, refine: int = 20, walk: int = WALK, seed: int = 0,
    gate: Any = None, out: str | Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Distinct solutions of the measurements in a .npy or .csv file, ranked by misfit; `out`: an .npz to write.

    gate: the largest misfit of a solution in y's own units, a number or one per output; default: the run's. A
    measurement's `nearest` is the candidate of the smallest misfit, also where no one is a solution.
    """
    if out is not None and Path(out).suffix != ".npz":
        raise InputError(f"solutions are written to an .npz file, but `out` is {str(out)!r}.")
    model = Inverter.load(folder)
    measured = model.problem.curves(_read(Path(y), model.problem.y_shape))
    began = time.perf_counter()
    found = model.solve(measured, samples, refine, seed, walk, gate)
    seconds = time.perf_counter() - began
    if out is not None:
        curve = np.repeat(np.arange(len(found)), [len(s) for s in found])
        x, rmse, misfit = (np.concatenate([getattr(s, name) for s in found]) for name in ("x", "rmse", "misfit"))
        written = io.BytesIO()
        np.savez(written, curve=curve, x=x, rmse=rmse, misfit=misfit)
        store.write_output(out, written.getvalue())
    return {
        "run": str(folder),
        "samples": samples,
        "refine": refine,
        "seconds": seconds,
        "gate": (model.problem.gate if gate is None else check_gate(gate, model.problem.outputs)).tolist(),
        "y_scale": model.problem.y_scale.tolist(),
        "curves": [
            {
                "candidates": own.candidates, "evaluations": own.evaluations,
                "solutions": [
                    {"rank": rank, "rmse": float(rmse), "misfit": misfit.tolist(), "x": _described(x)}
                    for rank, (x, rmse, misfit) in enumerate(zip(own.x, own.rmse, own.misfit, strict=True), 1)
                ],
                "nearest": {"misfit": own.miss.tolist(), "x": _described(own.nearest)},
            }
            for own in found
        ],
    }  # fmt: skip


def draw(folder: str | Path, y: str | Path, n: int = 1_000, seed: int = 0) -> dict[str, Array]:
    """Posterior draws for the measurements in a file, as columns: measurement, draw, x0, x1, ...; of curves
    x0_0, x0_1, ... with the number of the point.
    """
    model = Inverter.load(folder)
    measured = model.problem.curves(_read(Path(y), model.problem.y_shape))
    x = model.draw(measured, n, seed).x.reshape(len(measured) * n, -1)
    inputs = model.problem.x_shape[0]
    points = x.shape[1] // inputs
    names = [f"x{k}" if points == 1 else f"x{k}_{p}" for k in range(inputs) for p in range(points)]
    numbers = {
        "measurement": np.repeat(np.arange(len(measured)), n),
        "draw": np.tile(np.arange(1, n + 1), len(measured)),
    }
    return numbers | dict(zip(names, x.T, strict=True))


def _described(x: Array) -> list[Any]:
    """A solution as numbers: its values, or for curves the first and last ones."""
    if x.ndim >= 2 and x.shape[-1] > 4:
        return [[float(v) for v in ends] for ends in np.stack([x[..., 0], x[..., -1]], -1).reshape(-1, 2)]
    listed: list[Any] = json.loads(json.dumps(x.tolist()))
    return listed


def _rows(path: Path) -> Array:
    """The numbers of a CSV file (n, V), with or without a header."""
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline(LONGEST_LINE).rstrip("\n")
    separator = next((sign for sign in ";\t" if sign in first), ",")
    if all(reads_as_number(cell.strip()) for cell in first.split(separator)):
        return np.loadtxt(path, delimiter=separator, ndmin=2)
    return np.stack([number_column(np.asarray(v), name, path.name) for name, v in read_csv(path).items()], 1)


def _read(path: Path, shape: tuple[int, ...]) -> Array:
    """Measurements from a file; a row of a CSV file is one flat measurement."""
    check_file(path)
    try:
        if path.suffix == ".npy":
            return read_npy(path)
        if path.suffix == ".csv":
            rows = _rows(path)
            wanted = int(np.prod(shape))
            if rows.shape[1] != wanted:
                raise InputError(f"a row of {path.name} must hold {wanted} numbers, but holds {rows.shape[1]}.")
            return rows.reshape(-1, *shape)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from None
    raise InputError(f"measurements are a .npy or .csv file, but got {path.name}.")
