"""The command line in the tests' own process, since a new one spends seconds on imports, or in one to kill; and workers
of a study that are forked, for the same reason.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest import mock

from vaelab.cli.main import main


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Put back what a command changes for its process: it ignores signals at its end."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    handlers, hook = [signal.getsignal(number) for number in numbers], sys.unraisablehook
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
        sys.unraisablehook = hook


def vaelab(arguments: Sequence[str], cwd: Path) -> CompletedProcess[str]:
    """What `vaelab ARGUMENTS` prints and returns in a folder; options are parsed and errors told as ever."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        own_signals(),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["vaelab", *arguments]),
    ):
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
    return CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As a user who owns nothing, where tests run as root, whom no permission stops."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(was)


def process(arguments: Sequence[str], cwd: Path, timeout: float = 60) -> CompletedProcess[str]:
    """The same in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vaelab", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# Processes that tests kill are forked from one that has imported everything, and so begin at once.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([
    "vaelab.api.studies", "vaelab.cli.app", "vaelab.cli.main", "vaelab.cli.terminal", "vaelab.vae.estimator",
    "vaelab.vae.system", "vaelab.vae.fused.steps", "vaelab.classifier.system", "vaelab.classifier.fused.steps",
])  # fmt: skip


def start(arguments: Sequence[str | Path], errors: Path | None = None, code: str = "") -> BaseProcess:
    """`vaelab ARGUMENTS` as a process of its own; `code` runs before it, standard error goes into a file."""
    child = FORKS.Process(target=_serve, args=(list(map(str, arguments)), errors or Path(os.devnull), code))
    child.start()
    return child


def forked(code: str) -> int:
    """The exit code of Python code in a process that has imported the interface and nothing else."""
    child = FORKS.Process(target=exec, args=(code, {}))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _serve(arguments: list[str], errors: Path, code: str) -> None:
    with open(os.devnull, "w") as nothing, open(errors, "w") as file:
        os.dup2(nothing.fileno(), 1)
        os.dup2(file.fileno(), 2)
    exec(code, {})
    sys.argv = ["vaelab", *arguments]
    main()


class ForkedWorker:
    """What a crew needs of `subprocess.Popen`, for a worker that is forked."""

    def __init__(self, command: Sequence[str], *, env: dict[str, str], **_: Any):
        assert command[3] == "vaelab.study.worker"
        (theirs, ours), (answers, told) = FORKS.Pipe(duplex=False), FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_work, args=(env, theirs, told))
        self._process.start()
        theirs.close()
        told.close()
        self.stdin = open(os.dup(ours.fileno()), "wb", buffering=0)  # noqa: SIM115 - the crew closes them
        self.stdout = open(os.dup(answers.fileno()), "rb", buffering=0)  # noqa: SIM115
        ours.close()
        answers.close()

    def poll(self) -> int | None:
        return self._process.exitcode

    returncode = property(poll)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()


def _work(env: dict[str, str], told: Connection, answers: Connection) -> None:
    from vaelab.study import worker

    os.environ.update(env)
    os.dup2(told.fileno(), 0)
    os.dup2(answers.fileno(), 1)
    told.close()
    answers.close()
    sys.stdin = open(0)  # noqa: SIM115 - until the process ends
    sys.argv = ["worker", str(os.getppid())]
    worker.main()
