"""The command line in the tests' own process, since each of its own spends seconds on imports, or in its own."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from vaelab.cli.main import main


def vaelab(arguments: Sequence[str], cwd: Path) -> CompletedProcess[str]:
    """What `vaelab ARGUMENTS` prints and returns in a folder; options are parsed and errors told as ever."""
    out, err = io.StringIO(), io.StringIO()
    handler, code = signal.getsignal(signal.SIGTERM), 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["vaelab", *arguments]),
    ):
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
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
