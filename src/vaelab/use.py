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
class Predictions:
    """Predictions for n examples: the class of each or "unknown", and p(c|x) (n, C)."""

    answers: list[str]
    proba: Array
    classes: tuple[str, ...]


def predict(folder: str | Path, source: Any, data_dir: str | Path | None = None) -> Predictions:
    """Classes of new examples, from a classifier or from the labelled mixture of a clustering.

    source: a file, a built-in name, or an array (n, *shape).
    """
    folder = Path(folder)
    if any((home / "mixture.json").is_file() for home in (folder, folder / "clusters")):
        from vaelab.latent import clusters as clustering

        fitted, clusters = clustering.open_clusters(folder)
        if clusters.table is None:
            raise InputError(f"{folder} has no labels, so its components have no names; cluster with `labels`.")
        shares = clusters.shares(*fitted.encode(new_rows(source, data_dir)))
        codes, proba = clusters.table.predict(shares, clusters.reject), clusters.table.predict_proba(shares)
        return Predictions(["unknown" if c < 0 else clusters.classes[c] for c in codes], proba, clusters.classes)
    model = load_classifier(folder)
    with one_thread():
        proba = model.predict_proba(new_rows(source, data_dir))
    return Predictions([model.classes[c] for c in proba.argmax(1)], proba, model.classes)


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


def other_data(model: Fitted, source: str, data_dir: str | Path | None = None) -> Dataset:
    """All rows of a file or built-in data set, checked against the model as in `encode`, for evaluation."""
    rows = model.rows(new_rows(source, data_dir))
    if len(rows) < 2:
        raise InputError(f"at least 2 examples are needed to evaluate a model, but {source} has {len(rows)}.")
    everything = np.arange(len(rows))
    splits = dict.fromkeys(data_module.SPLITS, everything)
    return Dataset(Path(source).name, rows.reshape(len(rows), *model.facts.shape), splits)


def new_rows(source: Any, data_dir: str | Path | None = None) -> Any:
    """Examples for a trained model from a file, a folder of pictures or a built-in name, in order.

    Columns of a table are matched by name later; pictures are sorted by folder and file name.
    """
    if isinstance(source, str) and source in data_module.BUILTIN:
        return data_module.load(source, data_dir=data_dir).x
    if isinstance(source, str | Path) and Path(source).is_dir():
        from vaelab.data.images import read_folder  # imports Pillow

        return read_folder(Path(source)).x
    return source
