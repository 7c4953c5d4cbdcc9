"""Databases of studies: folders whose names mean something elsewhere, and what cannot be written."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from vaelab import signals
from vaelab.errors import StoreError
from vaelab.settings.space import Space
from vaelab.study.trials import Trials, quiet
from vaelab.vae.spec import Spec


@pytest.mark.parametrize("name", ["what?one", "a%20b", "50%de", "{0}", "#1", "file:x", "%s"])
def test_each_folder_has_a_database_of_its_own(name: str, tmp_path: Path) -> None:
    space = Space.parse({"lr": (1e-4, 1e-2, "log")}, Spec)
    for folder, count in ((tmp_path / name, 2), (tmp_path / "what?two", 1)):
        folder.mkdir()
        with contextlib.closing(Trials(folder / "study.db", space, "random", 0, count)) as trials:
            trials.cohort(count)
        with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
            assert database.execute("SELECT count(*) FROM trials").fetchone() == (count,)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "what?two"])


def test_a_database_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    trials = Trials(tmp_path / "study.db", Space.parse({"lr": (1e-4, 1e-2, "log")}, Spec), "random", 0, 1)
    with contextlib.closing(trials):
        (number,) = trials.cohort(1)
        trials._storage.engine.dispose()
        limit = lambda connection, _: connection.execute("PRAGMA query_only=ON")  # noqa: E731
        sqlalchemy.event.listen(trials._storage.engine, "connect", limit)
        with pytest.raises(
            StoreError, match=r"cannot write .*study.db: attempt to write a readonly database; free"
        ) as e:
            trials.report(number, 1, 0.5)
        assert "\n" not in str(e.value)


def test_a_thread_that_leaves_does_not_make_another_loud() -> None:
    logger = logging.getLogger("optuna")
    was, entered, leave = logger.level, threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    try:
        logger.setLevel(logging.INFO)
        with quiet():
            thread.start()
            assert entered.wait(10)
        assert logger.level == logging.WARNING
        leave.set()
        thread.join()
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(was)


def test_a_cohort_that_is_interrupted_while_it_is_suggested_is_suggested_again_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space.parse({"lr": (1e-4, 1e-2, "log"), "latent_dim": (2, 8)}, Spec)
    suggest, found = Space.suggest, {}

    def begin(name: str) -> contextlib.closing[Trials]:
        return contextlib.closing(Trials(tmp_path / f"{name}.db", space, "tpe", 0, 4))

    def finish(trials: Trials, total: int) -> None:
        for number in trials.cohort(total):
            trials.complete(number, number / 3, True, {"verdict": "ok", "seconds": 1.0})

    def pressed(self: Space, trial: optuna.Trial) -> dict[str, Any]:
        assert signals._state.depth == 0  # a signal is not held back
        if trial.number == 6:
            raise KeyboardInterrupt
        return suggest(self, trial)

    for name in ("whole", "interrupted"):
        with begin(name) as trials:
            finish(trials, 4)
            if name == "interrupted":
                monkeypatch.setattr(Space, "suggest", pressed)
                with pytest.raises(KeyboardInterrupt):
                    trials.cohort(8)
                assert trials.reclaim() == 0
                monkeypatch.setattr(Space, "suggest", suggest)
        with begin(name) as trials:
            assert len(trials.all()) == 4
            finish(trials, 8)
            found[name] = [(trial.params, trial.state, trial.values) for trial in trials.all()]
    assert found["interrupted"] == found["whole"]
