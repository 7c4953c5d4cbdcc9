"""Temporary files and folders, named after the process that writes them: what the dead have left is swept."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
NAME = re.compile(r"\.tmp-([0-9a-f]{8})-(\d+)-([0-9a-f]{8})-\d+")
_counter = itertools.count()
_token = secrets.token_hex(4)  # tells this process from a dead one of the same number


def _renew() -> None:
    global _token
    _token = secrets.token_hex(4)


os.register_at_fork(after_in_child=_renew)


def temporary(folder: Path) -> Path:
    """A path in `folder` at which nothing is."""
    return folder / f".tmp-{HOST}-{os.getpid()}-{_token}-{next(_counter)}"


def is_temporary(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def sweep(folder: Path) -> None:
    """Delete what dead processes of this machine were writing in `folder`."""
    try:
        names = os.listdir(folder)
    except OSError:  # it does not exist, or is not ours to read: then nothing in it is either
        return
    for name in names:
        if _is_left(name):
            remove_all(folder / name)


def sweep_below(folder: Path) -> None:
    """`sweep` in a folder and in all that are in it."""
    for path in left_below(folder):
        remove_all(path)


def left_below(folder: Path) -> Iterator[Path]:
    """What dead processes of this machine were writing in a folder and in all that are in it."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place) / name for name in (*folders, *files) if _is_left(name))
        folders[:] = [name for name in folders if not is_temporary(name)]


def remove_all(path: Path) -> None:
    """Delete a file or folder that may already be gone, or that another process deletes too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_left(name: str) -> bool:
    found = NAME.fullmatch(name)
    if found is None or found[1] != HOST:
        return False
    number = int(found[2])
    if number == os.getpid():
        return found[3] != _token
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
