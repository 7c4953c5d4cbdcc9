"""Kinds of columns as a person of the field would name them, on real tables, made ones, and hostile ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import datasets

from vaelab.data import from_arrays
from vaelab.data.types import infer

RNG = np.random.default_rng(0)
N = 500


def kinds(x):
    return infer(np.asarray(x, dtype=np.float64))


def kind(values):
    return kinds(np.asarray(values, dtype=np.float64)[:, None])[0]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("load_iris", {}),
        ("load_wine", {}),
        ("load_diabetes", {}),
        ("load_breast_cancer", {"area error": "positive", "fractal dimension error": "positive"}),
    ],
)
def test_tables_of_scikit_learn(name, others):
    data = from_arrays(getattr(datasets, name)(as_frame=True).data)
    assert {each.name: each.kind for each in data.columns if each.kind != "real"} == others
    assert data.notes == ()


def test_grey_levels_are_no_counts():
    assert set(kinds(datasets.load_digits().data)) == {"real"}
    pixels = RNG.integers(0, 256, (N, 30))
    pixels[0] = 255
    assert set(kinds(pixels)) == {"real"}


MADE = {
    "measurements": (RNG.normal(170, 10, N), "real"),
    "whole measurements": (RNG.normal(170, 10, N).round(), "real"),
    "ages": (RNG.integers(18, 90, N), "real"),
    "signed": (RNG.integers(-5, 6, N), "real"),
    "flags": (RNG.integers(0, 2, N), "binary"),
    "one and two": (RNG.integers(1, 3, N), "binary"),
    "codes with gaps": (np.array([3, 6, 7])[RNG.integers(0, 3, N)], "categorical"),
    "four classes": (RNG.integers(1, 5, N), "categorical"),
    "grades": (np.clip(RNG.normal(5.6, 0.8, N).round(), 3, 8), "ordinal"),
    "children": (RNG.poisson(1.2, N), "count"),
    "visits": (RNG.negative_binomial(0.5, 0.05, N), "count"),
    "reads": (RNG.negative_binomial(0.3, 0.0005, N), "count"),
    "concentrations": (RNG.lognormal(0, 2, N), "positive"),
    "populations": (RNG.lognormal(7, 2, N).round() + 1, "positive"),
    "places in order": (np.arange(N) % 60, "real"),
    "shares": (RNG.random(N), "real"),
    "skewed with zeros": (np.maximum(RNG.lognormal(0, 2, N) - 0.5, 0), "real"),
    "constant": (np.full(N, 3.0), "real"),
    "nothing": (np.full(N, np.nan), "real"),
    "one value": (np.where(np.arange(N) == 3, 1.5, np.nan), "real"),
    "years": (RNG.integers(1990, 2021, N), "real"),
}


@pytest.mark.parametrize(("values", "expected"), MADE.values(), ids=MADE)
def test_made_columns(values, expected):
    assert kind(values) == expected
    holes = np.where(RNG.random(N) < 0.2, np.nan, values)
    assert kind(holes) == expected


def test_few_rows_are_real_unless_all_are_flags():
    assert kinds(RNG.integers(0, 3, (10, 2))) == ["real", "real"]
    assert kinds(RNG.integers(0, 2, (10, 2))) == ["binary", "binary"]


def test_wide_tables_of_whole_numbers_are_counts():
    rate = RNG.gamma(0.3, 10, 60)
    cells = RNG.poisson(rate * RNG.gamma(2, 0.5, N)[:, None])
    assert set(kinds(cells)) == {"count"}
    bulk = RNG.poisson(RNG.lognormal(5, 2.5, 200) * np.ones((6, 1)))  # few rows, few zeros
    assert set(kinds(bulk)) == {"count"}
    survey = RNG.integers(1, 6, (N, 40))
    assert "count" not in kinds(survey)


def test_ids_are_named_and_rare_columns():
    x = {
        "patient_id": RNG.permutation(100_000)[:N],
        "row": np.arange(N) + 7,
        "weight": RNG.normal(70, 9, N),
        "grams": RNG.permutation(100_000)[:N],
        "spike": np.where(np.arange(N) % 250 == 0, 1.5, 0.0),
    }
    notes = " ".join(from_arrays(x).notes)
    assert "'patient_id', 'row' look like ids" in notes
    assert "grams" not in notes
    assert "'spike'" in notes


def test_kinds_do_not_depend_on_the_order_of_rows():
    for values, expected in MADE.values():
        assert kind(RNG.permutation(values)) == expected
