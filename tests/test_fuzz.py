"""Values of wrong types for every parameter of the Python API: an error of ours in one line, whatever is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaelab
from vaelab.errors import InputError
from vaelab.inverse import files, problems
from vaelab.vae.fitted import Fitted

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
STRANGE: list[Any] = [
    -1, 0, 10**400, 1.5, float("nan"), float("inf"), "strange", "", "a\nb\x1b[31m", b"bytes", [], [None], {},
    {"strange": 1}, {1: 2}, (), (1, 2, 3), object(), int, lambda: None, np.array([[1.0]]), np.array(["a"]), True, 1j,
    range(3), {1, 2},
]  # fmt: skip
# What takes values of kinds of which there are too many: functions, modules, folders, and what is true or false.
CALLBACKS = {"progress", "note", "say", "watch", "epoch"}
FREE = {"out", "encoder", "decoder", "data", "run", "overwrite", "resume"}


def strange_calls(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """A parameter and a strange value for it, one after the other."""
    for name in inspect.signature(function).parameters:
        if name not in CALLBACKS | FREE | {"self"}:
            yield from ((name, value) for value in STRANGE)


def check(function: Callable[..., Any], usual: dict[str, Any]) -> None:
    faults = []
    for name, value in strange_calls(function):
        try:
            function(**{**usual, name: value})
        except InputError as error:
            if "\n" in str(error) or len(str(error)) > 1000:
                faults.append(f"{name}={value!r:.40}: not one line: {str(error)[:200]!r}")
        except Exception as error:
            faults.append(f"{name}={value!r:.40}: {type(error).__name__}: {str(error)[:120]!r}")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults)


class Stop(InputError):
    """Everything was checked; training would begin."""


@pytest.fixture
def nothing_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are valid end before anything is trained or written."""

    def stop(*_: Any, **__: Any) -> None:
        raise Stop("stop")

    monkeypatch.setattr("vaelab.store.building", stop)
    monkeypatch.setattr("vaelab.store.continuing", stop)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    out = tmp_path_factory.mktemp("fuzz") / "run"
    return vaelab.train(X, {"latent_dim": 1, "epochs": 1, "hidden": "4"}, out=out, figures=False).model


PROBLEM = problems.create("total", np.random.default_rng(0).random((40, 2)), None, ["x0 + x1"])
CALLS: dict[str, dict[str, Any]] = {
    "train": {"x": X},
    "tune": {"x": X, "space": {"lr": (1e-3, 1e-2)}},
    "classify": {"x": X, "y": np.arange(40) % 2, "space": {"lr": (1e-3, 1e-2)}},
    "regress": {"x": X, "y": np.arange(40.0), "space": {"lr": (1e-3, 1e-2)}},
    "compare": {"x": X, "models": {"a": {"hidden": "4"}, "b": {"hidden": "8"}}},
    "cluster": {"x": X},
    "invert": {"problem": PROBLEM},
}


@pytest.mark.parametrize("name", list(CALLS))
def test_functions(name: str, nothing_trains: None) -> None:
    function = getattr(vaelab, name)
    usual = CALLS[name]
    with pytest.raises(Stop):
        function(**usual)
    check(function, usual)


@pytest.mark.parametrize("name", ["sample", "encode", "decode", "reconstruct", "score_samples", "impute"])
def test_a_trained_model(name: str, fitted: Fitted) -> None:
    check(getattr(fitted, name), {"n": 1} if name == "sample" else {"z": [[0.0]]} if name == "decode" else {"x": X})


@pytest.mark.parametrize("name", ["load", "load_classifier", "load_regressor", "drift", "score_anomalies"])
def test_what_takes_a_run(name: str, fitted: Fitted) -> None:
    usual = {"folder": fitted.folder} if name.startswith("load") else {"model": fitted, "source": X}
    check(getattr(vaelab, name), usual)


def spec_of(name: str, value: Any) -> Any:
    return vaelab.Spec.create(**{name: value})


def space_of(name: str, value: Any) -> Any:
    return vaelab.Space.parse({name: value}, vaelab.Spec)


@pytest.mark.parametrize("make", [spec_of, space_of])
def test_every_setting_of_a_model_and_of_a_space(make: Callable[[str, Any], Any]) -> None:
    faults = []
    for name in vaelab.Spec.model_fields:
        for value in STRANGE:
            try:
                make(name, value)
            except InputError as error:
                if "\n" in str(error):
                    faults.append(f"{name}={value!r:.40}: not one line")
            except Exception as error:
                faults.append(f"{name}={value!r:.40}: {type(error).__name__}: {str(error)[:100]!r}")
    assert not faults, "\n".join(faults)


def test_problems(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 2))
    check(problems.create, {"name": "total", "x": x, "y": None, "forward": ["x0 + x1"]})
    check(files.load, {"source": str(tmp_path / "none.toml")})
