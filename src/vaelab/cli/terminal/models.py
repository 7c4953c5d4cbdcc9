"""Models and searches for them: runs, evaluations, studies, comparisons, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vaelab.cli.terminal.console import mean_se, out, print_baseline, print_counts, print_notes, print_titled
from vaelab.wording import counted, kept_start

# The rows of a comparison's two tables: what they are called, and where the figure is; test has a table of its own.
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
    """The outcome of one training."""
    from vaelab.settings.yardsticks import FINAL_DRAWS, VALIDATION_ROWS

    console = out()
    columns = {name: result[name] for name in ("train", "validation", "test")}
    console.print(_figures_table(columns))
    _print_reasons(console, columns)
    console.print(
        f"train: 1 draw of z for each of at most {VALIDATION_ROWS:,} examples; else {FINAL_DRAWS} draws for all",
        highlight=False,
    )
    print_baseline(console, result["baseline"] | {"share": result["validation"]["share"]}, "validation")
    console.print(f"{result['seconds_per_epoch']:.3f} s per epoch", highlight=False)
    if len(result["starts"]) > 1:
        console.print(kept_start(result["starts"]), highlight=False, soft_wrap=True)
    console.print(Text(f"folder: {result['run']}   report: {result['run']}/report.html"), soft_wrap=True)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """The outcome of `evaluate`."""
    from vaelab.settings.yardsticks import FINAL_DRAWS

    console, bound = out(), result["bound"]
    console.print(f"{counted(result['examples'], 'example')}, {FINAL_DRAWS} draws of z for each", highlight=False)
    console.print(_figures_table({result["split"]: result}))
    _print_reasons(console, {result["split"]: result})
    console.print(
        f"-log p(x) at most {bound['neg_log_p']:.3f} ± {bound['se']:.3f} over examples "
        f"(importance-weighted, {bound['draws']} draws, Monte Carlo error {bound['monte_carlo']:.4f})",
        highlight=False,
    )
    information = result["mutual_information"]
    console.print(
        f"mutual information of x and z: {information['estimate']:.2f} nats ({information['cap']:.2f} at most)",
        highlight=False,
    )
    print_baseline(console, result["baseline"] | {"share": result["share"]}, result["split"])


def print_study(results: Mapping[str, Any]) -> None:
    """The outcome of a study: the finalists, the winner, what it is worth and where it lies."""
    from vaelab.settings.yardsticks import FINAL_DRAWS, SEARCH_DRAWS

    console, best = out(), results["best"]
    print_counts(console, results)
    print_notes(console, results["notes"])
    if best is not None:
        seeds = len(best["seeds"])
        title = f"finalists, nats per example on validation: in the search, and anew over {counted(seeds, 'seed')}"
        table = Table(box=None, pad_edge=False)
        for name in (
            "trial",
            f"search, {SEARCH_DRAWS} draws of z",
            f"mean anew, {FINAL_DRAWS} draws",
            "std. error",
            "parameters",
        ):
            table.add_column(name, justify="right")
        for row in sorted(results["finalists"], key=lambda r: r["mean"]):
            mark = " (winner)" if row["number"] == best["number"] else ""
            se = "" if row["se"] is None else f"{row['se']:.3f}"
            table.add_row(
                f"{row['number']}{mark}",
                f"{row['search']:.2f}",
                f"{row['mean']:.2f}",
                se,
                f"{row['parameters']:,}",
            )
        print_titled(console, title, table)
        error = "" if best["test_se"] is None else f" ± {best['test_se']:.3f}, mean over {seeds} seeds"
        console.print(f"test neg_elbo of the winner: {best['test_mean']:.2f}{error}", highlight=False)
        way = "worse" if results["optimism"] >= 0 else "better"
        console.print(
            f"trained anew, the trial that was best in the search came out {abs(results['optimism']):.2f} nats {way}",
            highlight=False,
        )
        print_baseline(console, results["baseline"], "validation")
    console.print(Text(f"folder: {results['study']}   report: {results['study']}/report.html"), soft_wrap=True)


def print_comparison(results: Mapping[str, Any]) -> None:
    """The models on validation, the recommendation, then test; mean ± standard error over seeds."""
    from vaelab.settings.yardsticks import FINAL_DRAWS

    console, models = out(), results["models"]
    title = f"mean ± standard error over seeds, nats per example by {FINAL_DRAWS} draws of z"
    table = _comparison_table(models)
    for name in ("parameters", "epochs"):
        table.add_row(name, *(f"{model[name]:,}" for model in models))
    table.add_row("seeds", *(str(len(model["runs"])) for model in models))
    table.add_row("seconds per run", *(mean_se(model["seconds"]) for model in models))
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
    print_titled(console, "test, which the recommendation did not look at", tested)
    if results["baseline"] is not None:
        print_baseline(console, results["baseline"]["test"], "test")
    print_notes(console, results["notes"])
    report = Path(results["comparison"]) / "report.html"
    told = f"   report: {report}" if report.exists() else ""
    console.print(Text(f"folder: {results['comparison']}{told}"), soft_wrap=True)


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
        table.add_row(key, *(f"{metrics[key]:.3f}" for metrics in given.values()))
    table.add_row("active units", *(str(metrics["active_units"]) for metrics in given.values()))
    if all("occupied_components" in metrics for metrics in given.values()):
        table.add_row("occupied components", *(f"{metrics['occupied_components']:.1f}" for metrics in given.values()))
    table.add_row("verdict", *(metrics["verdict"] for metrics in given.values()))
    return table


def _print_reasons(console: Console, columns: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Why a model counts as collapsed; active units alone do not save it."""
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
            table.add_row(title, *("" if cell is None else mean_se(cell) for cell in cells))
