"""A study's winner is the same whatever the units of the columns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import vaelab
from vaelab.data import from_arrays

SETTINGS = {"epochs": 30, "layers": 1, "batch_size": 50}
SPACE = {"width": (4, 32, "log"), "latent_dim": (1, 4), "lr": (1e-3, 2e-2, "log")}


def table(factors: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    real = z @ rng.normal(size=(2, 3)) + 0.4 * rng.normal(size=(300, 3))
    real[rng.random(real.shape) < 0.1] = np.nan
    dose = np.exp(2 * z[:, 0] + 0.5 * rng.normal(size=300))
    visits = rng.poisson(np.exp(0.5 + 0.6 * z[:, 1])).astype(float)
    columns = {f"c{j}": real[:, j] * factors[j] for j in range(3)}
    return columns | {"dose": dose * factors[3], "visits": visits}


@pytest.mark.slow
def test_the_winner_is_the_same_in_other_units(tmp_path: Path) -> None:
    """Powers of two round nothing, so that every trial is the same but for the logarithms of the units."""
    exponents, found = (20, -90, 60, 40), []
    for name, factors in (("own", np.ones(4)), ("other", 2.0 ** np.array(exponents))):
        data = from_arrays(table(factors), name=name, types={"dose": "positive", "visits": "count"})
        found.append(
            vaelab.tune(
                data, SPACE, 3, settings=SETTINGS, workers=1, figures="none", final_seeds=1, out=tmp_path / name
            )
        )
    own, other = (study.results for study in found)
    assert own["best"]["number"] == other["best"]["number"]
    assert found[0].best.spec == found[1].best.spec
    # Missing cells have no density: each column counts as often as it is there, on average over validation rows.
    data = from_arrays(table(np.ones(4)), types={"dose": "positive", "visits": "count"})
    there = (~np.isnan(data.rows("validation"))).mean(0)[:4]
    shift = math.log(2) * float(np.dot(there, exponents))
    for before, after in zip(found[0].trials, found[1].trials, strict=True):
        assert before["state"] == after["state"]
        if before["value"] is not None:
            assert after["value"] - before["value"] == pytest.approx(shift, abs=1e-3)
