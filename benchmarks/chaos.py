"""Attacks, seeded: what was tried and what held. A row is an attack on a command; the program fails unless all held.

- kill: the process ends at its n-th operation on files or the database, for every n (or every `--step`th); then it is
  resumed. Held: the results equal those of an undisturbed run, and nothing temporary is left.
- full: the n-th write finds no space. Held: one line, exit code 2, and as above.
- signal: SIGINT, SIGTERM or two of them at a random moment. Held: exit code 130 or 143 within 5 s, no traceback, and
  as above.
- damage: a file cut, with flipped bits, replaced by a web page or a pipe, or a value of JSON edited and its checksum
  with it. Held: exit code 1 or 2 and one line, or, where the file does not matter, an answer.
- overwrite: a kill, a signal or a divergence of a run that replaces another. Held: the old one, or the whole new one.

    python benchmarks/chaos.py [--seconds 60] [--only kill,signal] [--commands train] [--step 1] [--signals 9]

Commands run in forks of this process, which has imported everything.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sqlalchemy
from sqlalchemy.engine import Engine

import vaelab.api.studies  # noqa: F401
from vaelab.cli import app, main, terminal  # noqa: F401

SMALL = ["--hidden", "8", "--latent-dim", "2"]
SEARCH = ["--search", "latent_dim=2..4", "--search", "lr=1e-3..1e-2:log", "--hidden", "8"]
STUDY = ["--final-seeds", "1", "--figures", "none", "--workers", "1"]
# The arguments of a command, and those with which it is resumed beside the folder.
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "train": (["train", "x.npy", *SMALL, "--epochs", "3"], []),
    "tune": (["tune", "x.npy", *SEARCH, "--epochs", "3", "--trials", "3", *STUDY], ["--workers", "1"]),
    "classify": (
        ["classify", "xy.npz", "--search", "lr=1e-3..1e-2:log", "--epochs", "2", "--trials", "2", *STUDY],
        ["--workers", "1"],
    ),
    "regress": (
        ["regress", "x.csv", "--target", "c", "--search", "lr=1e-3..1e-2:log", "--epochs", "2", "--trials", "2",
         *STUDY],
        ["--workers", "1"],
    ),
    "compare": (
        ["compare", "x.npy", "--model", "a:hidden=8", "--model", "b:hidden=4", "--latent-dim", "2",
         "--epochs", "2", "--seeds", "1", "--workers", "1", "--figures", "none"],
        ["--workers", "1"],
    ),
    "cluster": (
        ["cluster", "xy.npz", *SMALL, "--epochs", "2", "--components", "2", "--em-starts", "1", "--no-budget",
         "--figures", "none", "--labels", "20"],
        [],
    ),
    "anomaly": (
        ["anomaly", "xy.npz", "--held-out", "1", *SMALL, "--epochs", "2", "--components", "2", "--rows", "20"],
        [],
    ),
    "invert": (
        ["invert", "sum.toml", "--epochs", "2", "--samples", "2", "--no-baselines", "--hidden", "8", "--no-flow"],
        [],
    ),
}  # fmt: skip
# What differs from run to run: times, folders, and how often test was opened.
VARYING = {
    "seconds", "seconds_total", "seconds_per_epoch", "pays_from", "test_opened", "study", "name", "cluster", "run",
    "comparison", "anomaly", "folder", "em",
}  # fmt: skip
LEFT_OUT = {
    ".lock",
    ".metrics.lock",
    "commands.json",
    "report.html",
    "config.toml",
    "manifest.json",
    "study.db-wal",
    "study.db-shm",
}
PROGRESS = re.compile(
    r"trials|epoch|finals|training|note:|drawing|solving|judged|evaluated|neighbours|searching|checking|\d+ comp|xy"
)


def call(arguments: list[str], cwd: Path, before: Callable[[], None] = lambda: None) -> tuple[int, str, float]:
    """Exit code, standard error and seconds of a command in a fork of this process; -9 if it is killed."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            code = 99
            try:
                os.setsid()
                os.chdir(cwd)
                os.dup2(err.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
                sys.argv = ["vaelab", *arguments]
                before()
                main.main()
            except SystemExit as left:
                code = int(left.code or 0)
            except BaseException as error:
                sys.stderr.write(f"Traceback {error!r}")
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        err.seek(0)
        text = err.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(status), text, time.monotonic() - began


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: strip(inner) for name, inner in value.items() if name not in VARYING}
    return [strip(inner) for inner in value] if isinstance(value, list) else value


