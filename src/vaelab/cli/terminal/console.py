"""The two consoles, and how values are formatted on them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from vaelab.settings.yardsticks import FRONT, Yardstick
from vaelab.wording import counted, number, one_line, percent, printable


class PlainConsole(Console):
    """A console on which names are just text: no markup, no emoji, no control characters that a terminal obeys."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


def errors() -> Console:
    return PlainConsole(file=sys.stderr)


def out() -> Console:
    return PlainConsole(file=sys.stdout, width=None if sys.stdout.isatty() else 100)


def print_line(console: Console, text: str) -> None:
    """One line, whatever names are in it."""
    console.print(Text(one_line(text)), soft_wrap=True)


def share(value: float | None) -> str:
    """A fraction in [0, 1], formatted for a table column."""
    return "" if value is None else number(value, 1.0)


def print_titled(console: Console, title: str, table: Table) -> None:
    """A table below a one-line title; rich would wrap the table's own title to the table's width."""
    console.print(Text(title, style="italic"), soft_wrap=True)
    console.print(table)


def print_counts(console: Console, results: Mapping[str, Any]) -> None:
    """How the trials of a study ended, and how long it took."""
    counts = results["trials"]
    collapsed = sum(row.get("verdict") == "collapsed" for row in results["table"])
    told = f" ({collapsed} collapsed and cannot win)" if collapsed else ""
    console.print(
        f"{counted(counts['total'], 'trial')}: {counts['complete']} complete{told}, {counts['pruned']} pruned, "
        f"{counts['failed']} failed. "
        f"Search {results['seconds']['search']:.0f} s, final training {results['seconds']['final']:.0f} s",
        highlight=False,
    )
    epochs = results["epochs"]
    if counts["pruned"]:
        saved = 1 - epochs["spent"] / epochs["unpruned"]
        console.print(f"pruning saved {percent(saved)} of the epochs of all trials", highlight=False)


def print_judged(console: Console, results: Mapping[str, Any]) -> None:
    """How the yardsticks judged, if it goes without saying for none of them."""
    yardsticks = Yardstick.both(results)
    for said in [*(each.how for each in yardsticks), FRONT if len(yardsticks) > 1 else ""]:
        if said:
            console.print(Text(said), soft_wrap=True)


def print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        print_line(console, f"note: {note}")


def print_beaten(console: Console, results: Mapping[str, Any]) -> None:
    """The baseline that is no worse than the model, before anything else."""
    if results.get("beaten"):
        console.print(Text(results["beaten"], style="bold"), soft_wrap=True)


def print_baseline(console: Console, baseline: Mapping[str, Any], split: str) -> None:
    """`baseline` also holds those with structure, if they were fitted."""
    text = f"without latents, on {split}: {number(baseline['no_latents'])}"
    for own in baseline.get("structured", ()):
        text += f", {own['label']}: {number(own[split])}"
    if baseline.get("floor") is not None:
        text += f", the data's own entropy: {number(baseline['floor'])}"
        if baseline.get("share") is not None:
            text += f"; the model closes {percent(baseline['share'])} of the gap"
    console.print(text, highlight=False, soft_wrap=True)
    print_notes(console, baseline.get("left_out", ()))
