"""Baselines with structure against scikit-learn, scipy and data whose model is known; and what is said about them."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA, FactorAnalysis

from vaelab.api import studies
from vaelab.api.train import train
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.vae import baselines
from vaelab.vae.baselines import FACTORS, LINEAR, PCA_NAME, Baselines, Gaussian, Structured, structured
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.whole_reference


def feed_of(x, **settings):
    data = from_arrays(x, seed=1)
    return Feed(data, resolve(Spec.create(**{"device": "cpu", **settings}), data))


def by_name(feed):
    return {own.name: own for own in structured(feed).found}


def rows_of(feed, split):
    return torch.cat([x for _, x, _ in feed.batches(split, 1)]).double().numpy()


def factor_data(n=3000, seed=0):
    """Two factors below twelve columns whose noise differs, and its exact covariance."""
    rng = np.random.default_rng(seed)
    W, noise = rng.normal(size=(2, 12)), rng.uniform(0.3, 1.2, 12)
    x = rng.normal(size=(n, 2)) @ W + noise * rng.normal(size=(n, 12)) + 3
    return x, W.T @ W + np.diag(noise**2)


@pytest.fixture(scope="module")
def factors():
    x, covariance = factor_data()
    return feed_of(x), covariance


def test_the_density_is_that_of_its_covariance():
    rng = np.random.default_rng(0)
    W, noise, mean = rng.normal(size=(3, 7)), rng.uniform(0.1, 2, 7), rng.normal(size=7)
    x = rng.normal(size=(20, 7))
    truth = scipy.stats.multivariate_normal(mean, W.T @ W + np.diag(noise)).logpdf(x)
    np.testing.assert_allclose(-Gaussian(mean, W, noise).nll(torch.from_numpy(x)), truth, rtol=1e-12)
    truth = scipy.stats.multivariate_normal(mean, np.diag(noise)).logpdf(x)
    np.testing.assert_allclose(-Gaussian(mean, W[:0], noise).nll(torch.from_numpy(x)), truth, rtol=1e-12)


def test_both_densities_are_those_of_scikit_learn(factors):
    feed, _ = factors
    train, validation = rows_of(feed, "train"), rows_of(feed, "validation")
    for k, model in zip((1, 3, 11), baselines._principal(train, [1, 3, 11], 1e-3), strict=True):
        truth = PCA(k, svd_solver="full").fit(train).score_samples(validation)
        np.testing.assert_allclose(-model.nll(torch.from_numpy(validation)), truth, rtol=1e-9)
    own = by_name(feed)[FACTORS]
    truth = FactorAnalysis(own.dimensions, tol=1e-6, max_iter=3000, svd_method="lapack").fit(train)
    assert own.value - feed.log_jacobian == pytest.approx(-truth.score(validation), abs=0.02)


def test_a_known_factor_model_is_found(factors):
    feed, covariance = factors
    own = by_name(feed)[FACTORS]
    assert own.dimensions == 2
    validation = feed.data.rows("validation").astype(float)
    truth = -scipy.stats.multivariate_normal(np.full(12, 3.0), covariance).logpdf(validation)
    difference = own.costs.numpy() - truth
    assert abs(difference.mean()) < 0.05  # of what the fit to 2,100 rows costs: 35 parameters / (2 n) are 0.01 nats
    independent = -scipy.stats.norm(3, np.sqrt(np.diag(covariance))).logpdf(validation).sum(1)
    gain, error = own.gain
    assert own.is_shown
    assert abs(gain - (independent - truth).mean()) < 4 * error
    assert structured(feed).best is own
    assert structured(feed) is structured(feed)


def test_validation_and_test_are_told_apart(factors):
    feed, _ = factors
    own = by_name(feed)[PCA_NAME]
    told = own.as_dict(feed, test=True)
    assert told["validation"] == pytest.approx(own.value)
    truth = own.model.nll(torch.from_numpy(rows_of(feed, "test"))).mean() + feed.log_jacobian
    assert told["test"] == pytest.approx(truth)
    assert own.as_dict(feed, test=False)["test"] is None


def test_independent_columns_share_nothing():
    feed = feed_of(np.random.default_rng(0).normal(size=(1500, 8)) * np.arange(1, 9))
    found = structured(feed)
    assert len(found.found) == 2
    assert not any(own.is_shown for own in found.found)
    assert found.nothing(0.0, 1.0).meaning == "no shared structure was found"


def test_few_rows_of_noise_share_nothing_either():
    """One noise for all features is estimated better than one for each: that is not structure."""
    feed = feed_of(np.random.default_rng(0).normal(size=(400, 500)))
    assert not any(own.is_shown for own in structured(feed).found)


def test_pixels_of_different_variance_share_nothing_although_the_likelihood_has_one_scale():
    x = np.random.default_rng(0).normal(size=(1500, 3, 4)) * np.arange(1, 5)
    feed = feed_of(x, likelihood="gaussian")
    assert feed.likelihood.shapes(12)["likelihood.scale"] == (1, 1)
    assert not any(own.is_shown for own in structured(feed).found)


def test_units_are_the_data_s_own(factors):
    feed, _ = factors
    x = feed.data.x.astype(float)
    scaled = feed_of(x * np.arange(1, 13) + 5)
    shift = np.log(np.arange(1, 13)).sum()
    for name, own in by_name(feed).items():
        other = by_name(scaled)[name]
        assert other.dimensions == own.dimensions
        assert other.value - own.value == pytest.approx(shift, abs=1e-4)


@pytest.mark.parametrize("shape", [(60, 300), (40, 2), (7, 3)])
def test_few_rows_and_few_columns(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(shape[0], 1)) @ rng.normal(size=(1, shape[1])) + 0.1 * rng.normal(size=shape)
    found = structured(feed_of(x))
    assert len(found.found) == 2
    assert all(math.isfinite(own.value) and 1 <= own.dimensions < shape[1] for own in found.found)


def test_one_column_has_no_baseline():
    found = structured(feed_of(np.random.default_rng(0).normal(size=(50, 1))))
    assert found == Baselines()
    assert found.beaten(1.0, torch.zeros(5), "the winner's") is None
    assert found.nothing(0.0, 1.0).meaning == "no shared structure was found"


def test_degenerate_columns_have_no_infinite_density():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    x[:, 4] = x[:, 3]
    x[:, 2] = 1e-6 * x[:, 2]
    for own in structured(feed_of(np.concatenate([x, x]))).found:
        assert math.isfinite(own.value)
        assert (own.model.noise >= 1e-6).all()


def test_a_fit_that_fails_is_left_out_and_named(monkeypatch):
    def fail(*_):
        raise np.linalg.LinAlgError("SVD did not converge")
        yield

    monkeypatch.setattr(baselines, "_factors", fail)
    monkeypatch.setattr(
        baselines, "_principal", lambda rows, sizes, least: iter([Gaussian(rows[0] * np.nan, rows[:0], np.ones(4))])
    )
    feed = feed_of(np.random.default_rng(0).normal(size=(50, 4)))
    found = structured(feed)
    assert not found.found
    assert found.left_out == (
        "probabilistic PCA is left out: its likelihood is not finite.",
        "factor analysis is left out: SVD did not converge.",
    )
    assert found.nothing(0.0, 1.0).advice.endswith("Whether there is shared structure is not known.")
    assert found.as_dict(feed) == {"structured": [], "left_out": list(found.left_out)}


def test_a_fit_that_fails_leaves_those_before_it(monkeypatch):
    fit = FactorAnalysis.fit

    def fails(model, rows):
        if model.n_components == 3:
            raise np.linalg.LinAlgError("SVD did not converge")
        return fit(model, rows)

    monkeypatch.setattr(FactorAnalysis, "fit", fails)
    x = np.random.default_rng(0).normal(size=(300, 3)) @ np.random.default_rng(1).normal(size=(3, 6))
    found = structured(feed_of(x))
    assert [own.dimensions for own in found.found if own.name == FACTORS] == [2]
    assert found.left_out == ("factor analysis with some numbers of dimensions is left out: SVD did not converge.",)


def test_a_short_time_limit_is_respected_and_said(digits):
    spec = resolve(Spec.create(device="cpu"), digits)
    assert structured(Feed(digits, spec), 1e-3).left_out == (
        "the linear VAE is left out: the time limit is too short.",
    )
    found = structured(feed_of(factor_data(300)[0]), 1e-6)
    assert [own.dimensions for own in found.found] == [1, 1]
    assert all("the time limit is too short" in said for said in found.left_out)


def test_no_warning_of_scikit_learn_leaks(monkeypatch):
    monkeypatch.setattr(baselines, "ROUNDS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(structured(feed_of(factor_data(200)[0])).found) == 2


def test_a_linear_vae_of_gaussian_data_is_probabilistic_pca(factors):
    """Lucas et al. 2019: with one noise for all features both have the same optimum."""
    feed, _ = factors
    spec = baselines._linear_spec(feed, 2).replace(sigma="shared")
    shared = Feed(feed.data, spec)
    stack = Stack([spec], shared, Variational())
    for _ in epochs(stack):
        pass
    fitted = Fitted.of(shared, spec, stack.rows[0].detach())
    train = rows_of(feed, "train")
    (truth,) = baselines._principal(train, [2], 1e-3)
    costs = baselines.LinearVAE(fitted).costs(shared, "validation")
    expected = truth.nll(torch.from_numpy(rows_of(feed, "validation"))).mean() + feed.log_jacobian
    assert float(costs.mean()) == pytest.approx(expected, abs=0.05)


def test_a_linear_vae_stands_for_masses(digits):
    spec = resolve(Spec.create(device="cpu"), digits)
    feed, again = Feed(digits, spec), Feed(digits, spec)
    (own,), (same,) = structured(feed).found, structured(again).found
    assert own.name == LINEAR
    assert own.dimensions in (4, 16)
    assert own.value == same.value
    assert own.value < 25.2
    assert own.is_shown
    assert torch.equal(baselines.of_model(own.model.fitted, feed), own.costs)


def test_binary_noise_shares_nothing_and_wide_masses_are_left_out(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 2, size=(300, 10)).astype(bool)
    assert not any(own.is_shown for own in structured(feed_of(noise)).found)
    monkeypatch.setattr(baselines, "MOST_FEATURES", 9)
    (said,) = structured(feed_of(noise)).left_out
    assert said == "the linear VAE is left out: it would take minutes for 10 features."


def made_up(value, gain):
    """A baseline whose costs scatter by 1 over 400 examples, and by 0.2 about those of independent features."""
    scatter = torch.from_numpy(np.random.default_rng(0).normal(size=400))
    scatter -= scatter.mean()
    own = Structured(FACTORS, 2, value + scatter, value + gain + 1.2 * scatter, None)
    return Baselines((own,)), scatter


def test_a_model_that_loses_says_so():
    found, scatter = made_up(2.11, 2.64)
    assert found.beaten(4.42, 4.42 + 1.5 * scatter, "the winner's") == (
        "Factor analysis with 2 factors has 2.110 nats per example on validation, below the winner's 4.420: prefer it, "
        "or search further."
    )
    assert found.beaten(2.13, 2.13 + 1.5 * scatter, "this model's") == (
        "Factor analysis with 2 factors has 2.110 nats per example on validation, and this model's 2.130 is no better "
        "than that."
    )  # the standard error of the difference is 0.025
    assert "prefer it" in found.beaten(2.13, 2.13 + scatter, "this model's")  # paired, it is 0
    assert found.beaten(2.0, 2.0 + scatter, "this model's") is None
    assert found.beaten(2.05, 2.05 + 1.5 * scatter, "this model's") is None
    assert found.beaten(2.07, 2.07 + 1.5 * scatter, "this model's") == (
        "Factor analysis with 2 factors has 2.110 nats per example on validation, and this model's 2.070 is not shown "
        "to be better: the difference, paired over examples, is 0.04 ± 0.02."
    )  # below twice the error


def test_what_it_means_that_nothing_won():
    found, _ = made_up(2.11, 2.64)
    untrained = found.nothing(0.4, 1.0)
    assert untrained.meaning == "not trained enough"
    assert untrained.advice == (
        "There is shared structure: factor analysis with 2 factors has 2.110 nats per example on validation, "
        "independent features have 4.750. Give more `epochs`."
    )
    unused = found.nothing(0.02, 50.0)
    assert (unused.meaning, unused.fate) == ("the latents were not used", "collapsed")
    assert unused.advice.endswith("Lower `beta`, which is 50. Lower `lr`, add `warmup`, or give more `epochs`.")
    none, _ = made_up(2.11, 0.01)  # its standard error is 0.01
    nothing = none.nothing(0.4, 1.0)
    assert nothing.meaning == "no shared structure was found"
    assert nothing.fate == "failed to beat the model without latents"
    assert "not linear, give more `epochs`" in nothing.advice


def test_a_study_that_is_not_trained_enough_does_not_blame_the_data(tmp_path):
    x = factor_data(150)[0]
    study = studies.tune(
        from_arrays(x), {"latent_dim": (2, 3)}, 1, settings={"epochs": 1}, workers=1, out=tmp_path / "s"
    )
    assert study.best is None
    (note,) = study.results["notes"]
    assert note.startswith(("not trained enough: the only trial failed to beat", "the latents were not used: the only"))
    assert "There is shared structure: " in note
    assert "`epochs`" in note
    (own, other) = study.results["baseline"]["structured"]
    assert {own["name"], other["name"]} == {PCA_NAME, FACTORS}
    assert own["test"] is None  # it was not opened
    assert study.results["beaten"] is None
    assert "Beside simpler models" in (tmp_path / "s" / "report.html").read_text()


def test_a_run_that_loses_says_so_first(tmp_path):
    x = factor_data(150)[0]
    run = train(from_arrays(x), {"epochs": 2, "latent_dim": 2}, out=tmp_path / "r", figures=False, open_test=True)
    said = run.metrics["beaten"]
    assert said.endswith("prefer it, or search further.")
    assert all(own["test"] is not None for own in run.metrics["reference"]["structured"])
    page = (tmp_path / "r" / "report.html").read_text()
    assert page.index("prefer it, or search further") < page.index("nats per example on the validation split")
