"""`cluster`: a mixture on the latents of a VAE, named by a few labels, judged once on the test split; one folder."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import tomli_w

from vaelab import store
from vaelab.cluster_pictures import Shown, draw_clusters
from vaelab.data import Dataset, describe
from vaelab.errors import InputError, shown, unknown_name
from vaelab.fitted import Array, Fitted
from vaelab.latent import ClassTable, Clusters, LatentMixture, component_shares, draw_balanced, scores
from vaelab.latent.budget import by_graph, by_mixture, by_neighbours, by_probe, label_budget
from vaelab.latent.graph import LabelGraph
from vaelab.latent.labels import unknown_classes
from vaelab.latent.manifold import Manifold, available
from vaelab.latent.mixture import Covariance
from vaelab.latent.saved import Points
from vaelab.report import build_cluster_report
from vaelab.seeds import derive_seed
from vaelab.spec import Spec
from vaelab.study import single
from vaelab.study.tune import default_folder
from vaelab.training import one_thread

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Say = Callable[[str], None]

EM_ROWS = 20_000  # training examples that EM sees, evenly spaced
LABELS = 100  # drawn unless told, where there are as many
AUTO = (1, 2, 5, 10)  # components per class that `auto` tries; of no classes, per ten
FEWEST = 10  # training examples per component that `auto` asks for


@dataclasses.dataclass(frozen=True)
class Options:
    """What a clustering is, besides its encoder; equal options on equal latents give equal files."""

    components: tuple[int, ...] = ()  # empty: auto
    covariance: Covariance = "full"
    points: Points = "samples"
    labels: int | str | tuple[int, ...] = LABELS  # how many, "validation", or row numbers
    reject: float = 0.0
    starts: int = 3
    seed: int = 0
    manifold: str = "none"
    budget: bool = True
    figures: bool = True

    @classmethod
    def create(cls, components: Any = "auto", labels: Any = None, **options: Any) -> Options:
        """Checked options. components: "auto", a number, or several; labels: a number, "validation" or rows."""
        one = cls(parse_components(components), labels=_labels(labels), **options)
        if one.covariance not in get_args(Covariance):
            raise unknown_name("covariance", one.covariance, get_args(Covariance))
        if one.points not in get_args(Points):
            raise unknown_name("kind of points", one.points, get_args(Points))
        if one.manifold not in ("none", "umap"):
            raise unknown_name("manifold", one.manifold, ("none", "umap"))
        if one.manifold == "umap":
            available()
        if not 0 <= one.reject < 1:
            raise InputError(f"`reject` must be a probability from 0 to below 1, but got {one.reject}.")
        for name, value, least in ("starts", one.starts, 1), ("seed", one.seed, 0):
            if value < least:
                raise InputError(f"`{name}` must be at least {least}, but got {value}.")
        return one


def parse_components(given: Any) -> tuple[int, ...]:
    """Numbers of components from what --components takes; none of them for auto.

    >>> parse_components("10,50"), parse_components(7), parse_components("auto")
    ((10, 50), (7,), ())
    """
    if given == "auto":
        return ()
    parts = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int) else list(given)
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        numbers = (0,)
    if not numbers or min(numbers) < 1 or isinstance(given, bool):
        raise InputError(f"components are auto, a number of at least 1, or several as 10,20, but got {shown(given)}.")
    return tuple(dict.fromkeys(numbers))


def _labels(given: Any) -> int | str | tuple[int, ...]:
    """What --labels takes, or row numbers."""
    if given is None:
        return -1  # as many as LABELS, or as there are
    if isinstance(given, list | tuple | np.ndarray):
        return tuple(int(row) for row in given)
    if given == "validation":
        return "validation"
    try:
        number = int(given)
    except ValueError:
        number = 0
    if number < 1 or isinstance(given, bool):
        raise InputError(f"labels are a number of at least 1, or validation, but got {shown(given)}.")
    return number


@dataclasses.dataclass(frozen=True)
class Clustering:
    """What `cluster` returns: the folder, all figures, the encoder, and the mixture with its labels."""

    folder: Path
    results: dict[str, Any]
    model: Fitted
    clusters: Clusters


@dataclasses.dataclass(frozen=True)
class Latents:
    """The posteriors of all examples (N, L), and their classes (N,), -1 where there is none."""

    mean: Floats
    std: Floats
    codes: Ints
    classes: tuple[str, ...]
    splits: Mapping[str, Ints]

    @classmethod
    def of(cls, fitted: Fitted, data: Dataset) -> Latents:
        mean, std = fitted.encode(data.flat)
        codes = np.full(len(mean), -1) if data.labels is None else data.labels
        return cls(mean.astype(np.float64), std.astype(np.float64), codes, data.classes, data.splits)

    def labelled(self, split: str) -> Ints:
        """Rows of a split that have a class."""
        rows = self.splits[split]
        return rows[self.codes[rows] >= 0]


def cluster(
    data: Dataset,
    *,
    run: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    say: Say = lambda text: None,
    epoch: Callable[[int], None] = lambda epoch: None,
    **options: Any,
) -> Clustering:
    """Cluster the latents of a VAE that is trained here by `settings`, or of a trained `run` on the same data.

    options: `components`, `covariance`, `points`, `labels`, `reject`, `starts`, `seed`, `manifold`, `budget`,
    `figures`, as in `vaelab cluster`; `labels` may also be row numbers of `data`, and no other label is then read
    by anything that is saved. out: by default RUN/clusters, or runs/<data>-cluster-<time>.

    Raises InputError for bad input, before anything is trained or written. The test split is opened once.
    """
    chosen = Options.create(**options)
    if run is not None and settings:
        raise InputError("a run that exists has its settings; leave out `settings`, or give data instead of a run.")
    fitted = None if run is None else _given(Path(run), data)
    spec = None if run is not None else Spec.create(**{"seed": chosen.seed, **(settings or {})})
    numbers = _numbers(chosen, data)
    rows = _label_rows(chosen, data)
    folder = _folder(data, fitted, out)
    store.new_folder(folder, overwrite)
    with store.StudyLock(folder), one_thread():
        table = {"cluster": _plain(chosen), "data": {k: v for k, v in data.source.items() if v is not None}}
        store.write_atomic(folder / "config.toml", tomli_w.dumps(table | {"settings": _toml(settings or {})}))
        if fitted is None:
            assert spec is not None
            say(f"training the encoder, {spec.epochs} epochs")
            fitted = single.train(data, spec, out=folder / "model", figures=chosen.figures, progress=epoch).model
        return _conclude(fitted, data, chosen, numbers, rows, folder, say)


def _given(run: Path, data: Dataset) -> Fitted:
    fitted = Fitted.load(run)
    if fitted.facts.fingerprint != data.fingerprint:
        raise InputError(
            f"{run} was trained on other data or another split ({shown(fitted.facts.name)}, split seed "
            f"{fitted.facts.split_seed}), not on the {shown(data.name)} given; give the data that it was trained on."
        )
    return fitted


def _folder(data: Dataset, fitted: Fitted | None, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if fitted is not None and fitted.folder is not None:
        return fitted.folder / "clusters"
    return default_folder(dataclasses.replace(data, name=f"{data.name}-cluster"))


def _numbers(options: Options, data: Dataset) -> tuple[int, ...]:
    """The numbers of components to try, ascending."""
    n = min(EM_ROWS, len(data.splits["train"]))
    if options.components:
        most = max(options.components)
        if most > n:
            raise InputError(
                f"a mixture needs at least as many points as components, but {most} components were asked for {n} "
                "training examples; ask for fewer `components`."
            )
        return tuple(sorted(options.components))
    unit = len(data.classes) or 10
    return tuple(unit * times for times in AUTO if unit * times * FEWEST <= n) or (min(unit, n),)


def _label_rows(options: Options, data: Dataset) -> Ints:
    """Rows whose labels may be read."""
    if data.labels is None:
        if options.labels != -1:
            raise InputError(
                f"{shown(data.name)} has no labels to draw; ask for none, or say by `target` where they are."
            )
        return np.empty(0, np.int64)
    if isinstance(options.labels, tuple):
        rows = np.array(options.labels, dtype=np.int64)
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(data.x) or (data.labels[rows] < 0).any():
            raise InputError(
                f"labels must be row numbers from 0 to {len(data.x) - 1} of labelled examples; check them."
            )
        if np.isin(rows, data.splits["test"]).any():
            raise InputError("labels must not be of test examples; draw them from training or validation.")
        return np.unique(rows)
    split = data.splits["validation" if options.labels == "validation" else "train"]
    codes = data.labels[split]
    if options.labels == "validation":
        return split[codes >= 0]
    assert isinstance(options.labels, int)
    number = min(LABELS, int((codes >= 0).sum())) if options.labels == -1 else options.labels
    return split[draw_balanced(codes, number, len(data.classes), derive_seed(options.seed, 1))]


def _mixtures(
    latents: Latents, options: Options, numbers: Sequence[int], say: Say
) -> tuple[list[LatentMixture], Floats]:
    """A mixture for each number of components, and the points (n, L) that they were fitted to.

    This is the one place where a mixture comes into being: an encoder that learned its own as its prior brings
    `LatentMixture.of(weights, means, variances)` instead.
    """
    train = latents.splits["train"]
    rows = train[:: -(-len(train) // EM_ROWS)]
    points, std = latents.mean[rows], latents.std[rows]
    if options.points == "samples":
        points = points + std * np.random.default_rng(derive_seed(options.seed, 2)).standard_normal(points.shape)
    found = []
    for number in numbers:
        began = time.perf_counter()
        found.append(LatentMixture(number, options.covariance, options.starts, seed=options.seed).fit(points))
        say(f"{number} components: {found[-1].n_iter_} iterations, {time.perf_counter() - began:.1f} s")
    return found, points


def _conclude(
    fitted: Fitted, data: Dataset, options: Options, numbers: Sequence[int], label_rows: Ints, folder: Path, say: Say
) -> Clustering:
    began = time.perf_counter()
    assert fitted.folder is not None
    latents = Latents.of(fitted, data)
    mixtures, points = _mixtures(latents, options, numbers, say)
    bics = [mixture.bic(points) for mixture in mixtures]
    best = int(np.argmin(bics))
    variance = np.square(latents.std[latents.splits["train"]]).mean(0)
    used = [m.widened(variance) for m in mixtures] if options.points == "means" else mixtures
    codes = latents.codes[label_rows]
    store.count_test_opening(fitted.folder)
    rows, chosen_shares, clusters = [], None, None
    for i, mixture in enumerate(used):
        shares = component_shares(mixture, latents.mean, latents.std, options.points)
        table = ClassTable.of(shares[label_rows], codes, len(data.classes)) if len(label_rows) else None
        if i == best:
            chosen_shares = shares
            clusters = Clusters(
                mixture, table, data.classes, options.points, options.reject, _place(fitted.folder, folder),
                _digest(fitted.folder),
            )  # fmt: skip
            clusters.mixture.covariance = options.covariance
            clusters.save(folder)
        rows.append(_row(mixtures[i], bics[i], points, shares, table, latents, options.reject))
    assert chosen_shares is not None
    assert clusters is not None
    results: dict[str, Any] = {
        "cluster": str(folder),
        "name": folder.resolve().name,
        "data": describe(data),
        "run": str(fitted.folder),
        "spec": fitted.spec.model_dump(mode="json"),
        "components": numbers[best],
        "bic": {str(number): bic for number, bic in zip(numbers, bics, strict=True)},
        "mixtures": rows,
        "em": {str(n): m.log_likelihoods_.tolist() for n, m in zip(numbers, mixtures, strict=True)},
        "test": rows[best]["test"],
        "whole": rows[best]["whole"],
        "stability": rows[best]["stability"],
    }
    if len(label_rows):
        assert clusters.table is not None
        store.write_json(folder / "labels.json", {"rows": label_rows, "classes": codes})
        results |= _labelled(clusters, chosen_shares, latents, label_rows, options, data, say)
    else:
        results |= {"labels": None, "methods": {}, "confusion": None, "coverage": None, "label_budget": []}
    results["notes"] = _notes(results, mixtures, options, latents)
    results["seconds"] = time.perf_counter() - began
    store.write_json(folder / "results.json", results)
    if options.figures:
        say("drawing")
        draw_clusters(folder, Shown(fitted, data, clusters, latents.mean, latents.std, chosen_shares), results)
        build_cluster_report(folder)
    return Clustering(folder, results, fitted, clusters)


def _place(run: Path, folder: Path) -> str:
    """The run's folder as seen from the mixture's: they move together where one holds the other."""
    run, folder = run.resolve(), folder.resolve()
    if run.is_relative_to(folder):
        return str(run.relative_to(folder))
    return ".." if folder.parent == run else str(run)


def _digest(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def _row(
    mixture: LatentMixture,
    bic: float,
    points: Floats,
    shares: Floats,
    table: ClassTable | None,
    latents: Latents,
    reject: float,
) -> dict[str, Any]:
    """One mixture's figures; `whole` is of all examples, training and test together, as in much of the literature."""
    return {
        "components": len(mixture.weights_),
        "bic": bic,
        "log_likelihood": float(mixture.log_likelihoods_[-1]),
        "iterations": mixture.n_iter_,
        "converged": mixture.converged_,
        "starts": [start.log_likelihood for start in mixture.starts_],
        "stability": mixture.stability(points),
        "test": _figures(latents.labelled("test"), shares, table, latents, reject),
        "whole": _figures(np.flatnonzero(latents.codes >= 0), shares, table, latents, reject),
    }


