"""Anomalies in tables: how well a VAE's bound finds them beside three usual detectors, and whether it flags as many
normal rows as promised.

    python benchmarks/anomaly_tables.py [--seeds 5] [--smoke]

Sets of which all detectors are trained on the same normal rows: breast cancer (malignant), wine (each class in turn)
and digits (class 8) held out; and a simulated process whose 16 sensors follow 4 causes, where one reading of a row is
that of another row, so that each column alone is as ever. The AUROC of normal rows never seen against anomalies, mean
and standard error over seeds; the VAE has its default settings, as have the others. Promised false alarms are those
of conformal p-values, found those among fresh normal rows of the process. It fails if the VAE is more than 0.05 worse
than the best of the others anywhere, or if false alarms are not what calibration rows allow.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

import vaelab
from vaelab.data import from_arrays

SENSORS, CAUSES, NOISE = 16, 4, 0.2
FRESH = 2000
PROMISED = (0.01, 0.05, 0.1)
WORSE = 0.05
SETS = ("breast cancer, malignant", "wine, class 0", "wine, class 1", "wine, class 2", "digits, class 8", "process")


def process(n: int, rng: np.random.Generator, loadings: Any) -> Any:
    """n rows of readings, which saturate."""
    causes = rng.normal(size=(n, CAUSES)) @ loadings
    return 3 * np.tanh(0.5 * causes) + 0.5 * causes + NOISE * rng.normal(size=(n, SENSORS))


def normal_and_not(name: str, seed: int, rows: int) -> tuple[Any, Any, Any]:
    """Normal rows to train on, normal rows never seen, and anomalies."""
    rng = np.random.default_rng(seed)
    if name == "process":
        loadings = rng.normal(size=(CAUSES, SENSORS))
        train, fresh, broken, others = (process(n, rng, loadings) for n in (rows, FRESH, 500, 500))
        swapped = np.arange(500), rng.integers(0, SENSORS, 500)
        broken[swapped] = others[swapped]
        return train, fresh, broken
    kind, _, held = name.partition(", ")
    bunch = getattr(datasets, f"load_{kind.replace(' ', '_')}")()
    held_out = 0 if held == "malignant" else int(held.split()[1])
    normal = rng.permutation(np.flatnonzero(bunch.target != held_out))
    most = int(0.8 * len(normal))
    return bunch.data[normal[:most]], bunch.data[normal[most:]], bunch.data[bunch.target == held_out]


def detectors(train: Any, rows: Any, seed: int) -> Iterator[tuple[str, Any]]:
    """Scores (n,) of rows, higher is stranger."""
    scaler = StandardScaler().fit(train)
    x, new = scaler.transform(train), scaler.transform(rows)
    yield "isolation forest", -IsolationForest(random_state=seed).fit(x).score_samples(new)
    yield "local outlier factor", -LocalOutlierFactor(novelty=True).fit(x).score_samples(new)
    pca = PCA(0.9).fit(x)
    yield "PCA error", np.square(new - pca.inverse_transform(pca.transform(new))).sum(1)


def measure(
    name: str, seed: int, arguments: argparse.Namespace
) -> tuple[dict[str, float], dict[float, tuple[int, Any]]]:
    """AUROC of each detector; false alarms among fresh normal rows by what is promised, and how many rows calibrate."""
    train, fresh, strange = normal_and_not(name, seed, arguments.rows)
    rows = np.concatenate([fresh, strange])
    is_strange = np.repeat([False, True], [len(fresh), len(strange)])
    with tempfile.TemporaryDirectory() as folder:
        data = from_arrays(train, name="normal", seed=seed)
        run = vaelab.train(data, {**arguments.settings, "seed": seed}, out=Path(folder) / "run", figures=False)
        found = vaelab.score_anomalies(run.model, rows, 0.1, data=data)
    scores = {"VAE": found.score, **dict(detectors(train, rows, seed))}
    alarms = {share: (int((found.p_value[~is_strange] <= share).sum()), found.calibration) for share in PROMISED}
    return {way: float(roc_auc_score(is_strange, score)) for way, score in scores.items()}, alarms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="not needed: the tables come with scikit-learn")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one small set, a few epochs")
    arguments = parser.parse_args()
    arguments.settings, arguments.rows, names = {}, 3000, SETS
    if arguments.smoke:
        arguments.settings, arguments.rows = {"epochs": 3, "hidden": "8", "latent_dim": 2}, 200
        arguments.seeds, names = 1, ("process",)
    ways = ("VAE", "isolation forest", "local outlier factor", "PCA error")
    print(f"| anomalies | {' | '.join(ways)} |\n|---|{'---:|' * len(ways)}", flush=True)
    behind, found = 0.0, []
    for name in names:
        found = [measure(name, seed, arguments) for seed in range(arguments.seeds)]
        columns = {way: [own[way] for own, _ in found] for way in ways}
        means = {way: statistics.fmean(values) for way, values in columns.items()}
        behind = max(behind, max(means.values()) - means["VAE"])
        print(f"| {name} | {' | '.join(summary(columns[way]) for way in ways)} |", flush=True)
    print(f"\n| promised false alarms | found among {FRESH:,} fresh rows of the process |\n|---:|---:|")
    for share in PROMISED:
        shares = [alarms[share][0] / FRESH for _, alarms in found]
        print(f"| {share:.0%} | {summary(shares)} |")
        # The share of normal rows beyond the k-th highest of m scores has a beta distribution, of mean k / (m + 1).
        m = len(found[0][1][share][1])
        spread = math.sqrt(share * (1 - share) * (1 / (m + 2) + 1 / FRESH) / len(shares))
        assert arguments.smoke or abs(statistics.fmean(shares) - share) < 4 * spread + 1 / (m + 1), (share, shares)
    assert arguments.smoke or behind <= WORSE, f"{behind:.3f} behind the best of the others"


def summary(values: list[float]) -> str:
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{error}"


if __name__ == "__main__":
    main()
