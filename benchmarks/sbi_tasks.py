"""Posterior draws beside sbi's NPE at equal simulations, by a classifier two-sample test (C2ST; 0.5 is perfect).

    python benchmarks/sbi_tasks.py [--sbi PYTHON] [--tasks two_moons,arm] [--simulations 1000,10000] [--seeds 3]
    python benchmarks/sbi_tasks.py --smoke

PYTHON has sbi, whose NPE is trained as its users do: `NPE(prior)`, one call of `train()`, a posterior within the
prior. Both get the same pairs and draw 1,000 times for observations 1 to 5. Means over observations and seeds, with the
seconds of training, and the share of draws outside the prior's box.

Tasks (Lueckmann et al. 2021; the arm: Ardizzone et al. 2019, with noise of 0.05): references are exact draws, or those
of 2,000 Metropolis chains started from importance resampling, which the test of this file compares with a grid.

Asserted: no draw of ours is outside a prior's box.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Rng = np.random.Generator
DRAWS, CHAINS = 1_000, 2_000


@dataclasses.dataclass(frozen=True)
class Task:
    """A prior of x, a simulator of y, and draws of p(x | y). `box`: the ends of a uniform prior."""

    prior: Callable[[int, Rng], Array]
    simulate: Callable[[Array, Rng], Array]
    reference: Callable[[Array, int, Rng], Array]
    box: tuple[Array, Array] | None = None


def uniform(low: float, high: float, size: int) -> tuple[Callable[[int, Rng], Array], tuple[Array, Array]]:
    """A uniform prior and its box."""
    return lambda n, rng: rng.uniform(low, high, (n, size)), (np.full(size, low), np.full(size, high))


def inside(x: Array, box: tuple[Array, Array]) -> npt.NDArray[np.bool_]:
    return np.asarray(((x >= box[0]) & (x <= box[1])).all(1))


def enough(draw: Callable[[int], Array], box: tuple[Array, Array], n: int) -> Array:
    """n of a function's draws that are in a box."""
    found = np.empty((0, len(box[0])))
    while len(found) < n:
        drawn = draw(4 * n)
        found = np.concatenate([found, drawn[inside(drawn, box)]])
    return found[:n]


def chains(log_density: Callable[[Array], Array], start: Array, steps: int, rng: Rng) -> Array:
    """The ends of Metropolis chains (C, D), each proposing differences of two others (ter Braak 2006)."""
    u, now = start, log_density(start)
    for step in range(steps):
        first, second = rng.integers(len(u), size=(2, len(u)))
        size = 1.0 if step % 10 == 0 else 2.38 / np.sqrt(2 * u.shape[1]) * rng.choice([0.3, 0.7, 1.0])
        other = u + size * (u[first] - u[second]) + 1e-4 * rng.normal(size=u.shape)
        then = log_density(other)
        taken = np.log(rng.random(len(u))) < then - now
        u, now = np.where(taken[:, None], other, u), np.where(taken, then, now)
    return u


def resampled(x: Array, log_weights: Array, rng: Rng) -> Array:
    weights = np.exp(log_weights - log_weights.max())
    return x[rng.choice(len(x), CHAINS, p=weights / weights.sum())]


def two_moons() -> Task:
    prior, box = uniform(-1, 1, 2)

    def crescent(n: int, rng: Rng) -> Array:
        angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
        return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], 1)

    def simulate(x: Array, rng: Rng) -> Array:
        return crescent(len(x), rng) + np.stack([-abs(x[:, 0] + x[:, 1]), x[:, 1] - x[:, 0]], 1) / 2**0.5

    def reference(y: Array, n: int, rng: Rng) -> Array:
        def draw(m: int) -> Array:
            left = y - crescent(m, rng)
            left = left[left[:, 0] <= 0] * 2**0.5  # (-|x0 + x1|, x1 - x0)
            total = left[:, 0] * rng.choice([-1.0, 1.0], len(left))
            return np.stack([total - left[:, 1], total + left[:, 1]], 1) / 2

        return enough(draw, box, n)

    return Task(prior, simulate, reference, box)


def gaussian_mixture() -> Task:
    prior, box = uniform(-10, 10, 2)

    def simulate(x: Array, rng: Rng) -> Array:
        return x + rng.normal(size=x.shape) * np.where(rng.random(len(x)) < 0.5, 1.0, 0.1)[:, None]

    def reference(y: Array, n: int, rng: Rng) -> Array:
        return enough(lambda m: simulate(np.tile(y, (m, 1)), rng), box, n)

    return Task(prior, simulate, reference, box)


