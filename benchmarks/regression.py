"""Searched regressors beside ridge regression and gradient boosting, and what their 90 % intervals cover.

    python benchmarks/regression.py [--data DATA] [--tables diabetes,range] [--seeds 3] [--trials 12] [--workers N]
    python benchmarks/regression.py --smoke

R² and log-density (nats) on test, means over seeds of split and study: of the winner of a default search, of ridge
regression and of gradient boosting on the same rows; and the coverage of the winner's intervals. For simulated tables
also those of the true function with its true noise, which no model exceeds but by chance.

Tables: diabetes (scikit-learn), red wine (DATA/tables/wine_red.csv), Friedman 1 with noise 1 (Friedman 1991), and the
range of a projectile with quadratic drag, measured with an error of 0.5 m and 2 % of the range.

Asserted: intervals cover 0.9 of the test rows within 4 standard errors of the calibration and test rows, and on the two
simulated tables the winner's R² is at least 0.97 of the true function's.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn import datasets
from sklearn.metrics import r2_score

import vaelab
from vaelab.data import Dataset, from_arrays, load

Array = npt.NDArray[np.float64]
ROWS = 1000
Truth = Callable[[Array], tuple[Array, Array]]  # mean and standard deviation of the target


def friedman(x: Array) -> tuple[Array, Array]:
    """Friedman 1 of rows (n, 10), with noise of standard deviation 1."""
    mean = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return mean, np.ones(len(x))


def flight(x: Array) -> tuple[Array, Array]:
    """The range in metres of projectiles, rows (n, 3) of speed in m/s, angle in degrees and drag in 1/m.

    v' = -k |v| v - g, in steps of 10 ms by the midpoint rule until each is back on the ground.
    """
    speed, angle, drag = x[:, 0], np.radians(x[:, 1]), x[:, 2]
    place, velocity = np.zeros((2, len(x))), speed * np.array([np.cos(angle), np.sin(angle)])
    found, step = np.zeros(len(x)), 0.01

    def acceleration(v: Array) -> Array:
        return -drag * np.hypot(*v) * v - np.array([[0.0], [9.81]])

    while (found == 0).any():
        middle = velocity + step / 2 * acceleration(velocity)
        ahead = place + step * middle
        landed = (ahead[1] <= 0) & (found == 0)
        share = place[1] / np.maximum(place[1] - ahead[1], 1e-12)
        found[landed] = (place[0] + share * (ahead[0] - place[0]))[landed]
        velocity, place = velocity + step * acceleration(middle), ahead
    return found, 0.5 + 0.02 * found


def simulated(truth: Truth, low: list[float], high: list[float], n: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, size=(n, len(low)))
    mean, noise = truth(x)
    return from_arrays(x, mean + noise * rng.normal(size=n), numeric=True, seed=seed)


SIMULATED: dict[str, tuple[Truth, list[float], list[float]]] = {
    "friedman": (friedman, [0.0] * 10, [1.0] * 10),
    "range": (flight, [10.0, 10.0, 0.0], [60.0, 80.0, 0.02]),
}


def tables(data: str | None, chosen: str | None) -> list[str]:
    known = ["diabetes", *(["wine"] if data else []), *SIMULATED]
    names = known if chosen is None else chosen.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"unknown table {name}; known: {', '.join(known)}{'' if data else '; wine needs --data'}")
    return names


def read(name: str, data: str | None, n: int, seed: int) -> Dataset:
    if name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True)
        return from_arrays(x, y, numeric=True, seed=seed)
    if name == "wine":
        return load(Path(str(data)) / "tables" / "wine_red.csv", target="quality", numeric=True, seed=seed)
    return simulated(*SIMULATED[name], n, seed)


def measure(name: str, found: Dataset, folder: Path, seed: int, trials: int, **options: Any) -> dict[str, float]:
    study = vaelab.regress(found, trials=trials, seed=seed, figures="none", out=folder, **options)
    test = study.results["best"]["test"]
    simpler = {own["name"]: own["test"] for own in study.results["baselines"]}
    measured = {"coverage": test["interval"]["coverage"]}
    for model, own in (("winner", test), *((key, simpler[full]) for key, full in KINDS.items())):
        measured |= {f"{model} R²": own["r2"], f"{model} nats": own["log_density"]}
    if name in SIMULATED:
        rows = found.splits["test"]
        mean, noise = SIMULATED[name][0](found.flat[rows].astype(np.float64))
        assert found.targets is not None
        y = found.targets[rows]
        measured |= {"true R²": r2_score(y, mean), "true nats": float(stats.norm.logpdf(y, mean, noise).mean())}
    counts = [len(found.splits[split]) for split in ("validation", "test")]
    return measured | {"error": math.sqrt(0.09 * sum(1 / count for count in counts))}


KINDS = {"ridge": "ridge regression", "boosting": "gradient boosting"}
HEADS = ("winner R²", "ridge R²", "boosting R²", "true R²", "winner nats", "ridge nats", "boosting nats", "true nats")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VAELAB_DATA"))
    parser.add_argument("--tables")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--smoke", action="store_true", help="the same on 120 rows of the ranges, asserting nothing")
    given = parser.parse_args()
    names = ["range"] if given.smoke else tables(given.data, given.tables)
    seeds, trials, n = (1, 2, 120) if given.smoke else (given.seeds, given.trials, ROWS)
    options: dict[str, Any] = {"workers": given.workers}
    if given.smoke:
        options = {"workers": 1, "settings": {"epochs": 3}}
    print(f"| table | {' | '.join(HEADS)} | coverage |\n|---|{'---|' * (len(HEADS) + 1)}")
    failures = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                measure(name, read(name, given.data, n, seed), Path(folder) / str(seed), seed, trials, **options)
                for seed in range(seeds)
            ]
        cells = [_mean(runs, head) for head in (*HEADS, "coverage")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        covered = statistics.fmean(run["coverage"] for run in runs)
        error = statistics.fmean(run["error"] for run in runs) / math.sqrt(len(runs))
        if abs(covered - 0.9) > 4 * error:
            failures.append(f"{name}: intervals of 0.9 cover {covered:.3f}, more than 4 x {error:.3f} away")
        if name in SIMULATED:
            own, true = (statistics.fmean(run[head] for run in runs) for head in ("winner R²", "true R²"))
            if own < 0.97 * true:
                failures.append(f"{name}: R² {own:.3f}, that of the true function {true:.3f}")
    if failures and not given.smoke:
        raise SystemExit("\n".join(failures))


def _mean(runs: list[dict[str, float]], name: str) -> str:
    """Mean over seeds and its standard error; – for a table that is not simulated."""
    values = [run[name] for run in runs if name in run]
    if not values:
        return "–"
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{error}"


if __name__ == "__main__":
    main()
