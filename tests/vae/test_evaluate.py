"""Yardsticks against closed forms: exact likelihoods of linear-Gaussian models, entropies by hand, PCA."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA
from torch import distributions as dist

from vaelab.data import from_arrays
from vaelab.engine import noise
from vaelab.engine.rows import Batches
from vaelab.engine.training import Stack, epochs
from vaelab.vae import evaluate, feed
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Spec

D, L = 6, 2


def factor_rows(n=700, seed=0):
    """Rows of a factor model with columns of different means and scales."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, L)) @ rng.normal(size=(L, D)) + 0.5 * rng.normal(size=(n, D))
    return x * [1, 2, 0.5, 10, 1, 3] + [0, 5, -1, 100, 0, 2]


def linear_spec(data, **settings):
    base = {"hidden": "none", "latent_dim": L, "likelihood": "gaussian", "sigma": "shared", "device": "cpu"}
    return resolve(Spec.create(**{**base, **settings}), data)


def train(data, spec):
    """The feed, and the model after the last step in double precision."""
    source = Feed(data, spec)
    stack = Stack([spec], source, Variational())
    for _ in epochs(stack):
        pass
    return source, Fitted.of(source, spec, stack.parameters[0].detach()).double()


@pytest.fixture(scope="module")
def table():
    return from_arrays(factor_rows(), seed=2)


@pytest.fixture(scope="module")
def optimum(table):
    """A linear-Gaussian VAE trained to its optimum."""
    return train(table, linear_spec(table, epochs=200, batch_size=70, lr=0.02))


@pytest.fixture(scope="module")
def rough(table, optimum):
    """The same with a posterior that is too wide and beside the point: its bounds are loose, but no draw is rare."""
    source, fitted = optimum
    own = fitted.model.unpad(fitted.row[0], fitted.spec)
    own["encoder.0.bias"] += torch.tensor([[0.1, -0.1, 1.0, 1.0]])
    return source, Fitted(fitted.spec, fitted.facts, fitted.scaling, fitted.model.pad(own, fitted.spec)[None])


def numbers(fitted):
    """W (L, D), b (D,) and s of p(x|z), and the two halves of the encoder, as arrays."""
    own = {n: w.numpy() for n, w in fitted.model.unpad(fitted.row[0], fitted.spec).items()}
    s = 1e-3 + math.exp(own["likelihood.scale"].item())
    a, c = own["encoder.0.weight"], own["encoder.0.bias"][0]
    return own["decoder.0.weight"], own["decoder.0.bias"][0], s, (a[:, :L], c[:L]), (a[:, L:], c[L:])


def exact_log_likelihood(fitted, x):
    """log N(x; b, W^T W + s^2 I) of model values x (n, D)."""
    W, b, s, _, _ = numbers(fitted)
    return scipy.stats.multivariate_normal(b, W.T @ W + s * s * np.eye(len(b))).logpdf(x)


def exact_elbo(fitted, x):
    """The bound of a linear model in closed form, without a draw: E|x - Wz - b|^2 is a quadratic in q's moments."""
    W, b, s, (A, c), (V, v) = numbers(fitted)
    mean, variance = x @ A + c, np.exp(x @ V + v)
    squares = ((x - mean @ W - b) ** 2).sum(1) + variance @ (W**2).sum(1)
    distortion = squares / (2 * s * s) + len(b) * math.log(s * math.sqrt(2 * math.pi))
    return -distortion - 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1)


def model_rows(source, split):
    return torch.cat([x for _, x, _ in source.batches(split, 1)]).double().numpy()


@pytest.mark.parametrize("which", ["optimum", "rough"])
def test_elbo_equals_its_closed_form_and_never_exceeds_the_exact_likelihood(which, request):
    source, fitted = request.getfixturevalue(which)
    x = model_rows(source, "train")
    scores = evaluate.score(
        fitted.model, fitted.parameters, [fitted.spec], source.batches("train", 64), 64, source.log_jacobian
    )
    own_units = np.log(source.units.scaling.scale.astype(float)).sum()
    difference = -scores.neg_elbo[0].numpy() - (exact_elbo(fitted, x) - own_units)
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(len(x))
    gap = exact_log_likelihood(fitted, x) - exact_elbo(fitted, x)
    assert (gap >= -1e-12).all()
    if which == "rough":
        assert gap.mean() > 0.3


