"""Folders of runs and studies: created, locked, and replaced only if vaelab wrote them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from vaelab.errors import StoreError
from vaelab.store.files import fail, name_of, read_json

# File descriptors of the locks this process holds. A forked child inherits them, and would keep
# the lock after its parent's death.
_held: set[int] = set()


def _drop_inherited_locks() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_inherited_locks)


class StudyLock:
    """A lock on a study folder, for one process at a time; the system releases it when that process dies.

    Raises StoreError that names the holder if another one has it. Not shared with forked children.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with StudyLock(folder.name):
    ...     pass
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            raise RuntimeError("this StudyLock is already held")
        path = self.folder / ".lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            fail("lock", self.folder, error)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            # The holder writes its process id right after taking the lock.
            holder = f"process {text}" if text.isdigit() else "another process"
            raise StoreError(
                f"{name_of(self.folder)} is in use by {holder}; wait until it finishes, or choose another folder."
            ) from None
        except OSError as error:
            os.close(descriptor)
            fail("lock", self.folder, error)
        self._descriptor = descriptor
        _held.add(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, None
        # In a forked child the descriptor is already closed, and its number may be reused.
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def new_folder(path: str | Path, overwrite: bool = False) -> Path:
    """An empty folder at `path` for a run or study; parents are created as needed.

    A non-empty folder is rejected; `overwrite` replaces it only if it is a vaelab run or study. Raises
    StoreError, with nothing changed, also if the parent is not writable.
    """
    path = Path(path)
    try:
        if not is_occupied(path):
            check_writable(path)
            path.mkdir(parents=True, exist_ok=True)
            return path
        if not overwrite:
            raise StoreError(
                f"{name_of(path)} exists; choose another `out`, or `overwrite` to replace it, or `resume` to continue."
            )
        with replacing(path) as place:
            place.mkdir()
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        fail("make", path, error)
    return path


def is_occupied(path: Path) -> bool:
    """Whether something other than an empty folder is at `path`."""
    if not os.path.lexists(path):
        return False
    return not path.is_dir() or any(path.iterdir())


def check_writable(path: Path) -> None:
    """Raise OSError unless `path`, or its nearest existing parent, is writable, and its name is text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise OSError(errno.EILSEQ, f"{name_of(path)} is no name in UTF-8; choose another") from None
    place = path.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{name_of(place)} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"{name_of(place)} cannot be written")


def _is_vaelab(folder: Path) -> bool:
    """Whether `folder` is a run or a study; a single file name that other programs use too is not enough."""
    if (folder / "manifest.json").is_file():
        try:
            manifest = read_json(folder / "manifest.json")
        except StoreError:
            return False  # not known to be ours: leave it alone
        return isinstance(manifest, dict) and {"format", "vaelab"} <= set(manifest)
    marks = [name for name in ("config.toml", "study.db", ".lock") if (folder / name).is_file()]
    return len(marks) >= 2


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Move a vaelab folder aside, let the caller replace it, then delete it; on an error restore it."""
    place = path.resolve() if path.is_symlink() else path
    if not place.is_dir() or not _is_vaelab(place):
        raise StoreError(
            f"{name_of(path)} is not a vaelab run or study and will not be overwritten; choose another `out`."
        )
    aside = place.parent / f".tmp-{secrets.token_hex(8)}"
    with StudyLock(place) if (place / ".lock").exists() else contextlib.nullcontext():
        os.rename(place, aside)
        try:
            yield place
        except BaseException:
            os.rename(aside, place)
            raise
    shutil.rmtree(aside)


def default_folder(name: str) -> Path:
    """runs/<name>-<time>, with a number if two start within one second."""
    stem = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = stem, 2
    while path.exists():
        path, number = Path(f"{stem}-{number}"), number + 1
    return path
