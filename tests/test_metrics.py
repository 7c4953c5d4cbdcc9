"""Probes on constructed data, where the right score is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vaelab.metrics import jackknife_error, reconstruction_mse, task_scores


def test_mse_is_the_mean_square_in_units_of_the_scale() -> None:
    x = np.array([[0, 255], [51, 102]], dtype=np.uint8)
    off = x.astype(np.float32) + np.array([[51, 0], [0, -102]])
    assert reconstruction_mse(x, off, np.full(1, 255.0)) == pytest.approx((0.2**2 + 0.4**2) / 4)
    assert reconstruction_mse(x, off, np.array([51.0, 0.0])) == pytest.approx(1 / 2)  # the second column is constant


def test_the_jackknife_is_the_formula_of_a_mean_and_the_bootstrap_of_other_statistics() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=400)
    b = a + rng.normal(size=400)
    assert jackknife_error(lambda rows: float(a[rows].mean()), 40) == pytest.approx(a[:40].std(ddof=1) / 40**0.5)
    found = jackknife_error(lambda rows: float(np.corrcoef(a[rows], b[rows])[0, 1]), 400)
    drawn = stats.bootstrap((a, b), lambda x, y: np.corrcoef(x, y)[0, 1], paired=True, vectorized=False, rng=2)
    assert found == pytest.approx(float(drawn.standard_error), rel=0.3)  # of 50 groups: 10 % of its own error
    assert jackknife_error(lambda rows: 1.0, 1) is None  # one row says nothing


def test_separable_classes_are_read_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 600)
    # In the second dimension, 1000 times as large, there is nothing: only standardised latents show the first.
    z = np.stack([codes + rng.normal(0, 0.05, 600), 1000 * rng.normal(size=600)], 1)
    scores = task_scores((z[:400], codes[:400]), {"test": (z[400:], codes[400:])})["test"]
    assert scores["probe"] == 1.0
    assert scores["knn"] > 0.97
    noise = task_scores((rng.normal(size=(400, 2)), codes[:400]), {"test": (rng.normal(size=(200, 2)), codes[400:])})
    assert 0.2 < noise["test"]["probe"] < 0.47  # a third, within 4 standard errors


def test_a_ring_is_for_neighbours_only() -> None:
    angles = np.linspace(0, 40 * np.pi, 400)
    codes = np.arange(400) % 2
    z = np.stack([np.cos(angles), np.sin(angles)], 1) * (1 + codes[:, None])
    scores = task_scores((z[:300], codes[:300]), {"test": (z[300:], codes[300:])})["test"]
    assert scores["knn"] == 1.0
    assert scores["probe"] < 0.7


def test_corner_cases_have_an_answer() -> None:
    z, codes = np.zeros((4, 2)), np.array([0, 0, 1, 1])
    assert task_scores((z, codes), {"v": (z, codes)})["v"]["probe"] == 0.5  # a collapsed latent
    one = task_scores((z, np.zeros(4, np.int64)), {"v": (z, codes)})["v"]
    assert one == {"probe": 0.5, "knn": 0.5}
