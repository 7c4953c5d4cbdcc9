"""Fused training of tables follows autograd, for columns of every kind with missing cells."""

import functools
import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch

from typed import counts, every_kind
from vaelab.engine.training import Stack, epochs
from vaelab.vae.evaluate import score
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fused import heads, rows
from vaelab.vae.learning import Variational
from vaelab.vae.likelihoods.ordinal import Ordinal
from vaelab.vae.spec import Spec

REALS, COUNTS = (
    get_args(Spec.model_fields[name].annotation) for name in ("real_likelihood", "count_likelihood")
)  # fmt: skip
BASE = {"likelihood": "mixed", "hidden": "20-9", "batch_size": 16, "epochs": 2, "device": "cpu", "lr": 1e-3}
THREE = (
    {"latent_dim": 3, "seed": 1},
    {"latent_dim": 5, "seed": 2, "hidden": "31-30", "lr": 2e-3},
    {"latent_dim": 2, "seed": 3, "hidden": "7-5"},
)
TABLES = {"every kind": every_kind(200), "complete": every_kind(200, gaps=0.0), "counts": counts(200, 150, gaps=0.1)}


def train(data, engine, members, **settings):
    specs = [resolve(Spec.create(**{**BASE, **settings, **own, "engine": engine}), data) for own in members]
    stack = Stack(specs, Feed(data, specs[0]), Variational())
    assert (stack.fused is not None) == (engine == "fused")
    return stack, list(epochs(stack))


def assert_equal(data, members=THREE, tolerance=1e-4, **settings):
    """Parameters and records of both engines, after an epoch or more."""
    one, records = train(data, "fused", members, **settings)
    other, expected = train(data, "autograd", members, **settings)
    torch.testing.assert_close(one.parameters, other.parameters, atol=tolerance, rtol=1e-3)
    for mine, theirs in zip(itertools.chain(*records), itertools.chain(*expected), strict=True):
        for split in ("train", "validation"):
            assert getattr(mine, split) == pytest.approx(getattr(theirs, split), rel=1e-4, abs=1e-4)
    start = Stack(one.specs, one.feed, Variational())
    assert float((one.parameters - start.parameters).abs().max()) > 1e-3


@pytest.mark.parametrize("sigma", ["auto", 0.6])
@pytest.mark.parametrize("real", REALS)
def test_every_density(real, sigma):
    assert_equal(TABLES["every kind"], real_likelihood=real, sigma=sigma, tolerance=3e-3)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("count", COUNTS)
def test_every_noise_of_counts(count, table):
    assert_equal(TABLES[table], count_likelihood=count)


OTHERS = [
    {"hidden": "none"}, {"dropout": 0.5}, {"free_bits": 0.3}, {"beta": 4.0}, {"warmup": 2, "epochs": 3},
    {"batch_size": 139, "epochs": 10}, {"batch_size": 1, "epochs": 1}, {"latent_dim": 40}, {"size_factor": "total"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "K"), [*((settings, 3) for settings in OTHERS), *((settings, 1) for settings in OTHERS[:3])], ids=str
)
def test_every_other_setting_of_training(settings, K):
    members = [{name: value for name, value in own.items() if name not in settings} for own in THREE[:K]]
    assert_equal(TABLES["every kind"], members=members, tolerance=3e-4, **settings)


def test_a_kind_without_a_head_is_trained_by_autograd_between_kernels(monkeypatch):
    monkeypatch.setattr(Ordinal, "head_part", lambda self, features: None)
    assert Feed(TABLES["every kind"], Spec.create(**BASE)).likelihood.head_constants() is None
    assert_equal(TABLES["every kind"])


def test_a_member_gets_the_bits_that_it_gets_alone_and_from_rows_that_are_not_kept(monkeypatch):
    for table in TABLES.values():
        together, _ = train(table, "fused", THREE)
        (alone, _), again = train(table, "fused", THREE[1:2]), rows.KEPT_FLOATS
        monkeypatch.setattr(rows, "KEPT_FLOATS", 0)
        visited, _ = train(table, "fused", THREE[1:2])
        monkeypatch.setattr(rows, "KEPT_FLOATS", again)
        assert visited.fused.rows.all is None
        assert torch.equal(together.parameters[1], alone.parameters[0])
        assert torch.equal(visited.parameters[0], alone.parameters[0])


