"""Classifiers: the outcome of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import out, print_counts, print_judged, print_notes, print_titled, share
from vaelab.wording import counted, number, with_error

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "log_loss": "log-loss",
    "brier": "Brier",
    "ece": "ECE",
}


def print_classifier(results: Mapping[str, Any]) -> None:
    """Trial counts, then the best trial: its parameters, their importance, metrics and classes."""
    console, best = out(), results["best"]
    print_counts(console, results)
    print_judged(console, results)
    print_notes(console, results["notes"])
    if best is not None:
        row = next(row for row in results["table"] if row["number"] == best["number"])
        console.print(Text(f"best trial: {best['number']}", style="bold"))
        for name, value in row["params"].items():
            if name not in row["idle"]:
                said = number(value)
                console.print(f"  {name} {said}", highlight=False)
        if results["importance"]:
            told = ", ".join(f"{name} {part:.0%}" for name, part in list(results["importance"].items())[:6])
            console.print(Text(f"importance: {told}"), soft_wrap=True)
        table = Table(box=None, pad_edge=False)
        for name in ("", *FIGURES.values()):
            table.add_column(name, justify="right")
        for split in ("validation", "test"):
            for name, found in ((split, best[split]), (f"{split}, unscaled", best[split]["unscaled"])):
                table.add_row(name, *(share(found.get(key)) for key in FIGURES))
        print_titled(console, f"metrics at temperature {number(best['test']['temperature'])}", table)
        _print_classes(best["test"]["classes"])
        seeds = len(best["seeds"])
        if seeds > 1:
            mean = with_error(best["test_mean"], best["test_se"])
            name = results["yardstick"]["name"]
            console.print(f"test {name}: {mean} (mean over {counted(seeds, 'seed')})", highlight=False)
        always = results["baseline"]
        console.print(
            Text(f"always {always['answer']}: accuracy {number(always['accuracy'])} on validation"), soft_wrap=True
        )
    console.print(Text(f"folder: {results['study']}   report: {results['study']}/report.html"), soft_wrap=True)


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
