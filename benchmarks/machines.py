"""A study on two Ray nodes of this machine beside two local workers; nodes and the parent are killed on the way.

    python benchmarks/machines.py [--kills 10] [--seed 0] [--smoke]    # needs Ray: pip install 'vaelab[ray]'

Prints how many figures (values of trials and finalists, and the winner's weights) differ from those of two local
workers, without deaths, with a node killed at random moments (a new one joins each time), and with the parent killed
at random moments and resumed. All must be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

OPTIONS = ["--epochs", "60", "--set", "width=128", "--search", "latent_dim=2..16", "--search", "lr=1e-4..1e-1:log"]
OPTIONS += ["--trials", "40", "--figures", "none", "--seed", "1"]
SHORT = ["--epochs", "2", "--search", "latent_dim=2..3", "--trials", "2", "--figures", "none", "--final-seeds", "1"]
LONGEST = 12.0  # seconds from one killing to the next, at most
VAELAB = [sys.executable, "-m", "vaelab"]


def figures(folder: Path) -> dict[str, Any]:
    """What must be the same: not seconds, nor where the study is."""
    results = json.loads((folder / "results.json").read_text())
    rows = [{name: row[name] for name in ("number", "state", "params", "value", "rungs")} for row in results["table"]]
    weights = load_file(folder / "best" / "model.safetensors")
    found: dict[str, Any] = {f"trial {row['number']}": row for row in rows}
    found |= {f"finalist {each['number']}": each for each in results["finalists"]}
    return found | {f"weights {name}": array.tobytes() for name, array in weights.items()}


def compare(case: str, folder: Path, expected: dict[str, Any], kills: int, began: float) -> bool:
    found = figures(folder)
    differ = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
    print(f"| {case} | {kills} | {time.monotonic() - began:.0f} | {len(expected)} | {len(differ)} |", flush=True)
    return not differ


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*VAELAB, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"exit code {process.returncode}: {errors.decode()[-2000:]}")


def while_running(
    process: subprocess.Popen[bytes], kills: int, moments: random.Random, kill: Callable[[], None]
) -> int:
    """Kill at random moments as long as the study runs; how often."""
    for done in range(kills):
        try:
            process.wait(timeout=moments.uniform(1, LONGEST))
            return done
        except subprocess.TimeoutExpired:
            kill()
    return kills


def on_ray(folder: Path, expected: dict[str, Any], kills: int, moments: random.Random) -> bool:
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(**small) for _ in range(2)]
    where = ["--ray", cluster.address, "--workers", "2"]
    same = []

    began = time.monotonic()
    finish(start(["tune", "digits", *OPTIONS, *where, "--out", str(folder / "ray")]))
    same.append(compare("two Ray nodes", folder / "ray", expected, 0, began))

    def kill_node() -> None:
        gone = nodes.pop(moments.randrange(2))
        cluster.remove_node(gone, allow_graceful=False)
        nodes.append(cluster.add_node(**small))

    began = time.monotonic()
    process = start(["tune", "digits", *OPTIONS, *where, "--out", str(folder / "nodes")])
    count = while_running(process, kills, moments, kill_node)
    finish(process)
    same.append(compare("nodes killed", folder / "nodes", expected, count, began))

    began, count = time.monotonic(), 0
    arguments = ["tune", "digits", *OPTIONS, "--out", str(folder / "parent")]
    for _ in range(kills):
        process = start([*arguments, *where])
        try:
            process.wait(timeout=moments.uniform(5, 5 + LONGEST))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            count += 1
        if (folder / "parent" / "config.toml").exists():
            arguments = ["tune", "--resume", str(folder / "parent")]
    if not (folder / "parent" / "results.json").exists():
        finish(start([*arguments, *where]))
    same.append(compare("parent killed", folder / "parent", expected, count, began))
    cluster.shutdown()
    return all(same)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--smoke", action="store_true", help="check that it runs: two small studies, no cluster")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_enable_worker_prestart": "0"}
    print("| | killed | wall s | figures | that differ |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as place:
        folder, began = Path(place), time.monotonic()
        if arguments.smoke:
            from vaelab.cli.app import app

            for name in ("here", "again"):
                app(["tune", "digits", *SHORT, "--workers", "1", "--json", "--out", f"{place}/{name}"],
                    standalone_mode=False)  # fmt: skip
            sys.exit(not compare("again", folder / "again", figures(folder / "here"), 0, began))
        finish(start(["tune", "digits", *OPTIONS, "--workers", "2", "--out", str(folder / "local")]))
        expected = figures(folder / "local")
        compare("two local workers", folder / "local", expected, 0, began)
        sys.exit(not on_ray(folder, expected, arguments.kills, random.Random(arguments.seed)))


if __name__ == "__main__":
    main()
