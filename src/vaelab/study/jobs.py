"""Jobs: members trained as one stack up to an epoch, from their checkpoints. Stateless: any worker may do any job."""

from __future__ import annotations

import dataclasses
import glob
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab import store
from vaelab.engine import training
from vaelab.errors import StoreError
from vaelab.settings.spec import ModelSpec
from vaelab.study.task import AnySystem

CHECKPOINT_SECONDS = 20.0  # between two checkpoints before a rung: the most that a kill can lose


@dataclasses.dataclass(frozen=True)
class Member:
    """One training run: a trial in the search, or a finalist with one seed. `name` identifies it everywhere."""

    name: str
    spec: Any


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
        return json.dumps(dataclasses.asdict(self) | {"members": [_member_dict(m) for m in self.members]})

    @classmethod
    def from_json(cls, text: str, spec_type: type[ModelSpec]) -> Job:
        fields = json.loads(text)
        members = tuple(Member(m["name"], spec_type.create(**m["spec"])) for m in fields.pop("members"))
        return cls(members=members, **fields)


def _member_dict(member: Member) -> dict[str, Any]:
    return {"name": member.name, "spec": member.spec.model_dump(mode="json")}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a member: its cost by the (first) yardstick, final metrics, or why it failed."""

    name: str
    value: float | None
    seconds: float
    failure: str | None = None
    metrics: Mapping[str, Any] | None = None


Progress = Callable[[Job, int], None]


def run(job: Job, system: AnySystem, feed: Any, progress: Progress) -> list[Outcome]:
    """Do a job; a member whose checkpoint is past `until` is only read, not retrained."""
    work = Path(job.work)
    outcomes: list[Outcome] = []
    groups: dict[int, list[tuple[Member, Checkpoint | None]]] = {}
    for member in job.members:
        checkpoint = Checkpoint.read(work, member)
        if checkpoint and checkpoint.state.epoch >= job.until and member.name not in job.folders:
            costs = system.costs(member.spec, checkpoint.history[job.until - 1]["validation"])
            outcomes.append(Outcome(member.name, costs[0], checkpoint.seconds))
            continue
        groups.setdefault(checkpoint.state.epoch if checkpoint else 0, []).append((member, checkpoint))
    for group in groups.values():
        outcomes += _run_group(job, system, feed, [m for m, _ in group], [c for _, c in group], progress)
    order = [member.name for member in job.members]
    return sorted(outcomes, key=lambda outcome: order.index(outcome.name))


def _run_group(
    job: Job,
    system: AnySystem,
    feed: Any,
    members: list[Member],
    checkpoints: Sequence[Checkpoint | None],
    progress: Progress,
) -> list[Outcome]:
    """Members at the same epoch, as one stack."""
    stack = training.Stack([m.spec for m in members], feed, method=system.method)
    resumed = [c for c in checkpoints if c is not None]
    if resumed:
        stack.restore([c.state for c in resumed])
    histories: list[list[dict[str, Any]]] = [[dict(row) for row in c.history] if c else [] for c in checkpoints]
    before = [c.seconds if c else 0.0 for c in checkpoints]
    alive, outcomes = list(range(len(members))), list[Outcome]()
    started = saved = ended = time.perf_counter()
    for records in training.epochs(stack, job.until):
        for k, record in zip(alive, records, strict=True):
            histories[k].append(record.as_dict())
        if any(stack.failures):
            share = (time.perf_counter() - started) / len(members)
            for k, failure in zip(alive, stack.failures, strict=True):
                if failure is not None:
                    outcomes.append(Outcome(members[k].name, None, before[k] + share, failure))
            going = [i for i, failure in enumerate(stack.failures) if failure is None]
            alive = [alive[i] for i in going]
            if not alive:
                return outcomes
            stack.select(going)
        progress(job, stack.epoch)
        latest, ended = time.perf_counter() - ended, time.perf_counter()
        if job.seconds is not None and stack.epoch < job.until and ended - started + latest > job.seconds:
            stack.keep_unfinished()
            break
        if stack.epoch < job.until and time.perf_counter() - saved > CHECKPOINT_SECONDS:
            saved = time.perf_counter()
            share = (saved - started) / len(members)
            for i, k in enumerate(alive):
                Checkpoint(stack.member_state(i), histories[k], before[k] + share).write(Path(job.work), members[k])
    closing = bool(job.folders)
    if not closing:  # kept in the record, since a checkpoint may be read again after further epochs
        for k, measured in zip(alive, system.measure(stack), strict=True):
            histories[k][-1]["validation"] = {**histories[k][-1]["validation"], **measured}
    seconds = (time.perf_counter() - started) / len(members)
    metrics: list[Any] = system.judge(stack, job.is_final) if closing else [None] * len(stack)
    for i, k in enumerate(alive):
        member, spent = members[k], before[k] + seconds
        costs = system.costs(member.spec, metrics[i] if closing else histories[k][-1]["validation"])
        if not all(map(math.isfinite, costs)):
            outcomes.append(Outcome(member.name, None, spent, "the validation value is not finite"))
            continue
        if closing:
            _save_run(job, system, member, stack, i, histories[k], metrics[i], spent)
        else:
            Checkpoint(stack.member_state(i), histories[k], spent).write(Path(job.work), member)
        outcomes.append(Outcome(member.name, costs[0], spent, metrics=metrics[i]))
    return outcomes


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
    best = max((row["epoch"] for row in history if row["is_best"]), default=len(history))
    metrics = {
        "validation": validation, "test": None, "test_opened": 0, "seconds": seconds,
        "epochs": len(history), "best_epoch": best, "reference": system.reference(stack.feed),
        "engine": "autograd" if stack.fused is None else "fused",
    }  # fmt: skip
    model = system.model(stack.feed, member.spec, stack.best[k], validation)
    model = model.save(Path(job.folders[member.name]), history, metrics, overwrite=True)
    if job.pictures:
        system.draw(model, stack.feed.data, member.name)


def begun_with(work: Path, name: str) -> dict[str, Any]:
    """The settings that a member was started with, from its checkpoint; none without one."""
    path = work / f"{name}.json"
    return dict(store.read_json(path)["member"]["spec"]) if path.exists() else {}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A member between two rungs: arrays in one file, the rest in a JSON file written after it."""

    state: training.MemberState
    history: Sequence[Mapping[str, Any]]
    seconds: float

    def write(self, work: Path, member: Member) -> None:
        state, arrays = self.state, f"{member.name}.epoch{self.state.epoch}.safetensors"
        loss = state.best_loss if math.isfinite(state.best_loss) else None
        about = {
            "arrays": arrays, "sha256": store.save_arrays(work / arrays, state.arrays), "epoch": state.epoch,
            "step": state.step, "best_loss": loss, "history": self.history, "seconds": self.seconds,
            "member": _member_dict(member),
        }  # fmt: skip
        store.write_json(work / f"{member.name}.json", about)
        for earlier in work.glob(f"{glob.escape(member.name)}.epoch*.safetensors"):
            if earlier.name != arrays:
                earlier.unlink()

    @classmethod
    def read(cls, work: Path, member: Member) -> Checkpoint | None:
        path = work / f"{member.name}.json"
        if not path.exists():
            return None
        about = store.read_json(path)
        was, now = about["member"]["spec"], _member_dict(member)["spec"]
        other = [f"{name} = {was.get(name)} instead of {now[name]}" for name in now if was.get(name) != now[name]]
        if other:
            raise StoreError(f"{path} was begun with {', '.join(other)}; resume with that, or delete it and resume.")
        arrays = store.load_arrays(work / about["arrays"], about["sha256"])
        loss = math.inf if about["best_loss"] is None else about["best_loss"]
        state = training.MemberState(arrays, about["epoch"], about["step"], loss)
        return cls(state, about["history"], about["seconds"])
