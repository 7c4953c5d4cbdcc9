"""A published VAE with a Gaussian mixture on MNIST, and the accuracy from 100 labels.

    python benchmarks/cluster_mnist.py published [--data DATA] [--out FOLDER]
    python benchmarks/cluster_mnist.py labels [--data DATA] [--out FOLDER] [--manifold]
    python benchmarks/cluster_mnist.py umap [--data DATA] [--out FOLDER] [--seeds 0 1 2 3 4]
    python benchmarks/cluster_mnist.py --smoke

`published`: 784-392-196-98-8, ReLU, Adam at 5e-4, batches of 32, the KL weighed 3, 15 epochs; mixtures of 10, 20, 50
and 100 components labelled with validation. Seen before, with other code: test accuracy 0.64, 0.75, 0.83, 0.85.

`labels`: an encoder of 32 latent dimensions, the KL weighed 0.3, 20 epochs; 10 class-balanced draws of each number of
labels, all other training examples unlabelled, judged on the 10,000 test images. Published with 100 labels, test error
in %: M2 11.97, M1+M2 3.33 (Kingma et al. 2014), SDGM 1.32 (Maaløe et al. 2016).
`umap`: a mixture on a UMAP of the latents of an encoder that is close to an autoencoder (N2D; McConville et al. 2021:
0.979 on train and test together), made of training images; test images are embedded in it and matched to their classes
(Hungarian method), seed by seed. Needs the extra `manifold`.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vaelab.api.cluster import cluster
from vaelab.data import Dataset, from_arrays, load
from vaelab.latent.clusters import Clustering

PUBLISHED = {
    "hidden": "392-196-98", "latent_dim": 8, "activation": "relu", "lr": 5e-4, "batch_size": 32, "beta": 3.0,
    "schedule": "constant",
}  # fmt: skip
SEEN = {10: 0.64, 20: 0.75, 50: 0.83, 100: 0.85}
WIDE = {"hidden": "512-256", "latent_dim": 32, "beta": 0.3}
NARROW = {"hidden": "512-256", "latent_dim": 10, "beta": 0.01}
SMALL = {"hidden": "16", "latent_dim": 4, "epochs": 1, "batch_size": 100}  # what a smoke trains
MANIFOLD = 0.95  # what the mean accuracy on the map must reach
ERRORS = {"M2": 11.97, "M1+M2": 3.33, "SDGM": 1.32}


def published(found: Clustering) -> None:
    print("| components | test accuracy | seen before | Hungarian | purity | NMI | ARI | BIC |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in found.results["mixtures"]:
        test, number = row["test"], row["components"]
        one = "–" if test["hungarian_accuracy"] is None else f"{test['hungarian_accuracy']:.3f}"
        print(
            f"| {number} | {test['labelled_accuracy']:.3f} | {SEEN[number]:.2f} | {one} | {test['purity']:.3f} "
            f"| {test['nmi']:.3f} | {test['ari']:.3f} | {row['bic']:,.0f} |"
        )


def labels(found: Clustering) -> None:
    table = found.results["label_budget"]
    names = list(table[0]["accuracy"])
    print(f"| labels | {' | '.join(names)} |")
    print(f"|---:|{'---:|' * len(names)}")
    for row in table:
        cells = [
            f"{100 * (1 - own['mean']):.2f}" + ("" if own["se"] is None else f" ± {100 * own['se']:.2f}")
            for own in (row["accuracy"][name] for name in names)
        ]
        print(f"| {row['labels']:,} | {' | '.join(cells)} |")
    print("test error in %, mean ± standard error over draws; published with 100 labels:", end=" ")
    print(", ".join(f"{name} {error}" for name, error in ERRORS.items()))


def umap(data: Dataset, seeds: list[int], settings: dict[str, Any], options: dict[str, Any]) -> float:
    """The mean accuracy on the map."""
    print("| seed | Hungarian | NMI | ARI |")
    print("|---:|---:|---:|---:|")
    reached, folder = [], options["out"]
    for seed in seeds:
        own = options | {"out": folder and folder / str(seed), "manifold": "umap", "figures": False}
        found = cluster(data, settings=settings | {"seed": seed}, components=10, seed=seed, budget=False, **own)
        test = found.results["manifold"]["test"]
        reached.append(test["hungarian_accuracy"])
        print(f"| {seed} | {test['hungarian_accuracy']:.4f} | {test['nmi']:.4f} | {test['ari']:.4f} |", flush=True)
    print(f"mean {np.mean(reached):.4f}, minimum {min(reached):.4f}, maximum {max(reached):.4f}")
    return float(np.mean(reached))


def run(what: str, data: Dataset, arguments: argparse.Namespace) -> None:
    smoke = arguments.smoke
    options: dict[str, Any] = {
        "out": arguments.out, "say": lambda text: print(text, file=sys.stderr), "figures": not smoke,
        "manifold": "umap" if arguments.manifold else "none",
    }  # fmt: skip
    own, epochs = {"published": (PUBLISHED, 15), "labels": (WIDE, 20), "umap": (NARROW, 20)}[what]
    settings = {**own, "epochs": arguments.epochs or epochs, **(SMALL if smoke else {})}
    if what == "umap":
        reached = umap(data, arguments.seeds, settings, options)
        assert smoke or reached >= MANIFOLD, "the mean accuracy on the map falls short"
        return
    if what == "published":
        components = (10,) if smoke else tuple(SEEN)
        found = cluster(data, settings=settings, components=components, labels="validation", budget=False, **options)
        published(found)
    else:
        found = cluster(data, settings=settings, components=(10, 20), labels=100, **options)
        labels(found)
    print(f"\n{found.folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("published", "labels", "umap"))
    parser.add_argument("--data", type=Path, help="folder that contains mnist/; default: VAELAB_DATA")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--manifold", action="store_true", help="also on a UMAP of the latents (the extra `manifold`)")
    parser.add_argument("--out", type=Path, help="the clustering's folder; default runs/mnist-cluster-<time>")
    parser.add_argument("--smoke", action="store_true", help="check that it runs: an encoder of few digits")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seeds, digits = [0], load("digits")
        few = from_arrays(digits.x[:300], digits.labels[:300])
        for what in ("published", "labels", *(["umap"] if importlib.util.find_spec("umap") else [])):
            run(what, few, arguments)
    elif arguments.what:
        run(arguments.what, load("mnist", data_dir=arguments.data), arguments)
    else:
        parser.error("what to run is missing: published, labels or umap")


if __name__ == "__main__":
    main()
