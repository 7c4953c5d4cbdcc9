"""What notebooks show: the head of the page and its first figures, tables of solutions, trials as a frame."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import vaelab
from vaelab.inverse.fitted import Solutions
from vaelab.study.results import Study


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


def test_a_result_without_a_page_shows_its_text(study: Study, tmp_path: Path) -> None:
    assert Study(tmp_path, None, [], {})._repr_html_() is None  # notebooks then take repr


def test_trials_are_a_frame(study: Study) -> None:
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
