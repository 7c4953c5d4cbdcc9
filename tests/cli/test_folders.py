"""`list`, `doctor` and `open` on whole folders and on damaged ones; none of them changes anything."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commands import vaelab
from vaelab.catalog.doctor import examine
from vaelab.catalog.entries import find
from vaelab.errors import InputError
from vaelab.store import StudyLock

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and a study on a file."""
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
    small, study = "--hidden 4 --epochs 2", "--trials 1 --final-seeds 1 --figures none --workers 1"
    for command in (
        f"train x.npy {small} --latent-dim 2 --out run",
        f"tune x.npy {small} --search latent_dim=1..2 {study} --out study",
    ):
        done = vaelab(command.split(), folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def home(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "home")
    for config in (tmp_path / "home").rglob("config.toml"):
        config.write_text(config.read_text().replace(str(whole), str(tmp_path / "home")))
    return tmp_path / "home"


def told(folder: Path) -> str:
    return "\n".join(f"{each.what} | {each.remedy}" for each in examine(folder))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_the_list_has_a_line_for_each_and_none_for_parts(home: Path) -> None:
    (home / "study" / "results.json").unlink()
    shutil.copytree(home / "run", home / "deep" / "torn")
    (home / "deep" / "torn" / "metrics.json").write_text("{")
    (home / "none.partial").mkdir()
    (home / "none.partial" / "config.toml").write_text('[cluster]\nstarts = 1\n[data]\nsource = "/far/away.csv"\n')
    before = snapshot(home)
    found = {str(Path(each.path).relative_to(home)): each for each in find(home)}
    assert [(name, each.kind, each.data, each.state) for name, each in found.items()] == [
        ("deep/torn", "run", "", "finished"),
        ("none.partial", "clusters", "away", "interrupted"),
        ("run", "run", "x", "finished"),
        ("study", "study", "x", "interrupted"),
    ]
    metrics = json.loads((home / "run" / "metrics.json").read_text())["validation"]
    assert found["run"].figure.startswith(f"neg. ELBO {metrics['neg_elbo']:.2f}"[:13])
    assert found["run"].figure.endswith("nats per example, validation")
    assert found["deep/torn"].figure == "unreadable: see `vaelab doctor`"
    with StudyLock(home / "study"):
        assert {each.state for each in find(home / "study")} == {"running"}
    done = vaelab(["list", "--json"], home)
    assert [entry["path"] for entry in json.loads(done.stdout)] == list(found)
    assert len(vaelab(["list"], home).stdout.splitlines()) == 1 + len(found)
    assert snapshot(home).keys() == before.keys()
    with pytest.raises(InputError, match="is not a folder"):
        find(home / "nowhere")


def test_the_list_is_fast_and_needs_no_torch(home: Path) -> None:
    for i in range(50):
        shutil.copytree(home / "run", home / "many" / str(i), ignore=shutil.ignore_patterns("figures", "report.html"))
    code = (
        "import sys, time\nfrom vaelab.catalog.entries import find\nbegan = time.perf_counter()\n"
        "assert len(find('many')) == 50\nassert time.perf_counter() - began < 5\n"
        "assert not {'torch', 'optuna', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_wrong_with_what_is_whole(home: Path) -> None:
    for name in ("run", "study"):
        done = vaelab(["doctor", name], home)
        assert (done.returncode, done.stdout) == (0, "nothing wrong\n"), done.stdout + done.stderr


def test_the_doctor_names_every_fault_and_changes_nothing(home: Path) -> None:
    run, study = home / "run", home / "study"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    from vaelab.store.temporary import HOST

    left = study / f".tmp-{HOST}-{dead.pid}-00000000-0"
    left.write_text("half")
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-9])
    (study / "results.json").write_text("{")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"vaelab": "0.0.1"}))
    (home / "x.npy").unlink()
    before = snapshot(home)
    of_run, of_study = told(run), told(study)
    assert "model.safetensors is truncated" in of_run
    assert "written by vaelab 0.0.1" in of_run
    assert f"the data are no longer at {home / 'x.npy'}. | say by `--data FILE`" in of_run
    assert f"{left} was left by a process that is gone. | `rm -r {left}`" in of_study
    assert "results.json" in of_study
    assert f"`vaelab tune --config {study / 'config.toml'} --out {study} --overwrite`" in of_study
    assert snapshot(home) == before
    done = vaelab(["doctor", "run", "--json"], home)
    assert done.returncode == 1
    assert len(json.loads(done.stdout)) == 3


