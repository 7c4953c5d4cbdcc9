"""Clusters of a table without labels: how many, which row is in which, by which columns each stands out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

import commands
from pages import Page
from vaelab.data import from_arrays, load
from vaelab.latent import LatentMixture
from vaelab.latent.described import describe_clusters

pytestmark = pytest.mark.usefixtures("unrendered")

NAMES = ["a", "b", "c", "d"]
CENTRES = np.array([[0, 0, 0, 0], [8, 8, 0, 0], [0, 0, 80, 1]])


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three clusters of 2 : 1 : 1, with a category that most rows of the last one share."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, n, p=[0.5, 0.25, 0.25])
    return CENTRES[codes] + rng.normal(size=(n, 4)) * [1, 1, 10, 0.01], codes


def write(path: Path, x: np.ndarray, codes: np.ndarray) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *NAMES, "town"])
        for i, (row, code) in enumerate(zip(x, codes, strict=True)):
            writer.writerow([f"p{i}", *row, "north" if code == 2 and i % 10 else "south"])
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clusters")
    table = write(folder / "table.csv", *blobs(240, 0))
    options = "--id name --set hidden=16 --set epochs=60 --set lr=1e-2 --em-starts 1 --reject 0.9 --out found"
    done = commands.vaelab(["cluster", str(table), *options.split()], folder)
    assert done.returncode == 0, done.stderr
    assert "what sets it apart" in done.stdout
    return folder


@pytest.mark.slow
def test_the_data_choose_the_number_and_every_row_has_its_cluster(found: Path) -> None:
    results = json.loads((found / "found" / "results.json").read_text())
    rows = list(csv.DictReader(io.StringIO((found / "found" / "clusters.csv").read_text())))
    data = load(str(found / "table.csv"), id="name")
    assert results["criterion"] == "ICL"
    assert results["components"] == 3
    assert [row["name"] for row in rows] == [f"p{i}" for i in range(240)]
    for split, numbers in data.splits.items():
        assert {rows[i]["split"] for i in numbers} == {split}
    truth = blobs(240, 0)[1]
    sure = [i for i, row in enumerate(rows) if row["cluster"] != "unknown"]
    assert all((float(row["probability"]) >= 0.9) == (row["cluster"] != "unknown") for row in rows)
    assert len(sure) > 200
    assert adjusted_rand_score(truth[sure], [rows[i]["cluster"] for i in sure]) > 0.95
    counted = [sum(row["cluster"] == own["cluster"] for row in rows) for own in results["described"]]
    assert counted == [own["rows"] for own in results["described"]]


def test_new_rows_are_answered_by_number(found: Path) -> None:
    x, codes = blobs(60, 1)
    done = commands.vaelab(["predict", "found", str(write(found / "new.csv", x, codes))], found)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["name", "label", "p(1)", "p(2)", "p(3)"]
    assert {row["label"] for row in rows} <= {"1", "2", "3", "unknown"}
    sure = [i for i, row in enumerate(rows) if row["label"] != "unknown"]
    assert adjusted_rand_score(codes[sure], [rows[i]["label"] for i in sure]) > 0.9


def test_rows_of_the_runs_own_data_have_one_answer(found: Path) -> None:
    done = commands.vaelab(["predict", "found", "table.csv"], found)
    rows = list(csv.DictReader(io.StringIO((found / "found" / "clusters.csv").read_text())))
    answers = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["label"] for row in answers] == [row["cluster"] for row in rows]


def test_latents_of_the_runs_own_data_have_the_split(found: Path) -> None:
    splits = [row["split"] for row in csv.DictReader(io.StringIO((found / "found" / "clusters.csv").read_text()))]
    done = commands.vaelab(["encode", "found/model", "table.csv"], found)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0])[:3] == ["name", "split", "z1"]
    assert [row["split"] for row in rows] == splits
    x, codes = blobs(60, 1)
    other = commands.vaelab(["encode", "found/model", str(write(found / "other.csv", x, codes))], found)
    assert other.stdout.splitlines()[0].startswith("name,z1")


def test_a_file_that_has_changed_has_no_splits(tmp_path: Path) -> None:
    table = write(tmp_path / "table.csv", *blobs(60, 0))
    done = commands.vaelab(["train", str(table), "--set", "epochs=1", "--set", "hidden=4", "--out", "run"], tmp_path)
    assert done.returncode == 0, done.stderr
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    done = commands.vaelab(["encode", "run", str(table)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("name,z1")


def test_the_page_describes_the_clusters(found: Path) -> None:
    text = Page((found / "found" / "report.html").read_text()).text
    assert "what sets it apart from the rest" in text
    assert "town = north" in text or "town = south" in text


def winsorised(x: np.ndarray) -> np.ndarray:
    ordered = np.sort(x, axis=0)
    cut = int(np.ceil(0.05 * (len(x) - 1)))
    return np.clip(x, ordered[cut], ordered[len(x) - 1 - cut])


def test_columns_that_set_a_cluster_apart_are_those_of_brute_force() -> None:
    x, codes = blobs(400, 2)
    data = from_arrays(x, features=NAMES)
    described = describe_clusters(data, np.eye(3)[codes], 0.0)
    for code, own in enumerate(described):
        assert own["rows"] == (codes == code).sum()
        sides = [winsorised(x[codes == code]), winsorised(x[codes != code])]
        gaps = (sides[0].mean(0) - sides[1].mean(0)) / np.concatenate(sides).std(0)
        order = np.argsort(-abs(gaps))[:3]
        assert [c["column"] for c in own["columns"]] == [NAMES[j] for j in order if abs(gaps[j]) >= 0.3]
        np.testing.assert_allclose([c["difference"] for c in own["columns"]], gaps[order][: len(own["columns"])], 1e-4)


def test_a_broken_reading_sets_no_cluster_apart() -> None:
    x, codes = blobs(400, 2)
    usual = describe_clusters(from_arrays(x, features=NAMES), np.eye(3)[codes], 0.0)
    x[np.flatnonzero(codes == 1)[0], 3] = -1e9
    found = describe_clusters(from_arrays(x, features=NAMES), np.eye(3)[codes], 0.0)
    for own, other in zip(found, usual, strict=True):
        assert [c["column"] for c in own["columns"]] == [c["column"] for c in other["columns"]]


def test_rows_below_the_probability_asked_for_are_in_no_cluster() -> None:
    data = from_arrays(blobs(40, 0)[0], features=NAMES)
    shares = np.tile([[0.6, 0.4]], (40, 1))
    assert [own["rows"] for own in describe_clusters(data, shares, 0.7)] == [0, 0]
    assert [own["rows"] for own in describe_clusters(data, shares, 0.6)] == [40, 0]


def test_icl_is_bic_and_twice_the_entropy() -> None:
    z = np.random.default_rng(0).normal(size=(200, 2))
    z[:80] += 3
    mixture = LatentMixture(2, starts=1).fit(z)
    reference = GaussianMixture(2, random_state=0).fit(z)
    proba = reference.predict_proba(z)
    entropy = -(proba * np.log(np.maximum(proba, 1e-300))).sum()
    assert mixture.icl(z) == pytest.approx(reference.bic(z) + 2 * entropy, rel=1e-2)
