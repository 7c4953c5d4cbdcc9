"""The estimator against scikit-learn's own checks, against PCA's exact answers, and in the company it is made for."""

from __future__ import annotations

import doctest
import gc
import inspect
import pickle
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from commands import forked
from vaelab.engine import training
from vaelab.errors import InputError
from vaelab.vae import estimator as estimators
from vaelab.vae import feed
from vaelab.vae.estimator import FEWEST_TO_SPLIT, VAE
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
SMALL = {"layers": 1, "width": 32, "epochs": 8}
LINEAR = {"hidden": "none", "likelihood": "gaussian", "sigma": "shared", "latent_dim": 2}


def correlated(n: int, seed: int = 0) -> Array:
    """Six columns of different units that share two factors, with equal noise once they are standardised."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(42).normal(size=(2, 6))
    loadings *= np.sqrt(0.8) / np.linalg.norm(loadings, axis=0)
    x = rng.normal(size=(n, 2)) @ loadings + np.sqrt(0.2) * rng.normal(size=(n, 6))
    return x * [1, 10, 0.1, 5, 1, 2] + [0, 100, -3, 5, 1e3, 0]


@pytest.fixture(scope="module")
def table() -> Array:
    return correlated(1000)


@pytest.fixture(scope="module")
def linear(table: Array) -> VAE:
    """A linear-Gaussian VAE near its optimum: probabilistic PCA of the standardised columns."""
    return VAE(**LINEAR, epochs=80, lr=0.02, batch_size=50).fit(table)


@pytest.fixture(scope="module")
def small(table: Array) -> VAE:
    return VAE(latent_dim=3, **SMALL).fit(table)


@parametrize_with_checks([VAE(epochs=30)])
def test_keeps_the_conventions_of_scikit_learn(estimator: VAE, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "name", ["check_transformer_get_feature_names_out", "check_set_output_transform", "check_no_attributes_set_in_init"]
)
def test_keeps_conventions_that_are_checked_only_on_request(name: str) -> None:
    getattr(estimator_checks, name)("VAE", VAE(epochs=30))


def test_parameters_are_those_of_spec_with_the_same_defaults() -> None:
    parameters = inspect.signature(VAE.__init__).parameters
    named = {name: p.default for name, p in parameters.items() if name != "self"}
    # The weights of an inverse problem's terms are ConditionalVAE's.
    own = {name: field.default for name, field in Spec.model_fields.items() if name not in ("wx", "wy")}
    modules = {"encoder": None, "decoder": None}
    assert named == own | {"types": None, "condition": None} | modules


def test_every_parameter_and_attribute_is_documented(small: VAE) -> None:
    assert VAE.__doc__ is not None
    for name, field in Spec.model_fields.items():
        assert f"\n    {name} : " in VAE.__doc__
        assert f"default={field.default!r}\n        {field.description}." in VAE.__doc__
    for name in vars(small):
        assert f"\n    {name} : " in VAE.__doc__
    assert "    optimizer : {'adam', 'adamw', 'rmsprop', 'sgd'}, default='adam'" in VAE.__doc__
    assert "    hidden : tuple of int or str or None, default=None" in VAE.__doc__
    assert "    sigma : {'auto', 'shared', 'feature'} or float, default='auto'" in VAE.__doc__


def test_the_docstring_examples_run() -> None:
    result = doctest.testmod(estimators)
    assert result.attempted > 0
    assert result.failed == 0


# --- what it learns ---------------------------------------------------------------------------------------------------


def standardised(x: Array) -> Array:
    return (x - x.mean(0)) / x.std(0)


def test_a_linear_model_finds_the_principal_subspace(linear: VAE, table: Array) -> None:
    x = standardised(table)
    weights, *_ = np.linalg.lstsq(x, linear.transform(table), rcond=None)  # (6, 2); the posterior mean is linear in x
    angles = subspace_angles(weights, PCA(2).fit(x).components_.T)
    assert angles.max() < 0.05
    # The test can tell: the next components are far away.
    assert subspace_angles(weights, PCA(6).fit(x).components_[2:4].T).min() > 1


def test_a_linear_model_reaches_probabilistic_pca_and_not_more(linear: VAE, table: Array) -> None:
    x = standardised(table)
    exact = PCA(2).fit(x).score(x) - np.log(table.std(0)).sum()  # log p(x) in nats, in the data's own units
    elbo = linear.score_samples(table)
    # 8 draws of z per example leave noise in the ELBO of about 1 / sqrt(8) nats each.
    assert exact - 0.05 < elbo.mean() < exact + 4 / np.sqrt(8 * len(x))


def test_reconstruction_beats_the_column_means(small: VAE, table: Array) -> None:
    left = table - small.inverse_transform(small.transform(table))
    share = (left**2).mean(0) / table.var(0)
    assert (share < 0.6).all()


def test_samples_have_the_mean_of_the_data(linear: VAE, table: Array) -> None:
    n = 4000
    drawn = linear.sample(n, random_state=0)
    assert drawn.shape == (n, 6)
    error = np.sqrt(table.var(0) * (1 / n + 1 / len(table)))  # the trained mean is itself known from the data only
    assert (np.abs(drawn.mean(0) - table.mean(0)) < 4 * error).all()
    # E[x|z] has the variance that the two factors explain, 0.8 of each column's.
    assert drawn.var(0) / table.var(0) == pytest.approx(np.full(6, 0.8), abs=0.1)


def test_score_is_the_mean_of_score_samples(small: VAE, table: Array) -> None:
    each = small.score_samples(table)
    assert each.shape == (1000,)
    assert small.score(table) == pytest.approx(each.mean(), abs=1e-12)
    assert small.score(table, np.zeros(1000)) == small.score(table)


def test_training_raises_the_score_of_new_data(small: VAE) -> None:
    new = correlated(500, seed=1)
    assert small.score(new) > VAE(latent_dim=3, **{**SMALL, "epochs": 1}).fit(correlated(1000)).score(new) + 0.5


def test_rows_unlike_the_data_score_less(small: VAE, table: Array) -> None:
    shuffled = np.random.default_rng(0).permuted(table, axis=0)  # the same columns, no correlation
    assert small.score(shuffled) < small.score(table) - 1


# --- invariances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_an_example_has_one_answer_in_any_company(small: VAE, table: Array, method: str) -> None:
    answer = getattr(small, method)
    whole, order = answer(table), np.random.default_rng(0).permutation(len(table))
    np.testing.assert_allclose(answer(table[order]), whole[order], rtol=0, atol=1e-10)
    np.testing.assert_allclose(answer(table[10:17]), whole[10:17], rtol=0, atol=1e-10)
    np.testing.assert_allclose(answer(table[5:6])[0], whole[5], rtol=0, atol=1e-10)


def test_decoding_a_point_does_not_depend_on_the_others(small: VAE) -> None:
    z = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(small.inverse_transform(z)[7:9], small.inverse_transform(z[7:9]), rtol=0, atol=1e-10)


def test_the_seed_decides_everything(table: Array) -> None:
    make = lambda seed: VAE(latent_dim=3, **SMALL, dropout=0.1, seed=seed).fit(table)  # noqa: E731
    first, again, other = make(3), make(3), make(4)
    np.testing.assert_array_equal(first.transform(table), again.transform(table))
    assert first.history_ == again.history_
    assert np.abs(first.transform(table) - other.transform(table)).max() > 0.1


def test_threads_do_not_change_the_result(table: Array) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = VAE(latent_dim=3, **SMALL).fit(table)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        one = VAE(latent_dim=3, **SMALL).fit(table)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(two.transform(table), one.transform(table))


def test_global_random_states_are_left_alone(table: Array) -> None:
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    vae = VAE(**SMALL).fit(table)
    vae.score(table)
    vae.sample(3, random_state=0)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_samples_follow_their_random_state(small: VAE) -> None:
    np.testing.assert_array_equal(small.sample(4, random_state=1), small.sample(4, random_state=1))
    assert not np.array_equal(small.sample(4, random_state=1), small.sample(4, random_state=2))
    generator = np.random.RandomState(1)
    np.testing.assert_array_equal(small.sample(4, random_state=generator), small.sample(4, random_state=1))
    assert not np.array_equal(small.sample(4, random_state=generator), small.sample(4, random_state=1))
    assert not np.array_equal(small.sample(4), small.sample(4))
    assert small.sample().shape == (1, 6)


def test_the_answer_has_the_precision_of_the_question(small: VAE, table: Array) -> None:
    single = table.astype(np.float32)
    assert small.transform(single).dtype == np.float32
    assert small.transform(table).dtype == np.float64
    np.testing.assert_array_equal(small.transform(single), small.transform(table).astype(np.float32))
    z = small.transform(table)
    assert small.inverse_transform(z).dtype == np.float64
    assert small.inverse_transform(z.astype(np.float32)).dtype == np.float32
    assert small.score_samples(single).dtype == np.float64


# --- fitting ----------------------------------------------------------------------------------------------------------


def test_what_fit_leaves_behind(small: VAE) -> None:
    assert small.n_features_in_ == 6
    assert small.n_iter_ == len(small.history_) == SMALL["epochs"]
    assert [record["epoch"] for record in small.history_] == list(range(1, SMALL["epochs"] + 1))
    assert set(small.history_[0]) >= {"lr", "beta", "train", "validation", "is_best"}
    assert (small.spec_.likelihood, small.spec_.batch_size) == ("gaussian", 32)
    assert small.fitted_.row.dtype == torch.float64
    assert small.fitted_.row.device.type == "cpu"
    assert list(small.get_feature_names_out()) == ["vae0", "vae1", "vae2"]


def test_the_weights_are_those_of_the_epoch_that_was_best_on_validation(
    monkeypatch: pytest.MonkeyPatch, table: Array
) -> None:
    seen = {}

    def spied(stack: training.Stack) -> Any:
        for records in training.epochs(stack):
            yield records
            seen[records[0].epoch] = stack.judged[0].detach().double()
            seen["data"] = stack.feed.data

    monkeypatch.setattr(estimators, "epochs", spied)
    vae = VAE(**{**SMALL, "epochs": 60}, lr=0.05, schedule="constant").fit(table[:150])
    losses = [record["validation"]["neg_elbo"] for record in vae.history_]
    best = int(np.argmin(losses)) + 1
    assert best < 60  # else this test shows nothing
    assert torch.equal(vae.fitted_.row[0], seen[best])
    data = seen["data"]
    assert (len(data.splits["train"]), len(data.splits["validation"]), len(data.splits["test"])) == (135, 15, 0)
    assert sorted([*data.splits["train"], *data.splits["validation"]]) == list(range(150))
    assert data.source["fingerprint"] == data.fingerprint


def test_few_rows_train_and_choose_alike(monkeypatch: pytest.MonkeyPatch, table: Array) -> None:
    seen = []
    monkeypatch.setattr(estimators, "Feed", lambda data, spec: seen.append(data.splits) or feed.Feed(data, spec))
    VAE(**SMALL).fit(table[: FEWEST_TO_SPLIT - 1])
    VAE(**SMALL).fit(table[:FEWEST_TO_SPLIT])
    few, enough = seen
    assert list(few["train"]) == list(few["validation"]) == list(range(FEWEST_TO_SPLIT - 1))
    assert not set(enough["train"]) & set(enough["validation"])
    assert len(enough["validation"]) == FEWEST_TO_SPLIT // 10


def test_two_rows_are_enough() -> None:
    assert VAE(**SMALL).fit([[0.0, 1.5], [1.0, 2.0]]).transform([[0.5, 1.0]]).shape == (1, 16)


def test_fitting_again_forgets_the_first_time(table: Array) -> None:
    vae = VAE(latent_dim=3, **SMALL).fit(table[:, :4])
    vae.set_params(latent_dim=2).fit(table)
    assert vae.n_features_in_ == 6
    np.testing.assert_array_equal(vae.transform(table), VAE(latent_dim=2, **SMALL).fit(table).transform(table))


def test_changed_parameters_take_effect_at_the_next_fit(table: Array) -> None:
    vae = VAE(latent_dim=3, **SMALL).fit(table).set_params(latent_dim=5)
    assert vae.transform(table).shape == (1000, 3)
    assert len(vae.get_feature_names_out()) == 3
    assert vae.sample(2).shape == (2, 6)


def test_the_data_are_neither_changed_nor_kept(table: Array) -> None:
    x = table.astype(np.float32)  # the type that is shared, not copied
    before, alive = x.copy(), weakref.ref(x)
    vae = VAE(**SMALL).fit(x)
    vae.score(x)
    np.testing.assert_array_equal(x, before)
    del x
    gc.collect()
    assert alive() is None
    assert len(pickle.dumps(vae)) < 100_000


def test_settings_may_come_as_numpy_numbers(table: Array) -> None:
    vae = VAE(**{**SMALL, "width": np.int64(32)}, latent_dim=np.int32(2), lr=np.float32(0.01)).fit(table)
    assert vae.spec_ == VAE(latent_dim=2, lr=float(np.float32(0.01)), **SMALL).fit(table).spec_


def test_constant_columns_come_back(table: Array) -> None:
    x = np.insert(table, 2, 7.25, axis=1)
    vae = VAE(latent_dim=2, **SMALL).fit(x)
    assert vae.n_features_in_ == 7
    back = vae.inverse_transform(vae.transform(x))
    assert back.dtype == np.float64
    assert (back[:, 2] == 7.25).all()
    assert (vae.sample(5)[:, 2] == 7.25).all()
    # They carry no density: the score is that of the columns that vary.
    assert vae.score(x) == pytest.approx(VAE(latent_dim=2, **SMALL).fit(table).score(table), abs=0.3)


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images() -> Array:
    return load_digits().images[:300] / 16  # (300, 8, 8) in [0, 1]


def test_images_keep_their_shape(images: Array) -> None:
    vae = VAE(latent_dim=4, layers=1, width=64, epochs=40, lr=5e-3).fit(images)
    assert (vae.spec_.likelihood, vae.n_features_in_) == ("bernoulli", 64)
    z = vae.transform(images)
    assert z.shape == (300, 4)
    back = vae.inverse_transform(z)
    assert back.shape == images.shape
    assert ((back > 0) & (back < 1)).all()
    assert ((back - images) ** 2).mean() < 0.7 * ((images.mean(0) - images) ** 2).mean()
    assert vae.sample(3, random_state=0).shape == (3, 8, 8)
    np.testing.assert_array_equal(vae.transform(images.reshape(300, 64)), z)
    with pytest.raises(InputError, match=r"examples of shape \(8, 8\), but X has \(4, 16\)"):
        vae.transform(images.reshape(300, 4, 16))
    with pytest.raises(ValueError, match="X has 56 features, but VAE is expecting 64"):
        vae.transform(images[:, :7])


def test_colour_images_and_8_bit_values(images: Array) -> None:
    grey = (images[:, :, :, None] * [255, 128, 64]).astype(np.uint8)  # (300, 8, 8, 3)
    vae = VAE(latent_dim=4, **SMALL).fit(grey)
    assert vae.spec_.likelihood == "bernoulli"
    back = vae.inverse_transform(vae.transform(grey))
    assert back.shape == (300, 8, 8, 3)
    assert back.max() > 100  # in grey values, as they came
    np.testing.assert_allclose(back.mean((0, 1, 2)), grey.mean((0, 1, 2)), rtol=0.1)


# --- company ----------------------------------------------------------------------------------------------------------


def test_in_a_pipeline_before_a_classifier() -> None:
    x, y = load_digits(return_X_y=True)
    vae = VAE(latent_dim=8, layers=1, width=64, epochs=15, lr=5e-3)
    pipe = make_pipeline(vae, LogisticRegression(max_iter=1000)).fit(x[:1000], y[:1000])
    assert pipe.score(x[1000:], y[1000:]) > 0.75
    assert pipe[:-1].transform(x[:5]).shape == (5, 8)


def test_a_pipeline_can_be_inverted_and_scored(table: Array) -> None:
    pipe = make_pipeline(StandardScaler(), VAE(latent_dim=3, **SMALL)).fit(table)
    assert pipe.inverse_transform(pipe.transform(table)).shape == table.shape
    assert np.isfinite(pipe.score(table))


def test_a_grid_search_finds_the_latent_size(table: Array) -> None:
    vae = VAE(**{**LINEAR, "latent_dim": 1}, epochs=20, lr=0.02)
    search = GridSearchCV(vae, {"latent_dim": np.array([1, 2])}, cv=3).fit(table)
    assert search.best_params_ == {"latent_dim": 2}
    one, two = search.cv_results_["mean_test_score"]
    assert two > one + 0.3  # the second factor is worth far more than training noise
    assert search.best_estimator_.transform(table).shape == (1000, 2)


def test_pickled_and_cloned(small: VAE, table: Array) -> None:
    copy = pickle.loads(pickle.dumps(small))
    np.testing.assert_array_equal(copy.transform(table), small.transform(table))
    np.testing.assert_array_equal(copy.score_samples(table), small.score_samples(table))
    np.testing.assert_array_equal(copy.sample(3, random_state=0), small.sample(3, random_state=0))
    blank = clone(small)
    assert blank.get_params() == small.get_params()
    with pytest.raises(NotFittedError):
        blank.transform(table)


def test_saved_as_a_run_folder(small: VAE, table: Array, tmp_path: Any) -> None:
    small.fitted_.save(tmp_path / "run", small.history_, {})
    loaded = type(small.fitted_).load(tmp_path / "run").double()
    np.testing.assert_allclose(loaded.encode(table)[0], small.transform(table), rtol=0, atol=1e-12)


def test_can_be_imported_alone() -> None:
    forget = "import sys; [sys.modules.pop(name) for name in list(sys.modules) if name.partition('.')[0] == 'vaelab']"
    assert forked(f"{forget}; from vaelab.vae.estimator import VAE; VAE()") == 0


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 0}, "`latent_dim` must be 1 to 4096 "),
        ({"optimizer": "adams"}, "`optimizer` must be"),
        ({"hidden": "64x32"}, "`hidden` is written as '512-256'"),
        ({"seed": None}, "`seed` must be"),
        ({"batch_size": 2000}, "`batch_size` must be at most the number of training examples"),
        ({"samples": 4, "free_bits": 0.1}, "`free_bits` needs `samples` = 1"),
        ({"likelihood": "bernoulli"}, r"needs values in \[0, 1\]"),
        (
            {"lr": 50, "optimizer": "sgd", "clip": 1e9, "schedule": "constant"},
            "training failed.*non-finite.*lower `lr`",
        ),
    ],
)
def test_bad_settings_are_told_at_fit(table: Array, settings: dict[str, Any], message: str) -> None:
    vae = VAE(**settings)
    with pytest.raises(InputError, match=message):
        vae.fit(table)
    assert not hasattr(vae, "fitted_")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((10, 3)), "must vary, but all 10 examples are the same"),
        (np.full((4, 2, 2), np.nan), "must hold finite numbers"),
        ([[1.0, np.inf], [0.0, 1.0]], "Input X contains infinity"),
        ([[1.0, 2.0]], r"Found array with 1 sample\(s\)"),
        (np.zeros((0, 8, 8)), r"Found array with 0 sample\(s\)"),
        (np.arange(5.0), "Expected 2D array, got 1D array instead"),
        ([["a", "b"], ["c", "d"]], "not compatible with arrays of bytes/strings"),
        (np.eye(4) * 1e200, "must stay within ±1e[+]150"),
        (np.random.default_rng(0).random((10, 3, 8, 8)), "channels last"),
        (np.random.default_rng(0).random((5, 2, 2, 2, 2)), "5 dimensions"),
    ],
)
def test_bad_data_are_told_at_fit(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAE(**SMALL).fit(x)


def test_bad_input_to_a_fitted_model(small: VAE, table: Array, images: Array) -> None:
    for method in "transform", "score", "score_samples":
        with pytest.raises(ValueError, match="X has 5 features, but VAE is expecting 6 features as input"):
            getattr(small, method)(table[:, :5])
    with pytest.raises(ValueError, match="`z` must have 3 columns"):
        small.inverse_transform(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="Input Z contains NaN"):
        small.inverse_transform([[np.nan, 0, 0]])
    for n in 0, 2.5, True:
        with pytest.raises(InputError, match="`n` must be a whole number of at least 1"):
            small.sample(n)  # type: ignore[arg-type]
    bernoulli = VAE(latent_dim=4, **SMALL).fit(images)
    with pytest.raises(InputError, match=r"needs values in \[0, 1\]"):
        bernoulli.transform(images * 2)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score", "score_samples"])
def test_a_blank_model_says_that_it_is_not_fitted(table: Array, method: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(VAE(), method)(table)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        VAE().sample(3)
