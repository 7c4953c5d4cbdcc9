"""Two sets of rows beside each other: tests by scipy and by brute force, and drifts that were planted."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import commands
import vaelab
from pages import Page
from vaelab.comparison import drift
from vaelab.comparison.drift import latent_drift, level_drift, number_drift
from vaelab.data import from_arrays
from vaelab.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "TREES", 40)


def write(path: Path, n: int, seed: int, *, is_changed: bool = False) -> Path:
    """Rows of a and b, which go together, c and a city; changed: b is one higher, cities are others, c has gaps."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    b = 50 * (a + 0.3 * rng.normal(size=n) + is_changed)
    c = rng.normal(size=n)
    city = rng.choice(["north", "south", "west"], n, p=[0.1, 0.1, 0.8] if is_changed else [0.4, 0.4, 0.2])
    gap = rng.random(n) < (0.3 if is_changed else 0.02)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "city"])
        writer.writerows(zip(a, b, np.where(gap, "", c.astype(str)), city, strict=True))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    settings = {"hidden": "16", "latent_dim": 2, "lr": 1e-2, "epochs": 20}
    vaelab.train(write(folder / "known.csv", 500, 0), settings, out=folder / "run", figures=False)
    return folder / "run"


def test_numbers_are_compared_as_scipy_does() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=80), rng.normal(0.5, 2, size=60)
    statistic, shift, p = number_drift(a, b)
    grid = np.concatenate([a, b])
    assert statistic == pytest.approx(max(abs((a <= t).mean() - (b <= t).mean()) for t in grid))
    assert shift == pytest.approx((b.mean() - a.mean()) / a.std())
    assert p == pytest.approx(stats.ks_2samp(a, b, method="exact").pvalue)
    assert number_drift(np.ones(20), rng.normal(size=20))[1] is None


def test_levels_are_compared_by_all_permutations() -> None:
    a, b = list("aaab"), list("bbbc")
    distance, p = level_drift(a, b)
    assert distance == pytest.approx(0.75)

    def variation(x: list[str], y: list[str]) -> float:
        return 0.5 * sum(abs(x.count(level) / 4 - y.count(level) / 4) for level in "abc")

    rows, far = a + b, []
    for chosen in itertools.combinations(range(8), 4):
        split = [rows[i] for i in chosen], [rows[i] for i in range(8) if i not in chosen]
        far.append(variation(*split) >= 0.75 - 1e-9)
    assert p == pytest.approx(np.mean(far), abs=4 * np.sqrt(np.mean(far) / 9_999))


def test_latents_of_one_law_are_not_told_apart_and_shifted_ones_are() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    auc, error, p = latent_drift(x[:150], x[150:])
    assert abs(auc - 0.5) < 4 * error
    assert p > 0.01
    auc, error, p = latent_drift(x[:150], x[150:] + np.array([1.5, 0]))
    exact = stats.norm.cdf(1.5 / 2**0.5)  # of the best classifier
    assert exact - 0.1 < auc < exact + 3 * error
    assert p < 1e-9


def test_planted_drifts_are_found(run: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "new.csv", 150, 1, is_changed=True)
    before = json.loads((run / "metrics.json").read_text())["test_opened"]
    done = commands.vaelab(["drift", str(run), str(file), "--out", "found"], tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "found" / "results.json").read_text())
    own = {one["column"]: one for one in results["columns"]}
    assert [name for name, one in own.items() if one["differs"]] == list(own)[:3]
    assert {name for name, one in own.items() if one["differs"]} == {"b", "c", "city"}
    assert own["b"]["shift"] == pytest.approx(1 / np.sqrt(1.09), abs=0.35)
    assert own["city"]["distance"] == pytest.approx(0.6, abs=0.15)
    assert own["city"]["shift"] is None
    assert own["c"]["p_holm"] > 0.05
    assert own["c"]["missing_p_holm"] < 0.01
    assert results["score"]["change"] > 5 * results["score"]["se"]  # b no longer goes with a
    assert results["latents"]["auc"] > 0.6
    assert json.loads((run / "metrics.json").read_text())["test_opened"] == before + 1
    page = Page((tmp_path / "found" / "report.html").read_text())
    assert "3 of 4 columns differ" in page.text
    assert len(page.rows("Drift of the columns")) == 5
    assert (tmp_path / "found" / "figures" / "drift.png").exists()


def test_two_files_of_one_law_do_not_differ(run: Path, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{seed}.csv", 150, seed) for seed in (2, 3)]
    before = (run / "metrics.json").read_text()
    done = commands.vaelab(["drift", str(run), str(files[0]), "--against", str(files[1]), "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert not any(one["differs"] for one in results["columns"])
    assert abs(results["score"]["change"]) < 4 * results["score"]["se"]
    assert results["latents"]["p_value"] > 0.01
    assert (run / "metrics.json").read_text() == before  # the test split is not opened


def test_rows_of_the_model_itself_are_told_and_those_in_both_sets_left_out(run: Path) -> None:
    found = vaelab.drift(vaelab.load(run), run.parent / "known.csv")
    assert any("training rows" in note for note in found.notes)
    held = len(found.reference)
    assert len(found.score) == 500 - held
    assert any(f"{held} rows of the file are also among those" in note for note in found.notes)
    assert abs(found.auc - 0.5) < 4 * found.auc_se


def test_equal_rows_of_few_levels_are_no_copies(run: Path) -> None:
    rng = np.random.default_rng(0)
    few, many = rng.integers(0, 2, (50, 4)).astype(float), rng.normal(size=(50, 4))
    assert not drift._shared(few, few[:20]).any()
    assert drift._shared(many, many[10:20]).tolist() == [10 <= i < 20 for i in range(50)]


def test_a_new_level_is_a_drift_of_its_column(run: Path, tmp_path: Path) -> None:
    lines = write(tmp_path / "new.csv", 150, 4).read_text().splitlines()
    lines[1:61] = [line.rpartition(",")[0] + ",abroad" for line in lines[1:61]]
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    found = vaelab.drift(vaelab.load(run), tmp_path / "new.csv")
    city = next(one for one in found.columns if one.column == "city")
    assert city.differs
    assert city.distance == pytest.approx(0.4, abs=0.1)
    assert city.missing == 0
    assert any("'city' holds levels that training did not have" in note for note in found.notes)
    assert any("'abroad' in row 0 and 59 more" in note for note in found.notes)


@pytest.mark.parametrize(
    ("rows", "said"), [(5, ["at least 10", "5 rows"]), (None, ["missing.csv"])], ids=["few", "no file"]
)
def test_bad_input_is_one_line(run: Path, tmp_path: Path, rows: int | None, said: list[str]) -> None:
    file = tmp_path / "missing.csv" if rows is None else write(tmp_path / "few.csv", rows, 1)
    done = commands.vaelab(["drift", str(run), str(file), "--out", "found"], tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert [part for part in said if part not in done.stderr] == []
    assert not (tmp_path / "found").exists()


def test_other_data_are_no_reference(run: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    with pytest.raises(InputError, match="not what the model was trained on"):
        vaelab.drift(vaelab.load(run), run.parent / "known.csv", data=from_arrays(x))
