"""`tune`: search, finals, results; one function from a data set to a study folder."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from vaelab import store
from vaelab.data import Dataset
from vaelab.engine import fused
from vaelab.engine.process import one_thread
from vaelab.engine.resolve import budget_text
from vaelab.errors import InputError, StoreError, shown
from vaelab.settings.checks import MOST_WORKERS, whole
from vaelab.store.folders import default_folder
from vaelab.study import balance, finals
from vaelab.study.balance import cores
from vaelab.study.checkpoints import drop_torn
from vaelab.study.config import Config
from vaelab.study.crew import Crew
from vaelab.study.hire import hire
from vaelab.study.ray_options import Ray
from vaelab.study.results import STATES, Study, collect, trial_row, why_no_winner
from vaelab.study.search import MARGIN, Clock, Search
from vaelab.study.storage import Storage
from vaelab.study.task import Task
from vaelab.study.trials import Trials, candidates
from vaelab.study.watch import Watch
from vaelab.wording import counted


def begin(
    config: Config,
    data: Dataset,
    *,
    workers: int | None = None,
    ray: Ray | None = None,
    storage: Storage | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Study:
    """Start a study: search, retrain the best over seeds, choose on validation, open test once."""
    data = config.task.eligible(data)
    config = _decide(config, data, workers)
    base = _base(config, data)
    if ray is not None:
        if not isinstance(ray, Ray):
            raise InputError(f"`ray` must be a Ray, such as Ray('auto'), but got {shown(ray)}.")
        ray.check_device(base.device)
    # goes into config.toml: a resumed study continues with it
    config = dataclasses.replace(config, settings={**config.settings, "engine": base.engine})
    folder = default_folder(data.name) if out is None else Path(out)
    with _mirror(storage, config, folder, list, Watch()):
        pass  # refused before anything is written
    with store.building(folder, overwrite) as place:
        config.save(place, data.source)
        study = _run(config, data, place, workers, ray, storage, watch or Watch())
    return _placed(study, folder, config)


def _decide(config: Config, data: Dataset, workers: int | None) -> Config:
    """The configuration with its space resolved; rejects invalid ones before anything is written."""
    if workers is not None:
        whole("workers", workers, 1, MOST_WORKERS)
    config = config.judged(data.labels is not None)
    task, system = config.task, config.task.system(config.judged_by)
    if config.space is None:

        def affords(settings: Mapping[str, Any]) -> bool:
            if config.timeout is None:
                return True
            spec = system.resolve(task.spec_type.create(**settings), data)
            return balance.affords(system, spec, data, config.timeout, workers or cores())

        config = config.decided(task.default_space(data, config.settings, affords))
    # Data-dependent checks, at the ends of the searched ranges.
    dimensions = [dim for dim in config.searched.dimensions if dim.name in task.spec_type.of_data]
    names = [dim.name for dim in dimensions]
    for values in itertools.product(*(dim.choices or (dim.low, dim.high) for dim in dimensions)):
        settings = {**config.settings, **dict(zip(names, values, strict=True))}
        system.resolve(task.spec_type.create(**settings), data)
    return config


def resume(
    folder: str | Path,
    data: Dataset,
    task: Task,
    *,
    trials: int | None = None,
    timeout: float | None = None,
    workers: int | None = None,
    ray: Ray | None = None,
    storage: Storage | None = None,
    watch: Watch | None = None,
) -> Study:
    """Resume a study, or extend it with more trials; finished work is kept."""
    folder = Path(folder)
    config, source = Config.read(store.unfinished(folder) / "config.toml", task)
    if source.get("fingerprint") != data.source.get("fingerprint"):
        raise StoreError(
            f"{folder} was started with other data; give the same data and split seed, or start a new study."
        )
    data = config.task.eligible(data)
    changes: dict[str, Any] = {"timeout": timeout}
    if trials is not None:
        changes["trials"] = trials
    config = _decide(dataclasses.replace(config, **changes), data, workers)
    with store.continuing(folder) as place:
        study = _run(config, data, place, workers, ray, storage, watch or Watch())
    return _placed(study, store.destination(folder), config)


def _placed(study: Study, folder: Path, config: Config) -> Study:
    """A study that was built beside an older one, now that it has the folder of that."""
    if study.folder.resolve() == folder.resolve():
        return study
    best = None if study.best is None else config.task.system(config.judged_by).load(folder / "best")
    return dataclasses.replace(study, folder=folder, best=best)


def _base(config: Config, data: Dataset) -> Any:
    """The settings of every trial that are not searched, with automatic ones resolved."""
    return config.task.system(config.judged_by).resolve(config.task.spec_type.create(**config.settings), data)


def _run(
    config: Config,
    data: Dataset,
    folder: Path,
    workers: int | None,
    ray: Ray | None,
    storage: Storage | None,
    watch: Watch,
) -> Study:
    clock = Clock(config.timeout)
    base = _base(config, data)
    if base.fuses:
        fused.prepare(config.task.system(config.judged_by).method.kernels)  # before there are workers
    work = folder / ".work"
    with (
        one_thread(),
        _trials(config, folder, base) as trials,
        _mirror(storage, config, folder, trials.all, watch),
        hire(
            data, base, config.task, config.judged_by, workers=workers, ray=ray, scratch=work, note=watch.note
        ) as crew,
    ):
        _refuse_fewer(config, trials)
        if crew.workers > config.cohort < config.trials:
            watch.note(
                f"{crew.workers} workers, but trials are suggested {config.cohort} at a time, so some wait; a study "
                f"with `cohort` = {crew.workers} keeps all busy."
            )
        config.save(folder, data.source)  # a resumed study may have more trials
        work.mkdir(exist_ok=True)
        drop_torn(work, watch.note)
        trials.reclaim()
        was_complete = (folder / "results.json").exists()
        done = sum(t.state in STATES for t in trials.all())
        if was_complete and config.trials > done:
            watch.note(
                f"the study of {counted(done, 'trial')} is extended to {config.trials}, and what is done is kept; if "
                "another trial wins, the test split is opened again, which is told and recorded."
            )
        try:
            study = _study(config, data, folder, base, trials, crew, clock, watch)
            if was_complete and not crew.has_worked:
                watch.note(f"{store.destination(folder)} is finished; there is nothing to resume.")
            return study
        finally:
            trials.reclaim()  # leave no trial running on any exit


def _refuse_fewer(config: Config, trials: Trials) -> None:
    """Reject a total that a resumed study has already reached."""
    finished = sum(t.state in STATES for t in trials.all())
    if config.trials < finished:
        raise InputError(
            f"`trials` is a total, but the study has already finished {finished} and got {config.trials}; "
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
    if config.settings.get("epochs", "auto") == "auto":
        watch.note(budget_text(base, data))
    crew.system.prepare(crew.feed, clock.left)
    search = Search(config, folder, crew, trials, watch, base, clock)
    watch.started(config, [t.number for t in trials.all() if t.state in STATES])
    search.run()
    searched = clock.elapsed
    best, report = _finish(search, clock)
    table = [row for row in (trial_row(search, t) for t in trials.all()) if row is not None]
    results = collect(search, report, best, table, {"search": searched, "final": clock.elapsed - searched})
    store.write_json(folder / "results.json", results)
    crew.system.report(folder, results, crew.data)
    store.discard(search.work)
    return Study(folder, best, table, results)


@contextlib.contextmanager
def _trials(config: Config, folder: Path, base: Any) -> Iterator[Trials]:
    known = [config.searched.nearest(base, changes) for changes in config.task.first]
    first = [] if config.sampler == "grid" else [params for params in known if params is not None]
    trials = Trials(
        folder / "study.db",
        config.searched,
        config.sampler,
        config.seed,
        config.cohort,
        ["minimize"] * len(config.yardsticks),
        first,
        config.identity,
    )
    try:
        yield trials
    finally:
        trials.close()


def _mirror(
    storage: Storage | None, config: Config, folder: Path, read: Callable[[], Sequence[FrozenTrial]], watch: Watch
) -> contextlib.AbstractContextManager[object]:
    if storage is None:
        return contextlib.nullcontext()
    from vaelab.study.mirror import Mirror  # psycopg is an extra

    name = storage.study_name or store.destination(folder).resolve().name
    return Mirror(storage, name, read, ["minimize"] * len(config.yardsticks), watch.note)


def _finish(search: Search, clock: Clock) -> tuple[Any, dict[str, Any]]:
    """The finals; returns the best model and the entries for the results."""
    crew = search.crew
    numbers, seeds = finals.plan(search, clock.left / MARGIN)
    if not numbers:
        return None, {
            "best": None,
            "finalists": [],
            "notes": [why_no_winner(search.trials.all(), functools.partial(crew.system.nothing, crew.feed))],
        }
    notes = []
    if seeds < search.config.final_seeds or len(numbers) < min(
        search.config.finalists, len(candidates(search.trials.all()))
    ):
        notes.append(f"the time limit allowed {counted(len(numbers), 'finalist')} over {counted(seeds, 'seed')}.")
    finished = sum(t.state in STATES for t in search.trials.all())
    if finished < search.config.trials:
        notes.append(f"the time limit ended the search after {finished} of {counted(search.config.trials, 'trial')}.")
    ended = finals.retrain(search, numbers, seeds)
    search.crew.dismiss()
    if not ended:
        return None, {
            "best": None,
            "finalists": [],
            "notes": ["every finalist failed when it was retrained."],
        }
    system, winner = search.crew.system, finals.choose(ended)
    tested, before = finals.open_test(search, winner), finals.tested_before(search, winner)
    if before:
        notes.append(
            f"the test split was opened {len(before) + 1} times: trial {', '.join(map(str, before))} had won and was "
            "tested before the study had more trials. Its figures say what new data would, unless more trials were "
            "asked for because of them."
        )
    index, best = finals.best_run(winner), finals.keep_best(search, winner)
    if search.config.figures != "none":
        system.draw(best, search.crew.data, f"{search.name(winner.number, winner.spec)}, best")
    flattered = min(ended, key=lambda f: (f.search, f.number))
    test_mean, test_se = finals.summary(tested, "test", system.headline)
    mean, se = finals.summary(tested, "validation", system.headline)
    yardsticks = search.config.yardsticks
    same = search.config.final_epochs in (None, int(search.base.epochs)) and len(yardsticks) == 1
    of_two: dict[str, Any] = {}
    if len(yardsticks) > 1:
        of_two = {"front": finals.on_front(ended), "means": finals.summaries(tested, yardsticks)}
    report = {
        "best": {
            "number": winner.number, "spec": best.spec.model_dump(mode="json"), "parameters": winner.parameters,
            "validation": tested[index]["validation"], "test": tested[index]["test"], "seeds": tested,
            "test_openings": 1 + len(before),
            "validation_mean": mean, "validation_se": se, "test_mean": test_mean, "test_se": test_se,
        },
        "finalists": [f.as_dict(yardsticks) for f in ended],
        **of_two,
        # only comparable with equal training length, and with one yardstick
        "optimism": flattered.mean - flattered.search[0] if same else None,
        "notes": notes,
    }  # fmt: skip
    return best, report
