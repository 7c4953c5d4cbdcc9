"""What a default search finds in tables nobody tuned it for, beside its own defaults and simpler models.

    python benchmarks/tables.py [--data DATA] [--tables iris,wine] [--seeds 3] [--trials 20] [--workers N] [--smoke]

Test neg_elbo in nats per example, means over seeds of split and study: of the winner of a default search, of trial 0
(the defaults, a finalist unless it collapsed), of the default model after 1,000 epochs, and the exact -log p(x) of
factor analysis and probabilistic PCA. The winner must not be worse than trial 0 by more than 2 standard errors of the
paired difference, and its importance-weighted bound not worse than factor analysis by more than 2 standard errors: the
ELBO itself may be, by the gap of its bound.

Tables of scikit-learn, and those in DATA/tables after the obvious cleaning:
numeric columns, rows or columns with missing values left out.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import datasets

import vaelab
from vaelab.data import Dataset, from_arrays

Table = npt.NDArray[np.float64]
DRAWS = 64
LONG = 1_000  # epochs
PENGUINS = (
    "Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)", "Delta 15 N (o/oo)",
    "Delta 13 C (o/oo)",
)  # fmt: skip


def cells(path: Path, delimiter: str) -> tuple[list[str], Table]:
    """Header and cells; what is not a number is NaN."""

    def value(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return math.nan

    with path.open(newline="") as file:
        header, *rows = csv.reader(file, delimiter=delimiter)
    whole = [row for row in rows if len(row) == len(header)]
    return header, np.array([[value(text) for text in row] for row in whole])


def complete(x: Table) -> Table:
    """Without columns of which a tenth is missing, then without rows with missing values."""
    x = x[:, np.isnan(x).mean(0) < 0.1]
    return x[~np.isnan(x).any(1)]


def penguins(folder: Path) -> Table:
    header, x = cells(folder / "penguins_raw.csv", ",")
    return complete(x[:, [header.index(name) for name in PENGUINS]])


def of_scikit_learn(name: str) -> Callable[[Path], Table]:
    return lambda folder: np.asarray(getattr(datasets, f"load_{name}")().data, dtype=np.float64)


TABLES: dict[str, Callable[[Path], Table]] = {
    "iris": of_scikit_learn("iris"),
    "wine": of_scikit_learn("wine"),
    "breast cancer": of_scikit_learn("breast_cancer"),
    "diabetes": of_scikit_learn("diabetes"),
    "digits as a table": of_scikit_learn("digits"),
    "penguins": penguins,
    "red wine": lambda folder: complete(cells(folder / "wine_red.csv", ";")[1])[:, :-1],
    "heart": lambda folder: complete(cells(folder / "heart_cleveland.data", "\t")[1])[:, :-1],
    "mice": lambda folder: complete(cells(folder / "mice.csv", ",")[1]),
    "pasilla (log)": lambda folder: np.log1p(cells(folder / "pasilla.csv", ",")[1][:, 1:]),
}
PUBLIC = ("iris", "wine", "breast cancer", "diabetes", "digits as a table")


def load(name: str, folder: Path, seed: int) -> Dataset:
    x = TABLES[name](folder)
    return from_arrays(x, name=name, seed=seed, features=[f"c{i}" for i in range(x.shape[1])])


def costs(run: Path, data: Dataset) -> Table:
    """neg_elbo (N,) of a run on the test split."""
    return -np.asarray(vaelab.load(run).score_samples(data.rows("test"), DRAWS))


def measure(
    name: str, data: Dataset, seed: int, trials: int, epochs: int, workers: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """The figures of one seed; finalists by the mean of their seeds."""
    with tempfile.TemporaryDirectory() as folder:
        study = vaelab.tune(
            data, trials=trials, seed=seed, settings=settings, workers=workers, figures="none",
            out=Path(folder) / "study",
        )  # fmt: skip
        long = vaelab.train(data, {"epochs": epochs, "seed": seed}, figures=False, out=Path(folder) / "long")
        found: dict[str, Any] = {"after long": float(costs(long.folder, data).mean())}
        found |= {own["name"]: own["test"] for own in study.results["baseline"]["structured"]}
        if study.best is None:
            raise SystemExit(f"{name}, seed {seed}: {study.results['notes'][0]}")
        for label, number in ("winner", study.results["best"]["number"]), ("trial 0", 0):
            # Trial 0 is not among the finalists if it collapsed.
            runs = sorted((study.folder / "finals").glob(f"{number:04d}-*")) or [
                study.folder / study.trials[0]["folder"]
            ]
            found[f"{label} rows"] = np.mean([costs(run, data) for run in runs], 0)
            found[label] = float(found[f"{label} rows"].mean())
            models = [vaelab.load(run) for run in runs]
            found[f"{label} bound"] = statistics.fmean(
                model.importance_bound(data, "test", DRAWS).neg_log_p for model in models
            )
    return found


def told(values: list[float]) -> str:
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that contains tables/; without it only scikit-learn's")
    parser.add_argument("--tables", help="some of them, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: iris, one seed of two short trials")
    arguments = parser.parse_args()
    names = list(TABLES) if arguments.data else list(PUBLIC)
    if arguments.tables:
        names = arguments.tables.split(",")
    epochs, settings = LONG, dict[str, Any]()
    if arguments.smoke:
        settings = {"epochs": 100}
        names, arguments.seeds, arguments.trials, arguments.workers, epochs = ["iris"], 1, 2, 1, 10
    folder = (arguments.data or Path()) / "tables"
    heads = ["winner", "winner, bound", "trial 0", f"{epochs:,} epochs", "factor analysis", "probabilistic PCA"]
    print(f"| table | rows x columns | {' | '.join(heads)} | winner - trial 0, paired |\n|---|---|" + 7 * "---:|")
    faults = []
    for name in names:
        of_seeds, gaps, errors = [], [], []
        for seed in range(arguments.seeds):
            data = load(name, folder, seed)
            found = measure(name, data, seed, arguments.trials, epochs, arguments.workers, settings)
            difference = found["winner rows"] - found["trial 0 rows"]
            gaps.append(float(difference.mean()))
            errors.append(float(difference.std()) / math.sqrt(len(difference)))
            of_seeds.append(found)
        keys = ["winner", "winner bound", "trial 0", "after long", "factor analysis", "probabilistic PCA"]
        columns = {key: [found[key] for found in of_seeds] for key in keys}
        gap, error = statistics.fmean(gaps), math.sqrt(sum(e * e for e in errors)) / len(errors)
        shape = "{} x {}".format(*data.x.shape)
        figures = " | ".join(told(columns[key]) for key in keys)
        print(f"| {name} | {shape} | {figures} | {gap:+.2f} ± {error:.2f} |", flush=True)
        excess = [w - f for w, f in zip(columns["winner bound"], columns["factor analysis"], strict=True)]
        spread = statistics.stdev(excess) / math.sqrt(len(excess)) if len(excess) > 1 else math.inf
        if gap > 2 * error:
            faults.append(f"{name}: the winner is {gap:.2f} ± {error:.2f} nats worse than trial 0")
        if statistics.fmean(excess) > 2 * spread:
            faults.append(f"{name}: the winner's bound is {statistics.fmean(excess):.2f} above factor analysis")
    if faults and not arguments.smoke:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
