"""One contract for every likelihood: a density (or mass) of sum 1 with the gradient, samples and constant it claims.

The truth is scipy, closed forms, quadrature and finite differences.
"""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from torch.nn import functional

from vaelab.errors import InputError
from vaelab.vae.likelihoods.bernoulli import Bernoulli
from vaelab.vae.likelihoods.gaussian import Gaussian
from vaelab.vae.likelihoods.huber import Huber
from vaelab.vae.likelihoods.laplace import Laplace
from vaelab.vae.likelihoods.likelihood import likelihood_for
from vaelab.vae.likelihoods.location_scale import LocationScale
from vaelab.vae.spec import Spec

SETTINGS = {
    f"{name}-{sigma}": {"likelihood": name, "sigma": sigma, "threshold": threshold}
    for name, threshold in (("gaussian", 1.0), ("laplace", 1.0), ("huber", 0.7))
    for sigma in (0.3, "shared", "feature")
}
DENSITIES = list(SETTINGS)
ALL = ["bernoulli", *DENSITIES]
D = 3
SCALES = {"shared": [0.4], "feature": [0.2, 0.5, 1.3]}


def make(name, is_image=False):
    """The likelihood, and parameters (1, 1, F) that give it the scales in SCALES."""
    if name == "bernoulli":
        return likelihood_for(Spec(likelihood="bernoulli"), is_image), {}
    settings = SETTINGS[name]
    likelihood = likelihood_for(Spec(**settings), is_image)
    if settings["sigma"] not in SCALES:
        return likelihood, {}
    raw = torch.log(torch.tensor(SCALES[settings["sigma"]], dtype=torch.float64) - likelihood.least_scale)
    return likelihood, {"likelihood.scale": raw.view(1, 1, -1)}


def scales(name):
    """The scale of each of the D features, as numbers."""
    sigma = SETTINGS[name]["sigma"]
    return np.broadcast_to(SCALES.get(sigma, [sigma]), D)


def huber_density(r, d):
    """exp(-energy) / Z by the textbook, for scale 1."""
    z = math.sqrt(2 * math.pi) * scipy.special.erf(d / math.sqrt(2)) + 2 / d * math.exp(-0.5 * d * d)
    return np.exp(-np.where(np.abs(r) <= d, 0.5 * r * r, d * np.abs(r) - 0.5 * d * d)) / z


def huber_cdf(r, d):
    """The integral of `huber_density`: exponential tails around a piece of a normal."""
    z = math.sqrt(2 * math.pi) * scipy.special.erf(d / math.sqrt(2)) + 2 / d * math.exp(-0.5 * d * d)
    tail = np.exp(0.5 * d * d - d * np.maximum(np.abs(r), d)) / d
    body = math.sqrt(2 * math.pi) * (scipy.special.ndtr(d) - scipy.special.ndtr(np.minimum(np.abs(r), d)))
    upper = (tail + body) / z
    return np.where(r > 0, 1 - upper, upper)


def true_logpdf(name, x, m, s):
    """The log-density of one feature, by scipy or the textbook."""
    if name.startswith("gaussian"):
        return scipy.stats.norm.logpdf(x, m, s)
    if name.startswith("laplace"):
        return scipy.stats.laplace.logpdf(x, m, s)
    return np.log(huber_density((x - m) / s, SETTINGS[name]["threshold"])) - np.log(s)


def nll(name, outputs, x, **kwargs):
    likelihood, parameters = make(name, **kwargs)
    return likelihood.nll(outputs, x, parameters)


@pytest.mark.parametrize("name", DENSITIES)
def test_density_integrates_to_one(name):
    likelihood, parameters = make(name)
    if "likelihood.scale" in parameters:  # one feature at a time
        parameters = {"likelihood.scale": parameters["likelihood.scale"][..., :1]}
    m = torch.full((1, 1, 1), 0.3, dtype=torch.float64)

    def density(x):
        return float(torch.exp(-likelihood.nll(m, torch.full_like(m, x), parameters)))

    mass = sum(scipy.integrate.quad(density, a, b, epsabs=1e-10)[0] for a, b in ((-np.inf, 0.3), (0.3, np.inf)))
    assert mass == pytest.approx(1, abs=1e-7)


def test_bernoulli_masses_sum_to_one():
    logits = torch.tensor([[[-2.0, 0.3, 5.0]]], dtype=torch.float64)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    mass = torch.exp(-nll("bernoulli", logits.expand(1, 8, 3), corners[None]))
    assert float(mass.sum()) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("name", DENSITIES)
