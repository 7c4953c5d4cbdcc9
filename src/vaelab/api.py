"""The Python API: the commands as functions of arrays, data sets or names of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vaelab import data as data_module
from vaelab.classifier.task import TASK as CLASSIFIER
from vaelab.comparison import run as comparing
from vaelab.comparison.lineup import ComparisonWatch, Given, Lineup
from vaelab.data import Dataset
from vaelab.errors import InputError, unknown_name
from vaelab.inverse import run as inverting
from vaelab.inverse.config import InversionConfig
from vaelab.inverse.problems import Problem
from vaelab.latent import clusters as clustering
from vaelab.latent.options import Options
from vaelab.origin import told
from vaelab.regressor.task import TASK as REGRESSOR
from vaelab.settings import checks
from vaelab.settings.space import Space
from vaelab.settings.spec import check_idle
from vaelab.study import tune as tuning
from vaelab.study.config import Config
from vaelab.study.ray_options import Ray
from vaelab.study.results import Study
from vaelab.study.storage import Storage
from vaelab.study.task import Task
from vaelab.study.watch import Watch
from vaelab.synthetic import run as judging
from vaelab.use import is_run, load
from vaelab.vae import run as training
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec
from vaelab.vae.task import TASK as VAE

READING = ("id", "drop", "transpose", "na", "types", "group", "split")


def as_dataset(
    x: Any, y: Any = None, seed: int = 0, reading: Mapping[str, Any] | None = None, numeric: bool = False
) -> Dataset:
    """A Dataset from a Dataset, the name or path of data, or arrays x (n, *shape) and labels y (n,).

    reading: how tables are read and rows are split, as the arguments of that name of `vaelab.data.load`: "id", "drop",
        "transpose", "na", "types", "group" and "split". {"group": "patient"} keeps the rows of a patient in one split.
        For arrays and data frames, "id", "group" and "split" may also be one value per row.
    numeric: y are numbers to predict, not classes; rows without one are left out.

    >>> data = as_dataset([[i, i**2] for i in range(12)], reading={"group": list("aaabbbcccddd")})
    >>> sorted(set("aaabbbcccddd"[row] for row in data.splits["test"]))
    ['c']
    """
    given = {} if reading is None else checks.table("`reading`", reading)
    for name in given:
        if name not in READING:
            raise unknown_name("option of `reading`", name, READING)
    if isinstance(x, Dataset):
        if given:
            raise InputError(
                "a Dataset has already been read; give `reading` with the arrays or the file, or leave it out."
            )
        return x
    if isinstance(x, str | Path):
        return data_module.load(x, target=y, seed=seed, numeric=numeric, **given)
    if given.pop("na", ()):
        raise InputError("`na` is for files: in arrays and data frames missing values are NaN or None; leave it out.")
    return data_module.from_arrays(x, y, seed=seed, numeric=numeric, **given)


def _settings(given: Any) -> dict[str, Any]:
    return {} if given is None else checks.table("`settings`", given)


@told
def train(
    x: Any,
    spec: Spec | Mapping[str, Any] | None = None,
    y: Any = None,
    *,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    starts: int = 1,
    timeout: float | None = None,
    open_test: bool = False,
    figures: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int], None] = lambda epoch: None,
    note: Callable[[str], None] = lambda text: None,
) -> training.TrainedRun:
    """Train one VAE; returns its history, encoder, decoder, metrics and the split data.

    Encoder and decoder of the result are plain torch modules that work without vaelab's engine;
    `run.model.encode` and `run.model.decode` do the same on arrays, with input checks.

    x: an array (n, *shape), a Dataset, or the name or path of data.
    spec: a Spec, or settings such as {"latent_dim": 2}; the others keep their defaults.
    y: labels (n,), or their location: a column, a key, another file. Used only to colour pictures.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    encoder, decoder: custom torch modules (see `vaelab.vae.custom_networks.CustomNetworks`).
    starts: number of consecutive seeds to train; the one with the lowest validation negative ELBO is kept.
    timeout: seconds. If `spec` sets no epochs, the time of a few steps determines them; else training stops in time.
    open_test: also evaluate on the test split, and record that it was opened.
    figures: draw the run's pictures.
    out: the run's folder; by default runs/<data>-<time>.
    overwrite: replace existing output. resume: continue the interrupted run in `out`.
    progress: called with the number of each finished epoch. note: called with messages for the user.

    Raises InputError for bad input, before anything is written; TrainingFailed if the loss becomes non-finite.

    >>> run = train("digits", {"latent_dim": 2, "epochs": 1}, out=getfixture("tmp_path") / "run")
    >>> run.encoder(run.data.rows("validation"))[0].shape
    torch.Size([180, 2])
    """
    if isinstance(spec, Spec):
        chosen = spec
    else:
        settings = {} if spec is None else checks.table("`spec`", spec)
        check_idle(settings, Spec)
        chosen = Spec.create(**settings)
    return training.train(
        as_dataset(x, y, split_seed, reading), chosen, out=out, starts=starts, overwrite=overwrite, resume=resume,
        open_test=open_test, figures=figures, encoder=encoder, decoder=decoder, timeout=timeout, progress=progress,
        note=note,
    )  # fmt: skip


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
    watch: receives progress events.

    Returns the best model (None if all collapsed), a row per trial, and the study's folder. Raises InputError for bad
    input, before anything is trained.

    >>> study = tune("digits", {"latent_dim": (2, 8)}, 4, settings={"epochs": 10, "hidden": "64"}, workers=1,
    ...              final_seeds=1, out=getfixture("tmp_path") / "study")
    >>> study.best.sample(3).shape
    (3, 8, 8)
    """
    config = Config.create(
        VAE, _space(space, VAE), _settings(settings), trials=trials, timeout=timeout, seed=seed, sampler=sampler,
        purpose=purpose, yardstick=yardstick, cohort=cohort, prune=prune, finalists=finalists, final_seeds=final_seeds,
        final_epochs=final_epochs, figures=figures,
    )  # fmt: skip
    data = as_dataset(x, y, split_seed, reading)
    return tuning.begin(
        config, data, workers=workers, ray=ray, storage=_storage(storage, study_name), out=out, overwrite=overwrite,
        watch=watch,
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
    watch: receives progress events.

    Returns the best classifier, a row per trial, and the study's folder. Raises InputError for bad input, before
    anything is trained.

    >>> study = classify("digits", None, {"lr": (1e-3, 1e-2, "log")}, 2, settings={"epochs": 2}, workers=1,
    ...                  figures="none", out=getfixture("tmp_path") / "study")
    >>> study.best.predict_proba([[0.0] * 64]).shape
    (1, 10)
    """
    config = Config.create(
        CLASSIFIER, _space(space, CLASSIFIER), _settings(settings), trials=trials, timeout=timeout, seed=seed,
        sampler=sampler, yardstick=yardstick, cohort=cohort, prune=prune, finalists=finalists, final_seeds=final_seeds,
        final_epochs=final_epochs, figures=figures,
    )  # fmt: skip
    data = as_dataset(x, y, split_seed, reading)
    return tuning.begin(
        config, data, workers=workers, ray=ray, storage=_storage(storage, study_name), out=out, overwrite=overwrite,
        watch=watch,
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
    watch: receives progress events.

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
        REGRESSOR, _space(space, REGRESSOR), _settings(settings), trials=trials, timeout=timeout, seed=seed,
        sampler=sampler, yardstick=yardstick, cohort=cohort, prune=prune, finalists=finalists, final_seeds=final_seeds,
        final_epochs=final_epochs, figures=figures,
    )  # fmt: skip
    data = as_dataset(x, y, split_seed, reading, numeric=True)
    return tuning.begin(
        config, data, workers=workers, ray=ray, storage=_storage(storage, study_name), out=out, overwrite=overwrite,
        watch=watch,
    )  # fmt: skip


def _storage(url: str | None, study_name: str | None) -> Storage | None:
    return None if url is None else Storage(url, study_name)


def _space(space: Space | Mapping[str, Any] | None, task: Task) -> Space | None:
    return None if space is None else Space.parse(space, task.spec_type)


@told
def compare(
    x: Any,
    models: Mapping[str, Given],
    y: Any = None,
    *,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    seeds: int = 5,
    seed: int = 0,
    workers: int | None = None,
    figures: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: ComparisonWatch | None = None,
) -> comparing.Comparison:
    """Compare models over seeds, by the same yardsticks on the same rows and noise, and recommend one.

    x: an array (n, *shape), a Dataset, or the name or path of data.
    models: by name, settings such as {"hidden": "64"}, a Spec, or the path of a TOML file of settings or a run folder,
        which counts as one seed and is not retrained.
    y: labels (n,), or their location; used for probes and pictures.
    settings: shared settings; a model's own settings override them.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    seeds: training runs per model; run s of every model uses the seed derived from (`seed`, s).
    workers: processes, by default one per core. They do not change results.
    figures: draw pictures and write the report.
    out: the folder; by default runs/<data>-compare-<time>. overwrite: replace existing output.
    watch: receives progress events.

    The recommendation is made on validation. Raises InputError for bad input, before anything is trained. The test
    split is read once per run, and counted.

    >>> found = compare("digits", {"wide": {"hidden": "32"}, "narrow": {"hidden": "8"}}, seeds=2, workers=1,
    ...                 settings={"latent_dim": 2, "epochs": 2}, figures=False, out=getfixture("tmp_path") / "both")
    >>> [model["name"] for model in found.results["models"]], len(found.models["wide"])
    (['wide', 'narrow'], 2)
    """
    lineup = Lineup.create(models, settings, seeds=seeds, seed=seed, figures=figures)
    data = as_dataset(x, y, split_seed, reading)
    return comparing.begin(lineup, data, workers=workers, out=out, overwrite=overwrite, watch=watch)


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
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int], None] = lambda epoch: None,
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
    points: fit to posterior "samples", or to posterior "means", then widened by the posterior variance; "auto":
        samples, without labels means.
    labels: number of training labels, balanced over classes (by default 100), "validation" for that split's, or row
        numbers; nothing that is saved uses other labels.
    reject: answer "unknown" below this probability.
    em_starts: EM starts; the likelihood chooses one. seed: for the encoder, the mixture and the labels.
    manifold: "none", or "umap": also cluster a UMAP of the latents.
    budget: measure accuracy against the number of labels. figures: draw pictures and write the report.
    out: by default RUN/clusters, or runs/<data>-cluster-<time>. overwrite: replace existing output.
    resume: continue the interrupted clustering in `out`, with identical results.
    say: called with a line for each step. progress: called with the number of each finished epoch.

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
    return clustering.cluster(
        as_dataset(x, y, split_seed, reading), options, run=run, settings=settings, starts=starts, out=out,
        overwrite=overwrite, resume=resume, say=say, progress=progress,
    )  # fmt: skip


@told
def invert(
    problem: Problem,
    settings: Mapping[str, Any] | None = None,
    *,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 0,
    yardstick: str | None = None,
    samples: int = 30,
    refine: int = 20,
    walk: int = 12,
    seed: int = 0,
    spectrum: bool | None = None,
    baselines: bool = True,
    flow: bool = True,
    npe: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: inverting.InversionWatch | None = None,
) -> inverting.Inversion:
    """Train a conditional VAE on a problem, draw candidates for every scored measurement, refine and score them.

    problem: as returned by `vaelab.inverse.files.load`: pairs of x and y = f(x), and f.
    settings: fixed settings, such as {"epochs": 30}.
    space: settings to search, such as {"beta": (0.1, 10, "log")}. trials: number of trials before the final training.
    yardstick: what the search optimizes on validation: "recall", "precision" or "bound".
    samples: candidates per measurement.
    refine: damped Gauss-Newton steps per candidate. walk: random-walk steps in the latent space before refinement.
    seed: for training and sampling.
    spectrum: also feed the spectrum of y to the network; by default for curves.
    baselines: also run methods without a network. flow: of noisy y, also train a flow, which draws unless the VAE is
        better on validation by two standard errors. npe: also sbi's neural posterior estimation.
    out: the run's folder; by default runs/<problem>-<time>. Until it finishes, its files are in <out>.partial.
    overwrite: replace existing output. watch: receives progress events.

    Raises InputError for bad input, before anything is trained. The scored measurements influence no choice.

    >>> import numpy as np
    >>> from vaelab.inverse import problems
    >>> problem = problems.create("total", np.random.default_rng(0).random((400, 2)), None, ["x0 + x1"])
    >>> found = invert(problem, {"epochs": 2, "hidden": "16"}, samples=4, refine=2, walk=1, baselines=False,
    ...                out=getfixture("tmp_path") / "run")
    >>> found.results["problem"]
    'total'
    """
    config = InversionConfig.create(
        problem, _settings(settings), space, yardstick, trials=trials, samples=samples, refine=refine, walk=walk,
        seed=seed, spectrum=spectrum, baselines=baselines, flow=flow, npe=npe,
    )  # fmt: skip
    return inverting.begin(problem, config, out=out, overwrite=overwrite, watch=watch)


@told
def judge_synthetic(
    run: str | Path | Fitted,
    rows: Any = None,
    *,
    data: Dataset | None = None,
    n: int | None = None,
    prior: str | None = None,
    target: str | None = None,
    reading: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Draw synthetic rows of a run's table and judge them against its test split, beside its training rows.

    run: the folder of a run or study, or a model, of a table.
    rows: judge these rows instead, from any source: a file, a data frame, or columns by name.
    data: the data of the run, if they came from arrays in memory.
    n: number of rows to draw, by default as many as there are training rows.
    prior: draw latents from the "model"'s prior (default), or from a Gaussian mixture "fitted" to those of training
        rows, which leaves out regions where none are.
    target: the column to predict, to learn whether rows are useful; by default the five that depend most on others.
    reading: how a file of `rows` is read, where that differs from the run's table, such as {"na": ["-9"]}.
    seed: of draws, folds and boosting.
    out: the folder; by default runs/<data>-synthetic-<time>. overwrite: replace existing output.
    say: called with a line for each step.

    Writes OUT/synthetic.csv if rows are drawn, OUT/results.json and OUT/report.html; returns the results. Raises
    InputError for bad input, before anything is written. The test split is opened once, and counted.

    >>> folder = getfixture("tmp_path")
    >>> table = {"a": [i % 7 for i in range(120)], "b": [i % 7 + i % 3 for i in range(120)]}
    >>> data = as_dataset(table)
    >>> fitted = train(data, {"latent_dim": 1, "epochs": 2}, out=folder / "run", figures=False).model
    >>> found = judge_synthetic(fitted, data=data, out=folder / "rows")
    >>> found["rows"], found["validity"]["valid"]
    ({'train': 84, 'test': 24, 'synthetic': 84}, 1.0)
    """
    fitted = run if isinstance(run, Fitted) else load(run)
    own = data_module.load_again(fitted.facts.source) if data is None else data
    known = fitted.facts.reading.to_dict()
    chosen = None if reading is None else data_module.Reading.create(**{**known, **reading})
    return judging.synthetic(
        fitted, own, rows, n=n, prior=prior, target=target, reading=chosen, seed=seed, out=out, overwrite=overwrite,
        say=say,
    )  # fmt: skip
