"""What `--for` buys: studies for density and for embedding on the same data, compared on the test split.

    python benchmarks/purposes.py [--sets digits,breast_cancer] [--data DATA] [--repeats 5] [--trials 20] [--smoke]

Repeat s is a study with seed s on the splits of seed s, for both purposes, with equal budgets. For each winner: the
accuracy of the linear probe and the negative ELBO on test, mean ± standard error over repeats, and the difference of
the two purposes, paired by repeat. The winner of a study is the mean over its retrained seeds. `digits_table` are the
digits as a table of 64 columns, for which the likelihood is Gaussian; `mice`, in DATA/tables, are 72 proteins measured
in mice of 8 classes (columns of which a tenth is missing and rows with missing values are left out).
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from vaelab.api.studies import tune
from vaelab.data import Dataset, from_arrays, load
from vaelab.use import load as load_model
from vaelab.vae.system import VAESystem

TABLES = {"digits_table": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
PURPOSES = ("density", "embedding")
METRICS = {"probe": "probe accuracy", "neg_elbo": "negative ELBO, nats per example"}


def mice(folder: Path, seed: int) -> Dataset:
    with (folder / "tables" / "mice.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    x = np.array([[float(text) if text else np.nan for text in row[1:78]] for row in rows])
    x = x[:, np.isnan(x).mean(0) < 0.1]
    whole = ~np.isnan(x).any(1)
    labels = np.array([row[header.index("class")] for row in rows])
    return from_arrays(x[whole], labels[whole], name="mice", seed=seed)


def data_of(name: str, seed: int, folder: Path | None) -> Dataset:
    if name == "mice":
        if folder is None:
            raise SystemExit("mice need --data, the folder that contains tables/")
        return mice(folder, seed)
    if name not in TABLES:
        return load(name, seed=seed)
    x, y = TABLES[name](return_X_y=True)
    return from_arrays(x, y, name=name, seed=seed)


def judged(data: Dataset, purpose: str, seed: int, trials: int, settings: dict[str, int]) -> dict[str, float]:
    """Both metrics on test of a study's winner: means over its seeds."""
    both = VAESystem("neg_elbo,probe")
    with tempfile.TemporaryDirectory() as folder:
        study = tune(
            data, None, trials, purpose=purpose, settings=settings, seed=seed, workers=1, figures="none",
            out=Path(folder) / "study",
        )  # fmt: skip
        if study.best is None:
            raise SystemExit(f"{data.name}, seed {seed}: {study.results['notes'][0]}")
        number = study.results["best"]["number"]
        runs = sorted((study.folder / "finals").glob(f"{number:04d}-*"))
        found = [both.test(load_model(run), data) for run in runs]
    return {name: statistics.fmean(one[name] for one in found) for name in METRICS}


def summary(values: list[float]) -> str:
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default="digits,breast_cancer", help=f"digits, {', '.join(TABLES)} or mice")
    parser.add_argument("--data", type=Path, help="folder that contains tables/")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one repeat of two trials")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.sets, arguments.repeats, arguments.trials = "wine", 1, 2
    settings = {"epochs": 3} if arguments.smoke else {}
    for name in arguments.sets.split(","):
        found: dict[str, list[dict[str, float]]] = {purpose: [] for purpose in PURPOSES}
        for seed in range(arguments.repeats):
            data = data_of(name, seed, arguments.data)
            for purpose in PURPOSES:
                found[purpose].append(judged(data, purpose, seed, arguments.trials, settings))
        print(f"\n| {name}, test | {' | '.join(METRICS.values())} |\n|---|---:|---:|")
        for seed in range(arguments.repeats):
            for purpose in PURPOSES:
                values = (f"{found[purpose][seed][metric]:.4f}" for metric in METRICS)
                print(f"| {purpose}, seed {seed} | {' | '.join(values)} |")
        for purpose in PURPOSES:
            means = (summary([one[metric] for one in found[purpose]]) for metric in METRICS)
            print(f"| **{purpose}** | {' | '.join(means)} |")
        pairs = list(zip(*(found[purpose] for purpose in PURPOSES), strict=True))
        gains = (summary([b[metric] - a[metric] for a, b in pairs]) for metric in METRICS)
        print(f"| embedding - density, paired | {' | '.join(gains)} |", flush=True)


if __name__ == "__main__":
    main()
