"""The search of a study: cohorts train from rung to rung, and trials that can no longer win are pruned at each."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaelab.engine.seeds import derive_seed
from vaelab.study.balance import Pace, stacks
from vaelab.study.checkpoints import Member
from vaelab.study.config import Config
from vaelab.study.crew import Crew
from vaelab.study.jobs import Job, Outcome
from vaelab.study.rungs import rung_epochs, survivors
from vaelab.study.trials import Trials, candidates
from vaelab.study.watch import Watch

MARGIN = 1.15  # for evaluation and drawing, on top of training


class OutOfTime(Exception):
    """The search time is used up; running trials are handed back."""


def _ramp(specs: dict[int, Any]) -> int:
    return max(int(spec.ramp) for spec in specs.values())


def trial_name(number: int, label: str) -> str:
    """The number and label of a trial.

    >>> trial_name(7, "latent16")
    '0007-latent16'
    """
    return f"{number:04d}-{label}"


class Clock:
    """The time budget of `--timeout`, for search and final training together."""

    def __init__(self, timeout: float | None):
        self.start, self.timeout = time.monotonic(), timeout

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        return math.inf if self.timeout is None else self.timeout - self.elapsed


@dataclasses.dataclass
class Search:
    """One study's search: its database, its crew and its clock."""

    config: Config
    folder: Path
    crew: Crew
    trials: Trials
    watch: Watch
    base: Any  # resolved likelihood, batch size, device and engine
    clock: Clock

    def __post_init__(self) -> None:
        data = self.crew.data
        self.pace = Pace(data.shape, len(data.splits["train"]) / int(self.base.batch_size), self.crew.system)

    def run(self) -> None:
        """Run all cohorts; ends early, without an error, when the time is used up."""
        self.work.mkdir(exist_ok=True)
        while numbers := self.trials.cohort(self.config.trials):
            try:
                self._run_cohort(numbers)
            except OutOfTime:
                return

    @property
    def work(self) -> Path:
        return self.folder / ".work"

    def name(self, number: int, spec: Any) -> str:
        """The name of a trial in folders and pictures, such as 0007-latent16."""
        return trial_name(number, self.config.task.label(spec))

    def spec(self, number: int) -> Any:
        """A trial's spec, with its own seed from (study seed, number)."""
        fixed = {**self.base.model_dump(), "schedule": self.config.settings.get("schedule", "auto")}
        spec = self.config.searched.spec(fixed, self.trials.params(number))
        return spec.replace(seed=derive_seed(self.config.seed, number)).settled

    def _run_cohort(self, numbers: list[int]) -> None:
        specs = {n: self.spec(n) for n in numbers}
        live = {n: spec for n, spec in specs.items() if not self.trials.is_finished(n)}
        epochs, rungs = int(self.base.epochs), self._rungs(specs)
        self.watch.cohort(live, rungs)
        done, spent = 0, dict[str, float]()
        for rung in [*rungs, epochs]:
            if not live:
                return
            self._check_time(live, done, rung)
            before, done = done, rung
            outcomes = self._advance(live, rung)
            for number, spec in live.items():
                name = self.name(number, spec)
                self.pace.learn(spec, rung - before, outcomes[name].seconds - spent.get(name, 0.0))
                spent[name] = outcomes[name].seconds
            live = self._drop_failed(live, outcomes, rung)
            if rung == epochs:
                self._complete(live, outcomes)
            elif live:
                live = self._judge(specs, live, outcomes, rungs, rung)
        for path in self.work.glob("[0-9]*"):
            path.unlink()

    def _rungs(self, specs: dict[int, Any]) -> list[int]:
        if not self.config.prunes:
            return []
        steps = -(-len(self.crew.data.splits["train"]) // int(self.base.batch_size))
        return rung_epochs(int(self.base.epochs), steps, _ramp(specs), self.base.stride(steps))

    def _advance(self, live: dict[int, Any], rung: int) -> dict[str, Outcome]:
        members = [Member(self.name(n, spec), spec) for n, spec in live.items()]
        last = rung == int(self.base.epochs)
        return self.crew.run(self._jobs(members, rung, last), self.watch.epoch)

    def _jobs(self, members: list[Member], until: int, close: bool) -> list[Job]:
        pictures = self.config.figures == "all"
        return [
            Job(
                tuple(part), until, str(self.work),
                folders={m.name: str(self.folder / "trials" / m.name) for m in part} if close else {},
                pictures=close and pictures,
            )
            for part in stacks(members, self.crew.data.shape, self.crew.workers, self.crew.system)
        ]  # fmt: skip

    def _drop_failed(self, live: dict[int, Any], outcomes: dict[str, Outcome], rung: int) -> dict[int, Any]:
        kept = {}
        for number, spec in live.items():
            outcome = outcomes[self.name(number, spec)]
            if outcome.failure is None:
                kept[number] = spec
            else:
                self.trials.fail(number, outcome.failure, {"seconds": outcome.seconds, "epochs": outcome.epochs})
                self.watch.finished(number, "FAIL", None)
        return kept

    def _judge(
        self, specs: dict[int, Any], live: dict[int, Any], outcomes: dict[str, Outcome], rungs: list[int], rung: int
    ) -> dict[int, Any]:
        """Report a rung, then prune those that can no longer win, whatever the order of the reports.

        Trial 0, the defaults, is the reference: it is trained to the end.
        """
        with self.trials.together():
            for number, spec in live.items():
                value = outcomes[self.name(number, spec)].value
                assert value is not None
                self.trials.report(number, rung, value)
        reports, first = {n: self.trials.reports(n) for n in specs}, min(specs)
        cohort = {n: own[rung] for n, own in reports.items() if rung in own}
        best = min(self.trials.best(first), *(v for own in reports.values() for r, v in own.items() if r <= rung))
        gone = [cohort[n] for n in cohort if n not in live]  # before the study was resumed
        kept = survivors(
            {n: reports[n] for n in live}, rungs, rung, int(self.base.epochs), best,
            [*self.trials.reported(rung, first), *gone], _ramp(specs),
        )  # fmt: skip
        ended = {n for n, spec in live.items() if outcomes[self.name(n, spec)].epochs < rung}  # nothing left to save
        kept = sorted({*kept, *ended, *({0} & live.keys())})
        self.watch.rung(rung, cohort, kept)
        pruned = {n: spec for n, spec in live.items() if n not in kept}
        if self.config.figures == "all" and pruned:
            members = [Member(self.name(n, spec), spec) for n, spec in pruned.items()]
            self.crew.run(self._jobs(members, rung, close=True), self.watch.epoch)
        with self.trials.together():
            for number, spec in pruned.items():
                outcome = outcomes[self.name(number, spec)]
                self.trials.prune(number, {"seconds": outcome.seconds, "epochs": outcome.epochs})
                self.watch.finished(number, "PRUNED", cohort[number])
        return {n: live[n] for n in kept}

    def _complete(self, live: dict[int, Any], outcomes: dict[str, Outcome]) -> None:
        with self.trials.together():
            for number, spec in live.items():
                outcome = outcomes[self.name(number, spec)]
                assert outcome.metrics is not None
                costs = self.crew.system.costs(spec, outcome.metrics)
                facts = {k: outcome.metrics[k] for k in self.crew.system.facts}
                facts |= {"seconds": outcome.seconds, "epochs": outcome.epochs}
                self.trials.complete(number, costs, facts["verdict"] == "ok", facts)
                self.watch.finished(number, "COMPLETE", costs[0])

    def estimate(self, specs: Sequence[Any], epochs: int) -> float:
        """Estimated seconds the crew needs for `epochs` epochs of these members."""
        return self.pace.estimate(specs, epochs, self.crew.workers)

    def _check_time(self, live: dict[int, Any], done: int, rung: int) -> None:
        needed = self.estimate(list(live.values()), rung - done)
        if self.pace.is_measured and self.clock.left <= needed + self._reserve():
            raise OutOfTime

    def _reserve(self) -> float:
        """Seconds needed for the finals of at least the best trial, with a margin for evaluation and drawing."""
        best = candidates(self.trials.all())[:1]
        if not best:
            return 0.0
        epochs = self.config.final_epochs or int(self.base.epochs)
        return MARGIN * self.estimate([self.spec(best[0])] * self.config.final_seeds, epochs)