def gaussian_linear_uniform() -> Task:
    prior, box = uniform(-1, 1, 10)
    sd = 0.1**0.5

    def reference(y: Array, n: int, rng: Rng) -> Array:
        low, high = ((end - y) / sd for end in box)
        return np.asarray(stats.truncnorm.rvs(low, high, y, sd, size=(n, 10), random_state=rng))

    return Task(prior, lambda x, rng: x + sd * rng.normal(size=x.shape), reference, box)


def slcp() -> Task:
    """Four points of a Gaussian in the plane, whose mean, deviations and correlation are x."""
    prior, box = uniform(-3, 3, 5)

    def simulate(x: Array, rng: Rng) -> Array:
        first, second, rho = x[:, 2:3] ** 2, x[:, 3:4] ** 2, np.tanh(x[:, 4:])
        a, b = rng.normal(size=(2, len(x), 4))
        points = x[:, :1] + first * a, x[:, 1:2] + second * (rho * a + np.sqrt(1 - rho**2) * b)
        return np.stack(points, 2).reshape(len(x), 8)

    def log_likelihood(x: Array, y: Array) -> Array:
        points = y.reshape(4, 2)
        first, second = (np.maximum(x[:, k : k + 1] ** 2, 1e-12) for k in (2, 3))
        rho = np.tanh(x[:, 4:])
        rest = np.maximum(1 - rho**2, 1e-12)
        a, b = (points[:, 0] - x[:, :1]) / first, (points[:, 1] - x[:, 1:2]) / second
        squares = ((a**2 - 2 * rho * a * b + b**2) / rest).sum(1)
        return np.asarray(-0.5 * squares - 4 * np.log(first * second * np.sqrt(rest))[:, 0])

    def reference(y: Array, n: int, rng: Rng) -> Array:
        """Deviations enter by their squares: chains run in one quadrant, and signs are drawn."""
        drawn = prior(2_000_000, rng)
        start = resampled(drawn, log_likelihood(drawn, y), rng)
        start[:, 2:4] = abs(start[:, 2:4])

        def log_density(x: Array) -> Array:
            allowed = inside(x, box) & (x[:, 2:4] >= 0).all(1)
            return np.where(allowed, log_likelihood(x, y), -np.inf)

        found = rng.permutation(chains(log_density, start, 1_500, rng))[:n]
        found[:, 2:4] *= rng.choice([-1.0, 1.0], (n, 2))
        return found

    return Task(prior, simulate, reference, box)


def arm() -> Task:
    """The end of an arm of three links on a rail, by the place on the rail and three angles."""
    sd, lengths, noise = np.array([0.25, 0.5, 0.5, 0.5]), np.array([0.5, 0.5, 1.0]), 0.05

    def prior(n: int, rng: Rng) -> Array:
        return np.asarray(rng.normal(size=(n, 4)) * sd)

    def end(x: Array) -> Array:
        angles = np.cumsum(x[:, 1:], 1)
        return np.stack([x[:, 0] + np.sin(angles) @ lengths, np.cos(angles) @ lengths], 1)

    def reference(y: Array, n: int, rng: Rng) -> Array:
        def log_likelihood(x: Array) -> Array:
            return np.asarray(-0.5 * ((end(x) - y) ** 2).sum(1) / noise**2)

        drawn = prior(400_000, rng)
        start = resampled(drawn, log_likelihood(drawn), rng)
        ends = chains(lambda x: log_likelihood(x) - 0.5 * ((x / sd) ** 2).sum(1), start, 600, rng)
        return np.asarray(rng.permutation(ends)[:n])

    return Task(prior, lambda x, rng: end(x) + noise * rng.normal(size=(len(x), 2)), reference)


TASKS: dict[str, Callable[[], Task]] = {
    "two_moons": two_moons,
    "slcp": slcp,
    "gaussian_mixture": gaussian_mixture,
    "gaussian_linear_uniform": gaussian_linear_uniform,
    "arm": arm,
}


def observations(name: str, count: int) -> Array:
    """The same y for all runs."""
    task, rng = TASKS[name](), np.random.default_rng([7, list(TASKS).index(name)])
    return task.simulate(task.prior(count, rng), rng)


def ours(
    x: Array, y: Array, observed: Array, task: Task, draws: int, seed: int, settings: dict[str, Any]
) -> tuple[Array, float]:
    """Draws (observations, draws, D) and seconds of training."""
    import vaelab

    began = time.perf_counter()
    bounds = None if task.box is None else list(zip(*(end.tolist() for end in task.box), strict=True))
    model = vaelab.ConditionalVAE(bounds=bounds, seed=seed, **settings).fit(x, y)
    seconds = time.perf_counter() - began
    return np.asarray(model.sample(observed, draws, seed)), seconds


