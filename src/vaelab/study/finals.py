"""The finals: retrain the best trials over seeds, choose the winner on validation, open test once."""

from __future__ import annotations

import dataclasses
import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab import store
from vaelab.engine.seeds import derive_seed
from vaelab.settings.yardsticks import Yardstick
from vaelab.study.balance import stacks
from vaelab.study.checkpoints import Member
from vaelab.study.front import closest, front
from vaelab.study.jobs import Job
from vaelab.study.search import Search
from vaelab.study.trials import candidates


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A retrained trial: its costs in the search, and the runs of its seeds with their costs, by each yardstick."""

    number: int
    spec: Any
    search: tuple[float, ...]
    runs: tuple[Path, ...]
    values: tuple[tuple[float, ...], ...]  # per run
    parameters: int

    @property
    def means(self) -> tuple[float, ...]:
        """Over the runs, by each yardstick."""
        return tuple(map(statistics.fmean, zip(*self.values, strict=True)))

    @property
    def errors(self) -> tuple[float | None, ...]:
        return tuple(map(_error, zip(*self.values, strict=True)))

    @property
    def mean(self) -> float:
        return self.means[0]

    @property
    def se(self) -> float | None:
        return self.errors[0]

    def as_dict(self, yardsticks: Sequence[Yardstick]) -> dict[str, Any]:
        """Its entry in the results: values by the first yardstick, and lists by both if there are two."""
        search, means = (
            [each.cost(cost) for each, cost in zip(yardsticks, costs, strict=True)]
            for costs in (self.search, self.means)
        )
        of_both = {"searches": search, "means": means, "errors": list(self.errors)} if len(yardsticks) > 1 else {}
        return {
            "number": self.number, "search": search[0], "mean": means[0], "se": self.se, **of_both,
            "parameters": self.parameters,
        }  # fmt: skip


def _error(values: Sequence[float]) -> float | None:
    """The standard error of their mean; None for one value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def plan(search: Search, left: float) -> tuple[list[int], int]:
    """Which trials to retrain, and over how many seeds, in the remaining seconds.

    The best ones, and always trial 0, the defaults, unless it collapsed: what wins was compared with it.
    """
    able, seeds = candidates(search.trials.all()), search.config.final_seeds
    ranked = able[: search.config.finalists]
    ranked += [n for n in able if n == 0 and n not in ranked]
    if math.isinf(left):
        return ranked, seeds
    while (
        len(ranked) > 1
        and search.estimate([search.spec(n) for n in ranked for _ in range(seeds)], _epochs(search)) > left
    ):
        ranked.pop()
    while ranked and seeds > 1 and search.estimate([search.spec(ranked[0])] * seeds, _epochs(search)) > left:
        seeds -= 1
    return ranked, seeds


def _epochs(search: Search) -> int:
    return search.config.final_epochs or int(search.base.epochs)


def retrain(search: Search, numbers: Sequence[int], seeds: int) -> list[Finalist]:
    """Retrain these trials with new seeds, evaluate them with more draws, and read the results.

    Every run has a folder in the study's finals/ and is not retrained by a resumed study: it would be identical.
    """
    folder = search.folder / "finals"
    folder.mkdir(exist_ok=True)
    members = {
        number: [
            Member(
                f"{search.name(number, spec)}-seed{s}",
                spec.replace(seed=derive_seed(search.config.seed, number, s + 1), epochs=_epochs(search)),
            )
            for s in range(seeds)
        ]
        for number, spec in ((n, search.spec(n)) for n in numbers)
    }
    todo = [m for group in members.values() for m in group if not (folder / m.name / "manifest.json").exists()]
    if todo:
        search.watch.finalists(numbers, seeds)
    jobs = [
        Job(
            tuple(part), _epochs(search), str(search.work), True,
            {m.name: str(folder / m.name) for m in part},
        )
        for part in stacks(todo, search.crew.data.shape, search.crew.workers, search.crew.system)
    ]  # fmt: skip
    outcomes = search.crew.run(jobs, search.watch.epoch)
    for name, outcome in outcomes.items():
        if outcome.failure is not None:
            search.watch.note(f"{name} failed when retrained: {outcome.failure}.")
    ended = [_finalist(search, number, [folder / m.name for m in group]) for number, group in members.items()]
    return [f for f in ended if f is not None]


