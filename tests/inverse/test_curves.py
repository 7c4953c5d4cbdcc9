"""Curves read by convolutions: the density beside the exact posterior, units, and what leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from vaelab import ConditionalVAE
from vaelab.inverse import training
from vaelab.inverse.curves import LAST, CurveReader

pytestmark = pytest.mark.slow

POINTS = np.linspace(0, 1, 40)
NOISE = 0.2
SETTINGS: dict[str, Any] = {"epochs": 16, "hidden": "16", "batch_size": 100, "lr": 5e-3, "beta": 1.0}


def pulse(x: np.ndarray) -> np.ndarray:
    """A narrow peak (n, 40) at x (n, 1): its principal directions are many, and none shows where it is."""
    return np.exp(-0.5 * np.square((POINTS - x) / 0.03))


def pulses(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (n, 1))
    return x, pulse(x) + NOISE * rng.normal(size=(n, len(POINTS)))


@pytest.fixture(scope="module")
def model() -> ConditionalVAE:
    return ConditionalVAE(**SETTINGS).fit(*pulses(1_300))


def exact(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid of x, and p(x | y) on it: the prior is uniform."""
    grid = np.linspace(0, 1, 2_001)
    log_p = -0.5 * np.square((y - pulse(grid[:, None])) / NOISE).sum(1)
    p = np.exp(log_p - log_p.max())
    return grid, p / integrate.trapezoid(p, grid)


def test_curves_are_read_by_convolutions_and_nearer_to_the_exact_posterior(model: ConditionalVAE) -> None:
    assert model.inverter.flow is not None
    assert model.inverter.flow.curve == (1, len(POINTS))
    plain = training.flows.fit(
        *(training._pairs(model.inverter, split, False) for split in ("train", "validation")), seed=0, epochs=32
    )
    assert model.inverter.flow.neg_log_p < plain.neg_log_p - 0.2
    x, y = pulses(200, seed=1)
    log_p = model.log_prob(x, y)[0]
    best = np.array([np.log(np.interp(own[0], *exact(given))) for own, given in zip(x, y, strict=True)])
    assert (best - log_p).mean() < 0.5  # the divergence from the exact posterior, in nats
    assert (best - log_p).mean() > -0.1


def test_draws_follow_the_density_that_is_told(model: ConditionalVAE) -> None:
    y = pulses(1, seed=2)[1]
    drawn = model.sample(y, 4_000)[0, :, 0]
    grid = np.linspace(0, 1, 2_001)
    log_p, _ = model.log_prob(grid[:, None], np.repeat(y, len(grid), 0))
    cumulative = integrate.cumulative_trapezoid(np.exp(np.maximum(log_p, -700)), grid, initial=0)
    assert cumulative[-1] == pytest.approx(1, abs=0.02)
    assert stats.kstest(np.interp(drawn, grid, cumulative / cumulative[-1]), "uniform").pvalue > 1e-4


def test_a_run_is_read_back(model: ConditionalVAE, tmp_path: Path) -> None:
    again = ConditionalVAE.load(model.save(tmp_path / "run"))
    x, y = pulses(30, 1)
    np.testing.assert_array_equal(again.sample(y[:2], 20), model.sample(y[:2], 20))
    np.testing.assert_array_equal(again.log_prob(x, y)[0], model.log_prob(x, y)[0])


def test_units_of_single_values_change_nothing(model: ConditionalVAE) -> None:
    units = 2.0 ** np.random.default_rng(0).integers(-60, 60, len(POINTS))
    x, y = pulses(1_300)
    other = ConditionalVAE(**SETTINGS).fit(x, y * units)
    np.testing.assert_array_equal(other.sample(y[:3] * units, 20), model.sample(y[:3], 20))


def test_validation_keeps_directions_where_they_tell_all() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = x @ rng.normal(size=(2, 20)) + 0.1 * rng.normal(size=(300, 20))
    told: list[str] = []
    model = ConditionalVAE(**SETTINGS | {"epochs": 2}).fit(x, y).inverter
    trained = training.train(model.problem, [model.spec], stage=told.append)
    assert [text for text in told if "curve" in text]
    assert trained.metrics["compared"]["reads"] == "directions"


@pytest.mark.parametrize(("outputs", "points"), [(1, 16), (3, 17), (2, 100), (1, 1_999)])
def test_a_reader_of_any_length_ends_in_few_points_and_knows_no_unit(outputs: int, points: int) -> None:
    torch.manual_seed(0)
    reader = CurveReader(outputs, points)
    y = torch.randn(5, outputs * points)
    y[:, 0] = 0.0  # constant
    reader.standardise(y)
    last = [layer for layer in reader.layers if isinstance(layer, torch.nn.Conv1d)][-1]
    left = reader.layers[-3].in_features // last.out_channels
    assert left <= LAST
    found = reader(y)
    assert found.shape == (5, 16)
    unit = torch.full((outputs * points,), 2.0**40)
    reader.standardise(y * unit)
    torch.testing.assert_close(reader(y * unit), found)
