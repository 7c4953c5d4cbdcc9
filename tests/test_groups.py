"""Groups stay whole wherever rows are split or chosen: estimators, workers, clusters, anomalies, and the Python API."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsClassifier

import vaelab
from vaelab.api.given import as_dataset
from vaelab.classifier import estimator as classifiers
from vaelab.classifier.estimator import Classifier
from vaelab.data import Dataset, from_arrays, load
from vaelab.data.style import Style
from vaelab.errors import InputError
from vaelab.latent import anomaly
from vaelab.latent.options import Options, label_rows
from vaelab.study.worker import dump_data, open_data
from vaelab.vae import estimator as vaes
from vaelab.vae.estimator import VAE

pytestmark = pytest.mark.usefixtures("unrendered")

Array = npt.NDArray[Any]
QUICK = {"epochs": 2, "hidden": "8"}


@pytest.fixture(scope="module")
def copies() -> tuple[Array, Array, Array]:
    """60 groups of 10 near-copies with labels that say nothing: every row knows its group, and no group another."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    x = rng.normal(size=(60, 12))[groups] + 0.02 * rng.normal(size=(600, 12))
    order = rng.permutation(600)
    return x[order].astype(np.float32), (groups % 2)[order], groups[order]


def assert_whole(splits: Any, groups: Array) -> None:
    held = [set(groups[rows].tolist()) for rows in splits.values() if len(rows)]
    assert len(set.union(*held)) == sum(map(len, held))


@pytest.mark.parametrize(("module", "feed"), [(vaes, "Feed"), (classifiers, "LabelledFeed")])
def test_estimators_hold_out_whole_groups(
    copies: tuple[Array, Array, Array], monkeypatch: pytest.MonkeyPatch, module: Any, feed: str
) -> None:
    x, y, groups = copies
    seen: list[Dataset] = []
    plain = getattr(module, feed)
    monkeypatch.setattr(module, feed, lambda data, *rest: seen.append(data) or plain(data, *rest))
    model = VAE(latent_dim=2, **QUICK) if module is vaes else Classifier(**QUICK)
    model.fit(x, y, groups=groups)
    model.fit(x, y, groups=[f"patient {group}" for group in groups])  # any values do
    for data in seen:
        assert_whole(data.splits, groups)
        assert len(data.splits["validation"]) == 60
    model.fit(x, y)
    assert len(set(groups[seen[-1].splits["train"]]) & set(groups[seen[-1].splits["validation"]])) > 20
    model.fit(x[:50], y[:50], groups=groups[:50])  # all of few rows serve both
    assert len(seen[-1].splits["validation"]) == 50
    with pytest.raises(InputError, match="at least 2 groups"):
        model.fit(x, y, groups=np.zeros(600))
    with pytest.raises(InputError, match="3 for 600 rows"):
        model.fit(x, y, groups=[1, 2, 3])


def test_a_search_of_scikit_learn_takes_groups(copies: tuple[Array, Array, Array]) -> None:
    x, y, groups = copies
    found = GridSearchCV(Classifier(**QUICK), {"lr": [1e-3, 2e-3]}, cv=GroupKFold(3)).fit(x, y, groups=groups)
    assert found.best_score_ < 0.7


def test_accuracy_without_signal_is_chance_only_by_group(copies: tuple[Array, Array, Array]) -> None:
    """A nearest neighbour finds a copy in train unless groups are whole."""
    x, y, groups = copies

    def accuracy(data: Dataset) -> float:
        nearest = KNeighborsClassifier(1).fit(data.rows("train"), data.labels_of("train"))
        return float(nearest.score(data.rows("test"), data.labels_of("test")))

    assert accuracy(from_arrays(x, y)) == 1
    assert np.mean([accuracy(from_arrays(x, y, group=groups, seed=seed)) for seed in range(10)]) < 0.65


def test_workers_get_all_that_is_known_of_the_data(copies: tuple[Array, Array, Array], tmp_path: Path) -> None:
    x, y, groups = copies
    data = from_arrays(x, y, group=groups, id=np.array([f"row{i:03d}" for i in range(600)]))
    more = {
        "left_out": {"comment": "free text"}, "notes": ("a note",), "targets": x[:, 0].astype(float),
        "numbers": np.arange(600) * 2, "condition": 1, "style": Style(";", ",", "NA", {"day": "%d.%m.%Y"}),
    }  # fmt: skip
    for own, folder in (dataclasses.replace(data, **more), tmp_path / "all"), (from_arrays(x), tmp_path / "bare"):
        again = open_data(json.loads(json.dumps(dump_data(own, folder))))
        for field in dataclasses.fields(Dataset):
            given, found = (getattr(one, field.name) for one in (own, again))
            if field.name == "splits":
                assert all((given[name] == found[name]).all() for name in given)
            elif isinstance(given, np.ndarray):
                np.testing.assert_array_equal(found, given)
            else:
                assert found == given, field.name


