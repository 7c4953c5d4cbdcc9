"""Bars of calls in a notebook: what they show, and that nothing is shown elsewhere."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tqdm import TqdmWarning

import vaelab
import vaelab.study
from vaelab.api import progress
from vaelab.study.config import Config
from vaelab.study.watch import Watch
from vaelab.vae.task import TASK

X = np.random.default_rng(0).normal(size=(60, 2)) @ np.ones((2, 4))
QUICK = {"epochs": 2, "hidden": "8", "latent_dim": 1}


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[misc]


def test_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not progress.in_notebook()
    for shell in None, SimpleNamespace():
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda own=shell: own))  # type: ignore[misc]
        assert not progress.in_notebook()


@pytest.mark.usefixtures("notebook")
def test_a_study_counts_its_trials_and_tells_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config.create(TASK, None, {}, trials=4)
    with progress.study(None) as watch:
        watch.started(config, [0])  # of a study that was resumed
        watch.finished(1, "COMPLETE", 30.0)
        watch.finished(2, "PRUNED", 20.0)
        watch.finished(3, "COMPLETE", 25.5)
        watch.note("four rows are alike")
        watch.finalists([3], 2)
    shown = capsys.readouterr().err
    assert "note: four rows are alike\n" in shown
    assert "retraining 1 finalist over 2 seeds\n" in shown
    last = shown.rpartition("\r")[2]
    assert last.startswith("100%")
    assert "4/4" in last
    assert last.rstrip().endswith("best neg. ELBO 25.50]"), last


@pytest.mark.usefixtures("notebook")
def test_a_unit_stands_apart_from_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("epoch") as shown:
        shown.update(3)
    text = capsys.readouterr().err
    assert "0 epoch [" in text
    assert "? epoch/s]" in text


@pytest.mark.usefixtures("notebook")
def test_a_notebook_that_cannot_draw_bars_is_not_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", SimpleNamespace())  # type: ignore[misc]
    with pytest.warns(TqdmWarning, match="IProgress not found"):
        importlib.import_module("tqdm.auto")
    for name in ("tqdm.auto", "tqdm.autonotebook"):
        monkeypatch.delitem(sys.modules, name)
    with warnings.catch_warnings(record=True) as heard:
        importlib.reload(vaelab.study)
    assert "tqdm.auto" in sys.modules
    assert not heard


@pytest.mark.usefixtures("notebook")
def test_a_comparison_counts_the_epochs_of_all_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.comparison(None) as watch:
        watch.training({"a": 3, "b": 5})
        watch.epoch(["a", "b"], 2)
        watch.epoch(["b"], 5)
    assert "7/8" in capsys.readouterr().err.rpartition("\r")[2]


@pytest.mark.usefixtures("notebook")
def test_what_was_given_is_called_instead(capsys: pytest.CaptureFixture[str]) -> None:
    own, epochs = Watch(), list[int]()
    with progress.study(own) as watch, progress.epochs(epochs.append, 3) as epoch:
        assert watch is own
        epoch(2)
    assert epochs == [2]
    assert capsys.readouterr().err == ""


def test_training_shows_a_bar_in_a_notebook_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    vaelab.train(X, QUICK, figures=False, out=tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    request.getfixturevalue("notebook")
    vaelab.train(X, QUICK, figures=False, out=tmp_path / "shown")
    assert "2/2" in capsys.readouterr().err.rpartition("\r")[2]
