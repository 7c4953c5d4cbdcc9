"""The mixture prior against scipy and scikit-learn's densities, finite differences, and what it must reduce to."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.mixture import GaussianMixture

from vaelab.data import from_arrays
from vaelab.errors import InputError
from vaelab.vae.feed import resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.likelihoods.likelihood import likelihood_for
from vaelab.vae.model import Model
from vaelab.vae.objectives import Noise, Weights, elbo, importance_weighted
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors.mixture import Mixture
from vaelab.vae.priors.normal import StandardNormal
from vaelab.vae.run import train
from vaelab.vae.spec import Spec

K, B, L, C, PADDED = 2, 7, 3, 4, 16


def parameters_of(full=True, components=C, seed=0):
    """Random parameters (K, ...) of a mixture in a padded layout, and weights, means and covariances of each member."""
    generator = torch.Generator().manual_seed(seed)
    prior = Mixture(components, L, full)
    own = {n: torch.randn(K, *s, generator=generator, dtype=torch.float64) for n, s in prior.own_shapes.items()}
    wide = {n: torch.zeros(K, *shape, dtype=torch.float64) for n, shape in prior.shapes(PADDED).items()}
    members = []
    for name, value in own.items():
        wide[name][tuple(slice(n) for n in value.shape)] = value
    for k in range(K):
        weights = np.exp(own["prior.logits"][k, 0].numpy())
        shear = np.tril(own["prior.shear"][k].numpy().transpose(1, 0, 2), -1) if full else np.zeros((components, L, L))
        back = np.linalg.inv(np.eye(L) + shear)
        variances = np.exp(own["prior.log_var"][k].numpy())
        covariances = back.transpose(0, 2, 1) @ (variances[:, :, None] * back)
        members.append((weights / weights.sum(), own["prior.mean"][k].numpy(), covariances))
    return prior, wide, members


def points(*shape, seed=1):
    z = torch.zeros(*shape, PADDED, dtype=torch.float64)
    z[..., :L] = 2 * torch.randn(*shape, L, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z


@pytest.mark.parametrize("full", [True, False])
def test_log_density_equals_scipy_in_any_shape(full):
    prior, wide, members = parameters_of(full)
    constant = 0.5 * L * math.log(2 * math.pi)  # left out, as in the posterior
    for shape in ((B,), (5, B)):
        z = points(K, *shape)
        found = prior.log_prob(z, wide)
        assert found.shape == (K, *shape)
        for k, (weights, means, covariances) in enumerate(members):
            rows = z[k, ..., :L].numpy()
            each = [
                math.log(w) + scipy.stats.multivariate_normal(m, S).logpdf(rows)
                for w, m, S in zip(weights, means, covariances, strict=True)
            ]
            expected = scipy.special.logsumexp(each, axis=0) + constant
            np.testing.assert_allclose(found[k], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("full", [True, False])
def test_density_and_responsibilities_equal_scikit_learn(full):
    prior, wide, members = parameters_of(full)
    z = points(K, B)
    for k, (weights, means, covariances) in enumerate(members):
        truth = GaussianMixture(C)
        truth.weights_, truth.means_, truth.covariances_ = weights, means, covariances
        truth.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(covariances))
        rows = z[k, :, :L].numpy()
        found = prior.log_prob(z, wide)[k] - 0.5 * L * math.log(2 * math.pi)
        np.testing.assert_allclose(found, truth.score_samples(rows), rtol=1e-10)
        np.testing.assert_allclose(prior.responsibilities(z, wide)[k], truth.predict_proba(rows), atol=1e-12)


def test_rate_is_the_exact_divergence_in_the_mean_over_draws_and_never_above_the_mean_field_bound():
    """KL(q || p) by quadrature in one dimension; VaDE's bound (eq. 12) with the best q(c|x) lies above it."""
    prior = Mixture(3, 1)
    wide = {
        "prior.logits": torch.tensor([[[0.3, -0.5, 0.1]]], dtype=torch.float64),
        "prior.mean": torch.tensor([[[-2.0], [0.5], [1.5]]], dtype=torch.float64),
        "prior.log_var": torch.tensor([[[-1.0], [0.2], [-2.0]]], dtype=torch.float64),
    }
    mean, log_var, n = 0.4, -0.7, 200_000
    q = Posterior(torch.full((1, n, 1), mean, dtype=torch.float64), torch.full((1, n, 1), log_var, dtype=torch.float64))
    eps = torch.randn(1, n, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rates = prior.rate(q, eps, q.sample(eps), wide)[0].numpy()
    weights = torch.softmax(wide["prior.logits"][0, 0], 0).numpy()
    means, stds = wide["prior.mean"][0, :, 0].numpy(), np.exp(0.5 * wide["prior.log_var"][0, :, 0].numpy())
    std = math.exp(log_var / 2)
    grid = np.linspace(mean - 12 * std, mean + 12 * std, 20_001)
    density = scipy.stats.norm.pdf(grid, mean, std)
    mixed = (weights * scipy.stats.norm.pdf(grid[:, None], means, stds)).sum(1)
    exact = np.trapezoid(density * (np.log(density + 1e-300) - np.log(mixed)), grid)
    assert abs(rates.mean() - exact) < 4 * rates.std() / math.sqrt(n)
    each = np.log(stds / std) + (std**2 + (mean - means) ** 2) / (2 * stds**2) - 0.5 - np.log(weights)
    assert exact < -scipy.special.logsumexp(-each)  # min over q(c|x) of E_c[KL(q || N_c)] + KL(q(c|x) || pi)


@pytest.mark.parametrize("full", [True, False])
def test_one_standard_component_is_the_standard_normal(full):
    prior, wide, _ = parameters_of(full, components=1)
    wide = {name: torch.zeros_like(value) for name, value in wide.items()}
    z = points(K, B)
    torch.testing.assert_close(prior.log_prob(z, wide), StandardNormal().log_prob(z, wide), rtol=1e-12, atol=1e-12)
    q = Posterior(points(K, B, seed=2), points(K, B, seed=3))
    torch.testing.assert_close(prior.kl(q, wide), StandardNormal().kl(q, wide), rtol=1e-12, atol=1e-12)
    eps = points(K, B, seed=4)
    expected = q.log_prob(eps) - StandardNormal().log_prob(q.sample(eps), wide)
    torch.testing.assert_close(prior.rate(q, eps, q.sample(eps), wide), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("full", [True, False])
def test_kl_per_dimension_is_against_the_moments_and_zero_in_padding(full):
    prior, wide, members = parameters_of(full)
    q = Posterior(points(K, B, seed=2), points(K, B, seed=3))
    found = prior.kl(q, wide)
    assert (found[..., L:] == 0).all()
    mean, variance = prior.moments(wide)
    for k, (weights, means, covariances) in enumerate(members):
        centre = weights @ means
        spread = weights @ (np.diagonal(covariances, axis1=1, axis2=2) + means**2) - centre**2
        np.testing.assert_allclose(mean[k, 0, :L], centre, rtol=1e-10)
        np.testing.assert_allclose(variance[k, 0, :L], spread, rtol=1e-10)
        truth = torch.distributions.kl_divergence(
            torch.distributions.Normal(q.mean[k, :, :L], torch.exp(0.5 * q.log_var[k, :, :L])),
            torch.distributions.Normal(torch.tensor(centre), torch.tensor(np.sqrt(spread))),
        )
        torch.testing.assert_close(found[k, :, :L], truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("full", [True, False])
def test_draws_have_the_mean_and_covariance_of_the_mixture(full):
    prior, wide, members = parameters_of(full)
    rng, n = np.random.default_rng(0), 100_000
    z = prior.draw(torch.from_numpy(rng.standard_normal((n, L))), torch.from_numpy(rng.random(n)), wide).numpy()
    weights, means, covariances = members[0]
    mean = weights @ means
    away = means - mean
    covariance = np.einsum("c,cij->ij", weights, covariances) + (weights * away.T) @ away
    assert z.shape == (n, L)
    assert (abs(z.mean(0) - mean) < 4 * np.sqrt(np.diag(covariance) / n)).all()
    products = (z - mean)[:, :, None] * (z - mean)[:, None]
    assert (abs(products.mean(0) - covariance) < 4 * products.std(0) / math.sqrt(n)).all()


def test_occupied_components_are_the_exponential_of_the_entropy():
    prior = Mixture(4, 1)
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, -1e9, -1e9]], [[7.0, -1e9, -1e9, -1e9]]])
    np.testing.assert_allclose(prior.occupied({"prior.logits": logits}), [4, 2, 1], rtol=1e-6)
    assert StandardNormal().occupied({}) is None


