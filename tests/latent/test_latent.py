"""Mixtures, labels and scores against known truth: drawn mixtures, scikit-learn, brute force, closed forms."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.semi_supervised import LabelSpreading
from sklearn.utils.estimator_checks import parametrize_with_checks

from vaelab import LatentMixture
from vaelab import metrics as scores
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, StoreError
from vaelab.latent import UNKNOWN, ClassTable, Clusters, component_shares, draw_balanced
from vaelab.latent.anomaly_scores import judge, pixel_entropy
from vaelab.latent.budget import by_graph, by_mixture, by_neighbours, by_probe, label_budget
from vaelab.latent.graph import TEMPERATURES, LabelGraph
from vaelab.latent.propagation import Calibration

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
COVARIANCES = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.6, -0.2], [-0.2, 0.9]], [[0.4, 0.0], [0.0, 1.2]]])
TRUTH = LatentMixture.of(WEIGHTS, MEANS, COVARIANCES)


@parametrize_with_checks([LatentMixture(components=2, starts=1, max_iter=20)])
def test_scikit_learn_contract(estimator: object, check: object) -> None:
    check(estimator)  # type: ignore[operator]


def test_points_may_be_a_data_frame() -> None:
    pd = pytest.importorskip("pandas")
    z = TRUTH.sample(200, seed=3)
    frame = pd.DataFrame(z, columns=["vae0", "vae1"], index=[f"r{i}" for i in range(200)])
    by_frame, by_array = (LatentMixture(2, starts=1).fit(points) for points in (frame, z))
    np.testing.assert_array_equal(by_frame.predict_proba(frame), by_array.predict_proba(z))
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        by_frame.predict(frame[["vae1", "vae0"]])


def test_density_and_posterior_are_the_formula() -> None:
    z = np.random.default_rng(0).normal(size=(50, 2)) * 3
    joint = WEIGHTS * np.stack(
        [multivariate_normal(m, c).pdf(z) for m, c in zip(MEANS, COVARIANCES, strict=True)], axis=1
    )
    np.testing.assert_allclose(TRUTH.score_samples(z), np.log(joint.sum(1)), rtol=1e-10)
    np.testing.assert_allclose(TRUTH.predict_proba(z), joint / joint.sum(1, keepdims=True), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(TRUTH.predict_proba(z * 1e4).sum(1), 1)  # far out nothing underflows
    assert (TRUTH.predict(z) == joint.argmax(1)).all()


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_figures_are_those_of_scikit_learn(covariance: str) -> None:
    z = TRUTH.sample(400, seed=1)
    mixture = LatentMixture(3, covariance, starts=2, tol=1e-4, seed=3).fit(z)  # type: ignore[arg-type]
    reference = GaussianMixture(3, covariance_type=covariance, tol=1e-4, max_iter=200, n_init=5, random_state=0).fit(z)
    assert mixture.score(z) == pytest.approx(reference.score(z), abs=2e-3)
    assert mixture.bic(z) == pytest.approx(reference.bic(z), abs=2)


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_dimensions_of_noise_have_no_parameters_of_each_component(covariance: str) -> None:
    """Over a few dimensions the mixture is scikit-learn's; over all, the same times one Gaussian for the others."""
    rng = np.random.default_rng(0)
    z = np.insert(TRUTH.sample(400, seed=1), [0, 1, 2], 2 + 3 * rng.normal(size=(400, 3)), axis=1)
    dims = np.array([False, True, False, True, False])
    mixture = LatentMixture(3, covariance, starts=2, tol=1e-4, floor=0, seed=3).fit(z, dims=dims)  # type: ignore[arg-type]
    alone = LatentMixture(3, covariance, starts=2, tol=1e-4, floor=0, seed=3).fit(z[:, dims])  # type: ignore[arg-type]
    rest = multivariate_normal(z[:, ~dims].mean(0), np.cov(z[:, ~dims].T, bias=True)).logpdf(z[:, ~dims])
    np.testing.assert_allclose(mixture.score_samples(z), alone.score_samples(z[:, dims]) + rest, rtol=1e-9)
    np.testing.assert_allclose(mixture.predict_proba(z), alone.predict_proba(z[:, dims]), atol=1e-9)
    assert mixture.bic(z) == pytest.approx(alone.bic(z[:, dims]) - 2 * rest.sum())
    assert mixture.stability(z) == pytest.approx(alone.stability(z[:, dims]))


