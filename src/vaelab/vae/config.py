"""The options of `train`, stored in config.toml, from which an interrupted run is resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from vaelab import store
from vaelab.errors import StoreError
from vaelab.settings.checks import table
from vaelab.settings.spec import written
from vaelab.store.files import name_of
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What was asked of `train`; `custom` names the networks that came from Python."""

    spec: Spec
    starts: int = 1
    open_test: bool = False
    figures: bool = True
    timeout: float | None = None
    custom: tuple[str, ...] = ()

    def save(self, folder: Path, data: Mapping[str, Any]) -> None:
        """Write config.toml, with the source of the data."""
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "spec"}
        settings = {k: written(k, v) if isinstance(v, tuple) else v for k, v in self.spec if v is not None}
        tables = {"train": options | {"custom": list(self.custom)}, "data": data, "settings": settings}
        given = {name: {k: v for k, v in each.items() if v is not None} for name, each in tables.items()}
        store.write_atomic(folder / "config.toml", tomli_w.dumps(given))

    @classmethod
    def read(cls, path: Path) -> tuple[TrainConfig, dict[str, Any]]:
        """The options of a config.toml, and the source of the data."""
        found = store.read_toml(path, "there is nothing to resume")
        options, data, settings = (
            table(f"[{name}] of {name_of(path)}", found.get(name, {})) for name in ("train", "data", "settings")
        )
        if not set(options) <= {f.name for f in dataclasses.fields(cls)} or "train" not in found:
            raise StoreError(f"{name_of(path)} is not that of a run of `vaelab train`; check the path.")
        return cls(Spec.create(**settings), **options | {"custom": tuple(options.get("custom", ()))}), data
