"""New folders and the lock: other people's folders, other processes."""

import os
import signal
import subprocess
import sys

import pytest

from stored import build, refusal, run_python, snapshot, write_run
from vaelab.errors import InputError, StoreError, TrainingFailed
from vaelab.origin import carrying_out
from vaelab.store import (
    StudyLock,
    building,
    commands,
    continuing,
    read_json,
    unfinished,
    write_output,
)
from vaelab.store.folders import is_occupied
from vaelab.store.temporary import sweep, temporary

# New folders


def test_a_folder_whose_name_is_no_text_is_not_made(tmp_path):
    with pytest.raises(StoreError, match="is no name in UTF-8; choose another"):
        build(tmp_path / "l\udcf6")
    assert not list(tmp_path.iterdir())


def test_a_new_folder_is_made_or_taken_if_empty(tmp_path):
    folder = build(tmp_path / "a" / "b")
    assert sorted(os.listdir(folder)) == [".lock", "config.toml"]
    (tmp_path / "empty").mkdir()
    build(str(tmp_path / "empty"))
    assert (tmp_path / "empty" / "config.toml").read_text() == "new"


def test_what_is_there_is_not_touched(tmp_path):
    run = write_run(tmp_path / "run")
    before = snapshot(run)
    message = refusal(build, run)
    assert "exists; choose another `out`, or `overwrite` to replace it, or `resume` to continue." in message
    assert snapshot(run) == before
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("names", [("config.toml", "study.db"), ("config.toml", ".lock"), ("study.db", ".lock")])
def test_a_study_is_replaced_once_the_new_one_is_whole(tmp_path, names):
    folder = tmp_path / "study"
    (folder / "trials" / "0001").mkdir(parents=True)
    for name in names:
        (folder / name).write_text("old")
    before = {name: text for name, text in snapshot(folder).items() if name.name != ".lock"}
    with building(folder, overwrite=True) as place:
        assert place == tmp_path / "study.partial"
        assert {name: text for name, text in snapshot(folder).items() if name.name != ".lock"} == before
        (place / "config.toml").write_text("new")
    assert os.listdir(tmp_path) == ["study"]
    assert (folder / "config.toml").read_text() == "new"
    assert not (folder / "trials").exists()


def fail(folder, error):
    """A run that is begun in place of another one, and ends by an error."""
    with building(folder, overwrite=True, aside=True) as place:
        (place / "start0.json").write_text("checkpoint")
        raise error("why")


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreError, OSError])
def test_the_old_run_survives_an_interruption_of_the_new_one_which_can_be_resumed(tmp_path, error):
    run = write_run(tmp_path / "run")
    before = snapshot(run)
    with pytest.raises(error):
        fail(run, error)
    assert snapshot(run) == before
    assert sorted(os.listdir(tmp_path)) == ["run", "run.partial"]
    with continuing(run) as place:
        assert (place / "start0.json").read_text() == "checkpoint"
        write_run(place / "run", metrics={"neg_elbo": 1.0})
    assert read_json(run / "metrics.json") == {"neg_elbo": 1.0}
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [TrainingFailed, InputError])
def test_the_old_run_survives_a_new_one_that_fails_by_its_nature_and_leaves_nothing(tmp_path, error):
    run = write_run(tmp_path / "run")
    before = snapshot(run)
    with pytest.raises(error):
        fail(run, error)
    assert snapshot(run) == before
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_where_nothing_was_begun(tmp_path, error):
    with pytest.raises(error), building(tmp_path / "run", aside=True):
        raise error
    assert os.listdir(tmp_path) == []
    write_run(tmp_path / "run")
    with pytest.raises(error), building(tmp_path / "run", overwrite=True):
        raise error
    assert os.listdir(tmp_path) == ["run"]
    (tmp_path / "own").mkdir()
    with pytest.raises(error), building(tmp_path / "own"):
        raise error
    assert (tmp_path / "own").is_dir()


def test_an_interrupted_run_is_overwritten_only_on_request(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "run", KeyboardInterrupt)
    (tmp_path / "run.partial" / "config.toml").write_text("")
    assert "was interrupted; `resume` continues it, or `overwrite` it" in refusal(build, tmp_path / "run")
    build(tmp_path / "run", overwrite=True)
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("left", [[], [".lock"], ["temporary"], [".lock", "temporary"]])
def test_what_a_killed_start_has_left_is_no_obstacle(tmp_path, left):
    folder = tmp_path / "study"
    folder.mkdir()
    for name in left:
        (folder / (dead_name() if name == "temporary" else name)).write_text("")
    build(folder)
    assert sorted(os.listdir(folder)) == [".lock", "config.toml"]


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "five years of work"},
        {"manifest.json": '{"manifest_version": 3, "name": "a web extension"}', "app.js": ""},
        {"manifest.json": "[1, 2]"},
        {"manifest.json": "damaged"},
        {"config.toml": "theme = 'a web site'", "content.md": ""},
        {"study.db": "somebody's Optuna study"},
    ],
)
def test_the_folder_of_somebody_else_is_never_replaced(tmp_path, files):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    before = snapshot(folder)
    for call in (build, write_run):
        assert "exists" in refusal(call, folder)
        assert "is not a vaelab run or study" in refusal(call, folder, overwrite=True)
    assert snapshot(folder) == before
    assert os.listdir(tmp_path) == ["theirs"]


