"""Studies as a user meets them: the command line in processes of its own, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from commands import start, vaelab
from vaelab.study import finals

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

TUNE = [
    "tune", "digits", "--search", "latent_dim=2..8", "--search", "lr=1e-3..1e-2:log", "--search", "width=16..48",
    "--set", "layers=1", "--set", "epochs=12", "--trials", "9", "--final-seeds", "2", "--figures", "none",
]  # fmt: skip


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return vaelab([*map(str, arguments)], Path.cwd())


def figures(folder: Path) -> dict[str, Any]:
    """What must not depend on workers, kills or time."""
    results = json.loads((folder / "results.json").read_text())
    best = results["best"]
    table = [{k: v for k, v in row.items() if k != "seconds"} for row in results["table"]]
    finalists = sorted(results["finalists"], key=lambda f: f["number"])
    return {"table": table, "best": best, "finalists": finalists, "optimism": results["optimism"]}


def states(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "study.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = database.execute("SELECT number, state FROM trials ORDER BY number").fetchall()
    database.close()
    assert [number for number, _ in rows] == list(range(len(rows)))
    return [state for _, state in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "one worker"
    done = run(*TUNE, "--workers", "1", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_workers_find_what_one_finds(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    done = run(*TUNE, "--workers", "2", "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert figures(folder) == figures(undisturbed)
    printed = json.loads(done.stdout)
    assert printed["trials"]["total"] == 9
    assert printed["best"]["spec"]["epochs"] == 12
    assert not (folder / ".work").exists()


def wait_for(condition: Any, process: BaseProcess) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.is_alive(), "the study ended before it could be disturbed"
        assert time.monotonic() < deadline, "the study did not come so far"
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()]


@pytest.mark.parametrize(
    ("moment", "workers"),  # two, whose imports take seconds, where jobs of theirs are cut
    [("cohort asked", 1), ("first rung", 2), ("finals", 1), ("first finalist", 1)],
)
def test_killed_and_resumed_is_as_if_never_killed(undisturbed: Path, tmp_path: Path, moment: str, workers: int) -> None:
    folder = tmp_path / "killed"
    process = start([*TUNE, "--workers", str(workers), "--out", folder])
    work, database = folder / ".work", folder / "study.db"
    checks = {
        "cohort asked": lambda: database.exists() and count(database) >= 2,
        "first rung": lambda: any(work.glob("0*.checkpoint")),
        "finals": lambda: (folder / "finals").exists(),
        "first finalist": lambda: any(folder.glob("finals/*/manifest.json")),
    }
    wait_for(checks[moment], process)
    theirs = children(process.pid)
    process.kill()
    process.join()
    wait_until_gone(theirs)
    done = run("tune", "--resume", folder, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert figures(folder) == figures(undisturbed)
    assert set(states(folder)) <= {"COMPLETE", "PRUNED"}


def count(database: Path) -> int:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0
    finally:
        connection.close()


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def test_a_killed_worker_is_replaced_and_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    """In a folder whose name means something in URLs and format strings, beside files that are named like modules."""
    for module in ("random", "queue", "numpy"):
        (tmp_path / f"{module}.py").write_text("raise RuntimeError('a file of the user')")
    folder = tmp_path / "two%20workers?{0} #1"
    there = f"import os, sys; sys.path[:] = filter(None, sys.path); os.chdir({str(tmp_path)!r})"  # as the command does
    process = start([*TUNE, "--workers", "2", "--out", folder], code=there)
    wait_for(lambda: len(children(process.pid)) == 2 and count(folder / "study.db") >= 3, process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    process.join(120)
    assert process.exitcode == 0
    assert figures(folder) == figures(undisturbed)


@pytest.mark.parametrize(("sent", "code", "workers"), [(signal.SIGINT, 130, "2"), (signal.SIGTERM, 143, "1")])
def test_a_stopped_study_hands_its_trials_back(
    undisturbed: Path, tmp_path: Path, sent: int, code: int, workers: str
) -> None:
    folder = tmp_path / "stopped"
    process = start([*TUNE, "--workers", workers, "--out", folder], tmp_path / "told")
    wait_for(lambda: any((folder / ".work").glob("0*.checkpoint")), process)
    workers, began = children(process.pid), time.monotonic()
    os.kill(process.pid, sent)
    process.join(30)
    assert process.exitcode == code
    assert time.monotonic() - began < 5
    assert "Traceback" not in (tmp_path / "told").read_text()
    wait_until_gone(workers)
    assert "RUNNING" not in states(folder)
    done = run("tune", "--resume", folder, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert figures(folder) == figures(undisturbed)


def test_more_trials_leave_the_finished_ones_as_they_are(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shorter"
    shorter = [*TUNE[: TUNE.index("--trials")], "--trials", "5", *TUNE[TUNE.index("--final-seeds") :]]
    assert run(*shorter, "--workers", "1", "--out", folder).returncode == 0
    before = figures(folder)["table"]
    done = run("tune", "--resume", folder, "--trials", "9", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "the study of 5 trials is extended to 9" in done.stderr
    after = figures(folder)["table"]
    assert len(after) == 9
    assert after[:4] == before[:4] == figures(undisturbed)["table"][:4]


def test_a_complete_study_resumes_without_training_or_opening_test_again(undisturbed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(undisturbed, tmp_path / "complete")
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("finals/*/model.safetensors")}
    assert len(trained) >= 2
    done = run("tune", "--resume", folder, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "is finished; there is nothing to resume" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.glob("finals/*/model.safetensors")} == trained
    assert figures(folder) == figures(undisturbed)
    assert json.loads((folder / "best" / "metrics.json").read_text())["test_opened"] == 1
    config = (folder / "config.toml").read_text()
    fewer = run("tune", "--resume", folder, "--trials", "5")
    assert fewer.returncode == 2
    assert "is a total, but the study has already finished 9 and got 5" in fewer.stderr
    assert fewer.stderr.count("\n") == 1
    assert (folder / "config.toml").read_text() == config


def test_another_winner_opens_test_again_which_is_told(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after more trials, of which another one wins."""
    folder = shutil.copytree(undisturbed, tmp_path / "other")
    first = json.loads((folder / "results.json").read_text())["best"]
    assert first["test_openings"] == 1
    monkeypatch.setattr(finals, "choose", lambda ended: next(f for f in ended if f.number != first["number"]))
    assert run("tune", "--resume", folder, "--workers", "1").returncode == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["best"]["number"] != first["number"]
    assert results["best"]["test_openings"] == 2
    said = f"the test split was opened 2 times: trial {first['number']} had won"
    assert any(note.startswith(said) for note in results["notes"])
    assert said in (folder / "report.html").read_text()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    process = start([*TUNE, "--workers", "1", "--out", folder])
    wait_for(lambda: (folder / "study.db").exists(), process)
    done = run("tune", "--resume", folder, "--workers", "1")
    process.kill()
    process.join()
    assert done.returncode == 2
    assert "in use by" in done.stderr
    assert done.stderr.count("\n") == 1
