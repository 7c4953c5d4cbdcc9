"""`anomaly` of a file: how strange each row is to a trained VAE, calibrated on rows it was not trained on, and why."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from vaelab import store
from vaelab.data import Dataset, describe
from vaelab.data.cells import Unseen, as_written
from vaelab.data.style import ISO, Style
from vaelab.engine.process import one_thread
from vaelab.engine.rows import as_tensor
from vaelab.errors import InputError
from vaelab.plots.row_scores import plot_row_scores
from vaelab.report import build_row_scores_report
from vaelab.vae import conditionals
from vaelab.vae.fitted import Array, Fitted
from vaelab.vae.row_costs import row_costs
from vaelab.vae.spec import Spec
from vaelab.wording import counted, told_apart

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CONTAMINATION = 0.01
HELD = "validation", "test"  # splits that no model was trained on
CELLS = 20_000  # hidden one after the other, of calibration rows and of flagged ones: seconds
MOST_CALIBRATED, MOST_EXPLAINED = 500, 200  # rows whose cells are hidden
MOST_REASONS = 3
RARE = 0.01  # tail probability, up to which a further column is named
LISTED, LEAST_LISTED = 50, 10  # strangest rows on the page, flagged or not


@dataclasses.dataclass(frozen=True)
class Reason:
    """A column that makes a row strange: its value, and what the other columns let expect.

    p_value: share of calibration rows whose value in this column is at least as surprising given their other columns.
    """

    column: str
    value: str | float
    expected: str | float
    p_value: float

    def __str__(self) -> str:
        value, expected = told_apart(self.value, self.expected)
        return f"{self.column} = {value} (expected {expected})"


@dataclasses.dataclass(frozen=True)
class RowScores:
    """How strange n rows are.

    score: (n,) -log p(x) in nats, the bound, as `row_costs` compares rows with missing cells. p_value: (n,) conformal.
    is_anomaly: (n,) p_value <= contamination.
    strange: of each row, the columns that make it so, the strangest first; empty for rows that are not flagged.
    calibration: (m,) scores of rows of the model's own data that it was not trained on.
    """

    score: Floats
    p_value: Floats
    is_anomaly: Bools
    strange: list[list[Reason]]
    calibration: Floats
    contamination: float
    notes: list[str]
    ids: Array | None = None
    id_name: str = "row"
    is_table: bool = False  # whether columns can be named
    split: Array | None = None  # of each row, if these are the data that the model was trained on
    style: Style = ISO  # how the table of text that they came from is written

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Numbers of the rows (n,), the strangest first."""
        return np.lexsort((-self.score, self.p_value))

    @property
    def rank(self) -> npt.NDArray[np.int64]:
        """Places of the rows (n,) in this order, from 1."""
        found = np.empty(len(self.score), dtype=np.int64)
        found[self.order] = np.arange(1, len(found) + 1)
        return found


def conformal_p_values(scores: Any, calibration: Any, own: Any = False) -> Floats:
    """(1 + number of calibration scores at least as high) / (m + 1) for each of n scores, (n,).

    own: (n,) whether a row is itself one of the m, which then leaves itself out: it is compared with the other m - 1.

    If a row and the m calibration rows are exchangeable, its p-value is at most a with a probability of at most a,
    for every a (Vovk et al. 2005, "Algorithmic Learning in a Random World", proposition 2.8).

    >>> conformal_p_values([0.5, 3.5, 9.0], [1.0, 2.0, 3.0]).tolist()
    [1.0, 0.25, 0.25]
    >>> conformal_p_values([9.0], [1.0, 2.0, 9.0], own=[True]).tolist() == [1 / 3]
    True
    """
    ordered = np.sort(np.asarray(calibration, dtype=np.float64))
    below = np.searchsorted(ordered, np.asarray(scores, dtype=np.float64), side="left")
    others = 1 - np.asarray(own, dtype=np.int64)
    return np.asarray((others + len(ordered) - below) / (len(ordered) + others))


