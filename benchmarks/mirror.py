"""A study goes on while the PostgreSQL server of its mirror is away, and the mirror equals the study at the end.

    python benchmarks/mirror.py [--away 1,30] [--smoke]

Trials are suggested by TPE, reported and ended in all ways, 20 a second; the server is stopped at once, as by a crash,
and started again, once for each length. It fails unless trials ended meanwhile, none waited for the server for longer
than `LONGEST`, one note told of each absence, and the mirror then held what the study holds. It starts a server of its
own (apt-get install postgresql; pip install 'vaelab[postgresql]').
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from postgresql import Server, a_server, content, mirrored
from vaelab.settings.space import Space
from vaelab.study import mirror
from vaelab.study.mirror import Mirror
from vaelab.study.storage import Storage
from vaelab.study.trials import Trials
from vaelab.vae.spec import Spec

PACE, LONGEST = 0.05, 10.0  # seconds of a trial; the most that a step of the study may take
COHORT = 4


def advance(trials: Trials, total: int) -> None:
    """A cohort, one of whose trials is pruned and one of which fails."""
    for number in trials.cohort(total):
        time.sleep(PACE)
        trials.report(number, 1, number / 3)
        if number % COHORT == 1:
            trials.prune(number, {"seconds": PACE})
        elif number % COHORT == 2:
            trials.fail(number, "the loss is NaN", {"seconds": PACE})
        else:
            trials.complete(number, 1 / (number + 1), True, {"verdict": "ok", "seconds": PACE})


def absence(server: Server, folder: Path, seconds: float) -> str:
    """A study during which the server is away for so long; the row of the table, which ends in what went wrong."""
    space = Space.parse({"lr": (1e-4, 1e-2, "log"), "latent_dim": (2, 8), "optimizer": ["adam", "sgd"]}, Spec)
    name, notes, ended, longest = f"away{seconds:g}", list[str](), [0, 0], 0.0

    def away() -> None:
        server.stop()
        ended[0] = len(trials.all())
        time.sleep(seconds)
        ended[1] = len(trials.all())
        server.start()

    with (
        contextlib.closing(Trials(folder / f"{name}.db", space, "tpe", 0, COHORT)) as trials,
        Mirror(Storage(server.url), name, trials.all, ["minimize"], notes.append),
    ):
        advance(trials, COHORT)
        outage = threading.Thread(target=away)
        outage.start()
        while outage.is_alive():
            began = time.monotonic()
            advance(trials, len(trials.all()) + COHORT)
            longest = max(longest, time.monotonic() - began)
        outage.join()
    whole = content(trials.all())
    wrong = [
        *(["no trial meanwhile"] if ended[1] == ended[0] else []),
        *([f"a cohort took {longest:.1f} s"] if longest > LONGEST else []),
        *([f"{len(notes)} notes"] if sum("out of reach" in note for note in notes) > 1 or len(notes) > 1 else []),
        *(["the mirror differs"] if mirrored(server, name) != whole else []),
    ]
    told = ", ".join(wrong) or "equal"
    return f"{seconds:9g} {ended[1] - ended[0]:16} {len(whole):7} {longest:18.2f} {len(notes):6}   {told}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--away", default="1,30", help="seconds")
    parser.add_argument("--smoke", action="store_true", help="away for 0.3 s")
    given = parser.parse_args()
    lengths = [0.3] if given.smoke else [float(part) for part in given.away.split(",")]
    print(f"{'away, s':>9} {'trials meanwhile':>16} {'in all':>7} {'longest cohort, s':>18} {'notes':>6}   mirror")
    rows = []
    try:
        with a_server() as server, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as patches:
            if given.smoke:
                patches.enter_context(mock.patch.multiple(mirror, EVERY=0.02, LONGEST=0.2))
            for seconds in lengths:
                rows.append(absence(server, Path(folder), seconds))
                print(rows[-1], flush=True)
    except FileNotFoundError as missing:
        print(missing)
        return 0 if given.smoke else 1
    return 0 if given.smoke or all(row.endswith(" equal") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
