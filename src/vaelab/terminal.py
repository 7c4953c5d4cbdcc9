"""What people see in a terminal: live progress on standard error, results as tables on standard output."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vaelab.study.lineup import ComparisonWatch
from vaelab.study.watch import Watch
from vaelab.wording import counted
from vaelab.yardsticks import YARDSTICKS, Yardstick

if TYPE_CHECKING:
    from vaelab.spec import Spec
    from vaelab.study.config import Config

SHOWN_TRIALS = 12
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


def _error_console() -> Console:
    return Console(file=sys.stderr)


def _out() -> Console:
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100)


@contextlib.contextmanager
def download_progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar for downloads, drawn only when one happens and only on a terminal."""
    console = _error_console()
    if not console.is_terminal:
        yield None
        return
    with Progress(TextColumn("download"), BarColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("download", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextlib.contextmanager
def epochs(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of epochs on a terminal, else silence."""
    console = _error_console()
    if not console.is_terminal:
        yield lambda epoch: None
        return
    columns = (TextColumn("epoch {task.completed} of {task.total}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("train", total=total)
        yield lambda epoch: bar.update(task, completed=epoch)


@contextlib.contextmanager
def watch() -> Iterator[Watch]:
    """A live table of the study on a terminal; elsewhere one line per event on standard error."""
    console = _error_console()
    if not console.is_terminal:
        yield LogWatch()
        return
    display = LiveWatch(console)
    with Live(display, console=console, refresh_per_second=4, transient=True):
        yield display


def _figure(measure: Yardstick, cost: float) -> str:
    """The figure behind a cost, with the digits that tell trials apart."""
    return f"{measure.cost(cost):.{2 if measure.name in ('neg_elbo', 'weighted_loss') else 4}f}"


class LogWatch(Watch):
    """One line per cohort, rung and note: for files and pipes."""

    measure = YARDSTICKS["neg_elbo"]

    def started(self, config: Config, numbers: Sequence[int]) -> None:
        self.measure = config.measure

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr)

    def cohort(self, specs: Mapping[int, Spec], rungs: Sequence[int]) -> None:
        if specs:
            self._say(f"trials {min(specs)} to {max(specs)}: rungs at epochs {', '.join(map(str, rungs)) or 'none'}")

    def rung(self, rung: int, values: Mapping[int, float], kept: Sequence[int]) -> None:
        best = _figure(self.measure, min(values.values()))
        self._say(f"epoch {rung}: best {best}, {len(kept)} of {len(values)} go on")

    def finalists(self, numbers: Sequence[int], seeds: int) -> None:
        self._say(f"finals: trial {', '.join(map(str, numbers))}, trained anew, seeds each: {seeds}")

    def note(self, text: str) -> None:
        self._say(f"note: {text}")


class LiveWatch(Watch):
    """The trials that run and the best so far: trial, spec, epoch, rung, yardstick, best, time left."""

    def __init__(self, console: Console):
        self.console = console
        self.rows: dict[str, dict[str, Any]] = {}
        self.total, self.finished_count = 0, 0
        self.best: tuple[int | None, float] = (None, float("inf"))
        self.began, self.title, self.epochs = time.monotonic(), "search", 1
        self.already = 0
        self.config: Config | None = None
        self.measure = YARDSTICKS["neg_elbo"]

    def started(self, config: Config, numbers: Sequence[int]) -> None:
        self.config, self.measure = config, config.measure
        self.total, self.finished_count, self.already = config.trials, len(numbers), len(numbers)

    def cohort(self, specs: Mapping[int, Spec], rungs: Sequence[int]) -> None:
        from vaelab.study.search import trial_name

        assert self.config is not None
        doing = self.config.doing
        self.rows = {}
        for number, spec in specs.items():
            self.epochs = spec.epochs
            self.rows[trial_name(number, doing.label(spec))] = {
                "number": number, "what": doing.outline(spec), "epoch": 0, "value": None, "state": "trains",
                "rung": "-",
            }  # fmt: skip

    def epoch(self, names: Sequence[str], epoch: int) -> None:
        for name in names:
            self.rows.setdefault(name, {"number": -1, "what": "", "value": None, "state": "trains", "rung": "-"})[
                "epoch"
            ] = epoch

    def rung(self, rung: int, values: Mapping[int, float], kept: Sequence[int]) -> None:
        for row in self.rows.values():
            if row["number"] in values:
                row.update(value=values[row["number"]], rung=rung)

    def finished(self, number: int, state: str, value: float | None) -> None:
        self.finished_count += 1
        if state == "COMPLETE" and value is not None and value < self.best[1]:
            self.best = (number, value)
        for row in self.rows.values():
            if row["number"] == number:
                row.update(state=state.lower(), value=row["value"] if value is None else value)

    def finalists(self, numbers: Sequence[int], seeds: int) -> None:
        self.title, self.rows = f"final training of {len(numbers)} finalists over {seeds} seeds", {}

    def note(self, text: str) -> None:
        self.console.print(Text(f"note: {text}", style="yellow"))

    def __rich__(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (
            ("trial", "left"),
            ("spec", "left"),
            ("epoch", "right"),
            ("rung", "right"),
            (self.measure.short, "right"),
            ("", "left"),
        ):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        shown = sorted(self.rows.items(), key=lambda item: (item[1]["state"] != "trains", item[0]))[:SHOWN_TRIALS]
        for name, row in shown:
            value = "" if row["value"] is None else _figure(self.measure, row["value"])
            table.add_row(name, row["what"], str(row["epoch"]), str(row["rung"]), value, row["state"])
        return Group(Text(self._headline(), style="bold cyan"), table)

    def _headline(self) -> str:
        number, value = self.best
        best = "" if number is None else f" · best {_figure(self.measure, value)} (trial {number})"
        done = self.finished_count - self.already
        elapsed = time.monotonic() - self.began
        left = (
            f" · about {elapsed / done * (self.total - self.finished_count):.0f} s of search left"
            if done and self.title == "search"
            else ""
        )
        return f"{self.title}: {self.finished_count} of {self.total} trials{best} · {elapsed:.0f} s{left}"


def print_study(results: Mapping[str, Any]) -> None:
    """The outcome of a study: the finalists, the winner, what it is worth and where it lies."""
    from vaelab.evaluate import FINAL_DRAWS, SEARCH_DRAWS  # loads torch, which a command that prints figures has done

    console, best = _out(), results["best"]
    counts = results["trials"]
    console.print(
        f"{counted(counts['total'], 'trial')}: {counts['complete']} complete, {counts['pruned']} pruned, "
        f"{counts['failed']} failed. "
        f"Search {results['seconds']['search']:.0f} s, final training {results['seconds']['final']:.0f} s",
        highlight=False,
    )
    for note in results["notes"]:
        console.print(Text(f"note: {note}"))
    if best is not None:
        seeds = len(best["seeds"])
        title = f"finalists, nats per example on validation: in the search, and anew over {counted(seeds, 'seed')}"
        console.print(Text(title, style="italic"), soft_wrap=True)  # a table's own title is cut to its width
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
        console.print(table)
        error = "" if best["test_se"] is None else f" ± {best['test_se']:.3f}, mean over {seeds} seeds"
        console.print(f"test neg_elbo of the winner: {best['test_mean']:.2f}{error}", highlight=False)
        way = "worse" if results["optimism"] >= 0 else "better"
        console.print(
            f"trained anew, the trial that was best in the search came out {abs(results['optimism']):.2f} nats {way}",
            highlight=False,
        )
        _print_baseline(console, results["baseline"], "validation")
    console.print(Text(f"folder: {results['study']}   report: {results['study']}/report.html"), soft_wrap=True)


@contextlib.contextmanager
def comparison_watch() -> Iterator[ComparisonWatch]:
    """A bar of all epochs and of judging on a terminal; elsewhere one line per event on standard error."""
    console = _error_console()
    if not console.is_terminal:
        yield LogComparison()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        yield LiveComparison(bar)


class LogComparison(ComparisonWatch):
    """One line when training and when judging begins, and per note."""

    def training(self, epochs: Mapping[str, int]) -> None:
        print(f"training {counted(len(epochs), 'run')}, {sum(epochs.values())} epochs in all", file=sys.stderr)

    def judging(self, done: int, total: int) -> None:
        if done == total:
            print(f"judged {counted(total, 'run')}", file=sys.stderr)

    def note(self, text: str) -> None:
        print(f"note: {text}", file=sys.stderr)


class LiveComparison(ComparisonWatch):
    """The share of all epochs that are trained, then of the runs that are judged."""

    def __init__(self, bar: Progress):
        self.bar, self.epochs = bar, dict[str, int]()
        self.tasks = dict[str, TaskID]()

    def _show(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what, total=total)
        self.bar.update(self.tasks[what], completed=done)

    def training(self, epochs: Mapping[str, int]) -> None:
        self.epochs, self.total = dict.fromkeys(epochs, 0), sum(epochs.values())

    def epoch(self, names: Sequence[str], epoch: int) -> None:
        self.epochs.update(dict.fromkeys(names, epoch))
        self._show("epochs", sum(self.epochs.values()), self.total)

    def judging(self, done: int, total: int) -> None:
        self._show("runs judged", done, total)

    def note(self, text: str) -> None:
        self.bar.console.print(Text(f"note: {text}", style="yellow"))


def print_comparison(results: Mapping[str, Any]) -> None:
    """The models on validation, the recommendation, then test; mean ± standard error over seeds."""
    from vaelab.evaluate import FINAL_DRAWS

    console, models = _out(), results["models"]
    title = f"mean ± standard error over seeds, nats per example by {FINAL_DRAWS} draws of z"
    table = _comparison_table(models)
    for name in ("parameters", "epochs"):
        table.add_row(name, *(f"{model[name]:,}" for model in models))
    table.add_row("seeds", *(str(len(model["runs"])) for model in models))
    table.add_row("seconds per run", *(_mean_se(model["seconds"]) for model in models))
    _add_figures(table, models, COMPARED)
    console.print(Text(title, style="italic"), soft_wrap=True)
    console.print(table)
    console.print(Text(f"\n{results['recommendation']}\n", style="bold"))
    for row in results["comparisons"]:
        if len(models) > 2:
            console.print(Text(row["sentence"]))
        if row["paired"] is not None:
            console.print(Text(row["paired"]["sentence"]))
    tested = _comparison_table(models)
    _add_figures(tested, models, TESTED)
    console.print(Text("test, which the recommendation did not look at", style="italic"), soft_wrap=True)
    console.print(tested)
    if results["baseline"] is not None:
        _print_baseline(console, results["baseline"]["test"], "test")
    for note in results["notes"]:
        console.print(Text(f"note: {note}"))
    report = Path(results["comparison"]) / "report.html"
    told = f"   report: {report}" if report.exists() else ""
    console.print(Text(f"folder: {results['comparison']}{told}"), soft_wrap=True)


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
            table.add_row(title, *("" if cell is None else _mean_se(cell) for cell in cells))


def _mean_se(figure: Mapping[str, Any]) -> str:
    mean, se = figure["mean"], figure["se"]
    digits = 2 if abs(mean) >= 2 else 4
    return f"{mean:.{digits}f}" + ("" if se is None else f" ± {se:.{digits}f}")


@contextlib.contextmanager
def inversion(total: int) -> Iterator[tuple[Callable[[int], None], Callable[[Any], None]]]:
    """Progress of an inverse problem's training, and a line per trial of its search, where a terminal is there."""
    console = _error_console()

    def told(trial: Any) -> None:
        if console.is_terminal:
            value = "failed" if trial.value is None else f"{trial.value:.4g}"
            console.print(f"trial {trial.number}: {value}  ({trial.seconds:.0f} s)", highlight=False)

    with epochs(total) as progress:
        yield progress, told


def print_inversion(results: Mapping[str, Any]) -> None:
    """The methods side by side, then the verdict."""
    out, curves = _out(), results["curves"]
    table = Table(title=f"{results['problem']}: {curves} measurements, unfiltered", title_justify="left")
    table.add_column("method")
    for name in ("candidates", "evaluations", "seconds", "pass gates", "recall"):
        table.add_column(name, justify="right")
    listed = (
        [results["unrefined"]]
        + ([results["network"]] if results["refine"] or results["walk"] else [])
        + list(results["baselines"])
    )
    for own in listed:
        recall = "–" if own["recall"] is None else f"{own['recall']:.3f}"
        table.add_row(
            own["method"], str(own["candidates"]), f"{own['evaluations'] / curves:,.0f}",
            f"{own['seconds'] / curves:.4f}", f"{own['precision']:.4f}", recall,
        )  # fmt: skip
    out.print(table)
    out.print("evaluations and seconds are per measurement, without training", style="dim")
    gates = ", ".join(f"{name} {share:.4f}" for name, share in results["gates"].items() if name != "all_pass")
    verdict = "passed by all" if results["gates"]["all_pass"] else "not passed by all"
    out.print(f"gates: {gates}; {verdict} candidates", highlight=False)
    seconds = results["seconds"]
    paid = f"; it pays from {results['pays_from']:,} measurements on" if results["pays_from"] else ""
    out.print(f"training {seconds['train']:.0f} s{paid}", highlight=False)
    out.print(f"report: {results['run']}/report.html", highlight=False, soft_wrap=True)


def print_solutions(found: Mapping[str, Any]) -> None:
    """A ranked table per measurement."""
    out = _out()
    for number, curve in enumerate(found["curves"]):
        solutions = curve["solutions"]
        title = f"measurement {number}: {len(solutions)} distinct solutions from {curve['candidates']} candidates"
        table = Table(title=title, title_justify="left")
        for name in ("rank", "misfit", "x (of curves: first and last)"):
            table.add_column(name, justify="left" if name.startswith("x") else "right")
        for own in solutions:
            table.add_row(str(own["rank"]), f"{own['rmse']:.3g}", _numbers(own["x"]))
        out.print(table)
    out.print(
        f"refined, filtered and distinct: solutions, not posterior samples ({found['seconds']:.2f} s)", style="dim"
    )


def _numbers(values: Any) -> str:
    if isinstance(values, list):
        inner = [_numbers(value) for value in values]
        return "  ".join(inner) if values and isinstance(values[0], list) else ", ".join(inner)
    return f"{values:.4f}"


def _print_baseline(console: Console, baseline: Mapping[str, Any], split: str) -> None:
    text = f"without latents, on {split}: {baseline['no_latents']:.2f}"
    if baseline.get("floor") is not None:
        text += f", the data's own entropy: {baseline['floor']:.2f}"
        if baseline.get("share") is not None:
            text += f"; the model gains {100 * baseline['share']:.0f} % of what lies between them"
    console.print(text, highlight=False)


def _figures_table(columns: Mapping[str, Mapping[str, Any] | None]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("nats per example")
    given = {name: figures for name, figures in columns.items() if figures is not None}
    for name in given:
        table.add_column(name, justify="right")
    for key in ("neg_elbo", "distortion", "rate"):
        table.add_row(key, *(f"{figures[key]:.3f}" for figures in given.values()))
    table.add_row("active units", *(str(figures["active_units"]) for figures in given.values()))
    if all("occupied_components" in figures for figures in given.values()):
        table.add_row("occupied components", *(f"{figures['occupied_components']:.1f}" for figures in given.values()))
    table.add_row("verdict", *(figures["verdict"] for figures in given.values()))
    return table


def _print_reasons(console: Console, columns: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Why a model counts as collapsed; active units alone do not save it."""
    for name, figures in columns.items():
        if figures is not None and figures.get("reason"):
            console.print(f"collapsed on {name}: {figures['reason']}", highlight=False, soft_wrap=True)


def print_run(result: Mapping[str, Any]) -> None:
    """The outcome of one training."""
    from vaelab.evaluate import FINAL_DRAWS
    from vaelab.training import VALIDATION_ROWS

    console = _out()
    columns = {name: result[name] for name in ("train", "validation", "test")}
    console.print(_figures_table(columns))
    _print_reasons(console, columns)
    console.print(
        f"train: 1 draw of z for each of at most {VALIDATION_ROWS:,} examples; else {FINAL_DRAWS} draws for all",
        highlight=False,
    )
    _print_baseline(console, result["baseline"] | {"share": result["validation"]["share"]}, "validation")
    console.print(f"{result['seconds_per_epoch']:.3f} s per epoch", highlight=False)
    console.print(Text(f"folder: {result['run']}   report: {result['run']}/report.html"), soft_wrap=True)


def print_evaluation(result: Mapping[str, Any]) -> None:
    """The outcome of `evaluate`."""
    from vaelab.evaluate import FINAL_DRAWS

    console, bound = _out(), result["bound"]
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
    _print_baseline(console, result["baseline"] | {"share": result["share"]}, result["split"])


CLUSTERED = {
    "hungarian_accuracy": "Hungarian",
    "purity": "purity",
    "nmi": "NMI",
    "ari": "ARI",
    "labelled_accuracy": "labelled",
    "answered": "answered",
    "ece": "ECE",
}


def print_clusters(results: Mapping[str, Any]) -> None:
    """The mixtures on test, what the labels gave by each method, the label budget, the folder."""
    console = _out()
    for split, title in ("test", "the test split"), ("whole", "all examples, training and test together"):
        rows = [row for row in results["mixtures"] if row[split] is not None]
        if rows:
            shown = [key for key in CLUSTERED if any(row[split].get(key) is not None for row in rows)]
            table = Table(title=f"mixtures on {title}", title_justify="left", box=None, pad_edge=False)
            for name in ("components", "BIC", "stability", *(CLUSTERED[key] for key in shown)):
                table.add_column(name, justify="right")
            for row in rows:
                mark = " (lowest BIC)" if row["components"] == results["components"] and len(rows) > 1 else ""
                cells = [_share(row[split].get(key)) for key in shown]
                table.add_row(f"{row['components']}{mark}", f"{row['bic']:,.0f}", _share(row["stability"]), *cells)
            console.print(table)
    if results["labels"] is not None and results["methods"]:
        labels = results["labels"]
        table = Table(
            title=f"answers on test by {labels['number']:,} labels of {labels['from']} examples",
            title_justify="left", box=None, pad_edge=False,
        )  # fmt: skip
        keys = ("labelled_accuracy", "answered", "log_loss", "brier", "ece")
        for name in ("method", "accuracy", "answered", "log-loss", "Brier", "ECE"):
            table.add_column(name, justify="left" if name == "method" else "right")
        for method, figures in results["methods"].items():
            table.add_row(method, *(_share(figures[key]) for key in keys))
        if results["manifold"] is not None:
            umap = results["manifold"]
            said = "  ".join(
                f"{CLUSTERED[key]} {umap['test'][key]:.4f}" for key in ("hungarian_accuracy", "nmi", "ari")
            )
            table.caption, table.caption_justify = f"umap, {umap['components']} components: {said}", "left"
        console.print(table)
    _print_budget(console, results["label_budget"])
    for note in results["notes"]:
        console.print(Text(f"note: {note}"))
    report = Path(results["cluster"]) / "report.html"
    told = f"   report: {report}" if report.exists() else ""
    console.print(Text(f"folder: {results['cluster']}{told}"), soft_wrap=True)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _print_budget(console: Console, budget: Sequence[Mapping[str, Any]]) -> None:
    if not budget:
        return
    table = Table(title="accuracy on test by number of labels", title_justify="left", box=None, pad_edge=False)
    for name in ("labels", *budget[0]["accuracy"]):
        table.add_column(name, justify="right")
    for row in budget:
        table.add_row(f"{row['labels']:,}", *(_mean_se(figure) for figure in row["accuracy"].values()))
    console.print(table)


def print_anomalies(results: Mapping[str, Any]) -> None:
    """Every direction's scores with their AUROC; a failure is printed as one, with its reason."""
    console = _out()
    for way in results["directions"]:
        table = Table(title=way["name"], title_justify="left", box=None, pad_edge=False)
        table.add_column("score")
        table.add_column("AUROC", justify="right")
        table.add_column("")
        for name, verdict in way["scores"].items():
            table.add_row(name.replace("_", " "), f"{verdict['auroc']:.3f}", "FAILED" if verdict["failed"] else "")
        console.print(table)
        for verdict in way["scores"].values():
            if verdict["failed"]:
                console.print(Text(verdict["sentence"]))
    for note in results["notes"]:
        console.print(Text(f"note: {note}"))
    console.print(Text(f"folder: {results['anomaly']}"), soft_wrap=True)


def print_settings(rows: Sequence[tuple[str, str, str, str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "default", "allowed", "meaning"):
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    _out().print(table)
