"""The noise models of columns against scipy and closed forms, in both precisions."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from vaelab.data import Column
from vaelab.vae.likelihoods.categorical import Categorical
from vaelab.vae.likelihoods.likelihood import column_likelihood_type
from vaelab.vae.likelihoods.negative_binomial import NegativeBinomial
from vaelab.vae.likelihoods.ordinal import LEAST_STEP, Ordinal
from vaelab.vae.likelihoods.poisson import Poisson
from vaelab.vae.likelihoods.student import Student
from vaelab.vae.likelihoods.zero_inflated import ZeroInflated
from vaelab.vae.spec import Spec

COUNTS = np.array([0, 1, 2, 7, 8, 9, 30, 1000, 12_345, 1e6, 2e7])
BOTH = pytest.mark.parametrize("kind", [torch.float32, torch.float64])


def near(found, expected, kind, size=1.0):
    """To the rounding of its type; `size` is that of the largest term."""
    rounding = 1e-9 if kind == torch.float64 else 3e-6
    np.testing.assert_allclose(found.detach().double(), expected, rtol=rounding, atol=rounding * size)


@BOTH
@pytest.mark.parametrize("ratio", [0.01, 0.9, 1.0, 1.2, 100.0])
def test_poisson_is_scipys(kind, ratio):
    log_mean = torch.tensor(np.log(np.maximum(COUNTS, 0.5) * ratio)).to(kind)
    cost = Poisson().cost(log_mean, torch.tensor(COUNTS, dtype=kind), {})
    near(cost, -scipy.stats.poisson.logpmf(COUNTS, np.exp(log_mean.double().numpy())), kind, size=1e3)


@BOTH
@pytest.mark.parametrize("log_t", [-8.0, -1.0, 0.0, 3.0, 8.0])
@pytest.mark.parametrize("ratio", [0.01, 0.9, 1.0, 1.2, 100.0])
def test_negative_binomial_and_its_pulls_are_scipys(kind, log_t, ratio):
    log_mean = torch.tensor(np.log(np.maximum(COUNTS, 0.5) * ratio)).to(kind).requires_grad_()
    raw = torch.full(log_mean.shape, log_t, dtype=kind, requires_grad=True)
    cost = NegativeBinomial().cost(log_mean, torch.tensor(COUNTS, dtype=kind), {"likelihood.dispersion": raw})
    t, m = np.exp(log_t), np.exp(log_mean.detach().double().numpy())
    p = np.exp(-np.logaddexp(0, np.log(m) - log_t))
    near(cost, -scipy.stats.nbinom.logpmf(COUNTS, t, p), kind, size=1e3)
    by_mean, by_raw = torch.autograd.grad(cost.sum(), [log_mean, raw])
    near(by_mean, t * (m - COUNTS) / (t + m), kind, size=1 + t)
    exact = scipy.special.digamma(t) - scipy.special.digamma(COUNTS + t) + np.log1p(m / t) + (COUNTS - m) / (t + m)
    near(by_raw, t * exact, kind, size=1 + 10 * t)


@BOTH
@pytest.mark.parametrize("logit", [-30.0, -2.0, 0.0, 5.0])
def test_zero_inflated_is_a_mixture_with_zero(kind, logit):
    x = COUNTS[:8]
    log_mean, raw = torch.tensor(np.log(x + 0.5)).to(kind), torch.full((8,), 0.7, dtype=kind)
    out = torch.cat([log_mean, torch.full((8,), logit, dtype=kind)])
    cost = ZeroInflated().cost(out, torch.tensor(x, dtype=kind), {"likelihood.dispersion": raw})
    t, w = np.exp(0.7), scipy.special.expit(logit)
    mass = scipy.stats.nbinom.pmf(x, t, t / (t + np.exp(log_mean.double().numpy())))
    near(cost, -np.log(w * (x == 0) + (1 - w) * mass), kind, size=10)


@BOTH
@pytest.mark.parametrize("raw", [-11.0, -2.0, 0.0, 3.0, 11.0])
def test_student_is_scipys_even_where_it_is_almost_a_gaussian(kind, raw):
    x, v = np.linspace(-20, 20, 41), 1 + np.exp(raw)
    own = {"likelihood.scale": torch.tensor([0.4], dtype=kind), "likelihood.freedom": torch.tensor([raw], dtype=kind)}
    outputs, values = torch.full((41, 1), 0.5, dtype=kind), torch.tensor(x, dtype=kind)[:, None]
    cost = Student(None, False, 1e-3).cost(outputs, values, own)
    near(cost[:, 0], -scipy.stats.t.logpdf(x, v, 0.5, 1e-3 + np.exp(0.4)), kind, size=100)


@BOTH
def test_categories_of_different_number_are_softmaxes(kind):
    columns = [Column("", "categorical", tuple("abcde"[:n])) for n in (3, 2, 5)]
    noise = Categorical.for_columns(None, columns, torch.zeros(3))
    out = torch.tensor(np.random.default_rng(0).normal(size=(7, 10)) * 3, dtype=kind)
    x = np.random.default_rng(1).integers(0, (3, 2, 5), (7, 3))
    parts = np.split(out.double().numpy(), (3, 5), 1)
    expected = [-scipy.special.log_softmax(part, 1)[np.arange(7), x[:, j]] for j, part in enumerate(parts)]
    near(noise.cost(out, torch.tensor(x).to(kind), {}), np.stack(expected, 1), kind)
    assert noise.mean(out, {}).tolist() == np.stack([part.argmax(1) for part in parts], 1).tolist()


@BOTH
def test_ordered_levels_are_differences_of_logistic_functions(kind):
    columns = [Column("", "ordinal", tuple("abcde"[:n])) for n in (3, 2, 5)]
    noise = Ordinal.for_columns(None, columns, torch.zeros(3))
    rng = np.random.default_rng(0)
    raw, out = rng.normal(size=(3, 4)), rng.normal(size=(50, 3)) * 3
    x = rng.integers(0, (3, 2, 5), (50, 3))
    own = {"likelihood.thresholds": torch.tensor(raw.reshape(1, -1), dtype=kind)}
    found = noise.cost(torch.tensor(out, dtype=kind), torch.tensor(x).to(kind), own)
    for j, levels in enumerate((3, 2, 5)):
        t = raw[j, 0] + np.concatenate([[0], np.cumsum(np.logaddexp(0, raw[j, 1 : levels - 1]) + LEAST_STEP)])
        below = scipy.special.expit(np.concatenate([[-np.inf], t, [np.inf]]) - out[:, [j]])
        expected = -np.log(np.diff(below, axis=1)[np.arange(50), x[:, j]])
        near(found[:, j], expected, kind, size=10)


@pytest.mark.parametrize("model", [Poisson(), NegativeBinomial(), ZeroInflated()])
def test_constants_of_counts_take_what_is_expected_into_account(model):
    """Rows of known sizes: the constant is about the ratio to them."""
    rng = np.random.default_rng(0)
    expected, ratio = rng.normal(size=(4_000, 1)) + np.log([3.0, 0.5]), np.array([0.3, -0.4])
    x = torch.tensor(rng.poisson(np.exp(expected + ratio) * rng.gamma(5, 0.2, (4_000, 2)))).double()
    outputs, _ = model.constant(x, torch.tensor(expected))
    np.testing.assert_allclose(outputs[:2], ratio, atol=0.15)


@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "zero_inflated"])
def test_draws_of_counts_are_never_negative(name: str) -> None:
    model = column_likelihood_type(name).for_columns(Spec(), [Column("n", "count")], torch.ones(1))
    outputs = torch.full((50, model.head(1)), 59.0)
    parameters = {key: torch.zeros(shape) for key, shape in model.shapes(1).items()}
    found = model.sample(outputs, parameters, torch.Generator().manual_seed(0))
    assert (found >= 0).all()
    assert torch.isfinite(found).all()
