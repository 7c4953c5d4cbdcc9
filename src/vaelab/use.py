"""Using a trained model: load it from its folder, evaluate it, apply it to new rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab import data as data_module
from vaelab import store
from vaelab.classifier.fitted import FittedClassifier
from vaelab.data import Dataset
from vaelab.data.cells import Unseen, rows_in_words, unknown_levels
from vaelab.data.labels import as_labels
from vaelab.data.style import ISO, Style
from vaelab.engine.process import one_thread
from vaelab.errors import InputError, shown
from vaelab.regressor.fitted import FittedRegressor
from vaelab.regressor.scores import LEVEL, half_width
from vaelab.settings import checks
from vaelab.settings.yardsticks import FINAL_DRAWS
from vaelab.supervised.fitted import FittedSupervised
from vaelab.vae import paths
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.evaluate import baseline
from vaelab.vae.feed import Feed
from vaelab.vae.fitted import Array, Fitted
from vaelab.wording import counted

if TYPE_CHECKING:
    from vaelab.comparison.drift import Drift
    from vaelab.latent.row_scores import RowScores


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
    folder = checks.folder("folder", folder)
    if (folder / "problem.json").is_file():
        raise InputError(f"{folder} is the run of an inverse problem; use `vaelab solve`.")
    if (folder / "study.db").exists() and not (folder / "best").exists():
        raise InputError(
            f"{folder} has no best model: the study stopped early or found none; see its report, or resume it."
        )
    if store.command_of(folder) == "compare":
        runs = sorted(path.parent for path in (folder / "models").glob("*/*/manifest.json"))
        some = f", such as {runs[0]}" if runs else ""
        raise InputError(f"{folder} is a comparison; choose one of its runs, {folder}/models/*/seed*{some}.")
    is_own = (folder / "manifest.json").exists() or not (folder / "config.toml").exists()
    return folder if is_own else folder / "best"


def load(folder: str | Path, *, encoder: Any = None, decoder: Any = None) -> Fitted:
    """The VAE of a run folder, the best one of a study folder, or that of a clustering.

    encoder, decoder: the custom torch modules of the run, if any; files contain only their weights.
    """
    folder, custom = checks.folder("folder", folder), CustomNetworks.of(encoder, decoder)
    if (folder / "mixture.json").is_file():
        from vaelab.latent import clusters as clustering

        return clustering.open_clusters(folder)[0]
    return Fitted.load(run_folder(folder), custom=custom)


def load_classifier(folder: str | Path) -> FittedClassifier:
    """The classifier of a run folder, or the best one of a study folder."""
    return FittedClassifier.load(run_folder(folder))


def load_regressor(folder: str | Path) -> FittedRegressor:
    """The regressor of a run folder, or the best one of a study folder."""
    return FittedRegressor.load(run_folder(folder))


@dataclasses.dataclass(frozen=True)
class NewRows:
    """Examples for a trained model; the names of the rows, if they have any, with what these are called; splits.

    unseen: levels that the model's columns do not have, whose cells are missing in x. unused: columns as read that are
    neither the model's nor the ids.
    """

    x: Array
    ids: Array | None = None
    id_name: str = "row"
    split: Array | None = None  # of each row, if these are the data that the model was trained on
    unseen: Unseen = dataclasses.field(default_factory=dict)
    style: Style = ISO  # how the table of text that they came from is written
    unused: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What the user should know about how the rows were read."""
        return self.told_unseen("read as missing")

    def told_unseen(self, consequence: str) -> list[str]:
        """Which columns hold levels that training did not have, and what this means for their rows."""
        return [
            f"column {column!r} holds levels that training did not have, {consequence}: {rows_in_words(cells)}."
            for column, cells in self.unseen.items()
        ]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions of classes for n examples.

    answers: (n,) labels as the training data had them, whole numbers, bools or text; of a clustering without labels the
        number of the cluster, as text. "unknown" stands where there is no answer, beside which numbers are objects.
    proba: (n, C) p(c|x), in the order of `classes`. rows: of which examples.
    """

    answers: Array
    proba: Array
    classes: tuple[str, ...]
    rows: NewRows
    how: list[str] = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        return f"Predictions({len(self.answers):,} answers, proba {self.proba.shape}, classes {shown(self.classes)})"

    @property
    def notes(self) -> list[str]:
        """What the user should know: how the rows were read, and by what they are answered."""
        return [*self.rows.notes, *self.how]


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Predictions of numbers for n examples: means, and the ends of their intervals, each (n,)."""

    mean: Array
    lower: Array
    upper: Array
    rows: NewRows


