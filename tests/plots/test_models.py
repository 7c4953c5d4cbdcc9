"""Pictures of data sets and of several models: the data against hand counts and numpy; the files are sound."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from pictures import HOSTILE, history, picture, record
from vaelab import plots
from vaelab.data.columns import Column
from vaelab.plots import exploration, models, sides, space

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


# --- the data -------------------------------------------------------------------------------------


def test_column_histograms_by_class() -> None:
    rows = RNG.normal(size=(200, 40))
    rows[:, 2] = 3.0
    labels = RNG.integers(0, 3, 200)
    data = plots.columns_data(rows, [Column(f"c{i}") for i in range(40)], labels, ("a", "b", "c"))
    assert (len(data.names), data.total) == (30, 40)
    column = int(data.names[5][1:])
    for group in range(3):
        span = (rows[:, column].min(), rows[:, column].max())
        truth = np.histogram(rows[labels == group, column], bins=24, range=span)[0]
        np.testing.assert_array_equal(data.panels[5].counts[group], truth)
    np.testing.assert_array_equal(data.sizes, np.bincount(labels))
    constant = plots.columns_data(rows[:, :3], (), labels, ("a", "b", "c")).panels[2]
    assert constant.counts.sum() == 200
    assert plots.columns_data(rows, (), labels, tuple("abcdef")).groups == [""]


def test_correlations_are_pearsons_of_the_columns_that_vary() -> None:
    rows = RNG.normal(size=(100, 5))
    rows[:, 4] = rows[:, 0] + 0.1 * rows[:, 1]
    rows[:, 2] = 1.0
    data = plots.correlations_data(rows, [Column(name) for name in "abcde"])
    assert data.names == ["a", "b", "d", "e"]
    np.testing.assert_allclose(data.matrix, np.corrcoef(rows[:, [0, 1, 3, 4]], rowvar=False), atol=1e-12)
    assert data.strongest == (0, 3)


def test_overview_shares_sum_to_one() -> None:
    data = plots.overview_data(np.zeros((4, 4)), np.ones((4, 4)), {"edges": [0, 1, 3], "counts": [3, 1]}, {"a": 2})
    np.testing.assert_allclose(data.shares, [0.75, 0.25])
    assert data.classes == ["a"]


@pytest.mark.parametrize("shape", [(6, 9, 1), (12, 8, 3)])
@pytest.mark.parametrize("classes", [0, 47])
def test_pictures_of_image_sets(shape: tuple[int, ...], classes: int, tmp_path: Path) -> None:
    names = (HOSTILE * 6)[:classes]
    counts = {f"{name}{i}": i for i, name in enumerate(names)}
    histogram = {"edges": [0.0, 0.5, 1.0], "counts": [5, 0]}
    data = plots.overview_data(RNG.random(shape), 0.3 * RNG.random(shape), histogram, counts or None)
    picture(plots.plot_overview(data, tmp_path / "data.png", HOSTILE[0]))
    groups = [(name, RNG.random((min(12, i), *shape))) for i, name in enumerate(names)]
    found = plots.examples_data(groups or [("", RNG.random((30, *shape)))])
    picture(plots.plot_examples(found, tmp_path / "examples.png", HOSTILE[1]))


@pytest.mark.parametrize(("columns", "classes"), [(1, 0), (3, 2), (30, 5), (50, 9)])
def test_pictures_of_tables(columns: int, classes: int, tmp_path: Path) -> None:
    rows = RNG.normal(size=(80, columns))
    names = [Column(f"{HOSTILE[i % len(HOSTILE)]}") for i in range(columns)]
    labels = RNG.integers(0, classes, 80) if classes else None
    found = plots.columns_data(rows, names, labels, HOSTILE[:classes])
    picture(plots.plot_columns(found, tmp_path / "data.png", HOSTILE[0]))
    picture(plots.plot_correlations(plots.correlations_data(rows, names), tmp_path / "correlations.png", HOSTILE[3]))
    plots.plot_correlations(plots.correlations_data(np.ones((5, columns))), tmp_path / "none.png")


# --- models ---------------------------------------------------------------------------------------


def test_courses_average_over_the_seeds_that_have_a_figure() -> None:
    first = [record(1, 9, 10.0), record(2, 7, 8.0), record(3, 6, None)]
    second = [record(1, 11, 14.0), record(2, 9, math.nan)]
    (course,) = plots.courses_data({"m": [first, second]}).models
    np.testing.assert_array_equal(course.epochs, [1, 2, 3])
    np.testing.assert_array_equal(course.validation, [12, 8, np.nan])
    np.testing.assert_array_equal(course.low, [10, 8, np.nan])
    np.testing.assert_array_equal(course.high, [14, 8, np.nan])
    np.testing.assert_array_equal(course.train, [10, 8, 6])


def test_plane_means_and_lines_of_equal_sum() -> None:
    data = plots.plane_data({"a": [(1.0, 99.0), (3.0, 95.0)], "b": [(5.0, 90.0), (math.nan, 1.0)]})
    np.testing.assert_allclose(data.means, [[2, 97], [5, 90]])
    assert len(data.points[1]) == 1
    (x0, x1), (y0, y1) = data.limits
    assert x0 < 1 < 5 < x1
    assert y0 < 90 < 99 < y1
    steps = np.diff(data.levels)
    np.testing.assert_allclose(steps, steps[0])
    assert x0 + y0 <= data.levels[0] < data.levels[-1] <= x1 + y1


def test_kl_is_sorted_within_each_seed() -> None:
    data = plots.carried_data({"m": [np.array([0.1, 2.0, 0.5]), np.array([1.0, 0.0, 0.7])]})
    np.testing.assert_allclose(data.means[0], [1.5, 0.6, 0.05])
    np.testing.assert_allclose(data.lows[0], [1.0, 0.5, 0.0])
    np.testing.assert_allclose(data.highs[0], [2.0, 0.7, 0.1])
    assert data.totals == [pytest.approx(2.15)]


def test_architectures_mirror() -> None:
    facts = {"features": 784, "hidden": (64, 16), "latent": 2, "parameters": 5}
    (network,) = plots.architectures_data({"m": facts})
    assert (network.encoder, network.latent, network.decoder) == ([784, 64, 16], 2, [16, 64, 784])


@pytest.mark.parametrize("count", [0, 3, 13])
def test_pictures_of_models_with_hostile_names(count: int, tmp_path: Path) -> None:
    names = [f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(count)]
    networks = {
        name: {"features": 784, "hidden": (64,) * i, "latent": 1 + i, "parameters": 10**i, "about": HOSTILE[1]}
        for i, name in enumerate(names)
    }
    picture(plots.plot_architectures(plots.architectures_data(networks), tmp_path / "a.png", HOSTILE[0]))
    histories = {name: [history(1 + 5 * i)] * (i % 3) for i, name in enumerate(names)}
    picture(plots.plot_courses(plots.courses_data(histories), tmp_path / "l.png", HOSTILE[0]))
    points = {name: [(1.0 + i, 90.0 - i)] * (i % 3) for i, name in enumerate(names)}
    picture(plots.plot_plane(plots.plane_data(points), tmp_path / "p.png", HOSTILE[0]))
    kls = {name: [RNG.random(1 + 20 * i)] * (1 + i % 2) for i, name in enumerate(names)}
    picture(plots.plot_carried(plots.carried_data(kls), tmp_path / "k.png", HOSTILE[0]))


# --- side by side ---------------------------------------------------------------------------------


def test_sides_measure_images_by_pixels_and_tables_by_standard_deviations() -> None:
    x = RNG.random((5, 4, 4))
    data = plots.sides_data(x, {"a": x + 0.1, "b": x})
    np.testing.assert_allclose(data.errors, [0.1, 0], atol=1e-12)
    rows = RNG.random((5, 3))
    scale = plots.features_data(np.zeros(3), np.array([1.0, 2.0, 0.0]), "abc")
    data = plots.sides_data(rows, {"a": rows + np.array([1.0, 1.0, 3.0])}, scale)
    assert data.columns is not None
    np.testing.assert_allclose(data.columns, [[1, 0.5, 3]])


def test_draws_hold_quantiles_of_columns_against_the_data() -> None:
    rows, new = RNG.normal(size=(300, 2)) * [1, 5] + 7, RNG.normal(size=(100, 2))
    data = plots.draws_data({"m": new}, rows)
    assert data.spread is not None
    truth = (np.quantile(new, (0.05, 0.5, 0.95), axis=0) - rows.mean(0)) / rows.std(0)
    np.testing.assert_allclose(data.spread[1], truth)


@pytest.mark.parametrize(("shape", "count"), [((9, 6, 3), 12), ((4,), 1), ((4,), 12), ((60,), 1)])
def test_pictures_side_by_side(shape: tuple[int, ...], count: int, tmp_path: Path) -> None:
    x = RNG.random((12, *shape))
    made = {f"{HOSTILE[i % len(HOSTILE)]}{i}": RNG.random((12, *shape)) for i in range(count)}
    picture(plots.plot_sides(plots.sides_data(x, made), tmp_path / "r.png", HOSTILE[0]))
    originals = x if len(shape) == 1 else None
    picture(plots.plot_draws(plots.draws_data(made, originals), tmp_path / "s.png", HOSTILE[0]))


# --- latent space ---------------------------------------------------------------------------------


def test_grid_points_are_the_priors_quantiles_as_a_map_is_read() -> None:
    n = 5
    values = norm.ppf((np.arange(n) + 0.5) / n)
    np.testing.assert_allclose(space.quantiles(n), values, atol=1e-12)
    points = space.grid_points(n).reshape(n, n, 2)
    for i in range(n):
        for j in range(n):
            np.testing.assert_allclose(points[i, j], [values[j], values[n - 1 - i]], atol=1e-12)


def test_traversal_points_move_one_dimension() -> None:
    points = space.traversal_points(np.array([2, 0]), 4, 3).reshape(2, 3, 4)
    np.testing.assert_array_equal(points[0], [[0, 0, -2.5, 0], [0, 0, 0, 0], [0, 0, 2.5, 0]])
    np.testing.assert_array_equal(points[1, :, 0], [-2.5, 0, 2.5])
    assert not points[1, :, 1:].any()


def test_active_dimensions_are_those_of_highest_kl() -> None:
    assert space.active_dims(np.array([0.5, 0.0, 2.0, 0.3, math.nan])).tolist() == [2, 0, 3]
    assert len(space.active_dims(np.linspace(1, 2, 30))) == 10
    assert space.active_dims(np.zeros(4)).tolist() == [0]


def test_interpolations_run_from_end_to_end() -> None:
    points = space.between(np.array([[0.0, 0.0]]), np.array([[4.0, 8.0]]), 5)
    np.testing.assert_allclose(points, [[0, 0], [1, 2], [2, 4], [3, 6], [4, 8]])


@pytest.mark.parametrize(
    ("shape", "classes"), [((9, 6, 3), 0), ((6, 9), 3), ((2,), 30), ((40,), 3), ((40,), 0), ((9, 6, 3), 30)]
)
def test_map_beside_the_decoders_grid(shape: tuple[int, ...], classes: int, tmp_path: Path) -> None:
    labels = RNG.integers(0, classes, 90) if classes else None
    latent = plots.latent_data(RNG.normal(size=(90, 2)), labels, (HOSTILE * 4)[:classes], np.array([1.0, 2.0]))
    features = plots.features_data(np.zeros(shape), np.ones(shape), HOSTILE * 5) if len(shape) == 1 else None
    grid = plots.grid_data(RNG.random((49, *shape)), features)
    assert grid.cells.shape == (7, 7, *shape)
    picture(plots.plot_map(latent, grid, tmp_path / "map.png", HOSTILE[0]))


@pytest.mark.parametrize(("shape", "rows"), [((9, 6, 3), 10), ((1,), 1), ((30,), 1), ((70,), 10)])
def test_walks(shape: tuple[int, ...], rows: int, tmp_path: Path) -> None:
    features = plots.features_data(np.zeros(shape), np.ones(shape), HOSTILE * 8) if len(shape) == 1 else None
    dims = np.arange(rows)[::-1]
    data = plots.traversals_data(RNG.random((rows * 11, *shape)), dims, np.ones(rows), features)
    picture(plots.plot_traversals(data, tmp_path / "t.png", HOSTILE[0]))
    names = [(HOSTILE[i % len(HOSTILE)], "") for i in range(rows)]
    walks = plots.interpolations_data(RNG.random((rows * 9, *shape)), RNG.random((rows, 2, *shape)), names, features)
    assert walks.cells.shape == (rows, 9, *shape)
    picture(plots.plot_interpolations(walks, tmp_path / "i.png", HOSTILE[1]))


def test_same_data_same_picture(tmp_path: Path) -> None:
    data = plots.plane_data({"a": [(1.0, 2.0), (2.0, 3.0)]})
    first = plots.plot_plane(data, tmp_path / "a.png").read_bytes()
    assert plots.plot_plane(data, tmp_path / "b.png").read_bytes() == first


def test_these_plots_use_no_pyplot_and_no_heavy_library() -> None:
    for module in (exploration, models, sides, space):
        tree = ast.parse(Path(module.__file__).read_text())
        names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {n for n in names if n.split(".")[0] in ("torch", "optuna", "sklearn", "scipy") or "pyplot" in n}