def test_a_vamp_prior_is_the_mean_of_the_encoder_s_posteriors_at_its_pseudo_inputs():
    spec = Spec(latent_dim=L, hidden=(8,), likelihood="gaussian", prior="vamp", components=C)
    model = Model.for_spec(spec, 5, likelihood_for(spec, is_image=False))
    rows = torch.rand(30, 5, generator=torch.Generator().manual_seed(0))
    row = model.initial(spec, rows, torch.Generator().manual_seed(1))[None].double()
    begun = model.layout.views(row)["prior.inputs"][0, :, None]
    found = (begun == rows.double()).all(-1).double()  # each is a training row of its own
    assert (found.sum(0).max(), found.sum()) == (1, C)
    generator = torch.Generator().manual_seed(2)  # moves every weight: the posteriors' log-variances begin at 0
    own = {name: w + 0.1 * torch.randn(w.shape, generator=generator) for name, w in model.unpad(row[0], spec).items()}
    wide = model.layout.views(model.pad(own, spec)[None])
    q = model.encode(wide, wide["prior.inputs"])
    assert q.log_var[0, :, :L].std() > 0.05
    truth = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(C, dtype=torch.float64)),
        torch.distributions.Independent(
            torch.distributions.Normal(q.mean[0, :, :L], torch.exp(0.5 * q.log_var[0, :, :L])), 1
        ),
    )
    z = points(1, B)
    found = model.prior.log_prob(z, wide)[0] - 0.5 * L * math.log(2 * math.pi)
    torch.testing.assert_close(found, truth.log_prob(z[0, :, :L]), rtol=1e-10, atol=1e-10)
    mean, variance = model.prior.moments(wide)
    torch.testing.assert_close(mean[0, 0, :L], truth.mean)
    torch.testing.assert_close(variance[0, 0, :L], truth.variance)
    rng, n = np.random.default_rng(0), 50_000
    draws = model.prior.draw(torch.from_numpy(rng.standard_normal((n, L))), torch.from_numpy(rng.random(n)), wide)
    assert ((draws.mean(0) - truth.mean).abs() < 4 * (truth.variance / n).sqrt()).all()


