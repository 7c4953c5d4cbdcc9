"""The pictures of a clustering: computes their contents from the model, its data and its mixture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Dataset
from vaelab.latent import UNKNOWN, Clusters, LatentMixture
from vaelab.latent.described import assigned, cluster_names
from vaelab.plots import clusters as plots
from vaelab.plots.dataset import features, viewable
from vaelab.plots.labels import budget_data, confusion_data, plot_budget, plot_confusion, plot_coverage
from vaelab.vae.fitted import Array, Fitted
from vaelab.vae.pictures import latent_rows
from vaelab.vae.quantities import quantities
from vaelab.wording import percent

NEAREST, DRAWN, PER_CLASS = 7, 7, 14


@dataclasses.dataclass(frozen=True)
class Shown:
    """The data of the pictures: posteriors (N, L) and component shares (N, K) of all examples. `narrow` is the mixture
    before it was widened by posterior variances: of the dots, if these are posterior means.
    """

    fitted: Fitted
    data: Dataset
    clusters: Clusters
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]
    narrow: LatentMixture


def draw_clusters(folder: Path, view: Shown, results: Mapping[str, Any]) -> list[Path]:
    """All pictures of a clustering, in FOLDER/figures; confusion, coverage and budget use the test split."""
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    drawn = [_draw_plane(view, figures / "pca.png"), _draw_components(view, figures / "components.png")]
    if results["em"]:
        drawn.append(plots.plot_em(results["em"], results["bic"], figures / "em.png"))
    if view.clusters.table is not None and view.data.is_image:
        drawn.append(_draw_samples(view, figures / "class_samples.png"))
    if results["confusion"] is not None:
        table = confusion_data(results["confusion"], view.data.classes)
        drawn.append(plot_confusion(table, figures / "confusion.png", "Predictions on the test split"))
    if results["coverage"] is not None and results["coverage"]["coverage"]:
        drawn.append(plot_coverage(results["coverage"], figures / "coverage.png"))
    if results["label_budget"]:
        drawn.append(plot_budget(budget_data(results["label_budget"]), figures / "budget.png"))
    return drawn


def component_classes(clusters: Clusters) -> npt.NDArray[np.int64]:
    """The class of each component (K,), UNKNOWN if it has less than one label's mass."""
    K = len(clusters.mixture.weights_)
    return np.full(K, UNKNOWN) if clusters.table is None else clusters.table.predict(np.eye(K))


def class_names(clusters: Clusters) -> list[str]:
    """The class that labels give to each component; "" without labels."""
    nameless = "unknown" if clusters.table is not None else ""
    return [clusters.classes[code] if code >= 0 else nameless for code in component_classes(clusters).tolist()]


def _draw_plane(view: Shown, path: Path) -> Path:
    rows, split = latent_rows(view.data)
    m = view.narrow
    if view.clusters.table is None:
        codes = assigned(view.shares[rows], view.clusters.reject)
        classes, named = cluster_names(len(m.weights_)), np.arange(len(m.weights_))
    else:
        assert view.data.labels is not None
        codes, classes, named = view.data.labels[rows], view.data.classes, component_classes(view.clusters)
    plane = plots.plane_data(
        view.mean[rows], codes, classes, m.means_, m.covariances_, named, m.weights_,
        are_clusters=view.clusters.table is None,
    )  # fmt: skip
    return plots.plot_plane(plane, path, f"The mixture, PCA of {split} latents")


def _draw_components(view: Shown, path: Path) -> Path:
    """A row per component: decoded mean, nearest training examples by Mahalanobis distance, samples."""
    m, data = view.clusters.mixture, view.data
    train = data.splits["train"]
    rows = train[:: -(-len(train) // 20_000)]
    count = min(plots.MAX_ROWS, len(m.weights_))
    rng = np.random.default_rng(0)
    nearest, draws = [], []
    for k in range(count):
        away = np.linalg.solve(np.linalg.cholesky(m.covariances_[k]), (view.mean[rows] - m.means_[k]).T)
        nearest.append(rows[np.argsort(np.square(away).sum(0), kind="stable")[:NEAREST]])
        draws.append(rng.multivariate_normal(m.means_[k], m.covariances_[k], DRAWN, method="cholesky"))
    known = features(data)
    notes = [percent(weight, 1) for weight in m.weights_[:count]]
    if view.clusters.table is not None:
        held = view.clusters.table.counts.sum(1)[:count]
        notes = [f"{note}, {mass:.0f} labels" for note, mass in zip(notes, held, strict=True)]
    means, made = (quantities(view.fitted, data, z, known) for z in (m.means_[:count], np.concatenate(draws)))
    shown = plots.components_data(
        class_names(view.clusters)[:count],
        notes,
        means,
        _viewable(data.x[np.array(nearest)], data),
        made.reshape(count, DRAWN, *made.shape[1:]),
        known,
        len(m.weights_),
    )
    return plots.plot_components(shown, path)


def _viewable(x: Array, data: Dataset) -> Array:
    return viewable(np.asarray(x), data)


def _draw_samples(view: Shown, path: Path) -> Path:
    """New images of every labelled class, from its components."""
    clusters, data = view.clusters, view.data
    assert clusters.table is not None
    m = clusters.mixture
    known = np.flatnonzero(clusters.table.known).tolist()[: plots.MAX_ROWS]
    points = [m.sample(PER_CLASS, code, clusters.table.component_weights(code, m.weights_)) for code in known]
    images = _viewable(view.fitted.decode(np.concatenate(points)), data).reshape(len(known), PER_CLASS, *data.shape)
    return plots.plot_class_samples(images, [data.classes[code] for code in known], path)
