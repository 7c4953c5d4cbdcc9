"""What a network sees of typed columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaelab.data import Scaling, filling, from_arrays
from vaelab.data.dataset import Dataset
from vaelab.engine.encoding import Encoding, with_filling
from vaelab.engine.rows import Units

RNG = np.random.default_rng(0)
N = 400


def table(scale: float = 1.0, shift: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    real = rng.normal(size=N) * scale + shift
    real[::7] = np.nan
    level = np.array(["low", "middle", "high"], dtype=object)[rng.integers(0, 3, N)]
    level[::11] = None
    return {
        "city": level,
        "real": real,
        "dose": np.exp(3 * rng.normal(size=N)) * scale,
        "visits": rng.poisson(2.0, N).astype(float),
        "sex": np.array(["f", "m"], dtype=object)[rng.integers(0, 2, N)],
        "grade": rng.integers(2, 6, N).astype(float),
    }


def dataset(**changes: float) -> Dataset:
    return from_arrays(table(**changes), types={"dose": "positive", "visits": "count", "grade": "ordinal"})


def inputs_of(data: Dataset) -> tuple[Encoding, torch.Tensor, torch.Tensor]:
    scaling = Scaling.by_kind(data)
    assert scaling.typed is not None
    x = Units(scaling, "none", torch.device("cpu")).convert(torch.from_numpy(data.flat), None)
    encoding = Encoding(scaling.typed)
    return encoding, x, encoding(x)


def test_numbers_have_mean_0_and_sd_1_where_they_are_there() -> None:
    data = dataset()
    encoding, x, inputs = inputs_of(data)
    train = data.splits["train"]
    kinds = [column.kind for column in encoding.typed.columns]
    assert kinds == ["real", "positive", "count", "binary", "categorical", "ordinal"]
    for j, source in enumerate(encoding.source.tolist()):
        if kinds[source] == "categorical":
            continue
        there = ~torch.isnan(x[train, source])
        values = inputs[train][there, j].double().numpy()
        assert values.mean() == pytest.approx(0, abs=1e-5)
        assert values.std() == pytest.approx(1, rel=1e-5)


def test_a_missing_cell_is_the_mean_and_is_said() -> None:
    data = dataset()
    encoding, x, inputs = inputs_of(data)
    own = [column.name for column in encoding.typed.columns]
    real = own.index("real")
    assert (inputs[torch.isnan(x[:, real]), real] == 0).all()
    said = inputs[:, len(encoding.source) :]
    assert said.shape[1] == 2
    for column, gap in zip((own.index("real"), own.index("city")), said.T, strict=True):
        torch.testing.assert_close(gap, torch.isnan(x[:, column]).float())


def test_categories_are_indicators_of_their_level() -> None:
    data = dataset()
    encoding, _, inputs = inputs_of(data)
    city = [j for j, level in enumerate(encoding.level.tolist()) if level >= 0]
    levels = next(column.levels for column in data.columns if column.name == "city")
    for row, name in enumerate(table()["city"]):
        expected = [float(name == level) for level in levels]
        assert inputs[row, city].tolist() == expected


def test_units_change_nothing() -> None:
    _, _, inputs = inputs_of(dataset())
    _, _, other = inputs_of(dataset(scale=1e20, shift=3e21))
    torch.testing.assert_close(inputs, other, atol=1e-4, rtol=1e-4)


def test_the_size_of_a_row_changes_nothing_that_counts_say() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(2.0, 3.0, 40), (200, 40)).astype(float)
    data = from_arrays(counts)
    assert {column.kind for column in data.columns} == {"count"}
    scaling = Scaling.by_kind(data)
    assert scaling.typed is not None
    assert scaling.typed.has_size
    encoding = Encoding(scaling.typed)
    x = torch.from_numpy(scaling.to_model(counts))
    torch.testing.assert_close(encoding(2 * x), encoding(x))
    torch.testing.assert_close(
        torch.from_numpy(scaling.typed.sizes(2 * x.numpy())), 2 * torch.from_numpy(scaling.typed.sizes(x.numpy()))
    )
    assert not Scaling.by_kind(data, "none").typed.has_size  # type: ignore[union-attr]


def test_a_missing_cell_is_what_the_others_of_its_row_tell() -> None:
    rng = np.random.default_rng(0)
    mass = np.exp(rng.normal(size=N))
    kind = np.array(["a", "b", "c"], dtype=object)[(np.log(mass)[:, None] > [-0.5, 0.5]).sum(1)]
    mass[::5], kind[1::5] = np.nan, None
    data = from_arrays({"mass": mass, "twice": 2 * np.nan_to_num(mass, nan=3.0) + 5, "kind": kind})
    scaling = with_filling(Scaling.by_kind(data), data)
    assert scaling.typed is not None
    assert scaling.typed.filling is not None
    encoding = Encoding(scaling.typed)
    x = torch.from_numpy(scaling.to_model(data.flat))
    known = encoding.inputs(x)
    assert torch.isnan(known).any(0).sum() == 4  # mass, and an indicator of each kind
    expected = filling.filled(scaling.typed.filling, known.double().numpy())
    np.testing.assert_allclose(encoding(x)[:, : known.shape[1]].numpy(), expected, rtol=1e-5, atol=1e-5)
    alone = torch.cat([encoding(row[None]) for row in x])
    torch.testing.assert_close(alone, encoding(x), rtol=1e-5, atol=1e-5)


def test_complete_tables_need_no_filling() -> None:
    data = from_arrays(np.random.default_rng(0).normal(size=(50, 3)))
    scaling = Scaling.by_kind(data)
    assert with_filling(scaling, data) is scaling
