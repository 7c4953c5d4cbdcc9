"""The list of runs and studies, and what is wrong with one, for a terminal of any width."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from vaelab.catalog.doctor import Finding
from vaelab.catalog.entries import Entry
from vaelab.cli.terminal.console import PlainConsole, out

SHOWN = ("path", "kind", "state", "figure", "data", "date")
WIDE = 1_000  # columns of a file or pipe: nothing is cut
NARROW = 120  # columns; below, the date has no time
LEAST, GAP = 12, 2  # columns of a figure that is cut, and between two cells


def print_entries(entries: Sequence[Entry]) -> None:
    """One line each; figures are cut where the terminal is narrow."""
    console = PlainConsole(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE)
    if not entries:
        console.print("no runs or studies here")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [{name: str(getattr(entry, name)) for name in SHOWN} for entry in entries]
    if console.width < NARROW:
        rows = [{**row, "date": row["date"].partition(" ")[0]} for row in rows]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in SHOWN}
    taken = sum(widths.values()) - widths["figure"] + GAP * (len(SHOWN) - 1)
    widths["figure"] = min(widths["figure"], max(LEAST, console.width - taken))
    for name in SHOWN:
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=widths[name])
    for row in rows:
        table.add_row(*map(Text, row.values()))
    console.print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    console = out()
    if not findings:
        console.print("nothing wrong")
    for finding in findings:
        console.print(Text(finding.what), soft_wrap=True)
        console.print(Text(f"  remedy: {finding.remedy}"), soft_wrap=True)
