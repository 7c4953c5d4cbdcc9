"""`tune`: search, finals, results; one function from a data set to a study folder."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from vaelab import store
from vaelab.data import Dataset, describe
from vaelab.errors import InputError, StoreError
from vaelab.space import Space
from vaelab.study import balance, finals
from vaelab.study.balance import cores
from vaelab.study.config import Config
from vaelab.study.crew import Crew
from vaelab.study.search import Clock, Search
from vaelab.study.task import task_named
from vaelab.study.trials import Trials, importance
from vaelab.study.watch import Watch
from vaelab.training import one_thread
from vaelab.wording import counted

STATES = {TrialState.COMPLETE: "COMPLETE", TrialState.PRUNED: "PRUNED", TrialState.FAIL: "FAIL"}


@dataclasses.dataclass(frozen=True)
class Study:
    """What `tune` returns: the folder, the best model (None if all collapsed), and a row per trial."""

    folder: Path
    best: Any
    trials: list[dict[str, Any]]
    results: dict[str, Any]

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}, {len(self.trials)} trials, best={self.best!r})"


def tune(
    data: Dataset,
    space: Space | Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    task: str = "vae",
    trials: int = 40,
    timeout: float | None = None,
    workers: int | None = None,
    seed: int = 0,
    sampler: str = "tpe",
    figures: str = "auto",
    prune: bool = True,
    yardstick: str | None = None,
    final_seeds: int | None = None,
    finalists: int | None = None,
    final_epochs: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Study:
    """Find the model that fits the data: search, retrain the best over seeds, choose on validation, open test once.

    task: what kind of model, "vae" or "classifier"; yardstick, final_seeds and finalists are by default the task's.
    space: settings to search, as {"latent_dim": (1, 20), "lr": (1e-4, 1e-2, "log")}; by default depth, widths,
        latent size, learning rate, weight decay and dropout. A space given replaces that one: what it does not name
        is not searched. settings: fixed ones, as {"epochs": 50}.
    trials: how many in all. timeout: seconds for search and final training. workers: processes, default one per core.
    out: the study's folder, default runs/<data>-<time>.

    Raises InputError for bad input, before anything is trained. Same seed, same study, whatever `workers` is.
    """
    chosen = None if space is None else Space.parse(space, task_named(task).spec)
    named = {"yardstick": yardstick, "final_seeds": final_seeds, "finalists": finalists, "final_epochs": final_epochs}
    config = Config.create(
        chosen,
        settings or {},
        searched_shape(data, settings or {}, timeout, workers, task),
        trials=trials,
        timeout=timeout,
        seed=seed,
        sampler=sampler,
        figures=figures,
        prune=prune,
        task=task,
        **{name: value for name, value in named.items() if value is not None},
    )
    return begin(config, data, workers=workers, out=out, overwrite=overwrite, watch=watch)


def searched_shape(
    data: Dataset, settings: Mapping[str, Any], timeout: float | None, workers: int | None, task: str = "vae"
) -> tuple[int, ...]:
    """The shape that the default space is to suit: the data's, or a flat one where convolutions would take too long."""
    if task != "vae":  # no other default space tries convolutions beside dense layers
        return data.shape
    fits = data.is_image and balance.affords_convolutions(data, settings, timeout, workers or cores())
    return data.shape if fits else (math.prod(data.shape),)


