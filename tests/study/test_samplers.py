"""What TPE reads of a study: everything of a small one, the best and the latest trials of a large one."""

from __future__ import annotations

import time

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from vaelab.study import samplers
from vaelab.study.samplers import BoundedTPE, Window, best_and_latest

X = {"x": FloatDistribution(0, 1)}


def finished(values: list[float], **options: object) -> list[FrozenTrial]:
    """Trials as a study numbers them."""
    study = optuna.create_study()
    study.add_trials([create_trial(params={"x": 0.5}, distributions=X, value=v, **options) for v in values])
    return study.trials


def test_the_best_and_the_latest_are_read() -> None:
    values = np.random.default_rng(0).permutation(2000).astype(float).tolist()
    kept = [trial.number for trial in best_and_latest(finished(values))]
    assert kept == sorted(kept)
    assert len(kept) == samplers.MOST_READ
    best = set(np.argsort(values)[: samplers.BEST_READ].tolist())
    assert best < set(kept)
    others = [number for number in range(2000) if number not in best]
    assert set(kept) - best == set(others[-(samplers.MOST_READ - samplers.BEST_READ) :])


def test_small_studies_are_read_whole_and_collapsed_trials_are_not_best() -> None:
    few = finished([1.0] * samplers.MOST_READ)
    assert best_and_latest(few) == few
    collapsed = finished([0.0] * 300, constraints={"collapsed": 1.0})
    study = optuna.create_study()
    study.add_trials([*collapsed, *finished([1.0] * 700)])
    kept = [trial.number for trial in best_and_latest(study.trials)]
    assert min(kept) == 300  # the first of equals
    assert kept[-1] == 999


def test_the_front_of_two_yardsticks_is_read() -> None:
    rng, study = np.random.default_rng(0), optuna.create_study(directions=["minimize"] * 2)
    points = [*rng.uniform(1, 2, (800, 2)).tolist()]
    points[3], points[5] = [0.0, 3.0], [3.0, 0.0]
    study.add_trials([create_trial(params={"x": 0.5}, distributions=X, values=point) for point in points])
    assert {3, 5} < {trial.number for trial in best_and_latest(study.trials)}


def test_a_window_keeps_what_is_finished_and_sees_what_runs() -> None:
    window, done = Window(), finished(np.arange(600.0).tolist())
    running = create_trial(state=TrialState.RUNNING, params={"x": 0.1}, distributions=X)
    assert window.read([*done, running]) == [*best_and_latest(done), running]
    assert window.read([*done, running, running])[-2:] == [running, running]


def ask(study: optuna.Study, sampler: optuna.samplers.BaseSampler) -> float:
    study.sampler = sampler
    return study.ask().suggest_float("x", 0, 1)


def test_it_suggests_what_tpe_suggests_from_these_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "MOST_READ", 30)
    monkeypatch.setattr(samplers, "BEST_READ", 10)
    rng = np.random.default_rng(1)
    every = [create_trial(params={"x": x}, distributions=X, value=(x - 0.3) ** 2) for x in rng.uniform(size=60)]
    whole, part, window = optuna.create_study(), optuna.create_study(), Window()
    whole.add_trials(every)
    part.add_trials(best_and_latest(whole.trials))
    for seed in range(5):  # those asked before are running, and known to both
        expected = ask(part, optuna.samplers.TPESampler(seed=seed))
        assert ask(whole, BoundedTPE(window, seed)) == expected


def test_a_suggestion_costs_no_more_in_a_large_study() -> None:
    seconds = {}
    for count in (500, 5000):
        study, window = optuna.create_study(), Window()
        x = np.random.default_rng(0).uniform(size=count)
        study.add_trials([create_trial(params={"x": one}, distributions=X, value=one) for one in x])
        ask(study, BoundedTPE(window, 0))
        began = time.process_time()
        for seed in range(10):
            ask(study, BoundedTPE(window, seed))
        seconds[count] = time.process_time() - began
    assert seconds[5000] < 2.5 * seconds[500]
