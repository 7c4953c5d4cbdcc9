"""The compared models by name, as settings or run folders, and the comparison's config.toml. No torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from vaelab import store
from vaelab.errors import InputError, StoreError, shown, unknown_name
from vaelab.settings import checks
from vaelab.settings.checks import MOST_RUNS, flag, seed, whole
from vaelab.settings.spec import parse_settings
from vaelab.store.files import name_of
from vaelab.study.watch import Watch
from vaelab.vae.spec import Spec

LONGEST_NAME = 60
Given = Spec | Mapping[str, Any] | str | Path  # a model: its settings, or the path of a TOML file or a run


class ComparisonWatch(Watch):
    """Progress events of a comparison, in addition to the epochs and notes of a study."""

    def training(self, epochs: Mapping[str, int]) -> None:
        """Runs to train, and the number of epochs of each."""

    def judging(self, done: int, total: int) -> None:
        """The number of evaluated runs."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model: the settings of its runs, or the folder of an existing run."""

    name: str
    settings: Mapping[str, Any] | None = None
    run: Path | None = None


@dataclasses.dataclass(frozen=True)
class Lineup:
    """The configuration of a comparison; equal lineups on equal data give equal results for any number of workers."""

    entries: tuple[Entry, ...]
    seeds: int = 5
    seed: int = 0
    figures: bool = True

    @classmethod
    def create(
        cls,
        models: Mapping[str, Given],
        settings: Mapping[str, Any] | None = None,
        *,
        seeds: int = 5,
        seed: int = 0,
        figures: bool = True,
    ) -> Lineup:
        """A checked lineup. `settings` are shared; a model's own settings take precedence."""
        shared = {} if settings is None else checks.table("`settings`", settings)
        models = checks.table("`models`", models)
        _refuse_seed(shared, "the shared settings")
        Spec.create(**shared)
        lineup = cls(tuple(_entry(name, model, shared) for name, model in models.items()), seeds, seed, figures)
        lineup._check()
        for entry in lineup.entries:
            if entry.run is not None and not entry.run.is_dir():
                raise InputError(
                    f"model {shown(entry.name)}: {name_of(entry.run)} is not a run folder: there is no such folder; "
                    "check the path."
                )
        return lineup

    def _check(self) -> None:
        whole("seeds", self.seeds, 1, MOST_RUNS)
        seed("seed", self.seed)
        flag("figures", self.figures)
        if len(self.entries) < 2:
            raise InputError(
                f"a comparison needs at least two models, but got {len(self.entries)}; "
                "add one, or train a single model."
            )
        for name in (entry.name for entry in self.entries):
            _check_name(name)
        _refuse_repeated([entry.name for entry in self.entries])
        runs = [entry.run.resolve() for entry in self.entries if entry.run is not None]
        if len(set(runs)) < len(runs):
            raise InputError("two models must not be the same run folder; leave one of them out.")

    def to_toml(self, data: Mapping[str, Any]) -> str:
        return tomli_w.dumps(
            {
                "compare": {"seeds": self.seeds, "seed": self.seed, "figures": self.figures},
                "data": {k: v for k, v in data.items() if v is not None},
                "models": [_table(entry) for entry in self.entries],
            }
        )

    def save(self, folder: Path, data: Mapping[str, Any]) -> None:
        store.write_atomic(folder / "config.toml", self.to_toml(data))

    @classmethod
    def read(cls, path: Path) -> tuple[Lineup, dict[str, Any]]:
        """The lineup and the data source of a comparison's config.toml."""
        table = store.read_toml(path, "this is not a comparison folder")
        options, models = table.get("compare"), table.get("models")
        if not isinstance(options, dict) or not isinstance(models, list):
            raise StoreError(f"{path} is not from a comparison: it has no [compare] and [[models]]; check the path.")
        for name in options:
            if name not in ("seeds", "seed", "figures"):
                raise unknown_name("key of [compare]", name, ("seeds", "seed", "figures"))
        entries = []
        for model in models:
            known = {"name", "run", "settings"}
            if not isinstance(model, dict) or not set(model) <= known or not isinstance(model.get("name"), str):
                raise StoreError(f"{path} is damaged: each of [[models]] has a name, and a run or settings.")
            run = model.get("run")
            given: Given = Path(run) if isinstance(run, str) else model.get("settings", {})
            entries.append(_entry(model["name"], given, {}))
        lineup = cls(tuple(entries), **options)
        lineup._check()
        return lineup, checks.table(f"[data] of {path}", table.get("data", {}))


