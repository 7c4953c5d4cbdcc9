"""What drives what: a linear model's own weights, scikit-learn's R^2, columns that share nothing, the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score

from pictures import picture
from vaelab.api.train import train
from vaelab.data import from_arrays, load
from vaelab.data.dataset import Dataset
from vaelab.plots import plot_drivers
from vaelab.report.about_columns import drivers_tables
from vaelab.vae.drivers import ROWS, drivers
from vaelab.vae.fitted import Fitted

LINEAR = {"hidden": "none", "latent_dim": 2, "lr": 2e-2, "epochs": 60}


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Dataset]:
    """Five columns on two factors, and one that shares nothing with them."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(900, 2))
    loadings = np.array([[1.0, 1.0, 0.0, 0.0, 0.7], [0.0, 0.0, 1.0, -1.0, 0.7]])
    x = np.concatenate([z @ loadings + 0.2 * rng.normal(size=(900, 5)), rng.normal(size=(900, 1))], 1)
    names = ["a", "b", "c", "d", "both", "alone"]
    data = from_arrays(x * [1, 10, 1e3, 1e-3, 1, 1] + 5, features=names)
    return train(data, LINEAR, out=tmp_path_factory.mktemp("linear") / "run", figures=False).model, data


def test_effects_are_the_weights_of_a_linear_decoder(linear: tuple[Fitted, Dataset]) -> None:
    fitted, data = linear
    found = drivers(fitted, data)
    assert found is not None
    assert len(found["latents"]) == 2
    z = fitted.encode(data.flat[data.splits["validation"][:ROWS]])[0]
    weights = fitted.model.unpad(fitted.row[0], fitted.spec)["decoder.0.weight"].numpy()
    for k, effect in zip(found["latents"], found["effects"], strict=True):
        low, high = np.quantile(z[:, k - 1], (0.1, 0.9))
        np.testing.assert_allclose(effect, (high - low) * weights[k - 1], atol=2e-3)
    assert found["information"] == sorted(found["information"], reverse=True)


def test_what_moves_latents_and_what_they_explain(linear: tuple[Fitted, Dataset]) -> None:
    fitted, data = linear
    found = drivers(fitted, data)
    assert found is not None
    rows = data.flat[data.splits["validation"][:ROWS]]
    made = fitted.reconstruct(rows)
    explained = dict(found["explained"])
    for j, name in enumerate(data.features):
        assert explained[name] == pytest.approx(r2_score(rows[:, j], made[:, j]), abs=1e-3)
    assert explained["alone"] < 0.1 < 0.8 < min(explained[name] for name in "abcd")
    for moves, by in zip(found["moves"], found["moved_by"], strict=True):
        shared = {"a", "b", "both"} if moves[0][0] in ("a", "b") else {"c", "d", "both"}
        assert {name for name, _ in by[:2]} <= shared
        assert dict(by).get("alone", 0.0) < 0.1 * by[0][1]


def test_levels_missing_cells_conditions_and_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n = 400
    z = rng.normal(size=n)
    table: dict[str, Any] = {
        "size": np.exp(z + 0.1 * rng.normal(size=n)), "kind": np.where(z > 0, "long", "short").astype(object),
        "visits": rng.poisson(np.exp(1 + z)).astype(float),
        "batch": np.array(["A", "B"], dtype=object)[rng.integers(0, 2, n)],
    }  # fmt: skip
    table["size"][::7] = np.nan
    data = from_arrays(table, types={"size": "positive", "visits": "count"}, condition=["batch"])
    fitted = train(
        data, {"hidden": "8", "latent_dim": 2, "lr": 1e-2, "epochs": 60}, out=tmp_path / "run", figures=False
    )
    found = drivers(fitted.model, data)
    assert found is not None
    assert found["explained"][0][0] in ("size", "kind")
    assert {name for name, _ in found["explained"]} == {"size", "kind", "visits"}
    effect = dict(zip(found["names"], found["effects"][0], strict=True))
    (kind,) = (name for name in effect if name.startswith("kind"))
    assert 0.3 < abs(effect[kind]) <= 1
    assert np.sign(effect["size"]) == np.sign(effect["visits"])
    picture(plot_drivers(found, tmp_path / "drivers.png"))
    tables = drivers_tables(found)
    assert tables is not None
    assert len(tables["latents"].rows) == len(found["latents"])
    digits = load("digits")
    assert drivers(None, digits) is None
    assert drivers(fitted.model, digits) is None
