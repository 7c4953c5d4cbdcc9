"""Search the hyperparameters of VAEs, classifiers and regressors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.api import progress
from vaelab.api.given import as_dataset, settings_of
from vaelab.classifier.task import TASK as CLASSIFIER
from vaelab.origin import told
from vaelab.regressor.task import TASK as REGRESSOR
from vaelab.settings.space import Space
from vaelab.study import tune as tuning
from vaelab.study.config import Config
from vaelab.study.ray_options import Ray
from vaelab.study.results import Study
from vaelab.study.storage import Storage
from vaelab.study.task import Task
from vaelab.study.watch import Watch
from vaelab.vae.task import TASK as VAE


@told
def tune(
    x: Any,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 40,
    y: Any = None,
    *,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    timeout: float | None = None,
    workers: int | None = None,
    ray: Ray | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    seed: int = 0,
    sampler: str = "tpe",
    purpose: str | Sequence[str] | None = None,
    yardstick: str | Sequence[str] | None = None,
    cohort: int | None = None,
    prune: bool = True,
    finalists: int | None = None,
    final_seeds: int | None = None,
    final_epochs: int | None = None,
    figures: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Study:
    """Find the VAE that fits the data: search, retrain the best over seeds, choose on validation, open test once.

    x: an array (n, *shape), a Dataset, or the name or path of data.
    space: settings to search: {"latent_dim": (1, 20), "lr": (1e-4, 1e-2, "log"), "optimizer": ["adam", "sgd"]}. It
        replaces the default space, which is depth, widths, latent size, learning rate, weight decay and dropout.
    trials: total number of trials.
    y: labels (n,), or their location. Used to colour pictures, and by yardsticks that need them: those of training rows
        to fit, those of validation rows to choose.
    settings: fixed settings, such as {"epochs": 50}.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    timeout: seconds for search and final training. workers: processes, by default one per core.
    ray: puts the workers on a Ray cluster: Ray("auto", gpus_per_worker=0.25).
    storage: a URL postgresql://... of a database into which the study is also written, for optuna-dashboard.
    study_name: its name there, by default that of its folder.
    seed: seed of the study; results depend neither on `workers` nor on `ray`.
    sampler: "tpe", "random" or "grid".
    purpose: what the model is for, which gives the yardstick and the default space: "density" (default), "embedding"
        (the probe; without labels the front of rate and distortion) or "clusters" ("nmi"; without labels "stability").
        Two, as a list or with a comma, give a front.
    yardstick: what judges trials, instead of the purpose's: "neg_elbo" (nats per example); with labels "probe",
        "neighbours" or "nmi"; "stability"; or, if no loss weight is searched, "weighted_loss". Two give a front:
        `best` is then its member closest to the best by each, on axes scaled to the front.
    cohort: trials suggested together, before any is judged; by default a fifth of them, 4 to 64. With more workers than
        that, some wait. Another value is another study.
    prune: stop weak trials early; not with two yardsticks, nor by one that is measured on the latents.
    finalists: best trials to retrain, by default 5. final_seeds: training runs of each, by default 3.
    final_epochs: their epochs, by default as in the search.
    figures: draw pictures of "all" trials, "best" or "none"; "auto": all for up to 20 trials.
    out: the study's folder; by default runs/<data>-<time>. overwrite: replace existing output.
    watch: receives progress events; by default a notebook shows a bar.

    Returns the best model (None if all collapsed), a row per trial, and the study's folder. Raises InputError for bad
    input, before anything is trained.

    >>> study = tune("digits", {"latent_dim": (2, 8)}, 4, settings={"epochs": 10, "hidden": "64"}, workers=1,
    ...              final_seeds=1, out=getfixture("tmp_path") / "study")
    >>> study.best.sample(3).shape
    (3, 8, 8)
    """
    config = Config.create(
        VAE, _space(space, VAE), settings_of(settings), trials=trials, timeout=timeout, seed=seed, sampler=sampler,
        purpose=purpose, yardstick=yardstick, cohort=cohort, prune=prune, finalists=finalists, final_seeds=final_seeds,
        final_epochs=final_epochs, figures=figures,
    )  # fmt: skip
    data = as_dataset(x, y, split_seed, reading)
    with progress.study(watch) as seen:
        return tuning.begin(
            config, data, workers=workers, ray=ray, storage=_storage(storage, study_name), out=out, overwrite=overwrite,
            watch=seen,
        )  # fmt: skip


@told
def classify(
    x: Any,
    y: Any = None,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 40,
    *,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    timeout: float | None = None,
    workers: int | None = None,
    ray: Ray | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    seed: int = 0,
    sampler: str = "tpe",
    yardstick: str | Sequence[str] | None = None,
    cohort: int | None = None,
    prune: bool = True,
    finalists: int | None = None,
    final_seeds: int | None = None,
    final_epochs: int | None = None,
    figures: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Study:
    """Find the classifier that fits the labelled data: search, retrain the best, open the test split once.

    x: an array (n, *shape) with labels y (n,), a Dataset, or the name or path of data; y then locates the labels.
    space: settings to search, such as {"layers": (1, 3)}. It replaces the default space: depth, units and dropout
        of every layer, learning rate and weight decay; with convolutions also channels and augmentation.
    trials: total number of trials.
    settings: fixed settings, such as {"network": "conv"}.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    timeout: seconds for search and final training. workers: processes, by default one per core.
    ray: puts the workers on a Ray cluster: Ray("auto", gpus_per_worker=0.25).
    storage: a URL postgresql://... of a database into which the study is also written, for optuna-dashboard.
    study_name: its name there, by default that of its folder.
    seed: seed of the study; results depend neither on `workers` nor on `ray`.
    sampler: "tpe", "random" or "grid".
    yardstick: what judges trials on validation: "accuracy", "log_loss", "macro_f1" or "balanced_accuracy".
        Two, as a list or with a comma, give a front.
    cohort: trials suggested together, before any is judged; by default a fifth of them, 4 to 64. With more workers than
        that, some wait. Another value is another study.
    prune: stop weak trials early; not with two yardsticks.
    finalists: best trials to retrain, by default 3. final_seeds: training runs of each, by default 1.
    final_epochs: their epochs, by default as in the search.
    figures: draw pictures of "all" trials, "best" or "none"; "auto": all for up to 20 trials.
    out: the study's folder; by default runs/<data>-<time>. overwrite: replace existing output.
    watch: receives progress events; by default a notebook shows a bar.

    Returns the best classifier, a row per trial, and the study's folder. Raises InputError for bad input, before
    anything is trained.

    >>> study = classify("digits", None, {"lr": (1e-3, 1e-2, "log")}, 2, settings={"epochs": 2}, workers=1,
    ...                  figures="none", out=getfixture("tmp_path") / "study")
    >>> study.best.predict_proba([[0.0] * 64]).shape
    (1, 10)
    """
    config = Config.create(
        CLASSIFIER, _space(space, CLASSIFIER), settings_of(settings), trials=trials, timeout=timeout, seed=seed,
        sampler=sampler, yardstick=yardstick, cohort=cohort, prune=prune, finalists=finalists, final_seeds=final_seeds,
        final_epochs=final_epochs, figures=figures,
    )  # fmt: skip
    data = as_dataset(x, y, split_seed, reading)
    with progress.study(watch) as seen:
        return tuning.begin(
            config, data, workers=workers, ray=ray, storage=_storage(storage, study_name), out=out, overwrite=overwrite,
            watch=seen,
        )  # fmt: skip


@told
def regress(
    x: Any,
    y: Any = None,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 40,
    *,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    timeout: float | None = None,
    workers: int | None = None,
    ray: Ray | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    seed: int = 0,
    sampler: str = "tpe",
    yardstick: str | Sequence[str] | None = None,
    cohort: int | None = None,
    prune: bool = True,
    finalists: int | None = None,
    final_seeds: int | None = None,
    final_epochs: int | None = None,
    figures: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Study:
    """Find the regressor that fits data with a numeric target: search, retrain the best, open the test split once.

    p(y|x) is Gaussian up to three scales from its mean, with a scale for each row or one for all, and has heavier tails
    beyond, so that outliers do no harm (`vaelab.regressor.density`).

    x: an array (n, *shape) with targets y (n,), a Dataset, or the path of data; y then names the target. Rows whose
        target is missing are left out.
    space: settings to search, such as {"layers": (1, 3)}. It replaces the default space: depth, units and dropout
        of every layer, learning rate, weight decay and kind of noise; with convolutions also channels and augmentation.
    trials: total number of trials.
    settings: fixed settings, such as {"network": "conv"}.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    timeout: seconds for search and final training. workers: processes, by default one per core.
    ray: puts the workers on a Ray cluster: Ray("auto", gpus_per_worker=0.25).
    storage: a URL postgresql://... of a database into which the study is also written, for optuna-dashboard.
    study_name: its name there, by default that of its folder.
    seed: seed of the study; results depend neither on `workers` nor on `ray`.
    sampler: "tpe", "random" or "grid".
    yardstick: what judges trials on validation: "log_density" (nats per example, in the target's own unit)
        or "r2". Two, as a list or with a comma, give a front.
    cohort: trials suggested together, before any is judged; by default a fifth of them, 4 to 64. With more workers than
        that, some wait. Another value is another study.
    prune: stop weak trials early; not with two yardsticks.
    finalists: best trials to retrain, by default 3. final_seeds: training runs of each, by default 1.
    final_epochs: their epochs, by default as in the search.
    figures: draw pictures of "all" trials, "best" or "none"; "auto": all for up to 20 trials.
    out: the study's folder; by default runs/<data>-<time>. overwrite: replace existing output.
    watch: receives progress events; by default a notebook shows a bar.

    Returns the best regressor, a row per trial, and the study's folder. Raises InputError for bad input, before
    anything is trained.

    >>> x = [[i / 50, (i * 7 % 50) / 50] for i in range(100)]
    >>> study = regress(x, [a + 2 * b for a, b in x], {"lr": (1e-2, 3e-2, "log")}, 2, settings={"epochs": 30},
    ...                 workers=1, figures="none", out=getfixture("tmp_path") / "study")
    >>> mean, lower, upper = study.best.predict_interval([[0.5, 0.25]], level=0.8)
    >>> bool(lower[0] < mean[0] < upper[0])
    True
    """
    config = Config.create(
        REGRESSOR, _space(space, REGRESSOR), settings_of(settings), trials=trials, timeout=timeout, seed=seed,
        sampler=sampler, yardstick=yardstick, cohort=cohort, prune=prune, finalists=finalists, final_seeds=final_seeds,
        final_epochs=final_epochs, figures=figures,
    )  # fmt: skip
    data = as_dataset(x, y, split_seed, reading, numeric=True)
    with progress.study(watch) as seen:
        return tuning.begin(
            config, data, workers=workers, ray=ray, storage=_storage(storage, study_name), out=out, overwrite=overwrite,
            watch=seen,
        )  # fmt: skip


def _storage(url: str | None, study_name: str | None) -> Storage | None:
    return None if url is None else Storage(url, study_name)


def _space(space: Space | Mapping[str, Any] | None, task: Task) -> Space | None:
    return None if space is None else Space.parse(space, task.spec_type)