@pytest.mark.parametrize("table", TABLES)
def test_scores_are_those_of_the_model_itself(table):
    stack, _ = train(TABLES[table], "fused", THREE)
    views, feed = stack.views(stack.best), stack.feed
    mine, plain = (
        score(stack.model, views, stack.specs, feed.batches("validation", 8), 8, feed.log_jacobian, terms)
        for terms in (Variational.terms(stack, stack.best), None)
    )
    for name in ("distortion", "rate", "kl", "mean_variance"):
        torch.testing.assert_close(getattr(mine, name), getattr(plain, name), rtol=1e-4, atol=1e-3)


HEADS = [({"real_likelihood": real, "sigma": sigma}, "every kind") for real in REALS for sigma in ("auto", 0.6)]
HEADS += [({"count_likelihood": count}, table) for count in COUNTS for table in TABLES]
LARGE = {top: counts(100, 140, gaps=0.1, top=top) for top in (6.0, 11.0)}


@functools.cache
def prepared(table, **settings):
    """The feed of a table, some of its rows, and the constants that fit them."""
    data = {**TABLES, **LARGE}[table]
    feed = Feed(data, resolve(Spec.create(**BASE, **settings), data))
    x = feed.sample_rows(64)
    return feed, x, feed.likelihood.start(x).float()


@pytest.mark.parametrize(("level", "spread"), [(-1.0, 1.0), (1.0, 3.0), (-6.0, 0.1), (7.5, 1.0), (0.0, 40.0)])
@pytest.mark.parametrize(
    ("settings", "table"), HEADS + [({"count_likelihood": count}, top) for count in COUNTS for top in LARGE], ids=str
)
def test_heads_are_those_of_double_precision(settings, table, level, spread):
    """Cost of each example and gradient by outputs and own parameters, with these about `level`, outputs spread widely;
    up to counts of a million.
    """
    feed, x, start = prepared(table, **settings)
    noise, generator = feed.likelihood, torch.Generator().manual_seed(0)
    B, width = len(x), noise.width
    spread = spread if len(noise.parts) > 1 else min(spread, 2.0)
    outputs = start + spread * torch.randn(B, width, generator=generator)
    own = {
        name: level + 0.3 * torch.randn(1, *shape, generator=generator)
        for name, shape in noise.shapes(feed.features).items()
    }
    exact = {name: v.double().requires_grad_() for name, v in own.items()}
    leaf = outputs.double()[None].requires_grad_()
    expected = noise.nll(leaf, x.double()[None], exact)
    gradients = torch.autograd.grad(expected.sum() / B, [leaf, *exact.values()])
    found = np.zeros((B, width + -width % 16), np.float32)
    found[:, :width] = outputs
    flat = torch.cat([torch.empty(0), *(v.flatten() for v in own.values())]).numpy()
    by_own, cost = np.zeros(len(flat), np.float32), np.empty(B, np.float32)
    constants, read = np.array(noise.head_constants(), float), noise.head_rows(x)
    before = torch.full((B, int(constants[1])), 7.0)  # what the encoder sees is not for the head
    heads.cost_of(
        constants, found, torch.cat([before, read], 1).numpy(), feed.features, flat, by_own, np.float32(1 / B), cost
    )
    np.testing.assert_allclose(cost, expected[0].detach(), rtol=5e-6, atol=1e-3)
    scale = float(gradients[0].abs().max())
    np.testing.assert_allclose(found[:, :width], gradients[0][0], rtol=1e-4, atol=3e-7 * (1 + scale))
    assert not found[:, width:].any()
    if not len(flat):
        return
    of_own = torch.cat([g.flatten() for g in gradients[1:]])
    np.testing.assert_allclose(by_own, of_own, rtol=1e-3, atol=1e-4 * float(of_own.abs().max()))


def test_a_failed_training_shows():
    """NaN and infinity stay what they are."""
    data = TABLES["counts"]
    feed = Feed(data, resolve(Spec.create(**BASE), data))
    noise, x = feed.likelihood, feed.sample_rows(4)
    constants, width = np.array(noise.head_constants(), float), noise.width
    for value in (math.nan, math.inf):
        found, cost = np.full((4, width + -width % 16), value, np.float32), np.empty(4, np.float32)
        read = torch.cat([torch.zeros(4, int(constants[1])), noise.head_rows(x)], 1).numpy()
        own = np.zeros(feed.features, np.float32)
        heads.cost_of(constants, found, read, feed.features, own, own.copy(), np.float32(1), cost)
        pulled = found[:, : feed.features][~torch.isnan(x).numpy()]
        assert (np.isnan(pulled) if math.isnan(value) else pulled == 0).all()  # a mean as large as can be stays there