def _entry(name: str, model: Given, shared: Mapping[str, Any]) -> Entry:
    if isinstance(model, str | Path):
        path = Path(model)
        if path.suffix.lower() != ".toml":
            return Entry(name, run=path.absolute())
        model = store.read_toml(path, "give a TOML file of settings")
    if isinstance(model, Spec):
        own = model.model_dump(exclude_unset=True, exclude={"seed"})
    elif isinstance(model, Mapping):
        own = dict(model)
    else:
        raise InputError(f"model {shown(name)} must be a Spec, settings or a path, but got {shown(model)}.")
    _refuse_seed(own, f"model {shown(name)}")
    merged = {k: v for k, v in {**shared, **own}.items() if v is not None}
    try:
        Spec.create(**merged)
    except InputError as error:
        raise InputError(f"model {shown(name)}: {error}") from None
    return Entry(name, settings=merged)


def _refuse_seed(settings: Mapping[str, Any], where: str) -> None:
    if "seed" in settings:
        raise InputError(f"{where} must leave `seed` out: the comparison gives every model the same seeds.")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(
            f"a model's name must be 1 to {LONGEST_NAME} printable characters, but got {shown(name)}; "
            "give another as NAME:..."
        )
    if "/" in name or "\\" in name or name.startswith((".", "~")):
        raise InputError(f"a model's name must not look like a path, but got {shown(name)}; give another as NAME:...")


def _refuse_repeated(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"each model needs its own name, but {shown(name)} appears twice; rename one.")


def _table(entry: Entry) -> dict[str, Any]:
    if entry.run is not None:
        return {"name": entry.name, "run": str(entry.run)}
    assert entry.settings is not None
    # Hidden widths in --model syntax; TOML handles the rest.
    plain = {
        k: ("-".join(map(str, v)) or "none") if isinstance(v, tuple | list) else v for k, v in entry.settings.items()
    }
    return {"name": entry.name, "settings": plain}


def parse_models(texts: Sequence[str]) -> dict[str, Given]:
    """Models from --model texts: NAME:SETTING=VALUE,..., NAME:PATH, or a PATH named after its last part.

    >>> parse_models(["wide:hidden=64-32,latent_dim=2", "plain:"])
    {'wide': {'hidden': '64-32', 'latent_dim': 2}, 'plain': {}}
    """
    found = [_parse_model(text) for text in texts]
    _refuse_repeated([name for name, _ in found])
    return dict(found)


def _parse_model(text: str) -> tuple[str, Given]:
    if _is_path(text):
        return Path(text).stem if text.lower().endswith(".toml") else Path(text).resolve().name, Path(text)
    name, colon, rest = text.partition(":")
    if not colon or "=" in name:
        raise InputError(
            "a model is written NAME:SETTING=VALUE,..., NAME:FILE.toml, FILE.toml or RUNFOLDER, "
            f"but got {shown(text)}; check the name and the path."
        )
    _check_name(name)
    if rest and (_is_path(rest) or "=" not in rest):
        return name, Path(rest)
    try:
        return name, parse_settings(rest.split(","), Spec) if rest else {}
    except InputError as error:
        raise InputError(f"model {shown(name)}: {error}") from None


def _is_path(text: str) -> bool:
    try:
        return (text.lower().endswith(".toml") and ":" not in text) or Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or contains a null character
        return False


def folder_name(number: int, name: str) -> str:
    """A folder name for the runs of a model, whose name may be any text.

    >>> folder_name(0, "wide"), folder_name(12, "<b>my net!</b>"), folder_name(3, "模型")
    ('00-wide', '12-b-my-net-b', '03-model')
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40].strip("-")
    return f"{number:02d}-{plain or 'model'}"
