"""Rows scored one by one: p-values by brute force, faults planted in known cells, and rows however far out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import commands
import vaelab
from pages import Page
from vaelab.data import Dataset, from_arrays
from vaelab.errors import InputError
from vaelab.latent.row_scores import conformal_p_values
from vaelab.use import score_anomalies
from vaelab.vae.fitted import Fitted

LOADINGS = np.random.default_rng(5).normal(size=(2, 5))
NAMES = ["a", "b", "c", "d", "e"]


def process(n: int, seed: int) -> np.ndarray:
    """Five readings of two causes, in units of their own."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 2)) @ LOADINGS + 0.1 * rng.normal(size=(n, 5))) * [1, 10, 100, 1, 1] + [0, 5, 0, 0, 7]


def write(path: Path, rows: np.ndarray) -> Path:
    cities = np.where(rows[:, 0] > 0, "north", "south")
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *NAMES, "city"])
        for i, (row, city) in enumerate(zip(rows, cities, strict=True)):
            writer.writerow([f"p{i}", *("" if value != value else value for value in row), city])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 600 rows."""
    folder = tmp_path_factory.mktemp("rows")
    table = write(folder / "process.csv", process(600, 0))
    settings = {"hidden": "16", "latent_dim": 3, "lr": 1e-2, "epochs": 25}
    vaelab.train(table, settings, reading={"id": "id"}, out=folder / "run", figures=False)
    return folder / "run"


def test_p_values_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    scores, known = rng.integers(0, 9, 40), rng.integers(0, 9, 25)
    expected = [(1 + sum(k >= s for k in known)) / 26 for s in scores]
    np.testing.assert_allclose(conformal_p_values(scores, known), expected)


def test_broken_readings_are_found_and_named(run: Path, tmp_path: Path) -> None:
    rows = process(40, 1)
    rows[3, 2], rows[17, 4], rows[8, 1] = 5_000, -30, np.nan
    file = write(tmp_path / "new.csv", rows)
    before = json.loads((run / "metrics.json").read_text())["test_opened"]
    done = commands.vaelab(["anomaly", str(run), str(file), "--out", "scores.csv"], tmp_path)
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader(io.StringIO((tmp_path / "scores.csv").read_text())))
    assert list(found[0]) == ["id", "score", "rank", "p_value", "is_anomaly", "strange"]
    order = np.argsort([int(own["rank"]) for own in found])
    assert sorted(int(own["rank"]) for own in found) == list(range(1, 41))
    keys = [(float(found[i]["p_value"]), -float(found[i]["score"])) for i in order]
    assert keys == sorted(keys)  # the strangest has rank 1
    assert [own["id"] for own in found] == [f"p{i}" for i in range(40)]
    assert found[3]["is_anomaly"] == found[17]["is_anomaly"] == "1"
    assert found[3]["strange"].startswith("c = 5000 (expected ")
    assert found[17]["strange"].startswith("e = -30 (expected ")
    expected = float(found[17]["strange"].partition("(expected ")[2].partition(")")[0])
    assert abs(expected - process(40, 1)[17, 4]) < 0.6  # readings have a noise of 0.1 and a spread of 1.5
    assert np.isfinite(float(found[8]["score"]))
    assert {own["strange"] for own in found if own["is_anomaly"] == "0"} == {""}
    assert "of validation" in done.stdout
    assert json.loads((run / "metrics.json").read_text())["test_opened"] == before + 1


def test_a_page_says_which_rows_and_why(run: Path, tmp_path: Path) -> None:
    rows = process(30, 2)
    rows[4, 1] = 900
    file = write(tmp_path / "new.csv", rows)
    done = commands.vaelab(["anomaly", str(run), str(file), "--out", "found", "--contamination", "0.02"], tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "found" / "results.json").read_text())
    assert results["strangest"][0]["row"] == "p4"
    assert results["strangest"][0]["strange"][0]["column"] == "b"
    page = Page((tmp_path / "found" / "report.html").read_text())
    assert "p4" in page.text
    assert "b 900, expected" in page.text
    assert "p4" in done.stdout
    assert (tmp_path / "found" / "figures" / "scores.png").exists()
    assert len((tmp_path / "found" / "scores.csv").read_text().splitlines()) == 31


def test_a_new_level_is_an_anomaly_with_a_reason_and_for_others_a_missing_cell(run: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "new.csv", process(25, 2))
    known = score_anomalies(vaelab.load(run), table, 0.02)
    text = table.read_text().splitlines()
    text[8] = text[8].rpartition(",")[0] + ",abroad"
    table.write_text("\n".join(text) + "\n")
    found = score_anomalies(vaelab.load(run), table, 0.02)
    assert found.is_anomaly[7]
    assert found.p_value[7] == 1 / (len(found.calibration) + 1)
    reason = found.strange[7][0]
    assert (reason.column, reason.value, reason.expected in ("north", "south")) == ("city", "abroad", True)
    others = np.arange(25) != 7
    np.testing.assert_array_equal(found.score[others], known.score[others])
    (note,) = [note for note in found.notes if "'abroad' in row 7" in note]
    assert "makes its row an anomaly" in note
    assert "missing" not in note
    done = commands.vaelab(["encode", str(run), str(table)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "column 'city' holds levels that training did not have, read as missing: 'abroad' in row 7" in done.stderr
    assert "nan" not in done.stdout
    frame = pd.read_csv(table)
    with pytest.raises(InputError, match="must hold one of north, south, but X holds 'abroad' in row 7"):
        vaelab.load(run).encode(frame)  # where no one would see a note


def test_what_is_expected_of_a_count_is_a_mean_that_differs_from_the_cell(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size = rng.uniform(2, 12, 600)
    frame = pd.DataFrame({"area": size * 20 + rng.normal(0, 1, 600), "rooms": rng.poisson(size), "x": rng.random(600)})
    run = vaelab.train(frame, {"latent_dim": 2, "epochs": 20}, out=tmp_path / "run", figures=False)
    found = score_anomalies(run.model, frame, 0.2, data=run.data)
    told = [reason for own in found.strange for reason in own if reason.column == "rooms"]
    assert told
    assert any(reason.expected != round(reason.expected) for reason in told)
    for reason in told:
        value, expected = str(reason).removeprefix("rooms = ").rstrip(")").split(" (expected ")
        assert value != expected


def test_false_alarms_are_as_many_as_promised(run: Path, tmp_path: Path) -> None:
    """On 1,000 fresh rows, within what 180 calibration rows and 1,000 rows allow (a beta-binomial, 1 in 10,000)."""
    model = vaelab.load(run)
    found = score_anomalies(model, write(tmp_path / "new.csv", process(1000, 3)), 0.05)
    m = len(found.calibration)
    k = int(0.05 * (m + 1))
    law = stats.betabinom(1000, k, m + 1 - k)
    assert law.ppf(1e-4) <= found.is_anomaly.sum() <= law.ppf(1 - 1e-4)
    assert (found.is_anomaly == (found.p_value <= 0.05)).all()


def test_a_row_has_one_score_in_any_file_and_training_rows_are_told(run: Path, tmp_path: Path) -> None:
    model = vaelab.load(run)
    rows = process(20, 4)
    whole = score_anomalies(model, write(tmp_path / "a.csv", rows), 0.05)
    part = score_anomalies(model, write(tmp_path / "b.csv", rows[11:]), 0.05)
    np.testing.assert_array_equal(whole.score[11:], part.score)
    assert not any("equal" in note for note in whole.notes)
    own = score_anomalies(model, run.parent / "process.csv", 0.05)
    trained = json.loads((run / "data.json").read_text())
    assert trained["name"] == "process"
    (note,) = [note for note in own.notes if "training row" in note]
    assert int(note.split()[0]) == 600 - len(own.calibration)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--contamination 0.001", ["0.001", "no p-value is lower", "give 0.00"]),
        ("--contamination 2", ["between 0 and 1", "2"]),
        ("--held-out 1", ["leave out"]),
        ("--out scores.txt --overwrite --target a", ["--target"]),
    ],
)
def test_bad_input_is_one_line(run: Path, tmp_path: Path, arguments: str, said: list[str]) -> None:
    file = write(tmp_path / "new.csv", process(10, 1))
    done = commands.vaelab(["anomaly", str(run), str(file), *arguments.split()], tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert [part for part in said if part not in done.stderr] == [], done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv"]


def test_other_data_do_not_calibrate(run: Path) -> None:
    with pytest.raises(InputError, match="another data set or split"):
        score_anomalies(vaelab.load(run), run.parent / "process.csv", data=from_arrays(process(100, 0)))


def test_a_cell_that_is_far_off_is_named_though_its_column_has_gaps_and_others_are_surprising_too(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 1))
    x = np.concatenate([z + 0.3 * rng.normal(size=(600, 3)), rng.normal(size=(600, 1)), (z > 0)], 1)
    x[rng.random(600) < 0.3, 0] = np.nan
    data = from_arrays(x, features=list("abcde"), types={"e": "binary"})
    settings = {"latent_dim": 2, "hidden": "16", "epochs": 60, "lr": 1e-2}
    fitted = vaelab.train(data, settings, figures=False, out=tmp_path / "run").model
    rows = x[:6].copy()
    for k, far in enumerate((6, -9, 20, -40, 100, 1e4)):
        rows[k, 0] = far
    found = score_anomalies(fitted, rows, data=data)
    assert found.is_anomaly.all()
    assert [own[0].column for own in found.strange] == ["a"] * 6


def test_conditions_are_given_and_never_the_reason(tmp_path: Path) -> None:
    rows = process(200, 6)
    batch = np.random.default_rng(0).integers(0, 2, 200)
    table = {"batch": batch.astype(str).astype(object), "a": rows[:, 0], "b": rows[:, 1] + 40 * batch, "c": rows[:, 2]}
    data = from_arrays(table, condition=("batch",))
    settings = {"hidden": "8", "latent_dim": 2, "lr": 1e-2, "epochs": 20}
    model = vaelab.train(data, settings, out=tmp_path / "run", figures=False).model
    new = data.x[:20].copy()
    new[3, 1] = 900
    found = score_anomalies(model, new, 0.05, data=data)
    assert found.is_anomaly[3]
    assert found.strange[3][0].column == data.columns[1].name == "a"
    assert {reason.column for own in found.strange for reason in own} <= {"a", "b", "c"}


SPANS = (0.0, 10.0, 1e3, 1e6, 1e9, 1e15, 1e30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *(("real", {"likelihood": name}) for name in ("gaussian", "laplace", "huber", "student")),
        *(("missing", {"real_likelihood": name}) for name in ("gaussian", "student", "laplace", "huber")),
        *(("count", {"count_likelihood": name}) for name in ("poisson", "negative_binomial", "zero_inflated")),
        ("positive", {}),
    ],
)
def test_the_farther_out_the_stranger_and_never_nan(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    x = process(120, 0)
    if kind == "count":
        x = np.random.default_rng(0).poisson(np.exp(0.3 * (x - x.mean(0)) / x.std(0) + 1)).astype(float)
    elif kind == "positive":
        x = np.exp(x / x.std(0))
    if kind != "real":
        x[::9, 2] = np.nan
    model = _quick(from_arrays(x), settings, tmp_path)
    far = np.array([x[1] + span * np.nanstd(x, 0) * (np.arange(5) == 1) for span in SPANS])
    score = -model.score_samples(far)
    assert np.isfinite(score).all()
    assert (np.diff(score[1:]) >= -1e-4 * abs(score[1:-1])).all(), score
    assert score[2] > score[0]
    assert np.isfinite(model.encode(far)).all()


def _quick(data: Dataset, settings: dict[str, Any], folder: Path) -> Fitted:
    shared = {"hidden": "8", "latent_dim": 2, "lr": 1e-2, "epochs": 2, "engine": "autograd"}
    return vaelab.train(data, {**shared, **settings}, out=folder / "run", figures=False).model


def test_a_row_that_calibrates_is_compared_with_the_others_alone(run: Path, tmp_path: Path) -> None:
    """The strangest of all rows that the model was not trained on has the lowest p-value there is."""
    model = vaelab.load(run)
    data = vaelab.data.load(**model.facts.source)
    held = np.concatenate([data.splits["validation"], data.splits["test"]])
    found = vaelab.score_anomalies(model, data.x[held])
    m = len(held)
    expected = [sum(found.score >= score) / m for score in found.score]
    np.testing.assert_allclose(found.p_value, expected)
    assert found.p_value.min() == pytest.approx(1 / m)
    assert f"{m} rows of the file are some of the rows that p-values are calibrated on" in " ".join(found.notes)
