"""Columns that are given rather than modelled: what the latents still hold; samples and translations."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from commands import vaelab
from vaelab.api.train import train
from vaelab.data import from_arrays
from vaelab.data.dataset import Dataset
from vaelab.errors import InputError
from vaelab.use import load
from vaelab.vae.conditions import cells, drawn, extrapolated, known, places, typical
from vaelab.vae.estimator import VAE
from vaelab.vae.fitted import Fitted
from vaelab.vae.leakage import leakage

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

N, FEATURES = 900, 10
LINEAR = {"hidden": "none", "latent_dim": 3, "lr": 2e-2, "epochs": 60, "patience": 1.0}


def table(batches: bool = True, scale: float = 1.0) -> tuple[dict[str, Any], np.ndarray]:
    """Three groups on three factors, and a shift of each column by the batch and by the age; the groups."""
    rng = np.random.default_rng(0)
    group, batch = rng.integers(0, 3, N), rng.integers(0, 2, N)
    z = 3 * rng.normal(size=(3, 3))[group] + 0.5 * rng.normal(size=(N, 3))
    age = rng.normal(50, 10, N)
    x = z @ rng.normal(size=(3, FEATURES)) + 0.5 * rng.normal(size=(N, FEATURES))
    x = x + batches * 3 * batch[:, None] * rng.normal(size=FEATURES) + 0.1 * (age - 50)[:, None]
    found: dict[str, Any] = {f"c{j}": x[:, j] for j in range(FEATURES)}
    site = np.where(batch == 1, "north", np.where(age > 50, "south", "west")).astype(object)
    return found | {"batch": np.array(["A", "B"], dtype=object)[batch], "site": site, "age": age * scale}, group


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Dataset]:
    data = from_arrays(table()[0], condition=["batch", "site", "age"])
    model = train(data, LINEAR, out=tmp_path_factory.mktemp("conditions") / "run", figures=False).model
    return model, data


def test_latents_hold_the_groups_and_not_the_batch(fitted: tuple[Fitted, Dataset], tmp_path: Path) -> None:
    model, data = fitted
    group = table()[1]
    plain = from_arrays({name: values for name, values in table()[0].items() if name != "site"})
    without = train(plain, LINEAR, out=tmp_path / "run", figures=False).model

    def agreement(of: Fitted, rows: Any) -> float:
        found = GaussianMixture(3, n_init=3, random_state=0).fit_predict(of.encode(rows)[0])
        return float(adjusted_rand_score(group, found))

    assert agreement(model, data.x) > 0.85 > agreement(without, plain.x) + 0.1
    told = {row["condition"]: row for row in leakage(model, data) or []}
    assert set(told) == {"batch", "site", "age"}
    batch = told["batch"]
    assert batch["columns"] > 0.95
    assert abs(batch["latents"] - 0.5) < 4 * batch["se"]
    assert told["age"]["columns"] > 0.3 > told["age"]["latents"] + 0.2
    assert leakage(without, plain) is None


def test_a_linear_model_has_the_effects_of_the_conditions(fitted: tuple[Fitted, Dataset]) -> None:
    """Translated rows differ by the batch's shift, as regression on groups, batch and age estimates it."""
    model, data = fitted
    own, group = table()
    x = np.stack([own[f"c{j}"] for j in range(FEATURES)], 1)
    is_b = own["batch"] == "B"
    # Sites are A's two halves by age, or B, so that batch and site change together.
    shift = x[is_b & (abs(own["age"] - 50) < 4)].mean(0) - x[~is_b & (abs(own["age"] - 50) < 4)].mean(0)
    by_group = [x[is_b & (group == g)].mean(0) - x[~is_b & (group == g)].mean(0) for g in range(3)]
    rows = data.flat[~is_b][:200]
    moved = model.translate(rows, {"batch": "B", "site": "north"}) - model.reconstruct(rows)
    error = np.abs(moved[:, :FEATURES].mean(0) - np.mean(by_group, 0))
    assert error.max() < 0.5 < np.abs(shift).max()
    names = list(data.features)
    assert (moved[:, names.index("age")] == 0).all()
    np.testing.assert_allclose(model.translate(rows, {"batch": "A"}), model.reconstruct(rows), rtol=1e-5, atol=1e-5)