@pytest.fixture(scope="module")
def kinds(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made of the data and the run of `whole`: a clustering, a test of anomaly scores, scores of rows."""
    folder = tmp_path_factory.mktemp("kinds") / "home"
    shutil.copytree(whole, folder)
    small = "--components 2 --em-starts 1 --no-budget"
    for line in (
        f"cluster run {small} --out clusters",
        "anomaly run --against x.npy --rows 10 --components 2 --out test",
        "anomaly run x.npy --out scores",
    ):
        done = vaelab(line.split(), folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("run", ["model.safetensors", "spec.json", "history.jsonl"]),
        ("study", ["MODEL/model.safetensors", "MODEL/metrics.json", "results.json"]),
        ("clusters", ["mixture.safetensors", "results.json"]),
        ("test", ["results.json"]),
        ("scores", ["results.json"]),
    ],
)
def test_every_fault_of_every_kind_has_a_remedy_that_works(
    kinds: Path, tmp_path: Path, name: str, damaged: list[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(kinds, home)
    for path in (kinds / name).rglob("config.toml"):
        config = home / path.relative_to(kinds)
        config.write_text(re.sub(r'source = ".*"', f'source = "{home / "x.npy"}"', config.read_text()))
    place = Path(name)
    with contextlib.chdir(home):
        assert examine(place) == []
        (place / "report.html").unlink()
        models = sorted(str(path.parent.relative_to(place)) for path in place.rglob("manifest.json"))
        damaged = [file.replace("MODEL", models[0] if models else "") for file in damaged]
        for file in damaged:
            (place / file).write_text("{")
        found = examine(place)
        for file in ["report.html", *damaged]:
            assert [each.what for each in found if Path(file).name in each.what], file
        assert len(found) == 1 + len(damaged)
        for remedy in sorted({each.remedy for each in found}):
            line = re.findall("`vaelab (.*)`", remedy)[0]
            if "--overwrite" in line:  # makes all of it anew
                done = vaelab(shlex.split(line), home)
                assert done.returncode == 0, done.stderr
        assert examine(place) == []
        (place / "report.html").unlink()
        (alone,) = examine(place)
        assert alone.what == f"{place / 'report.html'} is missing."
        line = re.findall("`vaelab (.*)`", alone.remedy)[0]
        assert vaelab(shlex.split(line), home).returncode == 0
        assert examine(place) == []


def test_the_doctor_tells_moved_other_data_and_misses_no_page_that_was_not_asked_for(
    kinds: Path, tmp_path: Path
) -> None:
    shutil.copytree(kinds / "test", tmp_path / "test")
    shutil.copytree(kinds / "clusters", tmp_path / "clusters")
    config = tmp_path / "test" / "config.toml"
    data, sign, other = config.read_text().partition("[other]")
    config.write_text(data + sign + other.replace("x.npy", "gone.npy"))
    assert "gone.npy. | say by `--against FILE` where they are now" in told(tmp_path / "test")
    config = tmp_path / "clusters" / "config.toml"
    (tmp_path / "clusters" / "report.html").unlink()
    assert "report.html is missing" in told(tmp_path / "clusters")
    config.write_text(config.read_text().replace("figures = true", "figures = false"))
    assert "report.html is missing" not in told(tmp_path / "clusters")


def test_the_doctor_tells_unfinished_work_locks_and_changed_data(home: Path) -> None:
    study = home / "study"
    with sqlite3.connect(study / "study.db") as base:
        base.execute("UPDATE trials SET state = 'RUNNING'")
    base.close()
    assert f"1 trial of {study / 'study.db'} begun and not finished" in told(study)
    assert f"`vaelab tune --resume {study}`" in told(study)
    with StudyLock(study):
        assert f"in use by process {os.getpid()}" in told(study)
    (study / "results.json").unlink()
    assert f"{study} is unfinished, and no process works on it. | `vaelab tune --resume {study}`" in told(study)
    (study / "study.db").write_bytes(b"SQLite format 3\0" + bytes(500))
    assert f"{study / 'study.db'} is damaged" in told(study)
    np.save(home / "x.npy", np.ones((100, 3), np.float32) * np.arange(100)[:, None])
    assert "the data cannot be read as they were" in told(home / "run")
    (home / "empty").mkdir()
    with pytest.raises(InputError, match="holds no run or study"):
        examine(home / "empty")


def test_the_report_is_opened_or_its_path_is_printed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def show(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", show)
    report = home / "run" / "report.html"
    assert vaelab(["open", "run", "--path"], home).stdout == f"{report}\n"
    assert json.loads(vaelab(["open", "run", "--json"], home).stdout) == {"report": str(report)}
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert vaelab(["open", "run"], home).stdout == (f"{report}\n" if sys.platform == "linux" else "")
    monkeypatch.setenv("DISPLAY", ":0")
    opened.clear()
    assert (vaelab(["open", "run"], home).stdout, opened) == ("", [report.as_uri()])
    done = vaelab(["open", "."], home)
    assert (done.returncode, done.stderr) == (2, "vaelab: . has no report.html; `vaelab doctor .` says why.\n")