def test_a_file_or_dangling_link_is_never_replaced(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        assert "exists" in refusal(build, tmp_path / name)
        assert "is not a vaelab run" in refusal(build, tmp_path / name, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_a_run_stays_a_link(tmp_path):
    write_run(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    build(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path / "real")) == [".lock", "config.toml"]
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_a_study_in_use_is_not_replaced(tmp_path):
    folder = tmp_path / "study"
    with building(folder):
        (folder / "config.toml").write_text("")
        for overwrite in (False, True):
            assert "exists" in refusal(build, folder) if not overwrite else True
        assert f"in use by process {os.getpid()}" in refusal(build, folder, overwrite=True)
        assert sorted(os.listdir(folder)) == [".lock", "config.toml"]
    build(folder, overwrite=True)
    assert (folder / "config.toml").read_text() == "new"


def test_the_names_of_unfinished_runs_are_not_given_to_others(tmp_path):
    assert "has the name of an unfinished run" in refusal(build, tmp_path / "a.partial")


# Temporary files


def dead_name():
    """The name of a temporary file of a process that has ended."""
    code = "from pathlib import Path; from vaelab.store.temporary import temporary; print(temporary(Path('.')))"
    return run_python(code).stdout.strip()


def test_temporary_files_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path):
    dead, own = tmp_path / "in" / dead_name(), temporary(tmp_path / "in")
    other = tmp_path / "in" / f".tmp-00000000-{os.getpid()}-00000000-1"  # of another machine
    dead.mkdir(parents=True)
    for file in (dead / "file", own, other, tmp_path / "in" / ".tmp-mine"):
        file.write_text("")
    with StudyLock(tmp_path):
        assert sorted(os.listdir(tmp_path / "in")) == sorted([".tmp-mine", own.name, other.name])
    reused = own.with_name(own.name.replace(own.name.split("-")[3], "00000000"))  # a dead process of our number
    reused.write_text("")
    write_output(tmp_path / "in" / "new" / "x.csv", "1")
    sweep(tmp_path / "in")
    assert not reused.exists()
    assert own.exists()


def test_what_is_to_be_resumed_is_found_and_remains_beside_it_are_swept(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / dead_name()).mkdir()
    assert unfinished(tmp_path / "run") == tmp_path / "run"
    assert os.listdir(tmp_path) == ["run"]
    (tmp_path / "run.partial").mkdir()
    assert unfinished(tmp_path / "run") == unfinished(tmp_path / "run.partial") == tmp_path / "run.partial"


# The lock

HOLD = """
import sys, time
from vaelab.store import StudyLock
with StudyLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_is_refused_while_another_process_has_it_and_freed_by_its_death(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        lock = StudyLock(tmp_path)
        for _ in range(2):
            message = refusal(lock.__enter__)
            assert f"is in use by process {other.pid}; wait until it finishes" in message
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        other.stdout.close()
    with lock:
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    with lock, pytest.raises(RuntimeError, match="already held"):
        lock.__enter__()


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    code = """
import os, sys, time
from vaelab.store import StudyLock
with StudyLock(sys.argv[1]):
    child = os.fork()
    if not child:
        os.close(1), os.close(2)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
"""
    done = run_python(code, tmp_path)
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout)
    try:
        os.kill(child, 0)  # it lives, and yet:
        with StudyLock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_does_not_free_the_parents_lock(tmp_path):
    code = """
import os, sys
from vaelab.errors import StoreError
from vaelab.store import StudyLock
lock = StudyLock(sys.argv[1])
lock.__enter__()
child = os.fork()
if not child:
    lock.__exit__(None, None, None)
    try:
        StudyLock(sys.argv[1]).__enter__()
    except StoreError:
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(code, tmp_path).stdout == "7\n"


def test_a_lock_needs_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "none", tmp_path / "file"):
        assert "cannot lock" in refusal(StudyLock(folder).__enter__)
    (tmp_path / "victim").write_text("keep")
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    assert "cannot lock" in refusal(StudyLock(tmp_path).__enter__)
    assert (tmp_path / "victim").read_text() == "keep"


def test_store_errors_are_input_errors_and_names_stay_on_one_line(tmp_path):
    assert issubclass(StoreError, InputError)
    assert "\\n" in refusal(read_json, tmp_path / "a\nb.json")


def test_a_folder_knows_what_made_it_and_what_resumed_it(tmp_path):
    with pytest.raises(KeyboardInterrupt), carrying_out("vaelab train x"), building(tmp_path / "run", aside=True):
        raise KeyboardInterrupt
    assert not is_occupied(tmp_path / "run")
    with carrying_out("vaelab train x"), building(tmp_path / "run") as place:
        (place / "config.toml").write_text("")
    with carrying_out("vaelab train --resume"), continuing(tmp_path / "run") as place:
        assert commands(place) == ["vaelab train x", "vaelab train --resume"]
    with carrying_out("vaelab.train(x)"), building(tmp_path / "run", overwrite=True, aside=True) as place:
        (place / "run").mkdir()
        (place / "run" / "config.toml").write_text("")
        assert commands(place / "run") == ["vaelab.train(x)"]
    assert commands(tmp_path / "run") == ["vaelab.train(x)"]
    assert sorted(os.listdir(tmp_path / "run")) == ["commands.json", "config.toml"]