def test_nll_equals_the_closed_form(name, rng):
    outputs, x = rng.normal(size=(1, 50, D)), 2 * rng.normal(size=(1, 50, D))
    expected = -true_logpdf(name, x, outputs, scales(name)).sum(-1)
    np.testing.assert_allclose(nll(name, torch.tensor(outputs), torch.tensor(x)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in DENSITIES if not name.endswith("0.3")])
def test_members_have_their_own_scales_with_and_without_a_sample_axis(name, rng):
    likelihood, parameters = make(name)
    raw = torch.cat([parameters["likelihood.scale"], parameters["likelihood.scale"] + 1])
    outputs, x = (torch.tensor(rng.normal(size=(2, 4, D))) for _ in range(2))
    both = likelihood.nll(outputs, x, {"likelihood.scale": raw})
    for k in range(2):
        alone = likelihood.nll(outputs[k : k + 1], x[k : k + 1], {"likelihood.scale": raw[k : k + 1]})
        torch.testing.assert_close(both[k : k + 1], alone, rtol=1e-14, atol=0)
    sampled = likelihood.nll(outputs[:, None], x[:, None], {"likelihood.scale": raw[:, None]})
    torch.testing.assert_close(sampled[:, 0], both, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_gradient_agrees_with_finite_differences(name, rng):
    likelihood, parameters = make(name)
    x = torch.tensor(rng.uniform(size=(1, 4, D)))
    # Away from the kink of |r|, where no derivative exists.
    outputs = (x + torch.tensor(rng.choice([-1, 1], size=x.shape) * rng.uniform(0.1, 2, size=x.shape))).requires_grad_()
    inputs = [outputs, *(p.requires_grad_() for p in parameters.values())]

    def cost(outputs, *values):
        return likelihood.nll(outputs, x, dict(zip(parameters, values, strict=True)))

    assert torch.autograd.gradcheck(cost, inputs)


@pytest.mark.parametrize("features", [1, 2, 7, 63, 64, 65, 96, 128, 784])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_equals_torch_cross_entropy_up_to_extreme_logits(features, dtype):
    generator = torch.Generator().manual_seed(features)
    logits = torch.randn(2, 5, features, generator=generator, dtype=dtype) * 5
    logits[0, 0], logits[0, 1], logits[1, 0] = 100.0, -100.0, 0.0
    x = torch.rand(2, 5, features, generator=generator, dtype=dtype)
    x[1, 1:3], x[1, 3], x[0, :2, ::2] = 1.0, 0.0, 1.0
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    cost = Bernoulli().nll(ours, x, {})
    truth = functional.binary_cross_entropy_with_logits(theirs, x, reduction="none").sum(-1)
    rounding = 1e-12 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(cost, truth, rtol=rounding, atol=rounding * features)
    upstream = torch.randn(cost.shape, generator=generator, dtype=dtype)
    cost.backward(upstream)
    truth.backward(upstream)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=rounding, atol=rounding)


def test_bernoulli_stays_finite_where_all_factors_are_two():
    logits = torch.zeros(1, 1, 6400)  # each factor is 1 + e^0 = 2: products of too many would overflow
    assert float(Bernoulli().nll(logits, torch.zeros_like(logits), {})) == pytest.approx(6400 * math.log(2))


def true_cdf(name, x, s):
    if name.startswith("gaussian"):
        return scipy.stats.norm.cdf(x, 0, s)
    if name.startswith("laplace"):
        return scipy.stats.laplace.cdf(x, 0, s)
    return huber_cdf(np.asarray(x) / s, SETTINGS[name]["threshold"])


@pytest.mark.parametrize("name", DENSITIES)
def test_samples_follow_the_density(name):
    likelihood, parameters = make(name)
    n, location = 20_000, torch.tensor([-2.0, 0.0, 5.0], dtype=torch.float64)
    draws = likelihood.sample(location.expand(1, n, D), parameters, torch.Generator().manual_seed(3))
    for i, s in enumerate(scales(name)):
        r = (draws[0, :, i] - location[i]).numpy()
        assert scipy.stats.kstest(r, lambda x, s=s: true_cdf(name, x, s)).pvalue > 1e-3
        assert abs(r.mean()) < 4 * r.std() / math.sqrt(n)
        second = scipy.integrate.quad(
            lambda x, s=s: x * x * math.exp(true_logpdf(name, x, 0.0, s)), -40 * s, 40 * s, points=[0]
        )[0]
        assert abs((r**2).mean() - second) < 4 * (r**2).std() / math.sqrt(n)


