"""Progress of calls in Python: a bar in a notebook, nothing elsewhere; notes are told in a notebook, too."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tqdm.std import tqdm

from vaelab.comparison.lineup import ComparisonWatch
from vaelab.inverse.run import InversionWatch
from vaelab.settings.yardsticks import Yardstick
from vaelab.study.config import Config
from vaelab.study.watch import Watch
from vaelab.wording import counted, number

W = TypeVar("W")


def in_notebook() -> bool:
    """Whether a kernel runs this: IPython in a terminal has none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextlib.contextmanager
def bar(unit: str, total: int | None = None) -> Iterator[tqdm[Any]]:
    """A bar of text, which notebooks keep and need no extension for; without a notebook it shows nothing."""
    with tqdm(total=total, unit=f" {unit}", disable=not in_notebook()) as shown:
        yield shown


@contextlib.contextmanager
def _watching(given: W | None, made: Callable[[tqdm[Any]], W], unit: str, total: int | None = None) -> Iterator[W]:
    """What was given, or what is made of a bar."""
    if given is not None:
        yield given
        return
    with bar(unit, total) as shown:
        yield made(shown)


def epochs(
    given: Callable[[int], None] | None, total: int | str
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """What is called with the number of each finished epoch. total: a number, or "auto"."""
    known = total if isinstance(total, int) else None
    return _watching(given, lambda shown: functools.partial(_reach, shown), "epoch", known)


def study(given: Watch | None) -> contextlib.AbstractContextManager[Watch]:
    """The trials that are finished, with the best so far."""
    return _watching(given, StudyBar, "trial")


def comparison(given: ComparisonWatch | None) -> contextlib.AbstractContextManager[ComparisonWatch]:
    """The epochs of all runs."""
    return _watching(given, ComparisonBar, "epoch")


def inversion(given: InversionWatch | None, total: int) -> contextlib.AbstractContextManager[InversionWatch]:
    """The epochs of the final training, with a line for each stage."""

    def made(shown: tqdm[Any]) -> InversionWatch:
        return InversionWatch(functools.partial(_reach, shown), note=lambda text: tell(f"note: {text}"), stage=tell)

    return _watching(given, made, "epoch", total)


def tell(text: str) -> None:
    """A line in the notebook, above its bar."""
    if in_notebook():
        tqdm.write(text, file=sys.stderr)


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
