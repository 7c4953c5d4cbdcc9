"""Run folders: one trained model, written atomically, every file checked when read."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vaelab import signals
from vaelab.errors import StoreError, shown
from vaelab.store.files import (
    as_object,
    check_digest,
    fail,
    name_of,
    null_for_nonfinite,
    pack,
    parse_json,
    read_bytes,
    read_object,
    sync_folder,
    to_json,
    unpack,
    write_json,
    write_new,
)
from vaelab.store.folders import check_writable, is_occupied, put
from vaelab.store.temporary import remove_all, sweep, temporary
from vaelab.version import __version__

FORMAT = 1
LISTED = ("spec.json", "data.json", "model.safetensors", "history.jsonl")  # in the manifest, with their digests


@dataclass(frozen=True)
class Run:
    """One trained model's folder, read back and checked."""

    folder: Path
    spec: dict[str, Any]
    data: dict[str, Any]
    weights: dict[str, NDArray[Any]]
    history: list[dict[str, Any]]
    metrics: dict[str, Any]


def save_run(
    folder: str | Path,
    *,
    spec: Mapping[str, Any],
    data: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    history: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:
    """Write a run folder atomically. Returns its path.

    spec and data: what is needed to build the model and to prepare its input. arrays: the weights, finite.
    history: one record per row; non-finite values become null (they occur when training diverges).
    metrics: the only file that may change later. An existing run is replaced only with `overwrite`.
    """
    folder = Path(folder)
    files = {
        "spec.json": (to_json(dict(spec), folder / "spec.json", indent=2) + "\n").encode(),
        "data.json": (to_json(dict(data), folder / "data.json", indent=2) + "\n").encode(),
        "model.safetensors": pack(arrays, folder / "model.safetensors"),
        "history.jsonl": "".join(
            to_json(null_for_nonfinite(dict(row)), folder / "history.jsonl") + "\n" for row in history
        ).encode(),
    }
    manifest = {
        "format": FORMAT,
        "vaelab": __version__,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    files["metrics.json"] = (to_json(dict(metrics), folder / "metrics.json", indent=2) + "\n").encode()
    files["manifest.json"] = (to_json(manifest, folder / "manifest.json", indent=2) + "\n").encode()
    try:
        occupied = is_occupied(folder)
        if occupied and not overwrite:
            raise StoreError(f"{name_of(folder)} exists; choose another `out`, or `overwrite` it.")
        check_writable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        new = temporary(folder.parent)
        with signals.held():
            try:
                new.mkdir()
                for name, content in files.items():
                    write_new(new / name, content)
                sync_folder(new)
                put(new, folder)
            except BaseException:
                remove_all(new)
                raise
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        fail("write", folder, error)
    return folder


def faults_of(folder: Path) -> list[str]:
    """All that is wrong with the files of a run, file by file; [] if `load_run` loads it."""
    found = []
    try:
        manifest = read_object(folder / "manifest.json")
        _check_format(folder, manifest)
    except StoreError as error:
        return [str(error)]
    for name in LISTED:
        try:
            _listed(folder, manifest, name)
        except StoreError as error:
            found.append(str(error))
    try:
        read_object(folder / "metrics.json")
    except StoreError as error:
        found.append(str(error))
    if not found:
        try:
            load_run(folder)
        except StoreError as error:
            found.append(str(error))
    return found


def load_run(folder: str | Path) -> Run:
    """Read a run folder and check all of it; raises StoreError that names the file and the problem.

    Code that builds the model from the spec checks shapes: `check_arrays(run.weights, expected, run.folder)`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StoreError(f"{name_of(folder)} is not a run folder: there is no such folder; check the path.")
    if not (folder / "manifest.json").exists():
        raise StoreError(f"{name_of(folder)} is not a run folder: it has no manifest.json; check the path.")
    manifest = read_object(folder / "manifest.json")
    _check_format(folder, manifest)
    contents: dict[str, bytes] = {}
    for name in LISTED:
        contents[name] = _listed(folder, manifest, name)
    return Run(
        folder=folder,
        spec=as_object(parse_json(contents["spec.json"], folder / "spec.json"), folder / "spec.json"),
        data=as_object(parse_json(contents["data.json"], folder / "data.json"), folder / "data.json"),
        weights=unpack(contents["model.safetensors"], folder / "model.safetensors"),
        history=_records(contents["history.jsonl"], folder / "history.jsonl"),
        metrics=read_object(folder / "metrics.json"),
    )


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The records of a run's epochs, also while it has no manifest; [] without history.jsonl."""
    path = folder / "history.jsonl"
    return _records(read_bytes(path), path) if path.exists() else []


def _records(data: bytes, path: Path) -> list[dict[str, Any]]:
    records = []
    for line in data.splitlines():
        record = as_object(parse_json(line, path), path)
        if type(record.get("epoch", 0)) is not int:
            raise StoreError(f"{name_of(path)}: `epoch` must be a whole number, but got {shown(record.get('epoch'))}.")
        for split in ("train", "validation"):
            as_object(record.get(split, {}), path)
        records.append(record)
    return records


def _listed(folder: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    """What a file of a run holds, as its manifest describes it."""
    files = manifest.get("files")
    entry = files.get(name) if isinstance(files, dict) else None
    if not (
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and isinstance(entry.get("sha256"), str)
        and set(entry) == {"bytes", "sha256"}
    ):
        raise StoreError(f"{name_of(folder / 'manifest.json')} is damaged: it does not describe {name}.")
    content = read_bytes(folder / name)
    if content and len(content) < entry["bytes"]:
        raise StoreError(
            f"{name_of(folder / name)} is truncated: {len(content)} of {entry['bytes']} bytes; restore it."
        )
    # An empty history is valid; any other empty file is reported by check_digest.
    check_digest(folder / name, content, entry["sha256"])
    return content


def update_metrics(folder: str | Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` into a run's metrics.json by key, under a lock; returns all metrics."""
    with _metrics_lock(Path(folder)) as path:
        metrics = {**read_object(path), **changes}
        write_json(path, metrics)
    return metrics


def check_test_opening(folder: str | Path) -> None:
    """Raise StoreError unless it can be recorded in the run's folder that its test split is read."""
    try:
        check_writable(Path(folder))
    except OSError:
        raise StoreError(
            f"{name_of(folder)} cannot be written, and reading its test split is recorded there; copy the folder to a "
            "place that you can write to, and use the copy."
        ) from None


def count_test_opening(folder: str | Path) -> int:
    """Increment the count of readings of the run's test split; returns the new count."""
    check_test_opening(folder)
    with _metrics_lock(Path(folder)) as path:
        metrics = read_object(path)
        count = metrics.get("test_opened", 0)
        if type(count) is not int or count < 0:
            raise StoreError(f"{name_of(path)} is damaged: test_opened must be a count, but got {shown(count)}.")
        write_json(path, {**metrics, "test_opened": count + 1})
    return count + 1


def _check_format(folder: Path, manifest: dict[str, Any]) -> None:
    found = manifest.get("format")
    if type(found) is not int or found < 1 or not isinstance(manifest.get("vaelab"), str):
        raise StoreError(f"{name_of(folder)} is not a run folder: its manifest.json is not vaelab's.")
    if found != FORMAT:
        raise StoreError(
            f"{name_of(folder)} was written by format {found}; this vaelab reads format {FORMAT}; upgrade vaelab."
        )


@contextlib.contextmanager
def _metrics_lock(folder: Path) -> Iterator[Path]:
    """The path of metrics.json, locked against other processes."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise StoreError(f"{name_of(path)} is missing; {name_of(folder)} is not a run folder.")
    try:
        # A separate lock file: each write replaces metrics.json, and this process may already hold .lock.
        descriptor = os.open(folder / ".metrics.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        fail("lock", path, error)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(descriptor)
