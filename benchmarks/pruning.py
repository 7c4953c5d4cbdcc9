"""What pruning loses and saves, by replay on studies without pruning; what other rules would.

    python benchmarks/pruning.py [--data DATA] [--curves FOLDER] [--workers N] [--only NAME] [--smoke]

Each study trains every trial to its end and keeps all learning curves (in --curves, where a later call finds them
again). The rule of vaelab.study.rungs is then replayed on them, cohort by cohort: it loses the final value of the best
survivor above that of the best trial, in nats per example and as a share of the gap from the model without latents to
the best trial; it saves the share of epochs not trained. It may lose 0.1 nats on average and 0.3 at most, and must save
half of the epochs of studies of 40 trials or more. Beside it: halving as until 2026-11 (rungs at 1/30, 1/10 and 1/2 of
the epochs, the better half of all that ever reported goes on).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sklearn import datasets

from vaelab.api.studies import tune
from vaelab.data import Dataset, from_arrays, load
from vaelab.study.config import cohort_size
from vaelab.study.rungs import rung_epochs, survivors
from vaelab.vae.spec import Spec

MEAN_NATS, MOST_NATS, LEAST_SAVING, MANY = 0.1, 0.3, 0.5, 40


@dataclasses.dataclass(frozen=True)
class Study:
    """A study to record: its data, number of trials, fixed settings and space (None: the default one)."""

    name: str
    data: Callable[[], Dataset]
    trials: int
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    space: dict[str, Any] | None = None
    seed: int = 10


def table(name: str) -> Callable[[], Dataset]:
    return lambda: from_arrays(getattr(datasets, f"load_{name}")().data, name=name)


def wide() -> Dataset:
    """1,100 x 200 with eight factors."""
    import numpy as np

    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(1100, 8)) @ rng.normal(size=(8, 200)) + rng.normal(size=(1100, 200)))


def mnist(folder: Path) -> Dataset:
    """10,000 training images."""
    whole = load("mnist", data_dir=folder)
    return from_arrays(whole.x[whole.splits["train"][:10_000]], name="mnist, 10,000")


def studies(folder: Path | None) -> list[Study]:
    digits = lambda: load("digits")  # noqa: E731
    found = [
        Study("digits", digits, 10),
        Study("digits", digits, 40),
        Study("digits, 60 epochs", digits, 200, {"epochs": 60}),
        Study("digits, one-cycle, 60 epochs", digits, 40, {"epochs": 60, "schedule": "one-cycle"}),
        Study("digits, constant, 60 epochs", digits, 40, {"epochs": 60, "schedule": "constant"}),
        Study("iris", table("iris"), 40),
        Study("wine", table("wine"), 20),
        Study("breast cancer", table("breast_cancer"), 40),
        Study("diabetes", table("diabetes"), 40),
        Study("1,100 x 200", wide, 20),
    ]
    if folder is not None:
        published = {"hidden": "64", "batch_size": 100, "epochs": 50}
        latents = {"latent_dim": (1, 20)}
        found += [
            Study(f"mnist, latent size, seed {s}", lambda: mnist(folder), 10, published, latents, s) for s in (0, 1)
        ]
        space = {"latent_dim": (2, 64, "log"), "width": (64, 256, "log"), "lr": (5e-4, 1e-2, "log")}
        found.append(Study("mnist, 20 epochs", lambda: mnist(folder), 40, {"epochs": 20}, space))
    return found


def record(study: Study, curves: Path, workers: int) -> dict[str, Any]:
    """The learning curves of a study without pruning: kept in a file, and read from it the next time."""
    kept = curves / f"{study.name.replace(' ', '-').replace(',', '')}-{study.trials}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        found = tune(
            study.data(), study.space, study.trials, settings=study.settings, seed=study.seed, prune=False,
            figures="none", final_seeds=1, finalists=1, workers=workers, out=Path(folder) / "study",
        )  # fmt: skip
        rows = []
        for row in found.trials:
            if row["state"] == "COMPLETE":
                history = (found.folder / row["folder"] / "history.jsonl").read_text().splitlines()
                records = [json.loads(line) for line in history]
                best = [[r["epoch"], r["validation"]["neg_elbo"]] for r in records if r["is_best"]]
                rows.append(
                    {"best": best, "epochs": row["epochs"], "value": row["value"], "ok": row["verdict"] == "ok"}
                )
        data, spec = found.results["data"], found.trials[0]["spec"]
    steps = -(-data["splits"]["train"] // spec["batch_size"])
    told = {
        "rows": rows, "epochs": spec["epochs"], "steps": steps, "no_latents": found.results["baseline"]["no_latents"],
    }  # fmt: skip
    curves.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(told))
    return told


def value_at(row: dict[str, Any], epoch: int) -> float:
    """The value of a trial's best weights up to an epoch."""
    seen = [value for at, value in row["best"] if at <= epoch]
    return float(seen[-1] if seen else row["best"][0][1])


