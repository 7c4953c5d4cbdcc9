"""Pictures: the data against independent truth; the files are sound, filled, and survive hostile names."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from pictures import HOSTILE, history, picture, record
from vaelab import plots
from vaelab.plots import examples, losses, samples, study, style, trial
from vaelab.plots.posterior import corner_data, plot_corner
from vaelab.settings.yardsticks import Yardstick
from vaelab.vae.yardsticks.neg_elbo import NEG_ELBO

pytestmark = pytest.mark.slow

# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_clean_text_is_one_short_line_without_mathtext(name: str) -> None:
    text = style.clean(name, 20)
    assert "\n" not in text
    assert len(text.replace(r"\$", "$")) <= 20
    assert text.count("$") == text.count(r"\$")


def test_a_matplotlibrc_that_asks_for_latex_changes_nothing(tmp_path: Path) -> None:
    data = plots.latent_data(np.arange(20.0)[:, None], None, None, np.ones(1))
    plain = plots.plot_latent(data, tmp_path / "plain.png", "a_b $").read_bytes()
    with matplotlib.rc_context({"text.usetex": True}):
        assert plots.plot_latent(data, tmp_path / "latex.png", "a_b $").read_bytes() == plain


def test_shortened_names_stay_apart() -> None:
    assert style.clean_names(["a" * 30, "a" * 31, "b"], 10) == ["aaaaa… #0", "aaaaa… #1", "b"]
    assert style.clean_names(["coloured vessels = 0", "coloured vessels = 1"], 12) == ["colou…ls = 0", "colou…ls = 1"]


def test_spread_keeps_order_and_gap() -> None:
    moved = style.spread([0.5, 0.1, 0.51, 0.5], 0.08)
    order = np.argsort([0.5, 0.1, 0.51, 0.5], kind="stable")
    assert np.diff(np.array(moved)[order]).min() > 0.079


# --- losses ---------------------------------------------------------------------------------------


def test_losses_data_by_hand() -> None:
    records = [
        record(1, 500.0, 480.0),
        record(2, 120.0, 125.0),
        record(3, 110.0, 118.0),
        record(4, 100.0, None),
    ]
    data = plots.losses_data(records)
    assert data.best == 2
    np.testing.assert_array_equal(data.curves["train"]["neg_elbo"], [500, 120, 110, 100])
    np.testing.assert_array_equal(data.curves["validation"]["distortion"], [475, 120, 113, np.nan])
    np.testing.assert_array_equal(data.curves["train"]["rate"], [5, 5, 5, 5])


def test_first_epochs_do_not_squash_the_rest() -> None:
    data = plots.losses_data(history(40))
    low, high = data.limits["neg_elbo"]
    late = np.array([r["validation"]["neg_elbo"] for r in history(40)[10:]])
    assert low < 100.1
    assert high < 150
    assert low < late.min() < late.max() < high


def test_references_are_drawn_near_and_noted_far() -> None:
    data = plots.losses_data(history(), {"no latents": 205.8, "floor": 99.0})
    assert data.noted == {"no latents": 205.8}
    assert data.drawn == {"floor": 99.0}
    assert data.limits["neg_elbo"][0] < 99.0


@pytest.mark.parametrize("records", [[], history(1), history(2), [record(1, math.nan, math.inf)]])
def test_losses_of_short_or_broken_histories(records: list[dict], tmp_path: Path) -> None:
    picture(plots.plot_losses(plots.losses_data(records), tmp_path / "losses.png"))


def test_losses_picture(tmp_path: Path) -> None:
    references = {HOSTILE[0]: 101.0, HOSTILE[1]: 205.8}
    picture(plots.plot_losses(plots.losses_data(history(), references), tmp_path / "new" / "a.png", HOSTILE[0]))


# --- latent ---------------------------------------------------------------------------------------


def test_principal_plane_equals_svd() -> None:
    points = np.random.default_rng(0).normal(size=(50, 6)) * [5, 1, 3, 1, 1, 1]
    scores, shares = trial.principal_plane(points)
    U, S, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(scores), np.abs(U[:, :2] * S[:2]), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(shares, (S**2 / (S**2).sum())[:2])


def test_principal_plane_of_many_unused_dimensions() -> None:
    rng = np.random.default_rng(0)
    points = np.zeros((40, 600))
    points[:, [7, 500]] = rng.normal(size=(40, 2)) * [3, 1]
    _, shares = trial.principal_plane(points)
    assert shares.sum() == pytest.approx(1)


def test_latent_data_picks_the_dimensions_of_highest_kl() -> None:
    means = np.random.default_rng(0).normal(size=(20, 5)) * [1, 1, 0.01, 1, 1]
    data = plots.latent_data(means, np.arange(20) % 2, ["a", "b"], np.array([0.1, 3.0, 0.0, 2.0, 1.0]))
    np.testing.assert_array_equal(data.panels[0].points, means[:, [1, 3]])
    assert (data.panels[0].x, data.panels[0].y) == ("z2", "z4")
    np.testing.assert_array_equal(data.order, [1, 3, 4, 0, 2])
    np.testing.assert_array_equal(data.active, [True, True, True, True, False])
    np.testing.assert_array_equal(data.kl, [3, 2, 1, 0.1, 0])


def test_latent_data_draws_few_points_and_keeps_labels_beside_them() -> None:
    means = np.arange(9000.0)[:, None]
    data = plots.latent_data(means, np.arange(9000) % 3, list("abc"), np.ones(1))
    points = data.panels[0].points[:, 0]
    assert len(points) == trial.MAX_POINTS
    assert len(np.unique(points)) == trial.MAX_POINTS
    assert data.labels is not None
    np.testing.assert_array_equal(data.labels, points % 3)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("labelled", [True, False])
def test_latent_picture(d: int, labelled: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, len(HOSTILE), 200) if labelled else None
    data = plots.latent_data(rng.normal(size=(200, d)), labels, HOSTILE if labelled else None, rng.random(d))
    pixels = picture(plots.plot_latent(data, tmp_path / "latent.png", HOSTILE[1]))
    assert (np.ptp(pixels.astype(int), axis=2) > 60).mean() > 0.002, "no colour"


@pytest.mark.parametrize("means", [np.zeros((5, 3)), np.full((4, 3), np.nan), np.zeros((1, 2)), np.zeros((3, 1))])
def test_latent_picture_of_a_dead_space(means: np.ndarray, tmp_path: Path) -> None:
    data = plots.latent_data(means, None, None, np.zeros(means.shape[1]))
    assert not data.active.any()
    picture(plots.plot_latent(data, tmp_path / "latent.png"))


def test_latent_picture_of_25_classes(tmp_path: Path) -> None:
    means = np.random.default_rng(0).normal(size=(300, 3))
    data = plots.latent_data(means, np.arange(300) % 25, [f"class {i}" for i in range(25)], np.ones(3))
    picture(plots.plot_latent(data, tmp_path / "latent.png"))


def test_palette_colours_differ() -> None:
    colours, markers = style.class_look(20)
    assert len(set(zip(colours, markers, strict=True))) == 20


# --- reconstructions and samples ------------------------------------------------------------------


def test_mosaic_by_hand() -> None:
    cells = np.zeros((3, 1, 2, 3), np.uint8) + np.array([10, 20, 30], np.uint8)[:, None, None, None]
    expected = [[10, 10, 255, 20, 20], [255] * 5, [30, 30, 255, 255, 255]]
    np.testing.assert_array_equal(examples.mosaic(cells, 2, 1)[..., 0], expected)


def test_pixels_are_clipped() -> None:
    pixels = examples.as_pixels(np.array([[[-1.0, 0.0, 0.5, 1.0, 2.0, np.nan]]]))
    np.testing.assert_array_equal(pixels[0, 0, :, 0], [0, 0, 128, 255, 255, 0])
    assert pixels.shape == (1, 1, 6, 3)


def test_difference_is_white_where_right_orange_where_bright_blue_where_dark() -> None:
    colours = examples.difference(np.array([[[0.5, 0.0, 1.0]]]), np.array([[[0.5, 1.0, 0.0]]]))
    np.testing.assert_array_equal(colours[0, 0], [[255, 255, 255], [217, 100, 30], [36, 99, 168]])


def test_reconstruction_error_by_hand() -> None:
    data = plots.reconstructions_data(np.zeros((20, 2, 2)), np.full((20, 2, 2), 0.5))
    assert len(data.originals) == 12
    np.testing.assert_allclose(data.error, 0.5)


@pytest.mark.parametrize(
    "shape", [(8, 8), (28, 28), (9, 30), (40, 10), (12, 12, 1), (64, 64, 3), (300, 300), (13,), (1,), (90,)]
)
@pytest.mark.parametrize("n", [1, 12])
def test_reconstructions_picture(shape: tuple[int, ...], n: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
    features = [HOSTILE[i % len(HOSTILE)] for i in range(13)] if shape == (13,) else ()
    captions = [HOSTILE[i % len(HOSTILE)] for i in range(n)]
    data = plots.reconstructions_data(x, x**2, captions=captions, features=features)
    picture(plots.plot_reconstructions(data, tmp_path / "r.png", HOSTILE[0]))


def test_marginals_against_numpy() -> None:
    rng = np.random.default_rng(0)
    held, prior = rng.normal(3, 2, (500, 4)), rng.normal(3, 2, (400, 4))
    rows = rng.normal(size=(2, 30, 4))
    data = plots.samples_data({"classes": ["a", "b"], "rows": rows, "prior": prior}, held)
    found = samples.marginals(data)
    expected = (np.quantile(prior, 0.25, axis=0) - held.mean(0)) / held.std(0)
    np.testing.assert_allclose(found.prior[1], expected)
    assert found.classes is not None
    np.testing.assert_allclose(found.classes, (rows.mean(1) - held.mean(0)) / held.std(0))
    off = ~np.eye(4, dtype=bool)
    gap = np.abs(np.corrcoef(held.T) - np.corrcoef(prior.T))[off].mean()
    assert found.correlation_gap == pytest.approx(gap)


def test_correlations_of_a_wide_table_are_compared_over_some_columns() -> None:
    rng = np.random.default_rng(0)
    held, prior = rng.normal(size=(5, 1203)), rng.normal(size=(6, 1203))
    found = samples.marginals(plots.samples_data({"prior": prior}, held))
    some = slice(None, None, 4)  # 301 of them, at most 400
    off = ~np.eye(301, dtype=bool)
    gap = np.abs(np.corrcoef(held[:, some].T) - np.corrcoef(prior[:, some].T))[off].mean()
    assert found.correlation_gap == pytest.approx(gap)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (20, 20, 3), (13,), (1,), (90,)])
@pytest.mark.parametrize("classes", [0, 3, 20])
def test_samples_picture(shape: tuple[int, ...], classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [HOSTILE[i % len(HOSTILE)] for i in range(classes)]
    given = {"classes": names, "rows": rng.random((classes, 9, *shape)), "prior": rng.random((40, *shape))}
    held = rng.random((30, *shape)) if len(shape) == 1 else None
    picture(plots.plot_samples(plots.samples_data(given, held), tmp_path / "s.png", HOSTILE[1]))


def test_samples_without_labels_or_data(tmp_path: Path) -> None:
    for prior in (np.random.default_rng(0).random((5, 7)), np.random.default_rng(0).random((5, 8, 8))):
        data = plots.samples_data({"classes": None, "rows": None, "prior": prior})
        assert data.rows is None
        picture(plots.plot_samples(data, tmp_path / "s.png"))


# --- study ----------------------------------------------------------------------------------------


def trial_record(number: int, state: str, value: float | None, rungs: dict, **more: object) -> dict:
    latent = 2 ** (1 + number % 5)
    base = {"number": number, "state": state, "value": value, "rungs": rungs, "verdict": "ok", "seconds": 3.0}
    base |= {"params": {"latent_dim": latent}, "spec": {"latent_dim": latent}, "epochs": 9}
    return base | {"rate": 5.0, "distortion": None} | more


TRIALS = [
    trial_record(2, "COMPLETE", 101.0, {"3": 115.0, "10": 104.0}, epochs=27),
    trial_record(0, "COMPLETE", 110.0, {"3": 120.0, "10": 112.0}, epochs=27),
    trial_record(1, "PRUNED", None, {"3": 130.0}),
    trial_record(3, "COMPLETE", 90.0, {"3": 118.0, "10": 95.0}, verdict="collapsed", epochs=27),
    trial_record(4, "FAIL", None, {}),
    trial_record(5, "COMPLETE", 105.0, {3: 119.0, 10: 109.0}, epochs=27),
]


def test_history_data_by_hand() -> None:
    data = plots.history_data(TRIALS)
    nan = np.nan
    np.testing.assert_array_equal(data.numbers, range(6))
    np.testing.assert_array_equal(data.values, [110, nan, 101, 90, nan, 105])
    np.testing.assert_array_equal(data.best, [110, 110, 101, 101, 101, 101])
    np.testing.assert_array_equal(data.last_rung, [nan, 130, nan, nan, nan, nan])
    np.testing.assert_array_equal(data.collapsed, [False, False, False, True, False, False])
    np.testing.assert_array_equal(data.failed, [False, False, False, False, True, False])
    assert data.winner is None
    assert plots.history_data(TRIALS, 0).numbers[plots.history_data(TRIALS, 0).winner] == 0


def test_rungs_data_by_hand() -> None:
    data = plots.rungs_data(TRIALS)
    np.testing.assert_array_equal(data.rung_epochs, [3, 10])
    np.testing.assert_array_equal(data.live, [5, 4])
    assert data.winner == 0
    np.testing.assert_array_equal(data.epochs[0], [3, 10, 27])
    np.testing.assert_array_equal(data.values[0], [115, 104, 101])
    np.testing.assert_array_equal(data.pruned, [False, False, True, False, False])


def test_latent_size_data_by_hand() -> None:
    data = plots.latent_size_data([*TRIALS, trial_record(7, "COMPLETE", 99.0, {})])
    np.testing.assert_array_equal(data.sizes, [8, 2, 16, 2, 8])
    np.testing.assert_array_equal(data.envelope_sizes, [2, 8])
    np.testing.assert_array_equal(data.envelope, [105, 99])
    assert data.winner == 4


def test_importance_data_by_hand() -> None:
    data = plots.importance_data({"b": 0.1, "a": 0.6, "c": math.nan, "d": 0.3}, limit=3)
    assert data.names == ["a", "d", "b"]
    np.testing.assert_array_equal(data.shares, [0.6, 0.3, 0.1])
    assert data.omitted == 1


def many() -> list[dict]:
    rng = np.random.default_rng(0)
    kinds = rng.choice(["COMPLETE", "PRUNED", "FAIL"], 500, p=[0.5, 0.4, 0.1])
    return [
        trial_record(i, str(kind), 100 + float(rng.gamma(1, 9)) if kind == "COMPLETE" else None, {"3": 130.0 + i % 9})
        for i, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize("trials", [[], TRIALS, TRIALS[2:3], TRIALS[3:4], TRIALS[4:5], TRIALS[:1], many()])
def test_study_pictures(trials: list[dict], tmp_path: Path) -> None:
    picture(plots.plot_history(plots.history_data(trials, 3), tmp_path / "h.png", NEG_ELBO, HOSTILE[0]))
    picture(plots.plot_rungs(plots.rungs_data(trials), tmp_path / "r.png", NEG_ELBO, HOSTILE[1]))
    picture(plots.plot_latent_size(plots.latent_size_data(trials), tmp_path / "l.png", NEG_ELBO))


def of_two() -> dict:
    """The results of a study judged by two yardsticks; its front has the corners (1, 0.5), (2, 0.5) and (2, 0.9)."""
    table = [{"values": [1.0, 0.5], "verdict": "ok"}, {"values": [9.0, 0.1], "verdict": "collapsed"}, {"values": None}]
    means = {3: [1.0, 0.5], 8: [2.0, 0.9], 5: [3.0, 0.7]}
    finalists = [{"number": n, "means": m, "errors": [0.1, None]} for n, m in means.items()]
    return {"table": table, "finalists": finalists, "front": [3, 8], "best": {"number": 8}}


def test_front_joins_its_members_at_the_worse_of_two(tmp_path: Path) -> None:
    data = plots.front_data(of_two())
    assert data.steps.tolist() == [[1.0, 0.5], [2.0, 0.5], [2.0, 0.9]]
    assert data.winner == 1
    assert data.collapsed.tolist() == [False, True]
    probe = Yardstick("probe", HOSTILE[0], "p", rises=True)
    picture(plots.plot_front(data, tmp_path / "f.png", (NEG_ELBO, probe), HOSTILE[1]))
    nothing = {"table": [], "finalists": [], "best": None}
    picture(plots.plot_front(plots.front_data(nothing), tmp_path / "n.png", (NEG_ELBO, probe)))


def test_importance_picture(tmp_path: Path) -> None:
    picture(plots.plot_importance(plots.importance_data(dict.fromkeys(HOSTILE, 0.1)), tmp_path / "i.png"))
    plots.plot_importance(plots.importance_data({"a": 0.0}), tmp_path / "zero.png")
    plots.plot_importance(plots.importance_data({}), tmp_path / "none.png")


# --- house rules ----------------------------------------------------------------------------------


def test_same_data_same_picture(tmp_path: Path) -> None:
    data = plots.latent_size_data(TRIALS)
    first = plots.plot_latent_size(data, tmp_path / "a.png", NEG_ELBO).read_bytes()
    assert plots.plot_latent_size(data, tmp_path / "b.png", NEG_ELBO).read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_plots_use_no_pyplot_and_no_heavy_library() -> None:
    for module in (examples, losses, samples, style, study, trial):
        tree = ast.parse(Path(module.__file__).read_text())
        names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {n for n in names if n.split(".")[0] in ("torch", "optuna", "sklearn") or "pyplot" in n}


def test_names_beside_an_axis_take_the_room_that_is_measured() -> None:
    names = ["vessels_coloured_fluoroscopy = 0", "i" * 39, r"\$5"]
    short, widest = style.side_names(names, 3.2)
    assert short[:2] == names[:2]
    figure = style.canvas(2)
    texts = [figure.text(0, 0, name, fontsize=9, fontfamily=style.FONT) for name in short]
    drawn = max(text.get_window_extent().width for text in texts) / style.DPI
    assert widest == pytest.approx(drawn, rel=0.05)
    narrow, room = style.side_names(["W" * 60, "W" * 61 + "a"], 2.0)
    assert room <= 2.0
    assert len(set(narrow)) == 2


def test_dots_without_a_class_lie_below_and_are_smaller() -> None:
    axes = style.chart(style.canvas(3), 0.6, 0.5, 4, 2)
    codes = np.full(2000, -1)
    codes[::20] = np.arange(100) % 12  # beyond ten classes with another marker
    points = np.random.default_rng(0).normal(size=(2000, 2))
    style.draw_classes(axes, points, codes, 12, alpha=0.5, zorder=2)
    below, *above = sorted(axes.collections, key=lambda each: each.get_zorder())
    np.testing.assert_array_equal(below.get_offsets(), points[codes < 0])
    assert sum(len(each.get_offsets()) for each in above) == 100
    assert len(above) == 2
    for each in above:
        assert each.get_zorder() > below.get_zorder()
        assert each.get_sizes()[0] > 2 * below.get_sizes()[0]


@pytest.mark.parametrize("highest", [3e-7, 0.02, 7.0, 4.6e8])
def test_ticks_say_their_whole_value(highest: float) -> None:
    axes = style.chart(style.canvas(3), 0.6, 0.5, 4, 2)
    axes.plot([0, 1], [0, highest])
    axes.figure.canvas.draw()
    assert not axes.yaxis.get_offset_text().get_text()
    shown = [float(label.get_text().replace("−", "-")) for label in axes.get_yticklabels()]
    np.testing.assert_allclose(shown, axes.get_yticks(), rtol=1e-2, atol=1e-3 * highest)


def test_a_corner_fits_the_page_and_narrow_ranges_count_from_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, path: figures.append(figure))
    draws = np.random.default_rng(0).normal(size=(400, 4)) * [2e-4, 3e-9, 1.0, 1e-6] + [97.109, 599.9, 0.0, -20.0]
    plot_corner(corner_data(draws, draws[0], ["force", "length", "angle", "depth"]), "c.png", "narrow")
    (figure,) = figures
    panels = figure.axes
    assert max(axes.get_position().x1 for axes in panels) < 1
    assert panels[0].get_title(loc="left") == "force − 97.109"
    assert [axes.get_xlabel() for axes in panels[-4:]] == ["force\n− 97.109", "length\n− 599.9", "angle", "depth\n+ 20"]
    assert max(abs(end) for end in panels[0].get_xlim()) < 1e-3
    assert panels[0].lines[0].get_xdata()[0] == pytest.approx(draws[0, 0] - 97.109)  # the truth moves along


@pytest.mark.parametrize(
    ("values", "ticks"), [((0, 8e5), {"2e5", "8e5"}), ((0, 1e6), {"2e5", "1e6"}), ((0, 9e3), {"2000"})]
)
def test_neighbouring_charts_write_ticks_alike(values: tuple[float, float], ticks: set[str]) -> None:
    axes = style.chart(style.canvas(3), 0.5, 0.5, 6, 2)
    axes.set_xlim(*values)
    axes.figure.canvas.draw()
    assert ticks <= {label.get_text() for label in axes.get_xticklabels()}
