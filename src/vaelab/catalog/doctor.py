"""What is wrong with the folder of a run or study, and what helps. It changes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaelab import data, store
from vaelab.catalog.entries import is_ours, state_of
from vaelab.errors import InputError, StoreError
from vaelab.store.files import name_of
from vaelab.store.folders import destination, holder, preparation
from vaelab.store.kinds import command_of, how_to_resume
from vaelab.store.temporary import left_below
from vaelab.version import __version__
from vaelab.wording import counted

CONFIGURED = ("tune", "classify", "regress", "compare", "invert")  # commands with --config


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is wrong, and what helps."""

    what: str
    remedy: str


def examine(folder: str | Path) -> list[Finding]:
    """All that is wrong with a run or study; [] if nothing is. Raises InputError if none is there."""
    folder = Path(folder)
    place = folder if folder.is_dir() else preparation(folder)
    if not place.is_dir():
        raise InputError(f"{folder} is not a folder; check the path.")
    if not is_ours(place) and not (place / ".lock").exists() and not (place / "study.db").exists():
        raise InputError(f"{folder} holds no run or study; `vaelab list` shows those below a folder.")
    found = [*_unfinished(place), *_files(place), *_database(place), *_data(place), *_version(place)]
    partial = preparation(folder)
    if place == folder and partial.is_dir():
        found += _unfinished(partial)
    for left in left_below(place):
        found.append(Finding(f"{name_of(left)} was left by a process that is gone.", f"`rm -r {_quoted(left)}`"))
    return found


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _unfinished(place: Path) -> Iterator[Finding]:
    process = holder(place)
    if process is not None:
        yield Finding(f"{name_of(place)} is in use by {process}.", "wait until it finishes, or end it with Ctrl-C")
    elif state_of(place) == "interrupted":
        how = how_to_resume(place, destination(place))
        if command_of(place) is None:
            how = f"nothing was done yet: `rm -r {_quoted(place)}`, and begin again"
        yield Finding(f"{name_of(place)} is unfinished, and no process works on it.", how)


def _files(place: Path) -> Iterator[Finding]:
    """Files that cannot be read: of the folder and of all runs in it."""
    again = _again(place)
    for path in sorted(place.glob("*.json")):
        yield from _readable(path, again)
    for path in sorted(place.glob("*.toml")):
        try:
            store.read_toml(path, "restore it")
        except StoreError as error:
            yield Finding(str(error), again)
    for manifest in sorted(place.rglob("manifest.json")):
        try:
            store.load_run(manifest.parent)
        except StoreError as error:
            yield Finding(str(error), again)
    is_study = command_of(place) in ("tune", "classify", "regress")
    if is_study and not (place / "study.db").exists():
        yield Finding(f"{name_of(place / 'study.db')} is missing.", again)


def _readable(path: Path, again: str) -> Iterator[Finding]:
    if path.name in ("spec.json", "data.json") and (path.parent / "manifest.json").exists():
        return  # checked with the run
    try:
        store.read_json(path)
    except StoreError as error:
        yield Finding(str(error), again)


def _again(place: Path) -> str:
    """What makes the folder anew."""
    command, folder = command_of(place), _quoted(destination(place))
    if command in CONFIGURED:
        config = _quoted(place / "config.toml")
        return f"restore it from a copy, or `vaelab {command} --config {config} --out {folder} --overwrite`"
    return f"restore it from a copy, or `vaelab {command or 'train'} DATA --out {folder} --overwrite`"


def _database(place: Path) -> Iterator[Finding]:
    path = place / "study.db"
    if not path.is_file() or holder(place) is not None:
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as base:
            fault = base.execute("PRAGMA quick_check(1)").fetchone()[0]
            begun = base.execute("SELECT count(*) FROM trials WHERE state IN ('RUNNING', 'WAITING')").fetchone()[0]
    except sqlite3.Error as error:
        fault, begun = str(error), 0
    if fault != "ok":
        yield Finding(f"{name_of(path)} is damaged: {fault}.", _again(place))
    if begun and state_of(place) == "finished":
        how = how_to_resume(place, destination(place))
        yield Finding(f"{counted(begun, 'trial')} of {name_of(path)} begun and not finished.", how)


def _data(place: Path) -> Iterator[Finding]:
    """Whether the data are where they were, and the same."""
    try:
        source = _source(place)
    except StoreError:
        return  # of the file that cannot be read, which was told
    if source is None or source.get("kind") == "array":
        return
    path = str(source.get("source"))
    if source.get("kind") == "file" and not Path(path).exists():
        yield Finding(f"the data are no longer at {name_of(path)}.", "say by `--data FILE` where they are now")
        return
    try:
        data.load_again(source)
    except InputError as error:
        remedy = "restore the data, or begin again with the new ones"
        yield Finding(f"the data cannot be read as they were: {error}", remedy)


def _source(place: Path) -> dict[str, Any] | None:
    for name in ("config.toml", "data.json"):
        if not (place / name).is_file():
            continue
        found = store.read_toml(place / name, "") if name == "config.toml" else store.read_json(place / name)
        source = found.get("data" if name == "config.toml" else "source")
        if isinstance(source, dict) and "source" in source:
            return source
    return None


def _version(place: Path) -> Iterator[Finding]:
    found = set()
    for manifest in [place / "manifest.json", place / "best" / "manifest.json"]:
        if manifest.is_file():
            try:
                found.add(str(store.read_json(manifest)["vaelab"]))
            except (StoreError, KeyError, TypeError):
                continue  # told with the run's files
    for was in sorted(found - {__version__}):
        yield Finding(
            f"{name_of(place)} was written by vaelab {was}, and this is {__version__}: results may differ.",
            f"`pip install vaelab=={was}` where they must be the same, or make it anew",
        )
