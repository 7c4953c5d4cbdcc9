"""The cost and savings of rungs, replayed on studies without pruning.

    python benchmarks/pruning.py [--data DATA] [--workers N] [--smoke]

Three unpruned studies give every trial's loss at every epoch. The rule of vaelab.study.rungs is then replayed on the
recorded figures, cohort by cohort: its cost is the final figure of the best survivor above that of the best trial, its
saving the share of epochs not spent. It must cost at most 0.2 nats and save at least half. The rungs were chosen on
studies with other seeds than these.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from scipy.stats import spearmanr

from vaelab.api import tune
from vaelab.data import Dataset, load
from vaelab.study.rungs import rung_epochs, survivors

MOST_NATS, LEAST_SAVING = 0.2, 0.5


def record(data: Dataset, settings: dict[str, object], trials: int, seed: int, workers: int) -> list[list[float]]:
    """Validation neg_elbo after every epoch, then the final figure, of every trial of an unpruned random search."""
    with tempfile.TemporaryDirectory() as folder:
        study = tune(
            data, trials=trials, settings=settings, seed=seed, sampler="random", prune=False, figures="none",
            final_seeds=1, workers=workers, out=Path(folder) / "study",
        )  # fmt: skip
        curves = []
        for row in study.trials:
            history = (study.folder / row["folder"] / "history.jsonl").read_text().splitlines()
            curves.append([json.loads(line)["validation"]["neg_elbo"] for line in history] + [row["value"]])
    return curves


def replay(curves: list[list[float]], cohort: int) -> tuple[float, float, list[float]]:
    """Nats lost, share of epochs saved, and the rank correlation of each rung with the end."""
    epochs = len(curves[0]) - 1
    rungs = rung_epochs(epochs)
    reported: dict[int, dict[int, float]] = {rung: {} for rung in rungs}
    spent, finished = 0, []
    for start in range(0, len(curves), cohort):
        live, done = list(range(start, min(start + cohort, len(curves)))), 0
        for rung in rungs:
            spent += (rung - done) * len(live)
            done = rung
            values = {n: curves[n][rung - 1] for n in live}
            live = survivors(values, reported[rung])
            reported[rung].update(values)
        spent += (epochs - done) * len(live)
        finished += live
    best = min(curve[-1] for curve in curves)
    lost = min(curves[n][-1] for n in finished) - best
    correlations = [spearmanr([c[rung - 1] for c in curves], [c[-1] for c in curves]).statistic for rung in rungs]
    return lost, 1 - spent / (epochs * len(curves)), correlations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that contains mnist/; then one of the studies is on MNIST")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one study of a few trials")
    arguments = parser.parse_args()
    small = {"width": 64, "layers": 2}
    studies = [("digits", load("digits"), {}, 40, 10), ("digits, other seed", load("digits"), {}, 40, 11)]
    if arguments.smoke:
        studies, arguments.workers = [("digits, 2 epochs", load("digits"), {"epochs": 2}, 2, 10)], 1
    elif arguments.data:
        studies.append(("mnist, 9 epochs", load("mnist", data_dir=arguments.data), small | {"epochs": 9}, 20, 12))
    else:
        studies.append(("digits, 60 epochs", load("digits"), {"epochs": 60}, 40, 12))
    print("| study | trials | epochs | rank correlation of the rungs | nats lost | epochs saved |")
    print("|---|---:|---:|---|---:|---:|")
    worst, least = 0.0, 1.0
    for name, data, settings, trials, seed in studies:
        curves = record(data, settings, trials, seed, arguments.workers)
        lost, saved, correlations = replay(curves, cohort=max(4, -(-trials // 5)))
        ranks = ", ".join(f"{c:.2f}" for c in correlations)
        print(f"| {name} | {trials} | {len(curves[0]) - 1} | {ranks} | {lost:.3f} | {100 * saved:.0f} % |", flush=True)
        worst, least = max(worst, lost), min(least, saved)
    if arguments.smoke:
        return
    assert worst <= MOST_NATS, f"pruning lost {worst:.3f} nats, more than {MOST_NATS}"
    assert least >= LEAST_SAVING, f"pruning saved {least:.2f} of the epochs, less than {LEAST_SAVING}"


if __name__ == "__main__":
    main()
