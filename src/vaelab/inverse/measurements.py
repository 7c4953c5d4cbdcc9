"""Measurements in files: a table, an array, or numbers on the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import readers
from vaelab.data.cells import number_column
from vaelab.data.limits import check_file
from vaelab.data.npy import read_npy
from vaelab.data.stray import reads_as_number
from vaelab.data.style import ISO, Style
from vaelab.errors import InputError, unknown_name
from vaelab.inverse.problems import Problem
from vaelab.wording import counted

Array = npt.NDArray[Any]
LONGEST_LINE = 1 << 24  # characters of a row of measurements


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
    """Measurements y (n, *y_shape), NaN where nothing was measured, and which of them are of one x: those with the same
    label of n, in a column named `title`; None: each is of its own. style: how their table was written.
    """

    y: Array
    title: str = "measurement"
    group: list[Any] | None = None
    style: Style = ISO

    @property
    def names(self) -> list[Any]:
        """What the different x are called: their labels, or numbers."""
        return list(range(len(self.y))) if self.group is None else list(dict.fromkeys(self.group))


def read(path: Path, problem: Problem, repeated: bool = False, group: str | None = None) -> Measurements:
    """The measurements of a file, checked. repeated: all are of one x; group: those with one value in this column."""
    if repeated and group is not None:
        raise InputError("`repeated` says that all measurements are of one x, `group` which of them; give one of them.")
    if group is None:
        y, style = read_measurements(path, problem)
        y = problem.curves(y)
        return Measurements(y, group=[0] * len(y) if repeated else None, style=style)
    columns, style = _columns(path) or ({}, ISO)
    if group not in columns:
        raise unknown_name(f"column of {path.name}", group, columns)
    labels = np.asarray(columns.pop(group)).tolist()
    return Measurements(problem.curves(_of_columns(columns, path, problem)), group, labels, style)


def read_measurements(path: Path, problem: Problem) -> tuple[Array, Style]:
    """Measurements (n, *y_shape) from an .npy file, or a table with one in each row, whose empty cells are NaN; and
    how the table is written.

    Columns are found by the names of the outputs, with or without units; a table without these names must hold just the
    values, in order. In place of a file, the numbers of one measurement with commas between them.
    """
    shape = problem.y_shape
    if not path.exists() and all(map(_is_number, cells := str(path).split(","))):
        return _shaped(np.array([[_number(cell) for cell in cells]]), shape, path), ISO
    check_file(path)
    if path.suffix == ".npy":
        return read_npy(path), ISO
    table = _columns(path)
    if table is None:
        return _shaped(_rows(path), shape, path), ISO
    columns, style = table
    return _of_columns(columns, path, problem), style


def _is_number(cell: str) -> bool:
    return cell.strip().lower() in ("", "nan") or reads_as_number(cell.strip())


def _number(cell: str) -> float:
    return float(cell) if cell.strip() else np.nan


def _separator(line: str) -> str:
    return next((sign for sign in ";\t" if sign in line), ",")


def _first_line(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(LONGEST_LINE).rstrip("\n")


def _columns(path: Path) -> tuple[dict[str, Any], Style] | None:
    """The columns of a table, and how it is written; None if it has no names."""
    check_file(path)
    if path.suffix == ".csv":
        first = _first_line(path)
        if first.strip() and all(map(_is_number, first.split(_separator(first)))):
            return None
    elif path.suffix not in (".parquet", ".feather", ".tsv"):
        raise InputError(f"measurements are a .npy or .csv file, but got {path.name}.")
    raw = readers.read(path)
    return (dict(raw.x), raw.style) if isinstance(raw.x, dict) else None


def _rows(path: Path) -> Array:
    """The numbers of a .csv without names."""
    separator = _separator(_first_line(path))
    try:
        return np.loadtxt(path, delimiter=separator, ndmin=2, converters=_number, encoding="utf-8")
    except ValueError as error:
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from None


def _of_columns(columns: dict[str, Any], path: Path, problem: Problem) -> Array:
    """The outputs among the columns of a table (n, *y_shape)."""
    names = problem.outputs_named
    bare = {name: name.partition(" [")[0] for name in names}
    known = {name: own for name in names for own in (bare[name], name) if own in columns}
    if problem.y_names and len(names) == int(np.prod(problem.y_shape)):
        if missing := [name for name in names if name not in known]:
            raise InputError(
                f"{path.name} needs a column for every output of this problem, but has none for {missing[0]!r}; it has "
                f"{', '.join(map(repr, list(columns)[:8]))}."
            )
        columns = {name: columns[column] for name, column in known.items()}
    numbers = [number_column(np.asarray(v), name, path.name) for name, v in columns.items()]
    return _shaped(np.stack(numbers, 1), problem.y_shape, path)


def _shaped(rows: Array, shape: tuple[int, ...], path: Path) -> Array:
    wanted = int(np.prod(shape))
    if rows.shape[1] != wanted:
        raise InputError(
            f"a row of {path.name} must hold {counted(wanted, 'number')}, one measurement, but holds {rows.shape[1]}."
        )
    return rows.reshape(-1, *shape)