@pytest.mark.parametrize("seed", range(4))
def test_em_never_lowers_its_likelihood(seed: int) -> None:
    z = np.random.default_rng(seed).standard_t(3, size=(600, 3))  # no mixture of a few Gaussians fits it
    mixture = LatentMixture(6, starts=2, tol=0, max_iter=60, floor=1e-9, seed=seed).fit(z)
    assert len(mixture.log_likelihoods_) == mixture.n_iter_ == 60
    assert (np.diff(mixture.log_likelihoods_) >= -1e-8).all()
    assert mixture.log_likelihoods_[-1] > mixture.log_likelihoods_[0] + 0.01
    assert mixture.score(z) == pytest.approx(mixture.log_likelihoods_[-1], abs=1e-3)
    assert mixture.starts_[0].log_likelihood <= mixture.log_likelihoods_[-1] + 1e-12


def test_a_known_mixture_is_recovered() -> None:
    n = 20_000
    mixture = LatentMixture(3, tol=1e-6, seed=0).fit(TRUTH.sample(n, seed=2))
    np.testing.assert_allclose(mixture.weights_, WEIGHTS, atol=5 * np.sqrt(0.25 / n))
    np.testing.assert_allclose(mixture.means_, MEANS, atol=0.06)
    np.testing.assert_allclose(mixture.covariances_, COVARIANCES, atol=0.08)
    counts = [LatentMixture(k, starts=1, seed=0).fit(TRUTH.sample(2_000, seed=2)) for k in (1, 2, 3, 4, 5)]
    bics = [one.bic(TRUTH.sample(2_000, seed=2)) for one in counts]
    assert int(np.argmin(bics)) == 2


def test_widening_is_a_convolution() -> None:
    rng = np.random.default_rng(0)
    variance = np.array([0.5, 2.0])
    wide = TRUTH.widened(variance)
    z = TRUTH.sample(40_000, seed=1)
    np.testing.assert_allclose(np.cov(wide.sample(40_000, seed=2).T), np.cov(z.T) + np.diag(variance), atol=0.25)
    noisy = z + rng.standard_normal(z.shape) * np.sqrt(variance)
    assert wide.score(noisy) > TRUTH.score(noisy) + 0.1


def test_stability_is_one_where_clusters_are_plain() -> None:
    z = TRUTH.sample(3_000, seed=4)
    assert LatentMixture(3, seed=0).fit(z).stability(z) == pytest.approx(1, abs=0.02)
    noise = np.random.default_rng(0).normal(size=(1_000, 2))
    loose = LatentMixture(8, seed=0).fit(noise).stability(noise)
    assert loose is not None
    assert loose < 0.8
    assert LatentMixture(2, starts=1).fit(z).stability(z) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"components": 60}, "50 points"),
        ({"components": 0}, "at least 1"),
        ({"components": True}, "whole number"),
        ({"starts": 0}, "at least 1"),
        ({"covariance": "ful"}, "did you mean 'full'"),
        ({"floor": -1.0}, "at least 0"),
    ],
)
def test_bad_parameters_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        LatentMixture(**options).fit(np.zeros((50, 2)))  # type: ignore[arg-type]


