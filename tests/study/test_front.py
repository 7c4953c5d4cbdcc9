"""Two yardsticks: the front, its finalists and its winner, the same however a study runs; and purposes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import vaelab
from vaelab.api import studies
from vaelab.classifier.task import TASK as CLASSIFIER
from vaelab.data import Dataset, from_arrays
from vaelab.errors import InputError
from vaelab.study import front, tune
from vaelab.study.config import Config
from vaelab.study.results import Study
from vaelab.study.watch import Watch
from vaelab.vae.purposes import PURPOSES
from vaelab.vae.task import TASK
from vaelab.vae.yardsticks import YARDSTICKS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

costs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20)


def undominated(points: dict[int, tuple[float, float]]) -> set[int]:
    """By the definition, pair by pair."""
    return {
        n
        for n, (a, b) in points.items()
        if not any((c <= a and d < b) or (c < a and d <= b) for c, d in points.values())
    }


@given(costs)
def test_the_front_is_what_none_dominates(found):
    points = dict(enumerate(found))
    members = front.front(points)
    assert set(members) == undominated(points)
    assert [points[n][0] for n in members] == sorted(points[n][0] for n in members)
    order = front.spread(points)
    assert sorted(order) == sorted(members)
    assert order[0] == front.closest(points)
    if len(members) > 2:  # the ends are among the first three
        lows = [min(points[n][axis] for n in members) for axis in (0, 1)]
        assert [min(points[n][axis] for n in order[:3]) for axis in (0, 1)] == lows


def test_the_closest_does_not_depend_on_units():
    points = {0: (0.0, 1.0), 1: (0.3, 0.3), 2: (1.0, 0.0)}
    assert front.closest(points) == 1
    assert front.closest({n: (1000 * a, b - 5) for n, (a, b) in points.items()}) == 1


class Cut(Watch):
    """Interrupts a study after some trials."""

    def __init__(self, after: int):
        self.after = after

    def finished(self, number: int, state: str, value: float | None) -> None:
        self.after -= 1
        if not self.after:
            raise KeyboardInterrupt


SETTINGS = {"epochs": 3, "hidden": "24", "batch_size": 100}
SPACE = {"latent_dim": (2, 12), "beta": (0.05, 4.0, "log"), "lr": (1e-3, 1e-2, "log")}
OPTIONS: dict[str, Any] = {"settings": SETTINGS, "final_seeds": 2, "finalists": 3, "figures": "none"}


@pytest.fixture(scope="module")
def study(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("front") / "study"
    return studies.tune(digits, SPACE, 9, yardstick="rate,distortion", workers=1, out=out, **OPTIONS)


def told(study: Study) -> dict[str, Any]:
    """What must not depend on workers or interruptions."""
    keys = ("best", "finalists", "front", "means", "yardsticks", "importance")
    table = [{k: v for k, v in row.items() if k != "seconds"} for row in study.results["table"]]
    return {key: study.results[key] for key in keys} | {"table": table}


def test_the_front_of_a_study_is_that_of_its_retrained_means(study: Study):
    results = study.results
    feasible = {row["number"]: tuple(row["values"]) for row in study.trials if row["verdict"] == "ok"}
    finalists = {row["number"]: row for row in results["finalists"]}
    assert set(finalists) <= undominated(feasible)
    assert len(finalists) == min(3, len(undominated(feasible)))
    assert {row["state"] for row in study.trials} == {"COMPLETE"}  # none is pruned
    for number, row in finalists.items():
        runs = (study.folder / "finals").glob(f"{number:04d}-*/metrics.json")
        metrics = [json.loads(run.read_text())["validation"] for run in runs]
        assert len(metrics) == 2
        for name, mean in zip(("rate", "distortion"), row["means"], strict=True):
            assert mean == pytest.approx(statistics.fmean(found[name] for found in metrics))
    means = {n: tuple(row["means"]) for n, row in finalists.items()}
    assert set(results["front"]) == undominated(means)
    assert results["best"]["number"] in results["front"]
    best = json.loads((study.folder / "best" / "metrics.json").read_text())
    assert best["validation"] == results["best"]["validation"]
    assert best["test_opened"] == 1
    assert results["yardstick"] == results["yardsticks"][0]
    assert (study.folder / "figures" / "front.png").exists()
    page = (study.folder / "report.html").read_text()
    assert f"Trial {results['best']['number']} was chosen from a front of {len(results['front'])}" in page
    assert "Two yardsticks judge" in page


def test_cut_and_resumed_it_is_the_same(study: Study, digits: Dataset, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        studies.tune(
            digits, SPACE, 9, yardstick=["rate", "distortion"], workers=1, out=tmp_path / "s", watch=Cut(5), **OPTIONS
        )
    config, _ = Config.read(tmp_path / "s" / "config.toml", TASK)
    assert config.judged_by == "rate,distortion"
    assert told(tune.resume(tmp_path / "s", digits, TASK, workers=1)) == told(study)


def test_a_classifier_has_a_front_too(digits: Dataset, tmp_path: Path):
    study = studies.classify(
        digits, None, {"lr": (1e-4, 1e-2, "log")}, 3, yardstick="accuracy,log_loss", settings={"epochs": 1}, workers=1,
        figures="none", out=tmp_path / "s",
    )  # fmt: skip
    assert study.results["best"]["number"] in study.results["front"]
    assert "Two yardsticks judge" in (tmp_path / "s" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--yardstick neg_elbo,probe,nmi", "keep two"),
        ("--yardstick probe,probe", "two different ones"),
        ("--yardstick rate", "rate,distortion"),
        ("--yardstick prob", "did you mean 'probe'"),
        ("--for embeding", "did you mean 'embedding'"),
        ("--for density,embedding,clusters", "keep two"),
        ("--yardstick probe", "needs labels"),
        ("--for clusters --yardstick nmi", "needs labels"),
        ("--for density,embedding", "name the labels with --target"),  # three, without labels
    ],
)
def test_refusals(options: str, said: str, tmp_path: Path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 3)))
    done = vaelab(["tune", "x.npy", *options.split(), "--out", "s"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert not (tmp_path / "s").exists()


def decided(data: Dataset, purpose: str, space: Any = None, **options: Any) -> Config:
    return tune._decide(Config.create(TASK, space, options.pop("settings", {}), purpose=purpose, **options), data, 1)


@pytest.mark.parametrize("name", PURPOSES)
def test_purposes_choose_yardsticks_and_space_and_what_is_given_wins(name: str, digits: Dataset, tmp_path: Path):
    plain = from_arrays(np.random.default_rng(0).normal(size=(60, 8)))
    purpose = PURPOSES[name]
    assert purpose.name == name
    for data, expected in (digits, purpose.labelled), (plain, purpose.unlabelled):
        config = decided(data, name)
        assert tuple(each.name for each in config.yardsticks) == expected
        assert set(purpose.ranges) <= set(config.searched.names)
        config.save(tmp_path, {})
        assert Config.read(tmp_path / "config.toml", TASK)[0] == config
    given = decided(digits, name, yardstick="neighbours", settings={"beta": 0.3})
    assert given.judged_by == "neighbours"
    assert "beta" not in given.searched
    weighted = decided(digits, name, yardstick="weighted_loss")
    assert not set(weighted.searched.names) & set(YARDSTICKS["weighted_loss"].weights)
    assert decided(digits, f"density,{name}").judged_by.startswith("neg_elbo") if name != "density" else True


def test_classifiers_have_no_purposes():
    with pytest.raises(InputError, match="unknown purpose"):
        Config.create(CLASSIFIER, None, {}, purpose="embedding")
