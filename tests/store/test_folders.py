"""New folders and the lock: other people's folders, other processes."""

import os
import signal
import subprocess
import sys

import pytest

from stored import refusal, run_python, snapshot, write_run
from vaelab.errors import InputError, StoreError
from vaelab.store import (
    StudyLock,
    new_folder,
    read_json,
)

# New folders


def test_a_folder_whose_name_is_no_text_is_not_made(tmp_path):
    with pytest.raises(StoreError, match="is no name in UTF-8; choose another"):
        new_folder(tmp_path / "l\udcf6")
    assert not list(tmp_path.iterdir())


def test_new_folder_is_made_or_taken_if_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    assert new_folder(folder) == folder
    assert folder.is_dir()
    assert new_folder(str(folder)) == folder


def test_what_is_there_is_not_touched(tmp_path):
    run = write_run(tmp_path / "run")
    before = snapshot(run)
    message = refusal(new_folder, run)
    assert "exists; choose another `out`, or `overwrite` to replace it, or `resume` to continue." in message
    assert snapshot(run) == before
    assert new_folder(run, overwrite=True) == run
    assert list(run.iterdir()) == []
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("names", [("config.toml", "study.db"), ("config.toml", ".lock"), ("study.db", ".lock")])
def test_a_study_is_replaced(tmp_path, names):
    folder = tmp_path / "study"
    (folder / "trials" / "0001").mkdir(parents=True)
    for name in names:
        (folder / name).write_text("")
    new_folder(folder, overwrite=True)
    assert os.listdir(tmp_path) == ["study"]
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "five years of work"},
        {"manifest.json": '{"manifest_version": 3, "name": "a web extension"}', "app.js": ""},
        {"manifest.json": "[1, 2]"},
        {"manifest.json": "damaged"},
        {"config.toml": "theme = 'a web site'", "content.md": ""},
        {"study.db": "somebody's Optuna study"},
        {".lock": ""},
    ],
)
def test_the_folder_of_somebody_else_is_never_replaced(tmp_path, files):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    before = snapshot(folder)
    for call in (new_folder, write_run):
        assert "exists" in refusal(call, folder)
        assert "is not a vaelab run or study" in refusal(call, folder, overwrite=True)
    assert snapshot(folder) == before
    assert os.listdir(tmp_path) == ["theirs"]


def test_a_file_or_dangling_link_is_never_replaced(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        assert "exists" in refusal(new_folder, tmp_path / name)
        assert "is not a vaelab run" in refusal(new_folder, tmp_path / name, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_a_run_stays_a_link(tmp_path):
    write_run(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    new_folder(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "real") == []
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_a_study_in_use_is_not_replaced(tmp_path):
    folder = new_folder(tmp_path / "study")
    with StudyLock(folder):
        (folder / "config.toml").write_text("")
        assert f"in use by process {os.getpid()}" in refusal(new_folder, folder, overwrite=True)
        assert sorted(os.listdir(folder)) == [".lock", "config.toml"]
    new_folder(folder, overwrite=True)
    assert os.listdir(folder) == []


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
