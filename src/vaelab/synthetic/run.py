"""`synthetic`: draws synthetic rows of a table, or takes those of a file, and judges them against the test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from vaelab import data as data_module
from vaelab import store
from vaelab.data import Column, Dataset, Reading, describe
from vaelab.data.values import quote
from vaelab.data.writing import csv_text, digits_of, written_columns
from vaelab.engine.process import one_thread
from vaelab.errors import InputError, unknown_name
from vaelab.plots.columns import most_variable
from vaelab.plots.features import nearest as nearest_level
from vaelab.report import build_synthetic_report
from vaelab.store.folders import default_folder
from vaelab.synthetic import associations, boosting, drawing, marginals, nearest, pictures, validity
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec
from vaelab.wording import counted, percent

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
LEAST_ROWS = 10  # of the test split, and synthetic ones
MOST_ROWS, MOST_COLUMNS = 5_000, 200
NEAREST_ROWS = 1_000  # of test and synthetic rows, for distances
MOST_TARGETS, TARGET_LEVELS = 5, 10


@dataclasses.dataclass(frozen=True)
class Parts:
    """Real and synthetic rows (n, D) of the columns that are judged; levels as 0, 1, ..., NaN where missing."""

    columns: tuple[Column, ...]
    train: Floats
    test: Floats
    made: Floats
    invalid: Bools  # which cells of `made` are no cells of the table
    such_as: tuple[str, ...]  # an invalid cell of each column, "" if there is none


def synthetic(
    fitted: Fitted,
    data: Dataset,
    rows: Any = None,
    *,
    n: int | None = None,
    prior: str | None = None,
    target: str | None = None,
    reading: Reading | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Judge rows as synthetic rows of a model's table, by default rows drawn from the model: `vaelab.judge_synthetic`.

    reading: how `rows` are read. say: called with a line for each step.
    """
    _check(fitted, data, rows, n, prior)
    if fitted.folder is not None:
        store.check_test_opening(fitted.folder)
    columns = _named(fitted, data)
    if target is not None and target not in (column.name for column in columns):
        raise unknown_name("column", target, [column.name for column in columns])
    reading = reading or fitted.facts.reading
    size, prior = n or len(data.splits["train"]), prior or "model"
    judged = [j for j in range(len(columns)) if not data.statistics.constant[j]]
    if not judged:
        raise InputError(f"{data.name} must have a column that varies in its training rows, but has none.")
    if target is not None and columns.index(_by_name(columns, target)) not in judged:
        raise InputError(
            f"column {target!r} is constant in the training rows, so nothing can predict it; take another."
        )
    table = None if rows is None else data_module.new_columns(rows, columns, name="rows", reading=reading)
    if table is not None:
        made = _parts(columns, judged, data, table, reading)
    home = default_folder(f"{data.name}-synthetic") if out is None else Path(out)
    with store.building(home, overwrite, keep=False) as folder, one_thread():
        options = {"run": str(fitted.folder or ""), "seed": seed}
        options |= {"rows": str(rows)} if isinstance(rows, str | Path) else {"n": size, "prior": prior}
        store.write_atomic(folder / "config.toml", tomli_w.dumps({"synthetic": options | _given(target=target)}))
        if table is None:
            say(f"drawing {counted(size, 'row')}")
            drawn = drawing.draw(fitted, data, size, prior, seed)
            style = fitted.facts.style
            text = csv_text(written_columns(drawn, columns, style), digits_of(fitted.facts.dtype), style)
            path = store.write_atomic(folder / "synthetic.csv", text)
            own = Reading(types=reading.types)  # what is judged is the file, as others will read it
            made = _parts(columns, judged, data, data_module.new_columns(path, columns, reading=own), own)
        if fitted.folder is not None:
            store.count_test_opening(fitted.folder)
        results = {
            "synthetic": str(home),
            "name": home.resolve().name,
            "run": str(fitted.folder or ""),
            "source": "drawn" if rows is None else str(rows) if isinstance(rows, str | Path) else "rows",
            "prior": prior if rows is None else None,
            **_judged(made, target, seed, say, folder),
            "data": describe(data),
            "spec": fitted.spec.model_dump(mode="json"),
            "notes": _notes(fitted, data, made, len(columns), rows is None, prior),
        }
        store.write_json(folder / "results.json", results)
        build_synthetic_report(folder, Spec)
    return results


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check(fitted: Fitted, data: Dataset, rows: Any, n: int | None, prior: str | None) -> None:
    if len(fitted.facts.shape) > 1:
        raise InputError(
            f"synthetic rows are those of tables, but {fitted.facts.name} has images of shape {fitted.facts.shape}; "
            "draw them with `vaelab sample`."
        )
    if fitted.facts.fingerprint != data.fingerprint:
        raise InputError(f"the data must be those of the run, {fitted.facts.name}, but are others; give the same data.")
    if rows is not None and (n is not None or prior is not None):
        raise InputError("rows of a file are all judged, as they are; leave out the number of rows and the prior.")
    if n is not None and n < LEAST_ROWS:
        raise InputError(f"the number of synthetic rows must be at least {LEAST_ROWS}, but got {n}.")
    if prior is not None and prior not in drawing.PRIORS:
        raise unknown_name("prior", prior, drawing.PRIORS)
    if len(data.splits["test"]) < LEAST_ROWS:
        raise InputError(
            f"synthetic rows are judged against at least {LEAST_ROWS} test rows, but {data.name} has "
            f"{len(data.splits['test'])}; train on more rows, or with a `split` of your own."
        )