def test_bernoulli_samples_have_the_mean_of_the_outputs():
    outputs = torch.tensor([-3.0, 0.0, 2.0])
    n = 20_000
    draws = Bernoulli().sample(outputs.expand(1, n, 3), {}, torch.Generator().manual_seed(3))
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    p = 1 / (1 + np.exp(-outputs.numpy()))
    np.testing.assert_allclose(Bernoulli().mean(outputs, {}), p, rtol=1e-6)
    assert (abs(draws.mean((0, 1)).numpy() - p) < 4 * np.sqrt(p * (1 - p) / n)).all()


@pytest.mark.parametrize("name", ALL)
def test_samples_repeat_with_their_generator_and_keep_the_outputs_type(name):
    likelihood, parameters = make(name)
    outputs = torch.zeros(1, 8, D)
    parameters = {n: p.float() for n, p in parameters.items()}
    one, two = (likelihood.sample(outputs, parameters, torch.Generator().manual_seed(9)) for _ in range(2))
    assert one.dtype == torch.float32
    assert torch.equal(one, two)


@pytest.mark.parametrize("d", [0.05, 0.7, 1.0, 3.0])
def test_huber_references_agree_with_each_other(d):
    for r in (-1.5 * d, -0.2 * d, 0.9 * d, 3 * d):
        density = scipy.integrate.quad(lambda x: float(huber_density(x, d)), min(r, -d), r, epsabs=1e-12)[0]
        assert float(huber_cdf(r, d) - huber_cdf(min(r, -d), d)) == pytest.approx(density, abs=1e-7)


@pytest.mark.parametrize("d", [0.05, 0.7, 1.0, 3.0])
def test_huber_quantile_inverts_the_distribution(d):
    u = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 201), [1e-14, 0.5]])
    r = Huber(1.0, False, 1e-3, d).quantile(torch.tensor(u)).numpy()
    np.testing.assert_allclose(huber_cdf(r, d), u, rtol=1e-9, atol=1e-16)
    assert (np.diff(r[:201]) > 0).all()
    assert r[-1] == 0


@pytest.mark.parametrize("kind", [Gaussian, Laplace, Huber])
def test_quantiles_at_the_ends_of_the_unit_interval_are_finite(kind):
    ends = kind(1.0, False, 1e-3).quantile(torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64))
    assert torch.isfinite(ends).all()
    assert ends[0] < -3
    assert ends[1] > 3


@pytest.mark.parametrize("name", ALL)
def test_constant_is_a_minimum(name, rng):
    """No other location or scale, a little or a lot away, fits the rows better."""
    likelihood, _ = make(name)
    if name == "bernoulli":
        x = torch.tensor(rng.uniform(size=(4001, D)) < [0.1, 0.5, 0.9]).double()
        slack = 1e-3  # half a count is added on purpose
    else:
        x = torch.tensor(rng.standard_t(4, size=(4001, D)) * [0.2, 0.5, 1.3] + [0.0, -1.0, 4.0])
        slack = 1e-9
    outputs, own = likelihood.constant(x)
    assert outputs.shape == (D,)
    assert outputs.dtype == torch.float64
    assert {n: tuple(p.shape[1:]) for n, p in own.items()} == likelihood.shapes(D)

    def cost(m, values):
        return float(likelihood.nll(m.expand_as(x)[None], x[None], dict(zip(own, values, strict=True))).mean())

    best, values = cost(outputs, own.values()), list(own.values())
    for size in (1e-3, 0.1):
        for i in range(D):
            for sign in (-size, size):
                moved = outputs.clone()
                moved[i] += sign
                assert cost(moved, values) > best - slack
        for value in values:
            for j in range(value.numel()):
                for sign in (-size, size):
                    moved = value.clone()
                    moved.view(-1)[j] += sign
                    assert cost(outputs, [moved]) > best - slack


