"""Classifiers: the outcome of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import (
    out,
    print_beaten,
    print_counts,
    print_judged,
    print_line,
    print_notes,
    print_titled,
    share,
)
from vaelab.cli.terminal.supervised import print_best, print_simpler
from vaelab.wording import number

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "log_loss": "log-loss",
    "brier": "Brier",
    "ece": "ECE",
}


def print_classifier(results: Mapping[str, Any]) -> None:
    """A simpler model that is better, trial counts, the best trial, its metrics and classes, simpler models."""
    console, best = out(), results["best"]
    print_beaten(console, results)
    print_counts(console, results)
    print_judged(console, results)
    print_notes(console, results["notes"])
    if best is not None:
        print_best(console, results)
        table = Table(box=None, pad_edge=False)
        for name in ("", *FIGURES.values()):
            table.add_column(name, justify="right")
        for split in ("validation", "test"):
            for name, found in ((split, best[split]), (f"{split}, unscaled", best[split]["unscaled"])):
                table.add_row(name, *(share(found.get(key)) for key in FIGURES))
        print_titled(console, f"metrics at temperature {number(best['test']['temperature'])}", table)
        _print_classes(best["test"]["classes"])
        always = results["baseline"]
        console.print(
            Text(f"always {always['answer']}: accuracy {number(always['accuracy'])} on validation"), soft_wrap=True
        )
        print_simpler(console, results, {"accuracy": "accuracy", "log_loss": "log-loss"})
    print_line(console, f"folder: {results['study']}   report: {results['study']}/report.html")


def _print_classes(classes: list[Mapping[str, Any]], most: int = 20) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("class", "examples", "precision", "recall", "F1"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for row in classes[:most]:
        table.add_row(
            Text(str(row["class"])), f"{row['examples']:,}", *(share(row[k]) for k in ("precision", "recall", "f1"))
        )
    left = f" (the first {most} of {len(classes)})" if len(classes) > most else ""
    print_titled(out(), f"classes on test{left}", table)
