"""`anomaly`: scores of strangeness on a pair of data sets, both ways, or on a class held out; failures are printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from vaelab import store
from vaelab.data import Dataset
from vaelab.errors import InputError, unknown_name
from vaelab.fitted import Array, Fitted
from vaelab.latent import LatentMixture
from vaelab.latent.anomaly import judge, pixel_entropy, typicality
from vaelab.plots.clusters import plot_anomaly
from vaelab.regret import likelihood_regret
from vaelab.seeds import derive_seed
from vaelab.spec import Spec
from vaelab.study import single
from vaelab.study.cluster import Say
from vaelab.study.cluster_options import EM_ROWS
from vaelab.study.tune import default_folder
from vaelab.training import one_thread

Floats = npt.NDArray[np.float64]
REFERENCE_ROWS = 2_000  # training examples whose mean bound is the typical one


@dataclasses.dataclass(frozen=True)
class Direction:
    """One question: a model's own test examples against others."""

    name: str
    data: Dataset  # what the model is trained on
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
    rows: int = 1_000,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    say: Say = lambda text: None,
    epoch: Callable[[int], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Score test examples of `data` and of `other` (or of the class `held_out`) by models that know only the first.

    With two data sets both directions are judged, each by a model of its own, trained by `settings` unless `run` or
    `other_run` is its folder; where only `run` is given, only its direction. An AUROC under 0.5 is a failure and is
    told as one. Writes OUT/results.json and a picture for each direction.
    """
    if held_out is not None:
        if run is not None:
            raise InputError("a run that exists has seen the class; give DATA, so that a model is trained without it.")
        ways = [_without_class(data, held_out, rows)]
    else:
        assert other is not None
        ways = _pair(data, other, run, other_run, rows)
    if settings and all(way.run is not None for way in ways):
        raise InputError("runs that exist already have their settings; leave out `settings`.")
    spec = Spec.create(**{"seed": seed, **(settings or {})})
    folder = default_folder(dataclasses.replace(data, name=f"{data.name}-anomaly")) if out is None else Path(out)
    store.new_folder(folder, overwrite)
    with store.StudyLock(folder), one_thread():
        table = {"components": components, "rows": rows, "seed": seed, "directions": [way.name for way in ways]}
        store.write_atomic(folder / "config.toml", tomli_w.dumps({"anomaly": table}))
        found = []
        for number, way in enumerate(ways, 1):
            say(f"{way.name}: {'scoring' if way.run else f'training, {spec.epochs} epochs, and scoring'}")
            fitted = (
                single.train(way.data, spec, out=folder / f"model{number}", figures=False, progress=epoch).model
                if way.run is None
                else Fitted.load(way.run)
            )
            found.append(_judge(way, fitted, components, seed, folder / "figures" / f"anomaly_{number}.png"))
        results = {"anomaly": str(folder), "directions": found, "notes": _notes(ways, rows)}
        store.write_json(folder / "results.json", results)
    return results


def _pair(
    data: Dataset, other: Dataset, run: str | Path | None, other_run: str | Path | None, rows: int
) -> list[Direction]:
    if other.shape != data.shape or other.x.dtype != data.x.dtype:
        raise InputError(
            f"both data sets must have examples of one shape and type, but {data.name} has {data.shape} of "
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


def _test_rows(data: Dataset, most: int, keep: Callable[[Array], Array] = lambda rows: rows) -> Array:
    """At most so many test examples, evenly spaced."""
    rows = keep(data.splits["test"])
    return data.flat[rows[:: -(-len(rows) // most)]]


def _without_class(data: Dataset, name: str, most: int) -> Direction:
    """The data without a class in training and validation; its test examples are the strange ones."""
    if data.labels is None or name not in data.classes:
        raise (
            unknown_name("class", name, data.classes)
            if data.classes
            else InputError(f"{data.name} has no labels, so no class can be held out; say where they are by `target`.")
        )
    labels, code = data.labels, data.classes.index(name)
    splits = {split: rows[labels[rows] != code] for split, rows in data.splits.items()}
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
        "name": way.name,
        "run": str(fitted.folder),
        "known": {"name": way.names[0], "examples": len(way.known)},
        "other": {"name": way.names[1], "examples": len(way.other)},
        "scores": verdicts,
    }


def _scores(fitted: Fitted, x: Array, mixture: LatentMixture, reference: Floats) -> dict[str, Floats]:
    """Every score (n,), higher for stranger examples; entropies only where pixels are probabilities."""
    bound = -fitted.score_samples(x)
    found = {"bound": bound, "typicality": typicality(bound, reference), "regret": likelihood_regret(fitted, x)}
    if fitted.spec.likelihood == "bernoulli":
        entropy = pixel_entropy(fitted.scaling.to_model(fitted.rows(x)))
        found |= {"pixel_entropy": entropy, "bound_minus_entropy": bound - entropy}
    return found | {"mixture": -mixture.score_samples(fitted.encode(x)[0])}


def _notes(ways: list[Direction], rows: int) -> list[str]:
    notes = [f"at most {rows:,} test examples of each kind, evenly spaced."]
    if len(ways) == 1 and "against" in ways[0].name:
        notes.append("one direction only: a score that tells one pair apart may fail the other way round.")
    return notes
