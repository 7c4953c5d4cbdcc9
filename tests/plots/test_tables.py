"""Pictures of typed tables with missing values: the data against numpy and hand counts; the files are sound."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pages import typed_table
from pictures import HOSTILE, picture
from vaelab import plots
from vaelab.data.columns import Column
from vaelab.plots import columns, features, rows, samples
from vaelab.plots.dataset import columns_of, draw_data
from vaelab.plots.dataset import features as quantities_of

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
NAN = np.nan
SEX = Column("sex", "binary", ("f", "m"), (0.0, 1.0))
SIZE = Column("size", "categorical", ("small", "middle", "large"), (3.0, 6.0, 7.0))
DAY = Column("day", "date")


def one_kind(kind: str, count: int, n: int = 60) -> tuple[np.ndarray, list[Column]]:
    """Rows (n, count) of columns of one kind, some missing."""
    names = [f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(count)]
    if kind in ("categorical", "ordinal"):
        x = RNG.integers(0, 7, (n, count)).astype(float)
        made = [Column(name, kind, tuple(HOSTILE[:7]), tuple(map(float, range(7)))) for name in names]
    else:
        x = {"count": RNG.poisson(5, (n, count)), "positive": np.exp(3 * RNG.normal(size=(n, count)))}.get(
            kind, RNG.normal(size=(n, count)) * 400
        )
        made = [Column(name, kind) for name in names]  # type: ignore[arg-type]
    x = x.astype(float)
    x[RNG.random(x.shape) < 0.1] = NAN
    return x, made


# --- what is drawn of a table ---------------------------------------------------------------------


def test_values_are_written_in_the_tables_own_words() -> None:
    written = features.written
    assert [written(SEX, 0.0), written(SIZE, 6.0), written(DAY, 0.0), written(DAY, 18262.0)] == [
        "f", "middle", "1970-01-01", "2020-01-01",
    ]  # fmt: skip
    assert [written(Column("n", "count"), value) for value in (3.0, 3.26, 1974.4, 12345.6)] == [
        "3", "3.3", "1974", "12,346",
    ]  # fmt: skip
    assert [written(None, value) for value in (10.2, 34.1, 63.0, 0.99683)] == ["10.2", "34.1", "63", "0.9968"]
    assert written(None, NAN) == written(SIZE, NAN) == "missing"


def test_quantities_are_numbers_and_shares_of_levels() -> None:
    x = np.array([[1.0, 3.0, 100.0], [0.0, 7.0, 10.0], [NAN, 7.0, NAN], [1.0, 6.0, 1.0]])
    found = plots.quantities_data(x, [SEX, SIZE, Column("mass", "positive")])
    assert found.names == ["sex = m", "size = large", "size = small", "size = middle", "mass"]
    spread = found.spread(x)
    np.testing.assert_array_equal(spread[:, 0], [1, 0, NAN, 1])
    np.testing.assert_array_equal(spread[:, 1:4], [[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]])
    logs = np.log([100.0, 10.0, 1.0])
    np.testing.assert_allclose([found.centre[4], found.scale[4]], [logs.mean(), logs.std()])
    assert found.centre[0] == pytest.approx(2 / 3)
    assert found.shares.tolist() == [True, True, True, True, False]


def test_errors_are_of_observed_cells_and_levels_are_right_or_wrong() -> None:
    x = np.array([[0.0, 3.0, 2.0], [1.0, NAN, 4.0]])
    found = plots.columns_features(x, [SEX, SIZE, Column("a")])
    errors = found.errors(x, np.array([[0.4, 6.0, 3.0], [0.4, 3.0, 4.0]]))
    np.testing.assert_array_equal(errors, [[0, 1, 1], [1, NAN, 0]])
    np.testing.assert_allclose(features.mean_square(errors), [np.sqrt(0.5), 1, np.sqrt(0.5)])


def test_a_wide_tables_rows_show_the_columns_with_the_largest_errors() -> None:
    x = RNG.normal(size=(12, 77))
    made = x.copy()
    worst = RNG.permutation(77)[: rows.SHOWN]
    made[:, worst] += 2
    data = rows.rows_data(x, made, plots.columns_features(x, [Column(f"p{i}") for i in range(77)]))
    assert data.features.names == [f"p{i}" for i in sorted(worst)]
    assert data.total == 77


# --- exploration ----------------------------------------------------------------------------------


@pytest.mark.parametrize("caption", ["GGCCAAGGCCGGAAGG-1", "Chinstrap penguin (Pygoscelis antarctica)"])
def test_captions_of_rows_do_not_overlap(caption: str) -> None:
    x = RNG.normal(size=(12, 5))
    data = rows.rows_data(x, x, plots.columns_features(x, [Column(name) for name in "vwxyz"]))
    figure = rows.draw_rows(data, [caption] * 12, "title")
    drawn = [text for text in figure.axes[0].texts if text.get_text()[:2] == caption[:2]]
    boxes = [text.get_window_extent() for text in drawn]
    assert len(boxes) == 12
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert min(box.y0 for box in boxes) >= 0


def test_columns_by_kind() -> None:
    x = np.array([[1.0, 3.0, 2.0, 18262.0], [0.0, 7.0, 0.0, 18263.0], [NAN, 7.0, 5.0, 18300.0], [1.0, 6.0, 2.0, NAN]])
    panels = plots.columns_data(x, [SEX, SIZE, Column("n", "count"), DAY]).panels
    assert panels[0].levels == ["m", "f"]
    assert panels[0].counts.tolist() == [[2, 1]]
    assert panels[0].missing == 0.25
    assert panels[1].levels == ["large", "small", "middle"]
    assert panels[2].counts.tolist() == [[1, 0, 2, 0, 0, 1]]
    assert panels[3].ends == ("2020-01-01", "2020-02-08")
    ordered = Column("grade", "ordinal", tuple("abcdefgh"), tuple(map(float, range(8))))
    often = np.repeat(np.arange(8.0), [1, 40, 2, 30, 3, 20, 10, 9])
    grade = plots.columns_data(often[:, None], [ordered]).panels[0]
    assert (grade.levels, grade.more) == (["b", "d", "f", "g", "h"], 3)  # the most frequent, in their order
    assert (grade.counts.tolist(), grade.values) == ([[40, 30, 20, 10, 9]], len(often))  # shares are of all values
    skewed = plots.columns_data(np.exp(3 * RNG.normal(size=(90, 1))), [Column("m", "positive")]).panels[0]
    assert skewed.axis == "log scale"
    assert skewed.edges[0] < 0


def test_a_wide_table_shows_the_columns_that_vary_most() -> None:
    spread = np.where(np.arange(300) % 10 == 0, 1.0, 0.01)
    x = 5 + spread * RNG.normal(size=(50, 300))
    chosen = columns.most_variable(x, [Column("")] * 300, 30)
    assert chosen == list(range(0, 300, 10))


def test_missing_patterns_by_hand() -> None:
    x = np.zeros((10, 4))
    x[:3, 1] = NAN
    x[:2, 3] = NAN
    x[5, 0] = NAN
    data = plots.missing_data(x, [Column(name) for name in "abcd"])
    assert data is not None
    assert (data.names, data.complete, data.lacking) == (["b", "d", "a"], 6, 3)
    np.testing.assert_allclose(data.shares, [0.3, 0.2, 0.1])
    found = {tuple(pattern.tolist()): count for pattern, count in zip(data.patterns, data.counts.tolist(), strict=True)}
    assert found == {(True, True, False): 2, (True, False, False): 1, (False, False, True): 1}
    assert plots.missing_data(np.zeros((3, 2))) is None


def test_correlations_are_over_the_rows_where_both_are_there() -> None:
    x = RNG.normal(size=(200, 3)) * [1, 100, 1e-6]
    x[:, 1] += 80 * x[:, 0]
    x[RNG.random(x.shape) < 0.3] = NAN
    data = plots.correlations_data(x)
    for i in range(3):
        for j in range(3):
            both = ~np.isnan(x[:, i]) & ~np.isnan(x[:, j])
            assert data.matrix[i, j] == pytest.approx(np.corrcoef(x[both, i], x[both, j])[0, 1], abs=1e-9)


def test_correlations_leave_out_categories_and_take_logarithms() -> None:
    x = np.stack([RNG.integers(0, 2, 90), RNG.choice([3, 6, 7], 90), np.exp(RNG.normal(size=90))], 1).astype(float)
    data = plots.correlations_data(x, [SEX, SIZE, Column("m", "positive")])
    assert data.names == ["sex", "m"]
    assert data.unordered == 1
    assert data.matrix[0, 1] == pytest.approx(np.corrcoef(x[:, 0], np.log(x[:, 2]))[0, 1])


@pytest.mark.parametrize("kind", ["real", "positive", "count", "categorical", "ordinal", "date"])
@pytest.mark.parametrize(("count", "classes"), [(1, 0), (40, 3)])
def test_pictures_of_one_kind(kind: str, count: int, classes: int, tmp_path: Path) -> None:
    x, made = one_kind(kind, count)
    labels = RNG.integers(0, classes, len(x)) if classes else None
    found = plots.columns_data(x, made, labels, HOSTILE[:classes])
    picture(plots.plot_columns(found, tmp_path / "data.png", HOSTILE[0]))
    gaps = plots.missing_data(x, made)
    assert gaps is not None
    picture(plots.plot_missing(gaps, tmp_path / "missing.png", HOSTILE[1]))
    plots.plot_correlations(plots.correlations_data(x, made), tmp_path / "correlations.png")


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "count"),
    [("real", 40), ("positive", 1), ("count", 1), ("categorical", 40), ("ordinal", 1), ("date", 1), ("ordinal", 40)],
)
def test_pictures_of_models_of_one_kind(kind: str, count: int, tmp_path: Path) -> None:
    x, made = one_kind(kind, count)
    whole = np.where(np.isnan(x), np.nanmean(x, 0), x)
    known, own = plots.quantities_data(x, made), plots.columns_features(x, made)
    shown = plots.reconstructions_data(x, whole[::-1], features=own, captions=HOSTILE * 2)
    picture(plots.plot_reconstructions(shown, tmp_path / "r.png", HOSTILE[0]))
    drawn = known.spread(whole)
    given = {"classes": HOSTILE[:2], "rows": drawn[:20].reshape(2, 10, -1), "prior": drawn}
    picture(plots.plot_samples(plots.samples_data(given, known.spread(x), known), tmp_path / "s.png", HOSTILE[1]))
    np.testing.assert_array_equal(own.are_logarithms, [c.kind in ("positive", "count") for c in made])
    cells, ends = drawn[:54], known.spread(x)[:12].reshape(6, 2, -1)
    way = plots.interpolations_data(cells, ends, [(HOSTILE[0], HOSTILE[1])] * 6, known)
    picture(plots.plot_interpolations(way, tmp_path / "i.png", HOSTILE[2]))
    sides = plots.sides_data(x, {HOSTILE[0]: whole, HOSTILE[1]: whole[::-1]}, own)
    picture(plots.plot_sides(sides, tmp_path / "sides.png"))
    picture(plots.plot_draws(plots.draws_data({"m": drawn}, known.spread(x), known), tmp_path / "draws.png"))
    latent = plots.latent_data(RNG.normal(size=(30, 2)), None, None, np.ones(2))
    picture(plots.plot_map(latent, plots.grid_data(drawn[:49], known), tmp_path / "map.png"))


def test_sides_measure_levels_by_their_share_that_is_wrong() -> None:
    x = np.array([[0.0, 1.0], [1.0, NAN], [1.0, 3.0], [NAN, 5.0]])
    known = plots.columns_features(x, [SEX, Column("a")])
    data = plots.sides_data(x, {"m": np.array([[1.0, 1.0], [1.0, 9.0], [0.0, 3.0], [0.0, 5.0]])}, known)
    assert data.columns is not None
    assert data.common is not None
    np.testing.assert_allclose(data.columns, [[2 / 3, 0]])
    assert data.common[0] == pytest.approx(1 / 3)
    assert data.errors == [0.0]


def test_of_many_quantities_the_worst_fits_are_shown() -> None:
    held = np.zeros((5, 100))
    made = held.copy()
    made[:, 40:50] = 1.0
    shares = np.zeros((2, 100))
    shares[1, 90:] = 0.5
    numbers, levels = samples.worst_fits(held, made, shares, np.arange(100) >= 80)
    assert set(range(40, 50)) <= set(numbers.tolist())
    assert set(range(90, 100)) <= set(levels.tolist())
    assert len(numbers) + len(levels) == samples.SHOWN


def test_all_pictures_of_a_table_of_every_kind(tmp_path: Path) -> None:
    data = typed_table()
    assert [path.stem for path in draw_data(data, tmp_path)] == ["data", "missing", "correlations"]
    for path in tmp_path.iterdir():
        picture(path)
    known, own = quantities_of(data), columns_of(data)
    assert known is not None
    assert own is not None
    assert len(own.names) == len(data.columns) < len(known.names)
    assert {name.partition(" = ")[0] for name in known.names} == set(data.features)
