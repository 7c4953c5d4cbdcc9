"""The results of a clustering: metrics of its mixtures, accuracy of each labelling method, and notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import metrics as scores
from vaelab.data import Dataset
from vaelab.engine.seeds import derive_seed
from vaelab.latent import ClassTable, Clusters, LatentMixture
from vaelab.latent.budget import by_graph, by_mixture, by_neighbours, by_probe, label_budget
from vaelab.latent.graph import LabelGraph
from vaelab.latent.labels import unknown_classes
from vaelab.latent.manifold import Manifold
from vaelab.latent.options import EM_ROWS, Options
from vaelab.vae.fitted import Fitted
from vaelab.wording import counted, percent

Ints = npt.NDArray[np.int64]


Floats = npt.NDArray[np.float64]


Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Latents:
    """The posteriors of all examples (N, L), and their classes (N,), -1 if unlabelled."""

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
        """Labelled rows of a split."""
        rows = self.splits[split]
        return rows[self.codes[rows] >= 0]


def mixture_row(
    mixture: LatentMixture,
    points: Floats,
    shares: Floats,
    table: ClassTable | None,
    latents: Latents,
    reject: float,
) -> dict[str, Any]:
    """One mixture's metrics; `whole` is for all examples, training and test together, as often in the literature.

    A mixture learned as a prior has no EM iterations.
    """
    return {
        "components": len(mixture.weights_),
        "covariance": mixture.covariance,
        "bic": mixture.bic(points),
        "icl": mixture.icl(points),
        "log_likelihood": mixture.score(points),
        "iterations": getattr(mixture, "n_iter_", None),
        "converged": getattr(mixture, "converged_", None),
        "starts": [start.log_likelihood for start in getattr(mixture, "starts_", ())],
        "stability": mixture.stability(points),
        "test": _metrics(latents.labelled("test"), shares, table, latents, reject),
        "whole": _metrics(np.flatnonzero(latents.codes >= 0), shares, table, latents, reject),
    }


def _metrics(
    rows: Ints, shares: Floats, table: ClassTable | None, latents: Latents, reject: float
) -> dict[str, Any] | None:
    if len(rows) == 0:
        return None
    codes, own = latents.codes[rows], shares[rows]
    figures = scores.cluster_metrics(own.argmax(1), codes, own.shape[1], len(latents.classes))
    if table is None:
        return dict(figures)
    return figures | scores.answer_metrics(table.predict_proba(own), table.predict(own, reject), codes)


def with_labels(
    clusters: Clusters, shares: Floats, latents: Latents, rows: Ints, options: Options, data: Dataset, say: Say
) -> tuple[Clusters, dict[str, Any]]:
    """The clusters with the labels propagated, too; and results that need labels: predictions of every method on test,
    which of them answers new rows by their accuracy on validation, confusion, curves.
    """
    table = clusters.table
    assert table is not None
    classes = len(data.classes)
    codes = latents.codes[rows]
    test = latents.labelled("test")
    found: dict[str, Any] = {
        "manifold": None,
        "labels": {
            "number": len(rows),
            "from": "validation" if options.labels == "validation" else "training",
            "per_class": np.bincount(codes, minlength=classes).tolist(),
            "unknown_classes": unknown_classes(table.known, data.classes),
        },
    }
    say("neighbours of the training latents")
    # Labelled validation examples also propagate, so they are in the graph with the training examples.
    train = latents.splits["train"]
    nodes = train if options.labels != "validation" else np.concatenate([train, latents.splits["validation"]])
    nodes = np.union1d(nodes, rows)
    graph, new = LabelGraph(latents.mean[nodes]), latents.mean[test]
    spread = graph.propagation(np.searchsorted(nodes, rows), codes, classes)
    clusters = dataclasses.replace(clusters, propagation=spread)
    judged = np.setdiff1d(latents.labelled("validation"), rows)
    found["validation"] = {"rows": len(judged), **(_by_method(clusters, latents, judged) if len(judged) else {})}
    accuracy = {name: found["validation"][name]["labelled_accuracy"] for name in clusters.methods if len(judged)}
    clusters = dataclasses.replace(clusters, propagation=dataclasses.replace(spread, accuracy=accuracy))
    found["predicts_by"] = clusters.chosen
    truth = latents.codes[test]
    answers, proba = clusters.predict(latents.mean[test], latents.std[test])
    unrejected, _ = dataclasses.replace(clusters, reject=0.0).predict(latents.mean[test], latents.std[test])
    curve = scores.accuracy_coverage(proba, unrejected, truth)
    found["confusion"] = scores.confusion(answers, truth, classes).tolist()
    found["coverage"] = {name: getattr(curve, name).tolist() for name in ("coverage", "accuracy", "threshold")}
    found["graph"] = {
        "neighbours": graph.neighbours, "alpha": graph.alpha,
        "temperature": None if spread.calibration is None else spread.calibration.temperature,
    }  # fmt: skip
    found["methods"] = _by_method(clusters, latents, test)
    methods = {
        "mixture": by_mixture(shares[nodes], shares[test], classes),
        "graph": by_graph(graph, new, classes),
        "probe": by_probe(latents.mean[nodes], new),
        "neighbours": by_neighbours(latents.mean[nodes], new),
    }
    if options.manifold == "umap":
        say("umap of the training latents")
        found["manifold"], known, seen = _manifold(nodes, rows, latents, test, options)
        found["methods"]["umap"] = {name: found["manifold"]["test"][name] for name in found["methods"]["mixture"]}
        methods["umap"] = by_mixture(known, seen, classes)
    found["label_budget"] = []
    if options.budget:
        say("accuracy against the number of labels")
        trained = np.where(np.isin(nodes, train), latents.codes[nodes], -1)
        found["label_budget"] = label_budget(
            methods, trained, truth, classes, seed=derive_seed(options.seed, 4),
            groups=None if data.groups is None else data.groups[nodes],
        )  # fmt: skip
    return clusters, found


def _by_method(clusters: Clusters, latents: Latents, rows: Ints) -> dict[str, dict[str, float]]:
    """The metrics of what can answer new rows, on labelled rows."""
    found = {}
    for name in clusters.methods:
        answers, proba = clusters.predict(latents.mean[rows], latents.std[rows], name)
        found[name] = scores.answer_metrics(proba, answers, latents.codes[rows])
    return found


def _manifold(
    nodes: Ints, rows: Ints, latents: Latents, test: Ints, options: Options
) -> tuple[dict[str, Any], Floats, Floats]:
    """A mixture with one component per class on the UMAP of the training latents (n), evaluated on test (m).

    Returns its metrics, and the posteriors over its components (n, K) and (m, K).
    """
    classes = len(latents.classes)
    umap = Manifold(max(2, classes), seed=derive_seed(options.seed, 3) % 2**32)
    places, new = umap.fit(latents.mean[nodes]), umap.place(latents.mean[test])
    assert options.covariance != "auto", "resolved, since there are labels"
    mixture = LatentMixture(classes, options.covariance, options.em_starts, seed=options.seed).fit(places)
    known, seen = mixture.predict_proba(places), mixture.predict_proba(new)
    table = ClassTable.of(known[np.searchsorted(nodes, rows)], latents.codes[rows], classes)
    truth = latents.codes[test]
    figures = scores.cluster_metrics(seen.argmax(1), truth, classes, classes) | scores.answer_metrics(
        table.predict_proba(seen), table.predict(seen, options.reject), truth
    )
    found = {
        "kind": "umap",
        "components": classes,
        "dimensions": places.shape[1],
        "stability": mixture.stability(new),
        "test": figures,
    }
    return found, known, seen


def notes_on(results: Mapping[str, Any], mixtures: Sequence[LatentMixture], latents: Latents) -> list[str]:
    """Notes on the results; `mixtures` are those fitted by EM."""
    train = len(latents.splits["train"])
    notes = ["the mixture is the model's own prior, learned with it; set `components` to fit another with EM."]
    if mixtures:
        criterion = results["criterion"]
        notes = [
            f"the number of components is chosen by {criterion}, which compares mixtures on one encoder's latents."
        ]
    if mixtures and train > EM_ROWS:
        notes.append(f"EM used one training example in {-(-train // EM_ROWS)}, evenly spaced: at most {EM_ROWS:,}.")
    slow = [str(len(m.weights_)) for m in mixtures if not m.converged_]
    if slow:
        notes.append(f"EM stopped after {mixtures[0].max_iter} iterations without converging for {', '.join(slow)}.")
    labels = results.get("labels")
    if labels is None:
        return [*notes, "there are no labels, so clusters are numbered and cannot be compared with classes."]
    notes.append(_on_choice(results["validation"], results["predicts_by"]))
    if results["graph"]["temperature"] is None:
        notes.append("the graph's probabilities are not calibrated: no class has two labels, so none can be left out.")
    test, judged = len(latents.splits["test"]), len(latents.labelled("test"))
    if judged < test:
        verb = "has" if judged == 1 else "have"
        notes.append(f"{judged:,} of {counted(test, 'test row')} {verb} a label: accuracies on test are of these.")
    if labels["unknown_classes"]:
        names = ", ".join(labels["unknown_classes"])
        notes.append(f"no label was drawn for {names}: these classes are never predicted and count as errors.")
    if results["test"] is not None and results["test"]["hungarian_accuracy"] is None:
        notes.append(
            "one-to-one (Hungarian) accuracy needs equal numbers of components and classes; purity is also given."
        )
    notes.append("all examples are training and test together, as often clustered and scored in the literature.")
    return notes


def _on_choice(own: Mapping[str, Any], by: str) -> str:
    """What answers new rows, and why; `own`: metrics on validation."""
    told = f"new rows are answered by the {by}; `predict --by` names the other"
    if not own["rows"]:
        return f"{told}: no labelled validation rows are left to choose by."
    right = {name: percent(own[name]["labelled_accuracy"], 1) for name in ("mixture", "graph")}
    return (
        f"{told}: of {own['rows']:,} labelled validation rows the mixture gets {right['mixture']} right and the graph "
        f"{right['graph']}."
    )
