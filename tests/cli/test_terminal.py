"""What the commands print: every figure with what it is, and why a model counts as collapsed."""

from __future__ import annotations

from typing import Any

import pytest

from vaelab.cli import terminal
from vaelab.regressor.yardsticks import YARDSTICKS
from vaelab.vae.evaluate import why_collapsed
from vaelab.vae.yardsticks.neg_elbo import NEG_ELBO

FIGURES = {"neg_elbo": 26.5, "distortion": 26.1, "rate": 0.4, "active_units": 3, "verdict": "ok", "reason": None}
BASELINE = {"no_latents": 27.0, "floor": 13.5, "share": 0.25}


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_run_says_by_how_many_draws_and_why_it_collapsed(capsys: pytest.CaptureFixture[str]) -> None:
    collapsed = FIGURES | {"verdict": "collapsed", "reason": why_collapsed(0.04, 0.5, 0.1)}
    result: dict[str, Any] = {"train": FIGURES, "validation": collapsed, "test": None, "run": "r", "baseline": BASELINE}
    terminal.print_run(result | {"starts": [{}], "seconds_per_epoch": 0.1, "validation": collapsed | {"share": 0.25}})
    text = printed(capsys)
    assert "collapsed on validation: its rate, 0.04 nats, is below 0.1" in text
    assert "collapsed on train" not in text
    assert "train: 1 draw of z for each of at most 10,000 examples; else 64 draws for all" in text
    assert "the model closes 25 % of the gap" in text


@pytest.mark.parametrize(("optimism", "way"), [(0.25, "0.25 nats worse"), (-0.5, "0.5 nats better")])
def test_a_study_tells_its_two_kinds_of_figures_apart(
    optimism: float, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {"number": 1, "seeds": [{}, {}], "test_mean": 24.25, "test_se": 0.5}
    finalist = {"number": 1, "search": 23.5, "mean": 24.0, "se": 0.125, "parameters": 1234}
    terminal.print_study(
        {
            "trials": {"total": 2, "complete": 2, "pruned": 0, "failed": 0}, "seconds": {"search": 1, "final": 2},
            "notes": [], "best": best, "finalists": [finalist], "optimism": optimism, "baseline": BASELINE,
            "study": "s", "yardstick": NEG_ELBO.as_dict(), "epochs": {"spent": 9, "unpruned": 9},
            "table": [{"verdict": "ok"}, {"verdict": "collapsed"}],
        }
    )  # fmt: skip
    text = printed(capsys)
    assert text.startswith("2 trials: 2 complete (1 collapsed and cannot win), 0 pruned")
    assert (
        "nats per example on validation: in the search, and retrained over 2 seeds, ± standard error over seeds" in text
    )
    assert "search, 8 draws of z retrained, 64 draws" in text
    assert f"after retraining, the best trial of the search was {way}" in text
    assert "23.50 24.0 ± 0.1 1,234" in text
    assert "24.2 ± 0.5, mean over 2 seeds, ± over seeds" in text


def test_a_regressor_says_over_what_each_error_is(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"log_density": -1.5, "r2": 0.75, "rmse": 2.0, "mae": 1.5}
    errors = dict.fromkeys(figures, 0.25)
    interval = {"level": 0.9, "coverage": 0.875, "se": 0.02, "median_width": 3.0}
    found = {**figures, "errors": errors, "interval": interval}
    best = {"number": 0, "seeds": [{}, {}], "test_mean": -1.5, "test_se": 0.1, "validation": found, "test": found}
    terminal.print_regressor(
        {
            "trials": {"total": 1, "complete": 1, "pruned": 0, "failed": 0}, "seconds": {"search": 1, "final": 2},
            "notes": [], "best": best, "study": "s", "yardstick": YARDSTICKS["log_density"].as_dict(),
            "epochs": {"spent": 9, "unpruned": 9}, "table": [{"number": 0, "params": {}, "idle": [], "verdict": "ok"}],
            "importance": {}, "baselines": [], "baselines_left_out": "left out.",
        }
    )  # fmt: skip
    text = printed(capsys)
    assert "-1.5 ± 0.1 (mean over 2 seeds, ± over seeds)" in text
    assert "metrics, ± standard error over rows" in text
    assert "0.88 ± 0.02 of the test rows (± standard error over rows)" in text


def test_a_model_that_loses_to_a_baseline_says_so_first(capsys: pytest.CaptureFixture[str]) -> None:
    structured = [{"label": "factor analysis with 2 factors", "validation": 2.11, "test": None}]
    left_out = ["probabilistic PCA is left out: SVD did not converge."]
    result = {
        "train": FIGURES, "validation": FIGURES | {"share": None}, "test": None, "run": "r", "starts": [{}],
        "baseline": {"no_latents": 4.75, "floor": None, "structured": structured, "left_out": left_out},
        "seconds_per_epoch": 0.1, "beaten": "Factor analysis is better.",
    }  # fmt: skip
    terminal.print_run(result)
    text = printed(capsys)
    assert text.startswith("Factor analysis is better. nats per example")
    assert "without latents, on validation: 4.75, factor analysis with 2 factors: 2.11" in text
    assert "note: probabilistic PCA is left out: SVD did not converge." in text
