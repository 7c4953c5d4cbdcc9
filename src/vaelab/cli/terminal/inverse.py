"""Results of inverse problems, and their solutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import out, print_titled, share
from vaelab.wording import counted, number, percent, significant

SHOWN = 4  # outputs with a column, or words, of their own
DETAILED, ROWS, LINES = 3, 10, 20  # measurements with a table of their own; its rows; else measurements
WIDE = 6  # inputs with a column of their own


def print_inversion(results: Mapping[str, Any]) -> None:
    """The methods side by side, then how the draws were made and judged."""
    console = out()
    if results["network"] is not None:
        _print_methods(results)
    compared = results.get("compared")
    if compared is not None:
        reads = " (reads y as a curve)" if compared["reads"] == "curve" else ""
        beside = f"flow{reads} {number(compared['flow'])}, conditional VAE {number(compared['conditional VAE'])}"
        console.print(
            f"posterior draws: by the {compared['draws']} (-log p(x|y) in nats, x in units of its spread: {beside})",
            highlight=False,
        )
    levels = results["posterior"]["coverage"]["levels"]
    held = ", ".join(f"{percent(float(level))} hold {share(own)}" for level, own in levels.items())
    console.print(f"credible regions of draws, on validation: of {held}", highlight=False)
    paid = f", which pays off from {results['pays_from']:,} measurements" if results["pays_from"] else ""
    console.print(f"training {results['seconds']['train']:.0f} s{paid}", highlight=False)
    console.print(f"report: {results['run']}/report.html", highlight=False, soft_wrap=True)


def _print_methods(results: Mapping[str, Any]) -> None:
    """Every method's candidates, and the gates."""
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


def print_solutions(found: Mapping[str, Any], top: int | None = None) -> None:
    """A ranked table per measurement, or, if those of `top` rows would be long, the best of all measurements in one;
    without a solution, how near the nearest candidate comes. Repeated measurements count as one.
    """
    console, gate, curves = out(), found["gate"], found["curves"]
    separate = len(gate) <= SHOWN
    heads = ["misfit"] if len(gate) == 1 or not separate else [f"misfit of {name}" for name in found["outputs"]]
    inputs, values = _inputs(found)
    is_detailed = len(curves) * min(top or ROWS, ROWS) <= DETAILED * ROWS
    if not is_detailed:
        _print_best(found, heads, inputs, values)
    for name, curve in zip(found["names"], curves if is_detailed else (), strict=False):
        what = f"{found['by']} {name}"
        solutions = curve["solutions"]
        candidates = counted(curve["candidates"], "candidate")
        if not solutions:
            nearest = curve["nearest"]
            console.print(
                f"{what}: none of {candidates} is a solution; the nearest, x = {_numbers(nearest['x'])}, "
                f"{_missed(nearest['misfit'], gate, found['outputs'])}\n",
                highlight=False, soft_wrap=True, markup=False,
            )  # fmt: skip
            continue
        fewer = f", the {len(solutions)} most different" if len(solutions) < curve["distinct"] else ""
        title = f"{what}: {counted(curve['distinct'], 'distinct solution')} from {candidates}{fewer}"
        density = found["rank"] == "density"
        table = _table(("rank", *heads, *(["log p(x)"] if density else [])), inputs)
        for own in solutions[:ROWS]:
            plausible = [number(own["log_density"])] if density else []
            table.add_row(str(own["rank"]), *_misfits(own, separate), *plausible, *values(own["x"]))
        print_titled(console, title, table)
        if len(solutions) > ROWS:
            console.print(
                f"and {len(solutions) - ROWS} more; --out FILE.csv writes all, --top {ROWS // 2} shows the most "
                "different\n",
                style="dim", highlight=False,
            )  # fmt: skip
    unit = "misfit: root mean square, in the unit of y"
    if not separate:
        unit = "misfit: root mean square over all outputs, in standard deviations of each"
    if found["by"] != "measurement" or found["repeated"]:
        unit += ", the largest over repeated measurements"
    assumed = f"\np(x): {found['prior']}" if found["rank"] == "density" else ""
    console.print(
        f"refined, filtered, distinct: solutions, not posterior samples ({number(found['seconds'])} s)\n"
        f"{unit}; gate: {_gate(gate, found['y_scale'])}{assumed}",
        style="dim", highlight=False,
    )  # fmt: skip


def _print_best(
    found: Mapping[str, Any], heads: Sequence[str], inputs: Sequence[str], values: Callable[[Any], list[str]]
) -> None:
    """One line for each measurement: the number of solutions and the best, or the nearest miss."""
    console, curves, gate = out(), found["curves"], found["gate"]
    table = _table((found["by"], "solutions", *heads), inputs)
    for name, curve in zip(found["names"], curves[:LINES], strict=False):
        best = curve["solutions"][0] if curve["solutions"] else {**curve["nearest"], "rmse": None}
        shown = _misfits(best, len(heads) == len(gate))
        table.add_row(str(name), str(curve["distinct"]), *shown, *values(best["x"]))
    without = sum(not curve["solutions"] for curve in curves)
    missed = f"; {without} without one, of which the nearest miss is shown" if without else ""
    print_titled(console, f"best solution of each of {counted(len(curves), 'measurement')}{missed}", table)
    more = f"and {len(curves) - LINES} more measurements; " if len(curves) > LINES else ""
    console.print(f"{more}--out FILE.csv writes all solutions", style="dim", highlight=False)


def _table(heads: Sequence[str], inputs: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (*heads, *inputs):  # a unit in brackets is no markup
        table.add_column(Text(name), justify="left" if [name] == list(inputs) else "right")
    return table


def _inputs(found: Mapping[str, Any]) -> tuple[list[str], Callable[[Any], list[str]]]:
    """The heads of the columns of x, and the cells of one: a column for each of a few numbers, else one for all."""
    names = found["inputs"]
    example = next(curve["nearest"]["x"] for curve in found["curves"])
    if any(isinstance(value, list) for value in example):
        return [f"{', '.join(names)}: first and last points"], lambda x: [_numbers(x)]
    if len(names) <= WIDE:
        return list(names), lambda x: [significant(value) for value in x]
    return ["x"], lambda x: [_numbers(x)]


def _misfits(own: Mapping[str, Any], separate: bool) -> list[str]:
    return [_significant(value) for value in own["misfit"]] if separate else [number(own["rmse"])]


def _significant(value: float | None) -> str:
    return "–" if value is None else significant(value)


def print_intervals(by: str, rows: Sequence[tuple[Any, str, float, float, float]]) -> None:
    """Mean and 95 % interval of each input, for the first measurements."""
    if not rows:
        return
    table = _table((by, "input", "mean", "2.5 %", "97.5 %"), ())
    for name, of, *values in rows[:LINES]:
        table.add_row(str(name), Text(of), *map(significant, values))
    out().print(table)
    if len(rows) > LINES:
        out().print(f"and {len(rows) - LINES} more rows", style="dim", highlight=False)


def _missed(misfit: list[float | None], gate: list[float], names: Sequence[str]) -> str:
    """How far a candidate misses y: by output, those beyond their gate."""
    if len(misfit) == 1:
        return f"misses y by {_significant(misfit[0])}; the gate is {significant(gate[0])}"
    measured = {k: own for k, own in enumerate(misfit) if own is not None}
    worst = sorted(measured, key=lambda k: -measured[k] / gate[k])[:SHOWN]
    told = ", ".join(f"{names[k]} by {significant(measured[k])} (gate {significant(gate[k])})" for k in sorted(worst))
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
