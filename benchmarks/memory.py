"""Memory: two workers on MNIST, and a million rows of 784 bytes from a memory-mapped file.

    python benchmarks/memory.py --data DATA

Proportional set size of the whole process family (shared pages are counted once), sampled while it runs. Limits: 1.5 GB
for a study with two workers on MNIST; the file's size plus 700 MB for training on a 1,000,000 x 784 uint8 .npy file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MB = 1 << 20


def family(pid: int) -> list[int]:
    pids = [pid]
    for one in pids:
        children = Path(f"/proc/{one}/task/{one}/children")
        pids += [int(child) for child in children.read_text().split()] if children.exists() else []
    return pids


def proportional_set_size(pid: int) -> int:
    """Bytes of a process, with pages shared by n processes counted as 1 / n."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def peak(arguments: list[str]) -> float:
    """Highest total of a command's process family, in bytes."""
    process = subprocess.Popen([sys.executable, "-m", "vaelab", *arguments], stdout=subprocess.DEVNULL)
    highest = 0
    while process.poll() is None:
        highest = max(highest, sum(proportional_set_size(pid) for pid in family(process.pid)))
        time.sleep(0.2)
    assert process.returncode == 0, f"vaelab {' '.join(arguments)} ended with {process.returncode}"
    return highest


def million_rows(folder: Path) -> Path:
    path = folder / "million.npy"
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(1_000_000, 784))
    rng = np.random.default_rng(0)
    for start in range(0, len(rows), 50_000):
        rows[start : start + 50_000] = rng.integers(0, 256, (50_000, 784), dtype=np.uint8)
    rows.flush()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mnist/")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = ["tune", "mnist", "--data-dir", str(arguments.data), "--trials", "4", "--set", "epochs=2"]
        study += ["--set", "width=512", "--workers", "2", "--final-seeds", "1", "--out", str(folder / "study")]
        used = peak(study)
        print("| case | peak | limit |\n|---|---:|---:|")
        print(f"| study on MNIST, two workers | {used / MB:.0f} MB | 1500 MB |", flush=True)
        million = million_rows(folder)
        size = million.stat().st_size
        settings = [
            "--set",
            "likelihood=gaussian",
            "--set",
            "hidden=64",
            "--set",
            "epochs=1",
            "--set",
            "batch_size=1000",
        ]
        trained = peak(["train", str(million), *settings, "--out", str(folder / "run")])
        print(f"| training on a {size / MB:.0f} MB file | {trained / MB:.0f} MB | {size / MB + 700:.0f} MB |")
        assert used < 1500 * MB
        assert trained < size + 700 * MB


if __name__ == "__main__":
    main()
