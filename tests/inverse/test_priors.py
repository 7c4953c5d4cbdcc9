"""Priors of inputs: draws against distribution functions of scipy, supports, and what is refused."""

import inspect

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions

from vaelab.errors import InputError
from vaelab.inverse import files, priors
from vaelab.inverse.estimator import ConditionalVAE

pytestmark = pytest.mark.slow


def test_declared_priors_are_those_of_scipy(tmp_path):
    (tmp_path / "own.toml").write_text(
        'forward = ["x0 + x1 + x2"]\nexamples = 2_000\ninputs = [{prior = "normal", mean = 3, sd = 0.5}, '
        '{prior = "log-uniform", low = 0.1, high = 1000}, {low = -1, high = 1}]\n'
    )
    problem = files.load(str(tmp_path / "own.toml"))
    known = stats.norm(3, 0.5), stats.loguniform(0.1, 1000), stats.uniform(-1, 2)
    for own, prior in zip(problem.x.T, known, strict=True):
        assert stats.kstest(own, prior.cdf).pvalue > 1e-3
    assert problem.bounds.listed(3) == [None, (0.1, 1000), (-1, 1)]
    assert (files.load(str(tmp_path / "own.toml")).x == problem.x).all()


def test_draws_and_supports_are_those_of_the_distributions():
    before = torch.random.get_rng_state()
    given = [distributions.Beta(2.0, 5.0), distributions.Laplace(0.0, 1.0), distributions.Uniform(0.1, 0.9)]
    x = priors.draw(given, 2_000, 1)
    assert (torch.random.get_rng_state() == before).all()
    for own, prior in zip(x.T, (stats.beta(2, 5), stats.laplace(), stats.uniform(0.1, 0.8)), strict=True):
        assert stats.kstest(own, prior.cdf).pvalue > 1e-3
    beta, laplace, uniform = priors.support(given)
    assert (beta, laplace) == ((0, 1), None)
    assert uniform == pytest.approx((0.1, 0.9))


def test_a_model_draws_its_examples_from_the_prior_and_stays_in_its_support():
    prior = [distributions.Beta(2.0, 5.0), distributions.Normal(0.0, 1.0)]
    model = ConditionalVAE(["x0 + x1"], prior=prior, epochs=1, hidden="8").fit(examples=300)
    assert model.inverter.problem.x.shape == (300, 2)
    x = model.sample([2.0], 200)[0]
    assert 0 <= x[:, 0].min() <= x[:, 0].max() <= 1
    assert all(0 <= own[0] <= 1 for own in model.solve([2.0], 20)[0].x)


def test_a_run_stores_its_prior_and_densities_are_those_of_the_prior(tmp_path):
    prior = [distributions.Gamma(2.0, 3.0), distributions.Normal(-1.0, 0.5), distributions.Uniform(0.0, 4.0)]
    model = ConditionalVAE(["x0 + x1 + x2"], prior=prior, epochs=1, hidden="8", flow=False).fit(examples=200)
    found = model.solve([2.5], 30, rank="density")[0]
    known = stats.gamma(2, scale=1 / 3), stats.norm(-1, 0.5), stats.uniform(0, 4)
    exact = sum(own.logpdf(x) for own, x in zip(known, found.x.T, strict=True))
    unit = np.log(model.inverter.problem.x_unit).sum()
    inside = np.isfinite(exact)  # at an end of a support a density may be 0
    assert inside.sum() > 5
    np.testing.assert_allclose((found.log_density - unit)[inside], exact[inside], atol=1e-5)
    again = ConditionalVAE.load(model.save(tmp_path / "run"))
    assert again.inverter.problem.prior == model.inverter.problem.prior
    np.testing.assert_array_equal(again.solve([2.5], 30, rank="density")[0].log_density, found.log_density)
    told = "x0 Gamma (concentration 2, rate 3), x1 normal (mean -1, sd 0.5), x2 uniform (low 0, high 4)"
    assert again.inverter.problem.prior_told == told


def test_a_prior_that_only_python_knows_is_stored_as_text():
    mixed = distributions.MixtureSameFamily(
        distributions.Categorical(torch.ones(2)), distributions.Normal(torch.zeros(2), torch.ones(2))
    )
    kept = [priors.stored(mixed), priors.stored(distributions.LogNormal(0.0, 1.0))]
    assert priors.named(kept[0]).startswith("MixtureSameFamily")
    assert priors.log_density(kept, np.ones((1, 2))) is None
    for own in kept:
        priors.check_stored(own)
    for wrong in (
        {},
        {"prior": "Nothing"},
        {"prior": "normal", "mean": 0.0, "sd": -1.0},
        {"prior": "Gamma", "rate": 1.0},
    ):
        with pytest.raises(ValueError, match="is no prior"):
            priors.check_stored(wrong)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([distributions.Poisson(1.0)], "is discrete"),
        ([distributions.Normal(torch.zeros(2), torch.ones(2))], "distribution of one number"),
        ([3], "distribution of one number, but got 3"),
        ([], "one torch distribution per input"),
    ],
)
def test_other_priors_are_refused(prior, message):
    with pytest.raises(InputError, match=message):
        priors.draw(prior, 10, 0)


def test_impossible_parameters_are_refused_where_torch_does_not_check(monkeypatch):
    monkeypatch.setattr(distributions.Distribution, "_validate_args", False)  # as `python -O` and zuko do
    for prior, name in (
        (distributions.Normal(0.0, -1.0), "scale"),
        (distributions.Gamma(torch.tensor(0.0), 1.0), "conc"),
    ):
        with pytest.raises(InputError, match=f"`{name}.* of the prior of x1 must be Greater"):
            priors.draw([distributions.Normal(0.0, 1.0), prior], 10, 0)


def test_a_prior_replaces_x_y_and_bounds():
    prior = [distributions.Normal(0.0, 1.0)]
    for model, arguments in (
        (ConditionalVAE(["x0"], prior=prior), ([[1.0]],)),
        (ConditionalVAE(["x0"]), ()),
        (ConditionalVAE(["x0"], prior=prior, bounds=[(0, 1)]), ()),
    ):
        with pytest.raises(InputError):
            model.fit(*arguments)


def is_taken(entry):
    try:
        priors.check_stored(entry)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("value", [1.0, -1.0, "x"])
def test_whatever_a_file_calls_a_prior_has_a_density_or_is_refused(value, checks, monkeypatch):
    monkeypatch.setattr(distributions.Distribution, "_validate_args", checks)  # `python -O` and libraries stop them
    accepted = []
    for kind in dir(distributions):
        made = getattr(distributions, kind)
        names = list(inspect.signature(made).parameters) if inspect.isclass(made) else []
        entry = {"prior": kind} | {name: value for name in names if name != "validate_args"}
        if is_taken(entry):
            assert priors.log_density([entry], np.array([[0.5], [2.0]])).shape == (2,)
            accepted.append(kind)
    assert ("Normal" in accepted) == (value == 1.0)
    assert not {"Poisson", "Multinomial", "Distribution", "LogisticNormal"} & set(accepted)


def test_a_prior_without_a_density_in_double_precision_is_stored_as_text():
    assert priors.stored(distributions.GeneralizedPareto(0.0, 1.0, 0.1))["prior"] == "other"
