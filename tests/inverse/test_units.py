"""A change of units, of any input or output, changes no answer; gates and bounds are in the user's units."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import commands
from vaelab import ConditionalVAE
from vaelab.errors import InputError
from vaelab.inverse import methods, problems, scores, units
from vaelab.inverse.examples import Examples
from vaelab.inverse.forward import UNKNOWN
from vaelab.inverse.methods import Ground
from vaelab.inverse.problems import Problem
from vaelab.inverse.solve import solve as solve_file
from vaelab.inverse.spec import specs_of
from vaelab.inverse.training import train
from vaelab.inverse.units import Bounds

pytestmark = pytest.mark.slow

QUICK = {"hidden": "16", "latent_dim": 2, "epochs": 2, "batch_size": 50}
Y = np.array([[0.7, 0.3], [1.2, 0.35]])


def problem_in(x_unit, y_unit, **options):
    """y0 = x0 + x1, y1 = x0 x1, with every column of x and y in another unit."""
    x_unit, y_unit = (torch.tensor(unit, dtype=torch.float64) for unit in (x_unit, y_unit))

    def forward(x):
        a, b = (x / x_unit).unbind(1)
        return torch.stack([a + b, a * b], 1) * y_unit

    x = np.random.default_rng(0).uniform(0.2, 1, (300, 2)) * x_unit.numpy()
    return problems.create("pair", x, None, forward, **options)


def answers(x_unit, y_unit):
    """Everything between frame and draws, divided by the units."""
    problem, y = problem_in(x_unit, y_unit), Y * y_unit
    ground = methods.Ground.of(problem)
    starts, _ = methods.nearest(problem, 8, y)(0)
    refined, _ = methods.refine_candidates(problem, ground, starts, y, 8)
    kept = [own[methods.distinct(problem, own, measured)] for own, measured in zip(refined, y, strict=True)]
    model = train(problem, specs_of(problem, QUICK))
    return {
        "frame": ground.frame.coordinates(problem.x[:5]), "starts": starts / x_unit, "refined": refined / x_unit,
        "gates": problem.gate / y_unit, "noisy": problem.is_noisy, "rmse": scores.rmse(problem, refined, y),
        "distinct": np.concatenate([x / x_unit for x in kept]), "counts": [len(x) for x in kept],
        "draws": model.draw(y, 6).x / x_unit, "solved": np.concatenate([s.x / x_unit for s in model.solve(y, 8, 8)]),
    }  # fmt: skip


GAPS = np.array([[0.7, np.nan], [np.nan, 0.35]])
SAME = np.array([[1.2, 0.35], [1.25, 0.37], [1.15, 0.34]])  # repeated measurements of one x


def incomplete_answers(x_unit, y_unit):
    """Of measurements with gaps and of repeated ones, by f and its noise and by densities, divided by the units."""
    problem = problem_in(x_unit, y_unit, noise=(np.array([0.1, 0.05]) * y_unit).tolist())
    model = train(problem, specs_of(problem, QUICK), flow=False)
    alone = dataclasses.replace(model, problem=dataclasses.replace(problem, forward=UNKNOWN))
    y, gaps = SAME * y_unit, GAPS * y_unit
    several = model.solve(y, 8, 8, group=["a", "b", "a"])
    found = {"p_values": model.p_values(gaps), "draws": model.draw(gaps, 6).x / x_unit}
    found["solved"] = np.concatenate([own.x / x_unit for own in model.solve(gaps, 20, 8)])
    found["several"] = np.concatenate([own.x / x_unit for own in several])
    found["log_density"] = np.concatenate([own.log_density for own in several]).round(10)  # logarithms of units cancel
    for name, pooled in (
        ("by noise", model.draw_weighted(y, 20)),
        ("with gaps", model.draw_weighted(np.concatenate([y, gaps[:1]]), 20)),
        ("by densities", alone.draw_weighted(y[:2], 20)),
    ):
        found |= {name: pooled.x / x_unit, f"{name}, effective": pooled.effective}
        found[f"{name}, deviation"] = pooled.deviation
    return found


@pytest.fixture(scope="module")
def incomplete():
    return incomplete_answers(np.ones(2), np.ones(2))


def test_powers_of_two_change_no_bit_of_repeated_and_incomplete_measurements(incomplete):
    unit = 2.0 ** np.array([-110, 97, 110, -83])
    found = incomplete_answers(unit[:2], unit[2:])
    for name, expected in incomplete.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_powers_of_ten_change_no_digit_of_repeated_and_incomplete_measurements(incomplete):
    unit = 10.0 ** np.array([34, -29, -34, 21])
    found = incomplete_answers(unit[:2], unit[2:])
    for name, expected in incomplete.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.fixture(scope="module")
def plain():
    return answers(np.ones(2), np.ones(2))


def test_powers_of_two_change_no_bit(plain):
    unit = 2.0 ** np.array([-110, 97, 110, -83])
    found = answers(unit[:2], unit[2:])
    for name, expected in plain.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_powers_of_ten_change_no_digit_that_is_known(plain):
    """Rounding of the units, 1e-16, grows in float32 training to about 1e-6 per step, over 12 steps."""
    unit = 10.0 ** np.array([34, -29, -34, 21])
    found = answers(unit[:2], unit[2:])
    assert found["counts"] == plain["counts"]
    for name, expected in plain.items():
        loose = name in ("draws", "solved")
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-3 if loose else 1e-6, err_msg=name)


def test_roots_in_unlike_units_are_those_of_the_quadratic():
    """a + b = 0.7 and a b = 0.1: {a, b} = {0.5, 0.2}."""
    unit = np.array([1e-30, 1e20]), np.array([1e34, 1e-34])
    problem = problem_in(*unit)
    y = np.array([[0.9, 0.2]]) * unit[1]
    starts, _ = methods.nearest(problem, 20, y)(0)
    refined, _ = methods.refine_candidates(problem, methods.Ground.of(problem), starts, y, 20)
    kept = refined[0][methods.distinct(problem, refined[0], y[0])]
    found = kept[np.argsort(kept[:, 0])] / unit[0]
    np.testing.assert_allclose(found, [[0.4, 0.5], [0.5, 0.4]], atol=1e-4)


def test_a_candidate_passes_only_if_every_output_does():
    problem = problem_in(np.ones(2), np.array([1e6, 1.0]), gate=[1e4, 0.01])
    x = np.array([[[0.5, 0.4], [0.5, 0.405], [0.45, 0.45]]])
    y = np.array([[0.9e6, 0.2]])
    assert scores.gates(problem, x, y)["rmse"].tolist() == [[True, True, True]]
    np.testing.assert_allclose(scores.misfits(problem, x, y)[0, 1], [5e3, 0.0025])
    tight = problem_in(np.ones(2), np.array([1e6, 1.0]), gate=[1e4, 0.001])
    assert scores.gates(tight, x, y)["rmse"].tolist() == [[True, False, False]]
    for gate, message in ((0, "must be above 0"), ([1, 2, 3], "a list of 2"), ("1", "is a number")):
        with pytest.raises(InputError, match=message):
            problem_in(np.ones(2), np.ones(2), gate=gate)


def test_a_spread_survives_what_its_square_does_not():
    x = np.random.default_rng(0).normal(size=(100, 1))
    for unit in (1e-300, 1.0, 1e300):
        np.testing.assert_allclose(units.spread(x * unit, 1) / unit, x.std(), rtol=1e-12)
    assert units.spread(np.full((9, 2), [3.0, 0.0]), 2).tolist() == [3, 1]


def test_noise_takes_no_more_true_solutions_with_more_outputs():
    gate = units.default_gate(np.full(20, 1e-9), np.full(20, 0.5), 1)
    noise = np.random.default_rng(0).normal(scale=0.5, size=(20_000, 20))
    assert (np.abs(noise) < gate).all(1).mean() == pytest.approx(0.9545, abs=0.006)


def test_draws_and_solutions_stay_within_bounds(tmp_path):
    x = np.random.default_rng(0).uniform([0, -3e9], [1, 5e9], (200, 2))
    model = ConditionalVAE(["x0 + 1e-9 * x1"], noise=0.05, bounds=[(0, 1), None], **QUICK).fit(x)
    drawn = model.sample([5.5, -3.0], 200)
    assert drawn[..., 0].min() >= 0
    assert drawn[..., 0].max() <= 1
    solved = model.solve([5.5], 30)[0]
    assert ((solved.x[:, 0] >= 0) & (solved.x[:, 0] <= 1)).all()
    again = ConditionalVAE.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.sample([5.5, -3.0], 200), drawn)
    bounds = model.inverter.problem.bounds
    np.testing.assert_allclose(bounds.own(torch.from_numpy(bounds.free(x))), x, rtol=1e-12, atol=2e-6)
    for wrong, message in (
        ([(0, 0.5), None], "must be within its bounds"),
        ([(1, 0), None], "low < high"),
        ([None], "2 inputs"),
    ):
        with pytest.raises(InputError, match=message):
            ConditionalVAE(["x0"], bounds=wrong).fit(x)


def test_an_unreachable_measurement_is_answered_with_the_nearest_miss(tmp_path, capsys):
    from vaelab.cli import terminal

    x = np.random.default_rng(0).uniform(-1, 1, (500, 1)) * 1e-5
    model = ConditionalVAE(["x0**2"], **QUICK).fit(x)
    found = model.solve([-5e-10], 20, 40)[0]
    assert len(found) == 0
    np.testing.assert_allclose(found.miss, [5e-10], rtol=1e-3)  # x0**2 is at least 0
    assert len(model.solve([-5e-10], 20, 40, gate=6e-10)[0]) > 0
    model.save(tmp_path / "run")
    (tmp_path / "y.csv").write_text("-5e-10\n")
    terminal.print_solutions(solve_file(tmp_path / "run", tmp_path / "y.csv", samples=20, refine=40).document)
    told = capsys.readouterr().out
    assert "none of 20 candidates is a solution; the nearest, x = " in told
    assert "misses y by 5e-10" in told
    done = commands.vaelab(["solve", "run", "--y=-5e-10", "--samples", "20"], tmp_path)  # itself
    assert done.returncode == 1  # there is no solution
    assert "measurement 0 is unlike the training examples (p = 0.002" in done.stderr


def test_measurements_like_the_examples_are_called_unusual_as_rarely_as_is_said():
    rng = np.random.default_rng(0)
    usual = Examples(np.zeros((2_000, 1), np.float32), rng.normal(size=(2_000, 3)).astype(np.float32))
    p_values = usual.p_values(rng.normal(size=(4_000, 3)))
    for level in (0.01, 0.1, 0.5):
        share = (p_values <= level).mean()
        assert abs(share - level) < 4 * np.sqrt(level * (1 - level) * (1 / 4_000 + 1 / 2_000))
    assert (usual.p_values(np.full((1, 3), 20.0)) == 1 / 2_001).all()


def solved(problem: Problem, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All distinct solutions near the nearest examples, with their misfits."""
    ground = Ground.of(problem)
    x, _ = methods.nearest(problem, 40, y)(0)
    x, _ = methods.refine_candidates(problem, ground, x, y, 15)
    found = methods.distinct(problem, x[0], y[0])
    return x[0][found], methods.misfits(problem, x[0], y[0])[found]


