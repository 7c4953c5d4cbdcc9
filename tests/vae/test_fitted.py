"""A trained model in use: draws of p(x|z) by their moments, and its networks as modules of their own."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pages
from vaelab.cli import outputs
from vaelab.data import Column, Dataset, from_arrays
from vaelab.errors import InputError
from vaelab.plots import examples
from vaelab.vae.fitted import Fitted

N = 20_000
RNG = np.random.default_rng(0)
TABLE = RNG.normal([5.0, -2.0, 7.0], [3.0, 0.1, 0.0], size=(60, 3))  # the last column is constant
GREY = RNG.integers(0, 256, size=(60, 4, 4)).astype(np.uint8)
PIXELS = GREY.astype(np.float32) / 255


def untrained(x: np.ndarray, likelihood: str = "gaussian", **settings: Any) -> tuple[Fitted, Dataset]:
    data = from_arrays(x)
    return pages.untrained(data, hidden=(8, 5), likelihood=likelihood, **settings), data


def within(values: np.ndarray, truth: np.ndarray | float, error: np.ndarray | float) -> None:
    """Each of a few means within 5 of its standard errors."""
    assert np.all(np.abs(values - truth) <= 5 * error + 1e-6)


@pytest.mark.parametrize(
    ("likelihood", "variance"),
    [("gaussian", 1.0), ("laplace", 2.0)],  # of a standard variable of that family
)
def test_draws_of_a_density_have_its_mean_and_scale_in_own_units(likelihood: str, variance: float) -> None:
    fitted, data = untrained(TABLE, likelihood=likelihood, sigma=0.5)
    residual = fitted.sample(N, seed=3, noise=True) - fitted.sample(N, seed=3)
    assert np.all(residual[:, 2] == 0)
    scale = np.sqrt(variance) * 0.5 * data.statistics.std[:2]
    within(residual[:, :2].mean(0), 0.0, scale / np.sqrt(N))
    fourth = 6.0 if likelihood == "laplace" else 3.0  # kurtosis
    within(residual[:, :2].var(0), scale**2, scale**2 * np.sqrt((fourth - 1) / N))


def test_bernoulli_draws_are_black_or_white_with_the_mean_as_probability() -> None:
    fitted, _ = untrained(GREY, likelihood="bernoulli")
    z = np.repeat([[0.3, -1.2]], N, axis=0)
    x, p = fitted.draw(z, seed=1), fitted.decode(z[:1])[0] / 255
    assert set(np.unique(x)) == {0.0, 255.0}
    within(x.mean(0) / 255, p, np.sqrt(p * (1 - p) / N))


def test_draws_of_dequantised_grey_are_grey_levels() -> None:
    fitted, _ = untrained(GREY, likelihood="gaussian", sigma=0.02)
    z = np.zeros((N, 2))
    x, mean = fitted.draw(z), fitted.decode(z[:1])[0]
    assert np.all(x == np.floor(x))
    assert x.min() >= 0
    assert x.max() <= 255
    deviation = np.sqrt((0.02 * 256) ** 2 + 1 / 12)  # rounding a density this wide adds the variance of a cell
    inside = (mean > 40) & (mean < 215)
    assert inside.any()
    within(x.mean(0)[inside], mean[inside], deviation / np.sqrt(N))


def test_draws_are_seeded_and_differ_between_seeds() -> None:
    fitted, _ = untrained(TABLE)
    one, again, other = (fitted.sample(50, seed, noise=True) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize(
    ("x", "likelihood", "activation"),
    [
        (TABLE, "gaussian", "leaky_relu"),
        (PIXELS, "bernoulli", "silu"),
        (GREY, "bernoulli", "gelu"),
        (GREY, "gaussian", "elu"),
    ],
)
def test_modules_agree_with_encode_and_decode(x: np.ndarray, likelihood: str, activation: str) -> None:
    fitted, data = untrained(x, likelihood=likelihood, activation=activation)
    fitted = fitted.double()
    z = RNG.standard_normal((9, 2))
    np.testing.assert_allclose(fitted.decoder(z).detach().numpy(), fitted.decode(z), rtol=1e-6, atol=1e-6)
    assert fitted.decoder(z).shape == (9, *data.shape)
    mean, std = fitted.encoder(data.x[:7])
    if fitted.scaling.dequantise:  # `encode` adds noise within a grey level: at most half a cell off the middle
        rows = (data.flat[:7] + 0.5) / 256.0
        weights = [layer for layer in fitted.encoder.layers if isinstance(layer, torch.nn.Linear)]
        h = torch.from_numpy(rows)
        for layer in weights[:-1]:
            h = torch.nn.functional.elu(layer(h))
        truth_mean, log_var = weights[-1](h).detach().chunk(2, 1)
        truth = truth_mean.numpy(), np.exp(0.5 * log_var.numpy())
    else:
        truth = fitted.encode(data.x[:7])
    np.testing.assert_allclose(mean.detach().numpy(), truth[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(std.detach().numpy(), truth[1], rtol=1e-6, atol=1e-6)


def test_modules_have_their_own_widths_and_weights() -> None:
    fitted, data = untrained(PIXELS, "bernoulli")
    widths = [layer.weight.shape for layer in fitted.encoder.layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [(8, 16), (5, 8), (4, 5)]
    own = sum(p.numel() for p in itertools.chain(fitted.encoder.parameters(), fitted.decoder.parameters()))
    assert own == fitted.parameter_count
    before = fitted.encode(data.x)[0]
    fitted.encoder(data.x)[0].sum().backward()  # trainable elsewhere
    with torch.no_grad():
        next(fitted.encoder.parameters()).add_(1.0)
    np.testing.assert_array_equal(fitted.encode(data.x)[0], before)


def test_curves_are_drawn_and_tables_are_not(tmp_path: Path) -> None:
    fitted, _ = untrained(np.sin(np.linspace(0, 6, 37) + RNG.uniform(0, 6, (60, 1))))
    x = fitted.sample(40, seed=1)
    outputs.write_examples(x, fitted.facts, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 400
    _, axes = examples._curve_chart(x[:2])
    (lines,) = axes.collections
    for drawn, curve in zip(lines.get_segments(), x, strict=False):
        np.testing.assert_allclose(drawn, np.column_stack([np.arange(1, 38), curve]))
    named = dataclasses.replace(fitted.facts, columns=tuple(Column(f"c{i}") for i in range(37)))
    with pytest.raises(InputError, match="rows of a table"):
        outputs.write_examples(x, named, tmp_path / "table.png")
    assert not (tmp_path / "table.png").exists()
