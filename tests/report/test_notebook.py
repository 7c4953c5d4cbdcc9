"""What notebooks show: the head of the page and its first figures, tables of solutions, trials as a frame."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaelab
from vaelab.comparison.drift import ColumnDrift, Drift
from vaelab.comparison.run import Comparison
from vaelab.data import from_arrays
from vaelab.inverse.fitted import Solutions
from vaelab.latent import Clusters, LatentMixture
from vaelab.latent.clusters import Clustering
from vaelab.study.results import Study
from vaelab.vae.run import TrainedRun
from vaelab.wording import with_error


class Tags(HTMLParser):
    """Counts tags, and fails on one that is closed but was not opened."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("img", "br", "input", "line", "circle", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return vaelab.tune(
        "digits", {"lr": (1e-3, 1e-2, "log")}, trials=2, settings={"epochs": 5, "hidden": "32", "latent_dim": 2},
        workers=1, final_seeds=1, figures="best", out=tmp_path_factory.mktemp("notebook") / "study",
    )  # fmt: skip


def test_a_study_shows_its_headline_and_figures(study: Study) -> None:
    shown = study._repr_html_()
    assert shown is not None
    tags = Tags(shown)
    assert not tags.open
    assert 1 <= tags.seen.count("img") <= 4
    assert "script" not in tags.seen
    value = study.results["best"]["test"]["neg_elbo"]
    assert f"{value:.2f}" in tags.text or f"{value:.1f}" in tags.text


def test_a_result_without_a_page_shows_its_main_metrics(study: Study, tmp_path: Path) -> None:
    shown = Study(tmp_path / "<a>", None, study.trials, study.results)
    tags = Tags(shown._repr_html_())
    assert not tags.open
    assert "img" not in tags.seen
    assert (tags.seen.count("dt"), tags.seen.count("strong")) == (3, 3)
    assert "Study <a>" in tags.text
    best = study.results["best"]["test"]
    assert with_error(best["neg_elbo"], best["se"]) in tags.text
    assert repr(Study(tmp_path, None, [], {})) == f"Study('{tmp_path}', trials: 0, winner: none)"


def test_every_result_is_one_line(study: Study, tmp_path: Path) -> None:
    home = str(study.folder)
    assert study.results["best"]["test_se"] is None  # over seeds
    best = with_error(study.results["best"]["test"]["neg_elbo"], study.results["best"]["test"]["se"])
    number = study.results["best"]["number"]
    assert repr(study) == f"Study('{home}', trials: 2, winner: trial {number}, test negative ELBO: {best})"
    data = from_arrays(np.eye(6), name="squares")
    run = TrainedRun(tmp_path, study.best, [{"epoch": 3}], {"validation": {"neg_elbo": 80.25}}, data)
    told = "data: squares, latent dimensions: 2, epochs: 3, validation negative ELBO: 80.25"
    assert repr(run) == f"TrainedRun('{tmp_path}', {told})"
    results: dict[str, Any] = {"components": 3, "labels": {}, "predicts_by": None, "test": None, "dump": [0.1] * 100}
    clusters = Clusters(LatentMixture(3), None, ())
    found = Clustering(tmp_path, results, study.best, clusters)
    assert repr(found) == f"Clustering('{tmp_path}', data: digits, components: 3)"
    results |= {"labels": {"number": 30}, "predicts_by": "graph", "methods": {"graph": {"labelled_accuracy": 0.75}}}
    results["test"] = {"nmi": 0.5}
    assert repr(found) == f"Clustering('{tmp_path}', data: digits, components: 3, test accuracy: 0.75, test NMI: 0.5)"
    mean = {"mean": 80.0, "se": 0.25}
    models = [{"name": name, "validation": {"neg_elbo": mean}} for name in ("a", "b")]
    assert repr(Comparison(tmp_path, {"models": models}, {})) == (
        f"Comparison('{tmp_path}', a: 80.0 ± 0.2 nats, b: 80.0 ± 0.2 nats)"
    )
    change = ColumnDrift("a", "real", 0.5, 0.2, 0.01, 0, 0, None, p_holm=0.01)
    drift = Drift([change], np.zeros(70), np.ones(90), 0.01, 0.75, 0.02, 0.01, [])
    assert repr(drift) == "Drift(90 rows against 70, AUC: 0.75 ± 0.02, 1 of 1 column differ)"


def test_trials_are_a_frame(study: Study) -> None:
    idle = Study(study.folder, None, [{**row, "idle": ["lr"]} for row in study.trials], study.results).frame
    assert idle["lr"].isna().all()
    frame = study.frame
    assert frame.index.tolist() == [row["number"] for row in study.trials]
    np.testing.assert_array_equal(frame["lr"].dropna(), [row["params"]["lr"] for row in study.trials if row["params"]])
    np.testing.assert_array_equal(frame["value"], [row["value"] for row in study.trials])


def test_solutions_are_a_table() -> None:
    x = np.arange(6.0).reshape(3, 2)
    tags = Tags(Solutions(x, np.zeros(3), np.full((3, 1), 0.25), x[0], np.zeros(1), 50, 100)._repr_html_())
    assert (tags.seen.count("tr"), tags.seen.count("th"), tags.seen.count("td")) == (4, 3, 9)
    assert "3 solutions of 50 candidates" in tags.text
    assert "0.25" in tags.text
