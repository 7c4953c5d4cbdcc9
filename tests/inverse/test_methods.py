"""Baselines and posterior measures: equal prices, known answers, refusals."""

import numpy as np
import pytest
from scipy import stats

from vaelab.errors import InputError
from vaelab.inverse import calibration, methods, posterior, problems, scores
from vaelab.inverse.lines import NEAR, draw_ends, ends_of, lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def easy():
    problem = problems.built_in("two-birds-easy", train=3_000, validation=10, score=4)
    return problem, methods.Ground.of(problem), *problem.rows("test")


def test_the_exact_sampler_is_the_ceiling(easy):
    problem, ground, x, y = easy
    found = methods.attempt("exact", problem, ground, methods.exact(problem, 30, x, 0), x, y, 0)
    assert found.score.gates["all_pass"]
    assert found.score.recall == 1
    assert found.evaluations == 0


def test_refinement_from_the_prior_and_from_neighbours_finds_solutions(easy):
    problem, ground, x, y = easy
    prior = methods.attempt("multi-start", problem, ground, methods.from_prior(problem, 30, 4, 0), x, y, 30)
    near = methods.attempt("nearest", problem, ground, methods.nearest(problem, 30, y), x, y, 30)
    for found in (prior, near):
        assert found.score.recall > 0.85
        assert found.misfit.shape == (31, 4, 30)
        assert (found.misfit[-1] <= found.misfit[0] + 1).all()  # a penalty may cost some misfit, the gate's at most
    assert near.score.precision > prior.score.precision
    raw = methods.attempt("raw", problem, ground, methods.from_prior(problem, 30, 4, 0), x, y, 0)
    assert raw.score.precision < 0.1


def test_neighbours_are_the_nearest_by_brute_force(easy):
    problem, _, _, y = easy
    starts = methods.nearest(problem, 7, y)
    x, known = problem.rows("train")
    for k, own in enumerate(y):
        order = np.argsort(((known - own) ** 2).sum((1, 2)), kind="stable")
        np.testing.assert_array_equal(np.concatenate([starts(c)[0] for c in range(6)], 1)[k], x[order[:42]])


def test_a_budget_is_kept(easy):
    problem, ground, x, y = easy
    starts = methods.from_prior(problem, 5, 4, 0)
    one = methods.attempt("one", problem, ground, starts, x, y, 10)
    many = methods.attempt("many", problem, ground, starts, x, y, 10, evaluations=6 * one.evaluations)
    assert 0.8 * 6 * one.evaluations <= many.evaluations <= 6 * one.evaluations
    assert 20 <= many.candidates <= 45
    np.testing.assert_array_equal(many.x[:, :5], one.x)
    few = methods.attempt("few", problem, ground, starts, x, y, 10, evaluations=one.evaluations // 2)
    assert few.candidates == 2
    assert few.evaluations <= one.evaluations // 2
    timed = methods.attempt("timed", problem, ground, starts, x, y, 10, seconds=3 * one.seconds)
    assert timed.seconds <= 3 * one.seconds
    curve = many.as_dict()["recall_curve"]
    assert [k for k, _ in curve][:3] == [1, 2, 3]
    assert curve[-1] == [many.candidates, many.score.recall]


def test_rejection_keeps_the_best_of_its_budget(easy):
    problem, _, x, y = easy
    found = methods.rejection(problem, 10, x, y, 4 * 2_000, 0)
    assert found.evaluations == 8_000
    median = np.median(scores.rmse(problem, found.x, y))
    assert median < np.median(scores.rmse(problem, np.stack([problem.x[:10]] * 4), y)) / 2


def test_distinct_solutions_are_the_listed_ones(easy):
    problem, ground, x, y = easy
    found = methods.attempt("multi-start", problem, ground, methods.from_prior(problem, 100, 4, 0), x, y, 40)
    for k in range(4):
        listed = problem.family.solutions(ends_of(x[k]))
        places = methods.distinct(problem, found.x[k], y[k])
        kept, missed = found.x[k][places], methods.misfits(problem, found.x[k], y[k])[places]
        assert (np.diff(missed) >= 0).all()
        apart = np.abs(ends_of(kept)[:, None] - ends_of(kept)[None]).max(2)
        assert (apart[~np.eye(len(kept), dtype=bool)] > NEAR).all()
        assert np.abs(ends_of(kept)[:, None] - listed[None]).max(2).min(0).max() < 0.02


# Measures of posterior draws


def test_c2st_and_energy_distance_know_equal_from_unequal():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 500, 2))
    same = calibration.Draws(a[None])
    assert 0.4 < calibration.c2st(same, b) < 0.57
    assert abs(calibration.energy_distance(same, b)) < 0.03
    shifted = calibration.Draws(a[None] + 3)
    # two Gaussians at distance 3 sqrt 2: the best classifier is right with probability Phi(3 / sqrt 2)
    assert calibration.c2st(shifted, b) == pytest.approx(stats.norm.cdf(3 / np.sqrt(2)), abs=0.02)
    line = calibration.Draws(np.zeros((1, 40, 1)))
    assert calibration.energy_distance(line, np.full((40, 1), 2.0)) == pytest.approx(4)