@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_both_roots_of_a_sine_are_found_and_one_where_they_meet(unit: float) -> None:
    x = np.random.default_rng(0).uniform(0, np.pi, (2_000, 1)) * unit
    problem = problems.create("sine", x, None, lambda x: torch.sin(x[:, 0] / unit))
    found, _ = solved(problem, np.array([0.5]))
    np.testing.assert_allclose(np.sort(found[:, 0]) / unit, [np.pi / 6, 5 * np.pi / 6], 1e-3)
    found, missed = solved(problem, np.array([1.0]))
    assert missed.max() < problem.gate
    np.testing.assert_allclose(found[0] / unit, np.pi / 2, atol=0.05)


def test_draws_are_within_declared_and_within_seen_bounds() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.uniform(0, 1, 400), rng.normal(size=400)], 1)
    y = x.sum(1) + 0.3 * rng.normal(size=400)
    model = ConditionalVAE(**QUICK).fit(x, y)
    drawn = model.sample([2.5, -2.0], 500)
    assert drawn[..., 0].min() >= x[:, 0].min()
    assert drawn[..., 0].max() <= x[:, 0].max()
    assert model.inverter.problem.bounds is not None
    assert model.inverter.problem.bounds.bounded.tolist() == [True, False]
    wide = ConditionalVAE(bounds=[(-3, 3), None], **QUICK).fit(x, y).sample([2.5], 500)[0]
    assert np.abs(wide[:, 0]).max() <= 3
    assert ConditionalVAE(bounds="none", flow=False, **QUICK).fit(x, y).inverter.problem.bounds is None


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
        Bounds.create(bounds, x, np.ones(2))


