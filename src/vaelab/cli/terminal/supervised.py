"""What the outcomes of studies of classifiers and of regressors share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import print_line, print_notes, print_titled
from vaelab.settings.reached import Reached
from vaelab.settings.yardsticks import Yardstick
from vaelab.wording import counted, number, percent


def print_best(console: Console, results: Mapping[str, Any]) -> None:
    """The best trial, its parameters, their importance, and its mean over seeds, if there are several."""
    best = results["best"]
    row = next(row for row in results["table"] if row["number"] == best["number"])
    console.print(Text(f"best trial: {best['number']}", style="bold"))
    for name, value in row["params"].items():
        if name not in row["idle"]:
            said = number(value)
            console.print(f"  {name} {said}", highlight=False)
    if results["importance"]:
        told = ", ".join(f"{name} {percent(part)}" for name, part in list(results["importance"].items())[:6])
        print_line(console, f"importance: {told}")
    seeds = len(best["seeds"])
    if seeds > 1:
        yardstick = Yardstick.of(results)
        found = Reached.of(results, yardstick, "test")
        how = ", ".join(filter(None, (f"mean over {counted(seeds, 'seed')}", found.kind)))
        console.print(f"test {yardstick.name}: {found} ({how})", highlight=False)


def print_simpler(console: Console, results: Mapping[str, Any], metrics: Mapping[str, str]) -> None:
    """Simpler models beside the winner, by `metrics` with their heads, on validation and test."""
    reason = results.get("baselines_left_out")
    if reason:
        print_notes(console, [reason])
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for head in (f"{head}, {split}" for head in metrics.values() for split in ("validation", "test")):
        table.add_column(head, justify="right")
    for own in ({"name": f"trial {results['best']['number']}", **results["best"]}, *results["baselines"]):
        cells = (own[split].get(name) for name in metrics for split in ("validation", "test"))
        table.add_row(own["name"], *(number(value) for value in cells))
    print_titled(console, "beside simpler models", table)
