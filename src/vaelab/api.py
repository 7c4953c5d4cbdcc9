"""The Python face: what the commands make, from arrays, data sets or names of data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab import data as data_module
from vaelab.data import Dataset
from vaelab.space import Space
from vaelab.spec import Spec, check_idle
from vaelab.study import cluster as clustering
from vaelab.study import compare as comparing
from vaelab.study import single
from vaelab.study import tune as tuning
from vaelab.study.lineup import Given
from vaelab.use import is_run, load


def as_dataset(x: Any, y: Any = None, seed: int = 0) -> Dataset:
    """A Dataset from one, from the name or path of data, or from arrays x (n, *shape) and labels y (n,)."""
    if isinstance(x, Dataset):
        return x
    if isinstance(x, str | Path):
        return data_module.load(x, target=y, seed=seed)
    return data_module.from_arrays(x, y, seed=seed)


def train(
    x: Any,
    spec: Spec | Mapping[str, Any] | None = None,
    y: Any = None,
    *,
    split_seed: int = 0,
    **options: Any,
) -> single.TrainedRun:
    """Train one VAE; returns its history, encoder, decoder, figures and the split data.

    Encoder and decoder are torch modules without padding, which work without vaelab's engine; `run.model.encode` and
    `run.model.decode` are the same on arrays, with their input checked.

    x: an array (n, *shape), a Dataset, or the name or path of data. spec: a Spec, or settings as {"latent_dim": 2}.
    options: `starts`, `timeout`, `out`, `overwrite`, `resume`, `open_test`, `figures`, as in `vaelab train`; `encoder`
    and `decoder`, torch modules of your own (see `vaelab.own.Own`).

    >>> run = train("digits", {"latent_dim": 2, "epochs": 1}, out=getfixture("tmp_path") / "run")
    >>> run.encoder(run.data.rows("validation"))[0].shape
    torch.Size([180, 2])
    """
    if not isinstance(spec, Spec):
        check_idle(spec or {})
    chosen = spec if isinstance(spec, Spec) else Spec.create(**(spec or {}))
    return single.train(as_dataset(x, y, split_seed), chosen, **options)


def tune(
    x: Any,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 40,
    y: Any = None,
    *,
    split_seed: int = 0,
    **options: Any,
) -> tuning.Study:
    """Find the VAE that fits the data; returns the best model, a row per trial, and the study's folder.

    x: an array (n, *shape), a Dataset, or the name or path of data. space: as {"latent_dim": (1, 20)}.
    options: `settings`, `timeout`, `workers`, `seed`, `sampler`, `final_seeds`, `figures`, `out`, as in `vaelab tune`.

    >>> study = tune("digits", {"latent_dim": (2, 8)}, 4, settings={"epochs": 10, "hidden": "64"}, workers=1,
    ...              final_seeds=1, out=getfixture("tmp_path") / "study")
    >>> study.best.sample(3).shape
    (3, 8, 8)
    """
    return tuning.tune(as_dataset(x, y, split_seed), space, trials=trials, **options)


def classify(
    x: Any,
    y: Any = None,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 40,
    *,
    split_seed: int = 0,
    **options: Any,
) -> tuning.Study:
    """Find the classifier that fits the labelled data; returns the best, a row per trial, and the study's folder.

    x: an array (n, *shape) with labels y (n,), a Dataset, or the name or path of data. space: as {"layers": (1, 3)}.
    options: `settings`, `yardstick`, `finalists`, `final_seeds`, `final_epochs`, `timeout`, `workers`, `seed`,
    `sampler`, `figures`, `out`, as in `vaelab classify`.

    >>> study = classify("digits", None, {"lr": (1e-3, 1e-2, "log")}, 2, settings={"epochs": 2}, workers=1,
    ...                  figures="none", out=getfixture("tmp_path") / "study")
    >>> study.best.predict_proba([[0.0] * 64]).shape
    (1, 10)
    """
    return tuning.tune(as_dataset(x, y, split_seed), space, task="classifier", trials=trials, **options)


def compare(
    x: Any, models: Mapping[str, Given], y: Any = None, *, split_seed: int = 0, **options: Any
) -> comparing.Comparison:
    """Models against each other over seeds, by the same yardsticks on the same rows and noise; one is recommended.

    x: an array (n, *shape), a Dataset, or the name or path of data. models: by name, settings as {"hidden": "64"}, a
    Spec, or the path of a TOML file of settings or of a run folder.
    options: `settings`, `seeds`, `seed`, `workers`, `figures`, `out`, `overwrite`, as in `vaelab compare`.

    >>> found = compare("digits", {"wide": {"hidden": "32"}, "narrow": {"hidden": "8"}}, seeds=2, workers=1,
    ...                 settings={"latent_dim": 2, "epochs": 2}, figures=False, out=getfixture("tmp_path") / "both")
    >>> [model["name"] for model in found.results["models"]], len(found.models["wide"])
    (['wide', 'narrow'], 2)
    """
    return comparing.compare(as_dataset(x, y, split_seed), models, **options)


def cluster(x: Any, y: Any = None, *, split_seed: int = 0, **options: Any) -> clustering.Clustering:
    """A Gaussian mixture on the latents of a VAE, its components named by a few labels, judged on the test split.

    x: an array (n, *shape) with labels y (n,), a Dataset, the name or path of data, or the folder of a run.
    options: `settings`, `starts`, `components`, `covariance`, `points`, `labels`, `reject`, `em_starts`, `seed`,
    `manifold`, `budget`, `figures`, `out`, `overwrite`, `resume`, as in `vaelab cluster`.

    >>> found = cluster("digits", settings={"latent_dim": 8, "epochs": 2}, components=10, labels=50, figures=False,
    ...                 budget=False, out=getfixture("tmp_path") / "clusters")
    >>> found.results["components"], found.clusters.table.counts.sum().round(6)
    (10, np.float64(50.0))
    """
    if isinstance(x, str | Path) and is_run(x):
        model = load(x)
        data = data_module.load(**model.facts.source)
        return clustering.cluster(data, run=model.folder, **options)
    return clustering.cluster(as_dataset(x, y, split_seed), **options)