def test_class_probabilities_are_calibrated_and_sum_to_one() -> None:
    """Classes that are mixtures of components; the table learns them from labels and must say how sure it is."""
    rng = np.random.default_rng(0)
    close = LatentMixture.of(WEIGHTS, MEANS / 2.5, COVARIANCES)
    of_class = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])

    def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        k = rng.choice(3, n, p=WEIGHTS)
        noise = rng.standard_normal((n, 2))
        z = close.means_[k] + np.einsum("nij,nj->ni", np.linalg.cholesky(COVARIANCES)[k], noise)
        return z, (rng.random(n) < of_class[k, 1]).astype(np.int64)

    z, y = draw(20_000, 1)
    other, truth = draw(20_000, 2)
    table = ClassTable.of(close.predict_proba(z), y, 2)
    np.testing.assert_allclose(table.distributions, of_class, atol=0.03)
    proba = table.predict_proba(close.predict_proba(other))
    np.testing.assert_allclose(proba.sum(1), 1)
    assert scores.calibration_error(proba, truth) < 0.015  # 15 bins of 1333: their noise alone is near 0.01
    blurred = close.predict_proba(z).T @ np.eye(2)[y]  # shares counted as they are
    assert scores.calibration_error(ClassTable(blurred).predict_proba(close.predict_proba(other)), truth) > 0.03


def test_unknown_below_one_labels_mass() -> None:
    shares = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    table = ClassTable.of(shares, np.array([0, 0, 1]), 3)
    np.testing.assert_allclose(table.counts, [[2, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert table.predict(np.eye(3)).tolist() == [0, 1, UNKNOWN]
    mixed = np.array([[0.2, 0.0, 0.8], [0.3, 0.0, 0.7]])  # 0.4 and 0.6 labels
    assert table.predict(mixed).tolist() == [UNKNOWN, 0]
    assert table.known.tolist() == [True, True, False]
    np.testing.assert_allclose(table.predict_proba(np.eye(3)).sum(1), 1)
    np.testing.assert_allclose(table.distributions[2], 1 / 3)
    assert table.predict(np.eye(3), reject=0.75).tolist() == [0, UNKNOWN, UNKNOWN]
    for codes in ([0, 3], [-1, 0]):
        with pytest.raises(InputError, match="from 0 to 2"):
            ClassTable.of(shares[:2], np.array(codes), 3)


def test_draws_are_balanced_seeded_and_read_only_what_they_draw() -> None:
    codes = np.repeat([0, 1, 2], [100, 50, 4])
    rows = draw_balanced(codes, 30, 3, seed=1)
    assert np.bincount(codes[rows]).tolist() == [13, 13, 4]  # the third class has no more
    assert (draw_balanced(codes, 30, 3, seed=1) == rows).all()
    assert (draw_balanced(codes, 30, 3, seed=2) != rows).any()
    assert len(np.unique(draw_balanced(codes, 154, 3))) == 154
    assert len(np.unique(codes[draw_balanced(codes, 2, 3)])) == 2
    hidden = np.where(np.arange(154) < 10, -1, codes)
    assert draw_balanced(hidden, 144, 3).min() == 10
    for number in (0, 155):
        with pytest.raises(InputError, match="from 1 to 154"):
            draw_balanced(codes, number, 3)


def test_draws_come_from_as_many_groups_as_possible() -> None:
    groups = np.repeat(np.arange(30), 10)
    codes = groups % 3  # ten groups of each class
    for seed in range(5):
        rows = draw_balanced(codes, 30, 3, seed, groups)
        assert sorted(groups[rows].tolist()) == list(range(30))
        rows = draw_balanced(codes, 75, 3, seed, groups)
        assert np.bincount(codes[rows]).tolist() == [25, 25, 25]
        assert set(np.bincount(groups[rows], minlength=30).tolist()) == {2, 3}
    assert len(np.unique(draw_balanced(codes, 300, 3, 0, groups))) == 300
    own = np.arange(300)  # groups of one row change nothing
    assert (draw_balanced(codes, 40, 3, 1, own) == draw_balanced(codes, 40, 3, 1)).all()


def test_scores_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    codes, found = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    best = max(np.mean(np.array(naming)[found] == codes) for naming in itertools.permutations(range(4)))
    assert scores.hungarian_accuracy(found, codes, 4, 4) == pytest.approx(best)
    assert scores.hungarian_accuracy(found, codes, 5, 4) is None
    assert scores.purity(found, codes, 4, 4) == sum(np.bincount(codes[found == k]).max() for k in range(4)) / 300
    proba = rng.dirichlet(np.ones(4), 300)
    assert scores.brier(proba, codes) == pytest.approx(
        np.mean([sum((p[c] - (c == y)) ** 2 for c in range(4)) for p, y in zip(proba, codes, strict=True)])
    )
    assert scores.log_loss(proba, codes) == pytest.approx(-np.log(proba[np.arange(300), codes]).mean())
    order = np.argsort(proba.max(1))
    bins = np.split(order, 15)
    right = proba.argmax(1) == codes
    expected = sum(abs(right[b].mean() - proba.max(1)[b].mean()) * 20 for b in bins) / 300
    assert scores.calibration_error(proba, codes) == pytest.approx(expected)
    table = scores.confusion(np.array([0, -1, 1]), np.array([0, 0, 0]), 2)
    assert table.tolist() == [[1, 1, 1], [0, 0, 0]]
    known, other = rng.normal(size=50).round(1), rng.normal(1, 1, size=70).round(1)
    truth = np.repeat([0, 1], [50, 70])
    assert scores.auroc(known, other) == pytest.approx(roc_auc_score(truth, np.concatenate([known, other])))
    many = [(rng.normal(size=50), rng.normal(1, 1, size=70)) for _ in range(400)]
    errors = [scores.auroc_error(*pair) for pair in many]
    assert np.mean(errors) == pytest.approx(np.std([scores.auroc(*pair) for pair in many]), rel=0.12)
    assert scores.auroc_error(known, other[:1]) is None


def test_coverage_curve() -> None:
    proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4], [0.5, 0.5]])
    curve = scores.accuracy_coverage(proba, np.array([0, 0, 0, 0, -1]), np.array([0, 0, 1, 1, 0]))
    assert curve.coverage.tolist() == [0.2, 0.6, 0.8]  # equal confidences together, "unknown" never
    assert curve.accuracy.tolist() == pytest.approx([1, 2 / 3, 0.5])
    assert curve.threshold.tolist() == [0.9, 0.8, 0.6]


