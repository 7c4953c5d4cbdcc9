"""Weighted draws, and repeated and incomplete measurements, beside the exact posterior of a linear Gaussian model."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import commands
from vaelab import ConditionalVAE
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError
from vaelab.inverse import drawing, problems, weighted
from vaelab.inverse import posterior as posterior_checks
from vaelab.inverse.calibration import Draws
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.mixture import Mixture

pytestmark = pytest.mark.slow

A = np.array([[1.0, 0.5], [0.3, -1.0], [0.8, 0.8]])
NOISE = np.array([0.5, 0.4, 0.8])


def posterior(y: np.ndarray, prior: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of x ~ N(0, I) given y (k, 3) = A x + noise, over the values that are not NaN."""
    precision, right = np.eye(2), np.zeros(2)
    for own in y:
        seen = ~np.isnan(own)
        weighted = A[seen].T / NOISE[seen] ** 2
        precision = precision + weighted @ A[seen]
        right = right + weighted @ own[seen]
    covariance = np.linalg.inv(precision)
    return covariance @ right, covariance


@dataclasses.dataclass
class Exact:
    """A model whose draws and densities are exact."""

    problem: problems.Problem
    flow: Any = True
    examples: Any = None

    def draw(self, y: np.ndarray, n: int, seed: int) -> Draws:
        rng = np.random.default_rng(seed)
        found = [rng.multivariate_normal(*posterior(own[None]), n) for own in y]
        return Draws(np.stack(found))

    def log_density(self, x: np.ndarray, y: np.ndarray, draws: int) -> np.ndarray:
        return stats.multivariate_normal(*posterior(y[:1])).logpdf(x)

    def log_prior(self, x: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(x).sum(1)


def linear(n: int = 400, forward: bool = True) -> problems.Problem:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    texts = [f"{a} * x0 + {b} * x1" for a, b in A]
    y = x @ A.T + NOISE * rng.normal(size=(n, 3))
    return problems.create("linear", x, y, texts if forward else None, noise=NOISE.tolist() if forward else 0.0)


Y = np.array([[0.9, -0.4, 1.2], [1.1, 0.2, -0.3], [0.2, -0.8, 0.6], [1.4, -0.1, 1.0]])


@pytest.mark.parametrize("forward", [True, False], ids=["by noise", "by densities"])
def test_repeated_measurements_have_the_exact_posterior(forward: bool) -> None:
    found = weighted.draw_weighted(Exact(linear(forward=forward)), Y, 4_000)
    mean, covariance = posterior(Y)
    error = np.sqrt(covariance.diagonal() * (1 / found.effective + 1 / 4_000))
    assert (np.abs(found.x.mean(0) - mean) < 4 * error).all()
    np.testing.assert_allclose(np.cov(found.x.T), covariance, atol=6 * covariance.max() / np.sqrt(4_000))
    assert 4_000 < found.effective < found.proposed


@dataclasses.dataclass
class Wrong(Exact):
    """A model whose posterior is too wide, in another place and turned."""

    shift: float = 0.3
    density: float = 0.0  # in other units

    def _posterior(self, y: np.ndarray) -> Any:
        mean, covariance = posterior(y)
        return stats.multivariate_normal(mean + self.shift, 2 * np.diag(covariance.diagonal()))

    def draw(self, y: np.ndarray, n: int, seed: int) -> Draws:
        rng = np.random.default_rng(seed)
        return Draws(np.stack([self._posterior(own[None]).rvs(n, random_state=rng) for own in y]))

    def log_density(self, x: np.ndarray, y: np.ndarray, draws: int) -> np.ndarray:
        return np.asarray(self._posterior(y[:1]).logpdf(x)) + self.density


def with_prior() -> problems.Problem:
    return dataclasses.replace(linear(), prior=[{"prior": "normal", "mean": 0.0, "sd": 1.0}] * 2)


@pytest.mark.parametrize("k", [1, 4])
def test_draws_of_a_wrong_model_are_of_the_exact_posterior_where_f_noise_and_prior_are_known(k: int) -> None:
    model = Wrong(with_prior())
    mean, covariance = posterior(Y[:k])
    found = weighted.draw_weighted(model, Y[:k], 4_000)  # type: ignore[arg-type]
    assert found.proposed > 4_000  # until they are worth as many
    assert found.effective >= 4_000
    error = np.sqrt(covariance.diagonal() * (1 / found.effective + 1 / 4_000))
    assert (np.abs(found.x.mean(0) - mean) < 4 * error).all()
    np.testing.assert_allclose(np.cov(found.x.T), covariance, atol=6 * covariance.max() / np.sqrt(4_000))
    alone = model.draw(Y[:1], 4_000, 0).x[0]
    assert (np.abs(alone.mean(0) - posterior(Y[:1])[0]) > 20 * error).all()


def test_the_efficiency_is_one_for_the_exact_posterior_and_that_of_two_gaussians_for_another() -> None:
    np.testing.assert_allclose(weighted.efficiency(Exact(with_prior()), Y, 500), 1)  # type: ignore[arg-type]
    model = Wrong(with_prior(), shift=0.0, density=7.0)
    covariance = posterior(Y[:1])[1]
    wide = 2 * np.diag(covariance.diagonal())
    # E_q[w]^2 / E_q[w^2] with w = N(mean, C) / N(mean, W): the integral of N(C)^2 / N(W) is Gaussian.
    inner = np.linalg.inv(2 * np.linalg.inv(covariance) - np.linalg.inv(wide))
    squared = np.linalg.det(covariance) ** -1 * np.sqrt(np.linalg.det(wide) * np.linalg.det(inner))
    found = weighted.efficiency(model, Y[:1], 20_000)  # type: ignore[arg-type]
    assert found[0] == pytest.approx(1 / squared, rel=0.03)


def test_where_no_proposal_agrees_the_draws_are_the_models_and_it_is_told() -> None:
    model = Wrong(with_prior(), shift=30.0)
    found = weighted.draw_weighted(model, Y[:1], 200)  # type: ignore[arg-type]
    assert found.effective < weighted.LEAST
    np.testing.assert_array_equal(found.x, model.draw(Y[:1], 1_000, derive_seed(0, 44, 0)).x[0][:200])
    good, few = (weighted.Pooled(found.x, effective, 4_000) for effective in (300.0, 60.0))
    notes = drawing._of_single({"a": good, "b": few, "c": found}, 200)
    assert [("b (60)" in note, "agrees with c " in note) for note in notes] == [(0, 0), (1, 0), (0, 1)]
    assert drawing._of_single({"a": good}, 200) == notes[:1]


def test_what_was_not_measured_does_not_count_among_repeated_ones() -> None:
    y = Y.copy()
    y[0, 1] = y[2, 0] = y[3, 2] = np.nan
    found = weighted.draw_weighted(Exact(linear()), y, 4_000)
    mean, covariance = posterior(y)
    error = np.sqrt(covariance.diagonal() * (1 / found.effective + 1 / 4_000))
    assert (np.abs(found.x.mean(0) - mean) < 4 * error).all()
    with pytest.raises(InputError, match="need f and its noise"):
        weighted.draw_weighted(Exact(linear(forward=False)), y, 10)


def test_too_many_measurements_are_refused_and_unlike_ones_are_told() -> None:
    with pytest.raises(InputError, match=r"of 2,000 draws for the mean of 8000 measurements only \d"):
        weighted.draw_weighted(Exact(linear()), np.repeat(Y, 2_000, 0), 100)
    x = np.array([0.5, -0.2])
    same = x @ A.T + NOISE * np.random.default_rng(1).normal(size=(8, 3))
    usual = weighted.draw_weighted(Exact(linear()), same, 100)
    assert usual.deviation == pytest.approx(np.sqrt((same.std(0, ddof=1) ** 2 / NOISE**2).mean()))
    assert usual.p_value is not None
    assert usual.p_value > 0.01
    unlike = weighted.draw_weighted(Exact(linear()), same + np.arange(8)[:, None], 100)
    assert unlike.p_value is not None
    assert unlike.p_value < 1e-6


def test_a_mixture_is_the_gaussian_it_is_fitted_to_and_completes_by_its_conditional() -> None:
    rng = np.random.default_rng(0)
    S = np.array([[1.0, 0.6, 0.2], [0.6, 2.0, -0.5], [0.2, -0.5, 0.7]])
    found = Mixture.of(rng.multivariate_normal([1.0, 0, -1], S, 3_000))
    drawn = found.completed(np.tile([np.nan, 1.5, np.nan], (20_000, 1)), rng)
    assert (drawn[:, 1] == 1.5).all()
    gain = S[[0, 2], 1] / S[1, 1]
    np.testing.assert_allclose(drawn[:, [0, 2]].mean(0), [1, -1] + gain * 1.5, atol=0.08)
    left = S[np.ix_([0, 2], [0, 2])] - np.outer(gain, S[1, [0, 2]])
    np.testing.assert_allclose(np.cov(drawn[:, [0, 2]].T), left, atol=0.08)
    two = np.concatenate([rng.normal(-4, 1, (1_000, 1)), rng.normal(4, 1, (1_000, 1))])[rng.permutation(2_000)]
    halves = stats.norm.pdf(two[:9, 0], -4, 1) / 2 + stats.norm.pdf(two[:9, 0], 4, 1) / 2
    np.testing.assert_allclose(np.exp(Mixture.of(two).log_prob(two[:9])), halves, rtol=0.4)


@pytest.fixture(scope="module")
def model() -> ConditionalVAE:
    """Roots of x0 + x1 and x0 x1, exact y."""
    x = np.random.default_rng(0).uniform(0.2, 1, (600, 2))
    settings = {"epochs": 1, "hidden": "8", "latent_dim": 1, "batch_size": 100}
    return ConditionalVAE(["x0 + x1", "x0 * x1"], **settings).fit(x)


def test_solutions_reproduce_what_was_measured_and_nothing_else(model: ConditionalVAE) -> None:
    found = model.solve([[1.2, np.nan], [np.nan, 0.4]], 60)
    np.testing.assert_allclose(found[0].x.sum(1), 1.2, atol=model.inverter.problem.gate[0])
    np.testing.assert_allclose(found[1].x.prod(1), 0.4, atol=model.inverter.problem.gate[1])
    assert min(map(len, found)) > 10  # lines of solutions, where both outputs have two points
    assert np.isnan(found[0].misfit[:, 1]).all()
    assert np.isfinite(found[0].rmse).all()
    assert model.sample([[1.2, np.nan], [1.2, 0.35]], 30).shape == (2, 30, 2)
    for wrong, message in (([np.nan, np.nan], "no value but NaN"), ([np.inf, 1.0], "infinite")):
        with pytest.raises(InputError, match=message):
            model.solve([wrong])
    with pytest.raises(InputError, match="needs every value of y"):
        model.log_prob([[0.5, 0.5]], [[1.0, np.nan]])


def test_solutions_of_repeated_measurements_reproduce_all(model: ConditionalVAE) -> None:
    y = [[1.2, 0.35], [1.22, 0.355], [1.18, 0.352], [0.9, 0.2]]
    first, second = model.solve(y, 40, group=["a", "a", "a", "b"])
    sums = first.x.sum(1)
    np.testing.assert_allclose(first.misfit[:, 0], np.abs(sums[:, None] - [1.2, 1.22, 1.18]).max(1), atol=1e-9)
    assert (first.misfit < model.inverter.problem.gate).all()
    assert len(model.solve([[0.9, 0.2], [1.5, 0.5]], 20, group=[0, 0])[0]) == 0
    np.testing.assert_array_equal(second.x.round(2)[:1], model.solve([[0.9, 0.2]], 40)[0].x.round(2)[:1])
    with pytest.raises(InputError, match="a label for each of 4 measurements"):
        model.solve(y, group=[0])


def test_solutions_are_ranked_by_the_density_of_x() -> None:
    x = np.random.default_rng(0).normal([3e6, 0.0], [1e6, 2.0], (3_000, 2))
    settings = {"epochs": 1, "hidden": "8", "latent_dim": 1, "batch_size": 500}
    model = ConditionalVAE(["1e-6 * x0 + x1"], **settings).fit(x)
    found = model.solve([4.0], 60, rank="density")[0]
    exact = stats.norm.logpdf(found.x[:, 0], 3e6, 1e6) + stats.norm.logpdf(found.x[:, 1], 0, 2)
    assert (np.diff(found.log_density) <= 0).all()
    np.testing.assert_allclose(found.log_density - exact, np.log(model.inverter.problem.x_unit).sum(), atol=0.3)
    assert sorted(map(tuple, found.x)) == sorted(map(tuple, model.solve([4.0], 60)[0].x))
    with pytest.raises(InputError, match="rank"):
        model.solve([4.0], rank="best")


def test_a_model_keeps_what_it_says_of_x(model: ConditionalVAE, tmp_path: Any) -> None:
    again = Inverter.load(model.save(tmp_path / "run"))
    assert again.sources == model.inverter.sources
    y = np.array([[1.2, np.nan]])
    np.testing.assert_array_equal(again.draw(y, 9).x, model.inverter.draw(y, 9).x)


# Files and commands


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the linear model, and files of measurements beside it."""
    folder = tmp_path_factory.mktemp("noisy")
    problem = linear()
    texts = [f"{a} * x0 + {b} * x1" for a, b in A]
    settings = {"epochs": 2, "hidden": "8", "latent_dim": 2, "batch_size": 50, "lr": 1e-2}
    model = ConditionalVAE(texts, noise=NOISE.tolist(), flow=False, **settings).fit(problem.x, problem.y)
    model.save(folder / "run")
    (folder / "y.csv").write_text("part,y0,y1,y2\nleft,1.2,0.1,0.9\nright,-1,0.5,\nleft,0.8,-0.3,1.1\n")
    (folder / "bare.csv").write_text("1.2,,0.9\n0.5,0.3,nan\n")
    return folder


def test_the_command_takes_groups_and_gaps(noisy: Path) -> None:
    done = commands.vaelab(
        ["solve", "run", "--y", "y.csv", "--group", "part", "--samples", "30", "--refine", "0", "--top", "1",
         "--rank", "density", "--gate", "1,1,2", "--json", "--out", "all.csv"], noisy
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["names"] == ["left", "right"]
    table = pd.read_csv(noisy / "all.csv")
    assert list(table.columns[:3]) == ["part", "rank", "misfit"]
    for curve, name in zip(told["curves"], told["names"], strict=True):
        assert curve["candidates"] == 30
        assert len(curve["solutions"]) == 1
        assert curve["distinct"] == (table["part"] == name).sum() > 1  # --top limits no file
    assert told["curves"][1]["solutions"][0]["misfit"][2] is None  # not measured
    left = table[table["part"] == "left"]
    assert (np.diff(left["log_density"]) <= 0).all()
    far = np.abs(left[["x0", "x1"]].to_numpy() @ A.T - [[[1.2, 0.1, 0.9]], [[0.8, -0.3, 1.1]]]).max(0)
    np.testing.assert_allclose(far, left[["misfit of y0", "misfit of y1", "misfit of y2"]], atol=1e-6)
    assert (far < [1, 1, 2]).all()


def test_draws_tell_their_misfit_in_noise_and_their_effective_number(noisy: Path) -> None:
    done = commands.vaelab(
        ["draw", "run", "--y", "y.csv", "--group", "part", "-n", "200", "--out", "d.csv", "--corner", "pictures"], noisy
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"x left, of 2 measurements: [1-4],000 draws for their mean, weighted, are worth", done.stderr)
    assert "of the exact posterior" not in done.stderr  # the run does not know the prior of its examples
    assert "stated standard deviations of the noise (root mean square; 1 is expected" in done.stderr
    assert "97.5 %" in done.stdout
    assert len(pd.read_csv(noisy / "d.csv")) == 400
    assert sorted(path.name for path in (noisy / "pictures").iterdir()) == ["corner-0.png", "corner-1.png"]
    both = commands.vaelab(["draw", "run", "--y", "bare.csv", "--repeated", "-n", "5"], noisy)
    assert len(both.stdout.splitlines()) == 6
    each = commands.vaelab(["draw", "run", "--y", "1,nan,0.5", "-n", "5"], noisy)
    assert len(each.stdout.splitlines()) == 6
    for arguments, message in (
        (["--y", "y.csv", "--group", "side"], "unknown column of y.csv 'side'"),
        (["--y", "y.csv", "--group", "part", "--repeated"], "give one of"),
    ):
        wrong = commands.vaelab(["draw", "run", *arguments], noisy)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
        assert message in wrong.stderr


def test_a_misfit_of_exact_draws_is_that_of_the_noise() -> None:
    problem = linear(3_000)
    y = problem.y[:300]
    model = Exact(problem)
    told = drawing._misfit(model, model.draw(y, 20, 0).x, list(y[:, None]))  # type: ignore[arg-type]
    found, low, high = (float(own) for own in re.findall(r"by ([\d.]+) .*, ([\d.]+) to ([\d.]+) by chance", told)[0])
    assert low < 0.98 < 1.02 < high
    assert low < found < high
    assert told.endswith("by chance).")
    assert posterior_checks._reproduced(model, 0)[1] == pytest.approx(1, abs=0.1)  # type: ignore[arg-type]
    far = problem.x[None, :300], [y[:1]]
    assert "less well" in drawing._misfit(model, *far)  # type: ignore[arg-type]
    assert "no x of the prior" in drawing._misfit(model, *far, is_exact=True)  # type: ignore[arg-type]


def test_draws_that_are_not_weighted_say_why_and_how_far_each_output_is() -> None:
    noisy = linear()
    prior = [{"prior": "normal", "mean": 0.0, "sd": 1.0}] * 2
    whole = dataclasses.replace(noisy, prior=tuple(prior))
    assert weighted.missing(whole) == ""
    assert "the noise of y1 is 0" in weighted.missing(dataclasses.replace(whole, noise=NOISE * [1, 0, 1]))
    assert "no noise of y" in weighted.missing(dataclasses.replace(whole, noise=0 * NOISE))
    assert "density of the prior" in weighted.missing(noisy)
    assert "no forward function" in weighted.missing(linear(forward=False))
    missed = np.random.default_rng(0).normal(size=(4_000, 3)) * [2, 0.1, 3] * NOISE / noisy.y_scale
    level = NOISE * [1, 0, 1]
    found = drawing._misfit_of_exact(noisy, missed, level)
    of_noise, of_y = (float(own) for own in re.findall(r"by ([\d.]+) standard", found))
    assert of_noise == pytest.approx(((2**2 + 3**2) / 2) ** 0.5, rel=0.03)
    spread = 0.1 * NOISE[1] / noisy.y_scale[1]
    assert of_y == pytest.approx(spread * stats.norm.ppf(0.75), rel=0.05)
    assert "y0, y2 by" in found
    # A measurement of which one output is missing is judged by the others, without a warning.
    gaps = np.array([[1.0, np.nan, np.nan], [np.nan, 1.0, np.nan]]) * NOISE / noisy.y_scale
    assert drawing._misfit_of_exact(noisy, gaps, level).startswith("f(x) of a draw misses y0, y2 by 1 standard")
    assert "no value" in drawing._misfit_of_exact(noisy, np.full((2, 3), np.nan), level)
    assert found.index("y1 by") > found.index("noise")


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows f, its noise and the prior of x."""
    folder = tmp_path_factory.mktemp("declared")
    (folder / "p.toml").write_text(
        'forward = ["1e-6 * x0 + x1"]\nnoise = 0.5\nexamples = 600\n'
        'inputs = [{prior = "normal", mean = 0, sd = 2e6}, {name = "b", prior = "normal", mean = 1, sd = 1}]\n'
    )
    done = commands.vaelab(
        ["invert", "p.toml", "--epochs", "2", "--hidden", "8", "--no-baselines", "--out", "run"], folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_command_draws_from_the_exact_posterior_in_any_units(declared: Path) -> None:
    gain, total = np.array([4.0, 1.0]), 4 + 1 + 0.25
    done = commands.vaelab(["draw", "run", "--y", "3", "-n", "2000", "--out", "d.csv"], declared)
    assert done.returncode == 0, done.stderr
    assert "weighted by f, its noise and the prior" in done.stderr
    x = pd.read_csv(declared / "d.csv")[["x0", "b"]].to_numpy() * [1e-6, 1]
    np.testing.assert_allclose(x.mean(0), [0, 1] + gain * (3 - 1) / total, atol=0.1)
    np.testing.assert_allclose(np.cov(x.T), np.diag(gain) - np.outer(gain, gain) / total, atol=0.12)
    plain = commands.vaelab(["draw", "run", "--y", "3", "-n", "5", "--unweighted"], declared)
    assert "weighted by f" not in plain.stderr
    gaps = commands.vaelab(["draw", "run", "--y", "40", "-n", "50"], declared)
    assert "hardly any proposal agrees with 0 within the noise" in gaps.stderr
    told = json.loads((declared / "run" / "metrics.json").read_text())
    found = told["inverse"]["posterior"]["efficiency"]
    assert 0 < found["worst tenth"] <= found["median"] <= 1
    page = (declared / "run" / "report.html").read_text()
    assert "draws of one y are worth" in page
    assert f"misses its y by {told['inverse']['posterior']['misfit']:.3g} standard deviations" in page
