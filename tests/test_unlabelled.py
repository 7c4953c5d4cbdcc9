"""Rows without a label: a VAE learns from them, and whatever needs labels does without them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

import vaelab
from vaelab import metrics
from vaelab.classifier.learning import Discriminative
from vaelab.classifier.spec import ClassifierSpec
from vaelab.classifier.system import ClassifierSystem
from vaelab.classifier.task import TASK
from vaelab.data import Dataset, from_arrays, load
from vaelab.data.describe import describe
from vaelab.data.explore import class_counts
from vaelab.engine import training
from vaelab.engine.resolve import auto_epochs
from vaelab.errors import InputError
from vaelab.latent.anomaly import anomaly
from vaelab.report.classifier import PAGE, headline
from vaelab.report.cluster import build_cluster_report
from vaelab.study import tune
from vaelab.study.config import Config
from vaelab.study.watch import Watch
from vaelab.supervised.model import outputs_of
from vaelab.vae.explorer import explorer_data
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks.probe import PROBE

N, LABELLED = 300, 45


def blobs(seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Three clusters in four columns, one of which is noise."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(N) % 3)
    return np.stack([codes * 4, codes * -3, codes, 0 * codes], 1) + 0.5 * rng.normal(size=(N, 4)), codes


def partly(codes: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Names of the first LABELLED codes, and None."""
    names: npt.NDArray[Any] = np.array(["one", "three", "two"], dtype=object)[codes]
    names[LABELLED:] = None
    return names


@pytest.fixture(scope="module")
def data() -> Dataset:
    x, codes = blobs()
    return from_arrays(x, partly(codes))


@pytest.mark.parametrize("kind", ["text", "numbers", "csv"])
def test_a_row_without_a_label_has_the_code_minus_one(kind: str, tmp_path: Path) -> None:
    x, codes = blobs()
    if kind == "csv":
        rows = [[*(f"{value:.4f}" for value in row), name or ""] for row, name in zip(x, partly(codes), strict=True)]
        lines = [",".join(row) for row in rows]
        (tmp_path / "t.csv").write_text("a,b,c,d,kind\n" + "\n".join(lines))
        found = load(tmp_path / "t.csv", target="kind")
    else:
        y = partly(codes) if kind == "text" else np.where(np.arange(N) < LABELLED, codes * 10.0, np.nan)
        found = from_arrays(x, y)
    assert found.classes == (("0", "10", "20") if kind == "numbers" else ("one", "three", "two"))
    np.testing.assert_array_equal(found.labels, np.where(np.arange(N) < LABELLED, codes, -1))
    assert f"{N - LABELLED} of {N} examples have no label" in " ".join(found.notes)
    counts = np.bincount(codes[:LABELLED], minlength=3)
    assert list((describe(found)["classes"] or {}).values()) == counts.tolist()


