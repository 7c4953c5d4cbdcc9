"""The flow p(x | y): a density of mass one that its draws follow, kept and read back, used where validation says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import commands
from vaelab import ConditionalVAE
from vaelab.errors import InputError
from vaelab.inverse import flow, problems, training
from vaelab.inverse.calibration import Draws, expected_coverage
from vaelab.inverse.spec import specs_of

SETTINGS: dict[str, Any] = {"epochs": 16, "hidden": "16", "batch_size": 100, "lr": 5e-3, "beta": 1.0}


def squares(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """y = x^2 plus noise, x uniform in [-1, 1] and in a unit of its own: two modes."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 1))
    return 1e-6 * x, x[:, 0] ** 2 + 0.05 * rng.normal(size=n)


@pytest.fixture(scope="module")
def model() -> ConditionalVAE:
    return ConditionalVAE(**SETTINGS).fit(*squares(1_300))


def test_validation_chooses_and_both_values_are_kept(model: ConditionalVAE) -> None:
    compared = model.inverter.metrics["compared"]
    assert compared["draws"] == "flow"  # two modes, which a Gaussian decoder blurs
    assert model.inverter.flow is not None
    assert compared["flow"] < compared["conditional VAE"]
    plain = ConditionalVAE(flow=False, **SETTINGS).fit(*squares(1_300))
    assert plain.inverter.flow is None
    assert plain.inverter.metrics["neg_log_p"] == compared["conditional VAE"]


def test_its_density_has_mass_one_within_the_bounds_and_is_near_the_true_one(model: ConditionalVAE) -> None:
    ends = model.inverter.problem.bounds
    assert ends is not None
    grid = np.linspace(ends.low[0], ends.high[0], 801)
    for y in (0.3, 0.6):
        log_p, error = model.log_prob(grid[:, None], np.full(801, y))
        assert not error.any()
        assert integrate.trapezoid(np.exp(log_p), grid) == pytest.approx(1, abs=0.02)
        true = stats.norm.pdf(y, (grid * 1e6) ** 2, 0.05)
        true /= integrate.trapezoid(true, grid)
        assert integrate.trapezoid(np.abs(np.exp(log_p) - true), grid) < 0.5  # twice the total variation
    assert model.log_prob([[2e-6]], [0.5])[0][0] == -np.inf


def test_draws_follow_its_density(model: ConditionalVAE) -> None:
    drawn = model.sample([0.5], 4_000)[0, :, 0]
    grid = np.linspace(-1e-6, 1e-6, 2_001)
    log_p, _ = model.log_prob(grid[:, None], np.full(2_001, 0.5))
    cumulative = integrate.cumulative_trapezoid(np.exp(np.maximum(log_p, -700)), grid, initial=0)
    assert stats.kstest(np.interp(drawn, grid, cumulative / cumulative[-1]), "uniform").pvalue > 1e-4
    np.testing.assert_array_equal(drawn, model.sample([0.5], 4_000)[0, :, 0])
    assert (model.sample([0.5], 50, seed=1) != model.sample([0.5], 50)).any()


def test_it_is_read_back_from_its_folder(model: ConditionalVAE, tmp_path: Path) -> None:
    again = ConditionalVAE.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.sample([0.2, 0.9], 20), model.sample([0.2, 0.9], 20))
    x, y = squares(30, 1)
    np.testing.assert_array_equal(again.log_prob(x, y)[0], model.log_prob(x, y)[0])


def test_a_linear_model_has_the_density_of_the_exact_posterior() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, 1))
    y = x + 0.5 * rng.normal(size=(2_000, 1))
    fitted = ConditionalVAE(flow=False, bounds="none", **SETTINGS | {"epochs": 60, "latent_dim": 1}).fit(x, y)
    held = fitted.inverter.problem.rows("validation")
    log_p, error = fitted.log_prob(*held)
    exact = stats.norm.logpdf(held[0][:, 0], 0.8 * held[1][:, 0], 0.2**0.5)
    assert (log_p - exact).mean() == pytest.approx(0, abs=0.03)
    assert error.max() < 0.1


def test_the_same_seed_gives_the_same_flow_and_the_average_is_no_worse_than_chance() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(300, 2)))
    y = x[:, :1] + 0.1 * torch.from_numpy(rng.normal(size=(300, 1)))
    fits = [flow.fit((x[:250], y[:250]), (x[250:], y[250:]), 3, 1) for _ in range(2)]
    assert fits[0].neg_log_p == fits[1].neg_log_p
    np.testing.assert_array_equal(fits[0].draw(y[:1], 5), fits[1].draw(y[:1], 5))
    assert fits[0].neg_log_p < 2 * 0.5 * np.log(2 * np.pi * np.e) + 0.5  # of a standard normal, roughly


def test_x_without_a_density_is_refused() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.uniform(size=(300, 1)), 2, axis=1)
    y = x[:, 0] + 0.1 * rng.normal(size=300)
    model = ConditionalVAE(bounds="none", flow=False, **SETTINGS | {"epochs": 1}).fit(x, y)
    with pytest.raises(InputError, match="varies in 1 directions, but has 2 values"):
        model.log_prob(x[:2], y[:2])
    with pytest.raises(InputError, match="one example for each y"):
        model.log_prob(x[:2], y[:3])


