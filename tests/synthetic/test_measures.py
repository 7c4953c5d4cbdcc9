"""The measures of synthetic rows, against closed forms, scipy and brute force."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from vaelab.data import Column, Reading
from vaelab.synthetic import associations, boosting, drawing, marginals, nearest, validity
from vaelab.synthetic.run import remedy

A, B, N = "abcd", (0.0, 1.0, 2.0, 3.0), 400
NUMBER, COUNT, POSITIVE = Column("number"), Column("count", "count"), Column("positive", "positive")
LEVEL = Column("level", "categorical", tuple(A), B)
OTHER = Column("other", "binary", ("no", "yes"), (0.0, 1.0))
GRADE = Column("grade", "ordinal", tuple(A), B)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Number, level, other and grade: all depend on each other; some cells are missing."""
    rng = np.random.default_rng(0)
    number = rng.normal(size=N)
    level = np.clip(np.round(number + rng.normal(size=N)), -1, 2) + 1
    other = (level + rng.normal(size=N) > 1.5).astype(float)
    grade = np.clip(np.round(number + 0.5 * rng.normal(size=N)), 0, 3)
    found = np.stack([number, level, other, grade], 1)
    found[rng.random(found.shape) < 0.1] = np.nan
    return found


def test_marginals_are_those_of_scipy_and_by_hand(rows: np.ndarray) -> None:
    first, second = rows[:200], rows[200:]
    number, level = marginals.marginals([NUMBER, LEVEL], second[:, :2], first[:, :2], second[:, :2])
    a, b = (part[~np.isnan(part[:, 0]), 0] for part in (first, second))
    assert number["distance"] == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert number["distance"] == number["of_training"]
    assert (number["mean"]["test"], number["sd"]["synthetic"]) == (pytest.approx(a.mean()), pytest.approx(b.std()))
    shares = [[np.mean(part[~np.isnan(part[:, 1]), 1] == value) for value in B] for part in (first, second)]
    assert level["distance"] == pytest.approx(sum(abs(p - q) for p, q in zip(*shares, strict=True)) / 2)
    assert list(level["shares"]["test"].values()) == pytest.approx(shares[0])


def test_a_column_without_values_has_no_distance() -> None:
    full, empty = np.zeros((5, 1)), np.full((5, 1), np.nan)
    found = marginals.marginals([NUMBER], full, full, empty)[0]
    assert (found["distance"], found["of_training"], found["mean"]["synthetic"]) == (None, 0.0, None)


def test_associations_are_those_of_scipy(rows: np.ndarray) -> None:
    found = associations.associations([NUMBER, LEVEL, OTHER, GRADE], rows)
    np.testing.assert_array_equal(found, found.T)
    complete = rows[~np.isnan(rows).any(1)]
    own = associations.associations([NUMBER, LEVEL, OTHER, GRADE], complete)
    n = len(complete)
    assert own[0, 3] == pytest.approx(stats.spearmanr(complete[:, 0], complete[:, 3]).statistic)
    # Bergsma: phi^2 and the numbers of levels, each less what chance gives.
    table = stats.contingency.crosstab(complete[:, 1], complete[:, 2]).count
    phi2 = stats.chi2_contingency(table, correction=False).statistic / n - 3 * 1 / (n - 1)
    assert own[1, 2] == pytest.approx(math.sqrt(phi2 / (2 - 1 / (n - 1) - 1)))
    # The F test of ranks between levels gives eta^2.
    ranks = stats.rankdata(complete[:, 0])
    F = stats.f_oneway(*(ranks[complete[:, 1] == value] for value in B)).statistic
    eta2 = 3 * F / (3 * F + n - 4)
    assert own[0, 1] == pytest.approx(math.sqrt(1 - (1 - eta2) * (n - 1) / (n - 4)))
    np.testing.assert_allclose(found, own, atol=0.12)  # fewer rows of the same


def test_associations_of_pairs_are_over_the_rows_that_both_have(rows: np.ndarray) -> None:
    both = rows[~np.isnan(rows[:, 1]) & ~np.isnan(rows[:, 2])][:, 1:3]
    assert associations.associations([LEVEL, OTHER], rows[:, 1:3])[0, 1] == pytest.approx(
        associations.associations([LEVEL, OTHER], both)[0, 1]
    )
    apart = np.full((40, 2), np.nan)
    apart[:20, 0], apart[20:, 1] = 1, 0
    assert np.isnan(associations.associations([LEVEL, OTHER], apart)[0, 1])


