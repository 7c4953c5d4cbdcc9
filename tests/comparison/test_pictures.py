"""The pictures of a comparison and of a run's latent space: every file is sound, and none looks at the test split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pictures import HOSTILE, blank, history, picture
from vaelab import plots
from vaelab.comparison.pictures import draw_comparison
from vaelab.data import Dataset, from_arrays
from vaelab.plots import space
from vaelab.plots.dataset import spread_rows
from vaelab.report.captions import captions, comparison_captions
from vaelab.vae import pictures
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
SHARED = {"architectures", "losses", "rate_distortion", "reconstructions", "samples", "kl", "data"}


def made(shape: tuple[int, ...], labelled: bool = True) -> Dataset:
    x = RNG.random((90, *shape)).astype(np.float32)
    x.flat[:2] = 0, 1  # the range in which images are shown is that of the data
    if len(shape) == 3:
        x = (255 * x).astype(np.uint8)
    labels = [HOSTILE[2] if i % 3 else r"$\frac" for i in range(90)] if labelled else None
    return from_arrays(x, labels, name=HOSTILE[0])


def untrained(data: Dataset, spec: Spec) -> Fitted:
    """A model with its initial parameters, made visibly active."""
    spec = resolve(spec, data)
    feed = Feed(data, spec)
    facts = Fitted.of(feed, spec, torch.zeros(1)).facts
    model = Fitted(spec, facts, feed.units.scaling, torch.zeros(1, 1)).model
    rows = torch.from_numpy(feed.units.scaling.to_model(data.rows("train")))
    row = model.initial(spec, rows, torch.Generator().manual_seed(spec.seed))
    return Fitted.of(feed, spec, row)


def kinds(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "figures").iterdir()}


@pytest.mark.parametrize(
    ("shape", "labelled", "own"),
    [((8, 8), True, "examples"), ((6, 9, 3), False, "examples"), ((9,), True, "correlations"), ((50,), False, "")],
)
def test_all_pictures_of_a_comparison(shape: tuple[int, ...], labelled: bool, own: str, tmp_path: Path) -> None:
    data = made(shape, labelled)
    specs = {HOSTILE[0]: Spec(hidden="8", latent_dim=2), HOSTILE[1]: Spec(hidden="none", latent_dim=5)}
    models = {name: [untrained(data, spec.replace(seed=seed)) for seed in (0, 1)] for name, spec in specs.items()}
    histories = {name: [history(6), history(4)] for name in models}
    results = {"models": [{"name": HOSTILE[0], "parameters": 12345}]}
    drawn = draw_comparison(tmp_path, data, models, histories, results)
    for path in drawn:
        picture(path)
    singles = {f"{kind}_{i}" for kind in ("latent", "traversals", "interpolations") for i in (1, 2)}
    assert kinds(tmp_path) == {path.stem for path in drawn} == SHARED | singles | {own or "correlations"}
    for name in kinds(tmp_path):
        assert {name, name.rpartition("_")[0]} & (comparison_captions({}).keys()), f"{name} has no caption"


def test_one_latent_dimension_and_one_validation_row(tmp_path: Path) -> None:
    data = made((6, 6))
    data = dataclasses.replace(data, splits={**data.splits, "validation": data.splits["validation"][:1]})
    fitted = untrained(data, Spec(hidden="4", latent_dim=1))
    for path in draw_comparison(tmp_path, data, {"one": [fitted]}, {"one": [history(3)]}):
        picture(path)


class Guarded(np.ndarray):
    """An array that refuses to give out certain rows."""

    forbidden: frozenset[int] = frozenset()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, np.ndarray) and key.dtype.kind == "i":
            assert not self.forbidden & set(np.asarray(key).ravel().tolist()), "a picture reads the test split"
        return super().__getitem__(key)

    def __array_finalize__(self, source: Any) -> None:
        # Rows that were given out, and what is computed from them, are free.
        whole = source is not None and len(getattr(source, "shape", ())) and source.shape[:1] == self.shape[:1]
        self.forbidden = getattr(source, "forbidden", frozenset()) if whole else frozenset()


@pytest.mark.parametrize("shape", [(8, 8), (9,)])
def test_no_picture_reads_the_test_split(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Figure, "savefig", blank)
    data = made(shape)
    fitted = untrained(data, Spec(hidden="8", latent_dim=2))
    assert data.statistics is not None  # its range is over all rows, as the checks of the input are
    x = data.x.view(Guarded)
    x.forbidden = frozenset(data.splits["test"].tolist())
    guarded = dataclasses.replace(data, x=x)
    guarded.__dict__["statistics"] = data.statistics
    with pytest.raises(AssertionError, match="test split"):
        guarded.rows("test")
    draw_comparison(tmp_path, guarded, {"m": [fitted]}, {"m": [history(3)]})


def test_traversals_and_grid_are_the_decodes_of_the_stated_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made((8, 8))
    fitted = untrained(data, Spec(hidden="8", latent_dim=2)).double()  # the same in any batch
    seen: dict[str, Any] = {}
    for name in ("plot_traversals", "plot_map", "plot_interpolations"):
        monkeypatch.setattr(plots, name, lambda *args, name=name: seen.setdefault(name, args))
    kl = np.array([0.5, 2.0])
    pictures.draw_traversals(fitted, data, kl, tmp_path / "t.png", "")
    pictures.draw_latent(fitted, data, kl, tmp_path / "l.png", "")
    pictures.draw_interpolations(fitted, data, tmp_path / "i.png", "")
    walk = seen["plot_traversals"][0]
    assert walk.dims.tolist() == [1, 0]
    np.testing.assert_allclose(walk.cells[0, 10], fitted.decode([[0.0, 2.5]])[0], atol=1e-6)
    np.testing.assert_allclose(walk.cells[1, 3], fitted.decode([[walk.values[3], 0.0]])[0], atol=1e-6)
    grid = seen["plot_map"][1]
    low, high = space.quantiles(pictures.GRID_SIDE)[[0, -1]]
    np.testing.assert_allclose(grid.cells[0, 0], fitted.decode([[low, high]])[0], atol=1e-6)
    way = seen["plot_interpolations"][0]
    np.testing.assert_allclose(way.cells[0, 0], fitted.reconstruct(way.ends[:1, 0])[0], atol=1e-5)
    np.testing.assert_allclose(way.cells[-1, -1], fitted.reconstruct(way.ends[-1:, 1])[0], atol=1e-5)
    validation = data.x[data.splits["validation"]]
    assert all((validation == end).all((1, 2)).any() for pair in way.ends for end in pair)


def test_examples_are_spread_over_the_classes() -> None:
    x = RNG.random((200, 5))
    data = from_arrays(x, ["a"] * 150 + ["b"] * 40 + ["c"] * 10, classes=None)
    rows = spread_rows(data, 6)
    assert data.labels is not None
    counts = np.bincount(data.labels[rows], minlength=3)
    assert counts.sum() == 6
    assert counts.min() >= 1
    assert set(rows.tolist()) <= set(data.splits["validation"].tolist())


def test_pictures_of_walks_and_of_the_map(tmp_path: Path) -> None:
    data = made((8, 8))
    fitted = untrained(data, Spec(hidden="8", latent_dim=2))
    kl = fitted.evaluate(data, "validation", 1)["kl"]
    drawn = [
        pictures.draw_traversals(fitted, data, kl, tmp_path / "traversals.png", HOSTILE[0]),
        pictures.draw_interpolations(fitted, data, tmp_path / "interpolations.png", HOSTILE[0]),
        pictures.draw_latent(fitted, data, kl, tmp_path / "map.png", HOSTILE[0]),
    ]
    for path in drawn:
        picture(path)
        assert captions({})[path.stem]
