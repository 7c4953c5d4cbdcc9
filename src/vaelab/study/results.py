"""The results of a study: rows of its trials, and messages if there is no winner."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from vaelab import store
from vaelab.data import describe
from vaelab.errors import InputError
from vaelab.report.notebook import Paged
from vaelab.settings.reached import Reached
from vaelab.settings.yardsticks import Yardstick
from vaelab.study.search import Search
from vaelab.study.task import Nothing
from vaelab.study.trials import importance

STATES = {TrialState.COMPLETE: "COMPLETE", TrialState.PRUNED: "PRUNED", TrialState.FAIL: "FAIL"}


@dataclasses.dataclass(frozen=True, repr=False)
class Study(Paged):
    """What `tune` returns: the folder, the best model (None if all collapsed), and a row per trial."""

    folder: Path
    best: Any
    trials: list[dict[str, Any]]
    results: dict[str, Any]

    @property
    def main_metrics(self) -> Mapping[str, str]:
        found = {"trials": f"{len(self.trials):,}"}
        best = self.results.get("best")
        if not best:
            return found | {"winner": "none"}
        found["winner"] = f"trial {best['number']}"
        for yardstick in Yardstick.both(self.results):
            found[f"test {yardstick.title}"] = str(Reached.of(self.results, yardstick, "test"))
        return found

    @property
    def frame(self) -> Any:
        """The trials as a pandas.DataFrame: number, state, value, a column per searched setting (missing where it had
        no effect), epochs and seconds."""
        try:
            import pandas
        except ImportError:
            raise InputError("`frame` needs pandas; run pip install pandas, or use `trials`, a list.") from None
        kept = ("number", "state", "value", "values")
        rows = [
            {name: row[name] for name in kept if name in row}
            | {name: None if name in row["idle"] else value for name, value in row["params"].items()}
            | {name: row[name] for name in ("epochs", "seconds")}
            for row in self.trials
        ]
        return pandas.DataFrame(rows).set_index("number") if rows else pandas.DataFrame()


def why_no_winner(trials: list[FrozenTrial], explain: Callable[[Mapping[str, Any]], Nothing]) -> str:
    """`explain` says what it means that the best completed trial, of which it gets the facts, is no winner."""
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    if complete:
        best = min(complete, key=lambda t: (t.value, t.number))
        nothing, reason = explain(best.user_attrs), best.user_attrs["reason"]
        advice = f" {nothing.advice}" if nothing.advice else ""
        of = f"{len(complete)} of {len(trials)} trials ran to completion"
        if len(trials) == 1:
            return f"{nothing.meaning}: the only trial {nothing.fate} ({reason}).{advice}"
        if len(complete) == 1:
            return f"{nothing.meaning}: only {of}, and it {nothing.fate} ({reason}).{advice}"
        return f"{nothing.meaning}: {of} and all {nothing.fate} (of trial {best.number}: {reason}).{advice}"
    failed = [t for t in trials if t.state == TrialState.FAIL]
    reason = f"; the first failure: {failed[0].user_attrs['reason']}" if failed else ""
    return f"no trial was completed{reason or '; allow more time'}."


def trial_row(search: Search, trial: FrozenTrial) -> dict[str, Any] | None:
    """A trial as a row of the table, the report and the plots; None if it is not finished."""
    if trial.state not in STATES:
        return None
    spec, notes, yardsticks = search.spec(trial.number), trial.user_attrs, search.config.yardsticks
    values = []
    if trial.state == TrialState.COMPLETE:
        values = [each.cost(cost) for each, cost in zip(yardsticks, trial.values, strict=True)]
    folder = Path("trials") / search.name(trial.number, spec)
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "params": dict(trial.params),
        "idle": [name for name in trial.params if name in spec.idle],
        "spec": spec.model_dump(mode="json"),
        "rungs": {str(k): yardsticks[0].cost(v) for k, v in sorted(trial.intermediate_values.items())},
        "value": values[0] if values else None,
        **({"values": values or None} if len(yardsticks) > 1 else {}),
        **{name: notes.get(name) for name in search.crew.system.facts},
        "epochs": notes.get("epochs"),
        "seconds": notes.get("seconds"),
        "folder": str(folder) if (search.folder / folder).exists() else None,
    }


def _with_before(search: Search, seconds: Mapping[str, float]) -> Mapping[str, float]:
    """The seconds of this session, if anything was trained, plus those of earlier finished sessions."""
    path = search.folder / "results.json"
    if not path.exists():
        return seconds
    before: Mapping[str, float] = store.read_json(path)["seconds"]
    if not search.crew.has_worked:
        return before
    return {part: spent + before[part] for part, spent in seconds.items()}


def _epochs(table: list[dict[str, Any]]) -> dict[str, int]:
    """Epochs that all trials were trained, and those if none had been pruned: as many as the complete ones took."""
    whole = [row["epochs"] for row in table if row["state"] == "COMPLETE"]
    spent = [row["epochs"] or 0 for row in table]
    cut = [n for n, row in zip(spent, table, strict=True) if row["state"] == "PRUNED"]
    typical = statistics.fmean(whole) if whole else 0.0
    return {"spent": sum(spent), "unpruned": sum(spent) + sum(max(0, round(typical) - n) for n in cut)}


def collect(
    search: Search, report: dict[str, Any], best: Any, table: list[dict[str, Any]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    states = [row["state"] for row in table]
    return {
        "study": str(store.destination(search.folder)),
        "name": store.destination(search.folder).resolve().name,
        "data": describe(search.crew.data),
        "task": search.config.task.name,
        "purpose": search.config.purpose,
        "yardstick": search.config.yardstick.as_dict(),
        "yardsticks": [each.as_dict() for each in search.config.yardsticks],
        "trials": {
            "total": len(table), "complete": states.count("COMPLETE"), "pruned": states.count("PRUNED"),
            "failed": states.count("FAIL"),
        },
        "optimism": None,
        **report,
        **search.crew.system.results(search.crew.feed, report["best"], best),
        "seconds": _with_before(search, seconds),
        "epochs": _epochs(table),
        "importance": importance(search.trials.all()),
        "table": table,
    }  # fmt: skip
