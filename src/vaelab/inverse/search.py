"""Tuning an inverse problem: cohorts of trials trained as stacks, judged on validation independent of loss weights."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from vaelab.engine.seeds import derive_seed
from vaelab.errors import TrainingFailed
from vaelab.inverse.config import InversionConfig
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.judging import selection_score
from vaelab.inverse.problems import Problem
from vaelab.inverse.spec import spec_of
from vaelab.inverse.training import train_members
from vaelab.inverse.yardsticks import YARDSTICKS
from vaelab.study.checkpoints import Member
from vaelab.study.config import cohort_size
from vaelab.study.jobs import Outcome
from vaelab.study.trials import Direction, Trials
from vaelab.vae.spec import Spec

SAMPLES, REFINE = 30, 10  # limits for a trial's candidates


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial: its settings, its yardstick (higher is better for recall and precision), and further metrics."""

    number: int
    settings: Mapping[str, Any]
    value: float | None
    metrics: Mapping[str, Any]
    seconds: float
    failure: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def search(
    problem: Problem, config: InversionConfig, work: Path, progress: Callable[[Trial], None] = lambda trial: None
) -> tuple[Spec, list[Trial]]:
    """The best settings by the yardstick on validation curves, and every trial. Same seed, same search.

    `work` contains study.db and the checkpoints, from which an interrupted search continues.
    """
    direction: Direction = "maximize" if YARDSTICKS[config.yardstick].rises else "minimize"
    size = cohort_size(config.trials)
    trials = Trials(work / "study.db", config.space, "tpe", config.seed, size, [direction])
    with contextlib.closing(trials):
        trials.reclaim()
        while numbers := trials.cohort(config.trials):
            live = [n for n in numbers if not trials.is_finished(n)]
            members = {n: Member(f"{n:04d}", _spec(problem, config, n, trials.params(n))) for n in live}
            trained = train_members(problem, list(members.values()), work, config.spectrum)
            for number, model in zip(live, trained, strict=True):
                _judge(trials, number, model, config)
                progress(_told(trials, number))
            for path in work.glob("[0-9]*"):
                path.unlink()
        done = [_told(trials, number) for number in range(config.trials)]
    finished = [trial for trial in done if trial.value is not None]
    if not finished:
        raise TrainingFailed(f"no trial finished: {done[0].failure}")
    sign = 1 if direction == "minimize" else -1
    best = min(finished, key=lambda trial: (sign * float(trial.value or 0.0), trial.number))
    return _spec(problem, config, config.trials, best.settings), done


def _spec(problem: Problem, config: InversionConfig, number: int, params: Mapping[str, Any]) -> Spec:
    """A trial's spec, with its own seed from (seed, number)."""
    return spec_of(problem, {**config.settings, **params, "seed": derive_seed(config.seed, number)})


def _judge(trials: Trials, number: int, model: Inverter | Outcome, config: InversionConfig) -> None:
    """Record the result of a trial in the study."""
    if isinstance(model, Outcome):
        trials.fail(number, str(model.failure), {"seconds": model.seconds, "metrics": {}})
        return
    score = None
    if model.problem.has_forward:
        score = selection_score(model, min(config.samples, SAMPLES), min(config.refine, REFINE), config.walk)
    metrics = {
        "bound": float(model.metrics["neg_elbo"]), "recall": score and score.recall,
        "precision": score and score.precision,
        "rate": model.metrics["rate"], "misfit": model.history[-1]["train"].get("misfit"),
        "verdict": model.metrics["verdict"],
    }  # fmt: skip
    value, facts = metrics[config.yardstick], {"seconds": model.seconds, "metrics": metrics}
    if value is None or not math.isfinite(value):
        trials.fail(number, f"its {config.yardstick} is not finite", facts)
    else:
        trials.complete(number, float(value), metrics["verdict"] == "ok", facts)


def _told(trials: Trials, number: int) -> Trial:
    """A finished trial from the study."""
    trial, params = trials.all()[number], trials.params(number)
    facts = trial.user_attrs
    value = trial.value if trial.state == TrialState.COMPLETE else None
    return Trial(number, params, value, facts["metrics"], facts["seconds"], facts.get("reason"))