def _named(fitted: Fitted, data: Dataset) -> tuple[Column, ...]:
    """The columns of the table, all with names."""
    columns = fitted.facts.columns or tuple(Column("") for _ in range(data.shape[0]))
    return tuple(dataclasses.replace(column, name=column.name or f"x{j}") for j, column in enumerate(columns))


def _by_name(columns: Sequence[Column], name: str) -> Column:
    return next(column for column in columns if column.name == name)


def _parts(
    columns: Sequence[Column], judged: Sequence[int], data: Dataset, table: Mapping[str, Any], reading: Reading
) -> Parts:
    """The rows that are judged: at most 5,000 of each kind, of 200 columns that vary most; levels by number."""
    train, test = (_thinned(data.flat[data.splits[split]].astype(np.float64), MOST_ROWS) for split in ("train", "test"))
    some = most_variable(train[:, judged], [columns[j] for j in judged], MOST_COLUMNS)
    kept = [judged[j] for j in some]
    own = [columns[j] for j in kept]
    coded = tuple(
        dataclasses.replace(column, values=tuple(map(float, range(len(column.levels)))))
        if column.has_levels
        else column
        for column in own
    )
    made, invalid, such_as = validity.checked(table, coded, reading)
    if len(made) < LEAST_ROWS:
        raise InputError(f"at least {LEAST_ROWS} synthetic rows are needed to judge them, but there are {len(made)}.")
    made, invalid = _thinned(made, MOST_ROWS), _thinned(invalid, MOST_ROWS)
    for j, column in enumerate(own):
        if not column.has_levels:
            made[:, j] = made[:, j].astype(data.x.dtype if data.x.dtype.kind == "f" else np.float32)
    return Parts(coded, _coded(train[:, kept], own), _coded(test[:, kept], own), made, invalid, tuple(such_as))


def _coded(rows: Floats, columns: Sequence[Column]) -> Floats:
    found = np.array(rows)
    for j, column in enumerate(columns):
        if column.has_levels:
            found[:, j] = np.where(np.isnan(rows[:, j]), np.nan, nearest_level(rows[:, j], column))
    return found


def _thinned(rows: Any, most: int) -> Any:
    """At most that many rows, evenly spaced."""
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


def _judged(parts: Parts, target: str | None, seed: int, say: Callable[[str], None], folder: Path) -> dict[str, Any]:
    columns, train, test, made = parts.columns, parts.train, parts.test, parts.made
    say("comparing columns and pairs of columns")
    each = marginals.marginals(columns, train, test, made)
    pairs = associations.compare(columns, train, test, made)
    say("telling synthetic from real rows")
    apart = {
        "synthetic": boosting.two_sample(columns, test, made, seed),
        "synthetic_from_train": boosting.two_sample(columns, train, made, seed),
        "train": boosting.two_sample(columns, test, train, seed),
    }
    say("learning from synthetic rows")
    learned = [boosting.usefulness(columns, j, train, test, made, seed) for j in _targets(columns, pairs, target)]
    say("finding the nearest training rows")
    some_test, some_made = (_thinned(rows, NEAREST_ROWS) for rows in (test, made))
    near, distances = nearest.nearest(columns, train, some_test, some_made, seed)
    pictures.draw(folder / "figures", columns, test, made, each, pairs, distances, near["close"])
    return {
        "rows": {"train": len(train), "test": len(test), "synthetic": len(made)},
        "columns": len(columns),
        "two_sample": apart,
        "marginals": each,
        "associations": pairs,
        "usefulness": [found for found in learned if found is not None],
        "nearest": near,
        "validity": validity.validity(columns, made, parts.invalid, parts.such_as, train),
    }


