"""`vaelab impute`: files filled in the table's own words."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from commands import vaelab

pytestmark = pytest.mark.slow

PATIENTS = Path(__file__).parents[2] / "examples" / "patients.csv"
LEVELS = {"sex": {"f", "m"}, "stage": {"I", "II", "III"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("impute")
    settings = ["--set", "hidden=8", "--set", "latent_dim=2", "--set", "epochs=20"]
    done = vaelab(["train", str(PATIENTS), "--group", "id", *settings, "--out", "run"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_cells_that_are_there_stay_and_others_are_filled(run: Path) -> None:
    done = vaelab(["impute", "run", str(PATIENTS), "--out", "filled.csv"], run.parent)
    assert done.returncode == 0, done.stderr
    with open(PATIENTS, newline="") as file:
        given = list(csv.DictReader(file, delimiter=";"))
    with open(run.parent / "filled.csv", newline="") as file:
        filled = list(csv.DictReader(file, delimiter=";"))
    assert set(filled[0]) == {"split", *given[0]} - {"id"}
    assert [row["patient"] for row in filled] == [row["patient"] for row in given]
    missing = sum(cell == "NA" for row in given for cell in row.values())
    some = sum("NA" in row.values() for row in given)
    assert f"{missing} cells filled in {some} of 300 rows, of columns " in done.stderr
    assert done.stderr.endswith("; written to filled.csv.\n")
    text = PATIENTS.read_text().splitlines()
    more = [f"{line};{cell}" for line, cell in zip(text, ["note", *["x"] * 300], strict=True)]
    (run.parent / "more.csv").write_text("\n".join(more) + "\n")
    done = vaelab(["impute", "run", "more.csv"], run.parent)
    assert done.stderr.endswith("; written, without column 'note', which the model does not have.\n")
    for before, after in zip(given, filled, strict=True):
        for name, cell in before.items():
            own = cell.replace(",", ".")
            if cell == "NA":
                assert after[name] in LEVELS.get(name, {after[name]})
                assert after[name] not in ("", "nan")
                assert name != "visits" or after[name].isdigit()
            elif name in LEVELS or name == "patient":
                assert after[name] == cell
            else:
                assert float(after[name].replace(",", ".")) == pytest.approx(float(own), rel=1e-6)


def test_draws_are_numbered_and_differ_only_where_a_cell_is_missing(run: Path) -> None:
    done = vaelab(["impute", "run", str(PATIENTS), "--draws", "3", "--out", "draws.parquet"], run.parent)
    assert done.returncode == 0, done.stderr
    table = pyarrow.parquet.read_table(run.parent / "draws.parquet").to_pydict()
    assert table["draw"] == [1] * 300 + [2] * 300 + [3] * 300
    with open(PATIENTS, newline="") as file:
        missing = np.array([row["pressure"] == "NA" for row in csv.DictReader(file, delimiter=";")])
    pressure = np.array(table["pressure"]).reshape(3, -1)
    differs = np.ptp(pressure, axis=0) > 0
    np.testing.assert_array_equal(differs, missing)


def test_columns_of_whole_numbers_are_written_whole_but_cells_that_are_there_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = np.stack([rng.integers(20, 90, 200), rng.normal(170, 9, 200).round(1)], 1)
    lines = [f"{age:.0f},{height}" if i % 9 else f",{height}" for i, (age, height) in enumerate(table.tolist())]
    (tmp_path / "t.csv").write_text("\n".join(["age,height", *lines]) + "\n")
    (tmp_path / "new.csv").write_text("age,height\n41.5,170.5\n,160.1\n")
    commands = [
        ["train", "t.csv", "--set", "hidden=4", "--set", "latent_dim=1", "--set", "epochs=1", "--out", "run"],
        ["sample", "run", "-n", "9", "--noise", "--out", "s.csv"],
        ["impute", "run", "new.csv", "--out", "f.csv"],
    ]
    for command in commands:
        done = vaelab(command, tmp_path)
        assert done.returncode == 0, done.stderr
    with open(tmp_path / "s.csv", newline="") as file:
        drawn = list(csv.DictReader(file))
    assert all(row["age"].isdigit() for row in drawn)
    assert any("." in row["height"] for row in drawn)
    with open(tmp_path / "f.csv", newline="") as file:
        filled = [row["age"] for row in csv.DictReader(file)]
    assert filled[0] == "41.5"
    assert filled[1].isdigit()


def test_bad_requests_are_one_line(run: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["--out", "filled.xlsx"], ["filled.xlsx", ".csv"]),
        (["--draws", "-1"], ["draws"]),
    ):
        done = vaelab(["impute", str(run), str(PATIENTS), *arguments], tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert all(word in done.stderr for word in words), done.stderr
    (tmp_path / "other.csv").write_text("sex;age\nm;3\n")
    done = vaelab(["impute", str(run), "other.csv"], tmp_path)
    assert done.returncode == 2
    assert "lacks 'pressure'" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.csv"]
