"""What the network sees of a curve y: directions that hold more than noise, or tell something of x."""

import numpy as np
import pytest
import torch

from vaelab.inverse import conditional, problems
from vaelab.inverse.coordinates import beyond_noise, correlated


def test_variances_of_noise_are_not_taken_for_more() -> None:
    rng = np.random.default_rng(0)
    for n, D in ((1_000, 200), (150, 200), (4_000, 30)):
        noise = 3.0 * rng.normal(size=(n, D))
        assert beyond_noise(np.linalg.eigvalsh(np.cov(noise.T)), n).sum() <= 1
        signal = noise + rng.normal(size=(n, 2)) @ rng.normal(size=(2, D)) * 4
        assert 2 <= beyond_noise(np.linalg.eigvalsh(np.cov(signal.T)), n).sum() <= 3


def test_a_direction_counts_that_is_correlated_with_x_or_its_square() -> None:
    rng = np.random.default_rng(1)
    x, c = rng.normal(size=(2_000, 2)), rng.normal(size=(2_000, 50))
    assert correlated(c, x).sum() <= 1
    c[:, 3] += 0.3 * x[:, 1]
    c[:, 7] += 0.3 * x[:, 0] ** 2
    assert set(np.flatnonzero(correlated(c, x))) >= {3, 7}


@pytest.mark.parametrize("noise", [0.0, 0.5])  # not stated, and stated
@pytest.mark.parametrize("unit", [1.0, 1e-12])
def test_a_noisy_curve_is_seen_along_what_it_holds_of_x(noise: float, unit: float) -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 120)
    parts = np.stack([np.sin(3 * t), np.cos(7 * t)])
    x = rng.normal(size=(900, 2))
    y = (x @ parts + 0.5 * rng.normal(size=(900, 120))) * unit
    problem = problems.create("curve", x, y, None, noise=noise * unit, bounds="none")
    _, space = conditional.as_table(problem)
    assert 2 <= space.y.size <= (3 if noise else 25)  # not stated, the noise of each point is in units of its spread
    shapes = (parts * unit / space.y_scale / space.y.scale).T  # of y in units of its spread, then of the frame
    left = shapes - space.y.basis.T @ (space.y.basis @ shapes)
    assert np.square(left).sum() < 0.1 * np.square(shapes).sum()


def test_independent_outputs_that_tell_of_x_are_all_kept() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 20))
    problem = problems.create("many", x, x + rng.normal(size=x.shape), None, bounds="none")
    assert conditional.as_table(problem)[1].y.size == 20


def test_a_curve_without_noise_keeps_its_small_directions() -> None:
    t = np.linspace(0, 1, 80)
    x = np.random.default_rng(0).uniform(size=(500, 2))
    y = np.sin((3 + 4 * x[:, :1]) * t) + x[:, 1:] * t
    problem = problems.create("waves", x, y, None)
    space, relative = conditional.as_table(problem)[1], problem.relative_y(y)
    left = relative - space.y.own(torch.from_numpy(space.y.coordinates(relative))).numpy()
    assert np.square(left).mean() < 1e-4


@pytest.mark.parametrize("noise", [0.0, 0.05])  # not stated, and stated
@pytest.mark.parametrize("bounds", ["none", "auto"])
def test_values_that_tell_equally_much_are_all_seen(noise: float, bounds: str) -> None:
    """Products of pairs of inputs: as large as each other, and correlated with no input and no square of one."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2_000, 7))
    first, second = np.triu_indices(7, 1)
    y = (x[:, first] * x[:, second])[:, :18] + 0.05 * rng.normal(size=(2_000, 18))
    problem = problems.create("products", x, y, None, noise=noise, bounds=bounds)
    assert conditional.as_table(problem)[1].y.size == 18


def test_directions_above_stated_noise_are_seen_whatever_the_median_is() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2_000, 3))
    y = np.cos(x @ rng.normal(size=(3, 24)) * 4 + rng.uniform(0, 6, 24)) + 0.05 * rng.normal(size=(2_000, 24))
    problem = problems.create("waves", x, y, None, noise=0.05)
    assert conditional.as_table(problem)[1].y.size == 24
