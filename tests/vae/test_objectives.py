"""The terms of the loss against torch.distributions, finite differences, and the inequalities that bounds obey."""

import itertools
import math

import pytest
import torch
from torch import distributions as dist

from vaelab.vae.likelihoods.likelihood import likelihood_for
from vaelab.vae.model import Model
from vaelab.vae.objectives import OBJECTIVES, Noise, Weights, elbo, importance_weighted
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors.normal import StandardNormal
from vaelab.vae.spec import Spec

K, B, D, L = 3, 6, 5, 4


def problem(likelihood="gaussian", **settings):
    """A small model with random float64 parameters, a batch and noise; no padding, to keep the references plain."""
    spec = Spec(latent_dim=L, hidden=(8,), likelihood=likelihood, **settings)
    model = Model(D, (8,), L, "tanh", likelihood_for(spec, is_image=False))
    generator = torch.Generator().manual_seed(5)
    row = torch.randn(K, model.layout.size, generator=generator, dtype=torch.float64) * 0.4
    x = torch.rand(K, B, D, generator=generator, dtype=torch.float64)
    if likelihood == "bernoulli":
        x = x.round()
    return model, row, x, torch.randn(K, B, L, generator=generator, dtype=torch.float64)


def weights(beta=1.0, **settings):
    return Weights(torch.full((K, 1), beta, dtype=torch.float64), **settings)


def likelihood_of(model, parameters, outputs):
    """p(x|z) as torch.distributions has it."""
    if model.likelihood.is_mass:
        return dist.Independent(dist.Bernoulli(logits=outputs), 1)
    scale = model.likelihood.least_scale + parameters["likelihood.scale"].exp()
    return dist.Independent(dist.Normal(outputs, scale.expand_as(outputs)), 1)


