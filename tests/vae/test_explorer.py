"""The explorer's data: decoded here from what the page holds, with NumPy alone, and compared with the model."""

from __future__ import annotations

import base64
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pages import half, hostile, page, run_report, save, table, typed_table, untrained
from vaelab.data import Dataset, from_arrays, load
from vaelab.data.splits import split_rows
from vaelab.vae import explorer
from vaelab.vae.explorer import explorer_data
from vaelab.vae.quantities import level_shares, reconstructed
from vaelab.vae.table_export import STEPS


def unpacked(text: str, dtype: str) -> Any:
    return np.frombuffer(base64.b64decode(text), dtype)


def decode(given: dict[str, Any], z: Any) -> Any:
    """What the page's script does, for silu: an independent reading of the embedded decoder."""
    weights, at, x = unpacked(given["weights"], "<f2").astype(np.float64), 0, np.asarray(z, np.float64)
    widths = given["widths"]
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        matrix, at = weights[at : at + n_in * n_out].reshape(n_in, n_out), at + n_in * n_out
        x, at = x @ matrix + weights[at : at + n_out], at + n_out
        if i < len(widths) - 2:
            x = x / (1 + np.exp(-x))
    assert at == len(weights) == given["size"]
    if given["link"] == "sigmoid":
        x = 1 / (1 + np.exp(-x))
    own = x * np.array(given["scale"]) + np.array(given["offset"]) + given["shift"]
    if given["kept"] is None:
        return own
    whole = np.tile(np.array(given["fill"]), (len(own), 1))
    whole[:, given["kept"]] = own
    return whole


def grey(n: int = 300) -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset("grey", rng.integers(0, 256, (n, 6, 7), dtype=np.uint8), split_rows(n, None, 0))


@pytest.mark.parametrize(
    ("kind", "likelihood"),
    [
        ("digits", "bernoulli"),
        ("digits", "gaussian"),
        ("grey", "bernoulli"),
        ("grey", "gaussian"),
        ("table", "gaussian"),
    ],
)
def test_the_embedded_decoder_is_the_model_rounded(kind: str, likelihood: str, digits: Dataset) -> None:
    data = {"digits": lambda: digits, "grey": grey, "table": table}[kind]()
    fitted = untrained(data, latent_dim=3, hidden=(8, 5), likelihood=likelihood)
    found = explorer_data({"m": fitted}, data)
    z = np.random.default_rng(1).standard_normal((20, 3))
    got = decode(found["models"][0]["decoder"], z)
    span = np.array(found["high"]) - np.array(found["low"])
    assert np.abs((got - half(fitted).decode(z).reshape(20, -1)) / span).max() < 1e-6
    assert np.abs((got - fitted.decode(z).reshape(20, -1)) / span).max() < 1e-2


def test_points_are_the_posterior_means_of_the_rows_they_name(digits: Dataset) -> None:
    fitted = untrained(digits, latent_dim=4)
    found = explorer_data({"m": fitted}, digits)
    rows = unpacked(found["rows"], "<u4")
    assert found["count"] == len(digits.x) == len(set(rows))
    part = found["models"][0]["points"]
    levels = unpacked(part["of"], "<u2").reshape(len(part["dims"]), -1).T
    z = np.array(part["low"]) + levels / 65535 * np.array(part["span"])
    means, _ = fitted.encode(digits.x[rows])
    assert np.abs(z - means[:, part["dims"]]).max() <= 0.51 * max(part["span"]) / 65535 + 1e-6
    assert (unpacked(found["labels"], "u1") == digits.labels[rows]).all()
    of = unpacked(found["splits"]["of"], "u1")
    for i, name in enumerate(found["splits"]["names"]):
        assert set(rows[of == i]) == set(digits.splits[name])


def test_pca_axes_are_those_of_largest_variance(digits: Dataset) -> None:
    fitted = untrained(digits, latent_dim=4)
    found = explorer_data({"m": fitted}, digits)["models"][0]
    means, _ = fitted.encode(digits.x)
    _, s, axes = np.linalg.svd(means[:, found["points"]["dims"]] - found["pca"]["centre"], full_matrices=False)
    assert np.abs(np.sum(axes[:2] * np.array(found["pca"]["axes"]), 1)) == pytest.approx([1, 1], abs=1e-4)
    assert found["pca"]["shares"] == pytest.approx(list(s[:2] ** 2 / (s**2).sum()), abs=1e-4)


