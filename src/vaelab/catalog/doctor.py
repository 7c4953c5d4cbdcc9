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
from vaelab.store.files import check_digest, name_of, read_bytes
from vaelab.store.folders import destination, holder, how_to_begin_again, preparation
from vaelab.store.kinds import command_of, how_to_resume, is_made_at_once
from vaelab.store.runs import faults_of
from vaelab.store.temporary import left_below
from vaelab.version import __version__
from vaelab.wording import counted

CONFIGURED = ("tune", "classify", "regress", "compare", "invert")  # commands with --config
DRAWN_AGAIN = ("cluster", "anomaly", "tune", "classify", "regress")  # whose --resume draws the page of what is finished
OF_RUN = ("spec.json", "data.json", "metrics.json")  # checked with the run


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
        how = _again(place) if is_made_at_once(place) else how_to_resume(place, destination(place))
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
        for fault in faults_of(manifest.parent):
            yield Finding(fault, again)
    yield from _report(place)
    is_study = command_of(place) in ("tune", "classify", "regress")
    if is_study and not (place / "study.db").exists():
        yield Finding(f"{name_of(place / 'study.db')} is missing.", again)


def _readable(path: Path, again: str) -> Iterator[Finding]:
    if path.name in OF_RUN and (path.parent / "manifest.json").exists():
        return  # checked with the run
    try:
        facts = store.read_json(path)
        digest = facts.get("arrays_sha256") if isinstance(facts, dict) else None
        if isinstance(digest, str):
            arrays = path.with_suffix(".safetensors")
            check_digest(arrays, read_bytes(arrays), digest)
    except StoreError as error:
        yield Finding(str(error), again)


def _report(place: Path) -> Iterator[Finding]:
    """Whether what is finished has its page."""
    if (place / "report.html").is_file() or state_of(place) != "finished":
        return
    command = command_of(place)
    if command == "cluster":
        config = store.read_toml(place / "config.toml", "nothing was begun there")
        if config["cluster"].get("figures") is False:
            return
    is_drawn = command in DRAWN_AGAIN and not is_made_at_once(place)
    how = how_to_resume(place, destination(place)) if is_drawn else _again(place)
    yield Finding(f"{name_of(place / 'report.html')} is missing.", how)


def _again(place: Path) -> str:
    """What makes the folder anew."""
    command, folder = command_of(place), _quoted(destination(place))
    if command in CONFIGURED:
        line = f"vaelab {command} --config {_quoted(place / 'config.toml')} --out {folder} --overwrite"
    else:
        given = "RUN FILE" if is_made_at_once(place) else "DATA"
        line = how_to_begin_again(place, destination(place)) or (
            f"vaelab {command or 'train'} {given} --out {folder} --overwrite"
        )
    return f"restore it from a copy, or `{line}`"


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
    """Whether the data are where they were, and the same; also those that a test of anomaly scores has beside."""
    yield from _data_of(place, "data", "--data")
    yield from _data_of(place, "other", "--against")


def _data_of(place: Path, table: str, option: str) -> Iterator[Finding]:
    try:
        source = _source(place, table)
    except StoreError:
        return  # of the file that cannot be read, which was told
    if source is None or source.get("kind") == "array":
        return
    path = str(source.get("source"))
    if source.get("kind") == "file" and not Path(path).exists():
        yield Finding(f"the data are no longer at {name_of(path)}.", f"say by `{option} FILE` where they are now")
        return
    try:
        data.load_again(source)
    except InputError as error:
        remedy = "restore the data, or begin again with the new ones"
        yield Finding(f"the data cannot be read as they were: {error}", remedy)


def _source(place: Path, table: str) -> dict[str, Any] | None:
    for name in ("config.toml", "data.json") if table == "data" else ("config.toml",):
        if not (place / name).is_file():
            continue
        found = store.read_toml(place / name, "") if name == "config.toml" else store.read_json(place / name)
        source = found.get(table if name == "config.toml" else "source")
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
