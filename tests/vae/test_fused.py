"""Fused training of VAEs follows autograd, for all that the registries hold and for what has no head."""

import itertools
import math

import numpy as np
import pytest
import torch

from typed import every_kind
from vaelab.data import from_arrays
from vaelab.engine.networks import ACTIVATIONS
from vaelab.engine.optimizers import RULES, SCHEDULES
from vaelab.engine.training import Stack, epochs
from vaelab.vae.evaluate import score
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fused import heads
from vaelab.vae.learning import Variational
from vaelab.vae.likelihoods import LIKELIHOODS
from vaelab.vae.likelihoods.likelihood import Likelihood, likelihood_for, likelihood_type
from vaelab.vae.objectives import reconstruction
from vaelab.vae.spec import Spec

BASE = {"hidden": "20-9", "batch_size": 16, "epochs": 2, "device": "cpu", "lr": 1e-3}


def data_for(likelihood):
    """118 training rows that suit it: pictures, columns of very different units, or a table of every kind."""
    if likelihood_type(likelihood).link is None:
        return every_kind(168)
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(168, 3)) @ rng.normal(size=(3, 18))
    if LIKELIHOODS[likelihood].is_mass:
        return from_arrays((255 / (1 + np.exp(-factors))).astype(np.uint8).reshape(-1, 6, 3), seed=3)
    return from_arrays(factors * 10.0 ** rng.integers(-5, 6, 18) + 3.0, seed=4)


def train(data, engine, members, **settings):
    specs = [resolve(Spec.create(**{**BASE, **settings, **own, "engine": engine}), data) for own in members]
    stack = Stack(specs, Feed(data, specs[0]), Variational())
    assert (stack.fused is not None) == (engine == "fused")
    return stack, list(epochs(stack))


TWO = ({"latent_dim": 3, "seed": 1}, {"latent_dim": 5, "seed": 2, "hidden": "31-30", "lr": 2e-3})


def assert_equal(data, members=TWO, tolerance=1e-5, **settings):
    """Parameters, moments and records of both engines, after an epoch or more."""
    one, records = train(data, "fused", members, **settings)
    other, expected = train(data, "autograd", members, **settings)
    torch.testing.assert_close(one.parameters, other.parameters, atol=tolerance, rtol=1e-4)
    torch.testing.assert_close(one.optimizer.first, other.optimizer.first, atol=30 * tolerance, rtol=1e-3)
    for mine, theirs in zip(itertools.chain(*records), itertools.chain(*expected), strict=True):
        for split in ("train", "validation"):
            a, b = getattr(mine, split), getattr(theirs, split)
            assert a == pytest.approx(b, rel=1e-4, abs=1e-4)
    start = Stack(one.specs, one.feed, Variational())
    assert float((one.parameters - start.parameters).abs().max()) > 1e-3


