"""Results of `synthetic`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import out, print_line, print_notes, print_titled
from vaelab.wording import counted, number, percent, with_error

WORST = 5  # columns shown


def print_synthetic(results: Mapping[str, Any]) -> None:
    """Whether rows can be told apart, how far columns and pairs are, what they are good for, and how close they are."""
    console, rows = out(), results["rows"]
    table = _table("against test rows", "synthetic", "training")
    own, more, floor = (results["two_sample"][name] for name in ("synthetic", "synthetic_from_train", "train"))
    table.add_row(
        "AUC of boosting (0.5: cannot be told apart)",
        with_error(own["auc"], own["se"]),
        with_error(floor["auc"], floor["se"]),
    )
    table.add_row("AUC against training rows, which are more", with_error(more["auc"], more["se"]), "")
    each, pairs, near = results["marginals"], results["associations"], results["nearest"]
    table.add_row("mean distance of columns", *(_mean(each, key) for key in ("distance", "of_training")))
    table.add_row("mean difference of associations", *(_three(pairs[key]) for key in ("difference", "of_training")))
    print_titled(console, f"{counted(rows['synthetic'], 'synthetic row')}, {counted(rows['test'], 'test row')}", table)
    _print_worst(console, each)
    if results["usefulness"]:
        table = _table("predicted column", "measure", "synthetic", "training", "chance")
        for found in results["usefulness"]:
            measure = "accuracy" if found["measure"] == "accuracy" else "R²"
            table.add_row(found["column"], measure, *(_three(found[key]) for key in ("synthetic", "real", "chance")))
        print_titled(console, "boosting on test rows, learned from", table)
    table = _table("to the nearest training row", "synthetic", "test")
    both = ("synthetic", "test")
    table.add_row("median distance", *(number(near["median"][name]) for name in both))
    table.add_row(f"closer than {number(near['close'])}", *(percent(near["closer"][name], 1) for name in both))
    table.add_row("copies", *(number(near["copies"][name]) for name in both))
    print_titled(console, "distances (no promise of privacy)", table)
    for wrong in results["validity"]["invalid"]:
        console.print(
            Text(
                f"invalid: {wrong['column']} must be {wrong['must_be']}, but {counted(wrong['cells'], 'cell')} "
                f"{'is' if wrong['cells'] == 1 else 'are'} not, such as {wrong['such_as']}"
            ),
            soft_wrap=True,
        )
    print_notes(console, results["notes"])
    folder = results["synthetic"]
    rows_told = f"   rows: {folder}/synthetic.csv" if (Path(folder) / "synthetic.csv").exists() else ""
    print_line(console, f"folder: {folder}{rows_told}   report: {folder}/report.html")


def _print_worst(console: Console, each: Any) -> None:
    worst = sorted((own for own in each if own["distance"] is not None), key=lambda own: -own["distance"])[:WORST]
    table = _table("column", "synthetic", "training")
    for own in worst:
        table.add_row(own["column"], _three(own["distance"]), _three(own["of_training"]))
    print_titled(console, "the columns furthest from test rows" if len(each) > WORST else "distance by column", table)


def _table(first: str, *heads: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _mean(each: Any, key: str) -> str:
    values = [own[key] for own in each if own[key] is not None]
    return _three(sum(values) / len(values) if values else None)


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