def test_kl_equals_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mean, log_var = (2 * torch.randn(K, B, L, generator=generator, dtype=torch.float64) for _ in range(2))
    q = dist.Normal(mean, torch.exp(0.5 * log_var))
    truth = dist.kl_divergence(q, dist.Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    torch.testing.assert_close(StandardNormal().kl(Posterior(mean, log_var), {}), truth, rtol=1e-11, atol=1e-12)


def test_kl_of_the_prior_itself_is_exactly_zero():
    zero = torch.zeros(1, 2, 3)
    assert (StandardNormal().kl(Posterior(zero, zero), {}) == 0).all()


def test_log_ratio_of_posterior_and_prior_equals_torch_distributions():
    """The left-out -L/2 log(2 pi) cancels in the difference."""
    generator = torch.Generator().manual_seed(0)
    mean, log_var, eps = (torch.randn(K, B, L, generator=generator, dtype=torch.float64) for _ in range(3))
    q = Posterior(mean, log_var)
    z = q.sample(eps)
    ours = q.log_prob(eps) - StandardNormal().log_prob(z, {})
    truth = dist.Normal(mean, torch.exp(0.5 * log_var)).log_prob(z) - dist.Normal(0.0, 1.0).log_prob(z)
    torch.testing.assert_close(ours, truth.sum(-1), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_elbo_terms_equal_torch_distributions(likelihood):
    model, row, x, eps = problem(likelihood)
    parameters = model.layout.views(row)
    beta = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    terms = elbo(model, parameters, x, Noise(eps), Weights(beta))

    q = model.encode(parameters, x)
    posterior = dist.Independent(dist.Normal(q.mean, torch.exp(0.5 * q.log_var)), 1)
    z = q.mean + torch.exp(0.5 * q.log_var) * eps
    distortion = -likelihood_of(model, parameters, model.decode(parameters, z)).log_prob(x)
    prior = dist.Independent(dist.Normal(torch.zeros_like(z), torch.ones_like(z)), 1)
    rate = dist.kl_divergence(posterior, prior)
    torch.testing.assert_close(terms.distortion, distortion, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(terms.rate, rate, rtol=1e-11, atol=1e-11)
    loss = distortion.mean(1) + beta[:, 0] * rate.mean(1)
    torch.testing.assert_close(terms.loss, loss, rtol=1e-11, atol=1e-11)


def test_free_bits_count_at_least_their_share_of_each_dimension():
    model, row, x, eps = problem()
    parameters = model.layout.views(row)
    kl = model.prior.kl(model.encode(parameters, x), parameters).mean(1)  # (K, L)
    free = torch.full((K, 1), float(kl.median()), dtype=torch.float64)
    terms = elbo(model, parameters, x, Noise(eps), weights(0.5, free_bits=free))
    plain = elbo(model, parameters, x, Noise(eps), weights(0.5))
    counted = [sum(max(float(v), float(free[0])) for v in member) for member in kl]
    expected = plain.distortion.mean(1) + 0.5 * torch.tensor(counted, dtype=torch.float64)
    torch.testing.assert_close(terms.loss, expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(terms.rate, plain.rate)  # the terms themselves stay unweighted
    assert (terms.loss > plain.loss).all()


def test_dimensions_below_their_free_bits_feel_no_pull_to_the_prior():
    model, row, x, _ = problem()
    views = model.layout.views(row)
    q = model.encode(views, x)
    mean, log_var = q.mean.clone().requires_grad_(), q.log_var.clone().requires_grad_()
    kl = model.prior.kl(Posterior(mean, log_var), views).mean(1)
    free = kl.detach().median()
    torch.maximum(kl, free).sum().backward()
    below = (kl.detach() < free)[:, None].expand(K, B, L)
    assert below.any()
    assert (mean.grad[below] == 0).all()
    assert (mean.grad[(kl.detach() > free)[:, None].expand(K, B, L)] != 0).all()

    row = row.clone().requires_grad_()  # all dimensions below: only the distortion has a gradient
    everything = torch.full((K, 1), 1e3, dtype=torch.float64)
    noise = Noise(torch.zeros(K, B, L, dtype=torch.float64))
    relaxed = elbo(model, model.layout.views(row), x, noise, weights(free_bits=everything)).loss
    bare = elbo(model, model.layout.views(row), x, noise, weights(0.0)).loss
    (one,), (other,) = (torch.autograd.grad(loss.sum(), row) for loss in (relaxed, bare))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_importance_weighted_with_one_sample_is_the_elbo_with_a_sampled_rate(likelihood):
    model, row, x, eps = problem(likelihood)
    parameters = model.layout.views(row)
    one = importance_weighted(model, parameters, x, Noise(eps), weights(0.7))
    exact = elbo(model, parameters, x, Noise(eps), weights(0.7))
    torch.testing.assert_close(one.distortion, exact.distortion, rtol=1e-12, atol=1e-12)
    loss = (one.distortion + 0.7 * one.rate).mean(1)
    torch.testing.assert_close(one.loss, loss, rtol=1e-12, atol=1e-12)
    q = model.encode(parameters, x)
    posterior = dist.Normal(q.mean, torch.exp(0.5 * q.log_var))
    z = q.sample(eps)
    sampled = (posterior.log_prob(z) - dist.Normal(0.0, 1.0).log_prob(z)).sum(-1)
    torch.testing.assert_close(one.rate, sampled, rtol=1e-11, atol=1e-11)


def test_importance_weighted_equals_a_loop_over_members_examples_and_draws():
    model, row, x, _ = problem()
    parameters, S = model.layout.views(row), 3
    eps = torch.randn(K, S, B, L, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    terms = importance_weighted(model, parameters, x, Noise(eps.flatten(1, 2)), weights(samples=S))
    q = model.encode(parameters, x)
    for k in range(K):
        own = {n: p[k : k + 1] for n, p in parameters.items()}
        bounds = []
        for i in range(B):
            posterior = dist.Normal(q.mean[k, i], torch.exp(0.5 * q.log_var[k, i]))
            log_w = []
            for s in range(S):
                z = posterior.mean + posterior.stddev * eps[k, s, i]
                outputs = model.decode(own, z[None, None])
                log_p = likelihood_of(model, own, outputs).log_prob(x[k, i])[0, 0]
                log_p = log_p + dist.Normal(0.0, 1.0).log_prob(z).sum()
                log_w.append(log_p - posterior.log_prob(z).sum())
            bounds.append(torch.stack(log_w).exp().mean().log())
        expected = -torch.stack(bounds).mean()
        torch.testing.assert_close(terms.loss[k], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("free_bits", [None, 0.1])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_has_one_loss_per_member_and_the_gradient_of_finite_differences(
    objective, free_bits, likelihood
):
    model, row, x, eps = problem(likelihood)
    row, x, eps = row[:2, :], x[:2], eps[:2]
    beta = torch.full((2, 1), 0.5, dtype=torch.float64)
    free = None if free_bits is None else torch.full((2, 1), free_bits, dtype=torch.float64)

    def terms(row):
        return OBJECTIVES[objective](model, model.layout.views(row), x, Noise(eps), Weights(beta, free))

    assert terms(row).distortion.shape == terms(row).rate.shape == (2, B)
    assert torch.autograd.gradcheck(lambda row: terms(row).loss, row.clone().requires_grad_())
    # A member does not see another's parameters.
    gradient = torch.autograd.grad(terms(row.requires_grad_()).loss[0], row)[0]
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_gradient_of_several_draws_agrees_with_finite_differences(likelihood):
    model, row, x, eps = problem(likelihood)
    row, x, noise = row[:2, :], x[:2], Noise(torch.cat([eps, -eps, 2 * eps], 1)[:2])
    few = Weights(torch.full((2, 1), 0.5, dtype=torch.float64), samples=3)

    def loss(row):
        return importance_weighted(model, model.layout.views(row), x, noise, few).loss

    assert torch.autograd.gradcheck(loss, row.clone().requires_grad_())


@pytest.mark.parametrize("samples", [1, 3])
def test_padding_of_the_latent_space_has_no_gradient(samples):
    """The importance-weighted rate once held the padded log-variances, and training made q there ever wider."""
    spec = Spec(latent_dim=L, hidden=(32,), likelihood="gaussian")
    model = Model.for_spec(spec, D, likelihood_for(spec, is_image=False))
    generator = torch.Generator().manual_seed(1)
    own = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in model.own_shapes(spec).items()}
    row = model.pad(own, spec)[None].requires_grad_()
    x = torch.rand(1, B, D, generator=generator, dtype=torch.float64)
    eps = torch.zeros(1, samples * B, model.latent, dtype=torch.float64)
    eps[..., :L] = torch.randn(1, samples * B, L, generator=generator, dtype=torch.float64)
    objective = elbo if samples == 1 else importance_weighted
    beta = torch.ones(1, 1, dtype=torch.float64)
    loss = objective(model, model.layout.views(row), x, Noise(eps), Weights(beta, samples=samples)).loss
    (gradient,) = torch.autograd.grad(loss.sum(), row)
    used = model.pad({name: torch.ones_like(value) for name, value in own.items()}, spec) != 0
    assert (gradient[0, ~used] == 0).all()
    assert (gradient[0, used] != 0).sum() > 0.9 * used.sum()


def test_more_importance_samples_lower_the_bound_on_average():
    model, row, x, _ = problem()
    row, x = row[:1], x[:1]
    row = 2 * row  # a posterior that fits badly, so that the gap is wide
    generator = torch.Generator().manual_seed(3)

    def bounds(S, repeats=300):
        beta = torch.ones(1, 1, dtype=torch.float64)
        losses = [
            importance_weighted(
                model,
                model.layout.views(row),
                x,
                Noise(torch.randn(1, S * B, L, generator=generator, dtype=torch.float64)),
                Weights(beta, samples=S),
            ).loss
            for _ in range(repeats)
        ]
        values = torch.cat(losses)
        return float(values.mean()), float(values.std()) / math.sqrt(repeats)

    found = [bounds(S) for S in (1, 4, 16)]
    for (high, high_error), (low, low_error) in itertools.pairwise(found):
        assert high - low > 3 * math.hypot(high_error, low_error)