def _figures(
    rows: Ints, shares: Floats, table: ClassTable | None, latents: Latents, reject: float
) -> dict[str, Any] | None:
    if len(rows) == 0:
        return None
    codes, own = latents.codes[rows], shares[rows]
    figures = scores.cluster_figures(own.argmax(1), codes, own.shape[1], len(latents.classes))
    if table is None:
        return dict(figures)
    return figures | scores.answer_figures(table.predict_proba(own), table.predict(own, reject), codes)


def _labelled(
    clusters: Clusters, shares: Floats, latents: Latents, rows: Ints, options: Options, data: Dataset, say: Say
) -> dict[str, Any]:
    """What needs labels: the answers of every method on test, the confusion, the curves."""
    table = clusters.table
    assert table is not None
    classes = len(data.classes)
    codes = latents.codes[rows]
    test = latents.labelled("test")
    found: dict[str, Any] = {
        "labels": {
            "number": len(rows),
            "from": "validation" if options.labels == "validation" else "training",
            "per_class": np.bincount(codes, minlength=classes).tolist(),
            "unknown_classes": unknown_classes(table.known, data.classes),
        }
    }
    proba, answers = table.predict_proba(shares[test]), table.predict(shares[test], options.reject)
    truth = latents.codes[test]
    curve = scores.accuracy_coverage(proba, table.predict(shares[test]), truth)
    found["confusion"] = scores.confusion(answers, truth, classes).tolist()
    found["coverage"] = {name: getattr(curve, name).tolist() for name in ("coverage", "accuracy", "threshold")}
    say("neighbours of the training latents")
    # Labels of validation examples spread too, so these stand in the graph beside the training examples.
    train = latents.splits["train"]
    nodes = train if options.labels != "validation" else np.concatenate([train, latents.splits["validation"]])
    nodes = np.union1d(nodes, rows)
    places = {"graph": (latents.mean[nodes], latents.mean[test])}
    manifold = None
    if options.manifold == "umap":
        say("umap of the training latents")
        umap = Manifold(max(2, classes), seed=derive_seed(options.seed, 3) % 2**32)
        places["umap_graph"] = (umap.fit(latents.mean[nodes]), umap.place(latents.mean[test]))
        manifold = _manifold(*places["umap_graph"], nodes, rows, latents, test, options)
    graphs = {name: (LabelGraph(points), new) for name, (points, new) in places.items()}
    at = np.searchsorted(nodes, rows)
    found["methods"] = {"mixture": scores.answer_figures(proba, answers, truth)}
    for name, (graph, new) in graphs.items():
        guess = graph.predict_proba(new, at, codes, classes)
        found["methods"][name] = scores.answer_figures(guess, graph.answers(guess, options.reject), truth)
    found["manifold"] = manifold
    found["label_budget"] = []
    if options.budget:
        say("accuracy against the number of labels")
        methods = {
            "mixture": by_mixture(shares[nodes], shares[test], classes),
            **{name: by_graph(graph, new, classes) for name, (graph, new) in graphs.items()},
            "probe": by_probe(latents.mean[nodes], latents.mean[test]),
            "neighbours": by_neighbours(latents.mean[nodes], latents.mean[test]),
        }
        trained = np.where(np.isin(nodes, train), latents.codes[nodes], -1)
        found["label_budget"] = label_budget(methods, trained, truth, classes, seed=derive_seed(options.seed, 4))
    return found


