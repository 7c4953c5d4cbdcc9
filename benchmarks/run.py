"""What `make bench` runs: the benchmarks that need only this environment, one after the other.

The peers need separate environments (see peers.py); memory.py and the MNIST rows need VAELAB_DATA.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    data = os.environ.get("VAELAB_DATA")
    given = ["--data", data] if data else []
    programs = [
        ["steps.py"],
        ["studies.py"],
        ["convolutions.py"],
        ["kernels.py"],
        ["pruning.py", *given],
        ["samplers.py"],
    ]
    programs += [["memory.py", *given]] if data else []
    failed = []
    for name, *arguments in programs:
        print(f"\n## {name}\n", flush=True)
        if subprocess.run([sys.executable, HERE / name, *arguments], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