def test_originals_are_the_pixels(digits: Dataset) -> None:
    found = explorer_data({"m": untrained(digits)}, digits)
    kept = found["originals"]
    with Image.open(io.BytesIO(base64.b64decode(kept["sprite"].partition(",")[2]))) as image:
        sheet = np.asarray(image)
    rows = unpacked(found["rows"], "<u4")
    for place in (0, 1, 42, 43, 1796):
        y, x = 8 * (place // kept["columns"]), 8 * (place % kept["columns"])
        point = unpacked(kept["points"], "<u4")[place]
        assert (sheet[y : y + 8, x : x + 8] == np.round(digits.x[rows[point]] * 255)).all()


def test_fewer_originals_come_evenly_from_every_class(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "ORIGINALS", 200)
    found = explorer_data({"m": untrained(digits)}, digits)
    labels = unpacked(found["labels"], "u1")[unpacked(found["originals"]["points"], "<u4")]
    assert len(labels) == 200
    assert np.abs(np.bincount(labels) - 20).max() <= 1


def test_originals_keep_to_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "ORIGINAL_BYTES", 4_000)
    found = explorer_data({"m": untrained(grey())}, grey())
    assert 20 < found["originals"]["count"] < 100
    assert len(found["originals"]["sprite"]) < 4_000 * 4 / 3 + 30


def test_points_keep_to_their_bytes(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "POINT_BYTES", 4_000)
    found = explorer_data({"a": untrained(digits), "b": untrained(digits, 1)}, digits)
    assert found["count"] == 500
    assert found["of"] == 1797
    assert np.abs(np.bincount(unpacked(found["labels"], "u1")) - 50).max() <= 2


def test_a_table_has_names_bounds_and_originals() -> None:
    data = table()
    found = explorer_data({"m": untrained(data, likelihood="gaussian")}, data)
    assert found["table"]["names"] == list(data.features)
    kept = found["originals"]
    values = unpacked(kept["values"], "<u2").reshape(-1, 5)
    low, span = np.array(kept["low"]), np.array(kept["high"]) - np.array(kept["low"])
    rows = unpacked(found["rows"], "<u4")[unpacked(kept["points"], "<u4")]
    assert np.abs(low + values / STEPS * span - data.x[rows])[:, span > 0].max() <= 0.5 * span.max() / STEPS + 1e-9
    assert found["low"] == data.statistics.low.tolist()


@pytest.mark.parametrize(("columns", "names", "curves"), [(16, False, True), (15, False, False), (16, True, False)])
def test_many_numbers_without_names_are_a_curve(columns: int, names: bool, curves: bool) -> None:
    x = np.random.default_rng(0).normal(size=(60, columns))
    data = from_arrays(pd.DataFrame(x, columns=[f"c{i}" for i in range(columns)]) if names else x)
    found = explorer_data({"m": untrained(data, likelihood="gaussian")}, data)
    assert found["models"][0]["curves"] is curves


def test_a_large_decoder_is_left_out_with_its_reason(digits: Dataset) -> None:
    fitted = untrained(digits, hidden=(1000, 1000))
    found = explorer_data({"large": fitted, "small": untrained(digits)}, digits)
    large, small = found["models"]
    assert large["decoder"] is None
    assert "1,068,064 weights" in large["why"]
    assert small["decoder"] is not None


def test_decoders_share_the_room_of_the_page(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "WEIGHT_BYTES", 3_000)
    first, second = explorer_data({"a": untrained(digits), "b": untrained(digits)}, digits)["models"]
    assert first["decoder"] is not None
    assert "fill the page" in second["why"]


def test_weights_beyond_16_bits_are_refused(digits: Dataset) -> None:
    fitted = untrained(digits)
    fitted.row *= 1e6
    found = explorer_data({"m": fitted}, digits)["models"][0]
    assert "out of range for 16 bits" in found["why"]


@pytest.mark.parametrize("opened", [False, True])
def test_the_test_split_is_shown_only_where_it_was_opened(opened: bool, tmp_path: Path, digits: Dataset) -> None:
    folder = save(untrained(digits), tmp_path / "run", test=opened)
    found = page(run_report(folder, digits))
    data = json.loads(found.scripts[0])
    assert data["splits"]["names"] == ["train", "validation", "test"][: 3 if opened else 2]
    shown = set(unpacked(data["rows"], "<u4"))
    assert bool(shown & set(digits.splits["test"])) is opened


def test_the_page_holds_the_data_as_json_without_markup(tmp_path: Path, digits: Dataset) -> None:
    data = hostile(digits)
    fitted = untrained(data)
    found = page(run_report(save(fitted, tmp_path / "run"), data))
    assert not set("<>&") & set(found.scripts[0])
    given = json.loads(found.scripts[0])
    assert given["models"][0].pop("name") == "run"
    expected = explorer_data({"run": fitted}, data)
    del expected["models"][0]["name"]
    assert given == json.loads(json.dumps(expected))


def test_other_data_are_refused_in_words(tmp_path: Path, digits: Dataset) -> None:
    found = page(run_report(save(untrained(digits), tmp_path / "run"), grey()))
    assert "it was trained on examples of a different shape" in found.text