def _manifold(
    places: Floats, new: Floats, nodes: Ints, rows: Ints, latents: Latents, test: Ints, options: Options
) -> dict[str, Any]:
    """A mixture of as many components as classes on the UMAP of the training latents, judged at test."""
    classes = len(latents.classes)
    mixture = LatentMixture(classes, options.covariance, options.starts, seed=options.seed).fit(places)
    table = ClassTable.of(mixture.predict_proba(places)[np.searchsorted(nodes, rows)], latents.codes[rows], classes)
    shares, truth = mixture.predict_proba(new), latents.codes[test]
    return {
        "kind": "umap",
        "components": classes,
        "dimensions": places.shape[1],
        "stability": mixture.stability(new),
        "test": scores.cluster_figures(shares.argmax(1), truth, classes, classes)
        | scores.answer_figures(table.predict_proba(shares), table.predict(shares, options.reject), truth),
    }


def _notes(
    results: Mapping[str, Any], mixtures: Sequence[LatentMixture], options: Options, latents: Latents
) -> list[str]:
    """What a reader of the figures should know."""
    train = len(latents.splits["train"])
    notes = ["the number of components is chosen by BIC, which compares mixtures on one encoder's latents only."]
    if train > EM_ROWS:
        notes.append(f"EM saw one training example in {-(-train // EM_ROWS)}, evenly spaced: at most {EM_ROWS:,}.")
    slow = [str(len(m.weights_)) for m in mixtures if not m.converged_]
    if slow:
        notes.append(f"EM stopped after {mixtures[0].max_iter} iterations, still gaining, with {', '.join(slow)}.")
    labels = results.get("labels")
    if labels is None:
        return [*notes, "there are no labels, so clusters have no names, and nothing says whether they are classes."]
    if labels["unknown_classes"]:
        names = ", ".join(labels["unknown_classes"])
        notes.append(f"no label was drawn of {names}: these are never answered, and count as errors.")
    if results["test"] is not None and results["test"]["hungarian_accuracy"] is None:
        notes.append("one-to-one (Hungarian) accuracy needs as many components as classes; purity stands beside it.")
    notes.append("whole: all examples, training and test together; the literature often clusters and scores these.")
    return notes


