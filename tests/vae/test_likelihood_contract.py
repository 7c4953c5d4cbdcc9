"""What every likelihood in the registry must hold, whatever it is: nothing here knows one by its name.

The truth is quadrature, frequencies of draws with their standard errors, and finite differences.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import torch

import vaelab
from vaelab.api import train
from vaelab.data import from_arrays
from vaelab.engine.training import Stack, epochs
from vaelab.vae.evaluate import nll
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.likelihoods import LIKELIHOODS
from vaelab.vae.likelihoods.likelihood import likelihood_for
from vaelab.vae.modules import LINKS
from vaelab.vae.spec import Spec

D = 3
KINDS = [(name, is_image, sigma) for name in LIKELIHOODS for is_image in (False, True) for sigma in ("auto", 0.6)]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{'image' if kind[1] else 'table'}-{kind[2]}")
def kind(request):
    name, is_image, sigma = request.param
    return Spec(likelihood=name, sigma=sigma), is_image


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def example(likelihood, features=D, rows=4, members=2):
    """Outputs (K, B, head), own parameters (K, ...) and x (K, B, D) drawn from them, in float64."""
    outputs = torch.randn(members, rows, likelihood.head(features), generator=generator(), dtype=torch.float64)
    own = {
        name: 0.3 * torch.randn(members, *shape, generator=generator(1), dtype=torch.float64) - 1
        for name, shape in likelihood.shapes(features).items()
    }
    return outputs, own, likelihood.sample(outputs, own, generator(2)).double()


def dataset(likelihood, rows=500, scale=1.0, shift=0.0, seed=0):
    """Data that this likelihood itself draws, about outputs that vary together."""
    z = torch.randn(1, rows, 1, generator=generator(seed), dtype=torch.float64)
    outputs = (3.0 * z).expand(1, rows, likelihood.head(4))
    own = {name: torch.full((1, *shape), -1.0, dtype=torch.float64) for name, shape in likelihood.shapes(4).items()}
    x = likelihood.sample(outputs, own, generator(seed + 1))[0].numpy()
    return from_arrays(x * scale + shift, name="drawn", features=[f"c{i}" for i in range(4)])


def table_likelihood(name):
    return likelihood_for(Spec(likelihood=name), False)


def test_names_of_own_parameters_lead_with_likelihood(kind):
    likelihood = likelihood_for(*kind)
    assert all(name.startswith("likelihood.") for name in likelihood.shapes(D))
    x = likelihood.sample(
        example(likelihood)[0][:1], {k: v[:1] for k, v in example(likelihood)[1].items()}, generator()
    )
    initial = likelihood.initial(x[0].float())
    assert {name: tuple(value.shape) for name, value in initial.items()} == likelihood.shapes(D)
    assert all(bool(torch.isfinite(value).all()) for value in initial.values())


def test_probabilities_add_up_to_one_and_draws_follow_them(kind):
    """A density by quadrature; a mass over the values that are drawn. Mean and frequencies by 40,000 draws."""
    likelihood = likelihood_for(*kind)
    outputs, own, _ = example(likelihood, features=1, rows=1, members=1)
    many = likelihood.sample(outputs.expand(1, 40_000, -1), own, generator(3))[0, :, 0].double()

    def probability(x):
        return float(torch.exp(-likelihood.nll(outputs, torch.full((1, 1, 1), x, dtype=torch.float64), own)))

    mean = float(likelihood.mean(outputs))
    assert abs(float(many.mean()) - mean) < 5 * float(many.std()) / math.sqrt(len(many))
    if likelihood.is_mass:
        values, counts = torch.unique(many, return_counts=True)
        p = np.array([probability(float(value)) for value in values])
        assert p.sum() == pytest.approx(1, abs=1e-3)
        assert np.allclose(counts / len(many), p, atol=5 * np.sqrt(0.25 / len(many)))
        return
    ends = ((-np.inf, mean), (mean, np.inf))
    assert sum(scipy.integrate.quad(probability, *end, epsabs=1e-10)[0] for end in ends) == pytest.approx(1, abs=1e-6)
    for share in (0.1, 0.5, 0.9):
        at = float(torch.quantile(many, share))
        below = scipy.integrate.quad(probability, -np.inf, at, epsabs=1e-9, points=None)[0]
        assert abs(below - share) < 5 * math.sqrt(share * (1 - share) / len(many))


def test_gradients_agree_with_finite_differences(kind):
    likelihood = likelihood_for(*kind)
    outputs, own, x = example(likelihood)
    x = x + (0.0 if likelihood.is_mass else 0.01)  # off the kinks that a draw may hit
    leaves = [outputs.requires_grad_(), *(value.requires_grad_() for value in own.values())]

    def function(outputs, *values):
        views = {name: value[:, None] for name, value in zip(own, values, strict=True)}
        return likelihood.nll(outputs[:, None], x[:, None], views)[:, 0]

    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5, rtol=1e-4)


def test_extreme_outputs_cost_finitely_and_pull_finitely(kind):
    likelihood = likelihood_for(*kind)
    _, own, x = example(likelihood, members=1)
    own = {name: value.float() for name, value in own.items()}
    for size in (-80.0, 80.0):
        outputs = torch.full((1, 4, likelihood.head(D)), size, requires_grad=True)
        cost = likelihood.nll(outputs, x.float(), own)
        (pull,) = torch.autograd.grad(cost.sum(), outputs)
        assert bool(torch.isfinite(cost).all())
        assert bool(torch.isfinite(pull).all())


def test_members_have_their_own_parameters_with_and_without_draws(kind):
    likelihood = likelihood_for(*kind)
    outputs, own, x = example(likelihood)
    both = likelihood.nll(outputs, x, own)
    assert both.shape == (2, 4)
    for k in range(2):
        one = {name: value[k : k + 1] for name, value in own.items()}
        torch.testing.assert_close(likelihood.nll(outputs[k : k + 1], x[k : k + 1], one), both[k : k + 1])
    drawn = likelihood.nll(outputs[:, None], x[:, None], {name: value[:, None] for name, value in own.items()})
    torch.testing.assert_close(drawn[:, 0], both)


def test_the_constant_is_the_best_model_without_latents(kind):
    """No step away from it, in outputs or own parameters, costs less on the rows that it is fitted to."""
    spec, is_image = kind
    likelihood = likelihood_for(spec, is_image)
    x = torch.from_numpy(np.ascontiguousarray(dataset(likelihood, rows=2_001).flat)).double()
    outputs, own = likelihood.constant(x)
    assert outputs.shape == (likelihood.head(4),)
    assert outputs.dtype == torch.float64

    def cost(outputs, own):
        return float(likelihood.nll(outputs.expand(1, len(x), -1), x[None], own).mean())

    best = cost(outputs, own)
    for step in (0.05, -0.05):
        for i in range(len(outputs)):
            away = outputs.clone()
            away[i] += step
            assert cost(away, own) >= best - 2e-3
        for name, value in own.items():
            assert cost(outputs, {**own, name: value + step}) >= best - 2e-3


def test_the_link_is_the_mean_of_one_output_and_known_to_modules_and_page(kind):
    likelihood = likelihood_for(*kind)
    script = Path(vaelab.__file__).parent / "report" / "js" / "decoder.js"
    known = re.search(r"const LINKS = \{(.*?)\};", script.read_text(), re.DOTALL)
    assert known is not None
    assert f"{likelihood.link}:" in known[1]
    if likelihood.head(D) == D:
        outputs = example(likelihood)[0]
        torch.testing.assert_close(LINKS[likelihood.link](outputs), likelihood.mean(outputs))


def test_the_floor_is_not_undercut(kind):
    likelihood = likelihood_for(*kind)
    outputs, own, _ = example(likelihood, members=1)
    floor = likelihood.floor(torch.tensor([[0.0, 0.3, 1.0]], dtype=torch.float64))
    if floor is None:
        return
    best = torch.logit(torch.tensor([[[0.0, 0.3, 1.0]]], dtype=torch.float64), eps=1e-12)
    lowest = float(likelihood.nll(best, torch.tensor([[[0.0, 0.3, 1.0]]], dtype=torch.float64), own))
    assert float(floor.sum()) == pytest.approx(lowest, abs=1e-9)
    assert float(likelihood.nll(outputs[:, :1], torch.tensor([[[0.0, 0.3, 1.0]]]).double(), own)) >= float(floor.sum())


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_model_trains_is_saved_and_scores_in_the_units_of_the_data(name, tmp_path):
    """Gains over no latents; a density changes with the unit of x by the logarithm of that unit, a mass not at all."""
    likelihood = table_likelihood(name)
    settings = {"likelihood": name, "hidden": "16", "latent_dim": 2, "epochs": 12, "lr": 1e-2, "batch_size": 30}
    settings["schedule"] = "one-cycle"  # a constant rate would keep the two runs apart by its noise
    data = dataset(likelihood)
    run = train(data, settings, out=tmp_path / "run", figures=False)
    assert run.metrics["validation"]["neg_elbo"] < run.metrics["reference"]["no_latents"]
    again = vaelab.load(tmp_path / "run")
    rows = data.flat[:20]
    np.testing.assert_array_equal(again.score_samples(rows), run.model.score_samples(rows))
    assert again.sample(5, noise=True).shape == (5, 4)
    if likelihood.is_mass:
        return
    scaled = train(dataset(likelihood, scale=1e6, shift=5e6), settings, out=tmp_path / "scaled", figures=False)
    shift = scaled.metrics["validation"]["neg_elbo"] - run.metrics["validation"]["neg_elbo"]
    assert shift == pytest.approx(4 * math.log(1e6), abs=0.05)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_member_gets_the_bits_that_it_gets_alone(name):
    data = dataset(table_likelihood(name))
    specs = [
        resolve(Spec(likelihood=name, hidden=hidden, latent_dim=2, epochs=2, seed=seed, device="cpu"), data)
        for seed, hidden in enumerate(("20", "9", "32"))
    ]
    together, alone = Stack(specs, Feed(data, specs[0]), Variational()), []
    list(epochs(together))
    for spec in specs:
        alone.append(Stack([spec], Feed(data, spec), Variational()))
        list(epochs(alone[-1]))
    for k, single in enumerate(alone):
        assert torch.equal(together.parameters[k], single.parameters[0])
    x = torch.from_numpy(np.ascontiguousarray(data.flat[:7]))
    feed = together.feed
    rows = feed.units.fixed(x, torch.arange(7))
    z = torch.zeros(3, 2, 7, together.model.latent)
    assert nll(together.model, together.views(together.rows), z, rows).shape == (3, 2, 7)
