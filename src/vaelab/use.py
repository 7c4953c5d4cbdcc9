"""Using a trained model: load it from its folder, evaluate it, apply it to new rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from vaelab import data as data_module
from vaelab import store
from vaelab.classifier.fitted import FittedClassifier
from vaelab.data import Dataset
from vaelab.engine.process import one_thread
from vaelab.errors import InputError
from vaelab.settings.yardsticks import FINAL_DRAWS
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.evaluate import baseline
from vaelab.vae.feed import Feed
from vaelab.vae.fitted import Array, Fitted


def sample_class(folder: str | Path, name: str, n: int, seed: int = 0, noise: bool = False) -> tuple[Fitted, Array]:
    """The model, and E[x|z] (n, *shape) for z drawn from the components of a class; `folder` is from `cluster`.

    With `noise`, draws of x ~ p(x|z) at the same z.
    """
    from vaelab.latent import clusters as clustering  # imports scikit-learn and matplotlib

    return clustering.sample_class(folder, name, n, seed, noise)


def is_run(source: str | Path) -> bool:
    """Whether this is the folder of a run, of a study, or of a clustering."""
    folder = Path(source)
    return any((folder / name).exists() for name in ("manifest.json", "study.db", "mixture.json"))


def run_folder(folder: str | Path) -> Path:
    """The run folder itself, or the best run of a study."""
    folder = Path(folder)
    if (folder / "problem.json").is_file():
        raise InputError(f"{folder} is the run of an inverse problem; use `vaelab solve`.")
    if (folder / "study.db").exists() and not (folder / "best").exists():
        raise InputError(
            f"{folder} has no best model: the study stopped early or found none; see its report, or resume it."
        )
    return folder / "best" if (folder / "config.toml").exists() else folder


def load(folder: str | Path, *, encoder: Any = None, decoder: Any = None) -> Fitted:
    """The VAE of a run folder, the best one of a study folder, or that of a clustering.

    encoder, decoder: the custom torch modules of the run, if any; files contain only their weights.
    """
    folder, custom = Path(folder), CustomNetworks.of(encoder, decoder)
    if (folder / "mixture.json").is_file():
        from vaelab.latent import clusters as clustering

        return clustering.open_clusters(folder)[0]
    return Fitted.load(run_folder(folder), custom=custom)


def load_classifier(folder: str | Path) -> FittedClassifier:
    """The classifier of a run folder, or the best one of a study folder."""
    return FittedClassifier.load(run_folder(folder))


@dataclasses.dataclass(frozen=True)
class NewRows:
    """Examples for a trained model, and the names of the rows, if they have any, with what these are called."""

    x: Array
    ids: Array | None = None
    id_name: str = "row"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions for n examples: the class of each or "unknown", and p(c|x) (n, C); `rows`: of which examples."""

    answers: list[str]
    proba: Array
    classes: tuple[str, ...]
    rows: NewRows


def predict(folder: str | Path, source: Any, data_dir: str | Path | None = None, **reading: Any) -> Predictions:
    """Classes of new examples, from a classifier or from the labelled mixture of a clustering.

    source: a file, a built-in name, or an array (n, *shape). reading: see `new_rows`.
    """
    folder = Path(folder)
    if any((home / "mixture.json").is_file() for home in (folder, folder / "clusters")):
        from vaelab.latent import clusters as clustering

        fitted, clusters = clustering.open_clusters(folder)
        if clusters.table is None:
            raise InputError(f"{folder} has no labels, so its components have no names; cluster with `labels`.")
        rows = new_rows(fitted, source, data_dir, **reading)
        shares = clusters.shares(*fitted.encode(rows.x))
        codes, proba = clusters.table.predict(shares, clusters.reject), clusters.table.predict_proba(shares)
        return Predictions(["unknown" if c < 0 else clusters.classes[c] for c in codes], proba, clusters.classes, rows)
    model = load_classifier(folder)
    rows = new_rows(model, source, data_dir, **reading)
    with one_thread():
        proba = model.predict_proba(rows.x)
    return Predictions([model.classes[c] for c in proba.argmax(1)], proba, model.classes, rows)


def evaluate(model: Fitted, data: Dataset, split: str = "validation", k: int = 64) -> dict[str, Any]:
    """A model's metrics on a split, its importance-weighted bound with k draws, and the baseline.

    Opening the test split of the model's own data is recorded in its run folder.
    """
    if split == "test" and model.folder is not None:
        store.count_test_opening(model.folder)
    with one_thread():
        bound = model.importance_bound(data, split, k)
        metrics = model.evaluate(data, split, FINAL_DRAWS)
    feed = Feed(data, model.spec, model.scaling)
    return {
        "run": str(model.folder),
        "split": split,
        "examples": len(data.splits[split]),
        **metrics,
        "bound": dataclasses.asdict(bound),
        "mutual_information": dataclasses.asdict(model.mutual_information(data, split)),
        "baseline": baseline(feed, split).as_dict(),
    }


def other_data(model: Fitted, source: str, data_dir: str | Path | None = None, **reading: Any) -> Dataset:
    """All rows of a file or built-in data set, checked against the model as in `encode`, for evaluation."""
    rows = model.rows(new_rows(model, source, data_dir, **reading).x)
    if len(rows) < 2:
        raise InputError(f"at least 2 examples are needed to evaluate a model, but {source} has {len(rows)}.")
    everything = np.arange(len(rows))
    splits = dict.fromkeys(data_module.SPLITS, everything)
    return Dataset(Path(source).name, rows.reshape(len(rows), *model.facts.shape), splits)


def new_rows(
    model: Fitted | FittedClassifier, source: Any, data_dir: str | Path | None = None, **reading: Any
) -> NewRows:
    """Examples for a trained model from a file, a folder of pictures, a built-in name or arrays, in order.

    Columns of a table are matched by name; pictures are sorted by folder and file name.

    reading: options of `vaelab.data.Reading` that differ from those of the training data, such as id="patient".
    """
    facts = model.facts
    if isinstance(source, str) and source in data_module.BUILTIN:
        return NewRows(data_module.load(source, data_dir=data_dir).x)
    if isinstance(source, str | Path) and Path(source).is_dir() and len(facts.shape) > 1:
        from vaelab.data.images import read_folder  # imports Pillow

        raw = read_folder(Path(source))
        return NewRows(raw.x, np.array(raw.ids), raw.id_name)
    chosen = data_module.Reading.create(**{**facts.reading.to_dict(), **reading})
    x, ids = data_module.new_rows(source, facts.shape, dtype_hint=facts.dtype, columns=facts.columns, reading=chosen)
    if ids is None:
        if "id" in reading:
            raise InputError(f"the new examples have no column {reading['id']!r} with their names; leave `id` out.")
        return NewRows(x)
    return NewRows(x, ids, chosen.id or "id")
