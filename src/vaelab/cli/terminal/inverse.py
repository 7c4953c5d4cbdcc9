"""Results of inverse problems, and their solutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from vaelab.cli.terminal.console import out, print_line, print_titled, share
from vaelab.wording import counted, number, significant

SHOWN = 4  # outputs with a column, or words, of their own


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
    compared = results.get("compared")
    if compared is not None:
        beside = f"flow {number(compared['flow'])}, conditional VAE {number(compared['conditional VAE'])}"
        console.print(
            f"posterior draws: by the {compared['draws']} (-log p(x|y) in nats, x in units of its spread: {beside})",
            highlight=False,
        )
    seconds = results["seconds"]
    paid = f", which pays off from {results['pays_from']:,} measurements" if results["pays_from"] else ""
    console.print(f"training {seconds['train']:.0f} s{paid}", highlight=False)
    print_line(console, f"report: {results['run']}/report.html")


def print_solutions(found: Mapping[str, Any]) -> None:
    """A ranked table per measurement; without a solution, how near the nearest candidate comes."""
    console = out()
    gate = found["gate"]
    heads = ["misfit"] if len(gate) == 1 else [f"misfit of y{k}" for k in range(len(gate))]
    most = max((len(curve["nearest"]["misfit"]) for curve in found["curves"]), default=1)
    heads = heads if most <= SHOWN else ["misfit"]  # too many for columns: their pooled one
    for place, curve in enumerate(found["curves"]):
        solutions = curve["solutions"]
        candidates = counted(curve["candidates"], "candidate")
        if not solutions:
            nearest = curve["nearest"]
            console.print(
                f"measurement {place}: none of {candidates} is a solution; the nearest, x = {_numbers(nearest['x'])}, "
                f"{_missed(nearest['misfit'], gate)}\n",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
            continue
        title = f"measurement {place}: {counted(len(solutions), 'distinct solution')} from {candidates}"
        table = Table(box=None, pad_edge=False)
        for name in ("rank", *heads, "x (of curves: first and last)"):
            table.add_column(name, justify="left" if name.startswith("x") else "right")
        for own in solutions:
            missed = own["misfit"] if len(heads) == most else [own["rmse"]]
            table.add_row(str(own["rank"]), *map(significant, missed), _numbers(own["x"]))
        print_titled(console, title, table)
    what = "misfit: root mean square, in the unit of y"
    if len(heads) < most:
        what = "misfit: root mean square over all outputs, in standard deviations of each"
    console.print(
        f"refined, filtered, distinct: solutions, not posterior samples ({number(found['seconds'])} s)\n"
        f"{what}; gate: {_gate(gate, found['y_scale'])}",
        style="dim", highlight=False,
    )  # fmt: skip


def _missed(misfit: list[float], gate: list[float]) -> str:
    """How far a candidate misses y: by output, those beyond their gate."""
    if len(misfit) == 1:
        return f"misses y by {significant(misfit[0])}; the gate is {significant(gate[0])}"
    worst = sorted(range(len(misfit)), key=lambda k: -misfit[k] / gate[k])[:SHOWN]
    told = ", ".join(f"y{k} by {significant(misfit[k])} (gate {significant(gate[k])})" for k in sorted(worst))
    return f"misses {told}"


def _gate(gate: list[float], scale: list[float]) -> str:
    """The gates, with their size in standard deviations if that is one number."""
    relative = [g / s for g, s in zip(gate, scale, strict=True)]
    if len(gate) == 1:
        return significant(gate[0])
    if max(relative) - min(relative) < 1e-9 * max(relative):
        return f"{significant(relative[0])} standard deviations of each output"
    told = [significant(g) for g in gate]
    return ", ".join(told[:SHOWN]) + (", ..." if len(told) > SHOWN else "")


def _numbers(values: Any) -> str:
    if isinstance(values, list):
        inner = [_numbers(value) for value in values]
        return "  ".join(inner) if values and isinstance(values[0], list) else ", ".join(inner)
    return significant(values)