def test_free_coordinates_and_back() -> None:
    found = Bounds.of([(0, 2), None, (-1e-30, 3e-30)], (3,), np.ones(3))
    x = np.random.default_rng(0).uniform([0.1, -5, -0.9e-30], [1.9, 5, 2.9e-30], (50, 3))
    np.testing.assert_allclose(found.own(torch.from_numpy(found.free(x))).numpy(), x, 1e-9)
    far = found.own(torch.tensor([[40.0, 40.0, -40.0]], dtype=torch.float64)).numpy()[0]
    np.testing.assert_allclose(far, [2, 40, -1e-30])


@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e25])
def test_one_end_is_a_bound_in_any_unit(unit: float) -> None:
    ends: list[Any] = [(2 * unit, None), (None, -1 * unit)]
    found = Bounds.of(ends, (2,), np.array([0.5, 3.0]) * unit)
    u = np.random.default_rng(0).exponential(size=(500, 2))
    x = np.array([2, -1]) * unit + u * [0.5, -3] * unit
    t = found.free(x)
    np.testing.assert_allclose(np.exp(-u), stats.norm.cdf(t * [-1, 1]), rtol=1e-5, atol=1e-6)  # of x, each its tail
    np.testing.assert_allclose(found.own(torch.from_numpy(t)).numpy(), x, rtol=1e-6)
    step = 1e-5 * unit
    slope = np.log((found.free(x + step) - found.free(x - step)) / (2 * step)).sum(1)
    usual = (u > 1e-3).all(1)
    np.testing.assert_allclose(found.log_slope(x)[usual], slope[usual], atol=1e-3)
    assert found.log_slope(np.array([[1.9, -2], [2.1, -0.9]]) * unit).tolist() == [-np.inf, -np.inf]
    far = found.own(torch.tensor([[-40.0, 40.0], [40.0, -40.0]], dtype=torch.float64)).numpy() / unit
    np.testing.assert_allclose(far[0], [2, -1])
    assert far[1, 0] > 100
    assert found.listed(2) == ends


def test_draws_and_solutions_keep_to_one_end(tmp_path: Path) -> None:
    x = np.random.default_rng(0).exponential(size=(600, 2)) * [1e6, 1]
    model = ConditionalVAE(["1e-6 * x0 + x1"], noise=0.3, bounds=[(0, None), (0, None)], **QUICK).fit(x)
    assert model.sample([0.05, 6.0], 300).min() >= 0
    assert model.solve([0.2], 60)[0].x.min() >= 0
    again = ConditionalVAE.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.sample([0.05], 20), model.sample([0.05], 20))
