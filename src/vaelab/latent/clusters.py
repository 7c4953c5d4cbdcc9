"""`cluster`: a mixture on the latents of a VAE, named with a few labels, evaluated once on test, in one folder."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from vaelab import store
from vaelab.data import Dataset, describe
from vaelab.engine.process import one_thread
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, shown, unknown_name
from vaelab.latent import ClassTable, Clusters, LatentMixture, component_shares
from vaelab.latent.described import describe_clusters, write_rows
from vaelab.latent.mixture import Covariance
from vaelab.latent.options import (
    EM_ROWS,
    Options,
    encoder_settings,
    identity,
    label_rows,
    numbers_to_try,
    options_table,
    resolved,
    settings_table,
)
from vaelab.latent.pictures import Shown, class_names, draw_clusters
from vaelab.latent.results import Floats, Ints, Latents, Say, mixture_row, notes_on, with_labels
from vaelab.report import build_cluster_report
from vaelab.report.notebook import Paged
from vaelab.settings import checks
from vaelab.settings.latents import in_use
from vaelab.store.folders import default_folder
from vaelab.vae import run as single
from vaelab.vae.fitted import Array, Fitted
from vaelab.vae.spec import Spec
from vaelab.wording import table_value

SHAPES: tuple[Covariance, ...] = ("full", "diag")  # one shape for all components would take several for a cluster
LEAST_VARIANCE = 1e-3  # of components of posterior means, which are never known as well


@dataclasses.dataclass(frozen=True, repr=False)
class Clustering(Paged):
    """What `cluster` returns: the folder, all metrics, the encoder, and the labelled mixture."""

    folder: Path
    results: dict[str, Any]
    model: Fitted
    clusters: Clusters

    @property
    def main_metrics(self) -> Mapping[str, str]:
        found = {"data": self.model.facts.name, "components": str(self.results["components"])}
        if self.results.get("labels"):
            accuracy = self.results["methods"][self.results["predicts_by"]]["labelled_accuracy"]
            found["test accuracy"] = table_value(accuracy)
        if test := self.results.get("test"):
            found["test NMI"] = table_value(test["nmi"])
        return found


def cluster(
    data: Dataset,
    chosen: Options,
    *,
    run: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    starts: int = 1,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    say: Say = lambda text: None,
    progress: Callable[[int], None] = lambda epoch: None,
) -> Clustering:
    """Cluster the latents of a VAE trained with `settings`, or of a trained `run` on the same data.

    starts: number of encoders; the best on validation is kept, without using labels (see `vae.run.train`).
    out: by default RUN/clusters, or runs/<data>-cluster-<time>. resume: continue the interrupted clustering in `out`;
    the encoder continues from its last checkpoint, with identical results.

    Raises InputError for bad input, before anything is trained or written. The test split is opened once.
    """
    if settings is not None:
        checks.table("`settings`", settings)
    if run is not None and settings:
        raise InputError("an existing run has its own settings; leave out `settings`, or give data instead of a run.")
    fitted = None if run is None else _given(Path(run), data)
    chosen = resolved(chosen, data)
    settings = {} if run is not None else encoder_settings(chosen, settings or {}, data)
    spec = None if run is not None else Spec.create(**{"seed": chosen.seed, **settings})
    checks.whole("starts", starts, 1, checks.MOST_RUNS if fitted is None else 1)
    numbers = numbers_to_try(chosen, data)
    rows = label_rows(chosen, data)
    folder = _folder(data, fitted, out)
    config = {
        "cluster": options_table(chosen)
        | {"starts": starts}
        | ({} if run is None else {"run": str(Path(run).resolve())}),
        "data": {k: v for k, v in data.source.items() if v is not None},
        "settings": settings_table(settings),
    }
    if resume and _is_finished(folder, config, chosen.figures):
        finished = _reopen(folder)
        say(f"note: {folder} is finished; there is nothing to resume.")
        return finished
    if run is not None:
        store.check_test_opening(run)
    with store.continuing(folder) if resume else store.building(folder, overwrite) as place, one_thread():
        store.write_atomic(place / "config.toml", tomli_w.dumps(config))
        if fitted is None:
            assert spec is not None
            say("training the encoder" + (f", the best of {starts} starts" if starts > 1 else ""))
            fitted = single.resumable(
                data, spec, place / "model", starts=starts, figures=chosen.figures, progress=progress, note=say
            )
        found = _conclude(fitted, data, chosen, numbers, rows, place, say)
    return found if place == folder else _reopen(folder)


def begun(place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of `cluster` that what is in `place` was begun with, and the source of its data."""
    path = place / "config.toml"
    tables = store.read_toml(path, "there is nothing to resume")
    options, settings, source = (
        checks.table(f"[{name}] of {path}", tables.get(name, {})) for name in ("cluster", "settings", "data")
    )
    with store.interpreting(path):
        starts, run = options.pop("starts"), options.pop("run", None)
        return {"chosen": Options.create(**options), "starts": starts, "run": run, "settings": settings}, source