def score_rows(
    fitted: Fitted, data: Dataset, x: Any, contamination: float | None = None, *, ids: Array | None = None,
    id_name: str = "row", unseen: Unseen | None = None,
) -> RowScores:  # fmt: skip
    """Score rows x (n, *shape) by a model trained on `data`, whose validation and test rows calibrate.

    unseen: levels that the columns do not have, whose cells are missing in x. No calibration row has one, so a row with
        one has the lowest p-value; each adds log(n + 1) nats to its score, of n training rows (the rule of succession).

    contamination: largest p-value of an anomaly: the share of normal rows that are flagged; by default 0.01, or the
    smallest that the number of calibration rows allows. The test split is opened, which is counted.

    Raises InputError for rows that the model cannot read, for other data, and for a contamination that no p-value can
    reach.
    """
    if fitted.facts.fingerprint != data.fingerprint:
        raise InputError(
            f"the rows that calibrate must be of the data that the model was trained on ({fitted.facts.name}), but "
            f"{data.name} is another data set or split; give those data."
        )
    rows = fitted.rows(np.asarray(x))
    known = fitted.rows(data.x[_held(data)])
    own = np.isin(_keys(fitted, rows), _keys(fitted, known))
    least = 1 / (len(known) + (0 if own.any() else 1))
    limit = max(CONTAMINATION, least) if contamination is None else contamination
    if not 0 < limit < 1:
        raise InputError(f"`contamination` must be between 0 and 1, but got {limit:g}; give a share such as 0.01.")
    if limit < least:
        raise InputError(
            f"`contamination` must be at least {_up(least)} with {len(known)} calibration rows, since no p-value is "
            f"lower, but got {limit:g}; give {_up(least)}, or a model of more data."
        )
    if fitted.folder is not None:
        store.count_test_opening(fitted.folder)
    # A row must have the same score in any file, so that a calibration row ties with its copy, but the last digits of
    # matrix products depend on the other rows: so they are computed in double precision and rounded to single.
    exact = fitted.double()
    with one_thread():
        calibration, score = (row_costs(exact, part).astype(np.float32).astype(np.float64) for part in (known, rows))
        p_value = conformal_p_values(score, calibration, own)
        new = _counts(unseen or {}, len(rows))
        score = score + new * np.log(len(data.splits["train"]) + 1)
        p_value[new > 0] = 1 / (len(known) + 1)
        is_anomaly = p_value <= limit
        chosen = np.flatnonzero(is_anomaly)
        chosen = chosen[np.argsort(-score[chosen], kind="stable")][: _rows_within(fitted, MOST_EXPLAINED)]
        strange: list[list[Reason]] = [[] for _ in rows]
        if fitted.facts.columns and len(chosen):
            some = known[:: -(-len(known) // _rows_within(fitted, MOST_CALIBRATED))]
            for row, found in zip(chosen.tolist(), _reasons(fitted, rows[chosen], some), strict=True):
                strange[row] = found
        for row, found in _new_levels(fitted, rows, unseen or {}, 1 / (len(known) + 1)).items():
            strange[row] = [*found, *strange[row]][:MOST_REASONS]
    notes = _notes(fitted, data, rows, int(own.sum()), contamination, limit, is_anomaly, len(chosen))
    is_table = bool(fitted.facts.columns)
    return RowScores(score, p_value, is_anomaly, strange, calibration, limit, notes, ids, id_name, is_table)


def _up(share: float) -> str:
    """A share rounded up to two digits, so that what a message asks for is enough.

    >>> _up(1 / 69), _up(1 / 3)
    ('0.015', '0.34')
    """
    digits = 1 - int(np.floor(np.log10(share)))
    return f"{np.ceil(share * 10**digits) / 10**digits:.{digits}f}"


def _rows_within(fitted: Fitted, most: int) -> int:
    """How many rows can be explained in a reasonable time."""
    return int(np.clip(CELLS // conditionals.width(fitted), 1, most))


def _reasons(fitted: Fitted, rows: Array, known: Array) -> list[list[Reason]]:
    """The columns that make rows (n, D) strange, by the surprise of each cell beside those of `known` rows.

    One after the other: a broken cell also makes others surprising, so it is replaced by what is expected there before
    the next is looked for.
    """
    D = conditionals.width(fitted)
    kept = np.arange(D) if fitted.scaling.kept is None else fitted.scaling.kept
    usual = np.sort(conditionals.surprise(fitted, known, _cells(len(known), D)).reshape(-1, D), axis=0)  # NaN last
    there = (~np.isnan(usual)).sum(0)
    median = usual[np.maximum(there - 1, 0) // 2, np.arange(D)]
    rows, found = rows.copy(), [list[Reason]() for _ in rows]
    named, active = np.zeros((len(rows), D), dtype=bool), np.arange(len(rows))
    for number in range(min(MOST_REASONS, D)):
        own = conditionals.surprise(fitted, rows[active], _cells(len(active), D)).reshape(-1, D)
        own[named[active]] = np.nan
        p = np.ones_like(own)
        for j in np.flatnonzero(there):
            seen = ~np.isnan(own[:, j])
            p[seen, j] = conformal_p_values(own[seen, j], usual[: there[j], j])
        excess = np.nan_to_num(own - median, nan=-np.inf, posinf=np.inf)
        least = np.maximum(p.min(1, keepdims=True), 1 / (there + 1))  # columns with gaps have fewer to compare with
        tied = np.where(p <= least, excess, -np.inf)
        column = tied.argmax(1)
        lowest = p[np.arange(len(active)), column]
        is_named = np.isfinite(tied.max(1)) & ((number == 0) | (lowest <= np.maximum(RARE, 1 / (there[column] + 1))))
        active, column, lowest = active[is_named], column[is_named], lowest[is_named]
        if not len(active):
            break
        expected = conditionals.expected(fitted, rows[active], np.stack([np.arange(len(active)), column], 1))
        for row, j, value, p_value in zip(active.tolist(), column.tolist(), expected, lowest.tolist(), strict=True):
            facts = fitted.facts.columns[kept[j]]
            told = as_written(np.array([rows[row, kept[j]], value]), facts).tolist()
            found[row].append(Reason(facts.name or f"x{kept[j]}", told[0], told[1], p_value))
            rows[row, kept[j]] = value if facts.rounded_to is None else np.round(value, facts.rounded_to)
        named[active, column] = True
    return found


def _counts(unseen: Unseen, rows: int) -> npt.NDArray[np.int64]:
    """How many cells of each row (n,) hold a level that its column does not have."""
    numbers = [row for cells in unseen.values() for row in cells]
    return np.bincount(np.array(numbers, dtype=np.int64), minlength=rows)


def _new_levels(fitted: Fitted, rows: Array, unseen: Unseen, p_value: float) -> dict[int, list[Reason]]:
    """The cells of rows (n, D) with a level that their column does not have, by row."""
    found: dict[int, list[Reason]] = {}
    places = {column.name: j for j, column in enumerate(fitted.facts.columns)}
    kept = np.arange(rows.shape[1]) if fitted.scaling.kept is None else fitted.scaling.kept
    for name, cells in unseen.items():
        j, numbers = places[name], list(cells)
        if j in kept:
            at = np.stack([np.arange(len(numbers)), np.full(len(numbers), np.flatnonzero(kept == j)[0])], 1)
            expected = conditionals.expected(fitted, rows[numbers], at)
        else:
            assert fitted.scaling.fill is not None
            expected = np.full(len(numbers), fitted.scaling.fill[j])
        for row, told in zip(numbers, as_written(expected, fitted.facts.columns[j]).tolist(), strict=True):
            found.setdefault(row, []).append(Reason(name, cells[row], told, p_value))
    return found


def _cells(rows: int, columns: int) -> npt.NDArray[np.int64]:
    """All cells of a table, row by row."""
    return np.stack([np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)], 1)


def _notes(
    fitted: Fitted, data: Dataset, rows: Array, own: int, asked: float | None, limit: float, flagged: Bools,
    explained: int,
) -> list[str]:  # fmt: skip
    held = [len(data.splits[name]) for name in HELD]
    notes = [
        f"p-values are calibrated on rows the model was not trained on: {held[0]:,} of validation, by which its epochs "
        f"were chosen, and {held[1]:,} of test; no p-value is below {1 / (sum(held) + 1):.2g}."
    ]
    if asked is None and limit > CONTAMINATION:
        notes.append(f"the contamination is {limit:.2g}, the lowest that so few calibration rows allow.")
    trained = fitted.rows(data.x[data.splits["train"]])
    if own:
        notes.append(
            f"{counted(own, 'row')} of the file {'is one' if own == 1 else 'are some'} of the rows that p-values are "
            "calibrated on; each is compared with the others of these, not with itself."
        )
    copies = int(np.isin(_keys(fitted, rows), _keys(fitted, trained)).sum())
    if copies:
        notes.append(
            f"{counted(copies, 'row')} of the file {'equals a' if copies == 1 else 'equal'} training "
            f"row{'' if copies == 1 else 's'}: a model fits better what it was trained on, so their p-values are too "
            "high."
        )
    if fitted.scaling.kept is not None and fitted.facts.columns:
        constant = np.setdiff1d(np.arange(rows.shape[1]), fitted.scaling.kept)
        assert fitted.scaling.fill is not None
        other = ~np.isnan(rows[:, constant]) & ~np.isclose(rows[:, constant], fitted.scaling.fill[constant])
        if other.any():
            names = [fitted.facts.columns[j].name or f"x{j}" for j in constant[other.any(0)]]
            notes.append(
                f"{counted(int(other.any(1).sum()), 'row')} of the file differ in a column that was constant in "
                f"training ({', '.join(names[:5])}), which scores leave out."
            )
    if fitted.facts.columns and explained < flagged.sum():
        notes.append(f"columns are named for the {explained:,} strangest of {int(flagged.sum()):,} flagged rows.")
    return notes


def _held(data: Dataset) -> npt.NDArray[np.int64]:
    """The rows that no model was trained on."""
    return np.concatenate([data.splits[name] for name in HELD])


def _keys(fitted: Fitted, rows: Array) -> npt.NDArray[np.int64]:
    keys: npt.NDArray[np.int64] = fitted.units.keys(as_tensor(rows).to(fitted.device)).cpu().numpy()
    return keys


def in_short(found: RowScores) -> dict[str, Any]:
    """How many rows are flagged, and the strangest."""
    order = found.order[: int(np.clip(found.is_anomaly.sum(), LEAST_LISTED, LISTED))]
    names = np.arange(len(found.score)) if found.ids is None else found.ids
    return {
        "rows": len(found.score),
        "flagged": int(found.is_anomaly.sum()),
        "contamination": found.contamination,
        "calibration_rows": len(found.calibration),
        "id_name": found.id_name,
        "strangest": [
            {
                "row": names[i].item(), "score": float(found.score[i]), "p_value": float(found.p_value[i]),
                "is_anomaly": bool(found.is_anomaly[i]), "strange": [dataclasses.asdict(r) for r in found.strange[i]],
            }
            for i in order.tolist()
        ],
        "notes": found.notes,
    }  # fmt: skip


def write_row_scores(found: RowScores, fitted: Fitted, data: Dataset, folder: Path, file: str) -> dict[str, Any]:
    """FOLDER/results.json, config.toml, the picture and FOLDER/report.html; returns the results."""
    results: dict[str, Any] = {
        "anomalies": str(store.destination(folder)),
        "name": f"{fitted.facts.name}: {Path(file).name}",
        "data": describe(data),
        "run": str(fitted.folder),
        "spec": fitted.spec.model_dump(mode="json"),
        "file": Path(file).name,
        **in_short(found),
    }
    config = {"run": str(fitted.folder), "file": file, "contamination": found.contamination}
    store.write_atomic(folder / "config.toml", tomli_w.dumps({"anomaly": config}))
    store.write_json(folder / "results.json", results)
    limit = np.sort(found.calibration)[::-1][max(0, int(found.contamination * (len(found.calibration) + 1)) - 1)]
    plot_row_scores(
        found.calibration,
        found.score,
        found.p_value,
        float(limit),
        folder / "figures" / "scores.png",
        Path(file).name,
    )
    build_row_scores_report(folder, Spec)
    return results
