"""The study's database: suggested trials, their values at rungs, their final states. Optuna with SQLite."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from vaelab import signals
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, StoreError
from vaelab.settings.space import Space
from vaelab.store.files import name_of
from vaelab.study.front import spread
from vaelab.study.samplers import BoundedTPE, Window

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
NAME = "vaelab"
Direction = Literal["minimize", "maximize"]
BEGUN = "begun with"  # of the study: what decides its trials
CONSTRAINT = "collapsed"  # above 0: the trial is infeasible
LEAST_RANKED, BEST_RANKED = 8, 5  # minimum number of ranked trials for importance, and how many count as the best


class _Quiet:
    lock = threading.Lock()
    blocks, level = 0, logging.NOTSET  # of `quiet` in all threads, such as a mirror's; before the first of them


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's per-trial log lines and its warnings about experimental features."""
    logger = logging.getLogger("optuna")
    with _Quiet.lock:
        if not _Quiet.blocks:
            _Quiet.level = logger.level
            if logger.level < logging.WARNING:  # setting a level, even the same, empties the caches of all loggers
                logger.setLevel(logging.WARNING)
        _Quiet.blocks += 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        with _Quiet.lock:
            _Quiet.blocks -= 1
            if not _Quiet.blocks and _Quiet.level < logging.WARNING:
                logger.setLevel(_Quiet.level)


