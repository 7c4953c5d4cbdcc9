"""Training steps of dense networks on a CPU, with their gradients written by hand and compiled by numba.

Autograd computes the same and is the reference; it also trains what has no kernels. This package does not import
numba, its modules do: only what trains may import them, after `prepare`.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import platformdirs


def say(text: str) -> None:
    """Tell the user, once and whatever the interface, what training itself has no way to show."""
    print(f"vaelab: {text}", file=sys.stderr, flush=True)


@functools.cache
def why_unavailable() -> str | None:
    """Why there are no kernels here; None if there are, or will be once prepared."""
    try:
        importlib.metadata.version("numba")
        from numba import config, types  # noqa: F401
    except Exception as error:  # whatever a release does that suits not the Python, NumPy or processor at hand
        return str(error)
    if config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    return None if _is_writable(folder()) else f"{folder()} cannot be written"


@functools.cache
def tell_unavailable(reason: str) -> None:
    """Say, once, that autograd trains what kernels would."""
    say(f"numba cannot be used ({reason}); dense networks train by autograd, several times slower")


@functools.cache
def folder() -> Path:
    """Where compiled kernels are kept: in the user's cache, or a temporary folder if that cannot be written.

    Its name depends on all modules that hold kernels, since numba itself looks only at the outermost
    function's, and on what they need, so that what was prepared still works.
    """
    versions = " ".join(importlib.metadata.version(name) for name in ("numba", "llvmlite", "numpy"))
    digest = hashlib.sha256(f"{sys.version} {versions}".encode())
    for path in sorted(Path(__file__).parents[2].rglob("fused/*.py")):
        digest.update(f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}".encode())
    name = f"kernels-{digest.hexdigest()[:16]}"
    places = [Path(platformdirs.user_cache_dir("vaelab", appauthor=False)), Path(tempfile.gettempdir()) / _own_name()]
    return next((place / name for place in places if _is_writable(place / name)), places[-1] / name)


def _own_name() -> str:
    """Other users of a machine cannot write to a folder of one's own, and must not provide one's code."""
    return f"vaelab-{os.getuid() if hasattr(os, 'getuid') else os.environ.get('USERNAME', 'user')}"


def _is_writable(place: Path) -> bool:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = not hasattr(os, "getuid") or all(p.stat().st_uid == os.getuid() for p in (place, place.parent))
        return mine and os.access(place, os.W_OK)
    except OSError:
        return False


def prepare(module: str) -> None:
    """Compile the kernels of a module, once per machine, so that importing it takes a fraction of a second.

    One process does it and others wait for it: a kernel may round differently if parts of it come from the cache, so
    all must use the same.
    """
    done = folder() / module
    is_damaged = done.exists() and not _is_readable(module)
    if done.exists() and not is_damaged:
        return
    with (folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for the kernels that another process prepares ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and not is_damaged:
            return
        say("preparing kernels for this machine, once ...")
        began = time.perf_counter()
        if is_damaged or not _is_readable(module):
            _clear()
            importlib.import_module(module)
        say(f"prepared in {time.perf_counter() - began:.0f} s")
        done.touch()


def _is_readable(module: str) -> bool:
    """Import what was prepared; False, and told, if its files are damaged."""
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever unpickling damaged bytes raises
        say(f"the kernels prepared in {folder()} cannot be read ({type(error).__name__}: {error})")
        return False
    return True


def _clear() -> None:
    """Remove compiled kernels, in memory and on disk: kernels of two compilations may round differently."""
    for name in [name for name in sys.modules if ".fused." in name and name.split(".")[0] == __name__.split(".")[0]]:
        del sys.modules[name]
    for path in folder().iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
