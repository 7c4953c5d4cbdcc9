"""Splits, statistics and scaling against NumPy and numeric derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaelab.data import SPLITS, Scaling, Statistics, dataset, from_arrays, split_rows
from vaelab.errors import InputError

few = settings(max_examples=60, deadline=None)
label_lists = st.lists(st.integers(0, 6), min_size=5, max_size=120)


def assert_partition(splits, n):
    assert tuple(splits) == SPLITS
    assert np.array_equal(np.sort(np.concatenate([splits[name] for name in SPLITS])), np.arange(n))
    assert all(len(splits[name]) >= 1 for name in SPLITS)


@few
@given(label_lists, st.integers(0, 2**63 - 1))
def test_splits_are_disjoint_complete_stratified_and_seeded(labels, seed):
    labels = np.array(labels)
    n = len(labels)
    splits = split_rows(n, labels, seed)
    assert_partition(splits, n)
    for name, share in ("validation", 0.1), ("test", 0.2):
        assert len(splits[name]) == max(1, round(share * n))
        for code in np.unique(labels):
            exact = share * np.sum(labels == code)
            # A class of one or two rows may have lent its only free row to validation.
            assert abs(np.sum(labels[splits[name]] == code) - exact) < 1 + 1e-9
    again = split_rows(n, labels, seed)
    assert all(np.array_equal(splits[name], again[name]) for name in SPLITS)


@few
@given(st.integers(5, 400), st.integers(0, 1000))
def test_unlabelled_splits_have_their_shares(n, seed):
    splits = split_rows(n, None, seed)
    assert_partition(splits, n)
    assert len(splits["validation"]) == max(1, round(0.1 * n))
    assert len(splits["test"]) == max(1, round(0.2 * n))


def test_another_seed_gives_another_split():
    assert not np.array_equal(split_rows(100, None, 0)["test"], split_rows(100, None, 1)["test"])


@few
@given(st.integers(2, 60), st.integers(3, 40), st.integers(0, 100))
def test_an_official_test_split_stays(train, test, seed):
    rows = np.arange(train, train + test)
    splits = split_rows(train + test, None, seed, rows)
    assert_partition(splits, train + test)
    assert np.array_equal(splits["test"], rows)
    assert len(splits["validation"]) == max(1, round(0.1 * train))


def test_every_class_alone_still_gives_three_splits():
    assert_partition(split_rows(5, np.arange(5), 0), 5)


@pytest.mark.parametrize(("n", "test"), [(4, None), (10, np.arange(9)), (10, np.arange(10)), (10, np.arange(0))])
def test_too_few_rows_are_refused(n, test):
    with pytest.raises(InputError, match="add data") as error:
        split_rows(n, None, 0, test)
    assert "\n" not in str(error.value)


def test_statistics_equal_numpys_also_in_small_pieces(monkeypatch):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, 7)) * 0.01 + 1000).astype(np.float32)
    x[:, 3] = 5
    train = rng.permutation(200)[:150]
    monkeypatch.setattr(dataset, "CHUNK_BYTES", 400)
    found = Statistics.of(x, train)
    exact = x[train].astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, exact.std(0), rtol=1e-6, atol=0)
    np.testing.assert_array_equal(found.low, exact.min(0))
    np.testing.assert_array_equal(found.high, exact.max(0))
    assert found.range == (x.min(), x.max())
    assert found.constant.tolist() == [False] * 3 + [True] + [False] * 3


@pytest.mark.parametrize("scale", [1e-140, 1e-160, 1e-200, 1e-299])
def test_statistics_of_numbers_whose_squares_are_0(scale):
    x = np.random.default_rng(0).normal(3, [1, 2, 3], size=(200, 3)).clip(-9, 9)
    x[::7, 1], x[:, 2] = np.nan, 5
    found = Statistics.of(x * scale, np.arange(150))
    np.testing.assert_allclose(found.mean / scale, np.nanmean(x[:150], 0), rtol=1e-12)
    np.testing.assert_allclose(found.std / scale, np.nanstd(x[:150], 0), rtol=1e-12, atol=0)
    model = Scaling.standardised(from_arrays(x * scale)).to_model(x[:, :2] * scale)
    assert np.nanstd(model, 0) == pytest.approx([1, 1], rel=0.2)


def test_a_column_that_varies_less_than_float64_resolves_is_refused():
    x = np.random.default_rng(0).normal(size=(50, 2)) * [1, 1e-310]
    with pytest.raises(
        InputError, match=r"must vary by 1e-300 or more, but '1' varies by .*e-310; rescale it, or drop"
    ):
        Scaling.standardised(from_arrays(x))


@few
@given(st.integers(0, 10_000), st.sampled_from(["table", "image", "8-bit", "constant column"]))
def test_scaling_there_and_back_is_the_identity(seed, kind):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(30, 4)) * 10.0 ** rng.integers(-3, 4) + rng.normal()).astype(np.float32)
    if kind == "constant column":
        x[:, 2] = 7.5
    if kind == "image":
        x = x.reshape(30, 2, 2)
    if kind == "8-bit":
        x = rng.integers(0, 256, size=(30, 2, 2)).astype(np.uint8)
        x[0, 0, 0] = 255
    data = from_arrays(x, seed=seed)
    scaling = Scaling.standardised(data)
    model = scaling.to_model(data.flat)
    assert model.shape == (30, 3 if kind == "constant column" else 4)
    back = scaling.to_own(model, data.shape)
    assert back.shape == x.shape
    np.testing.assert_allclose(back, x.astype(np.float32), rtol=1e-4, atol=2e-6 * np.abs(x.astype(float)).max())


def test_a_standardised_table_has_mean_0_and_deviation_1_in_training():
    data = from_arrays(np.random.default_rng(0).gamma(2.0, size=(500, 3)) * [1, 10, 1000])
    model = Scaling.standardised(data).to_model(data.rows("train"))
    np.testing.assert_allclose(model.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(model.std(0), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(40, 5), (40, 2, 3)])
def test_log_jacobian_is_the_determinant_of_the_map(shape):
    data = from_arrays(np.random.default_rng(1).normal(size=shape) * 3 + 2)
    scaling = Scaling.standardised(data)
    d = data.flat.shape[1]
    at, step = np.zeros(d), 0.5
    columns = [
        (scaling.to_own(at + step * unit, (d,)) - scaling.to_own(at - step * unit, (d,))) / (2 * step)
        for unit in np.eye(d)
    ]
    numeric = np.linalg.slogdet(np.stack(columns, 1).astype(np.float64))[1]
    assert scaling.log_jacobian(d) == pytest.approx(numeric, rel=1e-5)


def test_8bit_scaling_for_both_kinds_of_likelihood():
    data = from_arrays(np.arange(80, dtype=np.uint8).reshape(20, 2, 2) * 3)
    masses, density = Scaling.to_unit_interval(data), Scaling.standardised(data)
    np.testing.assert_allclose(masses.to_model(data.flat), data.flat / 255, rtol=1e-6)
    # the middle of the cell [level, level + 1) that dequantisation spreads a grey level over
    np.testing.assert_allclose(density.to_model(data.flat), (data.flat + 0.5) / 256, rtol=1e-6)
    assert density.dequantise
    assert not masses.dequantise


def test_bernoulli_refuses_values_outside_0_and_1():
    data = from_arrays(np.arange(20.0).reshape(10, 2))
    with pytest.raises(InputError, match=r"values in \[0, 1\], but the data range from 0 to 19; rescale"):
        Scaling.to_unit_interval(data)


def test_rows_and_labels_of_a_split_belong_together():
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    data = from_arrays(x, np.arange(20) // 2 % 5)
    for split in SPLITS:
        np.testing.assert_array_equal(data.rows(split)[:, 0] // 4 % 5, data.labels_of(split))


def test_the_fingerprint_follows_content_type_splits_and_labels():
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    y = np.arange(20) % 2
    base = from_arrays(x, y)
    changed = x.copy()
    changed[7, 1] = -1
    assert from_arrays(x.copy(), y).fingerprint == base.fingerprint
    for other in (
        from_arrays(changed, y),
        from_arrays(x.astype(np.uint8), y),
        from_arrays(x, y, seed=1),
        from_arrays(x, 1 - y),
        from_arrays(x),
    ):
        assert other.fingerprint != base.fingerprint
