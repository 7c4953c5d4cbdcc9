"""The unit of a column changes nothing but the unit: scores, latents, clusters, anomalies, filled cells, draws."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import vaelab
from vaelab.api.cluster import cluster
from vaelab.data import Dataset, from_arrays
from vaelab.latent.row_scores import score_rows
from vaelab.vae.fitted import Fitted

pytestmark = pytest.mark.slow

ROWS, COLUMNS = 160, 5
NAMES = [f"c{j}" for j in range(COLUMNS)]
SETTINGS: dict[str, Any] = {"latent_dim": 2, "hidden": "16", "epochs": 3, "lr": 1e-2}
POWERS = st.lists(st.integers(-34, 34), min_size=COLUMNS, max_size=COLUMNS)
FEW = settings(max_examples=3, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))


@functools.cache
def table() -> np.ndarray:
    """Two groups on two factors, the last column positive and far from 0, with a few cells missing."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(ROWS, 2)) + 3 * rng.integers(0, 2, (ROWS, 1))
    x = factors @ rng.normal(size=(2, COLUMNS)) + 0.3 * rng.normal(size=(ROWS, COLUMNS))
    x[:, -1] = np.exp(x[:, -1])
    x[rng.random(x.shape) < 0.02] = np.nan
    return x


def data_in(units: np.ndarray) -> Dataset:
    return from_arrays(dict(zip(NAMES, (table() * units).T, strict=True)))


def trained_in(units: np.ndarray) -> tuple[Fitted, Dataset]:
    data = data_in(units)
    with tempfile.TemporaryDirectory() as folder:
        model = vaelab.train(data, SETTINGS, out=Path(folder) / "run", figures=False).model
    model.folder = None  # which is gone
    return model, data


@functools.cache
def plain() -> tuple[Fitted, Dataset]:
    return trained_in(np.ones(COLUMNS))


def log_units(units: np.ndarray) -> np.ndarray:
    """What the log-density of each row loses by the units of its cells that are there."""
    return np.where(np.isnan(table()), 0.0, np.log(units)).sum(1)


@FEW
@given(POWERS)
def test_scores_latents_cells_and_draws(powers: list[int]) -> None:
    """In powers of ten numbers are rounded otherwise, so a row in hundreds has its noise from another key."""
    units = 10.0 ** np.array(powers)
    (model, data), (known, original) = trained_in(units), plain()
    assert [column.kind for column in data.columns] == [column.kind for column in original.columns]
    np.testing.assert_allclose(model.encode(data.x)[0], known.encode(original.x)[0], atol=1e-4)
    apart = np.abs(model.score_samples(data.x) - (known.score_samples(original.x) - log_units(units)))
    assert np.quantile(apart, 0.97) < 1e-3
    sd = np.nanstd(original.x, 0)
    for made, before in (
        (model.impute(data.x), known.impute(original.x)),
        (model.sample(20, 1, noise=True), known.sample(20, 1, noise=True)),
    ):
        np.testing.assert_allclose(made / units / sd, before / sd, atol=1e-3)


@FEW
@given(POWERS)
def test_powers_of_two_are_exact(powers: list[int]) -> None:
    units = 2.0 ** np.array(powers)
    (model, data), (known, original) = trained_in(units), plain()
    np.testing.assert_array_equal(model.encode(data.x)[0], known.encode(original.x)[0])
    np.testing.assert_allclose(model.score_samples(data.x) + log_units(units), known.score_samples(original.x), 1e-5)


@FEW
@given(POWERS)
def test_anomalies(powers: list[int]) -> None:
    units = 10.0 ** np.array(powers)
    (model, data), (known, original) = trained_in(units), plain()
    strange = table()[:40].copy()
    strange[3, 1], strange[9, 4] = 80.0, 1e12
    found, before = score_rows(model, data, strange * units, 0.05), score_rows(known, original, strange, 0.05)
    assert (np.abs(found.p_value - before.p_value) < 0.01).mean() >= 0.9  # others rank beside one with another key
    for row in (3, 9):
        assert found.is_anomaly[row]
        assert [reason.column for reason in found.strange[row]] == [reason.column for reason in before.strange[row]]


@FEW
@given(POWERS)
def test_clusters(powers: list[int]) -> None:
    names = []
    for units in (np.ones(COLUMNS), 10.0 ** np.array(powers)):
        with tempfile.TemporaryDirectory() as folder:
            made = cluster(
                data_in(units), settings=SETTINGS, components=(1, 2, 3), em_starts=1, figures=False,
                out=Path(folder) / "clusters",
            )  # fmt: skip
            names.append((made.results["components"], [own["rows"] for own in made.results["described"]]))
    assert names[0] == names[1]


def test_rows_beyond_single_precision_are_far_out_and_finite() -> None:
    model, _ = plain()
    rows = np.tile(np.nan_to_num(table()[:1]), (6, 1)) + 1
    rows[:, 0] = [1e0, 1e5, 1e20, 1e38, 1e45, 1e149]
    scores = model.score_samples(dict(zip(NAMES, rows.T, strict=True)))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 0).all()
