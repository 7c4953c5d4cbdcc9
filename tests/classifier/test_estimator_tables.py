"""The classifier on data frames with columns of every kind and missing cells, beside scikit-learn's own pipeline."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from vaelab.classifier import estimator as estimators
from vaelab.classifier.estimator import Classifier
from vaelab.classifier.feed import LabelledFeed
from vaelab.errors import InputError

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

N = 200
SMALL: dict[str, Any] = {"layers": 1, "units1": 16, "epochs": 15, "lr": 0.01, "dropout1": 0.0}
GROUPS = np.repeat(np.arange(N // 4), 4)


def flowers() -> tuple[Any, Any]:
    """Classes that a category and a number tell together, with missing cells."""
    rng = np.random.default_rng(0)
    size, colour = rng.normal(size=N), rng.integers(3, size=N)
    logit = 3 * size + np.array([-4, 0, 4])[colour]
    y = pd.Series(np.where(logit + rng.logistic(size=N) > 0, "tall", "short"))
    x = pd.DataFrame(
        {
            "size": size,
            "colour": pd.Categorical(np.array(["red", "blue", "white"])[colour]),
            "petals": pd.array(rng.poisson(5, size=N), dtype="Int64"),
            "wild": pd.array(rng.random(N) > 0.5, dtype="boolean"),
            "seen": pd.Timestamp("2024-05-01") + pd.to_timedelta(rng.integers(90, size=N), unit="D"),
        }
    )
    for name in x.columns:
        x[name] = x[name].mask(rng.random(N) < 0.1)
    return x, y


X, Y = flowers()


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    return Classifier(**SMALL, types={"petals": "count"}).fit(X, Y)


def test_it_learns_what_a_pipeline_of_scikit_learn_learns(fitted: Classifier) -> None:
    plain = X[["size", "colour"]].assign(colour=X["colour"].astype(object))
    pipe = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["size"]),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include=object)),
        ),
        LogisticRegression(),
    )
    assert fitted.score(X, Y) > pipe.fit(plain, Y).score(plain, Y) - 0.03
    assert [column.kind for column in fitted.fitted_.facts.columns] == [
        "real",
        "categorical",
        "count",
        "binary",
        "date",
    ]
    assert fitted.classes_.tolist() == ["short", "tall"]
    assert list(fitted.feature_names_in_) == list(X.columns)


def test_frames_of_both_libraries_agree(fitted: Classifier) -> None:
    other = Classifier(**SMALL, types={"petals": "count"}).fit(pl.from_pandas(X), pl.Series(Y.tolist()))
    np.testing.assert_allclose(other.predict_proba(pl.from_pandas(X)), fitted.predict_proba(X), atol=1e-6)


def test_answers_are_in_the_order_of_the_rows_whatever_their_index(fitted: Classifier) -> None:
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_array_equal(fitted.predict(X.iloc[order]), fitted.predict(X)[order])


def test_labels_of_any_type_are_the_same_labels(fitted: Classifier) -> None:
    for labels in (Y.astype("category"), Y.astype("string"), Y.to_numpy(), Y.tolist()):
        again = clone(fitted).fit(X, labels)
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    with pytest.raises(InputError, match="Input y contains NaN: row 3 has no label"):
        clone(fitted).fit(X, Y.mask(np.arange(N) == 3))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clone(fitted).fit(X, Y[:-1])


def test_arrays_may_miss_values_and_name_kinds_by_position() -> None:
    x = X[["size", "petals"]].to_numpy(float, na_value=np.nan)
    model = Classifier(**SMALL, types={1: "count"}).fit(x, Y)
    assert [column.kind for column in model.fitted_.facts.columns] == ["real", "count"]
    assert model.score(x, Y) > 0.6
    complete = Classifier(**SMALL).fit(np.nan_to_num(x), Y)
    with pytest.raises(InputError, match="trained on complete rows, but X misses a value at row"):
        complete.predict(x)
    with pytest.raises(InputError, match="convolutions need complete rows, but values are missing"):
        Classifier(network="conv", channels="4", epochs=1).fit(np.tile(x, 4), Y)


def test_pickled(fitted: Classifier) -> None:
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), fitted.predict_proba(X))


def test_a_search_over_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(estimators, "LabelledFeed", lambda data, spec: seen.append(data) or LabelledFeed(data, spec))
    model, folds = Classifier(**{**SMALL, "epochs": 2}), GroupKFold(2)
    search = GridSearchCV(model, {"units1": [4, 8]}, cv=folds, error_score="raise").fit(X, Y, groups=GROUPS)
    assert search.best_estimator_.predict(X).shape == (N,)
    seen.clear()
    with sklearn.config_context(enable_metadata_routing=True):
        GridSearchCV(model, {"units1": [4, 8]}, cv=folds, error_score="raise").fit(X, Y, groups=GROUPS)
    for data in seen:
        train, validation = (set(data.groups[data.splits[name]]) for name in ("train", "validation"))
        assert validation
        assert not train & validation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": np.inf}, "must hold finite numbers"),
        ({"colour": "green"}, "column 'colour' must hold one of blue, red, white, but X holds 'green' in row 0"),
    ],
)
def test_cells_that_no_model_can_read_are_told(fitted: Classifier, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted.predict(X.assign(**change))
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        fitted.predict(X[X.columns[::-1]])
