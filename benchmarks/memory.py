"""Memory: two workers on MNIST, and a million rows of 784 bytes from a memory-mapped file.

    python benchmarks/memory.py [--data DATA] [--smoke]

Proportional set size of all processes (shared pages are counted once), sampled during the run. Limits: 1.5 GB
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
    except (FileNotFoundError, ProcessLookupError):  # it has just exited
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


def write_rows(path: Path, n: int) -> None:
    """A .npy file of n random rows of 784 bytes."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, 784))
    rng = np.random.default_rng(0)
    for start in range(0, n, 50_000):
        piece = rows[start : start + 50_000]
        piece[:] = rng.integers(0, 256, piece.shape, dtype=np.uint8)
    rows.flush()


def study_of(name: str, data: Path | None, *options: str) -> list[str]:
    """The command of a short study."""
    where = ["--data-dir", str(data)] if data else []
    return ["tune", name, *where, "--epochs", "2", "--set", "width=512", "--final-seeds", "1", *options]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that contains mnist/; default: VAELAB_DATA")
    parser.add_argument("--smoke", action="store_true", help="check that it runs, on a few rows, without limits")
    arguments = parser.parse_args()
    print("| case | peak | limit |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, out = folder / "rows.npy", ("--out", str(folder / "study"))
        if arguments.smoke:  # one command, since a second would import everything again
            write_rows(rows, 200)
            used = peak(["data", str(rows)])
            print(f"| describing a few rows | {used / MB:.0f} MB | – |")
            return
        used = peak(study_of("mnist", arguments.data, "--trials", "4", "--workers", "2", *out))
        print(f"| study on MNIST, two workers | {used / MB:.0f} MB | 1500 MB |", flush=True)
        write_rows(rows, 1_000_000)
        size = rows.stat().st_size
        settings = ("likelihood=gaussian", "hidden=64", "epochs=1", "batch_size=1000")
        given = [word for setting in settings for word in ("--set", setting)]
        trained = peak(["train", str(rows), *given, "--out", str(folder / "run")])
        print(f"| training on a {size / MB:.0f} MB file | {trained / MB:.0f} MB | {size / MB + 700:.0f} MB |")
        assert used < 1500 * MB
        assert trained < size + 700 * MB


if __name__ == "__main__":
    main()