def predicts_numbers(folder: str | Path) -> bool:
    """Whether this is the folder of a regressor, or of a study of them."""
    home = Path(folder)
    if any((each / "mixture.json").is_file() for each in (home, home / "clusters")):
        return False
    return store.load_run(run_folder(home)).data.get("kind") == FittedRegressor.kind


def estimate(
    folder: str | Path, source: Any, level: float | None = None, data_dir: str | Path | None = None, **reading: Any
) -> Estimates:
    """Numbers for new examples, from a regressor, with intervals of a level, by default 0.9.

    source: a file, or an array (n, *shape). reading: see `new_rows`.
    """
    model = load_regressor(folder)
    level = LEVEL if level is None else level
    half_width(model.extras["residuals"], level)  # reject a level before the rows are read
    rows = with_split(model, new_rows(model, source, data_dir, **reading), source)
    with one_thread():
        return Estimates(*model.predict_interval(rows.x, level), rows)


def predict(
    folder: str | Path, source: Any, by: str | None = None, *, data_dir: str | Path | None = None, **reading: Any
) -> Predictions:
    """Classes of new examples, from a classifier or from a clustering: without labels, its clusters.

    source: a file, a built-in name, or an array (n, *shape). by: of a clustering with labels, "mixture", its named
    components, or "graph", label propagation; by default what its validation split chose. reading: see `new_rows`.

    Returns `answers` (n,), labels as the training data had them (whole numbers, bools or text, "unknown" where there is
    no answer), and `proba` (n, C), p(c|x) in the order of `classes`.

    >>> from vaelab import classify
    >>> folder = getfixture("tmp_path") / "study"
    >>> study = classify("digits", trials=1, settings={"epochs": 2}, figures="none", out=folder)
    >>> found = predict(folder, "digits")
    >>> found.answers.dtype, found.proba.shape
    (dtype('int64'), (1797, 10))
    """
    folder = Path(folder)
    if any((home / "mixture.json").is_file() for home in (folder, folder / "clusters")):
        from vaelab.latent import clusters as clustering
        from vaelab.latent.described import NOISE, assigned, cluster_names

        fitted, clusters = clustering.open_clusters(folder)
        rows = with_split(fitted, new_rows(fitted, source, data_dir, **reading), source)
        if clusters.table is None:
            if by is not None:
                raise InputError(f"`by` chooses how classes are answered, but {folder} has no labels; leave it out.")
            shares = clusters.shares(*fitted.encode(rows.x))
            numbers = cluster_names(shares.shape[1])
            chosen = assigned(shares, clusters.reject)
            return Predictions(as_labels(chosen, numbers, "text", NOISE), shares, numbers, rows)
        by = by or clusters.chosen
        codes, proba = clusters.predict(*fitted.encode(rows.x), by)
        answers = as_labels(codes, clusters.classes, clusters.label_kind)
        return Predictions(answers, proba, clusters.classes, rows, [clusters.told(by)])
    if by is not None:
        raise InputError(f"`by` is for a clustering with labels, but {folder} is none; leave it out.")
    model = load_classifier(folder)
    rows = with_split(model, new_rows(model, source, data_dir, **reading), source)
    with one_thread():
        proba = model.predict_proba(rows.x)
    return Predictions(as_labels(proba.argmax(1), model.classes, model.facts.label_kind), proba, model.classes, rows)