def test_independent_columns_have_little_association_and_constant_ones_none() -> None:
    rng = np.random.default_rng(1)
    x = np.stack([rng.normal(size=2_000), rng.integers(4, size=2_000), rng.integers(2, size=2_000)], 1)
    found = associations.associations([NUMBER, LEVEL, OTHER], x) - np.eye(3)
    assert np.abs(found).max() < 0.06
    x[:, 0], x[:, 2] = 3.0, 1.0
    for constant in (np.nan, 0.0):
        expected = np.where(np.eye(3) == 1, 1.0, constant)
        found = associations.associations([NUMBER, LEVEL, OTHER], x, constant)
        np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])


def test_comparing_associations_averages_over_pairs(rows: np.ndarray) -> None:
    columns = [NUMBER, LEVEL, OTHER]
    train, test = rows[:200, :3], rows[200:, :3]
    shuffled = np.random.default_rng(0).permuted(train, axis=0)
    found = associations.compare(columns, train, test, shuffled)
    matrices = [associations.associations(columns, part) for part in (test, shuffled)]
    apart = np.abs(matrices[0] - matrices[1])[np.triu_indices(3, 1)]
    assert found["difference"] == pytest.approx(apart.mean())
    assert found["pairs"] == 3
    assert found["difference"] > 3 * found["of_training"]


