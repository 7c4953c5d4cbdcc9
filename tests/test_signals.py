"""Signals: held off where something would be half done, never lost, and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

PRELUDE = """
import os, signal, sys, time, weakref
from vaelab import signals
signals.install()
def kill(): os.kill(os.getpid(), {number})
def main():
{body}
try:
    main()
except KeyboardInterrupt:
    print("ended", flush=True)
sys.exit(signals.ended() or 3)
"""

BODIES = {
    "anywhere": "kill(); time.sleep(30)",
    "in a held block": "with signals.held():\n    kill(); time.sleep(0.2); print('whole', flush=True)\ntime.sleep(30)",
    "in nested held blocks": (
        "with signals.held():\n    with signals.held():\n        kill()\n    print('whole', flush=True)\ntime.sleep(30)"
    ),
    "in a finalizer": "class A:\n    def __del__(self): kill()\na = A(); del a\ntime.sleep(30)",
    "in a callback of a weak reference": (
        "class A: pass\na = A(); r = weakref.ref(a, lambda _: kill()); del a\ntime.sleep(30)"
    ),
    "in an import": "sys.path.insert(0, {folder!r})\nimport killed\nprint(killed.value, flush=True)\ntime.sleep(30)",
    "where all errors are swallowed": "try:\n    kill()\nexcept BaseException:\n    pass\ntime.sleep(30)",
    "twice": "try:\n    kill(); time.sleep(30)\nfinally:\n    kill(); print('whole', flush=True)",
}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", list(BODIES))
def test_a_signal_ends_the_command(tmp_path, name, number, code):
    (tmp_path / "killed.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nvalue = 'whole'\n")
    body = "\n".join("    " + line for line in BODIES[name].format(folder=str(tmp_path)).splitlines())
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", PRELUDE.format(number=int(number), body=body)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (code, "")
    assert ended.stdout.splitlines()[-1] == "ended"
    assert ("whole" in ended.stdout) == any(word in name for word in ("held", "import", "twice"))
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (0, 1)])
def test_an_error_that_compiled_code_puts_in_the_place_of_a_signal_is_none(number, code):
    """As NumPy does while it imports what reads the format of a buffer."""
    program = f"""
import os
from vaelab.cli import main
def run():
    try:
        os.kill(os.getpid(), {int(number)})
    except KeyboardInterrupt:
        pass
    raise ValueError("not a valid PEP 3118 buffer format string")
main._run = run
main.main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, "PEP 3118" in ended.stderr) == (code, code == 1)


def test_what_has_ended_is_not_interrupted_and_an_insistent_user_is_heard():
    late = "signals.ended(); kill(); print('whole', flush=True)"
    code = PRELUDE.format(number=int(signal.SIGTERM), body=f"    {late}")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "whole\n", "")
    deaf = "signals.INSISTING = 0.1\n    with signals.held():\n        kill(); time.sleep(0.2); kill(); time.sleep(30)"
    code = PRELUDE.format(number=int(signal.SIGINT), body=f"    {deaf}")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_without_handlers_nothing_is_held():
    kill = "os.kill(os.getpid(), signal.SIGTERM)"
    code = f"import os, signal\nfrom vaelab import signals\nwith signals.held():\n    {kill}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM
