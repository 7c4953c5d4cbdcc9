"""Live progress on standard error: bars and tables on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vaelab.cli.options import tell
from vaelab.cli.terminal.console import errors
from vaelab.comparison.lineup import ComparisonWatch
from vaelab.settings.yardsticks import Yardstick
from vaelab.study.watch import Watch
from vaelab.wording import counted, number, one_line

if TYPE_CHECKING:
    from vaelab.settings.spec import ModelSpec
    from vaelab.study.config import Config

SHOWN_TRIALS = 12


@contextlib.contextmanager
def download_progress() -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar for downloads, shown only during one and only on a terminal."""
    console = errors()
    if not console.is_terminal:
        yield None
        return
    with Progress(TextColumn("download"), BarColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("download", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextlib.contextmanager
def epochs(total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar over epochs on a terminal; silent elsewhere."""
    console = errors()
    if not console.is_terminal:
        yield lambda epoch: None
        return
    of = "" if total is None else " of {task.total}"
    columns = (TextColumn("epoch {task.completed}" + of), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("train", total=total)
        yield lambda epoch: bar.update(task, completed=epoch)


@contextlib.contextmanager
def watch() -> Iterator[Watch]:
    """A live table of the study on a terminal; elsewhere one line per event on standard error."""
    console = errors()
    if not console.is_terminal:
        yield LogWatch()
        return
    display = LiveWatch(console)
    with Live(display, console=console, refresh_per_second=4, transient=True):
        yield display


class LogWatch(Watch):
    """One line per cohort, rung and note: for files and pipes."""

    yardstick: Yardstick  # set when a study starts

    def started(self, config: Config, numbers: Sequence[int]) -> None:
        self.yardstick = config.yardstick

    def _say(self, text: str) -> None:
        tell(text)

    def cohort(self, specs: Mapping[int, ModelSpec], rungs: Sequence[int]) -> None:
        if specs:
            own = f"{min(specs)} to {max(specs)}" if len(specs) > 1 else str(min(specs))
            at = f", {counted(len(rungs), 'rung')} from epoch {rungs[0]} to {rungs[-1]}" if rungs else ""
            self._say(f"trials {own}{at}")

    def rung(self, rung: int, values: Mapping[int, float], kept: Sequence[int]) -> None:
        if len(kept) < len(values):
            best = number(self.yardstick.cost(min(values.values())))
            stopped = counted(len(values) - len(kept), "weaker trial")
            self._say(f"epoch {rung}: {stopped} of {len(values)} stopped early, the others train on; best {best}")

    def finalists(self, numbers: Sequence[int], seeds: int) -> None:
        listed = ", ".join(map(str, numbers))
        self._say(f"finals: retraining trial {listed} with {counted(seeds, 'seed')} each")

    def note(self, text: str) -> None:
        self._say(f"note: {text}")


class LiveWatch(Watch):
    """The running trials and the best so far: trial, spec, epoch, rung, yardstick, best, time left."""

    def __init__(self, console: Console):
        self.console = console
        self.rows: dict[str, dict[str, Any]] = {}
        self.total, self.finished_count = 0, 0
        self.best: tuple[int | None, float] = (None, float("inf"))
        self.began, self.title, self.epochs = time.monotonic(), "search", 1
        self.already = 0
        self.config: Config | None = None
        self.yardstick: Yardstick | None = None

    def started(self, config: Config, numbers: Sequence[int]) -> None:
        self.config, self.yardstick = config, config.yardstick
        self.total, self.finished_count, self.already = config.trials, len(numbers), len(numbers)

    def cohort(self, specs: Mapping[int, ModelSpec], rungs: Sequence[int]) -> None:
        from vaelab.study.search import trial_name

        assert self.config is not None
        task = self.config.task
        self.rows = {}
        for trial, spec in specs.items():
            self.epochs = int(spec.epochs)
            self.rows[trial_name(trial, task.label(spec))] = {
                "number": trial, "what": task.outline(spec), "epoch": 0, "value": None, "state": "trains",
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
        self.title, self.rows = f"retraining {counted(len(numbers), 'finalist')} over {counted(seeds, 'seed')}", {}

    def note(self, text: str) -> None:
        self.console.print(Text(one_line(f"note: {text}"), style="yellow"))

    def __rich__(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (
            ("trial", "left"),
            ("spec", "left"),
            ("epoch", "right"),
            ("rung", "right"),
            ("" if self.yardstick is None else self.yardstick.short, "right"),
            ("", "left"),
        ):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        shown = sorted(self.rows.items(), key=lambda item: (item[1]["state"] != "trains", item[0]))[:SHOWN_TRIALS]
        for name, row in shown:
            value = self._figure(row["value"])
            table.add_row(name, row["what"], str(row["epoch"]), str(row["rung"]), value, row["state"])
        return Group(Text(self._headline(), style="bold cyan"), table)

    def _figure(self, cost: float | None) -> str:
        return "" if cost is None or self.yardstick is None else number(self.yardstick.cost(cost))

    def _headline(self) -> str:
        number, value = self.best
        best = "" if number is None else f" · best {self._figure(value)} (trial {number})"
        done = self.finished_count - self.already
        elapsed = time.monotonic() - self.began
        left = (
            f" · about {elapsed / done * (self.total - self.finished_count):.0f} s of search left"
            if done and self.title == "search"
            else ""
        )
        return f"{self.title}: {self.finished_count} of {self.total} trials{best} · {elapsed:.0f} s{left}"


@contextlib.contextmanager
def comparison_watch() -> Iterator[ComparisonWatch]:
    """A bar for all epochs and for evaluation on a terminal; elsewhere one line per event on standard error."""
    console = errors()
    if not console.is_terminal:
        yield LogComparison()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        yield LiveComparison(bar)


class LogComparison(ComparisonWatch):
    """One line when training starts, one when evaluation is done, and one per note."""

    def training(self, epochs: Mapping[str, int]) -> None:
        print(f"training {counted(len(epochs), 'run')}, {sum(epochs.values())} epochs in total", file=sys.stderr)

    def judging(self, done: int, total: int) -> None:
        if done == total:
            print(f"evaluated {counted(total, 'run')}", file=sys.stderr)

    def note(self, text: str) -> None:
        tell(f"note: {text}")


class LiveComparison(ComparisonWatch):
    """The share of epochs trained, then of runs evaluated."""

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
        self._show("runs evaluated", done, total)

    def note(self, text: str) -> None:
        self.bar.console.print(Text(one_line(f"note: {text}"), style="yellow"))


@contextlib.contextmanager
def inversion(
    total: int,
) -> Iterator[tuple[Callable[[int], None], Callable[[Any], None], Callable[[str], None], Callable[[str], None]]]:
    """Progress of an inverse problem, with a line per trial on a terminal; notes and a line per stage everywhere."""
    console = errors()

    def told(trial: Any) -> None:
        if console.is_terminal:
            value = "failed" if trial.value is None else number(trial.value)
            console.print(f"trial {trial.number}: {value}  ({trial.seconds:.0f} s)", highlight=False)

    with epochs(total) as progress:
        yield (
            progress,
            told,
            lambda text: tell(f"note: {text}"),
            tell,
        )