def test_a_vamp_prior_is_trained_saved_and_judged(digits, tmp_path):
    spec = Spec(latent_dim=2, hidden=(16,), prior="vamp", components=20, epochs=3)
    run = train(digits, spec, out=tmp_path / "run", figures=False)
    fitted = Fitted.load(run.folder)
    x = digits.rows("validation")
    np.testing.assert_array_equal(fitted.score_samples(x), run.model.score_samples(x))
    bound = fitted.importance_bound(digits, "validation", 64)
    assert bound.neg_log_p < run.metrics["validation"]["neg_elbo"]
    assert fitted.sample(5).shape == (5, 8, 8)
    with pytest.raises(InputError, match="`components` must be at most"):
        resolve(spec.replace(components=1000), from_arrays(np.eye(100)))
    for wrong in ({"free_bits": 0.1}, {"pretrain": 2}, {"network": "conv", "norm": "batch"}):
        with pytest.raises(InputError):
            spec.replace(**wrong)


@pytest.mark.parametrize(
    ("samples", "prior", "covariance"),
    [(1, "mixture", "full"), (3, "mixture", "full"), (1, "mixture", "diag"), (1, "vamp", "diag"), (3, "vamp", "diag")],
)
def test_gradient_of_the_loss_agrees_with_finite_differences_and_spares_padding(samples, prior, covariance):
    settings = {"latent_dim": L, "hidden": (8,), "likelihood": "gaussian", "activation": "tanh", "components": C}
    spec = Spec(**settings, prior=prior, covariance=covariance)
    model = Model.for_spec(spec, 5, likelihood_for(spec, is_image=False))
    generator = torch.Generator().manual_seed(5)
    own = {n: torch.randn(s, generator=generator, dtype=torch.float64) * 0.4 for n, s in model.own_shapes(spec).items()}
    row = model.pad(own, spec)[None].requires_grad_()
    x = torch.rand(1, 4, 5, generator=generator, dtype=torch.float64)
    noise = Noise(points(1, 4 * samples, seed=6) / 2)
    weights = Weights(torch.full((1, 1), 0.5, dtype=torch.float64), samples=samples)
    objective = elbo if samples == 1 else importance_weighted

    def loss(row):
        return objective(model, model.layout.views(row), x, noise, weights).loss.sum()

    (gradient,) = torch.autograd.grad(loss(row), row)
    used = model.pad({name: torch.ones_like(value) for name, value in own.items()}, spec) != 0
    assert (gradient[0, ~used] == 0).all()
    for name, block in model.layout.blocks.items():
        if name.startswith("prior"):
            expected = C * L * (L - 1) // 2 if name == "prior.shear" else own[name].numel()
            assert (gradient[0, block.offset : block.offset + block.size] != 0).sum() == expected
    h = 1e-5
    with torch.no_grad():
        for i in torch.nonzero(used)[:, 0].tolist()[::3]:
            step = torch.zeros_like(row)
            step[0, i] = h
            slope = (loss(row + step) - loss(row - step)) / (2 * h)
            assert abs(float(slope - gradient[0, i])) < 1e-7