def test_samples_have_the_conditions_that_are_given(fitted: tuple[Fitted, Dataset]) -> None:
    model, data = fitted
    at = places(model)
    rows = model.sample(300, noise=True, given={"batch": "B", "age": 61})
    assert (rows[:, at["batch"]] == 1).all()
    np.testing.assert_allclose(rows[:, at["age"]], 61, rtol=1e-6)
    assert {data.columns[at["site"]].levels[int(code)] for code in rows[:, at["site"]]} <= {"north", "south", "west"}
    only_b = drawn(model, 500, {"batch": "B"}, np.random.default_rng(0))
    assert only_b is not None
    assert {data.columns[at["site"]].levels[int(code)] for code in only_b[:, at["site"]]} == {"north"}
    every = known(model)
    assert (every[:, at["batch"]] == 1).mean() == pytest.approx(0.5, abs=0.1)
    row = typical(model)[0]
    assert row[at["age"]] == pytest.approx(50, abs=2)
    assert (model.sample(5) == model.sample(5)).all()


def test_the_decoder_as_a_module_is_that_of_typical_conditions(fitted: tuple[Fitted, Dataset]) -> None:
    model, _ = fitted
    z = np.random.default_rng(0).normal(size=(7, 3))
    decoded = model.decode(z)
    np.testing.assert_allclose(model.decoder(torch.from_numpy(z)).detach().numpy(), decoded, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.decode(z, np.repeat(typical(model), 7, 0)), decoded)


def test_it_is_read_back_from_its_folder(fitted: tuple[Fitted, Dataset]) -> None:
    model, data = fitted
    assert model.folder is not None
    again = load(model.folder)
    assert (again.reconstruct(data.x[:5]) == model.reconstruct(data.x[:5])).all()
    assert (again.sample(4, noise=True) == model.sample(4, noise=True)).all()


@pytest.mark.parametrize("given", [{"batch": "C"}, {"c0": 1.0}, {"age": "old"}])
def test_what_is_no_condition_or_level_is_refused(fitted: tuple[Fitted, Dataset], given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        cells(fitted[0], given)


def test_values_beyond_the_training_rows_are_told(fitted: tuple[Fitted, Dataset]) -> None:
    model, data = fitted
    ages = data.flat[data.splits["train"]][:, places(model)["age"]]
    assert extrapolated(model, {"age": float(np.median(ages)), "batch": "A"}) == []
    (note,) = extrapolated(model, {"age": "4000"})
    assert note.startswith(f"age = 4000 is outside the training rows, {ages.min():.6g} to {ages.max():.6g}")
    with pytest.raises(InputError, match=r"age must be a number such as 3.5, but got '61,5'"):
        cells(model, {"age": "61,5"})


def test_a_condition_of_one_value_cannot_be_given_another(tmp_path: Path) -> None:
    own = table()[0]
    own["place"] = np.array(["here"] * N, dtype=object)
    data = from_arrays({name: own[name] for name in ("c0", "c1", "batch", "place")}, condition=["batch", "place"])
    model = train(data, {"hidden": "4", "epochs": 1}, out=tmp_path / "run", figures=False).model
    assert model.sample(2, given={"place": "here"}).shape == (2, 4)
    with pytest.raises(InputError, match="must hold one of here"):
        model.sample(2, given={"place": "there"})


def test_a_missing_condition_tells_the_decoder_nothing_and_stays_missing(tmp_path: Path) -> None:
    columns = table()[0]
    columns["batch"] = columns["batch"].copy()
    columns["batch"][::9] = None
    columns["c1"][1::9] = np.nan
    data = from_arrays(columns, condition=["batch"])
    model = train(data, LINEAR | {"epochs": 3}, out=tmp_path / "run", figures=False).model
    encoding = model.model.encoding
    assert encoding is not None
    x = torch.from_numpy(model.scaling.to_model(data.flat[::9])).float()
    given = encoding.given(x)
    assert (given == given[:1]).all()
    assert given[0].tolist() == [0.0, 1.0]  # nothing, and the mark
    filled = model.impute(data.flat[:20])
    at = places(model)["batch"]
    assert np.isnan(filled[[0, 9, 18], at]).all()
    assert not np.isnan(np.delete(filled, at, 1)).any()


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_kernels_and_autograd_agree(prior: str, tmp_path: Path) -> None:
    data = from_arrays(table()[0], condition=["batch", "age"])
    settings = {"hidden": "8", "latent_dim": 3, "epochs": 2, "prior": prior, "components": 3}
    bounds = []
    for engine in ("auto", "autograd"):
        out = tmp_path / engine
        run = train(data, settings | {"engine": engine}, out=out, figures=False)
        bounds.append(run.metrics["validation"]["neg_elbo"])
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-5)


