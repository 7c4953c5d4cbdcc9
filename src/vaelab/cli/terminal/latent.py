"""Results of `cluster` and `anomaly`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import out, print_line, print_notes, print_titled, share
from vaelab.wording import number, row_title, told_apart, with_error

CLUSTERED = {
    "hungarian_accuracy": "Hungarian",
    "purity": "purity",
    "nmi": "NMI",
    "ari": "ARI",
    "labelled_accuracy": "labelled",
    "answered": "answered",
    "ece": "ECE",
}

SHOWN_ROWS = 10


def print_clusters(results: Mapping[str, Any]) -> None:
    """The mixtures on test, the accuracy of each labelling method, the label budget, the folder."""
    console = out()
    for split, title in ("test", "the test split"), ("whole", "all examples (training and test)"):
        rows = [row for row in results["mixtures"] if row[split] is not None]
        if rows:
            shown = [key for key in CLUSTERED if any(row[split].get(key) is not None for row in rows)]
            table = Table(box=None, pad_edge=False)
            for name in ("components", "BIC", "stability", *(CLUSTERED[key] for key in shown)):
                table.add_column(name, justify="right")
            for row in rows:
                mark = (
                    f" (lowest {results['criterion']})"
                    if row["components"] == results["components"] and len(rows) > 1
                    else ""
                )
                cells = [share(row[split].get(key)) for key in shown]
                table.add_row(f"{row['components']}{mark}", f"{row['bic']:,.0f}", share(row["stability"]), *cells)
            print_titled(console, f"mixtures on {title}", table)
    if results["labels"] is not None and results["methods"]:
        labels = results["labels"]
        table = Table(box=None, pad_edge=False)
        keys = ("labelled_accuracy", "answered", "log_loss", "brier", "ece")
        for name in ("method", "accuracy", "answered", "log-loss", "Brier", "ECE"):
            table.add_column(name, justify="left" if name == "method" else "right")
        for method, metrics in results["methods"].items():
            mark = " (answers new rows)" if method == results["predicts_by"] else ""
            table.add_row(f"{method}{mark}", *(share(metrics[key]) for key in keys))
        if results["manifold"] is not None:
            umap = results["manifold"]
            said = "  ".join(
                f"{CLUSTERED[key]} {number(umap['test'][key])}" for key in ("hungarian_accuracy", "nmi", "ari")
            )
            table.caption, table.caption_justify = f"umap, {umap['components']} components: {said}", "left"
        print_titled(console, f"accuracy on test with {labels['number']:,} labels of {labels['from']} examples", table)
    if results["labels"] is None:
        _print_described(console, results)
    _print_budget(console, results["label_budget"])
    print_notes(console, results["notes"])
    report = Path(results["cluster"]) / "report.html"
    told = f"   report: {report}" if report.exists() else ""
    print_line(console, f"folder: {results['cluster']}{told}")


def _print_described(console: Console, results: Mapping[str, Any]) -> None:
    """The clusters with their sizes and, of a table, the columns that set them apart."""
    has_columns = any(own["columns"] for own in results["described"])
    table = Table(box=None, pad_edge=False)
    table.add_column("cluster", justify="right")
    table.add_column("rows", justify="right")
    if has_columns:
        table.add_column("what sets it apart from the rest")
    for own in results["described"]:
        columns = "; ".join(f"{c['column']} {c['inside']} ({c['outside']})" for c in own["columns"])
        table.add_row(own["cluster"], f"{own['rows']:,}", *([columns] if has_columns else []))
    brackets = "; in brackets: all other rows" if has_columns else ""
    print_titled(console, f"{len(results['described'])} clusters, the largest first{brackets}", table)


def _print_budget(console: Console, budget: Sequence[Mapping[str, Any]]) -> None:
    if not budget:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("labels", *budget[0]["accuracy"]):
        table.add_column(name, justify="right")
    for row in budget:
        table.add_row(
            f"{row['labels']:,}",
            *(with_error(accuracy["mean"], accuracy["se"]) for accuracy in row["accuracy"].values()),
        )
    print_titled(console, "accuracy on test by number of labels", table)


def print_anomalies(results: Mapping[str, Any]) -> None:
    """The scores of each direction with their AUROC; failed scores are marked, with the reason."""
    console = out()
    for way in results["directions"]:
        table = Table(box=None, pad_edge=False)
        table.add_column("score")
        table.add_column("AUROC", justify="right")
        table.add_column("")
        for name, verdict in way["scores"].items():
            failed = "FAILED" if verdict["failed"] else ""
            table.add_row(name.replace("_", " "), with_error(verdict["auroc"], verdict["se"]), failed)
        print_titled(console, way["name"], table)
        for verdict in way["scores"].values():
            if verdict["failed"]:
                console.print(Text(verdict["sentence"]))
    print_notes(console, results["notes"])
    print_line(console, f"folder: {results['anomaly']}   report: {results['anomaly']}/report.html")


def print_row_scores(results: Mapping[str, Any]) -> None:
    """How many rows are flagged, and the strangest with the columns that make them so; of a page, where it is."""
    console = out()
    table = Table(box=None, pad_edge=False)
    table.add_column(row_title(results["id_name"]))
    for name in ("score", "p-value"):
        table.add_column(name, justify="right")
    table.add_column("what makes it strange")
    for own in results["strangest"][:SHOWN_ROWS]:
        told = ((why["column"], *told_apart(why["value"], why["expected"])) for why in own["strange"])
        reasons = (f"{column} {value} not {expected}" for column, value, expected in told)
        table.add_row(str(own["row"]), f"{own['score']:.5g}", f"{own['p_value']:.2g}", "; ".join(reasons))
    said = (
        f"{results['flagged']:,} of {results['rows']:,} rows flagged (p-value at most {results['contamination']:.2g})"
    )
    print_titled(console, f"{said}; the strangest:", table)
    print_notes(console, results["notes"])
    if "anomalies" in results:
        print_line(console, f"folder: {results['anomalies']}   report: {results['anomalies']}/report.html")
