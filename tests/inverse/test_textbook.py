"""All roots of textbook problems, by closed forms or bracketing, in the units of the book and in absurd ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize

from vaelab import ConditionalVAE

pytestmark = pytest.mark.slow

Function = Callable[[torch.Tensor], torch.Tensor]
QUICK: dict[str, Any] = {"epochs": 1, "hidden": "8", "batch_size": 200, "latent_dim": 1, "flow": False}


def arm(x: torch.Tensor) -> torch.Tensor:
    """The end of two links of 1 m and 0.7 m, by their angles."""
    both = x[:, 0] + x[:, 1]
    return torch.stack([x[:, 0].cos() + 0.7 * both.cos(), x[:, 0].sin() + 0.7 * both.sin()], 1)


def angles(px: float, py: float) -> list[list[float]]:
    bend = np.arccos((px**2 + py**2 - 1 - 0.49) / 1.4)
    return [[np.arctan2(py, px) - np.arctan2(0.7 * np.sin(b), 1 + 0.7 * np.cos(b)), b] for b in (bend, -bend)]


def flight(angle: Any) -> Any:
    """The range in m of a projectile at 50 m/s with linear drag of 0.1 / s, by its angle: two angles for one range."""
    library = torch if isinstance(angle, torch.Tensor) else np
    u, w, k, g = 50 * library.cos(angle), 50 * library.sin(angle), 0.1, 9.81
    t = 2 * w / g
    for _ in range(60):  # the time at which the height is 0
        t = (w + g / k) * (1 - library.exp(-k * t)) / g
    return u / k * (1 - library.exp(-k * t))


def brackets(f: Callable[[float], float], low: float, high: float) -> list[list[float]]:
    """All simple roots of f of one number."""
    grid = np.linspace(low, high, 4_001)
    signs = np.sign([f(float(v)) for v in grid])
    return [[optimize.brentq(f, grid[i], grid[i + 1])] for i in np.flatnonzero(signs[1:] * signs[:-1] < 0)]


PI = np.pi
PROBLEMS: dict[str, tuple[Function, list[tuple[float, float]], list[float], list[list[float]]]] = {
    "cubic": (lambda x: x[:, 0] ** 3 - x[:, 0], [(-2, 2)], [0.2],
              brackets(lambda v: v**3 - v - 0.2, -2, 2)),
    "sine": (lambda x: x[:, 0].sin(), [(0, 4 * PI)], [0.5],
             [[PI / 6], [5 * PI / 6], [13 * PI / 6], [17 * PI / 6]]),
    "nearly tangent": (lambda x: x[:, 0].sin(), [(0, 4 * PI)], [0.999],
                       [[PI / 2 + s * np.arccos(0.999) + t] for t in (0, 2 * PI) for s in (-1, 1)]),
    "close roots": (lambda x: x[:, 0] ** 2, [(-1, 1)], [1e-4], [[-0.01], [0.01]]),
    "circle and line": (lambda x: torch.stack([x[:, 0] ** 2 + x[:, 1] ** 2, x[:, 0] + x[:, 1]], 1), [(-2, 2)] * 2,
                        [1.0, 0.5], [[0.25 + s * 7**0.5 / 4, 0.25 - s * 7**0.5 / 4] for s in (-1, 1)]),
    "arm of two links": (arm, [(-PI, PI), (-3, 3)], [1.1, 0.4], angles(1.1, 0.4)),
    "parabola and circle": (lambda x: torch.stack([x[:, 1] - x[:, 0] ** 2, x[:, 0] ** 2 + x[:, 1] ** 2], 1),
                            [(-2, 2)] * 2, [0.0, 1.0],
                            [[s * ((5**0.5 - 1) / 2) ** 0.5, (5**0.5 - 1) / 2] for s in (-1, 1)]),
    "beam": (lambda x: torch.stack([1e2 * x[:, 2] ** 3 / (x[:, 0] * x[:, 1] ** 3), x[:, 1], x[:, 2]], 1),
             [(1e11, 3e11), (0.005, 0.02), (0.5, 2.0)], [1e-3, 0.01, 1.2],
             [[1e2 * 1.2**3 / (1e-3 * 0.01**3), 0.01, 1.2]]),
    "ballistic range": (lambda x: flight(x[:, 0]), [(0.1, 1.5)], [150.0],
                        brackets(lambda v: float(flight(np.float64(v))) - 150.0, 0.1, 1.5)),
    "resonance": (lambda x: 1 / ((1 - x[:, 0] ** 2) ** 2 + (0.2 * x[:, 0]) ** 2).sqrt(), [(0.2, 2)], [2.0],
                  brackets(lambda v: ((1 - v**2) ** 2 + (0.2 * v) ** 2) ** -0.5 - 2.0, 0.2, 2)),
    "three wells": (lambda x: x[:, 0] ** 2 * (x[:, 0] ** 2 - 1) ** 2, [(-1.3, 1.3)], [0.1],
                    brackets(lambda v: v**2 * (v**2 - 1) ** 2 - 0.1, -1.3, 1.3)),
}  # fmt: skip


ABSURD = [(name, (1e-30, 1e25)[i % 2]) for i, name in enumerate(PROBLEMS)]


@pytest.mark.parametrize(("name", "unit"), [*((name, 1.0) for name in PROBLEMS), *ABSURD])
def test_all_roots_are_found_and_no_others(name: str, unit: float) -> None:
    f, ranges, y, roots = PROBLEMS[name]
    own = unit ** np.linspace(1, -1, len(ranges)) if len(ranges) > 1 else np.array([unit])
    other = unit ** np.linspace(-1, 1, len(y)) if len(y) > 1 else np.array([1 / unit])
    low, high = np.array(ranges).T
    x = np.random.default_rng(0).uniform(low, high, (1_500, len(ranges)))
    scale = torch.tensor(other if len(y) > 1 else other[0])
    bounds = list(zip((low * own).tolist(), (high * own).tolist(), strict=True))
    model = ConditionalVAE(lambda v: f(v / torch.from_numpy(own)) * scale, bounds=bounds, **QUICK)
    model.fit(x * own)
    found = model.solve((np.array(y) * other)[None] if len(y) > 1 else np.array(y) * other, n=60, refine=40)[0]
    expected = np.array(sorted(roots))
    got = np.array(sorted((found.x / own).tolist()))
    assert got.shape == expected.shape, got
    np.testing.assert_allclose((got - expected) / (high - low), 0, atol=2e-4)
