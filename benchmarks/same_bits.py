"""Whether two revisions compute the same bits: in studies, comparisons, clusterings, an inversion, single runs.

    python benchmarks/same_bits.py REVISION          the current code against a revision, some minutes
    python benchmarks/same_bits.py REVISION --smoke  one small run of each

Every command is given to both, with the same seeds, and with settings by `--set`, which every revision has. Compared
are all written arrays (weights, latents, samples), the parameters and metrics of every trial, and every number in JSON
and CSV files except times and values derived from them. Names of keys may differ, values may not.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from sklearn.datasets import load_breast_cancer, load_digits

HERE = Path(__file__).parents[1]
SMALL = "--set hidden=16 --set latent_dim=2 --set epochs=8"
COMMANDS = """
tune digits --search latent_dim=2..16 --search lr=1e-3..1e-2:log --set hidden=64 --set epochs=10 --trials 8 --workers 2
tune cancer.npy --set epochs=12 --trials 6 --figures none --workers 2 --final-seeds 2
compare digits --model wide:hidden=64 --model narrow:hidden=16 --set latent_dim=2 --set epochs=6 --seeds 2
compare cancer.npy --model plain:hidden=32 --model thick:hidden=32,likelihood=laplace --set epochs=6 --seeds 2
cluster digits --set latent_dim=8 --set epochs=15 --components 10,20 --labels 100
cluster digits --set prior=mixture --set components=10 --set latent_dim=8 --set epochs=15 --starts 2
invert product --epochs 2 --set hidden=64-64 --trials 2 --samples 10 --no-baselines
classify digits --trials 4 --set epochs=5
classify images.npz --network conv --trials 2 --set epochs=2 --figures none
train digits --set network=conv --set epochs=1
train digits --set prior=vamp --set epochs=3
train digits --set samples=5 --set binarize=dynamic --set epochs=3
train cancer.npy --set likelihood=huber --set epochs=10 --set free_bits=0.1 --set optimizer=sgd --set dropout=0.1
anomaly images.npz --held-out 1 --set epochs=3 --rows 40
"""
SMOKE = f"""
tune digits {SMALL.replace("--set latent_dim=2", "--search latent_dim=2..4")} --trials 2 --workers 1 --figures none
compare digits --model a:hidden=8 --model b:hidden=4 --set epochs=1 --seeds 1 --workers 1
cluster digits {SMALL} --components 10 --no-budget
invert product --epochs 1 --set hidden=16 --samples 4 --refine 2 --walk 1 --no-baselines
classify digits --trials 2 --set epochs=1 --figures none --workers 1
"""
AFTER = (("sample -n 8 --seed 1 --out draws.npy {0}", ("tune", "train")), ("evaluate --k 16 --json {0}", ("train",)))
TIMED = ("seconds", "created", "time", "pays_from")


def write_data(folder: Path) -> None:
    """A table and small labelled images, so that no command needs a download."""
    np.save(folder / "cancer.npy", load_breast_cancer().data)
    digits = load_digits()
    np.savez(folder / "images.npz", x=(digits.images / 16).astype(np.float32), y=digits.target)


def run(source: Path, folder: Path, commands: str) -> None:
    """All commands by the code in `source`, in an empty folder."""
    folder.mkdir()
    write_data(folder)
    environment = {**os.environ, "PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}

    def call(command: str, output: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "vaelab", *shlex.split(command)], cwd=folder, env=environment, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{source}: vaelab {command}\n{done.stderr}")
        output.write_text(done.stdout)

    for number, command in enumerate(commands.strip().splitlines()):
        print(f"  {command}", flush=True)
        out = f"{number:02d}-{command.split()[0]}"
        target = " --target y" if "images.npz" in command else ""
        call(f"{command}{target} --out {out} --json", folder / f"{out}.json")
        for more, kinds in AFTER:
            if command.split()[0] in kinds:
                name = more.split()[0]
                call(more.format(out).replace("draws", f"{out}-draws"), folder / f"{out}-{name}.json")


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a JSON value with its path, except times and values derived from them."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not any(word in key for word in TIMED):
                yield from numbers(item, f"{name}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from numbers(item, f"{name}[{i}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def content(path: Path) -> Any:
    """The content of a file, in a form that is equal if the bits are; None if not compared."""
    if path.suffix == ".safetensors":
        return {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in load_file(path).items()}
    if path.suffix == ".npy":
        return np.load(path).tobytes()
    if path.suffix == ".csv":
        return path.read_text()
    if path.suffix == ".jsonl":
        return [n for line in path.read_text().splitlines() for n in numbers(json.loads(line))]
    if path.suffix == ".json" and path.name not in ("manifest.json", "problem.json"):
        text = path.read_text()
        return list(numbers(json.loads(text))) if text.startswith(("{", "[")) else text
    if path.name == "study.db":
        with sqlite3.connect(path) as database:
            return [
                database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                for table in ("trial_values", "trial_intermediate_values", "trial_params")
            ]
    return None


def differences(one: Path, other: Path) -> tuple[int, list[str]]:
    """How many files were compared, and what differs."""
    found, compared = [], 0
    files = [
        {p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and content(p) is not None}
        for folder in (one, other)
    ]
    found += [f"{path} is in only one of them" for path in sorted(files[0] ^ files[1])]
    for path in sorted(files[0] & files[1]):
        compared += 1
        a, b = content(one / path), content(other / path)
        if path.suffix in (".json", ".jsonl") and not isinstance(a, str):
            unlike = [f"{x[0]}: {x[1]!r}, {y[1]!r}" for x, y in zip(a, b, strict=False) if x[1] != y[1]]
            if unlike or len(a) != len(b):
                found.append(f"{path}: {len(a)} and {len(b)} numbers; {'; '.join(unlike[:3])}")
        elif a != b:
            found.append(f"{path}: different bits")
    return compared, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    commands = SMOKE if options.smoke else COMMANDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            ["git", "worktree", "add", "--detach", "-q", folder / "code", options.revision], cwd=HERE, check=True
        )
        try:
            for code, place in ((folder / "code", "before"), (HERE, "after")):
                print(place, flush=True)
                run(code, folder / place, commands)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder / "code"], cwd=HERE, check=True)
        compared, found = differences(folder / "before", folder / "after")
    print(*found, sep="\n")
    print(f"{compared} files compared, {len(found)} differ")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
