"""The estimator on data frames with columns of every kind and missing cells, beside pandas and scikit-learn itself."""

from __future__ import annotations

import pickle
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from vaelab.classifier.estimator import Classifier
from vaelab.errors import InputError
from vaelab.regressor.estimator import Regressor
from vaelab.vae import estimator as estimators
from vaelab.vae import feed
from vaelab.vae.estimator import VAE

pytestmark = pytest.mark.slow

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

N = 160
SMALL: dict[str, Any] = {"latent_dim": 2, "layers": 1, "width": 16, "epochs": 4, "types": {"visits": "count"}}
GROUPS = np.repeat(np.arange(N // 4), 4)


def people() -> Any:
    """One factor z under columns of every kind, a tenth of the cells missing; ids in a column and in the index."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    level = np.clip(np.round(z + 1), 0, 2).astype(int)
    frame = pd.DataFrame(
        {
            "who": [f"person {i:03d}" for i in range(N)],
            "weight": 70 + 10 * z + rng.normal(size=N),
            "height": 170 + 5 * z + rng.normal(size=N),
            "visits": pd.array(rng.poisson(np.exp(2 + 0.5 * z)), dtype="Int64"),
            "sex": pd.array(np.where(z > 0, "m", "f"), dtype="string"),
            "city": pd.Categorical(np.array(["Ulm", "Bonn", "Kiel"])[level]),
            "smokes": pd.array(z > 0.5, dtype="boolean"),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(300 * z).astype(int), unit="D"),
        },
        index=pd.Index([f"r{i % 90}" for i in range(N)], name="row"),  # with repeats
    )
    gaps = rng.random(frame.shape) < 0.1
    for j, name in enumerate(frame.columns[1:], 1):
        frame.loc[:, name] = frame[name].mask(gaps[:, j])
    return frame


FRAME = people()
POLARS = pl.from_pandas(FRAME.reset_index(drop=True))
MODELLED = list(FRAME.columns[1:])


@pytest.fixture(scope="module")
def vae() -> VAE:
    return VAE(**SMALL).fit(FRAME)


@pytest.fixture(scope="module")
def from_polars() -> VAE:
    return VAE(**SMALL).fit(POLARS)


@parametrize_with_checks([VAE(likelihood="mixed", epochs=3, width=16)])
def test_keeps_the_conventions_of_scikit_learn_with_typed_columns(estimator: VAE, check: Any) -> None:
    check(estimator)


def test_every_column_gets_its_kind(vae: VAE, from_polars: VAE) -> None:
    kinds = ["real", "real", "count", "binary", "categorical", "binary", "date"]
    for fitted in (vae, from_polars):
        assert [(c.name, c.kind) for c in fitted.fitted_.facts.columns] == list(zip(MODELLED, kinds, strict=True))
        assert list(fitted.feature_names_in_) == list(FRAME.columns)
        assert (fitted.n_features_in_, fitted.spec_.likelihood) == (8, "mixed")
    assert vae.__sklearn_tags__().input_tags.allow_nan


def test_frames_of_both_libraries_and_arrays_are_one_table(vae: VAE, from_polars: VAE) -> None:
    np.testing.assert_allclose(from_polars.transform(POLARS), vae.transform(FRAME), atol=1e-9)
    numbers = FRAME[["weight", "height"]].dropna()
    kinds = {"weight": "real", "height": "real"}
    by_frame = VAE(**{**SMALL, "types": kinds}).fit(numbers)
    by_array = VAE(**{**SMALL, "types": None}).fit(numbers.to_numpy())
    np.testing.assert_array_equal(by_frame.transform(numbers), by_array.transform(numbers.to_numpy()))
    np.testing.assert_array_equal(by_frame.score_samples(numbers), by_array.score_samples(numbers.to_numpy()))


# --- what comes back --------------------------------------------------------------------------------------------------


def test_imputed_pandas_differ_from_the_frame_in_its_gaps_alone(vae: VAE) -> None:
    before = FRAME.copy()
    filled = vae.impute(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)
    pd.testing.assert_frame_equal(filled.where(FRAME.notna()), FRAME.where(FRAME.notna()))
    assert filled.index.equals(FRAME.index)
    assert filled.dtypes.equals(FRAME.dtypes)
    assert filled.notna().all(axis=None)
    assert (filled["visits"] >= 0).all()


def test_imputed_polars_differ_from_the_frame_in_its_gaps_alone(from_polars: VAE) -> None:
    filled = from_polars.impute(POLARS)
    assert filled.schema == POLARS.schema
    assert filled.null_count().sum_horizontal().item() == 0
    there = POLARS.select(pl.all().is_not_null())
    for name in POLARS.columns:
        assert filled[name].filter(there[name]).equals(POLARS[name].filter(there[name]))


def test_single_values_are_near_a_regression() -> None:
    """weight and height share one factor: what the best linear prediction from all others says of weight."""
    longer = VAE(**{**SMALL, "epochs": 60, "lr": 0.01}).fit(FRAME)
    complete = FRAME.dropna()
    found = longer.impute(complete.assign(weight=np.nan))
    others = complete[["height"]]
    expected = LinearRegression().fit(others, complete["weight"]).predict(others)
    errors = found["weight"] - complete["weight"]
    assert np.sqrt(np.mean(errors**2)) < 1.3 * np.sqrt(np.mean((expected - complete["weight"]) ** 2))
    assert np.sqrt(np.mean(errors**2)) < 0.5 * complete["weight"].std()


def test_draws_are_a_list_of_frames_that_differ_in_the_gaps(vae: VAE) -> None:
    first, second = vae.impute(FRAME, draws=2, random_state=0)
    for each, again in zip((first, second), vae.impute(FRAME, draws=2, random_state=0), strict=True):
        pd.testing.assert_frame_equal(each, again)
        assert each.dtypes.equals(FRAME.dtypes)
        assert each.notna().all(axis=None)
    differs = (first != second).to_numpy()
    assert differs.any()
    assert not (differs & FRAME.notna().to_numpy()).any()
    for draws in (-1, 1.5, True):
        with pytest.raises(InputError, match="`draws` must be a whole number"):
            vae.impute(FRAME, draws=draws)  # type: ignore[arg-type]


def test_arrays_are_filled_as_arrays() -> None:
    x = FRAME[["weight", "height", "visits"]].to_numpy(dtype=float, na_value=np.nan)
    vae = VAE(**{**SMALL, "types": {2: "count"}}).fit(x)
    assert [column.kind for column in vae.fitted_.facts.columns] == ["real", "real", "count"]
    filled, there = vae.impute(x), ~np.isnan(x)
    np.testing.assert_array_equal(filled[there], x[there])
    assert np.isfinite(filled).all()
    assert (filled[:, 2] == np.round(filled[:, 2])).all()
    assert vae.impute(x, draws=3, random_state=0).shape == (3, N, 3)
    assert vae.impute(x.astype(np.float32)).dtype == np.float32
    assert isinstance(vae.sample(2), np.ndarray)
    named = vae.set_output(transform="pandas").impute(x)
    assert list(named.columns) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(named.to_numpy(), filled)


def test_reconstructions_keep_index_names_and_ids(vae: VAE, from_polars: VAE) -> None:
    back = vae.reconstruct(FRAME)
    assert back.index.equals(FRAME.index)
    assert list(back.columns) == list(FRAME.columns)
    assert back["who"].tolist() == FRAME["who"].tolist()
    assert set(back["sex"]) <= {"m", "f"}
    assert back["city"].dtype == FRAME["city"].dtype
    assert back["since"].dtype == FRAME["since"].dtype
    decoded = vae.inverse_transform(vae.transform(FRAME))  # the same, of the columns that are modelled
    pd.testing.assert_frame_equal(decoded.set_axis(FRAME.index), back[MODELLED])
    assert from_polars.reconstruct(POLARS).columns == POLARS.columns


def test_samples_are_in_the_words_of_the_table(vae: VAE, from_polars: VAE) -> None:
    drawn = vae.sample(30, random_state=0, noise=True)
    assert drawn.dtypes.equals(FRAME[MODELLED].dtypes)
    assert set(drawn["city"]) <= {"Ulm", "Bonn", "Kiel"}
    assert from_polars.sample(3, random_state=0, noise=True).schema == POLARS.select(MODELLED).schema


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_decides_and_keeps_the_index(vae: VAE, library: str) -> None:
    chosen = pickle.loads(pickle.dumps(vae)).set_output(transform=library)
    z = chosen.transform(FRAME)
    assert list(z.columns) == ["vae0", "vae1"]
    np.testing.assert_array_equal(z.to_numpy(), vae.transform(FRAME))
    module = pd if library == "pandas" else pl
    for frame in (z, chosen.reconstruct(FRAME), chosen.impute(FRAME), chosen.inverse_transform(z), chosen.sample(2)):
        assert isinstance(frame, module.DataFrame)
    other = chosen.impute(POLARS if library == "pandas" else FRAME)  # from one library to the other
    assert list(other.columns) == list(FRAME.columns)
    assert list(other["who"]) == list(FRAME["who"])
    assert list(other["city"]) == list(vae.impute(FRAME)["city"])
    if library == "pandas":
        assert z.index.equals(FRAME.index)
        assert chosen.inverse_transform(z).index.equals(FRAME.index)
    else:
        assert chosen.transform(POLARS).columns == ["vae0", "vae1"]


# --- company ----------------------------------------------------------------------------------------------------------


def test_in_a_pipeline_and_pickled_and_cloned(vae: VAE) -> None:
    y = FRAME["weight"].fillna(70) > 70
    pipe = make_pipeline(VAE(**{**SMALL, "epochs": 40, "lr": 0.01}), LogisticRegression()).fit(FRAME, y)
    assert pipe.score(FRAME, y) > 0.8
    copy = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(copy.score_samples(FRAME), vae.score_samples(FRAME))
    pd.testing.assert_frame_equal(copy.impute(FRAME), vae.impute(FRAME))
    np.testing.assert_array_equal(clone(vae).fit(FRAME).transform(FRAME), vae.transform(FRAME))


def test_a_search_over_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(estimators, "Feed", lambda data, spec: seen.append(data) or feed.Feed(data, spec))
    folds, grid = GroupKFold(4), {"latent_dim": [1, 2]}  # folds of 120 rows, of which some are held out
    search = GridSearchCV(VAE(**SMALL), grid, cv=folds, error_score="raise").fit(FRAME, groups=GROUPS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert all(data.groups is None for data in seen)
    seen.clear()
    with sklearn.config_context(enable_metadata_routing=True):
        routed = GridSearchCV(VAE(**SMALL), grid, cv=folds, error_score="raise").fit(FRAME, groups=GROUPS)
    assert len(seen) == 9
    for data in seen:
        train, validation = (set(data.groups[data.splits[name]]) for name in ("train", "validation"))
        assert validation
        assert not train & validation
    assert routed.best_estimator_.impute(FRAME).notna().all(axis=None)


def test_two_workers_find_what_one_finds() -> None:
    one = cross_val_score(VAE(**SMALL), FRAME, cv=2, error_score="raise")
    with joblib.parallel_config("threading"):  # processes would take seconds to import torch
        two = cross_val_score(VAE(**SMALL), FRAME, cv=2, n_jobs=2, error_score="raise")
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_levels_that_a_column_declares_may_be_new(library: str) -> None:
    """As in a fold without the one row that has a rare level."""
    levels = ["Bonn", "Kiel", "Rome", "Ulm"]
    frame = FRAME.assign(city=pd.Categorical(FRAME["city"].astype(object), categories=levels))
    rare = frame.assign(city=pd.Categorical(["Rome"] * N, categories=levels))
    if library == "polars":
        types = {"city": pl.Enum(levels)}
        frame, rare = (pl.from_pandas(each).cast(types) for each in (frame, rare))
    vae = VAE(**SMALL).fit(frame)
    assert np.isfinite(vae.score_samples(rare)).all()
    assert vae.score(rare) < vae.score(frame)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_columns_are_those_of_training_as_scikit_learn_demands(vae: VAE) -> None:
    for method in (vae.transform, vae.score, vae.impute, vae.reconstruct):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            method(FRAME[FRAME.columns[::-1]])
        with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing:\n- city"):
            method(FRAME.drop(columns="city"))
        with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- more"):
            method(FRAME.assign(more=1))


def test_an_array_is_taken_by_position(vae: VAE) -> None:
    x = np.insert(
        vae.fitted_.rows(FRAME).astype(float), 0, 0, axis=1
    )  # levels by number, dates in days, anything for the ids
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        z = vae.transform(x)
    np.testing.assert_array_equal(z, vae.transform(FRAME))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.inf}, "must hold finite numbers, but 160 of column 'weight' are infinite"),
        ({"sex": "x"}, "column 'sex' must hold one of f, m, but X holds 'x' in row 0"),
        ({"visits": -1}, "column 'visits' must be 0 or more"),
        ({"weight": "heavy"}, "must hold numbers in column 'weight', but row 0 holds 'heavy'"),
    ],
)
def test_cells_that_no_model_can_read_are_told_in_one_line(vae: VAE, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        vae.transform(FRAME.assign(**change))
    assert "\n" not in str(error.value)


def test_frames_without_rows_are_refused_in_one_line(vae: VAE) -> None:
    for empty in FRAME.iloc[:0], POLARS[:0]:
        for method in (vae.transform, vae.score, vae.impute):
            with pytest.raises(InputError, match=r"^X must hold rows, .*empty, add data\.$"):
                method(empty)


def test_a_model_of_complete_rows_refuses_gaps() -> None:
    complete = FRAME[["weight", "height"]].dropna()
    vae = VAE(**{**SMALL, "types": None}).fit(complete)
    for method in (vae.transform, vae.score, vae.impute):
        with pytest.raises(InputError, match="trained on complete rows, but X misses a value at row"):
            method(FRAME[["weight", "height"]])


@pytest.mark.parametrize(
    ("x", "types", "message"),
    [
        (FRAME, {"wait": "real"}, "wait"),
        (FRAME, {9: "real"}, "column with a type"),
        (FRAME, {"sex": "gender"}, "type of a column"),
        (FRAME, ["real"], "`types` must map columns to their kinds"),
        (np.zeros((4, 3, 3)), {0: "real"}, "`types` are of the columns of a table"),
        (FRAME.iloc[:1], None, "at least 2 examples, but holds 1"),
        (FRAME.iloc[:0], None, "must hold rows"),
    ],
)
def test_bad_types_and_frames_are_told_at_fit(x: Any, types: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        VAE(**{**SMALL, "types": types}).fit(x)


def test_columns_of_one_name_are_one_line() -> None:
    twice = pd.DataFrame(np.eye(30, 3), columns=["a", "b", "a"])
    for model, y in (VAE(), None), (Regressor(), np.arange(30.0)), (Classifier(), np.arange(30) % 2):
        with pytest.raises(InputError, match="column names must differ, but 'a' appears twice in X; rename one"):
            model.fit(twice, y)
    vae = VAE(latent_dim=1, layers=1, width=4, epochs=1).fit(twice.set_axis(["a", "b", "c"], axis=1))
    with pytest.raises(InputError, match="'a' appears twice in X"):
        vae.transform(twice)


@pytest.mark.parametrize("scale", [1e-200, 1e-299])
def test_a_table_of_tiny_numbers_is_learned_as_any_other(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    vae, tiny = (VAE(latent_dim=1, layers=1, width=8, epochs=3).fit(each) for each in (x, x * scale))
    expected = vae.score_samples(x) - 3 * np.log(scale)
    np.testing.assert_allclose(tiny.score_samples(x * scale), expected, rtol=1e-4)
    np.testing.assert_allclose(tiny.reconstruct(x * scale) / scale, vae.reconstruct(x), rtol=1e-3, atol=1e-4)
