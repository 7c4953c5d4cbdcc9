"""The samplers of studies. Their cost per trial does not grow with the study."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from vaelab.study.front import front

MOST_READ = 500  # finished trials; benchmarks/ten_thousand.py has what each costs
BEST_READ = 100  # of them, whenever they were tried


class Window:
    """The trials of a study that TPE reads: all of a small study, the best and the latest of a large one.

    TPE compares the best trials, 25 at most for one yardstick, with the rest: what is left out are early ones of these.
    """

    def __init__(self) -> None:
        self._finished = 0  # trials from the first on, without a gap
        self._kept: list[FrozenTrial] = []

    def read(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Called before every trial: what is known of finished cohorts is not worked out again."""
        before = self._finished
        while self._finished < len(trials) and trials[self._finished].state.is_finished():
            self._finished += 1
        if self._finished != before:
            self._kept = best_and_latest(trials[: self._finished])
        return [*self._kept, *trials[self._finished :]]


def best_and_latest(finished: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """At most MOST_READ finished trials, in their order."""
    if len(finished) <= MOST_READ:
        return list(finished)
    feasible = {
        trial.number: trial.values
        for trial in finished
        if trial.state == TrialState.COMPLETE and all(value <= 0 for value in trial.constraints.values())
    }
    if feasible and len(next(iter(feasible.values()))) > 1:
        best = front(feasible)
    else:
        best = sorted(feasible, key=lambda number: (feasible[number], number))
    kept = set(best[:BEST_READ])
    for trial in reversed(finished):
        if len(kept) == MOST_READ:
            break
        kept.add(trial.number)
    return [trial for trial in finished if trial.number in kept]


class BoundedTPE(optuna.samplers.TPESampler):
    """Optuna's TPE on the trials of a window."""

    def __init__(self, window: Window, seed: int):
        super().__init__(seed=seed)
        self._window = window

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._seen(study), trial, param_name, param_distribution)

    def _seen(self, study: optuna.Study) -> Any:
        return _Seen(study, self._window.read(study.get_trials(deepcopy=False)))


class _Seen:
    """A study of which a sampler sees some trials only."""

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]):
        self._study, self._trials = study, trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """What samplers call: Optuna has no public name for it."""
        return [trial for trial in self._trials if states is None or trial.state in states]