def test_credible_regions_of_exact_draws_hold_what_they_promise_and_narrow_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(1_500, 2)) * [1, 1e6]
    truth = y + rng.normal(size=(1_500, 2)) * [0.5, 0.5e6]
    exact, narrow, shifted = (
        Draws(y[:, None] + rng.normal(size=(1_500, 60, 2)) * width * [0.5, 0.5e6] + shift)
        for width, shift in ((1.0, 0.0), (0.6, 0.0), (1.0, [1.0, 0.0]))
    )
    found = expected_coverage(exact, truth)
    assert found.p_value > 1e-3
    for level in (0.5, 0.9):
        assert found.at(level) == pytest.approx(level, abs=4 * (level * (1 - level) / 1_500) ** 0.5)
    assert expected_coverage(narrow, truth).p_value < 1e-6
    assert expected_coverage(shifted, truth).p_value < 1e-6


def test_draws_of_a_file_are_those_of_python(model: ConditionalVAE, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "run")
    expected = model.sample([0.2, 0.9], 3)
    for name, text, sign in (("plain.csv", "0.2\n0.9\n", ","), ("head.csv", "energy;\n0,2;\n0,9;\n", ";")):
        (tmp_path / name).write_text(text)
        done = commands.vaelab(["draw", str(folder), "--y", name, "-n", "3"], tmp_path)
        assert done.returncode == 0, done.stderr
        head, *rows = [line.split(sign) for line in done.stdout.splitlines()]
        assert head == ["measurement", "draw", "x0"]
        assert [row[:2] for row in rows] == [[str(m), str(d)] for m in (0, 1) for d in (1, 2, 3)]
        found = [float(row[2].replace(",", ".")) for row in rows]  # in the dialect of the measurements
        np.testing.assert_allclose(found, expected.ravel(), 1e-6)
    done = commands.vaelab(["draw", str(folder), "--y", "plain.csv", "--out", "draws.txt"], tmp_path)
    assert done.returncode == 2
    assert "must end in .csv or .parquet" in done.stderr


def test_inputs_that_go_together_have_a_density_of_mass_one_by_which_validation_chooses() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_500, 2)) @ [[1.0, 3.0], [0.0, 0.5]] * [1, 1e3]
    y = np.abs(x[:, 0]) + 0.2 * rng.normal(size=1_500)
    model = ConditionalVAE(bounds="none", **SETTINGS | {"epochs": 8}).fit(x, y)
    inverter = model.inverter
    assert inverter.flow is not None
    a, b = np.linspace(-4, 4, 161), np.linspace(-1.4e4, 1.4e4, 281)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(model.log_prob(grid, np.ones(len(grid)))[0]).reshape(161, 281)
    assert integrate.trapezoid(integrate.trapezoid(density, b, axis=1), a) == pytest.approx(1, abs=0.03)
    own = model.log_prob(*inverter.problem.rows("validation"))[0].mean()
    unit = np.log(inverter.space.x.scale).sum()  # figures are told in units of the spread
    assert -own - unit == pytest.approx(inverter.metrics["compared"]["flow"], abs=1e-4)


def test_a_scale_of_the_base_widens_what_is_too_narrow_and_leaves_the_rest_alone() -> None:
    measured = torch.tensor([[-1.0], [0.0], [1.5]])
    y = measured.repeat_interleave(200, 0)
    one = flow.Flow((flow._network(2, 1, None, 0), flow._network(2, 1, None, 1)))
    assert one.calibrated(one.draw(measured, 200).flatten(0, 1), y).scale == 1.0  # of its own density
    own = dataclasses.replace(one, scale=1.4).draw(measured, 200, seed=1).flatten(0, 1)
    found = one.calibrated(own, y)
    assert found.scale == pytest.approx(1.4, rel=4 / (2 * 1_200) ** 0.5)
    assert found.log_prob(own, y).mean() > one.log_prob(own, y).mean()
    grid = torch.linspace(-12, 12, 81)
    points = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    density = found.log_prob(points, torch.zeros(len(points), 1)).exp().reshape(81, 81)
    assert torch.trapezoid(torch.trapezoid(density, grid), grid) == pytest.approx(1, abs=0.01)


def test_few_pairs_give_a_mixture_of_flows_that_is_read_back(tmp_path: Path) -> None:
    x, y = squares(100)
    x, y = torch.from_numpy(1e6 * x), torch.from_numpy(y[:, None])
    found = flow.fit((x[:80], y[:80]), (x[80:], y[80:]), epochs=1)
    assert len(found.nets) == flow.FOLDS
    again = flow.Flow.load(tmp_path, found.save(tmp_path), 1, 1)
    np.testing.assert_array_equal(again.draw(y[:2], 30), found.draw(y[:2], 30))
    each = [flow.Flow((net,), found.scale).log_prob(x, y).exp() for net in found.nets]
    torch.testing.assert_close(found.log_prob(x, y).exp(), torch.stack(each).mean(0))


def test_its_training_is_announced_by_the_number_of_flows() -> None:
    problem = problems.create("squares", *squares(200), None, noise=0.05)
    told: list[str] = []
    specs = specs_of(problem, {**SETTINGS, "epochs": 1})[:1]
    training.train(problem, specs, stage=told.append)
    assert told == [f"training {flow.FOLDS} flows that may draw instead"]
    assert [flow.parts_of(n) for n in (flow.FEW - 1, flow.FEW)] == [flow.FOLDS, 1]