def moons(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_moons

    return make_moons(n, noise=0.06, random_state=0)  # type: ignore[no-any-return]


def test_spreading_along_the_graph() -> None:
    z, y = moons()
    rows = np.array([np.flatnonzero(y == 0)[0], np.flatnonzero(y == 1)[0]])
    graph = LabelGraph(z, 8, alpha=0.99)
    F = graph.spread(rows, y[rows], 2)
    given = np.zeros((len(z), 2))
    given[rows, y[rows]] = 1
    exact = 0.01 * np.linalg.solve(np.eye(len(z)) - 0.99 * graph.smooth.toarray(), given)
    np.testing.assert_allclose(F, exact, atol=1e-4)
    assert (F.argmax(1) == y).mean() > 0.97  # two labels, where the nearest labelled point is right in about 3 of 4
    other, truth = moons(300)
    assert (graph.predict_proba(other, rows, y[rows], 2).argmax(1) == truth).mean() > 0.97
    partial = np.full(len(z), -1)
    partial[rows] = y[rows]
    reference = LabelSpreading(kernel="knn", n_neighbors=8, alpha=0.99, max_iter=2_000).fit(z, partial)
    # scikit-learn's graph is one-way, and loses labels where nobody's neighbour they are.
    assert (reference.transduction_ == y).mean() <= (F.argmax(1) == y).mean()
    apart = LabelGraph(np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]]), 2)
    np.testing.assert_allclose(apart.predict_proba([[9.1]], np.array([0]), np.array([0]), 2), [[0.5, 0.5]])


