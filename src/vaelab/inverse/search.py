"""Tuning an inverse problem: cohorts of trials trained as stacks, judged on validation by a figure no weight enters."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import optuna

from vaelab.errors import InputError, unknown_name
from vaelab.inverse.inverter import Inverter, TrainingFailed, selection_score, spec_of, train
from vaelab.inverse.problems import Problem
from vaelab.seeds import derive_seed
from vaelab.space import Space
from vaelab.spec import Spec
from vaelab.training import stack_key

COHORT = 4  # trials asked together
# `recall` and `precision` are of gated, refined candidates; `bound` is KL + NLL(x), which no wx or wy enters.
YARDSTICKS = ("recall", "precision", "bound")
SPACE: dict[str, Any] = {
    "lr": (5e-4, 5e-3, "log"), "beta": (0.3, 3.0, "log"), "latent_dim": (2, 8), "hidden": ["256-256", "512-512"],
    "wy": (0.0, 1.0),
}  # fmt: skip
REFUSED = ("likelihood", "binarize", "samples", "sigma", "threshold", "device", "seed", "precision", "prior")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial: its settings, its yardstick (higher is better for recall and precision), and what stands beside it."""

    number: int
    settings: Mapping[str, Any]
    value: float | None
    figures: Mapping[str, Any]
    seconds: float
    failure: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check(yardstick: str, trials: int, space: Space, problem: Problem) -> None:
    """Refuse before anything is trained what could not be compared or would fail."""
    if yardstick not in YARDSTICKS:
        raise unknown_name("yardstick", yardstick, YARDSTICKS)
    if yardstick == "recall" and problem.family is None:
        raise InputError(
            "`recall` needs a problem whose solutions are all known; use the yardstick precision or bound."
        )
    if trials < 1:
        raise InputError(f"`trials` must be at least 1, but got {trials}.")
    for name in REFUSED:
        if name in space:
            raise InputError(f"`{name}` cannot be searched: figures under different ones cannot be compared; fix it.")
    if "wy" in space and not problem.is_differentiable:
        raise InputError("`wy` cannot be searched: this forward function has no gradient; take it out of the space.")


def default_space(problem: Problem, settings: Mapping[str, Any]) -> Space:
    """SPACE less what is set, and less wy where the forward function has no gradient."""
    dropped = [*settings] + ([] if problem.is_differentiable else ["wy"])
    return Space.parse(SPACE).without(dropped)


def search(
    problem: Problem,
    space: Space,
    settings: Mapping[str, Any],
    trials: int,
    *,
    yardstick: str = "recall",
    samples: int = 30,
    refine: int = 10,
    seed: int = 0,
    spectrum: bool | None = None,
    progress: Callable[[Trial], None] = lambda trial: None,
) -> tuple[Spec, list[Trial]]:
    """The best settings by the yardstick on validation curves, and every trial. Same seed, same search."""
    check(yardstick, trials, space, problem)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if yardstick == "bound" else "maximize")
    done: list[Trial] = []
    while len(done) < trials:
        first = len(done)
        # Re-seeded per cohort: a sampler would else depend on how often it was asked before.
        study.sampler = optuna.samplers.TPESampler(seed=derive_seed(seed, first) % 2**32)
        asked = [study.ask() for _ in range(min(COHORT, trials - first))]
        chosen = [{**settings, **space.suggest(trial)} for trial in asked]
        specs = [spec_of(problem, {"seed": derive_seed(seed, first + k), **own}) for k, own in enumerate(chosen)]
        stacks: dict[Any, list[int]] = {}
        for k, spec in enumerate(specs):
            stacks.setdefault(stack_key(spec, 0), []).append(k)
        judged: dict[int, Trial] = {}
        for members in stacks.values():
            began = time.perf_counter()
            found = _trained(problem, [specs[k] for k in members], spectrum)
            for k, model in zip(members, found, strict=True):
                own = {name: chosen[k][name] for name in space.names}
                judged[k] = _judged(first + k, own, model, yardstick, samples, refine, began, len(members))
        for k, trial in enumerate(asked):
            if judged[k].value is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, judged[k].value)
            done.append(judged[k])
            progress(judged[k])
    finished = [trial for trial in done if trial.value is not None]
    if not finished:
        raise TrainingFailed(f"no trial finished: {done[0].failure}")
    sign = 1 if yardstick == "bound" else -1
    best = min(finished, key=lambda trial: (sign * float(trial.value or 0.0), trial.number))
    return spec_of(problem, {**settings, **best.settings, "seed": derive_seed(seed, trials)}), done


def _trained(problem: Problem, specs: list[Spec], spectrum: bool | None) -> list[Inverter | str]:
    """The models of a stack; where one fails, each is trained alone, so that its neighbours do not fail with it."""
    try:
        return list(train(problem, specs, spectrum=spectrum))
    except TrainingFailed as error:
        if len(specs) == 1:
            return [str(error)]
        return [model for spec in specs for model in _trained(problem, [spec], spectrum)]


def _judged(
    number: int,
    settings: Mapping[str, Any],
    model: Inverter | str,
    yardstick: str,
    samples: int,
    refine: int,
    began: float,
    company: int,
) -> Trial:
    if isinstance(model, str):
        return Trial(number, settings, None, {}, (time.perf_counter() - began) / company, model)
    score = selection_score(model, samples, refine)
    bound = float(model.figures["neg_elbo"])
    figures = {
        "bound": bound, "recall": score.recall, "precision": score.precision, "rate": model.figures["rate"],
        "misfit": model.history[-1]["train"].get("misfit"), "verdict": model.figures["verdict"],
    }  # fmt: skip
    value = figures[yardstick]
    seconds = (time.perf_counter() - began) / company
    if value is None or not math.isfinite(value):
        return Trial(number, settings, None, figures, seconds, f"its {yardstick} is not finite")
    return Trial(number, settings, float(value), figures, seconds)
