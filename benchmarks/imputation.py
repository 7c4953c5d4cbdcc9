"""Missing cells filled by the winner of a study, beside column means, nearest neighbours and iterative regression.

    python benchmarks/imputation.py [--data DATA] [--tables wine,mice,...] [--removed 0.1,0.3] [--seeds 3] [--trials 20]
        [--smoke]

Cells are removed at random from a table, every way fills the same ones from the same rest, and errors are in standard
deviations of the complete columns (RMSE over all removed cells), mean and standard error over seeds. The nearest
neighbours are the best of 3, 5 and 10, chosen on the removed cells themselves: a peer that knows the answer.
It fails if the winner is more than 5 % worse than the best of the others anywhere.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next import possible
from sklearn.impute import IterativeImputer, KNNImputer

from vaelab.api.studies import tune
from vaelab.data import from_arrays

WORSE = 1.05
TABLES = ("wine", "breast_cancer", "mice")


def table(name: str, data: Path | None) -> Any:
    """The complete values (n, D), NaN where a table as published has none."""
    if name != "mice":
        return getattr(datasets, f"load_{name}")().data
    assert data is not None, "mice needs --data"
    with open(data / "tables" / "mice.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array(
        [[float(cell) if cell.strip() not in ("", "NA", "?") else np.nan for cell in row[1:78]] for row in rows]
    )


def others(given: Any, seed: int) -> dict[str, Any]:
    """Peers fitted to the standardised columns that are left."""
    center, scale = np.nanmean(given, 0), np.nanstd(given, 0)
    standard = (given - center) / scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        filled = {"mean": np.where(np.isnan(standard), 0.0, standard)}
        for k in (3, 5, 10):
            filled[f"{k} neighbours"] = KNNImputer(n_neighbors=k, weights="distance").fit_transform(standard)
        filled["iterative"] = IterativeImputer(random_state=seed).fit_transform(standard)
    return {name: values * scale + center for name, values in filled.items()}


def errors(name: str, removed: float, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """RMSE of every way on the same removed cells."""
    x = table(name, arguments.data)
    hidden = (np.random.default_rng(seed).random(x.shape) < removed) & ~np.isnan(x)
    given = np.where(hidden, np.nan, x)
    scale = np.nanstd(x, 0)
    with tempfile.TemporaryDirectory() as folder:
        data = from_arrays(given, name=name, seed=seed, features=[f"c{i}" for i in range(x.shape[1])])
        study = tune(
            data, None, arguments.trials, settings=arguments.settings, seed=seed, workers=arguments.workers,
            figures="none", final_seeds=1, out=Path(folder) / "study",
        )  # fmt: skip
        filled = {"vaelab": study.best.impute(given)} | others(given, seed)
    return {way: math.sqrt(np.square(((own - x) / scale)[hidden]).mean()) for way, own in filled.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--removed", default="0.1,0.3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one small study")
    arguments = parser.parse_args()
    arguments.settings = {}
    if arguments.smoke:
        arguments.tables, arguments.removed, arguments.seeds, arguments.trials = "diabetes", "0.1", 1, 1
        arguments.settings = {"epochs": 40, "hidden": "8", "latent_dim": 4, "lr": 1e-2}
    print("| table | removed | vaelab | mean | nearest neighbours | iterative | vaelab / best of the others |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    worst = 0.0
    for name in arguments.tables.split(","):
        for removed in map(float, arguments.removed.split(",")):
            found = [errors(name, removed, seed, arguments) for seed in range(arguments.seeds)]
            columns = {way: [own[way] for own in found] for way in found[0]}
            columns["nearest"] = [min(own[way] for way in own if "neighbours" in way) for own in found]
            ratio = statistics.fmean(
                own / min(peers)
                for own, *peers in zip(
                    *(columns[way] for way in ("vaelab", "mean", "nearest", "iterative")), strict=True
                )
            )
            worst = max(worst, ratio)
            shown = [summary(columns[way]) for way in ("vaelab", "mean", "nearest", "iterative")]
            print(f"| {name} | {removed:.0%} | {' | '.join(shown)} | {ratio:.3f} |", flush=True)
    assert arguments.smoke or worst <= WORSE, f"{worst:.3f} of the error of the best other way"


def summary(values: list[float]) -> str:
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{error}"


if __name__ == "__main__":
    main()
