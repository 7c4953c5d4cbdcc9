"""Folders of runs and studies: created, locked, and replaced only if vaelab wrote them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from vaelab import signals
from vaelab.errors import InputError, StoreError, TrainingFailed
from vaelab.origin import command
from vaelab.store.files import fail, name_of, read_json, sync_folder, write_json
from vaelab.store.kinds import command_of, how_to_resume
from vaelab.store.temporary import is_temporary, remove_all, sweep, sweep_below, temporary

COMMANDS = "commands.json"

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
        sweep_below(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, None
        # In a forked child the descriptor is already closed, and its number may be reused.
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def holder(folder: Path) -> str | None:
    """The process that holds the lock of a folder, such as "process 4711"; None if none does. Nothing is changed."""
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        fail("read", folder / ".lock", error)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return f"process {text}" if text.isdigit() else "another process"
    finally:
        os.close(descriptor)
    return None


@contextlib.contextmanager
def building(folder: str | Path, overwrite: bool = False, *, aside: bool = False, keep: bool = True) -> Iterator[Path]:
    """Where a new run or study is built, locked: `folder` itself; or, `aside` and where another one is to be replaced,
    <folder>.partial, which becomes `folder` at the end, or of which that does that is in its run/. Until then the old
    one stays as it is.

    An unfinished one is kept, to be resumed; or with `keep` False deleted, as is one that was refused, or that nothing
    but the lock is in. Raises StoreError, with nothing changed, if something else is there, or if it is not writable.

    >>> home = getfixture("tmp_path") / "study"
    >>> with building(home) as place:
    ...     _ = (place / "config.toml").write_text("first")
    >>> with building(home, overwrite=True) as place:
    ...     _ = (place / "config.toml").write_text("second")
    ...     place.name, (home / "config.toml").read_text()
    ('study.partial', 'first')
    >>> (home / "config.toml").read_text()
    'second'
    """
    folder = Path(folder)
    was_there = os.path.isdir(folder)
    place = _place(folder, overwrite, aside)
    try:
        with StudyLock(place):
            _tell(place, [])
            yield place
            finish(place, folder)
    except BaseException as error:
        refused = isinstance(error, InputError | TrainingFailed)
        kept = place == folder or isinstance(error, StoreError)  # such as that of a full disk
        is_made = place != folder or not was_there
        if not keep or (refused and not kept) or (is_made and not is_occupied(place)):
            discard(place)
        _tell_how_to_resume(error, place)
        raise


@contextlib.contextmanager
def continuing(folder: str | Path) -> Iterator[Path]:
    """Where an unfinished run or study is, locked: <folder>.partial, which becomes `folder` at the end, or `folder`."""
    place = unfinished(folder)
    with StudyLock(place):
        try:
            _tell(place, commands(place))
            yield place
            finish(place, destination(Path(folder)))
        except KeyboardInterrupt as error:
            _tell_how_to_resume(error, place)
            raise


def _tell_how_to_resume(error: BaseException, place: Path) -> None:
    """Note it on what Ctrl-C raised; of a folder in another one, such as a clustering's encoder, the outer is meant."""
    if isinstance(error, KeyboardInterrupt) and command_of(place):
        how = how_to_resume(place, destination(place))
        error.__notes__ = [f"interrupted; what was done so far is kept, and {how} continues."]


def commands(folder: str | Path) -> list[str]:
    """What made a run or study: the command or call that began it, and those that resumed it."""
    folder = Path(folder)
    home = folder.parent if folder.name == "run" and (folder.parent / COMMANDS).is_file() else folder
    found = read_json(home / COMMANDS) if (home / COMMANDS).is_file() else []
    return [str(text) for text in found] if isinstance(found, list) else []


def how_to_begin_again(place: Path, folder: Path) -> str | None:
    """The command line that makes what is in `place` anew in `folder`, as it was begun; None if none is recorded."""
    try:
        begun = [line for line in commands(place) if line.startswith("vaelab ") and "***" not in line]
    except StoreError:
        return None
    words = next((words for words in map(shlex.split, begun) if "--resume" not in words), None)
    if words is None:
        return None
    plain = [word for word in words if word != "--overwrite" and not word.startswith("--out=")]
    if "--out" in plain:
        at = plain.index("--out")
        del plain[at : at + 2]
    return shlex.join([*plain, "--out", str(folder), "--overwrite"])


