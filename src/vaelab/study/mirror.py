"""A copy of a study in a PostgreSQL database, written as the study goes on, for optuna-dashboard and other readers."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial

from vaelab.errors import InputError
from vaelab.study.storage import Storage
from vaelab.study.trials import first_cause, quiet
from vaelab.wording import counted

EVERY = 1.0  # seconds between two looks at the study
LONGEST = 10.0  # seconds between two attempts to reach a database that is away
PATIENCE = 120.0  # seconds for which a study that has ended waits for the database
HURRY = 5.0  # the same if it is interrupted
AWAY = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


class Mirror:
    """Brings a database up to date in a thread of its own. The study itself never waits for it, nor reads it.

    Everything is written at most once: after a lost connection what is there is read again, so that a trial whose
    writing was cut off, or was done without an answer, is continued.
    """

    def __init__(
        self, storage: Storage, name: str, read: Callable[[], Sequence[FrozenTrial]], directions: Sequence[str],
        note: Callable[[str], None],
    ):  # fmt: skip
        """read: the study's trials as they are now. note: called with messages for the user."""
        self.storage, self.name, self.read, self.note = storage, name, read, note
        self.directions = [optuna.study.StudyDirection[each.upper()] for each in directions]
        self._database: optuna.storages.RDBStorage | None = None
        self._study_id = 0
        self._there: list[FrozenTrial] = []  # the trials in the database, as last read or written
        self._seen: list[FrozenTrial] = []  # the study's trials of which they are copies
        self._stop = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._serve, name="mirror", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._connect()
            known = self.read()
            if self._there and not known:
                raise InputError(
                    f"{self.storage} already has a study {self.name!r}; give another `study_name`, or delete that one."
                )
            self._check(known)
        except AWAY as error:
            raise InputError(
                f"cannot use {self.storage}: {self._reason(error)}; start the server, or check the address."
            ) from None
        finally:
            self._leave()  # the thread has its own connection
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._deadline = time.monotonic() + (PATIENCE if kind is None else HURRY)
        self._stop.set()
        self._thread.join(PATIENCE + LONGEST)
        behind = self._behind()
        if behind:
            self.note(f"the mirror in {self.storage} lacks {counted(behind, 'trial')}; resume with it to complete it.")

    def _behind(self) -> int:
        known = self.read()
        return len(known) - sum(a is b for a, b in zip(known, self._seen, strict=False))

    def _serve(self) -> None:
        try:
            self._follow()
        except InputError as error:  # another study has taken the name
            self.note(str(error))
        finally:
            self._leave()

    def _follow(self) -> None:
        pause, is_away = EVERY, False
        while True:
            self._stop.wait(pause) if not self._stop.is_set() else time.sleep(min(pause, 1.0))
            is_last = self._stop.is_set()
            try:
                self._update()
            except AWAY as error:
                self._leave()
                if not is_away:
                    self.note(
                        f"the mirror in {self.storage} is out of reach, the study goes on: {self._reason(error)}."
                    )
                is_away, pause = True, min(2 * pause, LONGEST)
                if is_last and time.monotonic() > self._deadline:
                    return
            else:
                is_away, pause = False, EVERY
                if is_last:
                    return

    def _connect(self) -> None:
        options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 5}}
        with quiet():
            self._database = optuna.storages.RDBStorage(self.storage.full, engine_kwargs=options)
            study = optuna.create_study(
                storage=self._database, study_name=self.name, directions=self.directions, load_if_exists=True
            )
        self._study_id = study._study_id
        self._there = study.get_trials(deepcopy=False)
        self._seen = []

    def _leave(self) -> None:
        if self._database is not None:
            self._database.remove_session()
            self._database.engine.dispose()
            self._database = None

    def _check(self, known: Sequence[FrozenTrial]) -> None:
        """Refuse a study of the same name that is another."""
        for own, other in zip(known, self._there, strict=False):
            if own.params != other.params:
                raise InputError(
                    f"{self.storage} has another study {self.name!r}, with other trials; give another `study_name`."
                )

    def _update(self) -> None:
        known = self.read()
        if self._database is None:
            self._connect()
            self._check(known)
        for number, trial in enumerate(known):
            if number < len(self._seen) and self._seen[number] is trial:
                continue
            self._write(number, trial)
            self._seen[number : number + 1] = [trial]

    def _write(self, number: int, trial: FrozenTrial) -> None:
        """Bring one trial up to date."""
        database, trial = self._database, _still(trial)
        assert database is not None
        if number >= len(self._there):  # all of it in one transaction
            self._there.append(database.get_trial(database.create_new_trial(self._study_id, trial)))
            return
        there = self._there[number]
        if there.state.is_finished():
            return
        own = there._trial_id
        for rung, value in trial.intermediate_values.items():
            if rung not in there.intermediate_values:
                database.set_trial_intermediate_value(own, rung, value)
        for name, fact in trial.user_attrs.items():
            database.set_trial_user_attr(own, name, fact)
        for name, fact in trial.system_attrs.items():
            database.set_trial_system_attr(own, name, fact)
        if trial.state != there.state:
            database.set_trial_state_values(own, trial.state, trial.values)
        self._there[number] = database.get_trial(own)

    def _reason(self, error: BaseException) -> str:
        """The driver's message in one line, without the password."""
        return self.storage.hide(" ".join(str(first_cause(error)).split()))[:300].rstrip(".")


def _still(trial: FrozenTrial) -> FrozenTrial:
    """A copy that Optuna does not change: the study's thread adds attributes to the trial that it runs, in place."""
    still = copy.copy(trial)
    still.user_attrs, still.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)  # each in one step
    return still