def test_gaussian_and_laplace_constants_are_the_textbooks(rng):
    x = rng.normal(size=(501, D)) * [1, 2, 3]
    m, own = make("gaussian-feature")[0].constant(torch.tensor(x))
    np.testing.assert_allclose(m, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(own["likelihood.scale"].exp()[0, 0] + 1e-3, x.std(0), rtol=1e-9)
    m, own = make("laplace-shared")[0].constant(torch.tensor(x))
    np.testing.assert_allclose(m, np.median(x, 0), rtol=1e-12)
    expected = abs(x - np.median(x, 0)).mean()
    np.testing.assert_allclose(own["likelihood.scale"].exp()[0, 0] + 1e-3, [expected], rtol=1e-9)


def test_bernoulli_constant_leaves_a_chance_to_what_training_never_showed():
    outputs, own = Bernoulli().constant(torch.tensor([[0, 255], [0, 255], [0, 255]], dtype=torch.uint8) // 255)
    np.testing.assert_allclose(torch.sigmoid(outputs), [0.5 / 4, 3.5 / 4], rtol=1e-12)
    assert own == {}


@pytest.mark.parametrize(("is_image", "least"), [(True, 1 / 256), (False, 1e-3)])
@pytest.mark.parametrize("name", [name for name in DENSITIES if not name.endswith("0.3")])
def test_learned_scale_never_falls_below_the_least(name, is_image, least):
    likelihood, _ = make(name, is_image)
    shape = likelihood.shapes(D)["likelihood.scale"]
    scale = likelihood.scale_of({"likelihood.scale": torch.full((1, *shape), -200.0)})
    np.testing.assert_allclose(scale, least, rtol=1e-6)
    # Equal rows: the best density is as narrow as the least scale allows, and its figures are finite.
    x = torch.full((10, D), 0.5, dtype=torch.float64)
    outputs, own = likelihood.constant(x)
    np.testing.assert_allclose(likelihood.scale_of(own), least, rtol=1e-6)
    assert torch.isfinite(likelihood.nll(outputs.expand_as(x)[None], x[None], own)).all()


@pytest.mark.parametrize("name", ALL)
def test_initial_values_have_the_declared_shapes_and_the_spread_of_the_rows(name, rng):
    likelihood, _ = make(name)
    x = torch.tensor(rng.normal(size=(400, D)) * [0.5, 1.0, 2.0], dtype=torch.float32)
    initial = likelihood.initial(x)
    assert {n: tuple(p.shape) for n, p in initial.items()} == likelihood.shapes(D)
    assert all(p.dtype == torch.float32 for p in initial.values())
    if initial:
        spread = x.numpy().astype(float).std(0)
        expected = spread if name.endswith("feature") else [spread.mean()]
        np.testing.assert_allclose(likelihood.scale_of(initial)[0], expected, rtol=1e-5)


def test_initial_scale_of_equal_rows_is_finite():
    initial = make("gaussian-feature")[0].initial(torch.ones(5, D))
    assert torch.isfinite(initial["likelihood.scale"]).all()


def test_auto_sigma_is_shared_for_images_and_per_feature_for_tables():
    spec = Spec(likelihood="gaussian")
    assert likelihood_for(spec, is_image=True).shapes(9) == {"likelihood.scale": (1, 1)}
    assert likelihood_for(spec, is_image=False).shapes(9) == {"likelihood.scale": (1, 9)}
    assert likelihood_for(Spec(likelihood="gaussian", sigma=0.1), is_image=True).shapes(9) == {}


def test_only_bernoulli_is_a_mass():
    assert Bernoulli().is_mass
    for name in DENSITIES:
        assert isinstance(make(name)[0], LocationScale)
        assert not make(name)[0].is_mass


def test_unresolved_likelihood_is_refused():
    with pytest.raises(InputError, match="unknown likelihood 'auto'; known: bernoulli"):
        likelihood_for(Spec(), is_image=True)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.mark.parametrize(("batch", "features"), [(16, 25), (7, 13), (1, 3), (100, 784), (33, 65)])
@pytest.mark.parametrize("name", ["bernoulli", "gaussian-feature", "laplace-shared", "huber-0.3"])
def test_a_member_gets_the_same_bits_at_any_place_in_a_stack(name, batch, features):
    """PyTorch's vector code and the scalar code for what is left over round differently, as sigmoid's does."""
    likelihood, _ = make(name)
    generator = torch.Generator().manual_seed(0)
    outputs, x = (torch.randn(5, batch, features, generator=generator) for _ in range(2))
    if name == "bernoulli":
        x = x.sigmoid()
    own = {n: torch.randn(5, *shape, generator=generator) for n, shape in likelihood.shapes(features).items()}

    def cost_and_gradient(members):
        inputs = outputs[members].clone().requires_grad_()
        cost = likelihood.nll(inputs, x[members], {n: p[members] for n, p in own.items()})
        return cost.detach(), torch.autograd.grad(cost.mean(1).sum(), inputs)[0]

    cost, gradient = cost_and_gradient(slice(None))
    for k in range(5):
        cost_alone, gradient_alone = cost_and_gradient(slice(k, k + 1))
        assert torch.equal(cost_alone[0], cost[k])
        assert torch.equal(gradient_alone[0], gradient[k])
