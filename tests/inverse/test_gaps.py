"""Gaps in the y of training pairs, beside the distribution of what they hide in a linear model with Gaussian noise."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vaelab.errors import InputError
from vaelab.inverse import files, problems
from vaelab.inverse.forward import UNKNOWN
from vaelab.inverse.gaps import filled

pytestmark = pytest.mark.slow

A = np.array([[1.0, 0.5], [0.3, -1.0], [0.8, 0.8]])
NOISE = np.array([0.5, 0.4, 0.8])
TEXTS = [f"{a} * x0 + {b} * x1" for a, b in A]
X_UNIT, Y_UNIT = np.array([1e6, 1e-9]), np.array([1e3, 1e-6, 1.0])


def pairs(n: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    y = x @ A.T + NOISE * rng.normal(size=(n, 3))
    y[rng.random(y.shape) < 0.2] = np.nan
    return x, y


@pytest.mark.parametrize("known", ["f and its noise", "f", "pairs alone"])
def test_gaps_hold_what_x_and_the_rest_of_y_tell(known: str) -> None:
    x, y = pairs()
    noise = NOISE if known == "f and its noise" else np.zeros(3)
    forward = UNKNOWN
    if known != "pairs alone":
        forward, _ = problems.ForwardFunction.checked(TEXTS, x)
    found, kept = filled(x, y, forward, noise, 0)
    there = ~np.isnan(y)
    assert (found[there] == y[there]).all()
    assert (kept == there.any(1)).all()
    for j in range(3):  # given x, outputs are independent: what was measured of the others tells nothing
        gap = np.isnan(y[:, j]) & kept
        residual = (found[gap, j] - x[gap] @ A[j]) / NOISE[j]
        assert abs(residual.mean()) < 4 / np.sqrt(gap.sum())
        assert residual.std() == pytest.approx(1, abs=4 / np.sqrt(2 * gap.sum()))
        slope = np.linalg.lstsq(x[gap], found[gap, j], rcond=None)[0]
        np.testing.assert_allclose(slope, A[j], atol=5 * NOISE[j] / np.sqrt(gap.sum()))


def test_gaps_are_filled_alike_in_any_unit() -> None:
    x, y = pairs(600)
    ones, _ = filled(x, y, UNKNOWN, np.zeros(3), 0)
    others, _ = filled(x * X_UNIT, y * Y_UNIT, UNKNOWN, np.zeros(3), 0)
    np.testing.assert_allclose(others / Y_UNIT, ones, rtol=1e-6, atol=1e-9)


def test_rows_with_gaps_are_for_training_alone_and_empty_ones_for_nothing(tmp_path: Path) -> None:
    x, y = pairs(600)
    y[:3], y[3, 0] = np.nan, np.inf
    problem = problems.create("linear", x, y, None)
    gaps = np.isnan(y).any(1) & ~np.isnan(y).all(1)
    gaps[3] = False
    assert problem.gaps == gaps.sum()
    assert problem.failed == 1 + np.isnan(y).all(1).sum()
    assert len(problem.x) == 600 - problem.failed
    whole = {tuple(own) for own in x[np.isfinite(y).all(1)]}
    for name in ("validation", "test"):
        assert {tuple(own) for own in problem.rows(name)[0]} <= whole
    assert sum(map(len, problem.splits.values())) == len(problem.x)
    lines = [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in np.hstack([x, y])[4:]]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,u,v,w", *lines]))
    again = files.load(str(tmp_path / "pairs.csv"), x=["a", "b"])
    assert (again.gaps, again.failed) == (gaps[4:].sum(), np.isnan(y[4:]).all(1).sum())


def test_gaps_that_complete_rows_cannot_tell_are_left_out() -> None:
    x, y = pairs(40)
    y[22:, 0] = np.nan
    y[:22] = np.where(np.isnan(y[:22]), 1.0, y[:22])
    problem = problems.create("few", x, y, None)  # 22 complete rows of 5 values
    assert (problem.gaps, problem.failed, len(problem.x)) == (0, 18, 22)
    with pytest.raises(InputError, match="at least 10 examples need a finite y"):
        problems.create("none", x, np.where(np.arange(40)[:, None] < 5, y, np.nan), None)


def test_a_constant_output_stays_constant_and_an_empty_one_is_refused() -> None:
    x, y = pairs(300)
    y[:, 1] = np.where(np.isnan(y[:, 1]), np.nan, 7.0)
    assert (problems.create("constant", x, y, None).y[:, 1] == 7.0).all()
    y[:, 1] = np.nan
    with pytest.raises(InputError, match="output 1 of y has no value in any example; leave it out"):
        problems.create("empty", x, y, None)


def test_a_function_that_fails_at_some_outputs_fills_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(500, 2))
    problem = problems.create("root", x, None, ["sqrt(x0)", "x1"])
    assert (problem.gaps, problem.failed) == (0, (x[:, 0] < 0).sum())
    given = np.stack([np.sqrt(np.abs(x[:, 0])), x[:, 1]], 1)
    given[::3, 0] = np.nan
    beside = problems.create("root", x, given, ["sqrt(abs(x0))", "x1"])
    assert beside.gaps == 167
    np.testing.assert_allclose(beside.y[:, 0], np.sqrt(np.abs(x[:, 0])))
    assert stats.kstest(beside.y[:, 1], "norm").pvalue > 1e-3
