"""Words of 16 bits are uniform and independent, and dropout follows them."""

import numpy as np
import pytest
import scipy.stats
import torch

from vaelab.engine import draws


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_words_are_uniform_at_every_place_of_a_draw_and_uncorrelated():
    found = draws.words(50_000, 4, generator()).numpy()
    assert found.dtype == np.int16
    for column in found.T:
        counts = np.bincount((column.astype(np.int64) + 2**15) >> 8, minlength=256)
        assert scipy.stats.chisquare(counts).pvalue > 1e-4
        assert scipy.stats.chisquare(np.bincount(column & 255, minlength=256)).pvalue > 1e-4
    off = np.corrcoef(found.T)[np.triu_indices(4, 1)]
    assert (np.abs(off) < 5 / np.sqrt(50_000)).all()


def test_uniforms_are_never_0_or_1():
    u = draws.uniforms(300_000, 1, generator())
    assert 0 < float(u.min()) < 1e-4
    assert 1 - 1e-4 < float(u.max()) < 1
    assert scipy.stats.kstest(u[:, 0].numpy(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 0.99999])
def test_dropout_keeps_its_share_and_the_mean(rate):
    drawn = draws.words(20_000, 5, generator(1))
    found = draws.multipliers(drawn, [3, 2], [16, 32], [rate, 0.0]).numpy()
    assert found.shape == (20_000, 48)
    own, scale = found[:, :3], 1 / (1 - rate)
    assert set(np.unique(own)) <= {0.0, np.float32(scale)}
    error = np.sqrt(rate * (1 - rate) / own.size)
    assert abs((own == 0).mean() - rate) <= 4 * error + 2**-16
    assert (found[:, 16:18] == 1).all()
    assert not found[:, 3:16].any()
    assert not found[:, 18:].any()