@pytest.mark.parametrize("sigma", ["shared", "feature", 0.6])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood(likelihood, sigma):
    assert_equal(data_for(likelihood), likelihood=likelihood, sigma=sigma, tolerance=3e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    assert_equal(data_for("gaussian"), activation=activation)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", RULES)
def test_every_optimizer(optimizer, decay):
    tolerance = 1e-4 if optimizer == "rmsprop" else 1e-5  # its first steps have the length of lr for any gradient
    assert_equal(data_for("gaussian"), optimizer=optimizer, weight_decay=decay, clip=2.0, tolerance=tolerance)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule(schedule):
    assert_equal(data_for("bernoulli"), schedule=schedule, epochs=3)


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_both_binarisations(binarize):
    assert_equal(data_for("bernoulli"), likelihood="bernoulli", binarize=binarize)


OTHERS = [
    {"hidden": "none"}, {"hidden": "1"}, {"dropout": 0.9, "tolerance": 1e-4}, {"free_bits": 0.3}, {"beta": 4.0},
    {"warmup": 3, "epochs": 4}, {"batch_size": 117, "epochs": 40}, {"batch_size": 1, "epochs": 1, "tolerance": 1e-4},
    {"latent_dim": 40},
]  # fmt: skip


@pytest.mark.parametrize("settings", OTHERS, ids=str)
def test_every_other_setting_of_training(settings):
    members = [{name: value for name, value in own.items() if name not in settings} for own in TWO]
    assert_equal(data_for("bernoulli"), members=members, **settings)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_what_has_no_head_is_trained_by_autograd_between_kernels(likelihood, monkeypatch):
    """As a likelihood that is new: it brings nothing but its nll."""
    monkeypatch.setattr(likelihood_type(likelihood), "head_constants", Likelihood.head_constants)
    assert_equal(data_for(likelihood), likelihood=likelihood, sigma="feature", tolerance=1e-3)


EXTREMES = {"logits": (-80.0, -20.0, 0.0, 1e-6, 20.0, 80.0), "raw scale": (-30.0, -3.0, 2.0)}


@pytest.mark.parametrize("sigma", ["shared", "feature", 0.6])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_heads_are_those_of_double_precision_at_extremes(likelihood, sigma):
    """Cost of each example and gradient by outputs and by the likelihood's own parameters."""
    if likelihood_type(likelihood).link is None:
        pytest.skip("of tables, see test_fused_tables.py")
    noise, generator = likelihood_for(Spec(likelihood=likelihood, sigma=sigma), False), torch.Generator().manual_seed(0)
    D, B = 150, len(EXTREMES["logits"])
    constants = noise.head_constants()
    if constants is None:
        pytest.skip("it brings no head")
    for raw in EXTREMES["raw scale"] if noise.shapes(D) else (0.0,):
        outputs = torch.tensor(EXTREMES["logits"])[:, None] + 0.1 * torch.randn(B, D, generator=generator)
        x = torch.rand(B, D, generator=generator).round(decimals=1)
        own = {name: torch.full((1, *shape), raw) for name, shape in noise.shapes(D).items()}
        flat = torch.cat([v.flatten() for v in own.values()]) if own else torch.empty(0)
        exact = {name: v.double().requires_grad_() for name, v in own.items()}
        leaf = outputs.double()[None].requires_grad_()
        expected = noise.nll(leaf, x.double()[None], exact)
        gradients = torch.autograd.grad(expected.sum() / B, [leaf, *exact.values()])
        found, by_own = np.zeros((B, 160), np.float32), np.zeros(len(flat), np.float32)
        found[:, :D] = outputs
        cost = np.empty(B, np.float32)
        heads.cost_of(np.array(constants, float), found, x.numpy(), D, flat.numpy(), by_own, np.float32(1 / B), cost)
        scale = 1 + float(gradients[0].abs().max())
        np.testing.assert_allclose(cost, expected[0].detach(), rtol=2e-6, atol=1e-3)
        np.testing.assert_allclose(found[:, :D], gradients[0][0], rtol=2e-5, atol=1e-6 * scale)
        assert not found[:, D:].any()
        for name, gradient in zip(own, gradients[1:], strict=True):
            np.testing.assert_allclose(by_own, gradient.flatten(), rtol=1e-4, atol=1e-3, err_msg=name)


def test_scores_are_those_of_the_model_itself():
    data = data_for("gaussian")
    stack, _ = train(data, "fused", TWO)
    views, feed = stack.views(stack.best), stack.feed
    mine, plain = (
        score(stack.model, views, stack.specs, feed.batches("validation", draws), 8, feed.log_jacobian, terms)
        for draws, terms in ((1, Variational.terms(stack, stack.best)), (8, None))
    )
    for name in ("distortion", "rate", "kl", "mean_variance"):
        torch.testing.assert_close(getattr(mine, name), getattr(plain, name), rtol=1e-4, atol=1e-4)


def test_a_cost_of_ones_own_joins_the_loss():
    """Twice the distortion is the same as wx = 2, which kernels know."""
    data = data_for("gaussian")

    def doubled(model, parameters, outputs, rows, weights):
        cost = reconstruction(model, parameters, outputs, rows, weights)
        return type(cost)(cost.distortion, cost.loss * 2, cost.distortion * 0)

    spec = resolve(Spec.create(**BASE, latent_dim=3, engine="fused"), data).replace(wy=1.0)
    own = Stack([spec], Feed(data, spec), Variational(cost=doubled))
    known = Stack([spec.replace(wx=2.0, wy=0.0)], Feed(data, spec), Variational())
    for stack in (own, known):
        list(epochs(stack))
    torch.testing.assert_close(own.parameters, known.parameters, atol=1e-5, rtol=1e-4)


def test_padding_stays_zero_and_a_wide_neighbour_leaves_nothing_behind():
    data = data_for("gaussian")
    (alone, _), (together, _) = (train(data, "fused", members) for members in (TWO[:1], TWO[::-1]))
    assert torch.equal(alone.parameters[0], together.parameters[1])
    for stack, k in (alone, 0), (together, 0), (together, 1):
        spec, row = stack.specs[k], stack.parameters[k].detach()
        assert torch.equal(stack.model.pad(stack.model.unpad(row, spec), spec), row)
    assert math.isfinite(float(together.parameters.sum()))
