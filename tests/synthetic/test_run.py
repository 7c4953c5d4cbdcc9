"""Synthetic rows of a table, drawn and judged: results, page, command, bad input."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commands
from pages import Page
from vaelab import judge_synthetic, load
from vaelab.data import Dataset, from_arrays
from vaelab.data import load as load_data
from vaelab.errors import InputError
from vaelab.synthetic import boosting, run
from vaelab.vae.fitted import Fitted
from vaelab.vae.run import train
from vaelab.vae.spec import Spec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

PATIENTS = Path(__file__).parents[2] / "examples" / "patients.csv"
SPEC = Spec(latent_dim=2, hidden="8", epochs=30, lr=1e-2)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Boosting of few trees, whose quality is not the subject."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "ROUNDS", 3)
        patch.setattr(boosting, "REPEATS", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table with missing cells, levels, counts and groups, given age and sex."""
    out = tmp_path_factory.mktemp("synthetic") / "run"
    train(load_data(PATIENTS, group="id", condition=("sex", "age")), SPEC, out=out, figures=False)
    return out


@pytest.fixture(scope="module")
def judged(folder: Path) -> dict[str, Any]:
    return judge_synthetic(folder, n=150, seed=3, out=folder.parent / "rows")


def cells(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_drawn_rows_are_the_table_s(folder: Path, judged: dict[str, Any]) -> None:
    header, *rows = cells(folder.parent / "rows" / "synthetic.csv", ";")
    assert header == ["sex", "age", "pressure", "visits", "stage", "dose"]
    assert len(rows) == 150
    known = load(folder).facts
    levels = {column.name: set(column.levels) for column in known.columns if column.has_levels}
    for name, values in zip(header, zip(*rows, strict=True), strict=True):
        if name in levels:
            assert set(values) <= levels[name]
        else:
            assert all(re.fullmatch(r"\d+(,\d{1,2})?", value) for value in values)  # no more decimals than the table
    real = {(row[header.index("sex")], row[header.index("age")]) for row in rows}
    given = {tuple(line.split(";")[1:3]) for line in PATIENTS.read_text().splitlines()}
    assert real <= given  # conditions are drawn together
    assert judged["validity"]["valid"] == 1
    assert json.loads((folder.parent / "rows" / "results.json").read_text()) == json.loads(json.dumps(judged))


def test_the_same_seed_gives_the_same_and_a_file_is_judged_as_what_it_was_drawn_as(
    folder: Path, judged: dict[str, Any], tmp_path: Path
) -> None:
    again = judge_synthetic(folder, n=150, seed=3, out=tmp_path / "again")
    read = judge_synthetic(folder, folder.parent / "rows" / "synthetic.csv", seed=3, out=tmp_path / "read")
    assert not (tmp_path / "read" / "synthetic.csv").exists()
    told = ("synthetic", "name", "source", "prior", "notes")
    parts = [{name: own for name, own in found.items() if name not in told} for found in (judged, again, read)]
    assert parts[0] == parts[1] == parts[2]
    text = (tmp_path / "again" / "synthetic.csv").read_bytes()
    assert text == (folder.parent / "rows" / "synthetic.csv").read_bytes()


def test_page(folder: Path, judged: dict[str, Any]) -> None:
    page = Page((folder.parent / "rows" / "report.html").read_text())
    auc = judged["two_sample"]["synthetic"]["auc"]
    assert page.rows("Told apart")[1][1]["data-value"] == json.dumps(auc)
    columns = page.rows("Columns, real and synthetic")[1:]
    assert len(columns) == judged["columns"] == 6
    distances = [float(row[2]["data-value"] or 0) for row in columns]
    assert distances == sorted(distances, reverse=True)
    assert len(page.rows("Learned from")) == 1 + len(judged["usefulness"]) == 6
    assert len(page.tags("img")) == 3
    assert "promises privacy" in page.text
    assert "synthetic rows get the missing cells of real rows" in page.text
    assert "conditions are drawn together from training rows: sex, age" in page.text


def test_the_test_split_is_opened_once(folder: Path, tmp_path: Path) -> None:
    def opened() -> int:
        return int(json.loads((folder / "metrics.json").read_text()).get("test_opened", 0))

    before = opened()
    judge_synthetic(folder, out=tmp_path / "rows")
    assert opened() == before + 1


def test_a_fitted_prior_is_where_the_latents_are(tmp_path: Path) -> None:
    """Two groups far apart, with nothing in between: the prior has most of its mass elsewhere than their latents."""
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=300)
    data = from_arrays({"a": 10 * group + rng.normal(size=300), "b": 10 * group + rng.normal(size=300)})
    fitted = train(data, Spec(latent_dim=1, hidden="16", epochs=60, lr=1e-2), out=tmp_path / "run", figures=False).model
    found = {
        prior: judge_synthetic(fitted, data=data, n=300, prior=prior, out=tmp_path / prior)
        for prior in ("model", "fitted")
    }
    distance = {prior: np.mean([own["distance"] for own in each["marginals"]]) for prior, each in found.items()}
    assert distance["fitted"] < distance["model"] + 0.05
    assert any("mixture" in note for note in found["fitted"]["notes"])
    rows = np.array(cells(tmp_path / "fitted" / "synthetic.csv")[1:], float)
    assert np.mean((rows > 4) & (rows < 6)) < 0.1


