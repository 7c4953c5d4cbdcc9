"""The local two-sample test: exact draws are rejected as often as its level says, wrong ones where they are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from vaelab import ConditionalVAE
from vaelab.inverse.local import local_c2st

AT = np.array([[0.0], [2.0]])
ROOT = 0.5**0.5


def pairs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """x ~ N(0, I) in two dimensions, y = x0 + noise: p(x | y) is N((y / 2, 0), diag(1 / 2, 1))."""
    x = rng.normal(size=(n, 2))
    return x, x[:, :1] + rng.normal(size=(n, 1))


def exact(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
    return rng.normal(size=(*y.shape[:-1], 2)) * [ROOT, 1] + np.concatenate([y / 2, np.zeros_like(y)], -1)


def p_values(seed: int, n: int, wrong: Any = lambda x, y: x) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x, y = pairs(rng, n)
    many = np.repeat(AT[:, None], 300, 1)
    return local_c2st(x, wrong(exact(rng, y), y), y, AT, wrong(exact(rng, many), many), seed)


def test_exact_draws_are_rejected_as_often_as_the_level_says() -> None:
    found = np.array([p_values(seed, 60) for seed in range(300)])
    for k in range(len(AT)):
        for level in (0.05, 0.3):
            low, high = stats.binom.ppf([5e-4, 1 - 5e-4], len(found), level)
            assert low <= (found[:, k] <= level).sum() <= high


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, y: x + np.array([0.5, 0.0]),
        lambda x, y: 1.5 * x,
        lambda x, y: x + 0.7 * x[..., ::-1],
        lambda x, y: x - y / 2,
    ],
    ids=["shifted", "wide", "correlated", "blind to y"],
)
def test_wrong_draws_are_rejected(wrong: Any) -> None:
    assert p_values(0, 600, wrong)[1] <= 0.002


def test_it_tells_where_draws_are_wrong() -> None:
    """Shifted by y / 2: right at y = 0, by more than one standard deviation at y = 2."""
    found = np.array([p_values(seed, 400, lambda x, y: x + np.concatenate([0 * y, y / 2], -1)) for seed in range(20)])
    assert (found[:, 1] <= 0.01).all()
    assert np.median(found[:, 0]) > 0.01


def test_units_change_nothing() -> None:
    rng = np.random.default_rng(0)
    x, y = pairs(rng, 200)
    drawn, draws = exact(rng, y), exact(rng, np.repeat(AT[:, None], 50, 1))
    unit = np.array([2.0**70, 2.0**-80])
    plain = local_c2st(x, drawn, y, AT, draws)
    np.testing.assert_array_equal(local_c2st(x * unit, drawn * unit, y * 2.0**60, AT * 2.0**60, draws * unit), plain)


@pytest.mark.slow
def test_a_model_that_hardly_learned_is_told_from_one_that_did() -> None:
    rng = np.random.default_rng(0)
    settings: dict[str, Any] = {"hidden": "16", "batch_size": 100, "lr": 5e-3, "flow": False, "bounds": "none"}
    new = pairs(rng, 800)
    short, long = (
        ConditionalVAE(epochs=epochs, latent_dim=2, beta=1.0, **settings).fit(*pairs(rng, 2_000)).local_c2st(AT, *new)
        for epochs in (1, 60)
    )
    assert short.shape == long.shape == (2,)
    assert short[1] == 0.001
    assert long.min() > 0.001
