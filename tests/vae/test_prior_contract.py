"""What every prior in the registry must hold, whatever it is: nothing here knows one by its name.

The truth is quadrature in one or two latent dimensions, moments of draws with their standard errors, and differences.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import vaelab
from vaelab.api.train import train
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors import PRIORS
from vaelab.vae.spec import Spec

WIDE = torch.linspace(-16, 16, 32_001, dtype=torch.float64)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(240, 1)) + 4 * rng.integers(0, 2, (240, 1))
    return from_arrays(np.concatenate([z, -z, z**2], 1) + 0.1 * rng.normal(size=(240, 3)), name="bent")


@pytest.fixture(params=list(PRIORS))
def name(request):
    return request.param


def spec_of(name, **settings):
    chosen = {"prior": name, "components": 3, "hidden": "8", "latent_dim": 1, "epochs": 6, "lr": 1e-2, "device": "cpu"}
    return Spec(**{**chosen, **settings})


def trained(name, table, **settings):
    """A stack of one after training, and its parameters in float64."""
    spec = resolve(spec_of(name, **settings), table)
    stack = Stack([spec], Feed(table, spec), Variational())
    list(epochs(stack))
    return stack, stack.views(stack.best.double())


def padded(stack, z):
    """Points (..., latent_dim) as the model takes them, (1, ..., L)."""
    wide = z.new_zeros(1, *z.shape[:-1], stack.model.latent)
    wide[0, ..., : z.shape[-1]] = z
    return wide


def log_prob(stack, parameters, z):
    """log p(z) with the constant that cancels in the rate."""
    return stack.model.prior.log_prob(padded(stack, z), parameters)[0] - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def test_the_density_integrates_to_one_and_padding_counts_for_nothing(name, table):
    stack, parameters = trained(name, table)
    with torch.no_grad():
        density = torch.exp(log_prob(stack, parameters, WIDE[:, None]))
    assert float(torch.trapezoid(density, WIDE)) == pytest.approx(1, abs=1e-5)


def test_moments_are_those_of_the_density_and_of_draws(name, table):
    stack, parameters = trained(name, table)
    mean, variance = (float(part[0, 0, 0]) for part in stack.model.prior.moments(parameters))
    with torch.no_grad():
        density = torch.exp(log_prob(stack, parameters, WIDE[:, None]))
    assert float(torch.trapezoid(WIDE * density, WIDE)) == pytest.approx(mean, abs=1e-4)
    assert float(torch.trapezoid((WIDE - mean).square() * density, WIDE)) == pytest.approx(variance, rel=1e-3)
    rng = np.random.default_rng(0)
    normal, uniform = torch.from_numpy(rng.standard_normal((20_000, 1))), torch.from_numpy(rng.random(20_000))
    draws = stack.model.prior.draw(normal, uniform, parameters)[:, 0]
    assert abs(float(draws.mean()) - mean) < 5 * math.sqrt(variance / len(draws))
    assert float(draws.var()) == pytest.approx(variance, rel=0.08)


def test_the_rate_is_the_divergence_by_quadrature(name, table):
    """KL(q || p) of a Gaussian q; an estimate by draws within its standard error."""
    stack, parameters = trained(name, table)
    q = Posterior(padded(stack, torch.tensor([[0.4]]).double()), padded(stack, torch.tensor([[-1.0]]).double()))
    noise = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    several = Posterior(q.mean.expand(1, 20_000, -1), q.log_var.expand(1, 20_000, -1))
    eps = padded(stack, noise)
    with torch.no_grad():
        rates = stack.model.prior.rate(several, eps, several.sample(eps), parameters)[0]
        log_q = -0.5 * ((WIDE - 0.4).square() * math.e - 1 + math.log(2 * math.pi))
        log_p = log_prob(stack, parameters, WIDE[:, None])
    truth = float(torch.trapezoid(torch.exp(log_q) * (log_q - log_p), WIDE))
    error = float(rates.std()) / math.sqrt(len(rates))
    assert abs(float(rates.mean()) - truth) < 5 * error + 1e-6


def test_what_is_called_standard_is(name, table):
    stack, parameters = trained(name, table, latent_dim=2)
    prior = stack.model.prior
    if prior.is_standard:
        z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
        torch.testing.assert_close(log_prob(stack, parameters, z), expected)
    else:
        with pytest.raises(vaelab.InputError, match="needs the normal prior"):
            resolve(spec_of(name), table_with_condition(table))


def table_with_condition(table):
    return type(table)("pairs", table.x, table.splits, condition=1)


def test_gradients_agree_with_finite_differences(name, table):
    stack, parameters = trained(name, table)
    own = {key: value.detach().clone() for key, value in parameters.items() if key.startswith("prior")}
    z = padded(stack, torch.tensor([[0.3], [-1.2]]).double()).requires_grad_()
    leaves = [z, *(value.requires_grad_() for value in own.values())]

    def function(z, *values):
        return stack.model.prior.log_prob(z, {**parameters, **dict(zip(own, values, strict=True))})

    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5, rtol=1e-4)


def test_clusters_are_told_together_or_not_at_all(name, table):
    """Where a prior has components, weights, shares, means and covariances agree with its density."""
    stack, parameters = trained(name, table)
    prior = stack.model.prior
    found, z = prior.components(parameters), padded(stack, torch.tensor([[0.5]]).double())
    assert (found is None) == (prior.responsibilities(z, parameters) is None)
    if found is None:
        return
    weights, means, covariances = (part[0] for part in found)
    assert float(weights.sum()) == pytest.approx(1)
    normals = torch.distributions.Normal(means[:, 0], covariances[:, 0, 0].sqrt())
    joint = weights * torch.exp(normals.log_prob(torch.tensor(0.5).double()))
    assert float(joint.sum().log()) == pytest.approx(float(log_prob(stack, parameters, z[0, :, :1])), abs=1e-6)
    torch.testing.assert_close(prior.responsibilities(z, parameters)[0, 0], joint / joint.sum())


@pytest.mark.slow
def test_a_model_trains_is_saved_and_samples(name, table, tmp_path):
    settings = spec_of(name, latent_dim=2, epochs=60, hidden="32", batch_size=16).model_dump(exclude_unset=True)
    run = train(table, settings, out=tmp_path / "run", figures=False)
    assert run.metrics["validation"]["neg_elbo"] < run.metrics["reference"]["no_latents"]
    again = vaelab.load(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(4), run.model.sample(4))
    np.testing.assert_array_equal(again.score_samples(table.flat[:9]), run.model.score_samples(table.flat[:9]))


def test_a_member_gets_the_bits_that_it_gets_alone_also_after_resume(name, table):
    specs = [
        resolve(spec_of(name, latent_dim=2, seed=seed, hidden=hidden), table) for seed, hidden in enumerate(("8", "20"))
    ]
    together, alone = Stack(specs, Feed(table, specs[0]), Variational()), []
    list(epochs(together))
    for spec in specs:
        half, rest = (Stack([spec], Feed(table, spec), Variational()) for _ in range(2))
        list(epochs(half, 3))
        rest.restore([half.member_state(0)])
        list(epochs(rest))
        alone.append(rest)
    for k, single in enumerate(alone):
        assert torch.equal(together.parameters[k], single.parameters[0])