def npe(python: str, name: str, x: Array, y: Array, observed: Array, draws: int, seed: int) -> tuple[Array, float]:
    """The same of sbi's NPE, in another environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.npz", Path(folder) / "made.npz"
        np.savez(given, x=x, y=y, observed=observed)
        subprocess.run([python, __file__, "--npe", name, str(given), str(made), str(draws), str(seed)], check=True)
        with np.load(made) as found:
            return found["draws"], float(found["seconds"])


def run_npe(name: str, given: str, made: str, draws: int, seed: int) -> None:
    """What `npe` starts."""
    warnings.simplefilter("ignore")
    import torch
    from sbi.inference import NPE
    from torch.distributions import Independent, Normal, Uniform

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    task = TASKS[name]()
    if task.box is None:
        spread = torch.tensor([0.25, 0.5, 0.5, 0.5])
        prior: Any = Independent(Normal(torch.zeros(4), spread), 1)
    else:
        prior = Independent(Uniform(*(torch.from_numpy(end).float() for end in task.box)), 1)
    with np.load(given) as arrays:
        x, y, observed = (torch.from_numpy(arrays[key]).float() for key in ("x", "y", "observed"))
    began = time.perf_counter()
    inference = NPE(prior=prior, show_progress_bars=False)
    inference.append_simulations(x, y).train()
    seconds = time.perf_counter() - began
    posterior = inference.build_posterior()
    drawn = [posterior.sample((draws,), x=own[None], show_progress_bars=False).numpy() for own in observed]
    np.savez(made, draws=np.stack(drawn), seconds=seconds)


def main() -> None:
    if sys.argv[1:2] == ["--npe"]:
        run_npe(*sys.argv[2:5], *map(int, sys.argv[5:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sbi", metavar="PYTHON", help="an interpreter with sbi; without it only ours is run")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--simulations", default="1000,10000")
    parser.add_argument("--observations", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of each posterior")
    parser.add_argument("--smoke", action="store_true", help="check that it runs: few simulations and draws")
    chosen = parser.parse_args()
    names = chosen.tasks.split(",")
    sizes = [int(size) for size in chosen.simulations.split(",")]
    settings: dict[str, Any] = {}
    if chosen.smoke:
        names, sizes, chosen.observations, chosen.seeds, chosen.draws = ["two_moons"], [200], 1, 1, 40
        from sklearn.exceptions import ConvergenceWarning

        warnings.simplefilter("ignore", ConvergenceWarning)  # of the classifier, which sees few draws
        settings = {"epochs": 2, "hidden": "8"}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from vaelab.inverse.calibration import Draws, c2st

    print(
        "| task | simulations | method | C2ST | by observation | seconds | outside |\n|---|---:|---|---:|---|---:|---:|"
    )
    for name in names:
        task, observed = TASKS[name](), observations(name, chosen.observations)
        exact = [task.reference(y, chosen.draws, np.random.default_rng([3, k])) for k, y in enumerate(observed)]
        for size in sizes:
            found: dict[str, list[tuple[list[float], float, float]]] = {}
            for seed in range(chosen.seeds):
                rng = np.random.default_rng([11, seed])
                x = task.prior(size, rng)
                y = task.simulate(x, rng)
                made = {"vaelab": ours(x, y, observed, task, chosen.draws, seed, settings)}
                if chosen.sbi:
                    made["sbi NPE"] = npe(chosen.sbi, name, x, y, observed, chosen.draws, seed)
                for method, (draws, seconds) in made.items():
                    scores = [c2st(Draws(own[None]), other, 1) for own, other in zip(draws, exact, strict=True)]
                    flat = draws.reshape(-1, draws.shape[-1])
                    outside = 0.0 if task.box is None else float(1 - inside(flat, task.box).mean())
                    assert method != "vaelab" or outside == 0
                    found.setdefault(method, []).append((scores, seconds, outside))
            for method, runs in found.items():
                by_observation = np.mean([scores for scores, _, _ in runs], 0)
                print(
                    f"| {name} | {size:,} | {method} | {by_observation.mean():.3f} | "
                    f"{', '.join(f'{value:.3f}' for value in by_observation)} | "
                    f"{statistics.mean(run[1] for run in runs):.0f} | {statistics.mean(run[2] for run in runs):.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