def test_labelled_rows_are_shared_among_the_splits(data: Dataset) -> None:
    by_split = class_counts(data)
    assert by_split is not None
    for split, share in ("train", 0.7), ("validation", 0.1), ("test", 0.2):
        assert abs(sum(by_split[split].values()) - share * LABELLED) < 2
        assert len(data.labelled.splits[split]) == sum(by_split[split].values())
    assert sum(len(rows) for rows in data.splits.values()) == N


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([None] * N, f"none of {N} has one"),
        (np.full(N, np.nan), f"none of {N} has one"),
        (np.where(np.arange(N) % 2, np.nan, np.inf), "row 0 holds inf"),
    ],
)
def test_no_label_at_all_and_infinite_ones_are_refused(y: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_arrays(blobs()[0], y)


def test_probes_see_labelled_rows_alone() -> None:
    z, codes = np.random.default_rng(1).normal(size=(200, 2)), np.random.default_rng(2).integers(0, 3, 200)
    some = np.where(np.random.default_rng(3).random(200) < 0.4, codes, -1)
    there = some >= 0
    found = metrics.task_scores((z, some), {"test": (z, some), "none": (z, np.full(200, -1))})
    expected = metrics.task_scores((z[there], codes[there]), {"test": (z[there], codes[there])})
    assert found == expected
    standard = (z[there] - z[there].mean(0)) / z[there].std(0)
    own = LogisticRegression(max_iter=1000).fit(standard, codes[there])
    assert found["test"]["probe"] == pytest.approx(own.score(standard, codes[there]))
    assert metrics.task_scores((z, np.full(200, -1)), {"test": (z, some)}) == {}


def test_a_classifier_is_that_of_the_labelled_rows() -> None:
    x, codes = blobs()
    words = np.array(["train", "train", "train", "validation", "test"])[np.arange(N) % 5]
    spec = ClassifierSpec(hidden="8", epochs=3, batch_size=16)
    found = []
    for rows in slice(None), slice(LABELLED):
        system = ClassifierSystem()
        own = from_arrays(x[rows], partly(codes)[rows], split=words[rows])
        feed = system.feed(own, system.resolved(spec, own))
        stack = training.Stack([system.resolved(spec, own)], feed, Discriminative())
        for _ in training.epochs(stack):
            pass
        found.append(outputs_of(stack.model, stack.views(stack.best), feed.batches("test", 1))[0])
    np.testing.assert_array_equal(*found)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of all rows, and of those with a label in the same splits; every seventh row has one."""
    folder = tmp_path_factory.mktemp("tables")
    x, codes = blobs()
    words = np.array(["train", "train", "train", "validation", "test"])[np.arange(N) % 5]
    names = np.where(np.arange(N) % 7 == 0, np.array(["one", "three", "two"])[codes], "")
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), name, word])
        for row, name, word in zip(x, names, words, strict=True)
    ]
    for file, kept in ("all.csv", lines), ("alone.csv", lines[::7]):
        (folder / file).write_text("\n".join(["a,b,c,d,kind,split", *kept]))
    return folder / "all.csv", folder / "alone.csv"


class Stop(Exception):
    """Ends a study once it has told its plan."""


def plan(study: Callable[[Watch], Any]) -> str:
    """The number of epochs and steps that a study tells."""

    class Listener(Watch):
        def note(self, text: str) -> None:
            if text.startswith("epochs = auto"):
                raise Stop(text)

    with pytest.raises(Stop) as told:
        study(Listener())
    return str(told.value)


@pytest.mark.slow
def test_epochs_are_planned_for_labelled_rows_of_new_and_of_resumed_studies(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    data, alone = (load(path, target="kind", split="split") for path in tables)
    config = Config.create(TASK, None, {"batch_size": 4, "engine": "autograd"}, trials=1)
    steps = -(-sum(i % 5 < 3 for i in range(0, N, 7)) // 4)
    begun = plan(lambda watch: tune.begin(config, data, workers=1, out=tmp_path / "s", watch=watch))
    assert f"{auto_epochs(steps):,} epochs of {steps} steps" in begun
    assert plan(lambda watch: tune.resume(tmp_path / "s", data, TASK, workers=1, watch=watch)) == begun
    few = ClassifierSpec(batch_size=len(alone.splits["train"]) + 1)
    with pytest.raises(InputError, match=f"number of training examples, but got .* for {len(alone.splits['train'])};"):
        ClassifierSystem().resolve(few, data)


@pytest.mark.slow
@pytest.mark.usefixtures("unrendered")
def test_a_study_is_that_of_the_labelled_rows(tables: tuple[Path, Path], tmp_path: Path) -> None:
    found = []
    for path in tables:
        study = vaelab.classify(
            path, "kind", {"dropout1": (0.0, 0.5)}, 1, settings={"epochs": 40, "hidden": "8", "lr": 0.02}, workers=1,
            reading={"split": "split"}, figures="none", out=tmp_path / path.stem,
        )  # fmt: skip
        found.append(study.results)
    whole, alone = found
    for part in "best", "baseline", "baselines":
        assert json.dumps(whole[part]) == json.dumps(alone[part])
    assert [row["value"] for row in whole["table"]] == [row["value"] for row in alone["table"]]
    splits = alone["data"]["splits"]
    assert whole["data"]["splits"] == splits
    there = sum(splits.values())
    assert [note for note in whole["data"]["notes"] if "label" in note] == [
        f"{N - there} of {N} examples have no label: whatever needs labels is of the other {there} ({splits['train']} "
        f"training, {splits['validation']} validation and {splits['test']} test rows)."
    ]
    assert f" of {splits['test']} test examples correctly" in headline(whole)
    cards = {card.name: (card.cell.error, card.unit) for card in PAGE.cards(whole)}
    assert whole["best"]["validation"]["accuracy"] == 1
    assert cards["validation accuracy"] == ("", f"share of {splits['validation']} examples")
    split = vaelab.predict(tmp_path / "all", tables[0]).rows.split
    expected = np.array(["train", "train", "train", "validation", "test"])[np.arange(N) % 5]
    assert split is not None
    assert split.tolist() == np.where(np.arange(N) % 7 == 0, expected, "").tolist()


def test_what_is_judged_by_labels_needs_some_in_every_split() -> None:
    x, codes = blobs()
    words = np.where(np.arange(N) < LABELLED, "train", np.where(np.arange(N) % 2, "validation", "test"))
    own = from_arrays(x, partly(codes), split=words)
    with pytest.raises(InputError, match=r"none of the .* validation rows has one; label more"):
        ClassifierSystem().resolved(ClassifierSpec(), own)
    with pytest.raises(InputError, match="the yardstick probe needs labels, but none of the"):
        PROBE.check(own)


@pytest.mark.slow
def test_a_few_labels_name_the_clusters_of_all_rows(data: Dataset, tmp_path: Path) -> None:
    found = vaelab.cluster(data, settings={"epochs": 40}, out=tmp_path / "c", figures=False)
    codes = blobs()[1]
    results = found.results
    assert results["labels"]["number"] == len(data.labelled.splits["train"])
    assert results["test"]["labelled_accuracy"] == 1
    assert results["components"] == 3
    answers = vaelab.predict(tmp_path / "c", data.x).answers
    assert np.mean(np.array(["one", "three", "two"])[codes] == answers) > 0.97
    judged = f"100.0 % of {len(data.labelled.splits['test'])} labelled test rows classified correctly"
    assert judged in build_cluster_report(tmp_path / "c", Spec).read_text(encoding="utf-8")
    told = [note for note in results["notes"] if "test rows have a label" in note]
    assert told == [
        f"{len(data.labelled.splits['test'])} of {len(data.splits['test'])} test rows have a label: accuracies on test "
        "are of these."
    ]


@pytest.mark.slow
def test_the_page_lists_rows_without_a_label_which_are_no_anomalies(data: Dataset, tmp_path: Path) -> None:
    run = vaelab.train(data, Spec(epochs=2, hidden="8"), out=tmp_path / "r", figures=False)
    page = explorer_data({"r": run.model}, data)
    assert page["classes"] == [*data.classes, "no label"]
    assert page["unlabelled"] == 3
    found = anomaly(data, held_out="two", settings={"epochs": 2, "hidden": "8"}, out=tmp_path / "a")
    counts = data.counts(data.splits["test"])
    told = {kind: found["directions"][0][kind]["examples"] for kind in ("known", "other")}
    assert told == {"known": counts[:2].sum(), "other": counts[2]}
