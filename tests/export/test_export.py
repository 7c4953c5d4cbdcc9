"""Models that leave compute what they do here: by onnxruntime and by TorchScript, without vaelab."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vaelab
from commands import vaelab as command
from vaelab.data import Dataset, load
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError
from vaelab.export import export_model
from vaelab.export.decompositions import cholesky, cholesky_solve, searchsorted
from vaelab.export.networks import Sampler
from vaelab.inverse.fitted import Inverter
from vaelab.regressor.fitted import FittedRegressor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unrendered"),
    pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated"),
]
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'vaelab[onnx]'")

PATIENTS = Path(__file__).parents[2] / "examples" / "patients.csv"
CLOSE: dict[str, float] = {"rtol": 1e-5, "atol": 1e-5}


def computed(path: Path, *inputs: Any) -> list[np.ndarray]:
    """The outputs of an exported file."""
    wanted = about(path)["inputs"]
    inputs = tuple(np.asarray(x, own["type"]) for x, own in zip(inputs, wanted, strict=True))
    if path.suffix in (".pt", ".pt2"):
        load = torch.jit.load if path.suffix == ".pt" else lambda path: torch.export.load(path).module()
        found = load(path)(*map(torch.from_numpy, inputs))
        return [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]
    session = ort.InferenceSession(str(path))
    return list(session.run(None, {own["name"]: x for own, x in zip(wanted, inputs, strict=True)}))


def about(path: Path) -> dict[str, Any]:
    """What a file says of itself."""
    if path.suffix in (".pt", ".pt2"):
        found = {"vaelab": ""}
        if path.suffix == ".pt":
            torch.jit.load(path, _extra_files=found)
        else:
            torch.export.load(path, extra_files=found)
        return dict(json.loads(found["vaelab"]))
    return dict(json.loads(ort.InferenceSession(str(path)).get_modelmeta().custom_metadata_map["vaelab"]))


formats = pytest.mark.parametrize("format", ["onnx", "torchscript"])  # the others where it costs less


@pytest.fixture(scope="module")
def patients() -> Dataset:
    return load(PATIENTS, group="id")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, patients: Dataset) -> Path:
    """A run of each kind."""
    home = tmp_path_factory.mktemp("runs")
    small: dict[str, Any] = {"latent_dim": 2, "hidden": "8", "epochs": 2}
    vaelab.train(patients, small, figures=False, out=home / "table")
    conv = {"network": "conv", "channels": "4", "norm": "batch"}
    vaelab.train("digits", small | conv, figures=False, out=home / "conv")
    options: dict[str, Any] = {"trials": 1, "workers": 1, "figures": "none", "settings": {"epochs": 2, "hidden": "8"}}
    vaelab.classify("digits", out=home / "classes", **options)
    options["settings"] = {"epochs": 20, "hidden": "8"}
    vaelab.regress(PATIENTS, "dose", reading={"group": "id"}, out=home / "dose", **options)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    for name, own in (("flow", {}), ("laplace", {"flow": False, "likelihood": "laplace"})):
        model = vaelab.ConditionalVAE(hidden="8", epochs=3, batch_size=50, **own)
        model.fit(x, x[:, 0] ** 2 + 0.05 * rng.normal(size=400)).save(home / name)
    return home


@formats
def test_a_table_s_encoder_and_decoder(folders: Path, patients: Dataset, format: str, tmp_path: Path) -> None:
    fitted = vaelab.load(folders / "table")
    rows = patients.flat[:9].copy()
    assert np.isnan(rows).any()
    rows[3] = np.nan
    encoder, decoder = export_model(folders / "table", format, tmp_path)
    for found, expected in zip(computed(encoder, rows), fitted.encode(rows), strict=True):
        np.testing.assert_allclose(found, expected, **CLOSE)
    z = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(computed(decoder, z)[0], fitted.decode(z), **CLOSE)
    if format == "onnx":
        assert [own.shape[0] for own in ort.InferenceSession(str(encoder)).get_inputs()] == ["n"]
    columns = about(encoder)["columns"]
    assert [column["name"] for column in columns] == list(fitted.facts.features)
    assert {"f", "m"} in [set(column.get("levels", ())) for column in columns]


def test_convolutions(folders: Path, tmp_path: Path) -> None:
    fitted = vaelab.load(folders / "conv")
    encoder, decoder = export_model(folders / "conv", "pt2", tmp_path)
    images = fitted.sample(7)
    for found, expected in zip(computed(encoder, images), fitted.encode(images), strict=True):
        np.testing.assert_allclose(found, expected, **CLOSE)
    z = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_allclose(computed(decoder, z)[0], fitted.decode(z), **CLOSE)


@formats
def test_a_classifier(folders: Path, digits: Dataset, format: str, tmp_path: Path) -> None:
    classifier = vaelab.load_classifier(folders / "classes")
    (path,) = export_model(folders / "classes", format, tmp_path)
    np.testing.assert_allclose(computed(path, digits.x[:9])[0], classifier.predict_proba(digits.x[:9]), **CLOSE)
    assert about(path)["classes"] == [str(digit) for digit in range(10)]


def test_a_regressor(folders: Path, tmp_path: Path) -> None:
    regressor = vaelab.load_regressor(folders / "dose")
    rows = load(PATIENTS, target="dose", numeric=True, group="id").flat[:9]
    (path,) = export_model(folders / "dose", "pt2", tmp_path)
    for found, expected in zip(computed(path, rows), regressor.predict_interval(rows), strict=True):
        np.testing.assert_allclose(found, expected, **CLOSE)
    assert about(path)["target"] == "dose"
    assert about(path)["level"] == 0.9


@formats
def test_a_regressor_is_finite_for_rows_far_from_its_own(folders: Path, format: str, tmp_path: Path) -> None:
    near = vaelab.load_regressor(folders / "dose")
    row = near.row.clone()
    near.model.views(row)[near.model.last_bias][..., 1] = 1_000  # the log-scale, whose exponential is infinite
    regressor = FittedRegressor(near.spec, near.facts, near.scaling, row, near.extras)
    regressor.save(tmp_path / "far", [], {})
    rows = load(PATIENTS, target="dose", numeric=True, group="id").flat[:9]
    mean, lower, upper = regressor.predict_interval(rows)
    assert np.isfinite([mean, lower, upper]).all()
    assert (lower < -1e20).all()
    (path,) = export_model(tmp_path / "far", format, tmp_path)
    for found, expected in zip(computed(path, rows), (mean, lower, upper), strict=True):
        np.testing.assert_allclose(found, expected, **CLOSE)


@formats
def test_a_flow_s_sampler_draws_what_is_drawn_here(folders: Path, format: str, tmp_path: Path) -> None:
    inverter = Inverter.load(folders / "flow", needs_forward=False)
    assert inverter.flow is not None
    (path,) = export_model(folders / "flow", format, tmp_path)
    generator = torch.Generator().manual_seed(derive_seed(3, 5))
    parts = torch.randn(6, 1, generator=generator), torch.randn(6, generator=generator)[:, None]  # z, and which flow
    normal = torch.cat(parts, 1)
    found = computed(path, np.full(6, 0.3), normal.double().numpy())[0]
    np.testing.assert_allclose(found, inverter.draw([0.3], 6, 3).x[0], **CLOSE)


def test_a_sampler_with_noise_follows_the_draws_here(folders: Path, tmp_path: Path) -> None:
    inverter = Inverter.load(folders / "laplace", needs_forward=False)
    assert inverter.flow is None
    (path,) = export_model(folders / "laplace", "torchscript", tmp_path)
    n, width = 4_000, about(path)["inputs"][1]["shape"][1]
    normal = np.random.default_rng(0).normal(size=(n, width))
    found = np.sort(computed(path, np.full(n, 0.5), normal)[0][:, 0])
    known = np.sort(inverter.draw([0.5], n, 1).x[0, :, 0])
    both = np.concatenate([found, known])
    apart = np.abs(np.searchsorted(found, both) - np.searchsorted(known, both)).max() / n
    assert apart < 1.95 * np.sqrt(2 / n)  # Kolmogorov-Smirnov, a level of 0.001
    middle = normal.copy()
    middle[:, inverter.spec.latent_dim :] = 0  # the median of the noise: the candidate
    z = torch.from_numpy(normal[None, :, : inverter.spec.latent_dim]).float()
    expected = inverter.space.x_own(inverter.sampler.decode(z, inverter.space.y_model(np.array([[0.5]]))).double())
    np.testing.assert_allclose(computed(path, np.full(n, 0.5), middle)[0], expected[0].numpy(), **CLOSE)


def test_a_sampler_sees_curves_as_the_library_does() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 3, (300, 2))
    curves = 1e3 * np.sin(x[:, :1] * np.linspace(0, 9, 20)) + x[:, 1:]
    model = vaelab.ConditionalVAE(spectrum=True, hidden="8", epochs=1, batch_size=50).fit(x, curves)
    space = model.inverter.space
    assert space.spectrum
    seen = Sampler(model.inverter).seen(torch.from_numpy(curves[:7]))
    np.testing.assert_allclose(seen, space.y_model(curves[:7]), rtol=1e-9, atol=1e-9)


def test_operators_that_onnx_lacks_are_those_of_torch() -> None:
    a = torch.randn(4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = a @ a.mT + torch.eye(5)
    root = torch.linalg.cholesky(a)
    torch.testing.assert_close(cholesky(a)[0], root)
    b = torch.ones(4, 5, 2, dtype=torch.float64)
    torch.testing.assert_close(cholesky_solve(b, root), torch.cholesky_solve(b, root))
    ends, x = torch.tensor([0.0, 1.0, 1.0, 2.0]), torch.tensor([[-1.0, 0.0, 1.0, 1.5, 3.0]])
    for right in (False, True):
        torch.testing.assert_close(searchsorted(ends, x, right=right), torch.searchsorted(ends, x, right=right))


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)


def test_the_command_prints_paths_and_refuses_in_one_line(folders: Path, tmp_path: Path, without_onnx: None) -> None:
    done = command(["export", str(folders / "conv"), "--format", "torchscript", "--out", "files"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["files/encoder.pt", "files/decoder.pt"]
    for arguments, message in (
        (["--format", "onx"], "did you mean 'onnx'?"),
        (["--format", "onnx"], "run pip install 'vaelab[onnx]'"),
    ):
        done = command(["export", str(folders / "conv"), *arguments, "--out", "other"], tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match=r"nothing"):
        export_model(tmp_path / "nothing")