def begin(
    config: Config,
    data: Dataset,
    *,
    workers: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Study:
    """A new study by a configuration, as `tune` makes it from its arguments."""
    _check(config, data, workers)
    folder = store.new_folder(default_folder(data) if out is None else Path(out), overwrite)
    config.save(folder, data.source)
    return _run(config, data, folder, workers, watch or Watch())


def _check(config: Config, data: Dataset, workers: int | None) -> None:
    """Refuse what cannot run, before anything is written."""
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, but got {workers}.")
    system = config.doing.system(config.yardstick)
    # What depends on the data, at the ends of what is searched.
    dimensions = [dim for dim in config.space.dimensions if dim.name in config.doing.spec.of_data]
    names = [dim.name for dim in dimensions]
    for values in itertools.product(*(dim.choices or (dim.low, dim.high) for dim in dimensions)):
        settings = {**config.settings, **dict(zip(names, values, strict=True))}
        system.resolve(config.doing.spec.create(**settings), data)


def resume(
    folder: str | Path,
    data: Dataset,
    *,
    trials: int | None = None,
    timeout: float | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
) -> Study:
    """Continue a study where it stopped, or with more trials; what is finished stays as it is."""
    folder = Path(folder)
    config, source = Config.read(folder / "config.toml")
    if source.get("fingerprint") != data.source.get("fingerprint"):
        raise StoreError(
            f"{folder} was begun with other data; give the same data and split seed, or begin a new study."
        )
    changes: dict[str, Any] = {"timeout": timeout}
    if trials is not None:
        changes["trials"] = trials
    config = dataclasses.replace(config, **changes)
    _check(config, data, workers)
    return _run(config, data, folder, workers, watch or Watch())


def default_folder(data: Dataset) -> Path:
    """runs/<data>-<time>, with a number where two studies begin in one second."""
    stem = Path("runs") / f"{data.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = stem, 2
    while path.exists():
        path, number = Path(f"{stem}-{number}"), number + 1
    return path


def _run(config: Config, data: Dataset, folder: Path, workers: int | None, watch: Watch) -> Study:
    clock = Clock(config.timeout)
    base = config.doing.system(config.yardstick).resolve(config.doing.spec.create(**config.settings), data)
    count = cores() if workers is None else workers
    work = folder / ".work"
    with (
        one_thread(),
        store.StudyLock(folder),
        _trials(config, folder) as trials,
        Crew(data, base, count, work, config.task, config.yardstick) as crew,
    ):
        _refuse_fewer(config, trials)
        config.save(folder, data.source)  # a resumed study's may be longer
        work.mkdir(exist_ok=True)
        trials.reclaim()
        try:
            return _study(config, data, folder, base, trials, crew, clock, watch)
        except KeyboardInterrupt:
            watch.note(f"stopped; what was finished is kept, and --resume {folder} continues.")
            raise
        finally:
            trials.reclaim()  # whatever stopped us, no trial is left running


def _refuse_fewer(config: Config, trials: Trials) -> None:
    """A total below what a resumed study has already would ask for nothing."""
    finished = sum(t.state in STATES for t in trials.all())
    if config.trials < finished:
        raise InputError(
            f"`trials` is a total, but the study has finished {finished} already and got {config.trials}; "
            f"give more than {finished}, or leave it out."
        )


def _study(
    config: Config,
    data: Dataset,
    folder: Path,
    base: Any,
    trials: Trials,
    crew: Crew,
    clock: Clock,
    watch: Watch,
) -> Study:
    for warning in config.warnings():
        watch.note(warning)
    search = Search(config, folder, crew, trials, watch, base)
    search.has_time = lambda seconds: clock.left > seconds + _reserve(search)
    watch.started(config, [t.number for t in trials.all() if t.state in STATES])
    search.run()
    searched = clock.elapsed
    best, report = _finish(search, clock)
    table = [row for row in (_row(search, t) for t in trials.all()) if row is not None]
    results = _results(search, report, table, {"search": searched, "final": clock.elapsed - searched})
    store.write_json(folder / "results.json", results)
    crew.system.report(folder, results, crew.data)
    shutil.rmtree(search.work)
    return Study(folder, best, table, results)


@contextlib.contextmanager
def _trials(config: Config, folder: Path) -> Iterator[Trials]:
    trials = Trials(folder / "study.db", config.space, config.sampler, config.seed, config.cohort)
    try:
        yield trials
    finally:
        trials.close()


def _reserve(search: Search) -> float:
    """Seconds that the finals of at least the best trial need, with a margin for judging and drawing."""
    ranked = finals.candidates(search.trials.all())[:1]
    if not ranked:
        return 0.0
    epochs = search.config.final_epochs or search.base.epochs
    return 1.15 * search.estimate([search.spec(ranked[0])] * search.config.final_seeds, epochs)


def _finish(search: Search, clock: Clock) -> tuple[Any, dict[str, Any]]:
    """The finals; returns the best model and what the results say of them."""
    numbers, seeds = finals.plan(search, clock.left / 1.15)
    if not numbers:
        return None, {
            "best": None,
            "finalists": [],
            "notes": [_no_winner(search.trials.all(), search.config.doing.nothing)],
        }
    notes = []
    if seeds < search.config.final_seeds or len(numbers) < min(
        search.config.finalists, len(finals.candidates(search.trials.all()))
    ):
        notes.append(f"the time allowed {counted(len(numbers), 'finalist')} over {counted(seeds, 'seed')}.")
    ended = finals.train_anew(search, numbers, seeds)
    search.crew.dismiss()
    if not ended:
        return None, {
            "best": None,
            "finalists": [],
            "notes": ["every finalist failed when it was trained anew."],
        }
    system, winner = search.crew.system, finals.choose(ended)
    tested = finals.open_test(search, winner)
    index, best = finals.best_run(winner), finals.keep_best(search, winner)
    if search.config.figures != "none":
        system.draw(best, search.crew.data, f"{search.name(winner.number, winner.spec)}, best")
    flattered = min(ended, key=lambda f: (f.search, f.number))
    test_mean, test_se = finals.summary(tested, "test", system.headline)
    mean, se = finals.summary(tested, "validation", system.headline)
    same = search.config.final_epochs in (None, search.base.epochs)
    report = {
        "best": {
            "number": winner.number, "spec": best.spec.model_dump(mode="json"), "parameters": winner.parameters,
            "validation": tested[index]["validation"], "test": tested[index]["test"], "seeds": tested,
            "validation_mean": mean, "validation_se": se, "test_mean": test_mean, "test_se": test_se,
        },
        "finalists": [f.as_dict(search.config.measure) for f in ended],
        "optimism": flattered.mean - flattered.search if same else None,  # longer training is no test of luck
        "notes": notes,
    }  # fmt: skip
    return best, report


def _no_winner(trials: list[FrozenTrial], nothing: str) -> str:
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    if complete:
        first = complete[0].user_attrs["reason"]
        of = f"{len(complete)} of {len(trials)} trials ran to the end"
        if len(trials) == 1:
            return f"{nothing}: the only trial collapsed ({first})."
        if len(complete) == 1:
            return f"{nothing}, but only {of}: it collapsed ({first})."
        return f"{nothing}: {of} and all collapsed (of trial {complete[0].number}: {first})."
    failed = [t for t in trials if t.state == TrialState.FAIL]
    reason = f"; the first failure: {failed[0].user_attrs['reason']}" if failed else ""
    return f"no trial was completed{reason or '; allow more time'}."


def _row(search: Search, trial: FrozenTrial) -> dict[str, Any] | None:
    """A trial as the table, the report and the plots show it; None while it is not finished."""
    if trial.state not in STATES:
        return None
    spec, notes, measure = search.spec(trial.number), trial.user_attrs, search.config.measure
    folder = Path("trials") / search.name(trial.number, spec)
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "params": dict(trial.params),
        "idle": [name for name in trial.params if name in spec.idle],
        "spec": spec.model_dump(mode="json"),
        "rungs": {str(k): measure.cost(v) for k, v in sorted(trial.intermediate_values.items())},
        "value": measure.cost(trial.value) if trial.value is not None and trial.state == TrialState.COMPLETE else None,
        **{name: notes.get(name) for name in search.crew.system.facts},
        "epochs": notes.get("epochs"),
        "seconds": notes.get("seconds"),
        "folder": str(folder) if (search.folder / folder).exists() else None,
    }


def _with_before(search: Search, seconds: Mapping[str, float]) -> Mapping[str, float]:
    """The seconds of this sitting, if anything was trained in it, and of those in which the study had ended before."""
    path = search.folder / "results.json"
    if not path.exists():
        return seconds
    before: Mapping[str, float] = store.read_json(path)["seconds"]
    if not search.crew.has_worked:
        return before
    return {part: spent + before[part] for part, spent in seconds.items()}


def _results(
    search: Search, report: dict[str, Any], table: list[dict[str, Any]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    states = [row["state"] for row in table]
    return {
        "study": str(search.folder),
        "name": search.folder.name,
        "data": describe(search.crew.data),
        "task": search.config.task,
        "yardstick": search.config.yardstick,
        "trials": {
            "total": len(table), "complete": states.count("COMPLETE"), "pruned": states.count("PRUNED"),
            "failed": states.count("FAIL"),
        },
        "optimism": None,
        **report,
        **search.crew.system.results(search.crew.feed, report["best"]),
        "seconds": _with_before(search, seconds),
        "epochs": {"spent": sum(row["epochs"] or 0 for row in table), "unpruned": len(table) * search.base.epochs},
        "importance": importance(search.trials.all()),
        "table": table,
    }  # fmt: skip
