"""Another unit of an input or output changes no answer: frames, roots, gates, misfits and draws."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from vaelab import ConditionalVAE
from vaelab.errors import InputError
from vaelab.inverse import methods, problems
from vaelab.inverse.methods import Ground
from vaelab.inverse.problems import Problem
from vaelab.inverse.units import Bounds, default_gate, spread

FEW = settings(max_examples=4, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
EXAMPLES = 1_500
UNITS = st.lists(st.integers(-34, 34), min_size=5, max_size=5)
SETTINGS: dict[str, Any] = {"epochs": 2, "hidden": "16", "batch_size": 100, "lr": 5e-3}


def beam(x: torch.Tensor) -> torch.Tensor:
    """Two outputs of three inputs, all in units of about 1."""
    return torch.stack([x[:, 2] ** 3 / (x[:, 0] * x[:, 1] ** 3), x[:, 0] + x[:, 1]], 1)


@functools.cache
def inputs() -> np.ndarray:
    return np.random.default_rng(0).uniform([1, 0.5, 0.5], [3, 2, 2], (EXAMPLES, 3))


def in_units(powers: list[float]) -> tuple[Any, np.ndarray, np.ndarray]:
    """The beam as a function of x in other units, and these units of inputs and outputs."""
    own, other = np.array(powers[:3]), np.array(powers[3:])
    of_x, of_y = torch.from_numpy(own), torch.from_numpy(other)
    return lambda x: beam(x / of_x) * of_y, own, other


def solved(problem: Problem, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All distinct solutions near the nearest examples, with their misfits."""
    ground = Ground.of(problem)
    x, _ = methods.nearest(problem, 40, y)(0)
    x, _ = methods.refine_candidates(problem, ground, x, y, 15)
    found = methods.distinct(problem, x[0], y[0])
    return found[0], found[1]


@FEW
@given(UNITS)
def test_roots_gates_and_frames_are_the_same_in_any_units(powers: list[int]) -> None:
    forward, own, other = in_units([10.0**p for p in powers])
    plain = problems.create("beam", inputs(), None, beam)
    problem = problems.create("beam", inputs() * own, None, forward)
    y = beam(torch.tensor([[2.0, 1.0, 1.2]], dtype=torch.float64)).numpy()
    np.testing.assert_allclose(problem.gate / other, plain.gate, 1e-9)
    (found, missed), (known, _) = solved(problem, y * other), solved(plain, y)
    assert len(found) == len(known) > 3
    assert (found.std(0) / own > 1e-2).all()  # a continuum: no input is frozen
    np.testing.assert_allclose(forward(torch.from_numpy(found)).numpy() / other, np.tile(y, (len(found), 1)), 1e-4)
    assert (missed / other < 1e-4).all()
    np.testing.assert_allclose(np.sort(found / own, 0), np.sort(known, 0), rtol=0.05)
    frame, before = Ground.of(problem).frame, Ground.of(plain).frame
    np.testing.assert_allclose(frame.coordinates(inputs() * own), before.coordinates(inputs()), atol=1e-7)


@settings(FEW, max_examples=2)
@given(UNITS)
def test_draws_are_the_same_in_any_units(powers: list[int]) -> None:
    forward, own, other = in_units([2.0 ** (3 * p) for p in powers])
    noise = np.array([0.1, 0.05])
    y = beam(torch.from_numpy(inputs())).numpy() + noise * np.random.default_rng(1).normal(size=(EXAMPLES, 2))
    draws = []
    for f, scale, unit in ((beam, np.ones(3), np.ones(2)), (forward, own, other)):
        model = ConditionalVAE(f, noise=(noise * unit).tolist(), **SETTINGS).fit(inputs() * scale, y * unit)
        draws.append(model.sample(y[:2] * unit, 50) / scale)
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-3)


@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_both_roots_of_a_sine_are_found_and_one_where_they_meet(unit: float) -> None:
    x = np.random.default_rng(0).uniform(0, np.pi, (2_000, 1)) * unit
    problem = problems.create("sine", x, None, lambda x: torch.sin(x[:, 0] / unit))
    found, _ = solved(problem, np.array([0.5]))
    np.testing.assert_allclose(np.sort(found[:, 0]) / unit, [np.pi / 6, 5 * np.pi / 6], 1e-3)
    found, missed = solved(problem, np.array([1.0]))
    assert missed.max() < problem.gate
    np.testing.assert_allclose(found[0] / unit, np.pi / 2, atol=0.05)


def test_spread_is_the_standard_deviation_at_any_size() -> None:
    values = np.random.default_rng(0).normal(3, 2, (500, 2))
    for size in (1e-300, 1.0, 1e300):
        np.testing.assert_allclose(spread(values * size, 2) / size, values.std(0), 1e-9)
    assert spread(np.full((10, 1), -7.0), 1).tolist() == [7.0]


def test_the_gate_of_noisy_outputs_lets_the_true_x_pass() -> None:
    noise = np.array([1.0, 30.0, 0.2])
    gate = default_gate(noise, noise, 1)
    missed = np.abs(noise * np.random.default_rng(0).normal(size=(20_000, 3)))
    share = (missed < gate).all(1).mean()
    assert share == pytest.approx(2 * 0.97725 - 1, abs=0.01)  # as within two standard deviations of one


def test_draws_are_within_declared_and_within_seen_bounds() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.uniform(0, 1, 1_000), rng.normal(size=1_000)], 1)
    y = x.sum(1) + 0.3 * rng.normal(size=1_000)
    model = ConditionalVAE(**SETTINGS).fit(x, y)
    drawn = model.sample([2.5, -2.0], 500)
    assert drawn[..., 0].min() >= x[:, 0].min()
    assert drawn[..., 0].max() <= x[:, 0].max()
    assert model.inverter.problem.bounds is not None
    assert model.inverter.problem.bounds.bounded.tolist() == [True, False]
    wide = ConditionalVAE(bounds=[(-3, 3), None], **SETTINGS).fit(x, y).sample([2.5], 500)[0]
    assert np.abs(wide[:, 0]).max() <= 3
    assert ConditionalVAE(bounds="none", **SETTINGS).fit(x, y).inverter.problem.bounds is None


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ([(0, 1)], "for each of 2 inputs"),
        ([(0.5, 1), None], "x0 must be within its bounds, 0.5 to 1"),
        ([(1, 0), None], "`low < high`"),
        ([(0, "a"), None], "are \\(low, high\\) or None"),
        ("wide", "auto, none, or a list"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(bounds: Any, said: str) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (300, 2))
    with pytest.raises(InputError, match=said):
        Bounds.create(bounds, x)


def test_free_coordinates_and_back() -> None:
    found = Bounds.of([(0, 2), None, (-1e-30, 3e-30)], (3,))
    x = np.random.default_rng(0).uniform([0.1, -5, -0.9e-30], [1.9, 5, 2.9e-30], (50, 3))
    np.testing.assert_allclose(found.own(torch.from_numpy(found.free(x))).numpy(), x, 1e-9)
    far = found.own(torch.tensor([[40.0, 40.0, -40.0]], dtype=torch.float64)).numpy()[0]
    np.testing.assert_allclose(far, [2, 40, -1e-30])
