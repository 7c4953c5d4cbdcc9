"""What missing cells hold by a Gaussian of few factors: conditional means in closed form, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest

from vaelab.data import filling


def rows(n: int, features: int, factors: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, E) with variances of 1, and their covariance."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(factors, features))
    scale = np.sqrt((loadings**2).sum(0) + noise**2)
    x = (rng.normal(size=(n, factors)) @ loadings + noise * rng.normal(size=(n, features))) / scale
    return x, (loadings.T @ loadings + noise**2 * np.eye(features)) / np.outer(scale, scale)


def without(x: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)


def conditional(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    out = x.copy()
    for row in out:
        gap, seen = np.isnan(row), ~np.isnan(row)
        gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, gap)]).T
        row[gap] = mean[gap] + gain @ (row[seen] - mean[seen])
    return out


def rmse(found: np.ndarray, truth: np.ndarray, given: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - truth)[np.isnan(given)].mean()))


def test_filled_cells_are_the_conditional_means_of_its_gaussian() -> None:
    x = without(rows(300, 6, 2, 0.3)[0], 0.2)
    found = filling.fit(x)
    assert found is not None
    mean, noise, loadings = found[0], found[1], found[2:]
    expected = conditional(x, mean, loadings.T @ loadings + np.diag(noise))
    np.testing.assert_allclose(filling.filled(found, x), expected, atol=1e-9)


@pytest.mark.parametrize(("features", "factors", "noise"), [(8, 2, 0.5), (30, 8, 0.2), (40, 3, 1.0)])
def test_it_fills_almost_as_well_as_the_true_distribution(features: int, factors: int, noise: float) -> None:
    truth, covariance = rows(800, features, factors, noise)
    given = without(truth, 0.2)
    found = filling.fit(given)
    assert found is not None
    best = rmse(conditional(given, np.zeros(features), covariance), truth, given)
    assert best < rmse(filling.filled(found, given), truth, given) < 1.1 * best < 1.1 * 0.9


def test_independent_columns_have_no_filling() -> None:
    x = without(np.random.default_rng(0).normal(size=(200, 5)), 0.2)
    assert filling.fit(x) is None


def test_shifts_move_with_the_values() -> None:
    x = without(rows(300, 6, 2, 0.3)[0], 0.2)
    shift = np.arange(6.0)
    here, there = filling.fit(x), filling.fit(x + shift)
    assert here is not None
    assert there is not None
    np.testing.assert_allclose(filling.filled(there, x + shift), filling.filled(here, x) + shift, atol=1e-8)


def test_rows_and_columns_without_values_and_more_columns_than_rows() -> None:
    x = without(rows(40, 120, 2, 0.3)[0], 0.2)
    x[3], x[:, 5] = np.nan, np.nan
    found = filling.fit(x)
    assert found is not None
    values = filling.filled(found, x)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[3], found[0])
    assert (filling.fit(np.full((3, 2), np.nan))) is None


def test_the_noise_of_exact_relations_has_a_floor() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 1))
    x = without(np.concatenate([base, -base, base], 1), 0.2)
    found = filling.fit(x)
    assert found is not None
    assert found[1].min() >= filling.LEAST_NOISE
    some = np.array([[1.0, np.nan, np.nan]])
    np.testing.assert_allclose(filling.filled(found, some), [[1.0, -1.0, 1.0]], atol=0.05)
