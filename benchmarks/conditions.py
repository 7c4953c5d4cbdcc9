"""Conditions: what the latents still hold of a batch effect, and samples given sex and island beside the data.

    python benchmarks/conditions.py [--data DATA] [--trials 10] [--seeds 3] [--smoke]

Cells of four groups on five factors get a shift of every column, and a change of its scale, by one of three batches. A
default study is run with and without `condition = batch`: shown are the adjusted Rand index of a Gaussian mixture on
the latents with the groups, and the accuracy with which boosting predicts the batch from them in held-out rows.

With --data, penguins given sex and island: means, standard deviations and shares of species of 2,000 draws beside those
of the data.

It fails if the batch is predicted more than 4 standard errors above chance, or groups agree less than without.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

import vaelab
from vaelab.data import from_arrays
from vaelab.data.columns import Column
from vaelab.vae.leakage import leakage

GROUPS, FACTORS, BATCHES, DRAWS = 4, 5, 3, 2_000
PENGUINS = {
    "id": "Individual ID", "drop": ["studyName", "Sample Number", "Region", "Stage", "Comments", "Date Egg"],
    "condition": ["Sex", "Island"],
}  # fmt: skip


def cells(rows: int, columns: int, seed: int) -> tuple[dict[str, Any], Any, Any]:
    """A table, the group of each row, and its batch; groups are as frequent in each batch."""
    rng = np.random.default_rng(seed)
    group, batch = rng.integers(GROUPS, size=rows), rng.integers(BATCHES, size=rows)
    z = 2.5 * rng.normal(size=(GROUPS, FACTORS))[group] + 0.6 * rng.normal(size=(rows, FACTORS))
    x = z @ rng.normal(size=(FACTORS, columns))
    x = x * np.exp(0.2 * rng.normal(size=(BATCHES, columns)))[batch] + 3 * rng.normal(size=(BATCHES, columns))[batch]
    x += rng.normal(size=x.shape)
    table: dict[str, Any] = {f"gene{j}": x[:, j] for j in range(columns)}
    return table | {"batch": np.array(["A", "B", "C"], dtype=object)[batch]}, group, batch


def batches(arguments: argparse.Namespace) -> None:
    print("| seed | condition | ARI of groups | batch from the latents | chance | batch from the columns |")
    print("|---:|---|---:|---:|---:|---:|", flush=True)
    for seed in range(arguments.seeds):
        table, group, _ = cells(arguments.rows, arguments.columns, seed)
        agreement = {}
        for condition in ((), ("batch",)):
            own = table if condition else {name: values for name, values in table.items() if name != "batch"}
            data = from_arrays(own, seed=seed, condition=condition)
            with tempfile.TemporaryDirectory() as folder:
                best = vaelab.tune(
                    data, None, arguments.trials, settings=arguments.settings, seed=seed, workers=arguments.workers,
                    figures="none", final_seeds=1, out=Path(folder) / "study",
                ).best  # fmt: skip
            mixture = GaussianMixture(GROUPS, n_init=5, random_state=0)
            agreement[bool(condition)] = float(adjusted_rand_score(group, mixture.fit_predict(best.encode(data.x)[0])))
            told = (leakage(best, data) or [None])[0]
            shown = (
                "" if told is None
                else f"{told['latents']:.3f} ± {told['se']:.3f} | {told['chance']:.3f} | {told['columns']:.3f}"
            )  # fmt: skip
            print(
                f"| {seed} | {'batch' if condition else 'none'} | {agreement[bool(condition)]:.3f} | {shown} |",
                flush=True,
            )
            assert arguments.smoke or told is None or told["latents"] < told["chance"] + 4 * told["se"], "a leak"
        assert arguments.smoke or agreement[True] >= agreement[False], "the groups are lost"


def penguins(arguments: argparse.Namespace) -> None:
    data = vaelab.data.load(arguments.data / "tables" / "penguins_raw.csv", **PENGUINS)
    with tempfile.TemporaryDirectory() as folder:
        best = vaelab.tune(
            data, None, arguments.trials, settings=arguments.settings, workers=arguments.workers, figures="none",
            final_seeds=1, out=Path(folder) / "study",
        ).best  # fmt: skip
    at = {column.name: j for j, column in enumerate(data.columns)}
    sex, island = data.columns[at["Sex"]], data.columns[at["Island"]]
    numbers = [j for j, column in enumerate(data.columns) if not column.has_levels]
    print("\n| sex | island | penguins | column | mean | of draws | sd | of draws | species | of draws |")
    print("|---|---|---:|---|---:|---:|---:|---:|---|---|")
    for s in sex.values:
        for i in island.values:
            rows = data.flat[(data.flat[:, at["Sex"]] == s) & (data.flat[:, at["Island"]] == i)]
            if len(rows) < 10:
                continue
            given = {"Sex": level(sex, s), "Island": level(island, i)}
            made = best.sample(DRAWS, noise=True, given=given)
            for j in numbers:
                real, drawn = rows[:, j][~np.isnan(rows[:, j])], made[:, j]
                told = [real.mean(), drawn.mean(), real.std(), drawn.std()]
                print(
                    f"| {given['Sex']} | {given['Island']} | {len(rows)} | {data.columns[j].name} | "
                    f"{' | '.join(f'{value:.4g}' for value in told)} | {shares(rows, data, at)} | "
                    f"{shares(made, data, at)} |",
                    flush=True,
                )


def shares(rows: Any, data: Any, at: dict[str, int]) -> str:
    column = data.columns[at["Species"]]
    found = [
        (name.split()[0], float((rows[:, at["Species"]] == v).mean()))
        for name, v in zip(column.levels, column.values, strict=True)
    ]
    return ", ".join(f"{name} {share:.0%}" for name, share in found if share > 0.005)


def level(column: Column, value: float) -> str:
    return column.levels[column.values.index(value)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: few cells, one short trial")
    arguments = parser.parse_args()
    arguments.settings = {}
    if arguments.smoke:
        arguments.rows, arguments.columns, arguments.trials, arguments.seeds = 200, 6, 1, 1
        arguments.settings = {"epochs": 60, "hidden": "8", "latent_dim": 3, "lr": 1e-2}
    batches(arguments)
    if arguments.data is not None:
        penguins(arguments)


if __name__ == "__main__":
    main()