def tree(folder: Path) -> dict[str, str]:
    """What is in a folder, but for what differs from run to run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in LEFT_OUT:
            name = str(path.relative_to(folder))
            if path.suffix == ".json":
                found[name] = json.dumps(strip(json.loads(path.read_text())), sort_keys=True)
            elif path.suffix == ".jsonl":
                found[name] = str([strip(json.loads(line)) for line in path.read_text().splitlines()])
            elif path.name == "study.db":
                found[name] = database(path)
            elif path.suffix != ".png":
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def database(path: Path) -> str:
    """The trials of a study: states, parameters, values."""
    with contextlib.closing(sqlite3.connect(path)) as opened:
        assert opened.execute("pragma integrity_check").fetchone() == ("ok",)
        parts = (
            "select number, state from trials order by number",
            "select number, param_name, param_value from trials natural join trial_params order by 1, 2",
            "select number, objective, value from trials natural join trial_values order by 1, 2",
            "select number, step, intermediate_value from trials natural join trial_intermediate_values order by 1, 2",
        )
        return str([opened.execute(part).fetchall() for part in parts])


def faults_at(n: int, count: list[int], fault: Callable[[str], None]) -> Callable[[], None]:
    """What makes the n-th operation on files or the database fail; `count` becomes how many there were."""

    def install() -> None:
        def wrap(home: Any, name: str) -> None:
            plain = getattr(home, name)

            def counted(*arguments: Any, **named: Any) -> Any:
                count[0] += 1
                if count[0] == n:
                    fault(name)
                return plain(*arguments, **named)

            setattr(home, name, counted)

        for home, name in (
            (os, "rename"), (os, "replace"), (os, "mkdir"), (os, "fsync"), (os, "unlink"), (os, "rmdir"), (np, "save"),
            (shutil, "copytree"), (shutil, "copy2"),
        ):  # fmt: skip
            wrap(home, name)

        @sqlalchemy.event.listens_for(Engine, "commit")
        def _(*_: Any) -> None:
            count[0] += 1
            if count[0] == n:
                fault("commit")

    return install


def kill(_: str) -> None:
    os._exit(137)


def no_space(name: str) -> None:
    if name in ("unlink", "rmdir"):  # these never need space
        return
    if name == "commit":
        raise sqlite3.OperationalError("database or disk is full")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class OutOfTime(Exception):
    """`--seconds` are over; the table has what was tried."""


class Attacks:
    """A folder of data, of finished runs to compare with, and of the run under attack; what was tried and held."""

    def __init__(self, home: Path, seed: int, seconds: float):
        self.home, self.out, self.rng = home, home / "out", random.Random(seed)
        self.deadline = time.monotonic() + seconds
        self.tried: dict[tuple[str, str], list[int]] = {}
        self.faults: list[str] = []
        self.references: dict[str, tuple[dict[str, str], int, float]] = {}
        rng = np.random.default_rng(0)
        z, y = rng.normal(size=(60, 2)), np.arange(60) % 2
        x = (z @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(60, 4)) + 2 * y[:, None]).astype(np.float32)
        np.save(home / "x.npy", x)
        np.savez(home / "xy.npz", x=x, y=y)
        np.savetxt(home / "x.csv", np.c_[x[:, :2], z[:, 0]], "%.4f", ",", header="a,b,c", comments="")
        inputs = "inputs = [{low = 0.0, high = 1.0}, {low = 0.0, high = 1.0}]"
        (home / "sum.toml").write_text(f'forward = ["x0 + x1"]\n{inputs}\nexamples = 100\n')

    def reference(self, command: str) -> tuple[dict[str, str], int, float]:
        """What an undisturbed run leaves, how many operations and how many seconds it takes."""
        if command not in self.references:
            place, counted = self.home / f"whole-{command}", self.home / "count"
            count = [0]

            def before() -> None:
                faults_at(-1, count, kill)()
                ended = main.signals.ended
                main.signals.ended = lambda: (counted.write_text(str(count[0])), ended())[1]  # type: ignore[assignment]

            code, err, seconds = call(self.arguments(command, place), self.home, before)
            assert code == 0, (command, code, err)
            self.references[command] = tree(place), int(counted.read_text()), seconds
        return self.references[command]

    def arguments(self, command: str, out: Path) -> list[str]:
        return [*COMMANDS[command][0], "--out", str(out)]

    def clean(self) -> None:
        for path in self.home.iterdir():
            if path.name.startswith((self.out.name, ".tmp")):
                shutil.rmtree(path)

    def resumed(self, command: str) -> list[str]:
        """What is wrong after the command was resumed, or begun again where it had not begun."""
        arguments = [command, "--resume", str(self.out), *COMMANDS[command][1]]
        code, err, _ = call(arguments, self.home)
        places = self.out, self.out.with_name("out.partial")
        if code == 2 and not any((place / "config.toml").exists() for place in places):
            code, err, _ = call(self.arguments(command, self.out), self.home)
        if code:
            return [f"resume {code}: {err[-200:]!r}"]
        whole, found = self.reference(command)[0], tree(self.out)
        differ = [name for name in {**whole, **found} if whole.get(name) != found.get(name)]
        left = [
            path.name
            for path in [*self.home.iterdir(), *self.out.rglob("*")]
            if path.name.startswith((".tmp", "out.p"))
        ]
        return ([f"differ: {differ[:3]}"] if differ else []) + ([f"left: {left[:3]}"] if left else [])

    def note(self, attack: str, command: str, what: str, wrong: list[str]) -> None:
        tried = self.tried.setdefault((attack, command), [0, 0])
        tried[0] += 1
        tried[1] += not wrong
        if wrong:
            self.faults.append(f"{attack} {command} {what}: {'; '.join(wrong)}")
            print(f"  {self.faults[-1]}", file=sys.stderr, flush=True)
        if time.monotonic() > self.deadline:
            raise OutOfTime

    def operations(self, command: str, step: int) -> range:
        """Every `step`th operation of a command, from a random one on; at least one."""
        number = self.reference(command)[1]
        return range(1 + self.rng.randrange(min(step, number)), number + 1, step)

    def kills(self, command: str, step: int) -> None:
        for n in self.operations(command, step):
            self.clean()
            code, _, _ = call(self.arguments(command, self.out), self.home, faults_at(n, [0], kill))
            wrong = [] if code in (0, 137) else [f"exit code {code}"]
            self.note("kill", command, f"at {n}", wrong + self.resumed(command))

    def full(self, command: str, step: int) -> None:
        for n in self.operations(command, step):
            self.clean()
            code, err, _ = call(self.arguments(command, self.out), self.home, faults_at(n, [0], no_space))
            wrong = [] if code == 0 else refusal(code, err)
            self.note("full disk", command, f"at {n}", wrong + self.resumed(command))

    def signals(self, command: str, many: int) -> None:
        seconds = self.reference(command)[2]
        for k in range(many):
            self.clean()
            number = (signal.SIGINT, signal.SIGTERM)[k % 2]
            at, twice = self.rng.uniform(0, seconds), k % 5 == 4

            def before(number: int = number, at: float = at, twice: bool = twice) -> None:
                if os.fork() == 0:
                    for delay in (at, 0.1)[: 1 + twice]:
                        time.sleep(delay)
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(os.getppid(), number)
                    os._exit(0)

            code, err, took = call(self.arguments(command, self.out), self.home, before)
            # Before the command has installed its handlers, the system ends it.
            wrong = [] if code in (0, 128 + number, -number) else [f"exit code {code}: {err[-200:]!r}"]
            wrong += [err[-300:]] if "Traceback" in err or "ignored" in err else []
            wrong += [f"left after {took - at:.1f} s"] if took - at > max(5.0, seconds) else []
            begun = self.out.exists() or self.out.with_name("out.partial").exists()
            self.note("signal", command, f"{number} at {at:.2f} s", wrong + (self.resumed(command) if begun else []))

    def overwrites(self, command: str, step: int) -> None:
        """A kill, an interruption or a divergence of a run that replaces another."""
        reference = self.reference(command)[0]
        for n in self.operations(command, step):
            self.clean()
            shutil.copytree(self.home / f"whole-{command}", self.out)
            (self.out / "mark").write_text("old")
            arguments = [*self.arguments(command, self.out), "--overwrite"]
            call(arguments, self.home, faults_at(n, [0], (kill, interrupt)[n % 2]))
            is_old = (self.out / "mark").exists()
            found = tree(self.out) if self.out.exists() else {}
            found.pop("mark", None)
            moved = any(path.name.startswith(".tmp") for path in self.home.iterdir())
            wrong = [] if found == reference or (moved and not found) else ["the old run is damaged"]
            if is_old and command == "train":
                code, _, _ = call([*arguments, "--lr", "100", "--set", "clip=1e30"], self.home)
                wrong += [] if code != 1 or (self.out / "mark").exists() else ["lost by divergence"]
            self.note("overwrite", command, f"at {n}", wrong)

    def damage(self, command: str, many: int) -> None:
        """Files of a finished run, damaged; then the commands that read them."""
        self.reference(command)
        whole = self.home / f"whole-{command}"
        readers = [
            ["sample", "out", "-n", "2"],
            ["evaluate", "out"],
            ["predict", "out", "x.npy"],
            ["encode", "out", "x.npy"],
        ]
        readers += [["solve", "out", "--y", "out/measurements.npy", "--samples", "2"]] if command == "invert" else []
        readers += [[command, "--resume", "out"]]
        files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.suffix != ".png"]
        kinds = list(DAMAGES)
        for k in range(many):
            self.clean()
            shutil.copytree(whole, self.out)
            name, kind = self.rng.choice(sorted(files)), kinds[k % len(kinds)]
            if not DAMAGES[kind](self.out / name, self.rng):
                continue
            for arguments in readers:
                code, err, took = call(arguments, self.home)
                wrong = [] if code == 0 else refusal(code, err)
                wrong += [f"took {took:.0f} s"] if took > 30 else []
                self.note("damage", command, f"{kind} {name}, {arguments[0]}", wrong)


def interrupt(_: str) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def refusal(code: int, err: str) -> list[str]:
    """What is wrong about a refusal, which is one line and exit code 2 (or 1 for a failure)."""
    lines = [line for line in err.splitlines() if line and not PROGRESS.match(line)]
    fine = code in (1, 2) and len(lines) == 1 and lines[0].startswith("vaelab: ") and lines[0].isprintable()
    return [] if fine else [f"exit code {code}, {len(lines)} lines: {err[-200:]!r}"]


def _cut(path: Path, rng: random.Random) -> bool:
    path.write_bytes(path.read_bytes()[: rng.randrange(max(1, path.stat().st_size))])
    return True


def _flip(path: Path, rng: random.Random) -> bool:
    content = bytearray(path.read_bytes())
    for _ in range(3 if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return True


def _page(path: Path, rng: random.Random) -> bool:
    path.write_text("<!doctype html><title>404</title>")
    return True


def _pipe(path: Path, rng: random.Random) -> bool:
    path.unlink()
    os.mkfifo(path)
    return True


def _edit(path: Path, rng: random.Random) -> bool:
    """A value of a JSON file replaced, and its checksum with it."""
    if path.suffix != ".json" or path.name == "manifest.json":
        return False
    value = json.loads(path.read_text())
    places = list(_places(value))
    if not places:
        return False
    holder, key = rng.choice(places)
    holder[key] = rng.choice([None, "x", -1, [], {}, 1e300])
    path.write_text(json.dumps(value))
    manifest = path.parent / "manifest.json"
    if manifest.exists():
        about = json.loads(manifest.read_text())
        if path.name in about["files"]:
            content = path.read_bytes()
            about["files"][path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            manifest.write_text(json.dumps(about))
    return True


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


DAMAGES: dict[str, Callable[[Path, random.Random], bool]] = {
    "cut": _cut, "flipped": _flip, "a page": _page, "a pipe": _pipe, "edited": _edit,
}  # fmt: skip


def show(attacks: Attacks, seconds: float) -> str:
    out = io.StringIO()
    print(f"{'attack':10} {'command':9} {'tried':>6} {'held':>6}", file=out)
    for (attack, command), (tried, held) in sorted(attacks.tried.items()):
        print(f"{attack:10} {command:9} {tried:6,} {held:6,}", file=out)
    tried, held = (sum(column) for column in zip(*attacks.tried.values(), strict=True))
    print(f"{'all':20} {tried:6,} {held:6,}   in {seconds:,.0f} s", file=out)
    return out.getvalue()


def main_() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few attacks, in seconds")
    parser.add_argument("--only", default="kill,full,signal,overwrite,damage")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--step", type=int, default=1, help="of operations: every n-th is attacked")
    parser.add_argument("--signals", type=int, default=100, help="for each command")
    parser.add_argument("--damages", type=int, default=100, help="for each command")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no attack begins after so many")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.only, chosen.commands, chosen.step = "kill", "cluster", 10**6
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        attacks = Attacks(Path(home), chosen.seed, chosen.seconds)
        runs = {
            "kill": lambda command: attacks.kills(command, chosen.step),
            "full": lambda command: attacks.full(command, chosen.step),
            "signal": lambda command: attacks.signals(command, chosen.signals),
            "overwrite": lambda command: attacks.overwrites(command, 4 * chosen.step),
            "damage": lambda command: attacks.damage(command, chosen.damages),
        }
        with contextlib.suppress(OutOfTime):
            for command in chosen.commands.split(","):
                for attack in chosen.only.split(","):
                    runs[attack](command)
                    print(f"{attack} {command}: {time.monotonic() - began:,.0f} s", file=sys.stderr, flush=True)
        print(show(attacks, time.monotonic() - began))
    return 1 if attacks.faults else 0


if __name__ == "__main__":
    sys.exit(main_())
