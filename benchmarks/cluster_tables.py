"""Clusters in tables, with a few labels and with none, beside k-means and a Gaussian mixture on standardised columns.

    python benchmarks/cluster_tables.py [--seeds 3] [--sets iris,wine] [--smoke]

Sets: three clear clusters in three of four columns; iris, wine and breast cancer; six measurements of penguins (needs
VAELAB_DATA). Without labels, `cluster` chooses the number of clusters and their shape by itself: how many it finds, and
the adjusted Rand index of all rows with the classes. Its peers are told the number of classes. With 30 labels: the
accuracy on test rows of the mixture, of label propagation, and of the one that answers by default. Means over seeds of
the encoder, and of the peers. It fails if the three clear clusters are not found.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import datasets
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

import vaelab
from vaelab.data import load

LABELS = 30
CLEAR = 0.9  # adjusted Rand index of the clear clusters
MEASURED = ("Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)", "Delta 15 N (o/oo)",
            "Delta 13 C (o/oo)")  # fmt: skip


def blobs() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    rng = np.random.default_rng(1)
    codes = np.arange(600) % 3
    means, sds = np.outer(codes, [3.0, -2.0, 1.0, 0.0]), np.array([0.7, 0.6, 0.5, 1.0])
    return means + sds * rng.normal(size=(600, 4)), codes


def penguins() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    data = load(Path(os.environ["VAELAB_DATA"]) / "tables" / "penguins_raw.csv", target="Species")
    assert data.labels is not None
    x = data.flat[:, [data.features.index(name) for name in MEASURED]]
    whole = ~np.isnan(x).any(1)
    return x[whole], data.labels[whole]


SETS = {
    "clear clusters": blobs,
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "penguins": penguins,
}


def clusters_of(folder: Path, n: int) -> npt.NDArray[Any]:
    """The cluster of every row, of the saved model."""
    return np.array([row.split(",")[2] for row in (folder / "clusters.csv").read_text().splitlines()[1 : n + 1]])


def measured(x: Any, y: Any, seed: int, settings: dict[str, Any], folder: Path) -> dict[str, float]:
    """What one seed gives."""
    options: dict[str, Any] = {"settings": settings, "seed": seed, "figures": False, "budget": False}
    free = vaelab.cluster(x, out=folder / "free", **options)
    named = vaelab.cluster(x, y, labels=LABELS, out=folder / "named", **options)
    methods = {name: own["labelled_accuracy"] for name, own in named.results["methods"].items()}
    z, classes = StandardScaler().fit_transform(x), len(np.unique(y))
    return {
        "clusters": free.results["components"],
        "vaelab": adjusted_rand_score(y, clusters_of(folder / "free", len(x))),
        "k-means": adjusted_rand_score(y, KMeans(classes, n_init=10, random_state=seed).fit_predict(z)),
        "mixture": adjusted_rand_score(
            y, GaussianMixture(classes, n_init=10, reg_covar=1e-3, random_state=seed).fit_predict(z)
        ),
        "named mixture": methods["mixture"],
        "graph": methods["graph"],
        "default": methods[named.results["predicts_by"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one set, hardly trained")
    chosen = parser.parse_args()
    names, settings = chosen.sets.split(","), dict[str, Any]()
    if chosen.smoke:
        names, chosen.seeds, settings = ["iris"], 1, {"epochs": 2, "hidden": "8"}
    elif "VAELAB_DATA" not in os.environ and "penguins" in names:
        names.remove("penguins")
        print("without VAELAB_DATA there are no penguins")
    print("| set | clusters | vaelab | k-means | mixture | 30 labels: mixture | graph | default |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for name in names:
        x, y = SETS[name]()
        found = []
        for seed in range(chosen.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(measured(x, y, seed, settings, Path(folder)))
        means = [f"{statistics.fmean(own[key] for own in found):.3f}" for key in list(found[0])[1:]]
        counts = ", ".join(str(own["clusters"]) for own in found)
        print(f"| {name} ({len(x)}) | {counts} | {' | '.join(means)} |", flush=True)
        if name == "clear clusters":
            assert min(own["vaelab"] for own in found) > CLEAR


if __name__ == "__main__":
    main()
