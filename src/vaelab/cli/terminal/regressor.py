"""Regressors: the outcome of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from vaelab.cli.terminal.console import (
    out,
    print_beaten,
    print_counts,
    print_judged,
    print_line,
    print_notes,
    print_titled,
)
from vaelab.cli.terminal.supervised import print_best, print_simpler
from vaelab.wording import number, with_error

FIGURES = {"log_density": "log-density", "r2": "R²", "rmse": "RMSE", "mae": "MAE"}


def print_regressor(results: Mapping[str, Any]) -> None:
    """A simpler model that is better; trial counts; the best trial: its parameters and metrics; simpler models."""
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
            found = best[split]
            table.add_row(split, *(with_error(found[key], found["errors"][key]) for key in FIGURES))
        print_titled(
            console,
            "metrics, ± standard error over rows; log-density in nats, RMSE and MAE in the target's unit",
            table,
        )
        interval = best["test"]["interval"]
        console.print(
            f"intervals of {interval['level']:.3g} cover {with_error(interval['coverage'], interval['se'])} of the "
            f"test rows (± standard error over rows); median width {number(interval['median_width'])}",
            highlight=False,
        )
        print_simpler(console, results, {"log_density": "log-density", "r2": "R²"})
    print_line(console, f"folder: {results['study']}   report: {results['study']}/report.html")
