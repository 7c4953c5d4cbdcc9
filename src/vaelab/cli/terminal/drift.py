"""Results of `drift`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import out, print_line, print_notes, print_titled
from vaelab.report.drift import drift_in_words
from vaelab.wording import percent

SHOWN_COLUMNS = 15


def print_drift(results: Mapping[str, Any]) -> None:
    """The finding, the columns that differ most, the folder."""
    console = out()
    columns = results["columns"][:SHOWN_COLUMNS]
    said = drift_in_words(results)
    if columns:
        is_missing = any(own["missing_p_value"] is not None for own in columns)
        table = Table(box=None, pad_edge=False)
        table.add_column("column")
        for name in ("kind", "distance", "shift, sd", "p, Holm", *(("missing", "p, Holm") if is_missing else ())):
            table.add_column(name, justify="left" if name == "kind" else "right")
        for own in columns:
            cells = [_short(own[key]) for key in ("distance", "shift", "p_holm")]
            if is_missing:
                shares = f"{percent(own['missing_reference'])} to {percent(own['missing'])}"
                cells += [shares, _short(own["missing_p_holm"])]
            table.add_row(own["column"], own["kind"], *cells)
        print_titled(console, said, table)
    else:
        console.print(Text(said), soft_wrap=True)
    print_notes(console, results["notes"])
    print_line(console, f"folder: {results['drift']}   report: {results['drift']}/report.html")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
