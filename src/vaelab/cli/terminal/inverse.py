"""Results of inverse problems, and their solutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from vaelab.cli.terminal.console import out, print_titled, share
from vaelab.wording import number


def print_inversion(results: Mapping[str, Any]) -> None:
    """The methods side by side, then the verdict."""
    console, curves = out(), results["curves"]
    table = Table(box=None, pad_edge=False)
    table.add_column("method")
    for name in ("candidates", "evaluations", "seconds", "pass gates", "recall"):
        table.add_column(name, justify="right")
    listed = (
        [results["unrefined"]]
        + ([results["network"]] if results["refine"] or results["walk"] else [])
        + list(results["baselines"])
    )
    for own in listed:
        recall = share(own["recall"]) or "–"
        table.add_row(
            own["method"], str(own["candidates"]), f"{own['evaluations'] / curves:,.0f}",
            number(own["seconds"] / curves), share(own["precision"]), recall,
        )  # fmt: skip
    print_titled(console, f"{results['problem']}: {curves} measurements, unfiltered", table)
    console.print("evaluations and seconds are per measurement and exclude training", style="dim")
    gates = ", ".join(f"{name} {share(passed)}" for name, passed in results["gates"].items() if name != "all_pass")
    verdict = "passed by all" if results["gates"]["all_pass"] else "not passed by all"
    console.print(f"gates: {gates}; {verdict} candidates", highlight=False)
    seconds = results["seconds"]
    paid = f", which pays off from {results['pays_from']:,} measurements" if results["pays_from"] else ""
    console.print(f"training {seconds['train']:.0f} s{paid}", highlight=False)
    console.print(f"report: {results['run']}/report.html", highlight=False, soft_wrap=True)


def print_solutions(found: Mapping[str, Any]) -> None:
    """A ranked table per measurement."""
    console = out()
    for place, curve in enumerate(found["curves"]):
        solutions = curve["solutions"]
        title = f"measurement {place}: {len(solutions)} distinct solutions from {curve['candidates']} candidates"
        table = Table(box=None, pad_edge=False)
        for name in ("rank", "misfit", "x (of curves: first and last)"):
            table.add_column(name, justify="left" if name.startswith("x") else "right")
        for own in solutions:
            table.add_row(str(own["rank"]), number(own["rmse"]), _numbers(own["x"]))
        print_titled(console, title, table)
    console.print(
        f"refined, filtered, distinct: solutions, not posterior samples ({number(found['seconds'])} s)", style="dim"
    )


def _numbers(values: Any) -> str:
    if isinstance(values, list):
        inner = [_numbers(value) for value in values]
        return "  ".join(inner) if values and isinstance(values[0], list) else ", ".join(inner)
    return number(values)