def ranked(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Complete and pruned trials, best first: by rungs reached, then by (the first) value."""

    def place(trial: FrozenTrial) -> tuple[float, float]:
        if trial.state == TrialState.COMPLETE:
            return -math.inf, trial.values[0]
        rung = max(trial.intermediate_values)
        return -rung, trial.intermediate_values[rung]

    judged = [
        t for t in trials if t.state == TrialState.COMPLETE or (t.state == TrialState.PRUNED and t.intermediate_values)
    ]
    return sorted(judged, key=place)


def importance(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """How much each setting of the best trials differs from that of all, as shares; {} with less than eight trials.

    Optuna itself uses only complete trials, few of which remain after pruning: here pruned trials count too,
    in the order of `ranked`. (PED-ANOVA: Watanabe et al. 2023.)
    """
    found = ranked(trials)
    if len(found) < LEAST_RANKED:
        return {}
    share = min(0.5, max(0.1, BEST_RANKED / len(found)))
    with quiet():
        study = optuna.create_study()
        study.add_trials(
            [
                optuna.trial.create_trial(params=t.params, distributions=t.distributions, value=place)
                for place, t in enumerate(found)
            ]
        )
        return optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        )


def _without_sync(connection: Any, record: Any) -> None:
    """SQLite need not wait for the disk at every commit."""
    connection.execute("PRAGMA synchronous=NORMAL")


class _Connection(sqlite3.Connection):
    """A connection on which several writes can be one transaction."""

    is_held = False

    def commit(self) -> None:
        if not self.is_held:
            super().commit()


def first_cause(error: BaseException) -> BaseException:
    """What the database's driver raised, of which SQLAlchemy and Optuna made errors of their own."""
    while (cause := error.__cause__ or getattr(error, "orig", None)) is not None:
        error = cause
    return error


@contextlib.contextmanager
def _recording(path: Path) -> Iterator[None]:
    """Errors of the database, which come from three libraries, as one line; a signal waits for the end."""
    try:
        with signals.held():
            yield
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        last = first_cause(error)
        told = " ".join(str(last).split()).rstrip(".")
        # What is no error of the machine is one of the file.
        if isinstance(last, sqlite3.DatabaseError) and not isinstance(last, sqlite3.OperationalError):
            raise _damaged(path, told) from error
        if "no such" in told or "malformed" in told:
            raise _damaged(path, told) from error
        raise StoreError(
            f"cannot write {name_of(path)}: {told}; free some space, or check that its folder can be written, then "
            "resume: finished work is kept."
        ) from error


def _damaged(path: Path, fault: str) -> StoreError:
    return StoreError(
        f"{name_of(path)} is damaged: {fault}; restore it, or move it away and resume: the trials are trained again, "
        "with the same results."
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What Optuna raises about content that it did not write, as one line."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, RuntimeError) as error:
        if isinstance(error, InputError) or type(error).__module__.startswith(("optuna", "sqlalchemy")):
            raise
        raise _damaged(path, " ".join(str(error).split())[:200] or type(error).__name__) from error


def check_trial(trial: FrozenTrial, number: int, space: Space, values: int) -> None:
    """Raise ValueError unless a trial read from a database can be one of this study."""
    if trial.number != number:
        raise ValueError(f"trial {number} is missing")
    if trial.params and set(trial.params) != set(space.names):
        raise ValueError(f"trial {number} has other settings than the study searches")
    for name, value in trial.params.items():
        if not trial.distributions[name]._contains(trial.distributions[name].to_internal_repr(value)):
            raise ValueError(f"{name} of trial {number} is outside of its range")
    if not all(map(math.isfinite, trial.intermediate_values.values())):
        raise ValueError(f"trial {number} has reported a value that is not finite")
    if trial.state in FINISHED and not {"seconds"} <= set(trial.user_attrs):
        raise ValueError(f"trial {number} has no facts")
    if trial.state == TrialState.COMPLETE:
        found = trial.values or []
        if len(found) != values or not all(map(math.isfinite, found)):
            raise ValueError(f"trial {number} is complete without a finite value")


class Trials:
    """Suggests trials in cohorts and records their reports; all state is in the database.

    A study has one writer, which holds its lock. So the database is read once, into a study in memory, which is what
    samplers ask, and from then on only written.
    """

    def __init__(
        self,
        path: Path,
        space: Space,
        sampler: str,
        seed: int,
        size: int,
        directions: Sequence[Direction] = ("minimize",),
        first: Sequence[Mapping[str, Any]] = (),
        identity: Mapping[str, Any] | None = None,
    ):
        """`first` has the parameters of the first trials, which no sampler suggests; `identity` what decides trials,
        which is recorded. Raises InputError if other values are.
        """
        self.space, self.sampler, self.seed, self.size, self.first = space, sampler, seed, size, first
        self._path, self._window = path, Window()
        self._is_ahead = False  # whether this object knows of trials that the database has lost
        if path.exists() and not path.is_file():
            raise _damaged(path, "it is not a file")
        with _recording(path), contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # twice the transactions per second; readers never wait
        with quiet(), _recording(path), _reading(path):
            # A path is no part of a URL, in which ?, % and {} of a folder's name would have a meaning.
            self._storage = optuna.storages.RDBStorage(
                "sqlite://",
                engine_kwargs={
                    "creator": lambda: sqlite3.connect(path, 60, check_same_thread=False, factory=_Connection),
                    "poolclass": sqlalchemy.pool.StaticPool,
                    "pool_reset_on_return": None,  # a rollback, which would undo what is written together
                },
            )
            # With a write-ahead log, a power cut can lose the last commits but never half of one. A lost trial is
            # trained again, with the same result.
            sqlalchemy.event.listen(self._storage.engine, "connect", _without_sync)
            self._storage.engine.dispose()
            stored = optuna.create_study(
                storage=self._storage, study_name=NAME, directions=directions, load_if_exists=True
            )
            self._study_id = stored._study_id
            known = stored.get_trials(deepcopy=False)
            self._check_begun(
                stored.user_attrs.get(BEGUN), {name: str(value) for name, value in (identity or {}).items()}
            )
            if [each.name.lower() for each in stored.directions] != list(directions):
                raise ValueError("its yardsticks are others")
            for number, trial in enumerate(known):
                check_trial(trial, number, space, len(directions))
            self._ids = [trial._trial_id for trial in known]
            self._study = optuna.create_study(directions=directions)
            self._memory = self._study._storage
            self._study.add_trials(known)
        self._asked: dict[int, optuna.Trial] = {}

    def _check_begun(self, was: Any, identity: Mapping[str, Any]) -> None:
        now = {name: str(value) for name, value in identity.items()}
        if not isinstance(was, dict):
            self._storage.set_study_user_attr(self._study_id, BEGUN, now)
            return
        names = [name for name in dict.fromkeys((*was, *now)) if was.get(name) != now.get(name)]
        told = [f"{name} = {now.get(name, 'not set')} instead of {was.get(name, 'not set')}" for name in names]
        if told:
            raise InputError(
                f"config.toml has changed since {name_of(self._path.parent)} was begun: {', '.join(told)}; put that "
                "back and resume, or start another study from its `config`, with another `out`."
            )

    def close(self) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def all(self) -> list[FrozenTrial]:
        """Every trial that the database holds; none that is still being suggested, which another thread could see."""
        return self._trials[: len(self._ids)]

    @property
    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is in the database whole or not at all, and in a fraction of the time."""
        with quiet(), _recording(self._path), self._storage.engine.connect() as connection:
            held = connection.connection.dbapi_connection
            assert isinstance(held, _Connection)
            outer, held.is_held = held.is_held, True
            try:
                yield
            except BaseException:
                held.is_held, self._is_ahead = outer, True
                held.rollback()
                raise
            held.is_held = outer
            held.commit()

    def reclaim(self) -> int:
        """Requeue the trials that a dead process left running: each keeps its number, parameters and seed."""
        if self._is_ahead:  # the next process will
            return 0
        lost = [t for t in self.all() if t.state == TrialState.RUNNING]
        for trial in lost:
            with _recording(self._path):
                self._storage.set_trial_state_values(self._ids[trial.number], TrialState.WAITING)
            self._memory.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        return len(lost)

    def cohort(self, total: int) -> list[int]:
        """The numbers of the next unfinished cohort, suggested as needed; empty when `total` are finished."""
        trials = self._trials
        first = next((i for i in range(total) if i >= len(trials) or trials[i].state not in FINISHED), total)
        if first == total:
            return []
        start = first // self.size * self.size
        numbers = list(range(start, min(start + self.size, total)))
        asked = [n for n in numbers if n >= len(trials) or trials[n].state == TrialState.WAITING]
        for number in asked:  # takes seconds in a large study; what is interrupted here is suggested again
            self._ask(number)
        with self.together():
            for number in asked:
                if number < len(self._ids):
                    self._storage.set_trial_state_values(self._ids[number], TrialState.RUNNING)
                else:  # all of it in one transaction
                    self._ids.append(self._storage.create_new_trial(self._study_id, self._trials[number]))
        return numbers

    def _ask(self, number: int) -> None:
        """Suggest a trial, in memory."""
        with quiet():
            # A new sampler per trial: its suggestions depend only on the seed, the number and the finished trials.
            self._study.sampler = self._make_sampler(number)
            if len(self._trials) <= number < len(self.first):
                self._study.enqueue_trial(dict(self.first[number]))
            trial = self._study.ask()
            self.space.suggest(trial)
            self._study.sampler = optuna.samplers.RandomSampler()  # a grid sampler would stop the study on tell
        assert trial.number == number, f"asked for trial {number}, got {trial.number}"
        self._asked[number] = trial

    def _make_sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = derive_seed(self.seed, number) % 2**32
        # The grid's order depends on its seed, which must therefore be the study's.
        samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
            "tpe": lambda: BoundedTPE(self._window, seed),
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
            "grid": lambda: optuna.samplers.GridSampler(self.space.grid(), seed=self.seed % 2**32),
        }
        return samplers[self.sampler]()

    def params(self, number: int) -> dict[str, Any]:
        return dict(self._trials[number].params)

    def is_finished(self, number: int) -> bool:
        return self._trials[number].state in FINISHED

    def reports(self, number: int) -> dict[int, float]:
        """A trial's values by rung."""
        return dict(self._trials[number].intermediate_values)

    def reported(self, rung: int, below: int) -> list[float]:
        """The values reported at a rung by trials with numbers below `below`."""
        seen = (trial.intermediate_values for trial in self._trials[:below])
        return [values[rung] for values in seen if rung in values]

    def best(self, below: int) -> float:
        """The lowest value of the complete, feasible trials with numbers below `below`."""
        done = candidates(self._trials[:below])
        return float(self._trials[done[0]].values[0]) if done else math.inf

    def report(self, number: int, rung: int, value: float) -> None:
        trial = self._trials[number]
        if rung not in trial.intermediate_values:
            self._memory.set_trial_intermediate_value(trial._trial_id, rung, value)
            with _recording(self._path):
                self._storage.set_trial_intermediate_value(self._ids[number], rung, value)

    def prune(self, number: int, facts: Mapping[str, Any]) -> None:
        self._tell(number, TrialState.PRUNED, facts)

    def fail(self, number: int, reason: str, facts: Mapping[str, Any]) -> None:
        self._tell(number, TrialState.FAIL, {**facts, "reason": reason})

    def complete(self, number: int, value: float | Sequence[float], feasible: bool, facts: Mapping[str, Any]) -> None:
        with quiet():
            self._asked[number].set_constraint(CONSTRAINT, 0.0 if feasible else 1.0)
        self._tell(number, TrialState.COMPLETE, facts, value)

    def _tell(
        self, number: int, state: TrialState, facts: Mapping[str, Any], value: float | Sequence[float] | None = None
    ) -> None:
        """Ends a trial: in memory, then in the database, its state last."""
        trial = self._asked.pop(number)
        for name, fact in facts.items():
            trial.set_user_attr(name, fact)
        self._study.tell(trial, value, state=state)
        ended, own = self._trials[number], self._ids[number]
        with self.together():
            self._write_facts("user", own, ended.user_attrs)
            self._write_facts("system", own, ended.system_attrs)
            self._storage.set_trial_state_values(own, state, ended.values)

    def _write_facts(self, kind: Literal["user", "system"], trial: int, facts: Mapping[str, Any]) -> None:
        """Attributes of a trial in one statement: Optuna needs a transaction of several for each of them."""
        rows = [{"trial": trial, "key": name, "value": json.dumps(fact)} for name, fact in facts.items()]
        statement = (
            f"INSERT INTO trial_{kind}_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value) "
            "ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
        )
        if rows:
            with self._storage.engine.begin() as connection:
                connection.execute(sqlalchemy.text(statement), rows)


def candidates(trials: Sequence[FrozenTrial]) -> list[int]:
    """Numbers of the complete, feasible trials, best first; with two yardsticks those of the front, spread along it."""
    ok = [t for t in trials if t.state == TrialState.COMPLETE and t.user_attrs["verdict"] == "ok"]
    if ok and len(ok[0].values) > 1:
        return spread({t.number: t.values for t in ok})
    return [t.number for t in sorted(ok, key=lambda t: (t.values[0], t.number))]
