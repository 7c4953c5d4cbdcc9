"""The page of a clustering: accuracy from few labels, the mixtures, the curves and the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.report.captions import captions, cluster_captions
from vaelab.report.data import data_section
from vaelab.report.page import Card, closing, figures, finite, render
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_object, write_atomic
from vaelab.wording import counted, kept_start, percent

PICTURES = ("pca", "components", "class_samples", "confusion", "coverage", "budget", "em")
OF_MODEL = ("reconstructions", "samples", "losses", "latent")
CLUSTER_FIGURES = {
    "hungarian_accuracy": "Hungarian",
    "purity": "purity",
    "nmi": "NMI",
    "ari": "ARI",
}
ANSWER_FIGURES = {
    "labelled_accuracy": "accuracy",
    "answered": "answered",
    "log_loss": "log-loss, nats",
    "brier": "Brier",
    "ece": "ECE",
}
METHODS = {
    "mixture": "mixture: components named by the labels",
    "graph": "graph: labels propagated over nearest neighbours",
    "umap": "mixture on a UMAP of the latents, named by the labels",
    "probe": "logistic probe: on the labelled latents only",
    "neighbours": "nearest neighbours: among the labelled latents only",
}

STABLE = 0.8  # adjusted Rand index of EM starts, below which clusters depend on the seed
NAMED = {
    "mixture": "Naming components",
    "graph": "Propagated over nearest neighbours",
    "umap": "With a mixture on a UMAP of the latents",
}


def build_cluster_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures next to it, and the run's pictures.

    Raises StoreError where results.json is missing or damaged.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    missing: list[str] = []
    mixtures = [row for row in results.get("mixtures") or [] if isinstance(row, Mapping)]
    best = results.get("components") if len(mixtures) > 1 else None  # marked if there are several
    run = Path(str(results.get("run") or folder))
    of_model = [path for path in folder_pictures(run, OF_MODEL) if path.stem in OF_MODEL]
    page = render(
        "cluster.html.jinja",
        title=str(results.get("name") or folder.resolve().name),
        headline=_headline(results),
        course=_course(results),
        cards=_cards(results),
        described=_described(results.get("described") or []),
        has_columns=any(own["columns"] for own in results.get("described") or []),
        methods=_methods(results),
        splits=[
            (_mixtures(mixtures, best, "test"), "on the test split"),
            (_mixtures(mixtures, best, "whole"), "on all examples (training and test)"),
        ],
        fits=_fits(mixtures, best),
        manifold=_manifold(results.get("manifold")),
        budget=_budget(results.get("label_budget") or []),
        figures=figures(
            [p for p in folder_pictures(folder, PICTURES) if p.stem in PICTURES],
            "the clustering", missing, captions=cluster_captions(results.get("data") or {}),
        ),
        model_figures=figures(of_model, "the encoder", missing, captions=captions(results.get("data") or {})),
        **data_section(results.get("data") or {}),
        **closing(folder, results, missing, spec_type),
    )  # fmt: skip
    return write_atomic(folder / "report.html", page)


def _headline(results: Mapping[str, Any]) -> str:
    number = counted(int(results.get("components") or 0), "component")
    labels = results.get("labels")
    accuracy = finite(_answering(results).get("labelled_accuracy"))
    if labels and accuracy is not None:
        known = counted(int(labels.get("number") or 0), "label")
        judged = counted(sum(map(sum, results.get("confusion") or [])), "labelled test row")
        return f"{number}, {known}: {percent(accuracy, 1)} of {judged} classified correctly {_by(results)}."
    return f"{number} describe the latents: {_choice(results)}."


def _answering(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metrics of the method that answers new rows."""
    return (results.get("methods") or {}).get(results.get("predicts_by")) or {}


def _by(results: Mapping[str, Any]) -> str:
    """By which method classes are answered, and why by that one."""
    how = "by label propagation" if results.get("predicts_by") == "graph" else "by named components"
    own = results.get("validation") or {}
    return f"{how}, which did better on validation" if own.get("rows") and _differ(own) else how


def _differ(own: Mapping[str, Any]) -> bool:
    accuracies = {finite((own.get(name) or {}).get("labelled_accuracy")) for name in ("mixture", "graph")}
    return len(accuracies) > 1


def _choice(results: Mapping[str, Any]) -> str:
    """How the number of components was chosen."""
    if not results.get("em"):
        return "the model's own prior"
    return f"lowest {results.get('criterion', 'BIC')}" if len(results["em"]) > 1 else "as requested"


def _course(results: Mapping[str, Any]) -> list[str]:
    said = [text] if (text := kept_start(results.get("starts") or [])) else []
    for name, own in (results.get("methods") or {}).items():
        accuracy = finite((own or {}).get("labelled_accuracy"))
        if accuracy is not None and name != results.get("predicts_by"):
            said.append(f"{NAMED.get(name, name)}, the same labels reach {percent(accuracy, 1)}.")
    if results.get("stability") is not None:
        said.append(f"EM starts agree with an adjusted Rand index of {results['stability']:.2f}.")
        if results["stability"] < STABLE:
            said.append(
                "That is low: another seed gives other clusters. Compare several `--seed`, or ask for fewer "
                "`--components`."
            )
    return said


