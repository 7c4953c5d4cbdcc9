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

from vaelab import evaluate, store, training
from vaelab.errors import StoreError
from vaelab.feed import Feed
from vaelab.fitted import Fitted
from vaelab.objectives import Objective
from vaelab.spec import Spec

CHECKPOINT_SECONDS = 20.0  # between two checkpoints on the way to a rung: what a kill can cost


@dataclasses.dataclass(frozen=True)
class Member:
    """One training: a trial's search run, or a finalist's run with one seed. `name` is its identity everywhere."""

    name: str
    spec: Spec


@dataclasses.dataclass(frozen=True)
class Job:
    """Train these members (one stack) until an epoch; then judge those that have a folder, or leave a checkpoint.

    `work` holds checkpoints; `folders` says whose run folder goes where, `pictures` whether it gets its pictures.
    """

    members: tuple[Member, ...]
    until: int
    work: str
    yardstick: str = "neg_elbo"
    draws: int = evaluate.SEARCH_DRAWS
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pictures: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self) | {"members": [_member_dict(m) for m in self.members]})

    @classmethod
    def from_json(cls, text: str) -> Job:
        fields = json.loads(text)
        members = tuple(Member(m["name"], Spec.create(**m["spec"])) for m in fields.pop("members"))
        return cls(members=members, **fields)


def _member_dict(member: Member) -> dict[str, Any]:
    return {"name": member.name, "spec": member.spec.model_dump(mode="json")}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a member: its yardstick on validation after the epoch, final figures, or why it failed."""

    name: str
    value: float | None
    seconds: float
    failure: str | None = None
    figures: Mapping[str, Any] | None = None


Progress = Callable[[Job, int], None]


def run(job: Job, feed: Feed, progress: Progress, objective: Objective | None = None) -> list[Outcome]:
    """Do a job; a member that a checkpoint has past `until` is only read, not trained again.

    `objective`: the terms and the loss, where they are not the bound (see training.Stack).
    """
    work = Path(job.work)
    outcomes: list[Outcome] = []
    groups: dict[int, list[tuple[Member, Checkpoint | None]]] = {}
    for member in job.members:
        checkpoint = Checkpoint.read(work, member)
        if checkpoint and checkpoint.state.epoch >= job.until and member.name not in job.folders:
            value = _yardstick(job, member.spec, checkpoint.history[job.until - 1]["validation"])
            outcomes.append(Outcome(member.name, value, checkpoint.seconds))
            continue
        groups.setdefault(checkpoint.state.epoch if checkpoint else 0, []).append((member, checkpoint))
    for group in groups.values():
        outcomes += _run_group(job, feed, [m for m, _ in group], [c for _, c in group], progress, objective)
    order = [member.name for member in job.members]
    return sorted(outcomes, key=lambda outcome: order.index(outcome.name))


def _run_group(
    job: Job,
    feed: Feed,
    members: list[Member],
    checkpoints: Sequence[Checkpoint | None],
    progress: Progress,
    objective: Objective | None,
) -> list[Outcome]:
    """Members that stand at the same epoch, as one stack."""
    stack = training.Stack([m.spec for m in members], feed, objective)
    resumed = [c for c in checkpoints if c is not None]
    if resumed:
        stack.restore([c.state for c in resumed])
    histories: list[list[dict[str, Any]]] = [[dict(row) for row in c.history] if c else [] for c in checkpoints]
    before = [c.seconds if c else 0.0 for c in checkpoints]
    alive, outcomes = list(range(len(members))), list[Outcome]()
    started = saved = time.perf_counter()
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
        if stack.epoch < job.until and time.perf_counter() - saved > CHECKPOINT_SECONDS:
            saved = time.perf_counter()
            share = (saved - started) / len(members)
            for i, k in enumerate(alive):
                Checkpoint(stack.member_state(i), histories[k], before[k] + share).write(Path(job.work), members[k])
    seconds = (time.perf_counter() - started) / len(members)
    closing = bool(job.folders)
    figures: list[Any] = _judge(job, stack, feed) if closing else [None] * len(stack)
    for i, k in enumerate(alive):
        member, spent = members[k], before[k] + seconds
        value = _yardstick(job, member.spec, figures[i] if closing else histories[k][-1]["validation"])
        if not math.isfinite(value):
            outcomes.append(Outcome(member.name, None, spent, "the validation figure is not finite"))
            continue
        if closing:
            _save_run(job, member, stack, i, histories[k], figures[i], spent)
        else:
            Checkpoint(stack.member_state(i), histories[k], spent).write(Path(job.work), member)
        outcomes.append(Outcome(member.name, value, spent, figures=figures[i]))
    return outcomes


def _yardstick(job: Job, spec: Spec, figures: Mapping[str, float]) -> float:
    """The figure that judges, lower is better."""
    if job.yardstick == "weighted_loss":
        return figures["distortion"] + spec.beta * figures["rate"]
    return figures["neg_elbo"]


def _judge(job: Job, stack: training.Stack, feed: Feed) -> list[Any]:
    parameters = stack.views(stack.best)
    batches = feed.batches("validation", job.draws)
    scores = evaluate.score(stack.model, parameters, stack.specs, batches, job.draws, feed.log_jacobian)
    reference = evaluate.baseline(feed, "validation")
    return [evaluate.figures(scores, k, spec, reference) for k, spec in enumerate(stack.specs)]


def _save_run(
    job: Job,
    member: Member,
    stack: training.Stack,
    k: int,
    history: list[dict[str, Any]],
    figures: Any,
    seconds: float,
) -> None:
    best = max((row["epoch"] for row in history if row["is_best"]), default=len(history))
    metrics = {
        "validation": figures, "test": None, "test_opened": 0, "seconds": seconds,
        "epochs": len(history), "best_epoch": best, "reference": evaluate.baseline(stack.feed, "validation").as_dict(),
    }  # fmt: skip
    fitted = Fitted.of(stack.feed, member.spec, stack.best[k])
    fitted = fitted.save(Path(job.folders[member.name]), history, metrics, overwrite=True)
    if job.pictures:
        from vaelab.pictures import draw_run  # matplotlib is imported by those who draw

        draw_run(fitted, stack.feed.data, member.name)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A member between two rungs: arrays in one file, the rest in a JSON file that is written after it."""

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
        if about["member"] != _member_dict(member):
            raise StoreError(f"{path} is the checkpoint of another trial; delete it and resume.")
        arrays = store.load_arrays(work / about["arrays"], about["sha256"])
        loss = math.inf if about["best_loss"] is None else about["best_loss"]
        state = training.MemberState(arrays, about["epoch"], about["step"], loss)
        return cls(state, about["history"], about["seconds"])
