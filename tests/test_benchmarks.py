"""Every benchmark runs: its smoke does what the benchmark does, but small, and asserts no figure."""

import json
import os
import runpy
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

FOLDER = Path(__file__).parents[1] / "benchmarks"
LONG = {"run.py", "same_bits.py"}  # one starts all the others; one starts the command line a dozen times
PROGRAMS = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in LONG)


@pytest.fixture
def unpinned():
    """Put back what benchmarks change for their process: the environment, and the cores that it may use."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    with mock.patch.dict(os.environ):
        yield
    if cores is not None:
        os.sched_setaffinity(0, cores)


@pytest.mark.usefixtures("unpinned")
@pytest.mark.parametrize("name", PROGRAMS)
def test_smoke_runs(name, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)  # what it writes by default, it writes here
    monkeypatch.setattr(sys, "argv", [name, "--smoke"])
    code = None
    try:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    except SystemExit as end:
        code = end.code
    assert not code, code
    assert capsys.readouterr().out.strip()


@pytest.fixture(scope="module")
def same_bits():
    return runpy.run_path(str(FOLDER / "same_bits.py"), run_name="same_bits")


def test_same_bits_compares_numbers_but_no_times(same_bits):
    found = same_bits["numbers"]({"loss": 1.5, "ok": True, "name": "a", "seconds": 3, "rows": [{"n": 2}, None, 4]})
    assert list(found) == [(".loss", 1.5), (".rows[0].n", 2), (".rows[2]", 4)]


def test_same_bits_finds_what_differs(same_bits, tmp_path):
    files = {
        "a.npy": lambda path, x: np.save(path, np.array([x])),
        "b.csv": lambda path, x: path.write_text(f"x\n{x}\n"),
        "c.json": lambda path, x: path.write_text(json.dumps({"x": x, "seconds": np.random.default_rng().random()})),
        "d.jsonl": lambda path, x: path.write_text(json.dumps({"x": x}) + "\n"),
        "manifest.json": lambda path, x: path.write_text(json.dumps({"created": str(path)})),
    }
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
        for name, write in files.items():
            write(folder / name, 0.1)
    assert same_bits["differences"](before, after) == (4, [])
    for name in ("a.npy", "b.csv", "c.json", "d.jsonl"):
        files[name](after / name, np.nextafter(0.1, 1))
        compared, (found,) = same_bits["differences"](before, after)
        assert compared == 4
        assert found.startswith(f"{name}: ")
        files[name](after / name, 0.1)
    (after / "b.csv").unlink()
    assert same_bits["differences"](before, after) == (3, ["b.csv is in only one of them"])