def _is_finished(folder: Path, config: Mapping[str, Any], figures: bool) -> bool:
    """Whether there is nothing left to resume; raises InputError if nothing was begun, or with other options."""
    place = store.unfinished(folder)
    if not (place / "config.toml").exists():
        raise InputError(f"there is nothing to resume: {folder} has no config.toml; cluster without `resume`.")
    if identity(store.read_toml(place / "config.toml", "cluster without `resume`")) != identity(config):
        raise InputError(f"{folder} was started with other data or options, see its config.toml; give the same ones.")
    return place == folder and (folder / ("report.html" if figures else "results.json")).exists()


def _reopen(folder: Path) -> Clustering:
    fitted, clusters = open_clusters(folder)
    return Clustering(folder, store.read_json(folder / "results.json"), fitted, clusters)


def _given(run: Path, data: Dataset) -> Fitted:
    fitted = Fitted.load(run)
    if fitted.facts.fingerprint != data.fingerprint:
        raise InputError(
            f"{run} was trained on other data or another split ({shown(fitted.facts.name)}, split seed "
            f"{fitted.facts.split_seed}), not on the given {shown(data.name)}; give the data that it was trained on."
        )
    return fitted


def _folder(data: Dataset, fitted: Fitted | None, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if fitted is not None and fitted.folder is not None:
        return fitted.folder / "clusters"
    return default_folder(f"{data.name}-cluster")


def _is_own(fitted: Fitted, options: Options) -> bool:
    """Whether to use the model's own mixture prior instead of fitting one with EM: if no other number is asked for."""
    return fitted.mixture is not None and options.components in ((), (len(fitted.mixture[0]),))


def _mixtures(
    fitted: Fitted, latents: Latents, options: Options, numbers: Sequence[int], say: Say
) -> tuple[list[LatentMixture], Floats]:
    """A mixture for each number of components, and the points (n, L) that they describe; where the covariance is auto,
    of the kind with the lowest ICL.

    A model with a mixture prior uses its own, unless numbers of components are given.
    """
    train = latents.splits["train"]
    rows = train[:: -(-len(train) // EM_ROWS)]
    points, std = latents.mean[rows], latents.std[rows]
    if options.points == "samples":
        points = points + std * np.random.default_rng(derive_seed(options.seed, 2)).standard_normal(points.shape)
    if _is_own(fitted, options):
        covariance = fitted.spec.covariance
        assert fitted.mixture is not None
        assert covariance != "auto", "a trained model's is resolved"
        return [LatentMixture.of(*fitted.mixture, covariance)], points
    # Where means hardly vary, samples are noise, which EM would divide among the components.
    dims = in_use(latents.mean[train].var(0), fitted.prior_moments[1])
    dims = dims if dims.any() else ~dims
    found = []
    for number in numbers:
        began = time.perf_counter()
        kinds = SHAPES if options.covariance == "auto" else (options.covariance,)
        floor = LEAST_VARIANCE if options.points == "means" else LatentMixture().floor
        ways = [
            LatentMixture(number, k, options.em_starts, floor=floor, seed=options.seed).fit(points, dims=dims)
            for k in kinds
        ]
        found.append(ways[0] if len(ways) == 1 else min(ways, key=lambda way: way.icl(points)))
        say(f"{number} components: {found[-1].n_iter_} iterations, {time.perf_counter() - began:.1f} s")
    return found, points


def _conclude(
    fitted: Fitted, data: Dataset, options: Options, numbers: Sequence[int], named: Ints, folder: Path, say: Say
) -> Clustering:
    began = time.perf_counter()
    assert fitted.folder is not None
    assert options.points != "auto", "resolved"
    latents = Latents.of(fitted, data)
    mixtures, points = _mixtures(fitted, latents, options, numbers, say)
    numbers, is_own = [len(m.weights_) for m in mixtures], _is_own(fitted, options)
    bics, criterion = [mixture.bic(points) for mixture in mixtures], "BIC" if data.labels is not None else "ICL"
    best = int(np.argmin(bics if criterion == "BIC" else [mixture.icl(points) for mixture in mixtures]))
    variance = np.square(latents.std[latents.splits["train"]]).mean(0)
    # Posterior means are narrower than posterior samples, which a prior describes and EM may have been fitted to.
    used = [m.widened(variance) for m in mixtures] if options.points == "means" and not is_own else mixtures
    codes = latents.codes[named]
    store.count_test_opening(fitted.folder)
    rows, chosen_shares, clusters = [], None, None
    for i, mixture in enumerate(used):
        shares = component_shares(mixture, latents.mean, latents.std, options.points)
        table = ClassTable.of(shares[named], codes, len(data.classes)) if len(named) else None
        if i == best:
            chosen_shares = shares
            clusters = Clusters(
                mixture, table, data.classes, options.points, options.reject, _place(fitted.folder, folder),
                _digest(fitted.folder), label_kind=data.label_kind,
            )  # fmt: skip
        rows.append(mixture_row(mixtures[i], points, shares, table, latents, options.reject))
    assert chosen_shares is not None
    assert clusters is not None
    results: dict[str, Any] = {
        "cluster": str(store.destination(folder)),
        "name": store.destination(folder).resolve().name,
        "data": describe(data),
        "run": str(_home(fitted.folder, folder)),
        "spec": fitted.spec.model_dump(mode="json"),
        "starts": store.read_json(fitted.folder / "metrics.json").get("starts", []),
        "components": numbers[best],
        "criterion": criterion,
        "bic": {str(number): bic for number, bic in zip(numbers, bics, strict=True)},
        "mixtures": rows,
        "em": {} if is_own else {str(len(m.weights_)): m.log_likelihoods_.tolist() for m in mixtures},
        "test": rows[best]["test"],
        "whole": rows[best]["whole"],
        "stability": rows[best]["stability"],
    }
    if len(named):
        assert clusters.table is not None
        store.write_json(folder / "labels.json", {"rows": named, "classes": codes})
        clusters, told = with_labels(clusters, chosen_shares, latents, named, options, data, say)
        results |= told
    else:
        results |= {
            "labels": None,
            "methods": {},
            "graph": None,
            "confusion": None,
            "coverage": None,
            "manifold": None,
            "validation": None,
            "predicts_by": None,
            "label_budget": [],
        }
    clusters.save(folder)
    results["described"] = describe_clusters(data, chosen_shares, options.reject)
    if clusters.table is not None:
        classes = class_names(clusters)
        results["described"] = [own | {"class": classes[int(own["cluster"]) - 1]} for own in results["described"]]
    write_rows(data, chosen_shares, options.reject, folder / "clusters.csv")
    results["notes"] = notes_on(results, [] if is_own else mixtures, latents)
    results["seconds"] = time.perf_counter() - began
    store.write_json(folder / "results.json", results)
    if options.figures:
        say("drawing")
        shown = Shown(fitted, data, clusters, latents.mean, latents.std, chosen_shares, mixtures[best])
        draw_clusters(folder, shown, results)
        build_cluster_report(folder, Spec)
    return Clustering(folder, results, fitted, clusters)


def _home(run: Path, folder: Path) -> Path:
    """The run's folder once the clustering has its own."""
    return store.destination(folder) / run.relative_to(folder) if run.is_relative_to(folder) else run


def _place(run: Path, folder: Path) -> str:
    """The run's folder relative to the mixture's, so that they can move together if one contains the other."""
    run, folder = run.resolve(), folder.resolve()
    if run.is_relative_to(folder):
        return str(run.relative_to(folder))
    return ".." if folder.parent == run else str(run)


def _digest(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def open_clusters(folder: str | Path) -> tuple[Fitted, Clusters]:
    """The model and the labelled mixture of a clustering's folder, or of a run that has one in RUN/clusters."""
    folder = Path(folder)
    home = folder if (folder / "mixture.json").is_file() else folder / "clusters"
    if not (home / "mixture.json").is_file():
        raise InputError(f"{folder} has no mixture; make one with `vaelab cluster {folder}`.")
    clusters = Clusters.load(home)
    fitted = Fitted.load(home / clusters.run)
    assert fitted.folder is not None
    if _digest(fitted.folder) != clusters.weights_sha256:
        raise InputError(f"{home} was made with another model than the one now in {fitted.folder}; cluster again.")
    return fitted, clusters


def sample_class(folder: str | Path, name: str, n: int, seed: int = 0, noise: bool = False) -> tuple[Fitted, Array]:
    """E[x|z] (n, *shape), or with `noise` draws of x, for z drawn from the components of a class, by its name."""
    fitted, clusters = open_clusters(folder)
    checks.whole("n", n, 1, checks.MOST_DRAWS)
    checks.values("samples", n, math.prod(fitted.facts.shape))
    if clusters.table is None:
        raise InputError(f"{folder} has no labels, so components have no classes; cluster with `labels`.")
    if name not in clusters.classes:
        raise unknown_name("class", name, clusters.classes)
    weights = clusters.table.component_weights(clusters.classes.index(name), clusters.mixture.weights_)
    z = clusters.mixture.sample(n, seed, weights)
    return fitted, fitted.draw(z, seed) if noise else fitted.decode(z)
