"""Jobs: members trained as one stack up to an epoch, from their checkpoints. Stateless: any worker may do any job."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.engine import training
from vaelab.settings.spec import ModelSpec
from vaelab.study.checkpoints import Checkpoint, Member
from vaelab.study.task import AnySystem

CHECKPOINT_SECONDS = 20.0  # between two checkpoints before a rung: the most that a kill can lose


@dataclasses.dataclass(frozen=True)
class Job:
    """Train these members (one stack) until an epoch; then evaluate those with a folder, or write a checkpoint.

    `work` contains checkpoints; `folders` maps members to run folders, `pictures` says whether to draw pictures.
    With `seconds`, no epoch starts that would end later, and the best weights so far are the result.
    """

    members: tuple[Member, ...]
    until: int
    work: str
    is_final: bool = False
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pictures: bool = False
    seconds: float | None = None

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self) | {"members": [m.as_dict() for m in self.members]})

    @classmethod
    def from_json(cls, text: str, spec_type: type[ModelSpec]) -> Job:
        fields = json.loads(text)
        members = tuple(Member.from_dict(m, spec_type) for m in fields.pop("members"))
        return cls(members=members, **fields)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a member: its cost by the (first) yardstick with its best weights, final metrics, or why it failed.

    `epochs` were trained, fewer than asked if it stalled.
    """

    name: str
    value: float | None
    seconds: float
    epochs: int
    failure: str | None = None
    metrics: Mapping[str, Any] | None = None


Progress = Callable[[Job, int], None]


def run(job: Job, system: AnySystem, feed: Any, progress: Progress) -> list[Outcome]:
    """Do a job; a member whose checkpoint is past `until`, or has stalled before it, is not trained further."""
    work = Path(job.work)
    outcomes: list[Outcome] = []
    groups: dict[tuple[int, bool], list[tuple[Member, Checkpoint | None]]] = {}
    for member in job.members:
        checkpoint = Checkpoint.read(work, member)
        is_done = checkpoint is not None and (checkpoint.state.epoch >= job.until or checkpoint.has_stalled)
        if checkpoint and is_done and member.name not in job.folders:
            costs, epochs = _rung_costs(system, member, checkpoint.history, job.until)
            outcomes.append(Outcome(member.name, costs[0], checkpoint.seconds, epochs))
            continue
        groups.setdefault((checkpoint.state.epoch if checkpoint else 0, is_done), []).append((member, checkpoint))
    for (_, is_done), group in groups.items():
        running = Running.of(job, system, feed, [m for m, _ in group], [c for _, c in group])
        outcomes += running.ended() if is_done else running.train(progress)
    order = [member.name for member in job.members]
    return sorted(outcomes, key=lambda outcome: order.index(outcome.name))


def _rung_costs(
    system: AnySystem, member: Member, history: Sequence[Mapping[str, Any]], until: int
) -> tuple[tuple[float, ...], int]:
    """The costs of a member's best weights up to an epoch, and the epoch up to which it was trained.

    What is measured only at rungs is in the last record, though measured with the best weights.
    """
    seen = [row for row in history if row["epoch"] <= until]
    best = next((row for row in reversed(seen) if row["is_best"]), seen[-1])
    return system.costs(member.spec, {**seen[-1]["validation"], **best["validation"]}), int(seen[-1]["epoch"])


