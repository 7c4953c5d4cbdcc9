"""Runs and studies below a folder: what each is, on which data, in which state, and its main figure. No torch."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vaelab import store
from vaelab.errors import InputError, StoreError
from vaelab.store.folders import destination, holder
from vaelab.store.kinds import command_of
from vaelab.store.temporary import is_temporary
from vaelab.wording import number

KINDS = {
    "tune": "study", "classify": "classifier", "regress": "regressor", "compare": "comparison", "cluster": "clusters",
    "invert": "inverse", "train": "run",
}  # fmt: skip
PARTS = {"best", "trials", "finals", "models", "model", "model1", "model2", "figures", ".work"}  # of a run or study


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run or study; `figure` is its main one with its unit, `date` that of the last change."""

    path: str
    kind: str
    data: str
    state: str  # finished, interrupted or running
    figure: str
    date: str


def find(folder: str | Path) -> list[Entry]:
    """All runs and studies in `folder` and below, by path; parts of them, such as trials, are left out.

    >>> find(getfixture("tmp_path"))
    []
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is not a folder; check the path.")
    return sorted((entry(place) for place in _places(Path(folder))), key=lambda each: each.path)


def _places(folder: Path) -> Iterator[Path]:
    for place, folders, _ in os.walk(folder):
        here = Path(place)
        is_own = is_ours(here)
        if is_own:
            yield here
        left_out = PARTS if is_own else set()
        inner = [name for name in folders if name not in left_out and not is_temporary(name)]
        folders[:] = [] if place.endswith(".partial") else inner


def is_ours(place: Path) -> bool:
    """Whether a run or study is there, or was begun there."""
    return (place / "manifest.json").is_file() or command_of(place) is not None


def kind_of(place: Path) -> str:
    command = command_of(place) or "train"
    return KINDS.get(command, command)


def state_of(place: Path) -> str:
    """finished; interrupted; or running, if a process holds its lock."""
    if holder(place) is not None:
        return "running"
    whole = "manifest.json" if kind_of(place) in ("run", "inverse") else "results.json"
    is_whole = (place / whole).is_file() and not (place / ".work").exists() and destination(place) == place
    return "finished" if is_whole else "interrupted"


def entry(place: Path) -> Entry:
    """What a folder holds; what cannot be read is said so in place of its figure."""
    kind, state = kind_of(place), state_of(place)
    try:
        name, figure = _about(place, kind, state)
    except StoreError:
        name, figure = "", "unreadable: see `vaelab doctor`"
    files = [place / file for file in ("results.json", "metrics.json", "config.toml") if (place / file).exists()]
    changed = max(file.stat().st_mtime for file in files or [place])
    return Entry(str(place), kind, name, state, figure, time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)))


def _about(place: Path, kind: str, state: str) -> tuple[str, str]:
    """The name of the data, and the main figure of what is finished."""
    if state != "finished":
        return source_name(place), ""
    if kind in ("run", "inverse"):
        metrics, about = store.read_json(place / "metrics.json"), store.read_json(place / "data.json")
        with store.interpreting(place / "metrics.json"):
            return str(about["name"]), _of_run(metrics) if kind == "run" else _of_inverse(metrics)
    results = store.read_json(place / "results.json")
    with store.interpreting(place / "results.json"):
        return str(results["data"]["name"]), _figure(results, kind)


def source_name(place: Path) -> str:
    """The name of the data or problem that a config.toml names."""
    if not (place / "config.toml").is_file():
        return ""
    tables = store.read_toml(place / "config.toml", "check the path")
    with store.interpreting(place / "config.toml"):
        named = tables.get("data", {}).get("source") or tables.get("problem", {}).get("name") or ""
    return Path(str(named)).stem


def _of_run(metrics: Mapping[str, Any]) -> str:
    split = "test" if metrics.get("test") else "validation"
    return f"neg. ELBO {number(metrics[split]['neg_elbo'])} nats per example, {split}"


def _of_inverse(metrics: Mapping[str, Any]) -> str:
    found = metrics["inverse"]
    if found["recall"] is not None:
        return f"recall {number(found['recall'], 1.0)}"
    return f"bound {number(found['bound'])} nats per example, validation"


def _figure(results: Mapping[str, Any], kind: str) -> str:
    if kind in ("study", "classifier", "regressor"):
        best, yardstick = results["best"], results["yardstick"]
        if best is None:
            return "no winner"
        unit = " nats per example" if yardstick["headline"] in ("neg_elbo", "log_density") else ""
        called = yardstick["headline"].replace("neg_elbo", "neg. ELBO").replace("_", "-")
        return f"{called} {number(best['test_mean'])}{unit}, test"
    if kind == "comparison":
        models = [(each["validation"]["neg_elbo"]["mean"], each["name"]) for each in results["models"]]
        value, name = min(models)
        return f"{name}: neg. ELBO {number(value)} nats per example, validation"
    if kind == "clusters":
        by = results.get("predicts_by")  # what answers new rows
        accuracy = results["methods"][by].get("labelled_accuracy") if by else None
        told = "" if accuracy is None else f", accuracy {number(accuracy, 1.0)}, test"
        return f"{results['components']} components{told}"
    if kind == "anomaly":
        if "flagged" in results:
            return f"{results['flagged']:,} of {results['rows']:,} rows flagged"
        return f"AUROC of the bound {number(results['directions'][0]['scores']['bound']['auroc'], 1.0)}"
    if kind == "drift":
        return f"AUC of the latents {number(results['latents']['auc'], 1.0)}"
    return ""