def test_wide_tables_are_cut_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_COLUMNS", 4)
    monkeypatch.setattr(run, "MOST_ROWS", 100)
    x = np.random.default_rng(0).normal(size=(300, 9)) * np.arange(9) + 1.0
    data = from_arrays(x)
    fitted = train(data, SPEC.replace(epochs=1), out=tmp_path / "run", figures=False).model
    found = judge_synthetic(fitted, data=data, out=tmp_path / "rows")
    assert (found["columns"], found["rows"]) == (4, {"train": 100, "test": 60, "synthetic": 100})
    said = " ".join(found["notes"])
    assert "1 column constant in the training rows" in said
    assert "Of 8 columns the 4 that vary most" in said
    assert "At most 100 rows of each kind" in said
    assert cells(tmp_path / "rows" / "synthetic.csv")[0] == [f"x{j}" for j in range(9)]


def test_command_judges_rows_of_a_file_and_names_invalid_cells(folder: Path, tmp_path: Path) -> None:
    header, *rows = cells(folder.parent / "rows" / "synthetic.csv", ";")
    rows[0][header.index("stage")], rows[1][header.index("visits")] = "V", "2,5"
    with (tmp_path / "other.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([header, *rows])
    done = commands.vaelab(["synthetic", str(folder), "other.csv", "--out", "judged"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "invalid: stage must be a level of the table, but 1 cell is not, such as V" in done.stdout
    assert "report: judged/report.html" in done.stdout
    page = Page((tmp_path / "judged" / "report.html").read_text())
    assert len(page.rows("Invalid cells")) == 3
    assert "1.3 % of the rows are invalid" in page.text
    printed = commands.vaelab(["synthetic", str(folder), "-n", "20", "--out", "few", "--json"], tmp_path)
    assert json.loads(printed.stdout)["rows"]["synthetic"] == 20
    with pytest.raises(InputError, match="overwrite"):
        judge_synthetic(folder, out=tmp_path / "few")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 5}, "at least 10, but got 5"),
        ({"prior": "fited"}, "did you mean 'fitted'"),
        ({"target": "stages"}, "did you mean 'stage'"),
        ({"rows": {"sex": ["m"] * 20}}, "lacks 'age' and 4 more"),
        ({"rows": PATIENTS, "n": 20}, "leave out the number of rows"),
        ({"rows": "missing.csv"}, "missing.csv"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        judge_synthetic(folder, out=tmp_path / "rows", **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_images_small_tables_and_other_data_are_refused(digits: Dataset, tmp_path: Path) -> None:
    images = train(digits, SPEC.replace(epochs=1), out=tmp_path / "images", figures=False).model
    with pytest.raises(InputError, match="has images of shape"):
        judge_synthetic(images, out=tmp_path / "rows")
    few = from_arrays(np.random.default_rng(0).normal(size=(30, 2)))
    fitted: Fitted = train(few, SPEC.replace(epochs=1), out=tmp_path / "few", figures=False).model
    with pytest.raises(InputError, match="at least 10 test rows"):
        judge_synthetic(fitted, data=few, out=tmp_path / "rows")
    with pytest.raises(InputError, match="must be those of the run"):
        judge_synthetic(fitted, data=from_arrays(np.random.default_rng(1).normal(size=(30, 2))), out=tmp_path / "rows")
    assert not (tmp_path / "rows").exists()