Rule = Callable[[dict[int, dict[int, float]], list[int], int, float, list[float]], list[int]]


def replay(recorded: dict[str, Any], trials: int, rungs: list[int], rule: Rule) -> tuple[float, float, float]:
    """Nats lost, the same as a share of the gap in percent, and the share of epochs saved."""
    rows, cohort = recorded["rows"], cohort_size(trials)
    spent, finished, reports = 0, list[int](), dict[int, dict[int, float]]()
    best = math.inf  # of earlier cohorts
    for start in range(0, len(rows), cohort):
        live = list(range(start, min(start + cohort, len(rows))))
        reached = dict.fromkeys(live, 0)
        lowest = best
        for rung in rungs:
            earlier = [own[rung] for own in reports.values() if rung in own]
            for n in live:
                reports.setdefault(n, {})[rung] = value_at(rows[n], rung)
                reached[n] = min(rung, rows[n]["epochs"])
            lowest = min([lowest, *(reports[n][rung] for n in live)])
            kept = rule({n: reports[n] for n in live}, rungs, rung, lowest, earlier)
            live = [n for n in live if n in kept or n == 0]
        for n in live:
            reached[n] = rows[n]["epochs"]
            best = min(best, rows[n]["value"] if rows[n]["ok"] else math.inf)
        finished += live
        spent += sum(reached.values())
    able = [n for n, row in enumerate(rows) if row["ok"]] or list(range(len(rows)))
    winner = min(rows[n]["value"] for n in able)
    lost = min(rows[n]["value"] for n in finished if n in able) - winner
    whole = sum(row["epochs"] for row in rows)
    return lost, 100 * lost / (recorded["no_latents"] - winner), 1 - spent / whole


def rules(recorded: dict[str, Any]) -> dict[str, tuple[list[int], Rule]]:
    """vaelab's, and the one before."""
    epochs, steps = recorded["epochs"], recorded["steps"]
    stride = Spec(epochs=epochs).stride(steps)

    def ours(
        reports: dict[int, dict[int, float]], rungs: list[int], rung: int, best: float, earlier: list[float]
    ) -> list[int]:
        return survivors(reports, rungs, rung, epochs, best, earlier)

    def halving(
        reports: dict[int, dict[int, float]], rungs: list[int], rung: int, best: float, earlier: list[float]
    ) -> list[int]:
        everyone = sorted([*earlier, *(own[rung] for own in reports.values())])
        return [n for n, own in reports.items() if own[rung] <= everyone[math.ceil(len(everyone) / 2) - 1]]

    shares = sorted({max(1, math.ceil(share * epochs)) for share in (1 / 30, 0.1, 0.5)})
    return {
        "vaelab": (rung_epochs(epochs, steps, stride=stride), ours),
        "halving": ([rung for rung in shares if rung < epochs], halving),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that contains mnist/; then studies of MNIST are added")
    parser.add_argument("--curves", type=Path, help="keep the recorded curves in this folder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", help="studies whose name contains this")
    parser.add_argument("--smoke", action="store_true", help="check that it runs: one short study of a few trials")
    arguments = parser.parse_args()
    chosen = [study for study in studies(arguments.data) if (arguments.only or "") in study.name]
    if arguments.smoke:
        chosen, arguments.workers = [Study("digits", lambda: load("digits"), 4, {"epochs": 20, "hidden": "8"})], 1
    names = ["vaelab", "halving"]
    heads = " | ".join(f"{name}: nats lost | % of the gap | epochs saved" for name in names)
    print(f"| study | trials | epochs x steps | {heads} |\n|---|---:|---:|" + 6 * "---:|")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for study in chosen:
            recorded = record(study, arguments.curves or Path(folder), arguments.workers)
            cells: Sequence[str] = []
            for name, (rungs, rule) in rules(recorded).items():
                lost, share, saved = replay(recorded, study.trials, rungs, rule)
                found[name].append((lost, saved if study.trials >= MANY else 1.0))
                cells = [*cells, f"{lost:.3f} | {share:.2f} | {100 * saved:.0f} %"]
            budget = f"{recorded['epochs']} x {recorded['steps']}"
            print(f"| {study.name} | {study.trials} | {budget} | {' | '.join(cells)} |", flush=True)
    for name in names:
        lost, saved = zip(*found[name], strict=True)
        print(f"\n{name}: {statistics.fmean(lost):.3f} nats lost on average, {max(lost):.3f} at most")
    lost, saved = zip(*found["vaelab"], strict=True)
    if arguments.smoke:
        return
    assert statistics.fmean(lost) <= MEAN_NATS, "pruning loses too much on average"
    assert max(lost) <= MOST_NATS, "pruning loses too much in one study"
    assert min(saved) >= LEAST_SAVING, f"with {MANY} trials or more pruning must save half of the epochs"


if __name__ == "__main__":
    main()
