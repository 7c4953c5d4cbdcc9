"""What `mixed` adds to the noise models of its columns: units, missing cells, sizes of rows."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from typed import KINDS, counts, every_kind
from vaelab.data import from_arrays
from vaelab.engine.encoding import Encoding
from vaelab.engine.training import Stack, epochs
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Spec

SETTINGS = {"likelihood": "mixed", "hidden": "16", "latent_dim": 2, "epochs": 3, "batch_size": 30, "device": "cpu"}
REAL = [j for j, kind in enumerate(KINDS.values()) if kind in ("real", "date")]
POSITIVE = [j for j, kind in enumerate(KINDS.values()) if kind == "positive"]


def feed_of(data, **settings):
    spec = resolve(Spec.create(**{**SETTINGS, **settings}), data)
    return Feed(data, spec), spec


def trained(data, **settings):
    """Negative ELBO of the training rows in each epoch: the noise of other rows depends on their content."""
    feed, spec = feed_of(data, **settings)
    stack = Stack([spec], feed, Variational())
    return [records[0].train["neg_elbo"] for records in epochs(stack)], stack


def changed(factors=1.0, shifts=0.0):
    data = every_kind()
    x = data.x.astype(np.float64) * factors + shifts
    return from_arrays(x, name="changed", features=list(KINDS), types=KINDS)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("power", [-100, 100])
def test_other_units_change_densities_by_their_logarithm_and_nothing_else(engine, power):
    """From 1e-30 to 1e30, in powers of 2, which round nothing."""
    factors = np.ones(len(KINDS))
    factors[REAL], factors[POSITIVE] = 2.0**power, 2.0**-power
    (before, _), (after, _) = (trained(changed(f), engine=engine) for f in (1.0, factors))
    there = ~np.isnan(every_kind().x[every_kind().splits["train"]])
    log_factor = (there * np.log(factors)).sum(1).mean()
    np.testing.assert_allclose(np.subtract(after, before), log_factor, atol=2e-3)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_large_number_added_to_a_column_changes_nothing(engine):
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(300, 3)) * 2**20) / 2**20
    x[rng.random(x.shape) < 0.1] = np.nan
    one, two = (from_arrays(x + np.array([0, shift, 0]), name="shifted") for shift in (0.0, 1.6e9))
    (before, _), (after, _) = (trained(data, engine=engine) for data in (one, two))
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_a_positive_column_is_log_normal():
    data = every_kind()
    feed, _ = feed_of(data)
    noise, scaling = feed.likelihood, feed.units.scaling
    j = noise.logs.start
    x = feed.sample_rows(1_000)
    out = torch.zeros(1, len(x), noise.width)
    own = {name: torch.zeros(1, *shape) for name, shape in noise.shapes(feed.features).items()}
    found = noise.cost(out, x[None], own)[0, :, j].double().numpy()
    values = data.x[data.splits["train"]][:, POSITIVE[0]].astype(float)
    there, spread = ~np.isnan(values), float(scaling.scale[j]) * (1 + 1e-3)
    expected = -scipy.stats.lognorm.logpdf(values[there], spread, scale=math.exp(scaling.offset[j]))
    np.testing.assert_allclose(found[there], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_twice_the_counts_of_a_row_look_the_same(gaps):
    feed, _ = feed_of(counts(gaps=gaps))
    typed = feed.units.scaling.typed
    assert typed.has_size
    x = feed.sample_rows(50)
    torch.testing.assert_close(Encoding(typed)(2 * x), Encoding(typed)(x), atol=1e-6, rtol=1e-5)
    feed, _ = feed_of(counts(gaps=gaps), size_factor="none")
    x = feed.sample_rows(50)
    assert float((Encoding(feed.units.scaling.typed)(2 * x) - Encoding(feed.units.scaling.typed)(x)).abs().max()) > 0.1


def test_the_size_of_a_row_is_given_to_the_decoder():
    """Twice the counts about twice the mean: only that changes which is relative to the mean's own size."""
    feed, _ = feed_of(counts(), count_likelihood="poisson")
    noise, x = feed.likelihood, feed.sample_rows(20)
    out = torch.zeros(1, len(x), noise.width)
    for factor in (1, 3):
        mean = np.exp(noise._log_expected(factor * x).double().numpy())
        expected = -scipy.stats.poisson.logpmf((factor * x).numpy(), mean)
        np.testing.assert_allclose(noise.cost(out, (factor * x)[None], {})[0], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(mean.sum(1), (factor * x).sum(1), rtol=1e-4)


@pytest.mark.parametrize("top", [0.0, 10.0])
def test_counts_of_any_size_train(top):
    for name in ("poisson", "negative_binomial", "zero_inflated"):
        found, stack = trained(counts(top=top), count_likelihood=name, epochs=4)
        assert all(math.isfinite(cost) for cost in found)
        assert not any(stack.failures)
        assert found[-1] < found[0]