def test_linear_vae_at_its_optimum_reaches_probabilistic_pca(table, optimum):
    source, fitted = optimum
    standardised = model_rows(source, "train")
    np.testing.assert_allclose(standardised.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(standardised.std(0), 1, rtol=1e-5)
    columns = table.flat[table.splits["train"]].astype(float)
    truth = PCA(L).fit(standardised).score(standardised) - np.log(columns.std(0)).sum()  # in the data's own units
    figures = fitted.evaluate(table, "train", 64)
    assert abs(truth + figures["neg_elbo"]) < 0.01 * D
    # The exact optimum (Tipping & Bishop 1999, eq. 9): no parameters do better on these rows.
    values = np.linalg.eigvalsh(np.cov(standardised.T, bias=True))[::-1]
    rest = values[L:].mean()
    best = -0.5 * (D * math.log(2 * math.pi) + np.log(values[:L]).sum() + (D - L) * math.log(rest) + D)
    assert exact_elbo(fitted, standardised).mean() < exact_log_likelihood(fitted, standardised).mean() < best
    assert exact_elbo(fitted, standardised).mean() > best - 0.01 * D


def test_importance_bound_lies_between_elbo_and_exact_likelihood_and_approaches_it(rough):
    source, fitted = rough
    x = model_rows(source, "validation")
    jacobian = source.log_jacobian
    exact, elbo = -exact_log_likelihood(fitted, x).mean() + jacobian, -exact_elbo(fitted, x).mean() + jacobian
    bounds = [fitted.importance_bound(source.data, "validation", k) for k in (1, 8, 64, 1000)]
    assert [bound.draws for bound in bounds] == [1, 8, 64, 1000]
    for bound in bounds[1:]:
        assert exact - 4 * bound.monte_carlo < bound.neg_log_p < elbo
    values = [bound.neg_log_p for bound in bounds]
    for looser, tighter in itertools.pairwise(bounds):
        assert tighter.neg_log_p < looser.neg_log_p + 3 * math.hypot(looser.monte_carlo, tighter.monte_carlo)
    assert values[2] < values[0]
    assert values[-1] - exact < max(0.02 * (elbo - exact), 4 * bounds[-1].monte_carlo)
    assert bounds[-1].monte_carlo < 0.2 * bounds[1].monte_carlo
    assert abs(values[0] - elbo) < 4 * _spread_of_one_draw(source, fitted)


def _spread_of_one_draw(source, fitted):
    """Standard error of the bound by one draw about its expectation, the ELBO."""
    batches = source.batches("validation", 64)
    log_w = []
    for _, x, keys in batches:
        x = x.double()
        q = evaluate.encode(fitted.model, fitted.parameters, x)
        q = type(q)(q.mean[:, None], q.log_var[:, None])
        eps = evaluate.fixed_noise(keys, [fitted.spec], fitted.model.latent, 64, torch.float64)
        z = q.sample(eps)
        cost = evaluate.nll(fitted.model, fitted.parameters, z, x)
        log_w.append((fitted.model.prior.log_prob(z, fitted.parameters) - q.log_prob(eps) - cost)[0])
    variance = torch.cat(log_w, 1).var(0)
    return math.sqrt(float(variance.mean()) / len(variance))


def test_importance_bound_does_not_depend_on_the_draws_that_are_in_memory_at_once(rough, monkeypatch):
    source, fitted = rough
    bound = fitted.importance_bound(source.data, "validation", 30)
    for at_once in (1, 7, 30):
        monkeypatch.setattr(evaluate, "BOUND_DRAWS", at_once)
        again = fitted.importance_bound(source.data, "validation", 30)
        assert again.neg_log_p == pytest.approx(bound.neg_log_p, rel=1e-12)
        assert again.monte_carlo == pytest.approx(bound.monte_carlo, rel=1e-9)


def test_importance_bound_of_a_perfect_posterior_is_exact_with_one_draw(table, optimum):
    """With q(z|x) = p(z|x) every draw has the same weight: no spread over draws is left."""
    source, fitted = optimum
    W, b, s, _, _ = numbers(fitted)
    rotation = np.linalg.svd(W, full_matrices=False)[0].T @ W  # the same marginal, with orthogonal rows
    precision = (rotation**2).sum(1) / s**2 + 1
    own = fitted.model.unpad(fitted.row[0], fitted.spec)
    A = (rotation / s**2 / precision[:, None]).T
    own["decoder.0.weight"] = torch.tensor(rotation)
    own["encoder.0.weight"] = torch.tensor(np.hstack([A, np.zeros_like(A)]))
    own["encoder.0.bias"] = torch.tensor(np.concatenate([-b @ A, -np.log(precision)]))[None]
    perfect = Fitted(fitted.spec, fitted.facts, fitted.scaling, fitted.model.pad(own, fitted.spec)[None])
    exact = -exact_log_likelihood(fitted, model_rows(source, "validation")).mean() + source.log_jacobian
    for draws in (1, 5):
        bound = perfect.importance_bound(table, "validation", draws)
        assert bound.neg_log_p == pytest.approx(exact, rel=1e-9)
        assert bound.monte_carlo < 1e-6


# A nonlinear model, for what holds of any.


@pytest.fixture(scope="module")
def images():
    """8-bit pictures of 4 x 6, one pixel constant."""
    rng = np.random.default_rng(3)
    x = 255 / (1 + np.exp(-rng.normal(size=(300, 3)) @ rng.normal(size=(3, 24))))
    x[:, 7] = 9
    return from_arrays(x.astype(np.uint8).reshape(-1, 4, 6), seed=1)


def small(data, **settings):
    base = {"hidden": "20", "latent_dim": 3, "epochs": 4, "batch_size": 30, "device": "cpu"}
    return train(data, resolve(Spec.create(**{**base, **settings}), data))


MODELS = {
    "bernoulli": {"likelihood": "bernoulli"},
    "dynamic": {"likelihood": "bernoulli", "binarize": "dynamic"},
    "fixed": {"likelihood": "bernoulli", "binarize": "fixed"},
    "dequantised": {"likelihood": "gaussian"},
    "huber": {"likelihood": "huber", "sigma": "feature"},
}


@pytest.fixture(scope="module", params=list(MODELS))
def model(request, images):
    return small(images, **MODELS[request.param])


def test_scores_do_not_depend_on_order_subset_or_batch(model, images, monkeypatch):
    _, fitted = model
    x = images.x[:90]
    scores = fitted.score_samples(x)
    order = np.random.default_rng(0).permutation(90)
    np.testing.assert_allclose(fitted.score_samples(x[order]), scores[order], rtol=1e-12)
    np.testing.assert_allclose(fitted.score_samples(x[17:31]), scores[17:31], rtol=1e-12)
    np.testing.assert_allclose(fitted.score_samples(x[5:6]), scores[5:6], rtol=1e-12)
    for floats in (1, 24 * 8 * 7, 24 * 8 * 64):
        monkeypatch.setattr("vaelab.engine.rows.CHUNK_FLOATS", floats)
        np.testing.assert_allclose(fitted.score_samples(x), scores, rtol=1e-12)
    assert len(np.unique(scores)) > 80


def test_the_figure_of_a_split_is_the_mean_of_the_scores_of_its_rows(model, images):
    _, fitted = model
    scores = fitted.score_samples(images.x[images.splits["validation"]], draws=5)
    figures = fitted.evaluate(images, "validation", 5)
    assert figures["neg_elbo"] == pytest.approx(-scores.mean(), rel=1e-12)
    assert figures["se"] == pytest.approx(scores.std(ddof=1) / math.sqrt(len(scores)), rel=1e-9)
    assert figures["neg_elbo"] == pytest.approx(figures["distortion"] + figures["rate"], rel=1e-12)
    assert sum(figures["kl"]) == pytest.approx(figures["rate"], rel=1e-12)
    assert len(figures["kl"]) == 3


def test_more_draws_repeat_the_first_ones(model):
    """8 draws are the first 8 of 64, so that figures of a search and of finalists share their noise."""
    source, fitted = model
    batches = [source.batches("test", 8) for _ in range(2)]
    few, many = (
        torch.cat([_draws(fitted, x, keys, S) for _, x, keys in pieces], 2)
        for S, pieces in zip((8, 64), batches, strict=True)
    )
    assert torch.equal(few, many[:, :8])


def _draws(fitted, x, keys, draws):
    return evaluate.fixed_noise(keys, [fitted.spec], fitted.model.latent, draws, torch.float64)


def test_neg_elbo_agrees_with_torch_distributions_on_other_noise(model):
    """Fixed noise is as good as any: a plain Monte Carlo estimate with torch's own noise agrees within its errors."""
    source, fitted = model
    S, views = 200, fitted.parameters
    _, x, keys = next(iter(source.batches("test", S)))
    scores = evaluate.score(
        fitted.model, views, [fitted.spec], Batches(len(x), iter([(x, keys)])), S, source.log_jacobian
    )
    x = x.double()
    q = fitted.model.encode(views, x[None])
    posterior = dist.Normal(q.mean[0, :, :3], torch.exp(0.5 * q.log_var[0, :, :3]))
    torch.manual_seed(0)
    z = posterior.rsample((S,))
    padded = torch.zeros(1, S * len(x), fitted.model.latent, dtype=torch.float64)
    padded[0, :, :3] = z.flatten(0, 1)
    outputs = fitted.model.decode(views, padded).view(S, len(x), -1)
    costs = _nll_by_torch(fitted, outputs, x) + source.log_jacobian
    rate = dist.kl_divergence(posterior, dist.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(scores.rate[0], rate, rtol=1e-10, atol=1e-10)
    error = (costs.var(0) / S * 2).sqrt()
    z_score = (scores.distortion[0] - costs.mean(0)) / error
    assert z_score.abs().max() < 4.5
    assert abs(float(z_score.mean())) < 4 / math.sqrt(len(x))


def _nll_by_torch(fitted, outputs, x):
    if fitted.spec.likelihood == "bernoulli":
        cost = torch.nn.functional.binary_cross_entropy_with_logits(outputs, x.expand_as(outputs), reduction="none")
        return cost.sum(-1)
    likelihood = fitted.model.likelihood
    s = likelihood.least_scale + fitted.parameters["likelihood.scale"].exp()[0]
    if fitted.spec.likelihood == "gaussian":
        return -dist.Normal(outputs, s.expand_as(outputs)).log_prob(x).sum(-1)
    r, d = ((x - outputs) / s).abs(), 1.0
    z = math.sqrt(2 * math.pi) * math.erf(d / math.sqrt(2)) + 2 / d * math.exp(-0.5 * d * d)
    return (torch.where(r <= d, 0.5 * r * r, d * r - 0.5 * d * d) + torch.log(s * z)).sum(-1)


def test_another_split_of_the_data_is_judged_in_the_models_own_scaling(table):
    """A data set's own training split standardises differently; the model was trained under one scaling."""
    _, fitted = small(table, likelihood="gaussian")
    other = from_arrays(factor_rows(), seed=9)
    rows = other.x[other.splits["validation"]]
    figures = fitted.evaluate(other, "validation", 8)
    assert figures["neg_elbo"] == pytest.approx(-fitted.score_samples(rows).mean(), rel=1e-12)
    bound = fitted.importance_bound(other, "validation", 1)
    one_draw = fitted.evaluate(other, "validation", 1)
    assert abs(bound.neg_log_p - one_draw["neg_elbo"]) < 4 * bound.se


def test_active_units_are_dimensions_whose_means_vary(table):
    """An encoder with mean_d = a_d x_d on standardised columns has variance a_d^2 of the means."""
    spec = linear_spec(table, latent_dim=4)
    source = Feed(table, spec)
    stack = Stack([spec], source, Variational())
    own = stack.model.unpad(stack.parameters[0].detach(), spec)
    scale = torch.tensor([1.0, 0.12, 0.08, 0.0])  # variances 1, 0.0144, 0.0064, 0; the rule is > 0.01
    own["encoder.0.weight"].zero_()
    own["encoder.0.weight"][range(4), range(4)] = scale
    fitted = Fitted.of(source, spec, stack.model.pad(own, spec)).double()
    scores = evaluate.score(fitted.model, fitted.parameters, [spec], source.batches("train", 8), 8)
    np.testing.assert_allclose(scores.mean_variance[0, :4], scale.double().square(), rtol=1e-4, atol=1e-12)
    figures = fitted.evaluate(table, "train", 8)
    assert figures["active_units"] == 2
    np.testing.assert_allclose(figures["kl"], 0.5 * scale.double().square(), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("scale", [[1.5, 0.7, 0.0, 0.0], [1000.0, 1000.0, 1000.0, 1000.0]])
def test_mutual_information_is_that_of_a_gaussian_channel_up_to_its_cap(scale):
    """z_d = a_d x_d + noise with standard normal x: I = sum 1/2 log(1 + a_d^2); N rows can show log N at most."""
    table = from_arrays(np.random.default_rng(5).normal(size=(3000, D)))
    spec = linear_spec(table, latent_dim=4)
    source = Feed(table, spec)
    stack = Stack([spec], source, Variational())
    own = stack.model.unpad(stack.parameters[0].detach(), spec)
    own["encoder.0.weight"].zero_()
    own["encoder.0.weight"][range(4), range(4)] = torch.tensor(scale)
    fitted = Fitted.of(source, spec, stack.model.pad(own, spec)).double()
    found = fitted.mutual_information(table, "train")
    rows = len(source.rows("train")[:2000])
    assert found.cap == pytest.approx(math.log(rows))
    truth = sum(0.5 * math.log1p(a * a) for a in scale)
    assert found.estimate == pytest.approx(min(truth, found.cap), abs=0.05)


def blind(source, spec):
    """A model that ignores its input: zero weights, the best constant as output."""
    stack = Stack([spec], source, Variational())
    own = stack.model.unpad(stack.parameters[0].detach(), spec)
    outputs, scale = source.likelihood.constant(source.sample_rows(feed.BASELINE_ROWS))
    for name, weight in own.items():
        weight.zero_()
        if name.startswith("likelihood"):
            own[name] = scale[name][0].clone()
    own[f"decoder.{len(spec.hidden_sizes)}.bias"] = outputs[None]
    own = {name: weight.double() for name, weight in own.items()}
    return Fitted(spec, Fitted.of(source, spec, stack.parameters[0]).facts, source.units.scaling,
                  stack.model.pad(own, spec)[None])  # fmt: skip


@pytest.mark.parametrize("settings", MODELS.values(), ids=list(MODELS))
def test_a_model_that_ignores_its_input_is_the_baseline_and_collapsed(images, settings):
    spec = resolve(Spec.create(hidden="20", latent_dim=3, device="cpu", **settings), images)
    source = Feed(images, spec)
    figures = blind(source, spec).evaluate(images, "validation", 4)
    reference = evaluate.baseline(source, "validation")
    assert figures["rate"] == 0
    assert figures["active_units"] == 0
    assert figures["verdict"] == "collapsed"
    assert figures["neg_elbo"] == pytest.approx(float(reference.no_latents.mean()), rel=1e-9)
    if reference.floor is not None:
        assert figures["share"] == pytest.approx(0, abs=1e-6)


def verdict(rate, gain, spread=1.0, n=100):
    """The verdict on a model with this mean rate that beats the model without latents by `gain` on average."""
    noise = torch.tensor(np.random.default_rng(0).normal(size=n))
    noise = spread * (noise - noise.mean()) / noise.std()
    rates = torch.full((1, n), rate, dtype=torch.float64)
    no_latents = torch.full((n,), 50.0, dtype=torch.float64)
    scores = evaluate.Scores(no_latents - gain + noise - rates, rates, torch.zeros(1, 32), torch.zeros(1, 32))
    return evaluate.metrics(scores, 0, Spec(latent_dim=3), evaluate.Baseline(no_latents, None))["verdict"]


def test_collapse_is_a_rate_below_a_tenth_of_a_nat_or_a_gain_within_two_standard_errors():
    assert verdict(rate=0.11, gain=0.21) == "ok"  # the standard error of the gain is 0.1
    assert verdict(rate=0.09, gain=5.0) == "collapsed"
    assert verdict(rate=5.0, gain=0.19) == "collapsed"
    assert verdict(rate=5.0, gain=-1.0) == "collapsed"


def test_a_trained_model_is_not_collapsed(optimum, table):
    figures = optimum[1].evaluate(table, "validation", 8)
    assert figures["verdict"] == "ok"
    assert figures["active_units"] == L


def test_bernoulli_baseline_and_floor_are_entropies_by_hand(images):
    source = Feed(images, resolve(Spec(likelihood="bernoulli", device="cpu"), images))
    train_rows, x = (images.rows(split).astype(float) / 255 for split in ("train", "validation"))
    p = (train_rows.sum(0) + 0.5) / (len(train_rows) + 1)
    cross_entropy = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(1)
    entropy = -(scipy.special.xlogy(x, x) + scipy.special.xlogy(1 - x, 1 - x)).sum(1)
    reference = evaluate.baseline(source, "validation")
    np.testing.assert_allclose(reference.no_latents, cross_entropy, rtol=1e-5)
    assert reference.floor == pytest.approx(entropy.mean(), rel=1e-5)
    assert reference.share(float(cross_entropy.mean())) == pytest.approx(0, abs=1e-5)
    assert reference.share(reference.floor) == pytest.approx(1)
    halfway = (float(reference.no_latents.mean()) + reference.floor) / 2
    assert reference.share(halfway) == pytest.approx(0.5)


def test_binarised_data_have_no_floor_and_the_cross_entropy_of_their_bits(images):
    source = Feed(images, resolve(Spec(binarize="fixed", device="cpu"), images))
    bits = {split: model_rows(source, split) for split in ("train", "validation")}
    assert set(np.unique(bits["train"])) == {0.0, 1.0}
    p = (bits["train"].sum(0) + 0.5) / (len(bits["train"]) + 1)
    expected = -np.where(bits["validation"] == 1, np.log(p), np.log(1 - p)).sum(1)
    reference = evaluate.baseline(source, "validation")
    np.testing.assert_allclose(reference.no_latents, expected, rtol=1e-6)
    assert reference.floor is None
    assert reference.share(1.0) is None


def test_gaussian_baseline_is_the_density_of_the_columns_in_their_own_units(table):
    source = Feed(table, linear_spec(table, sigma="feature"))
    train_rows, x = (table.rows(split).astype(float) for split in ("train", "validation"))
    expected = -scipy.stats.norm.logpdf(x, train_rows.mean(0), train_rows.std(0)).sum(1)
    reference = evaluate.baseline(source, "validation")
    np.testing.assert_allclose(reference.no_latents, expected, rtol=1e-4)
    assert reference.floor is None


def test_dequantised_density_is_stated_per_grey_level(images):
    """In the data's own units, by hand: the density of level + u under a normal, over the 23 pixels that vary."""
    spec = resolve(Spec(likelihood="gaussian", sigma="feature", device="cpu"), images)
    source = Feed(images, spec)
    assert source.features == 23
    kept = np.delete(np.arange(24), 7)
    grey = {split: images.rows(split)[:, kept].astype(float) for split in ("train", "validation")}
    own = {split: 256 * model_rows(source, split) for split in grey}
    for split in grey:
        u = own[split] - grey[split]
        assert ((u >= -1e-4) & (u < 1 + 1e-4)).all()
        assert scipy.stats.kstest(u.flatten(), "uniform").pvalue > 1e-3
    expected = -scipy.stats.norm.logpdf(own["validation"], own["train"].mean(0), own["train"].std(0)).sum(1)
    np.testing.assert_allclose(evaluate.baseline(source, "validation").no_latents, expected, rtol=1e-5)


def test_a_table_in_units_a_thousand_times_smaller_costs_its_dimensions_times_log_1000_more():
    """Both are trained. Noise is keyed by the rows' own values, so the same keys are given to both."""
    x = factor_rows(300)
    results = []
    for factor in (1.0, 1000.0):
        data = from_arrays(x * factor, seed=4)
        spec = linear_spec(data, hidden="16", epochs=5, batch_size=30, sigma="feature")
        source, fitted = train(data, spec)
        results.append((source, fitted))
    (one, small_units), (other, large_units) = results
    rows = {s: torch.cat([x for _, x, _ in s.batches("validation", 1)]) for s in (one, other)}
    keys = one.keys("validation")

    def neg_elbo(source, fitted, x):
        scores = evaluate.score(
            fitted.model, fitted.parameters, [fitted.spec], Batches(len(x), iter([(x, keys)])), 8, source.log_jacobian
        )
        return scores.neg_elbo[0].numpy()

    shift = neg_elbo(other, large_units, rows[other]) - neg_elbo(one, small_units, rows[one])
    # Training follows the same path up to the rounding of float32; with the same parameters and rows it is exact.
    np.testing.assert_allclose(shift, D * math.log(1000), atol=1e-3)
    exact = neg_elbo(other, small_units, rows[one]) - neg_elbo(one, small_units, rows[one])
    np.testing.assert_allclose(exact, D * math.log(1000), rtol=1e-5)
    assert other.log_jacobian - one.log_jacobian == pytest.approx(D * math.log(1000), rel=1e-6)


def test_bernoulli_figures_have_no_jacobian(images):
    assert Feed(images, resolve(Spec(likelihood="bernoulli", device="cpu"), images)).log_jacobian == 0


def test_fixed_noise_is_equal_for_all_members_and_zero_in_their_padding():
    keys = noise.row_keys(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    specs = [Spec(latent_dim=n) for n in (2, 7, 32)]
    eps = evaluate.fixed_noise(keys, specs, 32, 3, torch.float64)
    for k, spec in enumerate(specs):
        assert torch.equal(eps[k, :, :, : spec.latent_dim], eps[2, :, :, : spec.latent_dim])
        assert (eps[k, :, :, spec.latent_dim :] == 0).all()