def test_a_pair_without_an_association_in_real_rows_is_not_ranked() -> None:
    """A number that is there only for one level, as the size of a garden, has none with that level."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(size=400), np.arange(400) % 2, rng.normal(size=400)], 1)
    real = np.where((rows[:, [1]] == 0) & [True, False, False], np.nan, rows)
    made = rows + np.array([2.0, 0, 0]) * rows[:, [1]]  # it is there for both, and differs
    found = associations.compare([NUMBER, OTHER, POSITIVE], real[:200], real[200:], made)
    assert [own["columns"] for own in found["largest"]] == [["number", "positive"], ["other", "positive"]]
    assert found["matrices"]["test"][0][1] is None
    still = np.where([False, False, True], 1.0, made)  # missed by synthetic rows alone
    assert associations.compare([NUMBER, OTHER, POSITIVE], real[:200], real[200:], still)["pairs"] == 2


def test_rows_of_one_distribution_cannot_be_told_apart_even_by_missing_cells() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(2, 600, 3))
    real[rng.random(real.shape) < 0.4] = np.nan
    found = boosting.two_sample([NUMBER, POSITIVE, COUNT], real, made)
    assert abs(found["auc"] - 0.5) < 3 * found["se"]
    assert found["rows"] == 600


def test_shifted_rows_are_told_apart_as_well_as_is_possible() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(600, 1)), 2 + rng.normal(size=(600, 1))
    found = boosting.two_sample([NUMBER], real, made)
    best = stats.norm.cdf(2 / math.sqrt(2))  # of the likelihood ratio
    assert best - 0.05 < found["auc"] < best + 3 * found["se"]
    # Hanley and McNeil's standard error of that area, for two exponentials.
    q1, q2 = best / (2 - best), 2 * best**2 / (1 + best)
    se = math.sqrt((best * (1 - best) + 599 * (q1 - best**2 + q2 - best**2)) / 600**2)
    assert found["se"] == pytest.approx(se, rel=0.4)


def test_what_is_learned_from_copies_is_what_is_learned_from_training_rows(rows: np.ndarray) -> None:
    train, test = rows[:250, :3], rows[250:, :3]
    columns = [NUMBER, LEVEL, OTHER]
    noise = np.random.default_rng(0).permuted(train, axis=0)
    for target in (0, 2):
        same = boosting.usefulness(columns, target, train, test, train)
        other = boosting.usefulness(columns, target, train, test, noise)
        assert same is not None
        assert other is not None
        assert abs(same["difference"]) < 3 * same["se"] + 0.05  # masked otherwise
        assert other["difference"] < -2 * other["se"]
        assert same["real"] > same["chance"] + 0.1
    answers, known = test[:, 2], train[:, 2]
    share = np.nanmean(answers == (np.nanmean(known) > 0.5))
    assert same["chance"] == pytest.approx(share * len(answers) / (~np.isnan(answers)).sum())


def test_a_column_that_hardly_varies_is_not_learned() -> None:
    x = np.stack([np.arange(60.0), np.ones(60)], 1)
    assert boosting.usefulness([NUMBER, OTHER], 1, x, x, x) is None
    assert boosting.usefulness([NUMBER], 0, x[:, :1], x[:, :1], x[:, :1]) is None


def test_distances_are_those_of_a_loop(rows: np.ndarray) -> None:
    train, some = rows[:60, :3], rows[60:80, :3]
    std = np.nanstd(train[:, 0])
    found = nearest.distances([NUMBER, LEVEL, OTHER], some, train)
    for row, distance in zip(some, found, strict=True):
        each = []
        for other in train:
            parts = [abs(row[0] - other[0]) / std, float(row[1] != other[1]), float(row[2] != other[2])]
            there = ~np.isnan(row) & ~np.isnan(other)
            each.append(np.mean([part for part, both in zip(parts, there, strict=True) if both]) if there.any() else 9)
        assert distance == pytest.approx(min(each))


def test_positive_numbers_are_as_far_apart_as_their_ratio() -> None:
    train = np.array([[1.0], [math.e**2]])  # the standard deviation of logarithms is 1
    assert nearest.distances([POSITIVE], np.array([[math.e]]), train) == pytest.approx([1.0])


def test_copies_are_counted(rows: np.ndarray) -> None:
    complete = rows[~np.isnan(rows).any(1)]
    train, test = complete[:100], complete[100:200]
    made = np.concatenate([train[:30], test[:10]])
    found, distances = nearest.nearest([NUMBER, LEVEL, OTHER, GRADE], train, test, made)
    assert found["copies"] == {"test": 0, "synthetic": 30}
    assert found["closer"]["test"] == pytest.approx(0.05)
    assert found["closer"]["synthetic"] >= 30 / 40
    assert len(distances["test"]) == 100


def test_invalid_cells_are_found_and_are_as_missing() -> None:
    columns = [LEVEL, COUNT, POSITIVE, NUMBER, Column("day", "date")]
    table = {
        "level": np.array(["a", "e", None, "d"], object),
        "count": np.array([1.0, 2.5, -1.0, np.nan]),
        "positive": np.array(["0.5", "0", "x", None], object),
        "number": np.array([1.0, -2.0, 3.0, np.nan]),
        "day": np.array(["2024-02-29", "2023-02-29", None, "2024-03-01"], object),
    }
    rows, invalid, such_as = validity.checked(table, columns, Reading())
    np.testing.assert_array_equal(
        invalid,
        [[0, 0, 0, 0, 0], [1, 1, 1, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]],
    )
    assert such_as == ["e", "2.5", "0", "", "2023-02-29"]
    assert np.isnan(rows[invalid]).all()
    assert rows[0].tolist() == [0.0, 1.0, 0.5, 1.0, 19_782.0]
    found = validity.validity(columns, rows, invalid, such_as, np.zeros((2, 5)))
    assert found["valid"] == 0.5
    assert {own["column"]: own["cells"] for own in found["invalid"]} == {
        "level": 1,
        "count": 2,
        "positive": 2,
        "day": 1,
    }
    assert {"column": "number", "cells": 3} in found["beyond_training"]
    assert found["missing_cells"] == 5


def test_dates_may_be_written_as_in_the_table_or_as_drawn() -> None:
    column = Column("day", "date")
    reading = Reading.create(types={"day": "date %d/%m/%Y"})
    for texts in (["13/01/2024", "01/02/2024"], ["2024-01-13", "2024-02-01"]):
        rows, invalid, _ = validity.checked({"day": np.array(texts, object)}, [column], reading)
        assert rows[:, 0].tolist() == [19_735.0, 19_754.0]
        assert not invalid.any()


@pytest.mark.parametrize(
    ("decimals", "known", "drawn", "expected"),
    [
        (0, [0.0, 70.0], [43.948, -3.0, 99.0], [44.0, 0.0, 70.0]),
        (2, [0.5, 1.25], [0.777, 2.0], [0.78, 1.25]),
        (None, [1e-12, 3.3333333e-12], [2.2e-12], [2.2e-12]),
        (1, [np.float32(143.8), np.float32(0.1)], [99.97], [100.0]),
    ],
)
def test_numbers_are_written_as_in_the_table(
    decimals: int | None, known: list[float], drawn: list[float], expected: list[float]
) -> None:
    column = dataclasses.replace(NUMBER, decimals=decimals)
    found = drawing.as_recorded(np.array(drawn)[:, None], [column], np.array(known)[:, None])
    assert found[:, 0].tolist() == pytest.approx(expected, abs=1e-15)


def test_values_at_the_ends_of_a_range_are_told_where_real_ones_are_not_there() -> None:
    rng = np.random.default_rng(0)
    train = np.stack([np.exp(rng.normal(size=500)), rng.normal(size=500), np.maximum(rng.normal(size=500), 0)], 1)
    columns = [Column(name, "real") for name in ("skewed", "normal", "often zero")]
    drawn = train.mean(0) + train.std(0) * rng.normal(size=(2_000, 3))
    made = drawing.as_recorded(drawn, columns, train)
    ((column, share, real),) = drawing.at_ends(columns, train, made)
    assert (column, real) == (0, 2 / 500)
    assert share == np.mean((drawn[:, 0] <= train[:, 0].min()) | (drawn[:, 0] >= train[:, 0].max()))
    assert drawing.at_ends(columns, train, train) == []
    assert "positive" in remedy(Column("x", "real"), train[:, 0])
    assert remedy(Column("x", "date"), train[:, 0]) == remedy(Column("x", "real"), train[:, 1]) == ""
