"""TPE against random search at equal budget on digits, 20 repeats, with standard errors.

    python benchmarks/samplers.py [--repeats 20] [--trials 30] [--smoke]

Each repeat is a study with its own seed for both samplers; the same cohorts, rungs and budget. Compared are the best
search value and the retrained winner's validation value, as means over repeats and of the paired difference.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path

from vaelab.api.studies import tune
from vaelab.data import load

SETTINGS = {"layers": 1}
SPACE = {
    "width": (16, 64, "log"), "latent_dim": (2, 32, "log"), "lr": (1e-4, 1e-1, "log"),
    "weight_decay": (1e-6, 1e-1, "log"), "dropout": (0.01, 0.5),
}  # fmt: skip


def summary(values: list[float]) -> str:
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one repeat of one trial")
    arguments = parser.parse_args()
    settings = SETTINGS
    if arguments.smoke:
        arguments.repeats, arguments.trials, settings = 1, 1, SETTINGS | {"epochs": 4}
    data = load("digits")
    best: dict[str, list[float]] = {"tpe": [], "random": []}
    retrained: dict[str, list[float]] = {"tpe": [], "random": []}
    for repeat in range(arguments.repeats):
        for sampler in best:
            with tempfile.TemporaryDirectory() as folder:
                study = tune(
                    data, SPACE, arguments.trials, settings=settings, seed=repeat, sampler=sampler, workers=1,
                    figures="none", final_seeds=1, out=Path(folder) / "study",
                )  # fmt: skip
            best[sampler].append(min(row["value"] for row in study.trials if row["value"] is not None))
            retrained[sampler].append(study.results["best"]["validation_mean"])
    print("| nats per example | search best | winner, retrained |\n|---|---:|---:|")
    for sampler in best:
        print(f"| {sampler} | {summary(best[sampler])} | {summary(retrained[sampler])} |")
    gains = [
        summary([r - t for t, r in zip(figures["tpe"], figures["random"], strict=True)])
        for figures in (best, retrained)
    ]
    print(f"| random - tpe, paired | {gains[0]} | {gains[1]} |")


if __name__ == "__main__":
    main()