def test_units_of_a_condition_change_nothing(tmp_path: Path) -> None:
    bounds = []
    for scale in (1.0, 1024.0):
        data = from_arrays(table(scale=scale)[0], condition=["age", "batch"])
        bounds.append(
            train(data, LINEAR | {"epochs": 2}, out=tmp_path / str(scale), figures=False).metrics["validation"][
                "neg_elbo"
            ]
        )
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-6)


def test_commands(tmp_path: Path) -> None:
    def call(*arguments: object) -> CompletedProcess[str]:
        return vaelab([str(each) for each in arguments], tmp_path)

    columns = table()[0]
    file = tmp_path / "cells.csv"
    names = list(columns)
    lines = [",".join(names)] + [",".join(str(columns[name][i]) for name in names) for i in range(60)]
    file.write_text("\n".join(lines))
    folder = tmp_path / "run"
    settings = ["--set", "epochs=2", "--set", "hidden=4", "--set", "latent_dim=2"]
    assert call("train", file, "--condition", "batch,site", *settings, "--out", folder).returncode == 0
    sampled = call("sample", folder, "-n", "3", "--given", "batch=B", "--noise")
    assert sampled.returncode == 0
    head, *rows = [line.split(",") for line in sampled.stdout.strip().splitlines()]
    assert [row[head.index("batch")] for row in rows] == ["B"] * 3
    moved = call("translate", folder, file, "--to", "batch=A")
    assert moved.returncode == 0
    assert len(moved.stdout.strip().splitlines()) == 61
    for wrong in (
        ["sample", folder, "--given", "batch=C"],
        ["sample", folder, "--given", "age=3"],
        ["translate", folder, file, "--to", "batch"],
        ["train", file, "--condition", "bath", *settings, "--out", tmp_path / "other"],
        ["train", file, "--condition", ",".join(names), *settings, "--out", tmp_path / "other"],
        ["train", file, "--condition", "batch", "--set", "likelihood=gaussian", *settings, "--out", tmp_path / "other"],
        ["classify", file, "--target", "site", "--condition", "batch", "--trials", "1", "--out", tmp_path / "other"],
        ["train", "digits", "--condition", "batch", *settings, "--out", tmp_path / "other"],
    ):
        refused = call(*wrong)
        assert refused.returncode == 2, wrong
        assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "other").exists()


def test_estimator_with_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table()[0]).head(200)
    vae = VAE(latent_dim=2, hidden="8", epochs=2, condition=["batch", "age"]).fit(frame)
    moved = vae.translate(frame, {"batch": "B"})
    assert list(moved.columns) == list(frame.columns)
    assert (moved["batch"] == "B").all()
    np.testing.assert_allclose(moved["age"], frame["age"])
    assert (vae.sample(4, random_state=0, given={"batch": "A"})["batch"] == "A").all()
    assert vae.transform(frame).shape == (200, 2)
