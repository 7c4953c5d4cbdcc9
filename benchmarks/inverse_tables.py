"""Do intervals of posterior draws hold what they promise? Public tables as inverse problems, and two noisy simulators.

    python benchmarks/inverse_tables.py [--data FOLDER] [--folds 5] [--smoke] [--only NAME]

Tables: some columns are x, the others y, without a forward function. Every row is tested once, by a model trained on
the other folds: the share of true x within central 50, 80 and 95 % intervals of 1,000 draws, over all inputs, and its
standard error over folds, which do not overlap. Simulators: ranks (SBC) and credible regions (TARP) on fresh pairs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from vaelab import ConditionalVAE

LEVELS = (0.5, 0.8, 0.95)
LARGEST = 0.05  # deviation of a coverage from its level, beyond two standard errors, that is accepted


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """x: body mass index, blood pressure; y: age, six serum measurements and the progression (Efron et al. 2004)."""
    table = load_diabetes(as_frame=True, scaled=False).frame.drop(columns="sex")
    return table[["bmi", "bp"]].to_numpy(), table.drop(columns=["bmi", "bp"]).to_numpy()


def wine(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """x: alcohol, pH; y: the other nine measurements (Cortez et al. 2009), without repeated rows."""
    table = pd.read_csv(folder / "tables" / "wine_red.csv", sep=None, engine="python").drop_duplicates()
    return table[["alcohol", "pH"]].to_numpy(), table.drop(columns=["alcohol", "pH", "quality"]).to_numpy()


def coverage(x: np.ndarray, y: np.ndarray, folds: int, fold: int, draws: int, **settings: object) -> list[float]:
    """The share of the true x of one fold within the central intervals of their draws, at each of LEVELS."""
    is_test = np.random.default_rng(0).permutation(len(x)) % folds == fold
    model = ConditionalVAE(seed=fold, **settings).fit(x[~is_test], y[~is_test])
    drawn = model.sample(y[is_test], draws, fold)
    ends = [np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=1) for level in LEVELS]
    return [float(((low <= x[is_test]) & (x[is_test] <= high)).mean()) for low, high in ends]


def ring(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared radius with noise: the posterior is a ring."""
    x = rng.uniform(-1, 1, (n, 2))
    return x, (x**2).sum(1) + 0.1 * rng.normal(size=n)


def decay(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight noisy points of a exp(-k t): amplitude and rate are correlated, and the rate may be unknown."""
    x = np.column_stack([rng.uniform(0.5, 2, n), rng.uniform(0, 3, n)])
    return x, x[:, :1] * np.exp(-x[:, 1:] * np.linspace(0, 2, 8)) + 0.1 * rng.normal(size=(n, 8))


def calibrated(simulate: Callable[..., tuple[np.ndarray, np.ndarray]], n: int, **settings: object) -> tuple[float, ...]:
    """The smallest p-value of SBC over the inputs, the p-value of TARP, and its coverage at each of LEVELS."""
    rng = np.random.default_rng(0)
    model = ConditionalVAE(**settings).fit(*simulate(rng, n))
    x, y = simulate(rng, 1_000 if n > 500 else 50)
    tarp = model.expected_coverage(x, y)
    return float(model.calibration(x, y).p_values.min()), tarp.p_value, *(tarp.at(level) for level in LEVELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("VAELAB_DATA"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", choices=("diabetes", "red wine", "ring", "decay"))
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    settings = {"epochs": 1, "hidden": "16", "flow": False} if given.smoke else {}
    tables = {"diabetes": diabetes()}
    if given.data is not None and not given.smoke:
        tables["red wine"] = wine(given.data)
    folds = 2 if given.smoke else given.folds
    heads = " | ".join(f"{100 * level:.0f} %" for level in LEVELS)
    print(f"| table | rows | x, y | {heads} |\n|---|---:|---|{'---:|' * len(LEVELS)}")
    far = 0.0
    for name, (x, y) in tables.items():
        if given.only not in (None, name):
            continue
        draws = 50 if given.smoke else 1_000
        found = np.array([coverage(x, y, folds, fold, draws, **settings) for fold in range(folds)])
        mean, error = found.mean(0), found.std(0, ddof=1) / np.sqrt(folds)
        far = max(far, float((np.abs(mean - LEVELS) - 2 * error).max()))
        cells = " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True))
        print(f"| {name} | {len(x)} | {x.shape[1]}, {y.shape[1]} | {cells} |", flush=True)
    print(f"\n| simulator | SBC, smallest p | TARP, p | {heads} |\n|---|---:|---:|{'---:|' * len(LEVELS)}")
    for simulate in (ring, decay):
        if given.only not in (None, simulate.__name__):
            continue
        sbc, tarp, *held = calibrated(simulate, 100 if given.smoke else 10_000, **settings)
        cells = " | ".join(f"{share:.3f}" for share in held)
        print(f"| {simulate.__name__} | {sbc:.2g} | {tarp:.2g} | {cells} |", flush=True)
    if not given.smoke and far > LARGEST:
        raise SystemExit(f"a coverage is {far:.3f} beyond two standard errors from its level")


if __name__ == "__main__":
    main()
