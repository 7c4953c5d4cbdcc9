"""Refinement beside closed forms: the shortest way to where a linear f is right, whatever direction it hardly sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaelab import ConditionalVAE
from vaelab.inverse.refine import refine


@pytest.mark.parametrize("slope", [1.0, 1e-2, 1e-4, 0.0])
def test_a_linear_f_is_solved_by_its_orthogonal_projection(slope: float) -> None:
    """u - w (w'u - y) / |w|^2, of which a direction of slope 1e-4 is hardly a part."""
    w = torch.tensor([1.0, slope, -2.0], dtype=torch.float64)
    u = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 3)))
    y = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    found = refine(lambda u: u @ w[:, None], u, y, 8)
    assert found.misfit[-1].max() < 1e-6
    projected = u - (u @ w - y[:, 0])[:, None] * w / w.square().sum()
    torch.testing.assert_close(found.u, projected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_solutions_of_a_sum_lie_along_the_whole_segment() -> None:
    """Principal directions of equal variance are anyhow turned, so f may depend on hardly any of one."""
    rng = np.random.default_rng(0)
    model = ConditionalVAE(["x0 + x1"], epochs=3, hidden="32", batch_size=100).fit(rng.uniform(0.2, 1.5, (1_000, 2)))
    found = model.solve([1.0], n=30)[0]
    assert np.abs(found.x.sum(1) - 1).max() < 1e-4
    ends = np.sort(found.x[:, 0])
    assert len(found) >= 10
    assert np.diff(np.concatenate([[0.2], ends, [0.8]])).max() < 0.15
