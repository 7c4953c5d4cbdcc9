"""Priors of inputs: draws against distribution functions of scipy, supports, and what is refused."""

import pytest
import torch
from scipy import stats
from torch import distributions

from vaelab.errors import InputError
from vaelab.inverse import files, priors
from vaelab.inverse.estimator import ConditionalVAE


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


def test_a_prior_replaces_x_y_and_bounds():
    prior = [distributions.Normal(0.0, 1.0)]
    for model, arguments in (
        (ConditionalVAE(["x0"], prior=prior), ([[1.0]],)),
        (ConditionalVAE(["x0"]), ()),
        (ConditionalVAE(["x0"], prior=prior, bounds=[(0, 1)]), ()),
    ):
        with pytest.raises(InputError):
            model.fit(*arguments)
