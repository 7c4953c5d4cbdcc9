"""Answers of trained models are labels as the training data had them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaelab
from vaelab.classifier.fitted import FittedClassifier
from vaelab.data import from_arrays, load
from vaelab.data.labels import as_labels
from vaelab.errors import InputError, StoreError
from vaelab.study.worker import dump_data, open_data
from vaelab.use import NewRows, Predictions

RNG = np.random.default_rng(0)
CODES = np.arange(240) % 3
X = RNG.normal(0, 0.3, (240, 4)) + 4 * np.eye(3, 4)[CODES]
LABELS = {
    "int": np.array([10, 3, 7])[CODES],
    "text": np.array(["10", "3", "7"])[CODES],
    "bool": CODES == 1,
    "some": np.where(np.arange(240) % 2, np.array([10.0, 3.0, 7.0])[CODES], np.nan),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_classifier_answers_labels_as_given(kind: str, tmp_path: Path) -> None:
    y = LABELS[kind]
    study = vaelab.classify(X, y, trials=1, settings={"epochs": 30}, figures="none", out=tmp_path / "study")
    answers = vaelab.predict(study.folder, X).answers
    truth = LABELS["int"] if kind == "some" else y
    assert answers.dtype == truth.dtype
    assert np.mean(answers == truth) > 0.95


def test_labels_named_by_classes_are_answered_by_these_names() -> None:
    assert from_arrays(X, CODES).label_kind == "int"
    assert from_arrays(X, CODES, classes=["a", "b", "c"]).label_kind == "text"
    assert from_arrays(X, CODES, classes=["1", "2", "0"]).label_kind == "text"  # class 0 is called 1
    assert load("digits").label_kind == "int"


def test_a_clustering_answers_labels_as_given(tmp_path: Path) -> None:
    options: dict[str, Any] = {"settings": {"latent_dim": 2, "epochs": 20}, "components": 3, "figures": False}
    vaelab.cluster(X, LABELS["some"], out=tmp_path / "c", **options)
    found = vaelab.predict(tmp_path / "c", X).answers
    assert found.dtype == np.int64
    assert np.mean(found == LABELS["int"]) > 0.9
    vaelab.cluster(X, LABELS["int"], out=tmp_path / "d", reject=0.999999, **options)
    found = vaelab.predict(tmp_path / "d", X + 2.5, by="mixture").answers
    assert "unknown" in found.tolist()
    assert {type(answer) for answer in found.tolist()} <= {int, str}
    assert np.isin([answer for answer in found if answer != "unknown"], [3, 7, 10]).all()
    vaelab.cluster(X, out=tmp_path / "e", **options)
    assert vaelab.predict(tmp_path / "e", X).answers.dtype.kind == "U"  # clusters have numbers as names


def test_what_labels_were_is_kept_by_workers_and_saved_estimators(tmp_path: Path) -> None:
    data = from_arrays(X, LABELS["bool"])
    assert open_data(dump_data(data, tmp_path / "parcel")).label_kind == data.label_kind == "bool"
    model = vaelab.Classifier(epochs=5).fit(X, LABELS["int"])
    model.fitted_.save(tmp_path / "run", [], {})
    assert FittedClassifier.load(tmp_path / "run").facts.label_kind == "int"
    assert (vaelab.predict(tmp_path / "run", X).answers == model.predict(X)).all()


def test_data_and_predictions_are_told_in_one_line() -> None:
    data = from_arrays(X, LABELS["int"], name="blobs")
    assert repr(data) == (
        "Dataset(blobs, 240 examples of shape (4,) in float32; train 168, validation 24, test 48; 3 classes)"
    )
    found = Predictions(LABELS["int"], np.zeros((240, 3)), data.classes, NewRows(X))
    assert repr(found) == "Predictions(240 answers, proba (240, 3), classes ('3', '7', '10'))"


def test_answers_without_a_label_are_unknown() -> None:
    found = as_labels(np.array([1, -1, 0]), ("no", "yes"), "text")
    assert found.tolist() == ["yes", "unknown", "no"]
    assert as_labels(np.array([1, 0, -1]), ("False", "True"), "bool").tolist() == [True, False, "unknown"]


def test_a_model_that_answers_nothing_is_called_what_it_is(tmp_path: Path) -> None:
    vaelab.train(X, {"latent_dim": 2, "epochs": 1}, out=tmp_path / "run", figures=False)
    expected = r"is the run of a VAE, not of a classifier; .* `classify`, `regress` and `cluster` made"
    with pytest.raises(StoreError, match=expected):
        vaelab.predict(tmp_path / "run", X)


def test_a_comparison_tells_where_its_runs_are(tmp_path: Path) -> None:
    models = {"a": {"latent_dim": 2, "epochs": 1}, "b": {"latent_dim": 1, "epochs": 1}}
    vaelab.compare(X, models=models, seeds=1, out=tmp_path / "both")
    with pytest.raises(InputError, match=r"is a comparison; .*, such as .*models/00-a/seed0") as refused:
        vaelab.load(tmp_path / "both")
    vaelab.load(str(refused.value).partition("such as ")[2].rstrip("."))
