"""Exploration of data: counts, histograms and duplicates against what was planted and against brute force."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from vaelab.data import Dataset, explore
from vaelab.data.explore import NEAR, class_counts, duplicates, example_rows, histogram


def dataset(x: Any, labels: Any = None, classes: tuple[str, ...] = (), cut: tuple[int, int] = (60, 80)) -> Dataset:
    """A data set whose first rows are training, then validation, then test."""
    x = np.asarray(x)
    a, b = (len(x) * share // 100 for share in cut)
    rows = np.arange(len(x))
    splits = {"train": rows[:a], "validation": rows[a:b], "test": rows[b:]}
    codes = None if labels is None else np.asarray(labels, dtype=np.int64)
    return Dataset("planted", x, splits, codes, classes)


def brute(data: Dataset) -> dict[int, float]:
    """Distance of each test row to its nearest training row, as a share of the typical distance; in float64."""
    train, test = (data.rows(split).astype(np.float64) for split in ("train", "test"))
    if not data.is_image:
        kept = train.std(0) > 0
        scale = train[:, kept].std(0)
        train, test = train[:, kept] / scale, test[:, kept] / scale
    typical = np.sqrt(2 * train.var(0).sum())
    apart = np.sqrt(((test[:, None] - train[None]) ** 2).sum(-1)) / typical
    return dict(zip(data.splits["test"].tolist(), apart.min(1).tolist(), strict=True))


def images(n: int = 400, side: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side), dtype=np.uint8)


# --- duplicates -----------------------------------------------------------------------------------


def test_planted_copies_are_found_with_their_rows() -> None:
    x = images()
    x[350], x[399] = x[7], x[200]
    x[330] = np.clip(x[33].astype(int) + 2, 0, 255)
    x[300] = x[340]  # both in the test split: no leak
    found = duplicates(dataset(x))
    assert (found["exact"], found["near"]) == (2, 1)
    assert [(pair["test"], pair["train"]) for pair in found["pairs"]] == [(350, 7), (399, 200), (330, 33)]
    assert found["pairs"][0]["distance"] == 0
    assert found["pairs"][2]["distance"] == pytest.approx(brute(dataset(x))[330], rel=1e-3)
    assert found["compared"] == {"train": 240, "test": 80}


@pytest.mark.parametrize("kind", ["images", "table", "wide"])
def test_near_duplicates_agree_with_brute_force(kind: str) -> None:
    rng = np.random.default_rng(1)
    if kind == "images":
        x = images(500, 10).astype(np.float32) / 255
    else:
        D = 12 if kind == "table" else 300
        x = rng.standard_normal((500, D)).astype(np.float32) * np.logspace(-3, 3, D).astype(np.float32)
        x[:, 3] = 7.0  # a constant column
    spread = x[:300].std(0)
    for i in range(60):  # at distances around the threshold, so that both sides of it are met
        x[420 + i] = x[i] + spread * rng.standard_normal(x.shape[1:]).astype(np.float32) * i / 60 * 0.25
    data = dataset(x)
    truth = brute(data)
    found = duplicates(data)
    near = {row for row, distance in truth.items() if 0 < distance <= NEAR}
    assert 5 < len(near) < 55
    assert found["exact"] == 1
    assert found["near"] == len(near)
    for pair in found["pairs"]:
        assert pair["distance"] == pytest.approx(truth[pair["test"]], rel=1e-3, abs=1e-6)
    assert [pair["distance"] for pair in found["pairs"]] == sorted(pair["distance"] for pair in found["pairs"])


def test_a_column_below_single_precision_is_constant() -> None:
    x = np.random.default_rng(0).normal(size=(50, 9))
    x[-3:] = x[:3] + 1e-4
    tiny = np.column_stack([x, 1e-120 * x[:, 0]])
    assert duplicates(dataset(tiny)) == duplicates(dataset(x))


def test_few_features_have_no_near_duplicates() -> None:
    x = np.random.default_rng(0).standard_normal((100, 2))
    x[99] = x[0]
    found = duplicates(dataset(x))
    assert found["exact"] == 1
    assert found["near"] is None


def test_negative_zero_equals_zero() -> None:
    x = np.random.default_rng(0).standard_normal((50, 9))
    x[0, 4], x[49] = 0.0, x[0]
    x[49, 4] = -0.0
    x[0, 4] = 0.0
    assert duplicates(dataset(x))["pairs"][0] == {"test": 49, "train": 0, "distance": 0.0}


def test_all_examples_equal() -> None:
    found = duplicates(dataset(np.ones((20, 4, 4))))
    assert found["exact"] == 4
    assert found["near"] is None
    assert len(found["pairs"]) == 4


# --- figures --------------------------------------------------------------------------------------


def test_histogram_counts_training_rows_only() -> None:
    x = np.zeros((10, 3, 3), np.float32)
    x[:6, 0, 0] = [0.5, 0.5, 1, 1, 1, 0]
    x[6:] = 0.25  # not training
    found = histogram(dataset(x))
    assert found["counts"] == [49, 2, 3]
    np.testing.assert_allclose(found["edges"], [-0.25, 0.25, 0.75, 1.25])


def test_histogram_of_grey_levels_and_of_continuous_values() -> None:
    x = images()
    found = histogram(dataset(x))
    np.testing.assert_array_equal(found["counts"], np.bincount(x[:240].ravel() // 4, minlength=64))
    values = np.random.default_rng(0).random((300, 6, 6))
    found = histogram(dataset(values))
    counts, edges = np.histogram(values[:180], 64)
    np.testing.assert_array_equal(found["counts"], counts)
    np.testing.assert_allclose(found["edges"], edges)


def test_class_counts_by_split() -> None:
    labels = [0, 0, 0, 1, 1, 1, 0, 1, 1, 1]
    data = dataset(np.random.default_rng(0).random((10, 9)), labels, ("$a$", "b"))
    assert class_counts(data) == {
        "train": {"$a$": 3, "b": 3},
        "validation": {"$a$": 1, "b": 1},
        "test": {"$a$": 0, "b": 2},
    }
    assert [(name, rows.tolist()) for name, rows in example_rows(data, 2)] == [("$a$", [0, 1]), ("b", [3, 4])]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 3), (9,)])
def test_everything_is_json_and_repeats(shape: tuple[int, ...], labelled: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((60, *shape)).astype(np.float32)
    x[:, 0] = 0.0
    data = dataset(x, rng.integers(0, 2, 60) if labelled else None, ("</script>", "$\\frac") if labelled else ())
    found: Mapping[str, Any] = explore.explore(data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert explore.explore(data) == found
    assert found["constant_features"]["count"] == int(np.prod(shape[1:]))
    assert found["missing"] == 0
    assert (found["histogram"] is None) == (len(shape) == 1)
    assert (found["class_counts"] is None) != labelled


def test_memory_is_bounded() -> None:
    """The products of 3,000 test and 12,000 training rows would be 144 MB at once."""
    data = dataset(np.random.default_rng(0).random((15_000, 10, 10), dtype=np.float32), cut=(80, 80))
    data.statistics  # noqa: B018 - has its own bound
    tracemalloc.start()
    duplicates(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


@pytest.mark.slow
def test_mnist_is_explored_quickly(mnist: Dataset) -> None:
    began = time.process_time()
    found = explore.explore(mnist)
    assert time.process_time() - began < 30  # far above what it takes; a guard against quadratic work
    assert sum(found["histogram"]["counts"]) == len(mnist.splits["train"]) * 784
    assert found["duplicates"]["exact"] == 0
