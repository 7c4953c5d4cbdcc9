"""Cluster and classify by the latents of a VAE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab import data as data_module
from vaelab.api import progress as showing
from vaelab.api.given import as_dataset
from vaelab.latent import clusters as clustering
from vaelab.latent.options import Options
from vaelab.origin import told
from vaelab.use import is_run, load


@told
def cluster(
    x: Any,
    y: Any = None,
    *,
    run: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    starts: int = 1,
    components: int | str | Sequence[int] = "auto",
    covariance: str = "auto",
    points: str = "auto",
    labels: int | str | Sequence[int] | None = None,
    reject: float = 0.0,
    em_starts: int = 3,
    seed: int = 0,
    manifold: str = "none",
    budget: bool = True,
    figures: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> clustering.Clustering:
    """Fit a Gaussian mixture to the latents of a VAE, name its components with a few labels, evaluate on test; without
    labels, describe the clusters.

    x: an array (n, *shape) with labels y (n,), a Dataset, the name or path of data, or the folder of a run.
    y: labels, or their location.
    run: a run trained on these data; by default an encoder is trained first.
    settings: of that encoder. starts: seeds to train; the best on validation is kept, without using labels.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    components: number of Gaussians; of several, or with "auto", the one with the lowest BIC, without labels ICL.
    covariance: "full", "tied", "diag" or "spherical"; "auto": "full", without labels the kind with the lowest ICL.
    points: fit to posterior "samples", or to posterior "means" (also "auto"), then widened by the posterior variance;
        dimensions that hardly vary are the same in all components.
    labels: number of training labels, balanced over classes (by default 100), "validation" for that split's, or row
        numbers; nothing that is saved uses other labels.
    reject: answer "unknown" below this probability.
    em_starts: EM starts; the likelihood chooses one. seed: for the encoder, the mixture and the labels.
    manifold: "none", or "umap": also cluster a UMAP of the latents.
    budget: measure accuracy against the number of labels. figures: draw pictures and write the report.
    out: by default RUN/clusters, or runs/<data>-cluster-<time>. overwrite: replace existing output.
    resume: continue the interrupted clustering in `out`, with identical results.
    say: called with a line for each step. progress: called with the number of each finished epoch. By default a
        notebook shows both.

    FOLDER/clusters.csv has the split, cluster and probability of every row.

    Raises InputError for bad input, before anything is trained or written. The test split is opened once.

    >>> found = cluster("digits", settings={"latent_dim": 8, "epochs": 2}, components=10, labels=50, figures=False,
    ...                 budget=False, out=getfixture("tmp_path") / "clusters")
    >>> found.results["components"], found.clusters.table.counts.sum().round(6)
    (10, np.float64(50.0))
    """
    options = Options.create(
        components=components, covariance=covariance, points=points, labels=labels, reject=reject,
        em_starts=em_starts, seed=seed, manifold=manifold, budget=budget, figures=figures,
    )  # fmt: skip
    if run is None and isinstance(x, str | Path) and is_run(x):
        model = load(x)
        x, run = data_module.load_again(model.facts.source), model.folder
    data = as_dataset(x, y, split_seed, reading)
    with showing.epochs(progress, "auto") as seen:
        return clustering.cluster(
            data, options, run=run, settings=settings, starts=starts, out=out, overwrite=overwrite, resume=resume,
            say=say or showing.tell, progress=seen,
        )  # fmt: skip
