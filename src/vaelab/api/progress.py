"""Progress of calls in Python: a bar in a notebook, nothing elsewhere; notes are told in a notebook, too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tqdm.std import tqdm

from vaelab.comparison.lineup import ComparisonWatch
from vaelab.inverse.run import InversionWatch
from vaelab.settings.yardsticks import Yardstick
from vaelab.study.config import Config
from vaelab.study.watch import Watch
from vaelab.wording import counted, number


def in_notebook() -> bool:
    """Whether a kernel runs this: IPython in a terminal has none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextlib.contextmanager
def bar(unit: str, total: int | None = None) -> Iterator[tqdm[Any]]:
    """A bar of text, which notebooks keep and need no extension for; without a notebook it shows nothing."""
    with tqdm(total=total, unit=unit, disable=not in_notebook()) as shown:
        yield shown


@contextlib.contextmanager
def epochs(given: Callable[[int], None] | None, total: int | str) -> Iterator[Callable[[int], None]]:
    """What is called with the number of each finished epoch: what was given, or a bar. total: a number, or "auto"."""
    if given is not None:
        yield given
        return
    with bar("epoch", total if isinstance(total, int) else None) as shown:
        yield lambda epoch: _reach(shown, epoch)


def tell(text: str) -> None:
    """A line in the notebook, above its bar."""
    if in_notebook():
        tqdm.write(text, file=sys.stderr)


@contextlib.contextmanager
def study(given: Watch | None) -> Iterator[Watch]:
    """What was given, or a bar of the trials that are finished, with the best so far."""
    if given is not None:
        yield given
        return
    with bar("trial") as shown:
        yield StudyBar(shown)


@contextlib.contextmanager
def comparison(given: ComparisonWatch | None) -> Iterator[ComparisonWatch]:
    """What was given, or a bar of the epochs of all runs."""
    if given is not None:
        yield given
        return
    with bar("epoch") as shown:
        yield ComparisonBar(shown)


@contextlib.contextmanager
def inversion(given: InversionWatch | None, total: int) -> Iterator[InversionWatch]:
    """What was given, or a bar of the epochs of the final training, with a line for each stage."""
    if given is not None:
        yield given
        return
    with bar("epoch", total) as shown:
        yield InversionWatch(lambda epoch: _reach(shown, epoch), note=lambda text: tell(f"note: {text}"), stage=tell)


class StudyBar(Watch):
    yardstick: Yardstick

    def __init__(self, shown: tqdm[Any]):
        self.bar, self.best = shown, float("inf")

    def started(self, config: Config, numbers: Sequence[int]) -> None:
        self.yardstick, self.bar.total = config.yardstick, config.trials
        _reach(self.bar, len(numbers))

    def finished(self, number_: int, state: str, value: float | None) -> None:
        if state == "COMPLETE" and value is not None and value < self.best:
            self.best = value
            self.bar.set_postfix_str(f"best {self.yardstick.short} {number(self.yardstick.cost(value))}", refresh=False)
        self.bar.update(1)

    def finalists(self, numbers: Sequence[int], seeds: int) -> None:
        tell(f"retraining {counted(len(numbers), 'finalist')} over {counted(seeds, 'seed')}")

    def note(self, text: str) -> None:
        tell(f"note: {text}")


class ComparisonBar(ComparisonWatch):
    def __init__(self, shown: tqdm[Any]):
        self.bar, self.epochs = shown, dict[str, int]()

    def training(self, epochs: Mapping[str, int]) -> None:
        self.bar.total, self.epochs = sum(epochs.values()), dict.fromkeys(epochs, 0)

    def epoch(self, names: Sequence[str], epoch: int) -> None:
        self.epochs.update(dict.fromkeys(names, epoch))
        _reach(self.bar, sum(self.epochs.values()))

    def note(self, text: str) -> None:
        tell(f"note: {text}")


def _reach(shown: tqdm[Any], done: int) -> None:
    shown.update(done - shown.n)