def _finalist(search: Search, number: int, folders: list[Path]) -> Finalist | None:
    runs = [folder for folder in folders if (folder / "manifest.json").exists()]
    if not runs:
        return None
    spec, trial = search.spec(number), search.trials.all()[number]
    system, values = search.crew.system, list[tuple[float, ...]]()
    for run in runs:
        with store.interpreting(run / "metrics.json"):
            values.append(system.costs(spec, store.read_json(run / "metrics.json")["validation"]))
    return Finalist(number, spec, tuple(trial.values), tuple(runs), tuple(values), system.load(runs[0]).parameter_count)


def choose(finalists: Sequence[Finalist]) -> Finalist:
    """The best mean over seeds; within one standard error of it, the smaller model.

    With two yardsticks, the member of the front of means that is closest to the ideal point. Only finalists with the
    full number of trained seeds compete.
    """
    entitled = _entitled(finalists)
    if len(entitled[0].means) > 1:
        chosen = closest({f.number: f.means for f in entitled})
        return next(f for f in entitled if f.number == chosen)
    best = min(entitled, key=lambda f: (f.mean, f.number))
    tied = [f for f in entitled if f.mean <= best.mean + (best.se or 0.0)]
    return min(tied, key=lambda f: (f.parameters, f.mean, f.number))


def _entitled(finalists: Sequence[Finalist]) -> list[Finalist]:
    most = max(len(f.values) for f in finalists)
    return [f for f in finalists if len(f.values) == most]


def on_front(finalists: Sequence[Finalist]) -> list[int]:
    """The finalists whose means over seeds no other's dominate."""
    return front({f.number: f.means for f in _entitled(finalists)})


def open_test(search: Search, winner: Finalist) -> list[dict[str, Any]]:
    """Metrics of every run of the winner on the test split, which is read only here.

    A resumed study with the same winner does not open it again; with another one it does (`tested_before`).
    """
    seeds = []
    for run in winner.runs:
        metrics, model = store.load_run(run).metrics, search.crew.system.load(run)
        if metrics.get("test") is None:
            store.count_test_opening(run)
            metrics = store.update_metrics(run, {"test": search.crew.system.test(model, search.crew.data)})
        seeds.append({"seed": model.spec.seed, "validation": metrics["validation"], "test": metrics["test"]})
    return seeds


def tested_before(search: Search, winner: Finalist) -> list[int]:
    """The trials that won earlier, before the study had more trials, and whose runs were then tested."""
    found = set()
    for run in (search.folder / "finals").iterdir():
        if run not in winner.runs and (run / "manifest.json").exists():
            with store.interpreting(run / "metrics.json"):
                if store.read_json(run / "metrics.json").get("test") is not None:
                    found.add(int(run.name.partition("-")[0]))
    return sorted(found - {winner.number})


def keep_best(search: Search, winner: Finalist) -> Any:
    """Copy the winner's best run to the study's best/."""
    target, fresh = search.folder / "best", search.work / "best"
    shutil.rmtree(fresh, ignore_errors=True)  # remains of an interrupted copy
    shutil.copytree(winner.runs[best_run(winner)], fresh)
    if target.exists():
        shutil.rmtree(target)
    fresh.rename(target)
    return search.crew.system.load(target)


def best_run(winner: Finalist) -> int:
    """Which of the winner's runs is kept as best/: the best on validation, by the first yardstick."""
    return min(range(len(winner.runs)), key=lambda i: winner.values[i])


def summary(seeds: Sequence[Mapping[str, Any]], split: str, metric: str) -> tuple[float, float | None]:
    """Mean over seeds and its standard error."""
    values = [s[split][metric] for s in seeds]
    return statistics.fmean(values), _error(values)


def summaries(seeds: Sequence[Mapping[str, Any]], yardsticks: Sequence[Yardstick]) -> dict[str, dict[str, Any]]:
    """The winner's mean and standard error by the headline of each yardstick, on validation and test."""
    return {
        each.headline: {
            split: dict(zip(("mean", "se"), summary(seeds, split, each.headline), strict=True))
            for split in ("validation", "test")
        }
        for each in yardsticks
    }