def test_what_spreads_is_calibrated_by_leaving_labels_out() -> None:
    """Each label is left out in turn, as by brute force, and the temperature makes the shares of others honest."""
    rng = np.random.default_rng(1)
    centres = 2.1 * rng.normal(size=(10, 5))  # of classes that overlap
    y, other = rng.integers(0, 10, 1_500), rng.integers(0, 10, 2_000)
    z, new = (centres[codes] + rng.normal(size=(len(codes), 5)) for codes in (y, other))
    graph, rows = LabelGraph(z), draw_balanced(y, 50, 10, seed=2)
    calibration = graph.calibration(rows, y[rows], 10)
    assert calibration is not None
    left_out = np.empty((50, 10))
    for i, row in enumerate(rows):
        rest = np.delete(rows, i)
        arrived = graph.spread(rest, y[rest], 10)
        away, near = graph.away[row], graph.near[row]
        weights = np.exp(-(away**2) / (away[-1] * graph.reach[near]))
        left_out[i] = weights @ (arrived / arrived.sum(1, keepdims=True))[near] / weights.sum()
    losses = [scores.log_loss(Calibration(t, 50)(left_out), y[rows]) for t in TEMPERATURES]
    assert calibration.temperature == pytest.approx(
        TEMPERATURES[int(np.argmin(losses))], rel=0.07
    )  # a step of the grid
    shares = graph.predict_proba(new, rows, y[rows], 10)
    kept = graph.propagation(rows, y[rows], 10)
    np.testing.assert_allclose(kept.predict_proba(new), calibration(shares), rtol=1e-12)
    honest = calibration(shares)
    np.testing.assert_allclose(honest.sum(1), 1)
    assert (honest.argmax(1) == shares.argmax(1)).all()
    assert scores.calibration_error(honest, other) < 0.06 < 0.3 < scores.calibration_error(shares, other)
    assert scores.log_loss(honest, other) < scores.log_loss(shares, other)
    single = np.array([np.flatnonzero(y == c)[0] for c in range(10)])
    assert graph.calibration(single, y[single], 10) is None
    single = np.append(single, np.flatnonzero(y == 0)[1])  # of which only those of class 0 can be left out
    assert graph.calibration(single, y[single], 10) is not None


def test_budget_is_paired_and_counts_unknown_as_wrong() -> None:
    z, y = moons(400)
    other, truth = moons(200)
    mixture = LatentMixture(8, seed=0).fit(z)
    methods = {
        "mixture": by_mixture(mixture.predict_proba(z), mixture.predict_proba(other), 2),
        "graph": by_graph(LabelGraph(z), other, 2),
        "probe": by_probe(z, other),
        "neighbours": by_neighbours(z, other),
    }
    table = label_budget(methods, y, truth, 2, sizes=(4, 40, 4_000), draws=5, seed=0)
    assert [(row["labels"], row["draws"]) for row in table] == [(4, 5), (40, 5), (400, 1)]
    assert table[-1]["accuracy"]["neighbours"] == {"mean": pytest.approx(1, abs=0.02), "se": None}
    few = table[0]["accuracy"]
    assert few["mixture"]["mean"] <= 0.9  # four labels name at most four of eight components
    rows = draw_balanced(y, 4, 2, derive_seed(0, 4, 0))
    one = label_budget(methods, y, truth, 2, sizes=(4,), draws=1, seed=0)[0]
    assert one["accuracy"]["probe"]["mean"] == (methods["probe"](rows, y[rows]) == truth).mean()


def test_a_budget_draws_its_labels_by_group() -> None:
    z, y = np.repeat(moons(40)[0], 10, axis=0), np.repeat(moons(40)[1], 10)
    groups, asked = np.repeat(np.arange(40), 10), []

    def method(rows: Any, codes: Any) -> Any:
        asked.append(len(np.unique(groups[rows])))
        return np.zeros(5, np.int64)

    label_budget({"one": method}, y, np.zeros(5, np.int64), 2, sizes=(10, 20), draws=3, groups=groups)
    assert asked == [10, 10, 10, 20, 20, 20, 40]
    assert len(z) == len(groups)


