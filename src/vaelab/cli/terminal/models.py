"""Results of runs, evaluations, studies and comparisons, and the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import (
    out,
    print_baseline,
    print_beaten,
    print_counts,
    print_judged,
    print_line,
    print_notes,
    print_titled,
)
from vaelab.settings.latents import carriers
from vaelab.settings.reached import Reached
from vaelab.settings.yardsticks import Yardstick
from vaelab.wording import counted, difference, kept_start, number, with_error

# The rows of a comparison's two tables (validation and test): title, split and metric.
COMPARED = (
    ("train neg_elbo", "train", "neg_elbo"),
    ("validation neg_elbo", "validation", "neg_elbo"),
    ("  rate", "validation", "rate"),
    ("  distortion", "validation", "distortion"),
    ("  bound on -log p(x)", "validation", "bound"),
    ("active units", "validation", "active_units"),
    ("reconstruction MSE", "validation", "mse"),
    ("probe accuracy", "validation", "probe"),
    ("10 nearest neighbours", "validation", "knn"),
)

TESTED = (
    ("test neg_elbo", "test", "neg_elbo"),
    ("  rate", "test", "rate"),
    ("  distortion", "test", "distortion"),
    ("  bound on -log p(x)", "test", "bound"),
    ("test - train", None, "gap"),
    ("active units", "test", "active_units"),
    ("reconstruction MSE", "test", "mse"),
    ("probe accuracy", "test", "probe"),
    ("10 nearest neighbours", "test", "knn"),
    ("KL averaged (hidden beta)", "test", "averaged_kl_loss"),
)


def print_run(result: Mapping[str, Any]) -> None:
    """The result of one training run."""
    from vaelab.settings.yardsticks import FINAL_DRAWS, VALIDATION_ROWS

    console = out()
    columns = {name: result[name] for name in ("train", "validation", "test")}
    print_beaten(console, result)
    console.print(_figures_table(columns))
    _print_reasons(console, columns)
    console.print(
        f"train: 1 draw of z for each of at most {VALIDATION_ROWS:,} examples; else {FINAL_DRAWS} draws for all",
        highlight=False,
    )
    print_baseline(console, result["baseline"] | {"share": result["validation"]["share"]}, "validation")
    console.print(f"{number(result['seconds_per_epoch'])} s per epoch", highlight=False)
    if len(result["starts"]) > 1:
        console.print(kept_start(result["starts"]), highlight=False, soft_wrap=True)
    print_line(console, f"folder: {result['run']}   report: {result['run']}/report.html")


def print_evaluation(result: Mapping[str, Any]) -> None:
    """The result of `evaluate`."""
    from vaelab.settings.yardsticks import FINAL_DRAWS

    console, bound = out(), result["bound"]
    console.print(f"{counted(result['examples'], 'example')}, {FINAL_DRAWS} draws of z each", highlight=False)
    console.print(_figures_table({result["split"]: result}))
    _print_reasons(console, {result["split"]: result})
    console.print(
        f"-log p(x) at most {with_error(bound['neg_log_p'], bound['se'])} (standard error over examples; "
        f"importance-weighted, {bound['draws']} draws, Monte Carlo error {number(bound['monte_carlo'])})",
        highlight=False,
    )
    information = result["mutual_information"]
    console.print(
        f"mutual information of x and z: {number(information['estimate'])} nats (at most {number(information['cap'])})",
        highlight=False,
    )
    print_baseline(console, result["baseline"] | {"share": result["share"]}, result["split"])


def print_study(results: Mapping[str, Any]) -> None:
    """The result of a study: the finalists, the winner, its test metrics and its folder."""
    from vaelab.settings.yardsticks import FINAL_DRAWS, SEARCH_DRAWS

    console, best = out(), results["best"]
    print_beaten(console, results)
    print_counts(console, results)
    print_judged(console, results)
    print_notes(console, results["notes"])
    if best is not None and len(Yardstick.both(results)) > 1:
        _print_front(console, results)
    elif best is not None:
        yardstick = Yardstick.of(results)
        seeds, unit = len(best["seeds"]), yardstick.unit or yardstick.title
        title = f"finalists, {unit} on validation: in the search, and retrained over {counted(seeds, 'seed')}"
        title += ", ± standard error over seeds" if seeds > 1 else ""
        table = Table(box=None, pad_edge=False)
        heads = (f"search, {SEARCH_DRAWS} draws of z", f"retrained, {FINAL_DRAWS} draws")
        for name in ("trial", *(("search", "retrained") if yardstick.how else heads), "parameters"):
            table.add_column(name, justify="right")
        for row in sorted(results["finalists"], key=lambda row: yardstick.cost(row["mean"])):
            mark = " (winner)" if row["number"] == best["number"] else ""
            again = with_error(row["mean"], row["se"])
            table.add_row(f"{row['number']}{mark}", number(row["search"]), again, f"{row['parameters']:,}")
        print_titled(console, title, table)
        _print_test(console, results, yardstick)
        if results["optimism"] is not None:
            way = "worse" if results["optimism"] >= 0 else "better"
            lost = f"{difference(results['optimism'])}{' nats' if yardstick.unit else ''}"
            console.print(f"after retraining, the best trial of the search was {lost} {way}", highlight=False)
        print_baseline(console, results["baseline"], "validation")
    print_line(console, f"folder: {results['study']}   report: {results['study']}/report.html")


def _print_front(console: Console, results: Mapping[str, Any]) -> None:
    """The finalists of two yardsticks, and what the winner reaches on test."""
    yardsticks, best = Yardstick.both(results), results["best"]
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "on the front", *(each.name for each in yardsticks), "parameters"):
        table.add_column(name, justify="right")
    for row in sorted(results["finalists"], key=lambda row: yardsticks[0].cost(row["mean"])):
        mark = " (winner)" if row["number"] == best["number"] else ""
        means = map(with_error, row["means"], row["errors"])
        on_front = "yes" if row["number"] in results["front"] else "no"
        table.add_row(f"{row['number']}{mark}", on_front, *means, f"{row['parameters']:,}")
    axes = " and ".join(f"{each.name} ({each.axis})" for each in yardsticks)
    title = f"finalists retrained over {counted(len(best['seeds']), 'seed')}, on validation: {axes}"
    print_titled(console, title, table)
    for each in yardsticks:
        _print_test(console, results, each)
    print_baseline(console, results["baseline"], "validation")


def _print_test(console: Console, results: Mapping[str, Any], yardstick: Yardstick) -> None:
    """What the winner reaches on test, and how well that is known."""
    found = Reached.of(results, yardstick, "test")
    over = f"mean over {found.seeds} seeds" if found.seeds > 1 else ""
    told = [f"test {yardstick.headline} of the winner: {found}", *filter(None, (over, found.kind))]
    console.print(", ".join(told), highlight=False)


def _of_mean(summary: Mapping[str, Any]) -> str:
    return with_error(summary["mean"], summary["se"])


def print_comparison(results: Mapping[str, Any]) -> None:
    """The models on validation, the recommendation, then test; mean ± standard error over seeds."""
    from vaelab.settings.yardsticks import FINAL_DRAWS

    console, models = out(), results["models"]
    print_beaten(console, results)
    title = f"mean ± standard error over seeds, nats per example, {FINAL_DRAWS} draws of z"
    table = _comparison_table(models)
    for name in ("parameters", "epochs"):
        table.add_row(name, *(f"{model[name]:,}" for model in models))
    table.add_row("seeds", *(str(len(model["runs"])) for model in models))
    table.add_row("seconds per run", *(_of_mean(model["seconds"]) for model in models))
    _add_figures(table, models, COMPARED)
    print_titled(console, title, table)
    console.print(Text(f"\n{results['recommendation']}\n", style="bold"))
    for row in results["comparisons"]:
        if len(models) > 2:
            console.print(Text(row["sentence"]))
        if row["paired"] is not None:
            console.print(Text(row["paired"]["sentence"]))
    tested = _comparison_table(models)
    _add_figures(tested, models, TESTED)
    print_titled(console, "test split (not used for the recommendation)", tested)
    if results["baseline"] is not None:
        common = {name: results["baseline"].get(name, ()) for name in ("structured", "left_out")}
        print_baseline(console, results["baseline"]["validation"] | {"structured": common["structured"]}, "validation")
        print_baseline(console, results["baseline"]["test"] | common, "test")
    print_notes(console, results["notes"])
    report = Path(results["comparison"]) / "report.html"
    told = f"   report: {report}" if report.exists() else ""
    print_line(console, f"folder: {results['comparison']}{told}")


def print_settings(rows: Sequence[tuple[str, str, str, str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "default", "allowed", "meaning"):
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    out().print(table)


def _figures_table(columns: Mapping[str, Mapping[str, Any] | None]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("nats per example")
    given = {name: metrics for name, metrics in columns.items() if metrics is not None}
    for name in given:
        table.add_column(name, justify="right")
    for key in ("neg_elbo", "distortion", "rate"):
        table.add_row(key, *(number(metrics[key]) for metrics in given.values()))
    table.add_row("active units", *(str(metrics["active_units"]) for metrics in given.values()))
    if all(metrics.get("kl") for metrics in given.values()):
        table.add_row("carry 95 % of the rate", *(str(carriers(metrics["kl"])) for metrics in given.values()))
    if all("occupied_components" in metrics for metrics in given.values()):
        table.add_row("occupied components", *(number(metrics["occupied_components"]) for metrics in given.values()))
    table.add_row("verdict", *(metrics["verdict"] for metrics in given.values()))
    return table


def _print_reasons(console: Console, columns: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Why a model counts as collapsed; it can have active units and still be collapsed."""
    for name, metrics in columns.items():
        if metrics is not None and metrics.get("reason"):
            console.print(f"collapsed on {name}: {metrics['reason']}", highlight=False, soft_wrap=True)


def _comparison_table(models: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for model in models:
        table.add_column(Text(model["name"]), justify="right")
    return table


def _add_figures(
    table: Table, models: Sequence[Mapping[str, Any]], rows: Sequence[tuple[str, str | None, str]]
) -> None:
    for title, split, key in rows:
        cells = [model.get(key) if split is None else model[split].get(key) for model in models]
        if any(cell is not None for cell in cells):
            table.add_row(title, *("" if cell is None else _of_mean(cell) for cell in cells))
