"""Ctrl-C and SIGTERM: they end a command where nothing is half done, and are never lost.

Python runs a handler between any two instructions. What it raises is lost inside finalizers and callbacks of weak
references, and half an import cannot be repeated. So the handler raises where that is safe, and a timer tries again
until the command ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

AGAIN = 0.05  # seconds between two attempts to end the command
INSISTING = 2.0  # seconds after the first, from which on another signal ends the process at once
PATIENCE = 4.0  # seconds for imports and finalizers to end
IMPORTING = "<frozen importlib._bootstrap>"


class Interrupted(KeyboardInterrupt):
    """A signal ends the command."""


class _State:
    depth = 0  # of `held` blocks
    number = 0  # of the first signal
    since = 0.0


_state = _State()


def install() -> None:
    """Handle SIGINT, unless it is ignored as in a shell's background job, and SIGTERM; called by the command line."""
    _state.depth = _state.number = 0
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _receive)
    signal.signal(signal.SIGTERM, _receive)
    signal.signal(signal.SIGALRM, lambda _, frame: _deliver(frame))
    report = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Interrupted) else report(lost)


def received() -> bool:
    """Whether a signal is to end the command."""
    return _state.number != 0


def ended() -> int:
    """The command has ended: later signals change nothing. The exit code of a received one, 130 or 143, else 0."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    return 128 + _state.number if _state.number else 0


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A signal received inside ends the command after the block, which is short and leaves nothing half done."""
    if threading.current_thread() is not threading.main_thread():  # no handler runs there
        yield
        return
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        _deliver(sys._getframe())


def _receive(number: int, frame: FrameType | None) -> None:
    if not _state.number:
        _state.number, _state.since = number, time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    elif time.monotonic() - _state.since > INSISTING:
        _leave()
    _deliver(frame)


def _deliver(frame: FrameType | None) -> None:
    if not _state.number or _state.depth or _is_ending(sys.exception()):
        return
    if _loses(frame):
        if time.monotonic() - _state.since > PATIENCE:
            _leave()
        return
    raise Interrupted


def _leave() -> None:
    """End as a kill would, which loses nothing either."""
    os._exit(128 + _state.number)


def _is_ending(error: BaseException | None) -> bool:
    """Whether a signal's exception is being handled: then the command is about to end, and cleans up."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, Interrupted):
            return True
        seen.add(id(error))
        error = error.__context__
    return False


def _loses(frame: Any) -> bool:
    """Whether an exception would be lost in this frame, or leave half an import."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == IMPORTING or code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
