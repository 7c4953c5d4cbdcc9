"""`drift`: one model on two sets of rows: which columns differ, how much less likely the rows are, and the latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from vaelab import store
from vaelab.comparison.verdicts import holm
from vaelab.data.cells import Unseen
from vaelab.engine.process import one_thread
from vaelab.errors import InputError
from vaelab.metrics import auroc, auroc_error
from vaelab.plots.drift import plot_drift
from vaelab.report import build_drift_report
from vaelab.vae.fitted import Array, Fitted
from vaelab.vae.row_costs import row_costs
from vaelab.vae.spec import Spec
from vaelab.wording import counted, with_error

Floats = npt.NDArray[np.float64]
LEVEL = 0.05
PERMUTATIONS = 9_999
EXACT = 10_000  # pairs of rows, up to which the law of the Kolmogorov-Smirnov statistic is counted out
FEWEST = 10  # rows of each kind: two for every fold of the classifier
FOLDS, TREES, LEAF = 5, 200, 5
MOST = 2_000  # rows of each kind that the classifier sees
REPEATED = 0.95  # share of different rows, below which equal rows are no copies


@dataclasses.dataclass(frozen=True)
class ColumnDrift:
    """How a column differs between m reference rows and n rows.

    distance: of numbers the Kolmogorov-Smirnov statistic, of levels the total variation; both are from 0 to 1. None
        without values on both sides.
    shift: of numbers, the change of the mean in standard deviations of the reference; None where it does not vary.
    p_value: of the distance, p_holm: corrected for all tests of all columns.
    missing_reference, missing: shares of missing cells, and the p-value of Fisher's exact test; None without any.
    """

    column: str
    kind: str
    distance: float | None
    shift: float | None
    p_value: float | None
    missing_reference: float
    missing: float
    missing_p_value: float | None
    p_holm: float | None = None
    missing_p_holm: float | None = None

    @property
    def differs(self) -> bool:
        """Whether its values or its missing cells differ, at a level of 0.05 for all columns together."""
        return any(p is not None and p <= LEVEL for p in (self.p_holm, self.missing_p_holm))


@dataclasses.dataclass(frozen=True)
class Drift:
    """How n rows differ from m reference rows, to a model.

    columns: of a table, those that differ most first. reference, score: -log p(x) of each row in nats, (m,) and
        (n,), by the bound. score_p_value: of Mann and Whitney's test.
    auc: of a classifier that tells the latents apart, on folds that it was not trained on; 0.5 means that it cannot.
    auc_se: its standard error. auc_p_value: that it is not above 0.5.
    """

    columns: list[ColumnDrift]
    reference: Floats
    score: Floats
    score_p_value: float
    auc: float
    auc_se: float
    auc_p_value: float
    notes: list[str]

    def __repr__(self) -> str:
        differ = f", {sum(one.differs for one in self.columns)} of {counted(len(self.columns), 'column')} differ"
        rows = f"{counted(len(self.score), 'row')} against {len(self.reference):,}"
        return f"Drift({rows}, AUC: {with_error(self.auc, self.auc_se)}{differ if self.columns else ''})"

    @property
    def change(self) -> tuple[float, float]:
        """By how many nats a row is less likely on average, and the standard error (Welch)."""
        parts = self.score, self.reference
        error = sum(part.var(ddof=1) / len(part) for part in parts) ** 0.5
        return float(self.score.mean() - self.reference.mean()), float(error)


def number_drift(reference: Any, values: Any) -> tuple[float, float | None, float]:
    """Kolmogorov-Smirnov statistic, shift of the mean in standard deviations of the reference (m,), and p-value.

    Ties, such as those of counts, make the p-value too high rather than too low.

    >>> number_drift([0.0, 1.0, 2.0], [10.0, 11.0, 12.0])[0]
    1.0
    """
    a, b = (np.asarray(part, dtype=np.float64) for part in (reference, values))
    test = stats.ks_2samp(a, b, method="exact" if len(a) * len(b) <= EXACT else "asymp")
    spread = a.std()
    return float(test.statistic), float((b.mean() - a.mean()) / spread) if spread else None, float(test.pvalue)


def level_drift(reference: Any, values: Any, seed: int = 0) -> tuple[float, float]:
    """Total variation sum_l |p_l - q_l| / 2 between the shares of levels, and its p-value from permuted rows.

    >>> level_drift(["a"] * 8, ["b"] * 8)[0]
    1.0
    """
    a, b = np.asarray(reference), np.asarray(values)
    levels, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    table = np.stack([np.bincount(part, minlength=len(levels)) for part in (codes[: len(a)], codes[len(a) :])])
    rows, columns = table.sum(1), table.sum(0)
    drawn = stats.random_table(rows, columns).rvs(PERMUTATIONS, random_state=np.random.default_rng(seed))
    found, permuted = (0.5 * np.abs(t[..., 0, :] / rows[0] - t[..., 1, :] / rows[1]).sum(-1) for t in (table, drawn))
    return float(found), float((1 + (permuted >= found - 1e-12).sum()) / (PERMUTATIONS + 1))


def latent_drift(reference: Floats, latents: Floats, seed: int = 0) -> tuple[float, float, float]:
    """AUC of a random forest that tells latents (m, L) and (n, L) apart, its standard error (DeLong), its p-value.

    Each row is scored by a forest that was not trained on it (a classifier two-sample test, Lopez-Paz and Oquab 2017).
    """
    parts = [part[:: -(-len(part) // MOST)] for part in (reference, latents)]
    x, is_new = np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, class_weight="balanced", random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(forest, x, is_new, cv=folds, method="predict_proba")[:, 1]
    known, other = scores[is_new == 0], scores[is_new == 1]
    error = auroc_error(known, other)
    assert error is not None
    return auroc(known, other), error, float(stats.mannwhitneyu(other, known, alternative="greater").pvalue)


def measure_drift(
    fitted: Fitted, x: Any, reference: Any, trained: Any = None, notes: Sequence[str] = (), seed: int = 0,
    unseen: tuple[Unseen, Unseen] = ({}, {}),
) -> Drift:  # fmt: skip
    """Compare rows x (n, *shape) with reference rows (m, *shape), in the data's own units.

    Rows of x that are also reference rows are left out, unless rows repeat anyway, as those of few levels do: what is
    in both sets would make them look more alike than chance does.

    trained: rows that the model was trained on; copies of them among x are told in a note.
    unseen: of both, levels that the model's columns do not have, whose cells are missing: they count as levels.

    Raises InputError for rows that the model cannot read, and for fewer than 10 of either.
    """
    new, old = fitted.rows(np.asarray(x)), fitted.rows(np.asarray(reference))
    codes = _with_unseen(fitted, (old, new), (unseen[1], unseen[0]))
    said = list(notes)
    shared = _shared(new, old)
    if shared.any():
        said.append(
            f"{counted(int(shared.sum()), 'row')} of the file {'is' if shared.sum() == 1 else 'are'} also among those "
            "it is compared with, and left out."
        )
        new, codes = new[~shared], (codes[0], codes[1][~shared])
    if min(len(new), len(old)) < FEWEST:
        raise InputError(
            f"at least {FEWEST} rows of each are needed to find a drift, but there are {len(new)} rows of the file and "
            f"{len(old)} to compare them with; give more."
        )
    with one_thread():
        before, after = (row_costs(fitted, part) for part in (old, new))
        auc, error, p = latent_drift(fitted.encode(old)[0], fitted.encode(new)[0], seed)
    own = {row.tobytes() for row in new}
    copies = 0 if trained is None else len({row.tobytes() for row in fitted.rows(np.asarray(trained))} & own)
    if copies:
        equal = "equals a training row" if copies == 1 else "equal training rows"
        said.append(
            f"{counted(copies, 'row')} of the file {equal}: a model fits what it was trained on better, so the "
            "change of the bound is too low."
        )
    score_p = float(stats.mannwhitneyu(after, before).pvalue)
    return Drift(_columns(fitted, *codes, seed), before, after, score_p, auc, error, p, said)


def _shared(new: Array, old: Array) -> npt.NDArray[np.bool_]:
    """Which new rows are also among the old; none where rows repeat anyway, so that equal ones need not be the same."""
    keys, known = [row.tobytes() for row in new], [row.tobytes() for row in old]
    if min(len(set(keys)) / len(keys), len(set(known)) / len(known)) < REPEATED:
        return np.zeros(len(new), dtype=bool)
    there = set(known)
    return np.array([key in there for key in keys])


def _with_unseen(fitted: Fitted, parts: tuple[Array, Array], unseen: tuple[Unseen, Unseen]) -> tuple[Array, Array]:
    """Both sets of rows, in which every level that the model's columns do not have has a number of its own."""
    if not any(unseen):
        return parts
    coded = tuple(part.astype(np.float64) for part in parts)
    for j, column in enumerate(fitted.facts.columns):
        told = [own.get(column.name, {}) for own in unseen]
        texts = sorted({text for own in told for text in own.values()})
        for part, own in zip(coded, told, strict=True):
            for row, text in own.items():
                part[row, j] = max(column.values) + 1 + texts.index(text)
    return coded[0], coded[1]


def _columns(fitted: Fitted, old: Array, new: Array, seed: int) -> list[ColumnDrift]:
    found = []
    for j, column in enumerate(fitted.facts.columns):
        gone = [np.isnan(part[:, j]) for part in (old, new)]
        a, b = (part[:, j][~gap] for part, gap in zip((old, new), gone, strict=True))
        distance, shift, p = None, None, None
        if len(a) and len(b):
            if column.has_levels:
                distance, p = level_drift(a, b, seed)
            else:
                distance, shift, p = number_drift(a, b)
        missing_p = None
        if any(gap.any() for gap in gone):
            table = [[int(gap.sum()), int((~gap).sum())] for gap in gone]
            missing_p = float(stats.fisher_exact(table).pvalue)
        before, now = (float(gap.mean()) for gap in gone)
        found.append(ColumnDrift(column.name or f"x{j}", column.kind, distance, shift, p, before, now, missing_p))
    corrected = holm([p for one in found for p in (one.p_value, one.missing_p_value)])
    found = [
        dataclasses.replace(one, p_holm=corrected[2 * i], missing_p_holm=corrected[2 * i + 1])
        for i, one in enumerate(found)
    ]
    return sorted(found, key=lambda one: (not one.differs, -(one.distance or 0.0)))


def write_drift(
    found: Drift, fitted: Fitted, folder: Path, names: tuple[str, str], data: Mapping[str, Any]
) -> dict[str, Any]:
    """FOLDER/results.json, config.toml, the picture and FOLDER/report.html; returns the results.

    names: of the rows, and of those that they are compared with. data: what `describe` says of the model's data.
    """
    change, error = found.change
    results: dict[str, Any] = {
        "drift": str(store.destination(folder)),
        "name": f"{names[0]} against {names[1]}",
        "data": dict(data),
        "run": str(fitted.folder),
        "spec": fitted.spec.model_dump(mode="json"),
        "file": names[0],
        "against": names[1],
        "rows": len(found.score),
        "reference_rows": len(found.reference),
        "columns": [dataclasses.asdict(one) | {"differs": one.differs} for one in found.columns],
        "score": {
            "mean": float(found.score.mean()), "reference": float(found.reference.mean()), "change": change,
            "se": error, "p_value": found.score_p_value,
        },
        "latents": {"auc": found.auc, "se": found.auc_se, "p_value": found.auc_p_value},
        "notes": found.notes,
    }  # fmt: skip
    config = {"run": str(fitted.folder), "file": names[0], "against": names[1]}
    store.write_atomic(folder / "config.toml", tomli_w.dumps({"drift": config}))
    store.write_json(folder / "results.json", results)
    plot_drift(results["columns"], found.reference, found.score, folder / "figures" / "drift.png", names)
    build_drift_report(folder, Spec)
    return results
