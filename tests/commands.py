"""The command line in the tests' own process, since a new one spends seconds on imports, or in one to kill."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
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
FORKS.set_forkserver_preload(
    ["vaelab.api", "vaelab.cli.app", "vaelab.cli.main", "vaelab.cli.terminal", "vaelab.vae.estimator"]
)


def start(arguments: Sequence[str | Path], errors: Path | None = None, code: str = "") -> BaseProcess:
    """`vaelab ARGUMENTS` as a process of its own; `code` runs before it, standard error goes into a file."""
    child = FORKS.Process(target=_serve, args=(list(map(str, arguments)), errors or Path(os.devnull), code))
    child.start()
    return child


def _serve(arguments: list[str], errors: Path, code: str) -> None:
    with open(os.devnull, "w") as nothing, open(errors, "w") as file:
        os.dup2(nothing.fileno(), 1)
        os.dup2(file.fileno(), 2)
    exec(code, {})
    sys.argv = ["vaelab", *arguments]
    main()