def test_labels_for_clusters_come_from_different_groups(copies: tuple[Array, Array, Array]) -> None:
    x, y, groups = copies
    data = from_arrays(x, y, group=groups)
    rows = label_rows(Options.create(labels=30), data)
    assert len(np.unique(groups[rows])) == 30
    assert len(np.unique(groups[label_rows(Options.create(labels=30), from_arrays(x, y))])) < 30


def test_a_class_is_held_out_of_whole_groups(copies: tuple[Array, Array, Array]) -> None:
    x, y, groups = copies
    data = from_arrays(x, y, group=groups)
    way = anomaly._without_class(data, "1", None)
    assert_whole(way.data.splits, groups)
    assert (y[way.data.splits["train"]] == 0).all()


def test_the_python_api_reads_as_the_command_line_does(copies: tuple[Array, Array, Array], tmp_path: Path) -> None:
    x, y, groups = copies
    lines = ["who,kind,note,a,b"] + [
        f"{group},{'xy'[label]},-,{row[0]},{row[1]}" for group, label, row in zip(groups, y, x, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    reading = {"group": "who", "drop": ["note"]}
    data = as_dataset(tmp_path / "t.csv", "kind", 3, reading)
    assert data.fingerprint == load(tmp_path / "t.csv", target="kind", seed=3, **reading).fingerprint
    assert_whole(data.splits, groups)
    given = as_dataset(tmp_path / "t.csv", "kind", 3, {"drop": ["note"], "condition": ["who"]})
    assert [column.name for column in given.columns if column.condition] == ["who"]
    run = vaelab.train(x, {**QUICK, "latent_dim": 2}, y, reading={"group": groups}, figures=False, out=tmp_path / "run")
    assert_whole(run.data.splits, groups)
    study = vaelab.classify(
        str(tmp_path / "t.csv"), "kind", {"lr": (1e-3, 1e-2, "log")}, 2, settings=QUICK, reading=reading, workers=1,
        figures="none", out=tmp_path / "study",
    )  # fmt: skip
    assert study.folder.exists()


def test_wrong_readings_are_refused(copies: tuple[Array, Array, Array]) -> None:
    x, y, groups = copies
    data = from_arrays(x, y)
    with pytest.raises(InputError, match="the target is no option of `reading`; give it as y='dose'"):
        as_dataset(x, reading={"target": "dose"})
    with pytest.raises(InputError, match="unknown option of `reading` 'groups'; did you mean 'group'"):
        as_dataset(x, y, 0, {"groups": groups})
    with pytest.raises(InputError, match="has already been read"):
        as_dataset(data, reading={"group": groups})
    with pytest.raises(InputError, match="`na` is for files"):
        as_dataset(x, reading={"na": ["-9"]})
    assert as_dataset(data, reading={}) is data


@pytest.mark.slow
def test_mice_by_mouse() -> None:
    """72 mice of 15 rows each: by row every test mouse is in train, by mouse none is."""
    path = Path(os.environ.get("VAELAB_DATA", "")) / "tables" / "mice.csv"
    if not path.is_file():
        if os.environ.get("VAELAB_REQUIRE_DATA") == "1":
            pytest.fail("needs tables/mice.csv in VAELAB_DATA")
        pytest.skip("needs tables/mice.csv in VAELAB_DATA")
    options: dict[str, Any] = {"target": "class", "drop": ["Genotype", "Treatment", "Behavior", "label"]}
    plain, grouped = load(path, **options), load(path, group="MouseID", **options)
    assert any("309_1 and 309_2" in note and "--group MouseID" in note for note in plain.notes)
    assert not any("309_1 and 309_2" in note for note in grouped.notes)
    assert plain.ids is not None
    mice = np.array([name.split("_")[0] for name in plain.ids])
    assert len(set(mice)) == 72
    assert_whole(grouped.splits, mice)
    assert set(mice[plain.splits["test"]]) <= set(mice[plain.splits["train"]])
    right: dict[str, list[float]] = {"plain": [], "grouped": []}
    for seed in range(4):
        for name, more in ("plain", {}), ("grouped", {"group": "id"}):
            data = load(path, seed=seed, **options, **more)
            mean = data.statistics.mean
            rows = {split: np.where(np.isnan(x := data.rows(split)), mean, x) for split in ("train", "test")}
            nearest = KNeighborsClassifier(1).fit(rows["train"] / data.statistics.std, data.labels_of("train"))
            right[name].append(nearest.score(rows["test"] / data.statistics.std, data.labels_of("test")))
    assert np.mean(right["plain"]) > 0.98
    assert np.mean(right["grouped"]) < 0.8
