"""Noise keyed by content: the same example draws the same noise anywhere; otherwise it is as good as random."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from vaelab.data import Scaling
from vaelab.engine import noise
from vaelab.engine.rows import Units


@pytest.fixture
def rows():
    return torch.tensor(np.random.default_rng(0).normal(size=(500, 12)), dtype=torch.float32)


def test_noise_does_not_depend_on_the_order_or_the_company_of_rows(rows):
    all_noise = noise.normal(noise.row_keys(rows), 4, 6)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
    assert torch.equal(noise.normal(noise.row_keys(rows[order]), 4, 6), all_noise[:, order])
    some = [3, 77, 400]
    assert torch.equal(noise.normal(noise.row_keys(rows[some]), 4, 6), all_noise[:, some])
    assert torch.equal(noise.normal(noise.row_keys(rows[[9]]), 4, 6), all_noise[:, [9]])


def test_equal_examples_draw_equal_noise_and_different_ones_do_not(rows):
    twins = rows[[5, 5, 6]]
    keys = noise.row_keys(twins)
    assert keys[0] == keys[1]
    assert len(noise.row_keys(rows).unique()) == len(rows)
    nearly = rows.clone()
    nearly[:, 3] = torch.nextafter(rows[:, 3], torch.tensor(math.inf))
    assert (noise.row_keys(nearly) != noise.row_keys(rows)).all()


def test_keys_tell_apart_permuted_features_and_near_8bit_rows():
    rows = torch.eye(30, dtype=torch.uint8)
    assert len(noise.row_keys(torch.cat([rows, 2 * rows, rows.flip(0) + rows])).unique()) == 30 + 30 + 15


def test_draws_and_dimensions_are_prefixes_of_more_of_them(rows):
    keys = noise.row_keys(rows)
    many = noise.normal(keys, 10, 8)
    assert torch.equal(noise.normal(keys, 3, 5), many[:3, :, :5])
    assert torch.equal(noise.normal(keys, 4, 8, first=6), many[6:])


def test_streams_are_independent_of_each_other(rows):
    keys = noise.row_keys(rows)
    latent, pixel = (noise.uniform(keys, stream, 1, 40).flatten() for stream in ("latent", "pixel"))
    assert (latent != pixel).all()
    assert abs(np.corrcoef(latent, pixel)[0, 1]) < 4 / math.sqrt(len(latent))


def test_uniforms_are_uniform(rows):
    u = noise.uniform(noise.row_keys(rows), "latent", 8, 10)
    assert u.dtype == torch.float64
    assert ((u > 0) & (u < 1)).all()
    assert scipy.stats.kstest(u.flatten(), "uniform").pvalue > 1e-3
    for bits in (2, 3):  # pairs of consecutive draws, in both directions, fill the square evenly
        cells = 2**bits
        for one, other in ((u[:-1], u[1:]), (u[..., :-1], u[..., 1:])):
            cell = (one * cells).long() * cells + (other * cells).long()
            counts = torch.bincount(cell.flatten(), minlength=cells**2)
            assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_uniforms_of_extreme_bits_stay_inside_the_open_interval(monkeypatch):
    """All bits 0 and all bits 1: a 0 or a 1 would become an infinite normal."""
    for bits in (0, -1):
        monkeypatch.setattr(noise, "_mix", lambda z, bits=bits: torch.full_like(z, bits))
        u = noise.uniform(torch.zeros(1, dtype=torch.int64), "latent", 1, 1)
        assert 0 < float(u) < 1
        assert torch.isfinite(torch.special.ndtri(u)).all()


def test_normals_are_normal_and_independent_between_draws_dimensions_and_rows(rows):
    eps = noise.normal(noise.row_keys(rows), 10, 8)  # (draws, rows, dims)
    assert scipy.stats.kstest(eps.flatten(), "norm").pvalue > 1e-3
    n = eps.numel()
    assert abs(float(eps.mean())) < 4 / math.sqrt(n)
    assert abs(float(eps.square().mean()) - 1) < 4 * math.sqrt(2 / n)
    for axis in range(3):
        a, b = eps.narrow(axis, 0, eps.shape[axis] - 1), eps.narrow(axis, 1, eps.shape[axis] - 1)
        product = (a * b).mean()
        assert abs(float(product)) < 4 / math.sqrt(a.numel())


def test_rows_that_differ_in_one_value_have_unrelated_noise():
    """A linear hash without a finaliser would give these rows keys a constant step apart."""
    rows = torch.zeros(400, 3)
    rows[:, 1] = torch.arange(400)
    eps = noise.normal(noise.row_keys(rows), 5, 5)
    a, b = eps[:, :-1].flatten(), eps[:, 1:].flatten()
    assert abs(float((a * b).mean())) < 4 / math.sqrt(len(a))
    assert scipy.stats.kstest(eps.flatten(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_certain_pixels_are_binarised_with_certainty_even_by_the_largest_uniform(monkeypatch, binarize):
    """1 - 2^-53 rounds to 1 in float32, and 1 < 1 is false."""
    monkeypatch.setattr(
        noise, "uniform", lambda keys, *_: torch.full((1, len(keys), 2), 1 - 2.0**-53, dtype=torch.float64)
    )
    scaling = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32))
    x = Units(scaling, binarize, torch.device("cpu")).fixed(torch.tensor([[1.0, 0.0]]), torch.zeros(1).long())
    assert x.tolist() == [[1.0, 0.0]]


def test_pixels_are_on_as_often_as_their_grey_value_says():
    scaling = Scaling(np.zeros(1, np.float32), np.full(1, 255, np.float32))
    raw = torch.tensor(np.random.default_rng(0).integers(0, 256, size=(2000, 30)), dtype=torch.uint8)
    x = Units(scaling, "fixed", torch.device("cpu")).fixed(raw, noise.row_keys(raw))
    p = raw.double() / 255
    assert abs(float((x - p).sum())) < 4 * math.sqrt(float((p * (1 - p)).sum()))
    assert abs(float(((x - p) * (p - 0.5)).sum())) < 4 * math.sqrt(float((p * (1 - p) * (p - 0.5) ** 2).sum()))