def latent_of_row(model: Fitted, data: Dataset, name: str) -> Array:
    """The posterior mean (L,) of a row of the model's own data, by its id, else by its number in the file, from 0."""
    places = [] if data.ids is None else np.flatnonzero(data.ids.astype(str) == name).tolist()
    if not places and name.isdecimal():
        numbers = np.arange(len(data.x)) if data.numbers is None else data.numbers
        places = np.flatnonzero(numbers == int(name)).tolist()
    if len(places) != 1:
        raise InputError(
            f"{data.name} has {counted(len(places), 'row')} {shown(name)}; give the id or the number of one, from 0."
        )
    mean: Array = model.encode(data.x[places])[0][0]
    return mean


def path(model: Fitted, start: Any, end: Any, frames: int = 30, great_circle: bool = False) -> Array:
    """E[x|z] (frames, *shape) at points from `start` to `end` (L,), on a straight line or an arc (`vae.paths.path`).

    >>> from vaelab import train
    >>> run = train("digits", {"latent_dim": 2, "epochs": 1}, figures=False, out=getfixture("tmp_path") / "run")
    >>> path(run.model, [0.5, -1], [1, 2], frames=12).shape
    (12, 8, 8)
    """
    _check_model(model)
    return model.decode(paths.path(start, end, frames, great_circle))


def _check_model(model: Any) -> None:
    if not isinstance(model, Fitted):
        raise InputError(f"`model` must be a trained VAE, as `vaelab.load` returns, but got {shown(model)}.")


def score_anomalies(
    model: Fitted,
    source: Any,
    contamination: float | None = None,
    *,
    data: Dataset | None = None,
    data_dir: str | Path | None = None,
    **reading: Any,
) -> RowScores:
    """How strange each row is to a trained VAE, with conformal p-values, and, of a table, which columns make it so.

    The score is the bound on -log p(x). A row's p-value is (1 + number of calibration rows with a score at least as
    high) / (m + 1), where the m calibration rows are the validation and test rows of the model's own data, which it was
    not trained on; opening the test split is counted.

    source: a file, a built-in name, or an array (n, *shape).
    contamination: rows with a p-value of at most this are anomalies: the share of normal rows that are flagged; by
        default 0.01, or the smallest that the number of calibration rows allows.
    data: the model's own data, if they came from arrays; by default they are loaded again. data_dir, reading: see
        `new_rows`.

    >>> from vaelab import train
    >>> run = train("digits", {"latent_dim": 2, "epochs": 1}, figures=False, out=getfixture("tmp_path") / "run")
    >>> found = score_anomalies(run.model, "digits")
    >>> found.score.shape, bool(found.is_anomaly.mean() < 0.05)
    ((1797,), True)
    """
    from vaelab.latent import row_scores  # imports scikit-learn and matplotlib

    _check_model(model)
    rows = with_split(model, new_rows(model, source, data_dir, **reading), source)
    own = data or data_module.load_again(model.facts.source, data_dir=data_dir)
    found = row_scores.score_rows(
        model, own, rows.x, contamination, ids=rows.ids, id_name=rows.id_name, unseen=rows.unseen
    )
    new = rows.told_unseen("each of which makes its row an anomaly; the other columns of the row are judged without it")
    return dataclasses.replace(found, notes=[*found.notes, *new], split=rows.split, style=rows.style)