def _toml(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: "-".join(map(str, v)) or "none" if isinstance(v, tuple) else v for k, v in settings.items()}


def _plain(options: Options) -> dict[str, Any]:
    table = dataclasses.asdict(options)
    table["components"] = list(options.components) or "auto"
    if isinstance(options.labels, tuple):
        table["labels"] = list(options.labels)
    return {k: v for k, v in table.items() if v != -1}


def open_clusters(folder: str | Path) -> tuple[Fitted, Clusters]:
    """The model and the labelled mixture of a clustering's folder, or of a run that has one in RUN/clusters."""
    folder = Path(folder)
    home = folder if (folder / "mixture.json").is_file() else folder / "clusters"
    if not (home / "mixture.json").is_file():
        raise InputError(f"{folder} has no mixture; make one by `vaelab cluster {folder}`.")
    clusters = Clusters.load(home)
    fitted = Fitted.load(home / clusters.run)
    assert fitted.folder is not None
    if _digest(fitted.folder) != clusters.weights_sha256:
        raise InputError(f"{home} was made on another model than {fitted.folder} holds now; cluster again.")
    return fitted, clusters


def sample_class(folder: str | Path, name: str, n: int, seed: int = 0, noise: bool = False) -> tuple[Fitted, Array]:
    """E[x|z] (n, *shape), or with `noise` draws of x, for z drawn from the components of a class, by its name."""
    fitted, clusters = open_clusters(folder)
    if n < 1:
        raise InputError(f"the number of samples must be at least 1, but got {n}.")
    if clusters.table is None:
        raise InputError(f"{folder} has no labels, so no component is known to be of a class; cluster with `labels`.")
    if name not in clusters.classes:
        raise unknown_name("class", name, clusters.classes)
    weights = clusters.table.component_weights(clusters.classes.index(name), clusters.mixture.weights_)
    z = clusters.mixture.sample(n, seed, weights)
    return fitted, fitted.draw(z, seed) if noise else fitted.decode(z)
