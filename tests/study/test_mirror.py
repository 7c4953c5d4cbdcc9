"""The mirror of a study in PostgreSQL: a real server, which is restarted and kept away while the study goes on."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial

from commands import vaelab
from postgresql import PASSWORD, Server, a_server, content, mirrored
from vaelab.errors import InputError
from vaelab.settings.space import Space
from vaelab.study import mirror
from vaelab.study.mirror import Mirror
from vaelab.study.storage import Storage
from vaelab.study.trials import Trials
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.slow

SPACE = Space.parse({"lr": (1e-4, 1e-2, "log"), "latent_dim": (2, 8), "optimizer": ["adam", "sgd"]}, Spec)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'vaelab[postgresql]'")
    try:
        with a_server() as running:
            yield running
    except FileNotFoundError as missing:
        pytest.fail(str(missing)) if os.environ.get("VAELAB_REQUIRE_POSTGRESQL") == "1" else pytest.skip(str(missing))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"EVERY": 0.02, "LONGEST": 0.2, "PATIENCE": 20.0}.items():
        monkeypatch.setattr(mirror, name, seconds)


@pytest.fixture
def trials(tmp_path: Path) -> Iterator[Trials]:
    with contextlib.closing(Trials(tmp_path / "study.db", SPACE, "random", 0, 4)) as made:
        yield made


def advance(trials: Trials, total: int) -> None:
    """Finish a cohort, in every way in which trials end."""
    for number in trials.cohort(total):
        trials.report(number, 1, number / 3)
        if number % 4 == 1:
            trials.prune(number, {"seconds": 0.5})
        elif number % 4 == 2:
            trials.fail(number, "the loss is NaN", {"seconds": 0.25})
        else:
            trials.complete(number, 1 / (number + 1), number % 4 == 0, {"verdict": "ok", "rate": 1.5})


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_trial_is_seen_only_with_all_of_its_settings(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, suggest = [], Space.suggest

    def looked(space: Space, trial: optuna.Trial) -> dict[str, Any]:
        seen.append(len(trials.all()))
        return suggest(space, trial)

    monkeypatch.setattr(Space, "suggest", looked)
    trials.cohort(4)
    assert seen == [0] * 4
    assert [set(trial.params) for trial in trials.all()] == [set(SPACE.names)] * 4


def test_the_mirror_has_what_the_study_has_though_the_server_is_restarted(
    server: Server, trials: Trials, tmp_path: Path
) -> None:
    notes: list[str] = []
    with Mirror(Storage(server.url), "restarted", trials.all, ["minimize"], notes.append):
        advance(trials, 4)
        asked = trials.cohort(8)  # running, when the server goes
        eventually(lambda: mirrored(server, "restarted") == content(trials.all()))
        server.stop()
        for number in asked:
            trials.report(number, 1, 0.5)
        eventually(lambda: len(notes) == 1)
        server.start()
        for number in asked:
            trials.complete(number, 1.0, True, {"verdict": "ok"})
        eventually(lambda: mirrored(server, "restarted") == content(trials.all()))
        server.stop()
        advance(trials, 12)
        server.start()
    assert mirrored(server, "restarted") == content(trials.all())
    assert notes[0].startswith(f"the mirror in postgresql://ann:***@127.0.0.1:{server.port}/postgres is out of reach")
    assert not any(PASSWORD in note or "s3cret" in note for note in notes)

    # Killed and resumed: what was done is known, and what went on unseen is added.
    advance(trials, 16)
    with Mirror(Storage(server.url), "restarted", trials.all, ["minimize"], notes.append):
        pass
    assert mirrored(server, "restarted") == content(trials.all())


def test_what_a_study_adds_to_a_trial_while_it_is_copied_changes_no_copy(
    server: Server, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, seen = optuna.storages.RDBStorage.create_new_trial, []

    def created(storage: optuna.storages.RDBStorage, study_id: int, template: FrozenTrial | None = None) -> int:
        if threading.current_thread().name == "mirror":
            assert template is not None
            before = [dict(template.user_attrs), dict(template.system_attrs)]
            running = trials._asked[template.number]
            running.set_user_attr("seconds", 1.0)
            running.set_constraint("collapsed", 1.0)
            seen.append([template.user_attrs, template.system_attrs] == before)
        return create(storage, study_id, template)

    monkeypatch.setattr(optuna.storages.RDBStorage, "create_new_trial", created)
    with Mirror(Storage(server.url), "still", trials.all, ["minimize"], print):
        trials.cohort(4)
        eventually(lambda: len(seen) == 4)
    assert seen == [True] * 4


def test_a_server_that_stays_away_costs_the_study_nothing_but_a_note(
    server: Server, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PATIENCE", 0.1)
    notes: list[str] = []
    with Mirror(Storage(server.url), "away", trials.all, ["minimize"], notes.append):
        server.stop()
        advance(trials, 4)
    assert "lacks 4 trials; resume with it to complete it" in notes[-1]
    server.start()


def test_another_study_of_the_same_name_is_refused(server: Server, trials: Trials, tmp_path: Path) -> None:
    with Mirror(Storage(server.url), "taken", trials.all, ["minimize"], print):
        advance(trials, 4)
    for count, message in (
        (0, "already has a study 'taken'; give another"),
        (4, "has another study 'taken', with oth"),
    ):
        with contextlib.closing(Trials(tmp_path / f"{count}.db", SPACE, "random", 1, 4)) as other:
            if count:
                advance(other, count)
            with (
                pytest.raises(InputError, match=message),
                Mirror(Storage(server.url), "taken", other.all, ["minimize"], print),
            ):
                pass


def test_a_study_of_the_command_line_is_mirrored_and_its_password_is_nowhere(server: Server, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 2)) @ np.ones((2, 4)))
    settings = ["--set", "epochs=1", "--set", "hidden=8", "--search", "latent_dim=1..3"]
    options = [*settings, "--workers", "1", "--figures", "none", "--final-seeds", "1"]
    done = vaelab(
        ["tune", "x.npy", "--trials", "2", *options, "--out", "s", "--storage", server.url, "--study-name", "told"],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [row[1].name for row in mirrored(server, "told")] == ["COMPLETE"] * 2
    wrong = server.url.replace("s3cret", "s3cret0")
    refused = vaelab(["tune", "x.npy", "--out", "t", *options, "--storage", wrong], tmp_path)
    assert refused.returncode == 2
    assert "password authentication failed" in refused.stderr
    assert not (tmp_path / "t").exists()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for text in (done.stdout, done.stderr, refused.stderr, *files):
        assert (b"s3cret" if isinstance(text, bytes) else "s3cret") not in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:p%40ss@db:5432/studies", "postgresql://ann:***@db:5432/studies"),
        ("postgresql://db/studies?password=p@ss", "postgresql://db/studies"),
        ("postgres://ann@db/studies", "postgresql://ann@db/studies"),
        ("postgresql:///studies", "postgresql:///studies"),
    ],
)
def test_passwords_of_urls_are_not_shown(url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    storage = Storage(url)
    assert str(storage) == shown
    assert "p@ss" not in repr(storage)
    if "ss@db" in url or "password" in url:
        told = storage.hide(f"{url}: no password p@ss or p%40ss")
        assert not any(form in told for form in ("p@ss", "p%40ss"))


@pytest.mark.parametrize(
    "url", ["", "study.db", "sqlite:///study.db", "mysql://ann:p@ss@db/x", "postgresql://db:port/x"]
)
def test_what_is_no_postgresql_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InputError, match="`storage` must ") as e:
        Storage(url)
    assert "p@ss" not in str(e.value)