def test_one_latent_dimension_and_no_labels() -> None:
    found = explorer_data({"m": untrained(grey(), latent_dim=1)}, grey())
    assert found["labels"] is None
    assert found["models"][0]["pca"] is None
    assert found["models"][0]["order"] == [0]


def test_breast_cancer_fits(tmp_path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    path = tmp_path / "cancer.npy"
    np.save(path, source.data)
    data = load(path)
    found = explorer_data({"m": untrained(data, likelihood="gaussian")}, data)
    assert found["count"] == 569
    assert len(found["low"]) == 30


def original_rows(found: dict[str, Any]) -> Any:
    """The originals (n, D) as the page's script reads them."""
    kept, table = found["originals"], found["table"]
    codes = unpacked(kept["values"], "<u2").reshape(-1, len(table["names"]))
    rows = np.array(kept["low"]) + codes / STEPS * (np.array(kept["high"]) - np.array(kept["low"]))
    for j in kept["logs"]:
        rows[:, j] = np.expm1(rows[:, j]) if table["kinds"][j] == "count" else np.exp(rows[:, j])
    for j, values in table["values"].items():
        rows[:, int(j)] = np.array([*values, np.nan])[np.minimum(codes[:, int(j)], len(values))]
    whole = [j for j, kind in enumerate(table["kinds"]) if kind in ("count", "date")]
    rows[:, whole] = np.round(rows[:, whole])
    rows[codes == STEPS + 1] = np.nan
    return rows


def test_a_typed_table_has_kinds_levels_ids_and_its_missing_values() -> None:
    data = typed_table()
    found = explorer_data({"m": untrained(data, likelihood="mixed")}, data)
    kinds = ["real", "positive", "count", "count", "binary", "categorical", "ordinal", "binary", "date"]
    assert found["table"]["kinds"] == kinds
    assert found["table"]["levels"]["4"] == ["f", "m"]
    assert found["ids"]["name"] == "sample"
    rows = unpacked(found["rows"], "<u4")
    assert found["ids"]["of"] == data.ids[rows].tolist()
    held = data.x[rows[unpacked(found["originals"]["points"], "<u4")]]
    got = original_rows(found)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(held))
    whole = [2, 3, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(got[:, whole], held[:, whole])
    np.testing.assert_allclose(got[:, 1], held[:, 1], rtol=2e-4)
    assert json.loads(json.dumps(found)) == found


def test_parts_of_a_mixed_decoder_cover_its_columns_and_outputs() -> None:
    data = typed_table()
    fitted = untrained(data, likelihood="mixed", count_likelihood="zero_inflated")
    parts = explorer_data({"m": fitted}, data)["models"][0]["decoder"]["parts"]
    assert [part["kind"] for part in parts] == ["real", "positive", "count", "binary", "categorical", "ordinal"]
    for ends in ("columns", "outputs"):
        places = [part[ends] for part in parts]
        assert places[0][0] == 0
        assert all(a[1] == b[0] for a, b in itertools.pairwise(places))
    assert parts[2]["inflated"]
    assert parts[2]["outputs"][1] - parts[2]["outputs"][0] == 4
    assert len(parts[5]["thresholds"][0]) == 2


def test_probabilities_are_those_of_the_noise_model() -> None:
    """Against its costs: -log p of each level."""
    data = typed_table()
    fitted = untrained(data, likelihood="mixed").double()
    z = np.random.default_rng(0).standard_normal((7, 2))
    shares = level_shares(fitted, z)
    kept = fitted.scaling.kept.tolist()
    outputs = fitted.model.decode(fitted.parameters, fitted.padded(z))
    assert sorted(shares) == [4, 5, 6, 7]
    for column, found in shares.items():
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-9)
        for level in range(found.shape[1]):
            x = torch.zeros(1, 7, len(kept), dtype=torch.float64)
            x[..., kept.index(column)] = level
            cost = fitted.model.likelihood.cost(outputs, x, fitted.parameters)[0, :, kept.index(column)]
            np.testing.assert_allclose(-np.log(found[:, level]), cost.detach().numpy(), atol=1e-6)


def test_reconstructed_counts_are_of_the_size_of_their_row() -> None:
    rng = np.random.default_rng(0)
    size = np.exp(rng.standard_normal((200, 1)))
    counts = rng.poisson(size * rng.uniform(1, 20, 40)).astype(float)
    data = from_arrays({f"g{i}": counts[:, i] for i in range(40)})
    fitted = untrained(data, likelihood="mixed").double()
    assert fitted.scaling.typed.has_size
    rows = data.flat[:50]
    ratio = reconstructed(fitted, rows) / fitted.reconstruct(rows)
    own = fitted.scaling.typed.sizes(rows[:, fitted.scaling.kept])
    np.testing.assert_allclose(
        ratio, np.broadcast_to((own / np.exp(fitted.scaling.typed.size[0]))[:, None], ratio.shape)
    )
