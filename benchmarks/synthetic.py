"""Synthetic rows of the winner of a study, judged; beside rows with columns drawn independently of each other.

    python benchmarks/synthetic.py [--data DATA] [--tables wine,heart,penguins] [--trials 20] [--draws 3] [--smoke]

For each table: rows drawn from the prior, from a mixture fitted to the latents, and training rows whose columns are
permuted, one by one: right columns without dependence. AUC of boosting against test and against training rows, mean
distance of columns, mean difference of associations, median distance from the nearest training row, and the score of
boosting on test rows that learned from them (mean over the five targets), each beside what training or test rows have.

It fails if permuted columns are closer to test rows in their associations than the model's rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_wine

import vaelab
from vaelab.data import from_arrays
from vaelab.data.writing import written_columns
from vaelab.synthetic import boosting

TABLES = {"heart": "heart_cleveland.data", "penguins": "penguins_raw.csv"}
HEADS = ("AUC, test rows", "AUC, training rows", "columns", "pairs", "nearest", "learned from")


def data_of(name: str, folder: Path | None) -> Any:
    if name == "wine":
        wine = load_wine()
        return from_arrays(wine.data, name=name, features=wine.feature_names)
    assert folder is not None, f"{name} needs --data"
    return vaelab.data.load(folder / "tables" / TABLES[name])


def permuted(data: Any, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    train = data.rows("train").astype(np.float64)
    return written_columns(np.stack([rng.permutation(values) for values in train.T], 1), data.columns)


def figures(found: dict[str, Any], floor: bool = False) -> list[float]:
    """The figures of a table's row; of training rows where `floor`, of test rows for the nearest training row."""
    apart, pairs, each = found["two_sample"], found["associations"], found["marginals"]
    return [
        apart["train" if floor else "synthetic"]["auc"],
        float("nan") if floor else apart["synthetic_from_train"]["auc"],
        statistics.fmean(own["of_training" if floor else "distance"] for own in each),
        pairs["of_training" if floor else "difference"],
        found["nearest"]["median"]["test" if floor else "synthetic"],
        statistics.fmean(own["real" if floor else "synthetic"] for own in found["usefulness"]),
    ]


def row(table: str, rows: str, values: list[list[float]]) -> list[float]:
    means = [statistics.fmean(own) for own in zip(*values, strict=True)]
    print(f"| {table} | {rows} | {' | '.join('' if v != v else f'{v:.3f}' for v in means)} |", flush=True)
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", help="default: wine, and with --data heart and penguins")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--draws", type=int, default=3, help="sets of rows of each kind")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one short trial, one draw")
    arguments = parser.parse_args()
    settings: dict[str, Any] = {}
    if arguments.smoke:
        boosting.ROUNDS, boosting.REPEATS = 5, 1
        arguments.trials, arguments.draws, settings = 1, 1, {"epochs": 150, "hidden": "8", "latent_dim": 2, "lr": 1e-2}
    print(f"| table | rows | {' | '.join(HEADS)} |\n|---|---|{'---:|' * len(HEADS)}", flush=True)
    default = ["wine", *(TABLES if arguments.data else ())]
    for name in arguments.tables.split(",") if arguments.tables else default:
        data = data_of(name, arguments.data)
        with tempfile.TemporaryDirectory() as folder:
            best = vaelab.tune(
                data, None, arguments.trials, settings=settings, workers=arguments.workers, figures="none",
                final_seeds=1 if arguments.smoke else None, out=Path(folder) / "study",
            ).best  # fmt: skip
            assert best is not None
            judged = {
                kind: [
                    vaelab.judge_synthetic(best, data=data, seed=seed, out=Path(folder) / f"{kind}{seed}", **how(seed))
                    for seed in range(arguments.draws)
                ]
                for kind, how in {
                    "prior": lambda seed: {},
                    "fitted": lambda seed: {"prior": "fitted"},
                    "permuted": lambda seed, data=data: {"rows": permuted(data, seed)},
                }.items()
            }
        means = {kind: row(name, kind, [figures(own) for own in found]) for kind, found in judged.items()}
        row(name, "real", [figures(own, floor=True) for own in judged["prior"]])
        assert arguments.smoke or means["prior"][3] < means["permuted"][3], "no dependence is learned"


if __name__ == "__main__":
    main()