def drift(
    model: Fitted,
    source: Any,
    against: Any = None,
    *,
    data: Dataset | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
    **reading: Any,
) -> Drift:
    """How rows differ from others to a trained VAE: column by column, in their likelihood, and in their latents.

    source, against: files, built-in names, or arrays (n, *shape). Without `against` the rows are compared with the
        validation and test rows of the model's own data, which it was not trained on; that opens the test split, which
        is counted.
    data: the model's own data, if they came from arrays; by default they are loaded again. seed: of permutations and of
        the classifier. data_dir, reading: see `new_rows`.

    >>> from vaelab import train
    >>> run = train("digits", {"latent_dim": 2, "epochs": 1}, figures=False, out=getfixture("tmp_path") / "run")
    >>> found = drift(run.model, run.data.x[:200], run.data.x[200:350])
    >>> found.score.shape, found.reference.shape, bool(abs(found.auc - 0.5) < 0.2)
    ((200,), (150,), True)
    """
    from vaelab.comparison.drift import measure_drift  # imports scikit-learn and matplotlib

    _check_model(model)
    checks.seed("seed", seed)
    rows = new_rows(model, source, data_dir, **reading)
    if against is not None:
        other = new_rows(model, against, data_dir, **reading)
        notes = [*rows.notes, *other.notes]
        return measure_drift(model, rows.x, other.x, notes=notes, seed=seed, unseen=(rows.unseen, other.unseen))
    own = data or data_module.load_again(model.facts.source, data_dir=data_dir)
    if model.facts.fingerprint != own.fingerprint:
        raise InputError(f"{own.name} is not what the model was trained on, {model.facts.name}; give those data.")
    held = [own.splits[name] for name in ("validation", "test")]
    if model.folder is not None:
        store.count_test_opening(model.folder)
    note = f"rows are compared with {len(held[0]):,} validation and {len(held[1]):,} test rows of the model's own data."
    return measure_drift(
        model, rows.x, own.x[np.concatenate(held)], own.x[own.splits["train"]], [note, *rows.notes], seed,
        (rows.unseen, {}),
    )  # fmt: skip


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


def with_split(model: Fitted | FittedSupervised, rows: NewRows, source: Any) -> NewRows:
    """The same rows with the split that each was in, if `source` still holds the data that the model was trained on."""
    own = dict(model.facts.source)
    if not isinstance(source, str | Path) or own.get("kind") not in ("builtin", "file"):
        return rows
    named = str(source) if own["kind"] == "builtin" else str(Path(source).expanduser().absolute())
    if named != own["source"]:
        return rows
    own.pop("fingerprint", None)  # a file that has changed since has no splits, but is read all the same
    data = data_module.load_again(own)
    if isinstance(model, FittedClassifier):
        data = data.labelled  # the rows that it was of
    numbers = np.arange(len(data.x)) if data.numbers is None else data.numbers
    if data.fingerprint != model.facts.fingerprint or len(rows.x) <= numbers.max():
        return rows
    split = np.full(len(rows.x), "", dtype=object)
    for name, own_rows in data.splits.items():
        split[numbers[own_rows]] = name
    return dataclasses.replace(rows, split=split)


def new_rows(
    model: Fitted | FittedSupervised, source: Any, data_dir: str | Path | None = None, **reading: Any
) -> NewRows:
    """Examples for a trained model from a file, pictures, a built-in name or arrays, in order.

    Columns of a table are matched by name; pictures, one or a folder, are in the natural order of their names.

    reading: options of `vaelab.data.Reading` that differ from those of the training data, such as id="patient".
    """
    facts = model.facts
    if isinstance(source, str) and source in data_module.BUILTIN:
        return NewRows(data_module.load(source, data_dir=data_dir).x)
    if isinstance(source, str | Path) and len(facts.shape) > 1 and data_module.are_pictures(Path(source)):
        from vaelab.data.images import read_pictures  # imports Pillow

        raw = read_pictures(Path(source), facts.shape)
        return NewRows(raw.x, np.array(raw.ids), raw.id_name)
    chosen = data_module.Reading.create(**{**facts.reading.to_dict(), **reading})
    unseen: Unseen = {}
    unused: list[str] = []
    x, ids, style = data_module.new_rows(
        source, facts.shape, dtype_hint=facts.dtype, columns=facts.columns, reading=chosen, unseen=unseen,
        unused=unused, needs_id=reading.get("id") is not None,
    )  # fmt: skip
    for column in facts.columns:  # what is given, and what a model without missing cells sees, must be known
        if column.name in unseen and (column.condition or model.scaling.typed is None):
            raise unknown_levels(unseen[column.name], column, "the new rows")
    if ids is None:
        if "id" in reading:
            raise InputError(f"the new examples have no column {reading['id']!r} with their names; check `id`.")
        return NewRows(x, unseen=unseen, style=style, unused=tuple(unused))
    return NewRows(x, ids, chosen.id or "id", unseen=unseen, style=style, unused=tuple(unused))
