"""Checkpoints: where a member's training stands, in one file, from which any worker goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.engine.training import MemberState
from vaelab.errors import StoreError
from vaelab.settings.spec import ModelSpec
from vaelab.store.files import check_digest, interpreting, pack, read_bytes, to_json, unpack, write_atomic

SUFFIX = ".checkpoint"


@dataclasses.dataclass(frozen=True)
class Member:
    """One training run: a trial in the search, or a finalist with one seed. `name` identifies it everywhere."""

    name: str
    spec: Any

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], spec_type: type[ModelSpec]) -> Member:
        return cls(fields["name"], spec_type.create(**fields["spec"]))

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "spec": self.spec.model_dump(mode="json")}


def checkpoint_path(work: Path, name: str) -> Path:
    """The file of a member's checkpoint: a line with the SHA-256 of the rest, a line of JSON, the arrays."""
    return work / f"{name}{SUFFIX}"


def begun_with(work: Path, name: str) -> dict[str, Any]:
    """The settings that a member was started with, from its checkpoint; none without one."""
    path = checkpoint_path(work, name)
    if not path.exists():
        return {}
    with interpreting(path):
        return dict(_contents(path)[0]["member"]["spec"])


def drop_torn(folder: Path, note: Callable[[str], None]) -> None:
    """Delete checkpoints below `folder` that are not whole, and tell that their members are trained again.

    A kill leaves every checkpoint whole; a loss of power need not, since training does not wait for the disk.
    """
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        content = read_bytes(path)
        try:
            _checked(path, content)
        except StoreError:
            path.unlink()
            note(f"the checkpoint of {path.stem} is not whole, as after a loss of power: it is trained again.")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A member between two epochs, with its records so far."""

    state: MemberState
    history: Sequence[Mapping[str, Any]]
    seconds: float
    has_stalled: bool

    def write(self, work: Path, member: Member) -> None:
        """In place of an earlier one, which is valid until the new one is whole."""
        path, state = checkpoint_path(work, member.name), self.state
        about = {
            "epoch": state.epoch, "step": state.step, "best_epoch": state.best_epoch,
            "best_loss": state.best_loss if math.isfinite(state.best_loss) else None, "history": self.history,
            "seconds": self.seconds, "has_stalled": self.has_stalled, "member": member.as_dict(),
        }  # fmt: skip
        lines = to_json(about, path).encode() + b"\n", pack(state.arrays, path)
        digest = hashlib.sha256(lines[0])
        digest.update(lines[1])
        write_atomic(path, b"".join((digest.hexdigest().encode(), b"\n", *lines)), synced=False)

    @classmethod
    def read(cls, work: Path, member: Member) -> Checkpoint | None:
        path = checkpoint_path(work, member.name)
        if not path.exists():
            return None
        with interpreting(path):
            return cls._of(path, *_contents(path), member)

    @classmethod
    def _of(cls, path: Path, about: Any, arrays: bytes, member: Member) -> Checkpoint:
        was, now = about["member"]["spec"], member.as_dict()["spec"]
        other = [f"{name} = {was.get(name)} instead of {now[name]}" for name in now if was.get(name) != now[name]]
        if other:
            raise StoreError(f"{path} was begun with {', '.join(other)}; resume with that, or start another run.")
        loss = math.inf if about["best_loss"] is None else about["best_loss"]
        state = MemberState(unpack(arrays, path), about["epoch"], about["step"], loss, about["best_epoch"])
        return cls(state, about["history"], about["seconds"], about["has_stalled"])


def _contents(path: Path) -> tuple[Any, bytes]:
    """The record and the arrays of a checkpoint that is whole."""
    about, _, arrays = _checked(path, read_bytes(path)).partition(b"\n")
    return json.loads(about), arrays


def _checked(path: Path, content: bytes) -> bytes:
    """A checkpoint's content without its first line, the digest, which it must have."""
    digest, _, rest = content.partition(b"\n")
    check_digest(path, rest, digest.decode("ascii", "replace"))
    return rest
