"""Scores a trained inverse problem: its candidates against those of methods without a network, on the scored curves."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from vaelab.engine.process import one_thread
from vaelab.inverse import methods, npe, scores
from vaelab.inverse.fitted import Array, Inverter
from vaelab.inverse.solutions import WALK


@dataclasses.dataclass(frozen=True, eq=False)
class Attempts:
    """The methods on the scored curves, the network's unrefined and refined candidates first."""

    attempts: list[methods.Attempt]
    seconds: dict[str, float]

    @property
    def unrefined(self) -> methods.Attempt:
        return self.attempts[0]

    @property
    def result(self) -> methods.Attempt:
        """The network's candidates after refinement, if any."""
        return self.attempts[1] if len(self.attempts) > 1 and self.attempts[1].name == REFINED else self.attempts[0]


NETWORK, REFINED = "conditional VAE", "conditional VAE, refined"


BOTH = "conditional VAE and nearest examples"  # shared as by `solve`


LONG, LONGER = "multi-start, 20 x the candidates", 20


def judge(
    inverter: Inverter,
    n: int,
    refine: int,
    seed: int = 0,
    walk: int = WALK,
    baselines: bool = True,
    estimation: bool = False,
) -> Attempts:
    """Candidates for the scored curves, n each, from the network and from methods without one, unfiltered.

    Multi-start, nearest examples, and the network together with these get the same refinement at equal candidates,
    equal forward evaluations and equal time; rejection gets the same number of evaluations; the exact sampler, if
    available, is the upper limit. With `estimation` also sbi's neural posterior estimation, trained on the same
    examples for at most the same time.
    """
    problem, ground = inverter.problem, inverter.ground
    reference, y = problem.rows("test")

    def network(chunk: int) -> tuple[Array, int]:
        return inverter.candidates(y, n, seed + chunk)

    def walked(chunk: int) -> tuple[Array, int]:
        return inverter.candidates(y, n, seed + chunk, walk)

    def tried(name: str, starts: methods.Starts, steps: int, **budget: Any) -> methods.Attempt:
        return methods.attempt(name, problem, ground, starts, reference, y, steps, **budget)

    with one_thread():
        network(0)  # the first call of a process is slower
        began = time.perf_counter()
        attempts = [tried(NETWORK, network, 0)]
        seconds = {"sample": attempts[0].seconds}
        if refine or walk:
            attempts.append(tried(REFINED, walked, refine))
            seconds["refine"] = attempts[1].seconds
        seconds["score"] = time.perf_counter() - began - sum(seconds.values())
        if baselines:
            own = attempts[-1]
            begun = time.perf_counter()
            of_network = round(inverter.sources.share * n)
            near, beside = (methods.nearest(problem, count, y) for count in (n, n - of_network))

            def both(chunk: int) -> tuple[Array, int]:
                x, calls = inverter.candidates(y, of_network, seed + chunk, inverter.sources.walk)
                return np.concatenate([x, beside(chunk)[0]], 1), calls

            for name, starts in (
                (BOTH, both),
                ("multi-start", methods.from_prior(problem, n, len(y), seed)),
                ("nearest examples", near),
            ):
                attempts.append(tried(f"{name}, equal candidates", starts, refine))
                if refine:
                    attempts.append(tried(f"{name}, equal evaluations", starts, refine, evaluations=own.evaluations))
                    attempts.append(tried(f"{name}, equal time", starts, refine, seconds=own.seconds))
            if refine and problem.family is not None:
                many = methods.from_prior(problem, LONGER * n, len(y), seed)
                attempts.append(tried(LONG, many, refine))
            calls = own.evaluations or n * len(y)
            attempts.append(methods.rejection(problem, n, reference, y, calls, seed))
            if problem.family is not None:
                attempts.append(tried("exact sampler", methods.exact(problem, n, reference, seed), 0))
            seconds["baselines"] = time.perf_counter() - begun
        if estimation:
            begun = time.perf_counter()
            flow = npe.fit(problem, inverter.space, inverter.seconds, seed)
            seconds["estimation"] = time.perf_counter() - begun
            drawn: methods.Starts = lambda chunk: (flow(y, n, seed + chunk), 0)  # noqa: E731
            attempts.append(tried(npe.NAME, drawn, 0))
            if refine:
                attempts.append(tried(f"{npe.NAME}, refined", drawn, refine))
    return Attempts(attempts, seconds)


def selection_score(inverter: Inverter, n: int, refine: int, walk: int = WALK, curves: int = 50) -> scores.Score:
    """The score of the network's candidates on validation curves, for use in a search."""
    problem = inverter.problem
    reference, y = (part[:curves] for part in problem.rows("validation"))
    starts: methods.Starts = lambda chunk: inverter.candidates(y, n, chunk, walk)  # noqa: E731
    with one_thread():
        found = methods.attempt(NETWORK, problem, inverter.ground, starts, reference, y, refine)
    return found.score