def _cards(results: Mapping[str, Any]) -> list[Card]:
    test = {**(results.get("test") or {}), **_answering(results)}
    cards = [Card("components", Cell.of(results.get("components")), _choice(results))]
    by = results.get("predicts_by") or "mixture"
    units = {
        "labelled_accuracy": f"of the {by} on test; unknown counts as an error",
        "hungarian_accuracy": "one-to-one accuracy of the mixture on test",
        "purity": "of the mixture on test",
        "nmi": "of the mixture on test (best: 1)",
        "ari": "adjusted Rand index of the mixture on test",
        "ece": f"calibration error of the {by} on test (best: 0)",
    }
    names = CLUSTER_FIGURES | {"labelled_accuracy": "accuracy", "ece": "ECE"}
    cards += [Card(names[k], Cell.of(test[k]), unit) for k, unit in units.items() if test.get(k) is not None]
    return cards


def _described(found: Sequence[Mapping[str, Any]]) -> Table | None:
    """Of each cluster its size, with labels its class and, of a table, the columns that set it apart."""
    if not found:
        return None
    told, named = any(own["columns"] for own in found), any("class" in own for own in found)
    rows = [
        Row([Cell(str(own["cluster"])), *([Cell(str(own["class"]))] if named else []), Cell.of(own["rows"]),
             Cell.of(own["share"], lambda v: percent(v, 1)),
             *([Cell("; ".join(map(_column, own["columns"])) or "nothing")] if told else [])])
        for own in found
    ]  # fmt: skip
    heads = [
        "cluster",
        *(["class"] if named else []),
        "rows",
        "share",
        *(["what sets it apart from the rest"] if told else []),
    ]
    return Table("The clusters", heads, rows)


def _column(own: Mapping[str, Any]) -> str:
    return f"{own['column']}: {own['inside']} against {own['outside']} ({own['difference']:+.1f} sd)"


def _methods(results: Mapping[str, Any]) -> Table | None:
    methods = results.get("methods") or {}
    rows = [
        Row([Cell(METHODS.get(name, name), tag="answers new rows" if name == results.get("predicts_by") else ""),
             *(Cell.of((own or {}).get(key)) for key in ANSWER_FIGURES)])
        for name, own in methods.items()
    ]  # fmt: skip
    return Table("Predictions on the test split", ["method", *ANSWER_FIGURES.values()], rows) if rows else None


def _mixtures(mixtures: Sequence[Mapping[str, Any]], best: Any, split: str) -> Table | None:
    sound = [row for row in mixtures if row.get(split)]
    if not sound:
        return None
    heads = CLUSTER_FIGURES | ANSWER_FIGURES
    shown = [key for key in heads if any(row[split].get(key) is not None for row in sound)]
    rows = [
        Row([_number(row, best), *(Cell.of(row[split].get(key)) for key in shown)], _mark(row, best)) for row in sound
    ]
    return Table(f"Mixtures: {split}", ["components", *(heads[key] for key in shown)], rows)


def _number(row: Mapping[str, Any], best: Any) -> Cell:
    cell = Cell.of(row.get("components"))
    return Cell(cell.text, cell.exact, tag="chosen" if row.get("components") == best else "")


def _mark(row: Mapping[str, Any], best: Any) -> str:
    return "winner" if row.get("components") == best else ""


def _fits(mixtures: Sequence[Mapping[str, Any]], best: Any) -> Table:
    keys = {
        "covariance": "covariance",
        "bic": "BIC",
        "icl": "ICL",
        "log_likelihood": "log p(z), nats per point",
        "iterations": "iterations",
        "converged": "converged",
        "stability": "stability, ARI over starts",
    }
    rows = [
        Row([_number(row, best), *(Cell.of("yes" if row.get(k) is True else row.get(k)) for k in keys)],
            _mark(row, best))
        for row in mixtures
    ]  # fmt: skip
    return Table("Fits", ["components", *keys.values()], rows)


def _manifold(found: Any) -> Table | None:
    if not isinstance(found, Mapping):
        return None
    heads = CLUSTER_FIGURES | ANSWER_FIGURES
    test = found.get("test") or {}
    name = f"{found.get('components')} components on a UMAP of {found.get('dimensions')} dimensions"
    return Table("UMAP", ["mixture", *heads.values()], [Row([Cell(name), *(Cell.of(test.get(key)) for key in heads)])])


def _budget(table: Sequence[Mapping[str, Any]]) -> Table | None:
    if not table:
        return None
    names = list(table[0].get("accuracy") or {})
    rows = [
        Row([Cell.of(row.get("labels")), Cell.of(row.get("draws")),
             *(Cell.mean((row.get("accuracy") or {}).get(name)) for name in names)])
        for row in table
    ]  # fmt: skip
    return Table("Label budget", ["labels", "draws", *(METHODS.get(name, name) for name in names)], rows)