def test_saved_clusters_come_back_and_damage_is_named(tmp_path: Path) -> None:
    table = ClassTable.of(np.eye(3), np.array([0, 1, 1]), 2)
    mean, std = np.random.default_rng(0).normal(size=(2, 20, 2))
    spread = LabelGraph(mean, 3).propagation(np.arange(4), np.array([0, 1, 0, 1]), 2)
    spread = dataclasses.replace(spread, accuracy={"mixture": 0.5, "graph": 0.75})
    clusters = Clusters(TRUTH, table, ("a", "b"), "means", 0.5, "..", "abc", spread)
    clusters.save(tmp_path)
    back = Clusters.load(tmp_path)
    assert (back.chosen, back.methods) == ("graph", ("mixture", "graph"))
    for accuracy, expected in (
        ({}, "mixture"),
        ({"mixture": 1.0, "graph": 1.0}, "graph"),
        ({"mixture": 1, "graph": 0.5}, "mixture"),
    ):
        assert dataclasses.replace(spread, accuracy=accuracy).chosen == expected
    for by in (None, "graph", "mixture"):
        for own, other in zip(back.predict(mean, abs(std), by), clusters.predict(mean, abs(std), by), strict=True):
            np.testing.assert_array_equal(own, other)
    with pytest.raises(InputError, match="unknown `by` 'grap'; did you mean 'graph'"):
        back.predict(mean, std, "grap")
    np.testing.assert_array_equal(back.shares(mean, abs(std)), clusters.shares(mean, abs(std)))
    assert back.table is not None
    assert (back.table.counts.tolist(), back.classes, back.points, back.reject, back.run) == (
        table.counts.tolist(), ("a", "b"), "means", 0.5, "..",
    )  # fmt: skip
    facts = json.loads((tmp_path / "mixture.json").read_text())
    for change, said in (
        ({"format": 2}, "format 1"),
        ({"components": 4}, "shape"),
        ({"points": "codes"}, "samples or means"),
        ({"classes": None}, "classes"),
    ):
        (tmp_path / "mixture.json").write_text(json.dumps(facts | change))
        with pytest.raises(StoreError, match=said):
            Clusters.load(tmp_path)
    (tmp_path / "mixture.json").write_text(json.dumps(facts))
    blob = bytearray((tmp_path / "mixture.safetensors").read_bytes())
    blob[-1] ^= 1
    (tmp_path / "mixture.safetensors").write_bytes(blob)
    with pytest.raises(StoreError, match="damaged"):
        Clusters.load(tmp_path)


def test_shares_do_not_depend_on_company_and_average_the_posterior() -> None:
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=(30, 2)) * 2, np.abs(rng.normal(size=(30, 2)))
    shares = component_shares(TRUTH, mean, std, "samples")
    np.testing.assert_allclose(component_shares(TRUTH, mean[7:8], std[7:8], "samples"), shares[7:8])
    np.testing.assert_allclose(shares.sum(1), 1)
    many = TRUTH.predict_proba((mean[:, None] + std[:, None] * rng.standard_normal((30, 4_000, 2))).reshape(-1, 2))
    assert np.abs(shares - many.reshape(30, 4_000, 3).mean(1)).mean() < 0.05
    np.testing.assert_array_equal(component_shares(TRUTH, mean, std, "means"), TRUTH.predict_proba(mean))


def test_anomaly_scores_say_when_they_fail() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((100, 9))
    expected = (-x * np.log(x) - (1 - x) * np.log(1 - x)).sum(1)
    np.testing.assert_allclose(pixel_entropy(x), expected)
    assert pixel_entropy(np.array([[0.0, 1.0]])).tolist() == [0.0]
    own = {"bound": rng.normal(10, 1, 500), "pixel_entropy": rng.normal(8, 1, 500)}
    other = {"bound": rng.normal(7, 1, 500), "pixel_entropy": rng.normal(4, 1, 500)}
    found = judge(own, other)
    assert found["bound"]["failed"]
    assert found["bound"]["auroc"] < 0.05
    assert "FAILED" in found["bound"]["sentence"]
    assert "without a model" in found["bound"]["sentence"]
    assert "typicality" not in found
    assert not judge(other, own)["bound"]["failed"]


def test_a_mixture_without_variance_is_refused_in_words():
    z = np.repeat(np.eye(3), 20, axis=0)
    with pytest.raises(InputError, match="`floor` = 0 is too small for points so alike"):
        LatentMixture(3, floor=0.0).fit(z)
    with pytest.raises(InputError, match="`floor` must be a number"):
        LatentMixture(3, floor="small").fit(z)
