"""`anomaly`: anomaly scores on a pair of data sets, in both directions, or on a held-out class; reports failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w
import torch

from vaelab import store
from vaelab.data import Dataset, describe
from vaelab.engine.process import one_thread
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, unknown_name
from vaelab.latent import LatentMixture
from vaelab.latent.anomaly_scores import judge, pixel_entropy, typicality
from vaelab.latent.options import EM_ROWS, identity, settings_table
from vaelab.latent.regret import likelihood_regret
from vaelab.latent.results import Say
from vaelab.plots.anomaly import plot_anomaly
from vaelab.report import build_anomaly_report
from vaelab.settings import checks
from vaelab.store.folders import default_folder
from vaelab.vae import run as single
from vaelab.vae.fitted import Array, Fitted
from vaelab.vae.spec import Spec

Floats = npt.NDArray[np.float64]
REFERENCE_ROWS = 2_000  # training examples for the typical bound
REGRET_ROWS = 500  # maximum test examples of each kind for regret, which fits a posterior to each


@dataclasses.dataclass(frozen=True)
class Direction:
    """One question: a model's own test examples against others."""

    name: str
    data: Dataset  # training data of the model
    run: Path | None
    known: Array
    other: Array
    names: tuple[str, str]


def anomaly(
    data: Dataset,
    other: Dataset | None = None,
    *,
    held_out: str | None = None,
    run: str | Path | None = None,
    other_run: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    components: int = 50,
    rows: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    say: Say = lambda text: None,
    epoch: Callable[[int], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Score test examples of `data` and of `other` (or the class `held_out`) with models trained only on the first.

    With two data sets both directions are evaluated, each with its own model, trained with `settings` unless `run` or
    `other_run` is its folder; if only `run` is given, only its direction. For a class a model is trained without
    it, with `settings` or those of `run`. An AUROC below 0.5 is reported as a failure.

    rows: maximum number of test examples of each kind to score, evenly spaced; by default all. Likelihood regret
    fits a posterior to each example, and uses at most 500 of each kind. Writes OUT/results.json, OUT/report.html
    and a picture for each direction; the test splits are read. resume: continue the interrupted one in `out`, with
    identical results.
    """
    if rows is not None and rows < 2:
        raise InputError(f"`rows` must be at least 2, but got {rows}.")
    if held_out is not None:
        ways = [_without_class(data, held_out, rows)]
    else:
        assert other is not None
        ways = _pair(data, other, run, other_run, rows)
    if settings and run is not None and (held_out is not None or all(way.run is not None for way in ways)):
        raise InputError("existing runs have their own settings; leave out `settings`.")
    spec = Spec.create(**{"seed": seed, **(settings or {})})
    if held_out is not None and run is not None:
        spec = Fitted.load(run).spec  # reuse it for a model that has not seen the class
    folder = default_folder(f"{data.name}-anomaly") if out is None else Path(out)
    config = _config(
        {"components": components, "rows": rows, "seed": seed, "held_out": held_out},
        {"run": run, "other_run": other_run},
        {"data": data, "other": other},
        settings or {},
    )
    if resume and _is_finished(folder, config):
        finished = dict(store.read_json(folder / "results.json"))
        say(f"note: {folder} is finished; there is nothing to resume.")
        return finished
    for way in ways:
        if way.run is not None:
            store.check_test_opening(way.run)
    with store.continuing(folder) if resume else store.building(folder, overwrite) as place, one_thread():
        store.write_atomic(place / "config.toml", tomli_w.dumps(config))
        found, specs = [], []
        for number, way in enumerate(ways, 1):
            say(f"{way.name}: {'scoring' if way.run else 'training and scoring'}")
            fitted = (
                single.resumable(way.data, spec, place / f"model{number}", figures=False, progress=epoch)
                if way.run is None
                else Fitted.load(way.run)
            )
            judged = _judge(way, fitted, components, seed, place / "figures" / f"anomaly_{number}.png")
            specs.append(fitted.spec.model_dump(mode="json"))
            own = folder / f"model{number}" if way.run is None else way.run
            found.append({"name": way.name, "run": str(own), **judged})
        results = {
            "anomaly": str(folder), "name": folder.resolve().name, "data": describe(data),
            "spec": specs[0], "directions": found, "notes": _notes(ways, rows),
        }  # fmt: skip
        store.write_json(place / "results.json", results)
        build_anomaly_report(place, Spec)
    return results


def _config(
    options: Mapping[str, Any],
    runs: Mapping[str, str | Path | None],
    data: Mapping[str, Dataset | None],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The tables of config.toml, which TOML holds: nothing in them is None."""
    of_data = {name: each.source for name, each in data.items() if each is not None}
    places = {name: str(Path(run).resolve()) for name, run in runs.items() if run is not None}
    tables = {"anomaly": {**options, **places}, **of_data, "settings": settings_table(settings)}
    return {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()}


def begun(place: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The arguments of `anomaly` that what is in `place` was begun with, and the sources of both data sets."""
    path = place / "config.toml"
    tables = store.read_toml(path, "there is nothing to resume")
    options, settings, source, other = (
        checks.table(f"[{name}] of {path}", tables.get(name, {})) for name in ("anomaly", "settings", "data", "other")
    )
    known = {"components", "rows", "seed", "held_out", "run", "other_run"}
    if not set(options) <= known or not source:
        raise InputError(f"{path} is not that of a test of anomaly scores, which alone is resumed; check the path.")
    return options | {"settings": settings}, source, other


def _is_finished(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether there is nothing left to resume; raises InputError if nothing was begun, or with other options."""
    place = store.unfinished(folder)
    if not (place / "config.toml").exists():
        raise InputError(f"there is nothing to resume: {folder} has no config.toml; leave out `resume`.")
    if identity(store.read_toml(place / "config.toml", "leave out `resume`")) != identity(config):
        raise InputError(f"{folder} was started with other data or options, see its config.toml; give the same ones.")
    return place == folder and (folder / "report.html").exists()


def _pair(
    data: Dataset, other: Dataset, run: str | Path | None, other_run: str | Path | None, rows: int | None
) -> list[Direction]:
    if other.shape != data.shape or other.x.dtype != data.x.dtype:
        raise InputError(
            f"both data sets must have examples of the same shape and type, but {data.name} has {data.shape} of "
            f"{data.x.dtype} and {other.name} {other.shape} of {other.x.dtype}."
        )
    first, second = _test_rows(data, rows), _test_rows(other, rows)
    names = (data.name, other.name)
    ways = [Direction(f"{names[0]} against {names[1]}", data, _path(run), first, second, names)]
    if run is None or other_run is not None:
        back = f"{names[1]} against {names[0]}"
        ways.append(Direction(back, other, _path(other_run), second, first, (names[1], names[0])))
    return ways


def _path(run: str | Path | None) -> Path | None:
    return None if run is None else Path(run)


def _test_rows(data: Dataset, most: int | None, keep: Callable[[Array], Array] = lambda rows: rows) -> Array:
    """Test examples, at most `most` of them, evenly spaced."""
    return _thinned(data.flat[keep(data.splits["test"])], most)


def _thinned(x: Array, most: int | None) -> Array:
    return x if most is None or len(x) <= most else x[np.arange(most) * len(x) // most]


def _without_class(data: Dataset, name: str, most: int | None) -> Direction:
    """The data without a class in training and validation; its test examples are the anomalies."""
    if data.labels is None or name not in data.classes:
        raise (
            unknown_name("class", name, data.classes)
            if data.classes
            else InputError(f"{data.name} has no labels, so no class can be held out; give them with `target`.")
        )
    labels, code = data.labels, data.classes.index(name)
    # A row without a label may be of that class.
    splits = {split: rows[(labels[rows] >= 0) & (labels[rows] != code)] for split, rows in data.splits.items()}
    seen = dataclasses.replace(data, name=f"{data.name} without {name}", splits=splits)
    known = _test_rows(seen, most)
    strange = _test_rows(data, most, lambda rows: rows[labels[rows] == code])
    return Direction(f"{data.name}: class {name} held out", seen, None, known, strange, (seen.name, f"class {name}"))


def _judge(way: Direction, fitted: Fitted, components: int, seed: int, picture: Path) -> dict[str, Any]:
    train = way.data.splits["train"]
    mean, std = fitted.encode(way.data.flat[train[:: -(-len(train) // EM_ROWS)]])
    points = mean + std * np.random.default_rng(derive_seed(seed, 2)).standard_normal(mean.shape)
    mixture = LatentMixture(min(components, len(points)), starts=1, seed=seed).fit(points)
    some = way.data.flat[train[:: -(-len(train) // REFERENCE_ROWS)]]
    reference = -fitted.score_samples(some)
    if fitted.folder is not None:
        store.count_test_opening(fitted.folder)
    known, other = (_scores(fitted, x, mixture, reference) for x in (way.known, way.other))
    verdicts = judge(known, other)
    plot_anomaly(known, other, verdicts, way.names, picture, way.name)
    return {
        "known": {"name": way.names[0], "examples": len(way.known)},
        "other": {"name": way.names[1], "examples": len(way.other)},
        "scores": verdicts,
    }


def _scores(fitted: Fitted, x: Array, mixture: LatentMixture, reference: Floats) -> dict[str, Floats]:
    """Every score (n,), higher is more anomalous; regret for some rows, entropies only if pixels are probabilities."""
    bound = -fitted.score_samples(x)
    regret = likelihood_regret(fitted, _thinned(x, REGRET_ROWS))
    found = {"bound": bound, "typicality": typicality(bound, reference), "regret": regret}
    pixels = fitted.scaling.to_model(fitted.rows(x))
    if fitted.model.likelihood.floor(torch.from_numpy(pixels)) is not None:
        entropy = pixel_entropy(pixels)
        found |= {"pixel_entropy": entropy, "bound_minus_entropy": bound - entropy}
    return found | {"mixture": -mixture.score_samples(fitted.encode(x)[0])}


def _notes(ways: list[Direction], rows: int | None) -> list[str]:
    notes = [] if rows is None else [f"at most {rows:,} test examples of each kind, evenly spaced."]
    if max(len(x) for way in ways for x in (way.known, way.other)) > REGRET_ROWS:
        notes.append(
            f"regret fits a posterior to each example: it uses at most {REGRET_ROWS} of each kind, evenly spaced."
        )
    notes.append("an AUROC is valid only for this pair: a score that works here may fail on another pair.")
    if len(ways) == 1 and "against" in ways[0].name:
        notes.append("one direction only: a score that works in one direction may fail in the other.")
    return notes