@dataclasses.dataclass
class Running:
    """Members at the same epoch, as one stack, with their records so far."""

    job: Job
    system: AnySystem
    stack: training.Stack[Any, Any, Any]
    members: list[Member]
    histories: list[list[dict[str, Any]]]
    seconds: list[float]

    @classmethod
    def of(
        cls, job: Job, system: AnySystem, feed: Any, members: list[Member], checkpoints: Sequence[Checkpoint | None]
    ) -> Running:
        stack = training.Stack([m.spec for m in members], feed, method=system.method)
        begun = [c for c in checkpoints if c is not None]
        if begun:
            stack.restore([c.state for c in begun])
        histories: list[list[dict[str, Any]]] = [[dict(row) for row in c.history] if c else [] for c in checkpoints]
        return cls(job, system, stack, members, histories, [c.seconds if c else 0.0 for c in checkpoints])

    def train(self, progress: Progress) -> list[Outcome]:
        """Train until the job's epoch, a stall, a failure or the end of its time; every member's outcome."""
        job, stack, outcomes = self.job, self.stack, list[Outcome]()
        started = charged = saved = ended = time.perf_counter()
        for records in training.epochs(stack, job.until):
            now = time.perf_counter()
            latest, ended = now - ended, now
            self.seconds = [spent + (now - charged) / len(stack) for spent in self.seconds]
            charged = now
            for history, record in zip(self.histories, records, strict=True):
                history.append(record.as_dict())
            outcomes += self._drop_failed()
            if not len(self.members):
                return outcomes
            progress(job, stack.epoch)
            stalled = [k for k in range(len(stack)) if stack.has_stalled(k)] if stack.epoch < job.until else []
            if stalled:
                outcomes += self._split(stalled).ended()
                charged = time.perf_counter()  # judging is no training
                if not len(self.members):
                    return outcomes
            if job.seconds is not None and stack.epoch < job.until and ended - started + latest > job.seconds:
                stack.keep_unfinished()
                break
            if stack.epoch < job.until and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                saved = time.perf_counter()
                self._write_checkpoints()
        return outcomes + self.ended()

    def _drop_failed(self) -> list[Outcome]:
        """The outcomes of members that failed, which leave the stack."""
        found = [
            Outcome(member.name, None, seconds, self.stack.epoch, failure)
            for member, seconds, failure in zip(self.members, self.seconds, self.stack.failures, strict=True)
            if failure is not None
        ]
        if found:
            self._keep([k for k, failure in enumerate(self.stack.failures) if failure is None])
        return found

    def _keep(self, kept: Sequence[int]) -> None:
        if kept:
            self.stack.select(kept)
        self.members, self.histories = [self.members[k] for k in kept], [self.histories[k] for k in kept]
        self.seconds = [self.seconds[k] for k in kept]

    def _split(self, leaving: Sequence[int]) -> Running:
        """These members alone, which leave this stack."""
        part = Running(
            self.job, self.system, self.stack.part(leaving), [self.members[k] for k in leaving],
            [self.histories[k] for k in leaving], [self.seconds[k] for k in leaving],
        )  # fmt: skip
        self._keep([k for k in range(len(self.members)) if k not in leaving])
        return part

    def ended(self) -> list[Outcome]:
        """The outcomes of members that are not trained further in this job: judged and saved, or with a checkpoint."""
        job, system, outcomes = self.job, self.system, list[Outcome]()
        closing = bool(job.folders)
        if not closing:  # kept in the record, since a checkpoint may be read again after further epochs
            for history, measured in zip(self.histories, system.measure(self.stack), strict=True):
                history[-1]["validation"] = {**history[-1]["validation"], **measured}
        metrics: list[Any] = system.judge(self.stack, job.is_final) if closing else [None] * len(self.stack)
        for k, (member, history, seconds) in enumerate(zip(self.members, self.histories, self.seconds, strict=True)):
            epochs = int(history[-1]["epoch"])
            if closing:
                costs = system.costs(member.spec, metrics[k])
            else:
                costs, _ = _rung_costs(system, member, history, job.until)
            if not all(map(math.isfinite, costs)):
                outcomes.append(Outcome(member.name, None, seconds, epochs, "the validation value is not finite"))
                continue
            if closing:
                _save_run(job, system, member, self.stack, k, history, metrics[k], seconds)
            outcomes.append(Outcome(member.name, costs[0], seconds, epochs, metrics=metrics[k]))
        if not closing:
            self._write_checkpoints()
        return outcomes

    def _write_checkpoints(self) -> None:
        for k, (member, history, seconds) in enumerate(zip(self.members, self.histories, self.seconds, strict=True)):
            state, has_stalled = self.stack.member_state(k), self.stack.has_stalled(k)
            Checkpoint(state, history, seconds, has_stalled).write(Path(self.job.work), member)


def _save_run(
    job: Job,
    system: AnySystem,
    member: Member,
    stack: training.Stack[Any, Any, Any],
    k: int,
    history: list[dict[str, Any]],
    validation: Any,
    seconds: float,
) -> None:
    epochs = history[-1]["epoch"]
    best = max((row["epoch"] for row in history if row["is_best"]), default=epochs)
    metrics = {
        "validation": validation, "test": None, "test_opened": 0, "seconds": seconds,
        "epochs": epochs, "best_epoch": best, "reference": system.reference(stack.feed),
        "engine": "autograd" if stack.fused is None else "fused",
    }  # fmt: skip
    model = system.model(stack.feed, member.spec, stack.best[k], validation)
    model = model.save(Path(job.folders[member.name]), history, metrics, overwrite=True)
    if job.pictures:
        system.draw(model, stack.feed.data, member.name)