def test_calibration_accepts_the_right_posterior_and_refuses_a_narrow_one():
    """x ~ N(0, 1), y | x ~ N(x, 1): x | y ~ N(y / 2, 1 / 2)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2_000, 1))
    y = x + rng.normal(size=x.shape)
    right = y[:, None] / 2 + np.sqrt(0.5) * rng.normal(size=(2_000, 99, 1))
    assert calibration.calibration(calibration.Draws(right), x).p_values[0] > 1e-3
    narrow = y[:, None] / 2 + 0.6 * np.sqrt(0.5) * rng.normal(size=(2_000, 99, 1))
    assert calibration.calibration(calibration.Draws(narrow), x).p_values[0] < 1e-6


def test_the_exact_posterior_of_a_noisy_product_is_that_of_rejection():
    """Its draws beside prior draws that are kept with the probability of their noise."""
    problem = problems.built_in("product", train=10, validation=1, score=2, noise=0.3)
    x, y = problem.rows("test")
    for ends, measured in [(ends_of(x)[0], y[0])]:
        exact = posterior.exact_posterior(problem, ends, measured, 500, np.random.default_rng(0))
        prior = draw_ends(100_000, np.random.default_rng(1))
        log_p = np.concatenate(
            [
                -((problems.apply(problem.forward, lines(piece)) - measured) ** 2).sum(1) / (2 * 0.3**2)
                for piece in np.split(prior, 10)
            ]
        )
        rejected = prior[np.random.default_rng(2).uniform(size=len(prior)) < np.exp(log_p - log_p.max())]
        assert len(rejected) > 300
        for k in range(4):
            assert stats.ks_2samp(exact[:, k], rejected[:, k]).pvalue > 1e-3


def test_solutions_are_no_posterior_samples():
    solutions = calibration.Draws(np.zeros((1, 20, 2)), refined=True)
    for measure in (
        lambda: calibration.c2st(solutions, np.zeros((20, 2))),
        lambda: calibration.energy_distance(solutions, np.zeros((20, 2))),
        lambda: calibration.calibration(solutions, np.zeros((1, 2))),
    ):
        with pytest.raises(InputError, match="are solutions; draw without refinement"):
            measure()


def test_diverse_solutions_are_farthest_from_those_before_them():
    rng = np.random.default_rng(0)
    problem = problems.create("two", rng.uniform(size=(100, 2)) * [1, 1000], None, ["x0"])
    x = rng.uniform(size=(9, 2)) * [1, 1000]
    wanted = [0]
    for _ in range(3):
        far = [min(np.abs((x[i] - x[j]) / problem.x_unit).max() for j in wanted) for i in range(9)]
        wanted.append(int(np.argmax(far)))
    assert methods.diverse(problem, x, 4) == sorted(wanted)
    assert methods.diverse(problem, x, 20) == list(range(9))
    assert methods.diverse(problem, x[:0], 3) == []


def cantilever(x):
    """Compliance (m/N) and frequency (Hz) of a beam, of its thickness (mm) and its modulus (Pa)."""
    length, width, density = 0.4, 0.02, 7_800.0
    height, modulus = 1e-3 * x[:, 0], x[:, 1]
    stiffness = modulus * width * height**3 / 12
    return np.stack(
        [
            length**3 / (3 * stiffness),
            1.8751**2 / (2 * np.pi * length**2) * np.sqrt(stiffness / (density * width * height)),
        ],
        1,
    )


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_within_the_noise_solutions_stay_as_many_as_there_are(unit):
    """A continuum within the noise, where f(x) = y itself has one solution, outside of the bounds."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.uniform(2, 8, 4_000), np.exp(rng.uniform(np.log(1e10), np.log(3e11), 4_000))], 1)
    noise = np.array([2e-6, 3.0])
    y = cantilever(x) + noise * rng.normal(size=x.shape)
    forward = lambda x: cantilever(x) * [unit, 1]  # noqa: E731
    problem = problems.create(
        "beam", x, y * [unit, 1], forward, noise=(noise * [unit, 1]).tolist(), bounds=[(2, 8), (1e10, 3e11)]
    )
    width = stats.norm.ppf((1 + np.sqrt(1 - 2 * stats.norm.cdf(-2))) / 2)  # as many pass both as one of 2 deviations
    np.testing.assert_allclose(problem.gate, width * noise * [unit, 1])
    measured = np.array([[3.643e-3, 14.63]]) * [unit, 1]
    starts = methods.nearest(problem, 200, measured)(0)[0]
    ground = methods.Ground.of(problem)
    found, _ = methods.refine_candidates(problem, ground, starts, measured, 15)
    grid = np.stack(np.meshgrid(np.linspace(2, 8, 3_001), np.linspace(1e10, 3e11, 3_001), indexing="ij"), -1)
    missed = np.abs(cantilever(grid.reshape(-1, 2)) - measured / [unit, 1])
    within = grid.reshape(-1, 2)[(missed < width * noise).all(1)]
    covered = np.abs((within[:, None] - found[0, methods.distinct(problem, found[0], measured[0])]) / problem.x_unit)
    assert (covered.max(2).min(1) < 0.1).mean() > 0.95
    passed = [scores.passes(scores.gates(problem, own, measured))[0] for own in (starts, found)]
    np.testing.assert_allclose(found[0][passed[0]], starts[0][passed[0]], rtol=1e-12)  # solutions stay
    assert passed[1].mean() > 0.85