def _tell(place: Path, before: list[str]) -> None:
    """Record the command that is carried out in a folder, after others."""
    if (now := command()) and now not in before:
        write_json(place / COMMANDS, [*before, now])


def unfinished(folder: str | Path) -> Path:
    """Where a run or study that is to be resumed is: <folder>.partial if there is one, else `folder`.

    What dead processes have left beside it is swept.
    """
    folder = Path(folder)
    sweep(folder.parent)
    partial = preparation(destination(folder))
    return partial if partial.is_dir() else folder


def preparation(folder: str | Path) -> Path:
    """The folder of an unfinished run, beside that of the finished one."""
    folder = Path(folder)
    if os.path.islink(folder) or folder.name in ("", ".."):
        folder = folder.resolve()
    return folder.with_name(f"{folder.name}.partial")


def destination(place: Path) -> Path:
    """The folder that a run in `place` will have once it is finished."""
    return place.with_name(place.name.removesuffix(".partial")) if place.name.endswith(".partial") else place


def _place(folder: Path, overwrite: bool, aside: bool) -> Path:
    """An empty folder to build in; parents are created as needed."""
    try:
        partial = preparation(folder)
        if folder.name.endswith(".partial"):
            raise StoreError(f"{name_of(folder)} has the name of an unfinished run; choose another `out`.")
        is_replaced = is_occupied(folder)
        if is_replaced and not overwrite:
            raise StoreError(
                f"{name_of(folder)} exists; choose another `out`, or `overwrite` to replace it, or "
                f"{how_to_resume(folder, folder)} to continue."
            )
        if is_replaced:
            check_replaceable(folder)
        check_writable(folder.parent if is_replaced else folder)
        if is_occupied(partial):
            if not overwrite:
                how = how_to_resume(partial, folder)
                raise StoreError(f"{name_of(folder)} was interrupted; {how} continues it, or `overwrite` it.")
            check_replaceable(partial)
            discard(partial)
        place = partial if aside or is_replaced else folder
        place.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        fail("make", folder, error)
    return place


def finish(place: Path, folder: Path) -> None:
    """Give a whole run or study its own folder, in which an older one may be."""
    whole = place / "run" if (place / "run").is_dir() else place
    if whole.resolve() == folder.resolve():
        return
    try:
        with signals.held():
            if whole != place and (place / COMMANDS).is_file():
                os.replace(place / COMMANDS, whole / COMMANDS)
            put(whole, folder)
            discard(place)
    except OSError as error:
        fail("write", folder, error)


def put(new: Path, folder: Path) -> None:
    """Move the folder `new` to `folder`; a run or study that is there goes once the new one has its place."""
    place = folder.resolve() if folder.is_symlink() else folder
    if not is_occupied(place):
        discard(place)  # an empty folder, perhaps with the lock of a start that was killed
        os.rename(new, place)
    else:
        check_replaceable(folder)
        old = temporary(place.parent)
        os.rename(place, old)
        try:
            os.rename(new, place)
        except BaseException:
            os.rename(old, place)
            raise
        remove_all(old)
    sync_folder(place.parent)


def discard(folder: Path) -> None:
    """Delete a folder of ours at once: a kill leaves all of it, or a temporary folder that is swept later."""
    with signals.held():
        if folder.is_dir():
            old = temporary(folder.parent)
            os.rename(folder, old)
            remove_all(old)


def is_occupied(path: Path) -> bool:
    """Whether something is at `path`, other than an empty folder or what a killed start has left in it."""
    if not os.path.lexists(path):
        return False
    return not path.is_dir() or any(
        name not in (".lock", COMMANDS) and not is_temporary(name) for name in os.listdir(path)
    )


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
    if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
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


def check_replaceable(folder: Path) -> None:
    """Raise StoreError unless `folder` is a run or study that no process uses."""
    if not folder.is_dir() or not _is_vaelab(folder):
        raise StoreError(
            f"{name_of(folder)} is not a vaelab run or study and will not be overwritten; choose another `out`."
        )
    if (folder / ".lock").exists():
        with StudyLock(folder):
            pass


def default_folder(name: str) -> Path:
    """runs/<name>-<time>, with a number if two start within one second."""
    stem = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = stem, 2
    while path.exists():
        path, number = Path(f"{stem}-{number}"), number + 1
    return path