def _targets(columns: Sequence[Column], pairs: Mapping[str, Any], target: str | None) -> list[int]:
    """The columns that are predicted: one by name, or the five that depend most on another in training rows, of those
    of numbers and of 2 to 10 levels.
    """
    if target is not None:
        return [j for j, column in enumerate(columns) if column.name == target]
    matrix = np.abs(np.array(pairs["matrices"]["train"], dtype=np.float64))
    np.fill_diagonal(matrix, np.nan)
    strength = np.where(np.isnan(matrix), 0.0, matrix).max(1)
    able = [j for j, column in enumerate(columns) if not column.has_levels or 2 <= len(column.levels) <= TARGET_LEVELS]
    return sorted(sorted(able, key=lambda j: -strength[j])[:MOST_TARGETS])


def remedy(column: Column, values: Floats) -> str:
    """What may help a model that draws a column too wide."""
    if column.kind != "real" or not np.nanmin(values) > 0:
        return ""
    return ", as of skewed values; the type `positive` models their logarithms"


def _notes(fitted: Fitted, data: Dataset, parts: Parts, total: int, is_drawn: bool, prior: str) -> list[str]:
    notes = ["Synthetic rows are judged against the test split, whose opening is counted."]
    if is_drawn:
        notes.append(
            "Drawn numbers are rounded to the decimals of the table and kept within the range of its training rows."
        )
    notes += [
        f"{percent(made)} of the synthetic values of {quote(parts.columns[j].name)} are at an end of its range, "
        f"{percent(there, 1)} of the real ones: the model draws it too wide"
        f"{remedy(parts.columns[j], parts.train[:, j])}."
        for j, made, there in (drawing.at_ends(parts.columns, parts.train, parts.made) if is_drawn else ())
    ]
    if is_drawn and prior == "fitted":
        notes.append("Latents are drawn from a Gaussian mixture fitted to those of training rows.")
    if fitted.is_conditional:
        names = ", ".join(column.name for column in data.columns if column.condition)
        how = "Values of conditions are drawn together from training rows" if is_drawn else "Conditions"
        notes.append(f"{how}: {names}." if is_drawn else f"{how} of the model ({names}) are judged as other columns.")
    if np.isnan(parts.test).any() or np.isnan(parts.train).any():
        notes.append(
            "Real rows have missing cells: columns and pairs are compared over filled cells; to tell rows apart, learn "
            "and measure distances, synthetic rows get the missing cells of real rows drawn at random."
        )
    constant = int(data.statistics.constant.sum())
    if constant:
        notes.append(f"{counted(constant, 'column')} constant in the training rows: not judged.")
    if len(parts.columns) < total - constant:
        notes.append(f"Of {total - constant:,} columns the {len(parts.columns)} that vary most are judged.")
    if max(len(data.splits["train"]), len(data.splits["test"])) > MOST_ROWS or len(parts.made) == MOST_ROWS:
        notes.append(f"At most {MOST_ROWS:,} rows of each kind are compared, evenly spaced.")
    if min(len(parts.test), len(parts.made)) > boosting.MOST:
        notes.append(f"At most {boosting.MOST:,} rows of each kind are told apart.")
    if max(len(parts.test), len(parts.made)) > NEAREST_ROWS:
        notes.append(f"Distances are those of at most {NEAREST_ROWS:,} rows of each kind, evenly spaced.")
    if len(parts.test) < 100:
        notes.append(
            f"The test split has {counted(len(parts.test), 'row')}: small differences from it cannot be seen; compare "
            "each figure with that of training rows."
        )
    if data.labels is not None:
        notes.append("The labels of the data are no part of the model, so synthetic rows have none.")
    return notes
