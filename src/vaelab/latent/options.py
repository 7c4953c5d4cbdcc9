"""The options of a clustering: components, labels and others, checked before training."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import tomli_w

from vaelab.data import Dataset
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, shown
from vaelab.latent import draw_balanced
from vaelab.latent.manifold import available
from vaelab.latent.mixture import Covariance
from vaelab.latent.saved import Points
from vaelab.settings import checks

Ints = npt.NDArray[np.int64]

EM_ROWS = 20_000  # maximum training examples for EM, evenly spaced
LABELS = 100  # drawn by default, if available
AUTO = (1, 2, 5, 10)  # components per class that `auto` tries
WITHOUT_CLASSES = (*range(1, 11), 15, 20, 30, 50)
# Of an encoder for clusters, chosen by the bound on MNIST (benchmarks/mixture_mnist.py) and by the published recipe of
# mixtures on manifolds (McConville et al. 2021), not by labels.
MOST_LATENTS, WIDE = 10, 256  # latents; features from which layers are wider than by default
MIXTURE_EPOCHS, MANY_ROWS = 80, 5_000  # with fewer rows `epochs` = auto gives more
NEARLY_AUTOENCODER = 0.01  # beta
FEWEST = 10  # minimum training examples per component for `auto`


@dataclasses.dataclass(frozen=True)
class Options:
    """What a clustering is, besides its encoder; equal options on equal latents give equal files."""

    components: tuple[int, ...] = ()  # empty: auto
    covariance: Covariance | Literal["auto"] = "auto"
    points: Points | Literal["auto"] = "auto"
    labels: int | str | tuple[int, ...] = LABELS  # number, "validation", or row numbers
    reject: float = 0.0
    em_starts: int = 3
    seed: int = 0
    manifold: str = "none"
    budget: bool = True
    figures: bool = True

    @classmethod
    def create(
        cls,
        *,
        components: Any = "auto",
        covariance: str = "auto",
        points: str = "auto",
        labels: Any = None,
        reject: float = 0.0,
        em_starts: int = 3,
        seed: int = 0,
        manifold: str = "none",
        budget: bool = True,
        figures: bool = True,
    ) -> Options:
        """Checked options. components: "auto", a number, or several; labels: a number, "validation" or rows."""
        checks.choice("covariance", covariance, ("auto", *get_args(Covariance)))
        checks.choice("points", points, ("auto", *get_args(Points)))
        checks.choice("manifold", manifold, ("none", "umap"))
        one = cls(
            parse_components(components), cast(Covariance, covariance), cast(Points, points), _labels(labels), reject,
            em_starts, seed, manifold, budget, figures,
        )  # fmt: skip
        if one.manifold == "umap":
            available()
        if not checks.is_number(one.reject) or not 0 <= one.reject < 1:
            raise InputError(f"`reject` must be a probability from 0 to below 1, but got {shown(one.reject)}.")
        checks.whole("em_starts", one.em_starts, 1, checks.MOST_RUNS)
        checks.seed("seed", one.seed)
        checks.flag("budget", one.budget)
        checks.flag("figures", one.figures)
        return one


def resolved(options: Options, data: Dataset) -> Options:
    """The options with `auto` as suits the data.

    Components are fitted to posterior means, which are further apart than samples: of few rows, samples are mostly
    noise. With labels components only have to be pure: they are Gaussians of any shape. Without, they are to be
    clusters, and `covariance` stays auto, to be chosen with the number of components.
    """
    covariance = "full" if options.covariance == "auto" and data.labels is not None else options.covariance
    points: Points = "means" if options.points == "auto" else options.points
    return dataclasses.replace(options, covariance=covariance, points=points)


def parse_components(given: Any) -> tuple[int, ...]:
    """Numbers of components from --components; empty for auto.

    >>> parse_components("10,50"), parse_components(7), parse_components("auto")
    ((10, 50), (7,), ())
    """
    if isinstance(given, str) and given == "auto":
        return ()
    several = isinstance(given, list | tuple | range | np.ndarray) and np.ndim(given) == 1
    parts = given.split(",") if isinstance(given, str) else list(given) if several else [given]
    numbers = tuple(_number(part) for part in parts)
    if not numbers or min(numbers) < 1:
        raise InputError(
            f"components must be auto, a number of at least 1, or several such as 10,20, but got {shown(given)}."
        )
    return tuple(dict.fromkeys(numbers))


def _number(given: Any) -> int:
    """A whole number, also as text; -1 for anything else."""
    if isinstance(given, str):
        return int(given) if given.strip().isascii() and given.strip().isdigit() and len(given) < 20 else -1
    return int(given) if isinstance(given, int | np.integer) and not isinstance(given, bool) else -1


def _labels(given: Any) -> int | str | tuple[int, ...]:
    """The value of --labels, or row numbers."""
    if given is None:
        return -1  # LABELS, or all if fewer
    if isinstance(given, list | tuple | np.ndarray) and np.ndim(given) == 1:
        rows = tuple(_number(row) for row in given)
        if min(rows, default=0) < 0:
            raise InputError(f"labels must be numbers of rows, from 0, but got {shown(given)}.")
        return rows
    if isinstance(given, str) and given == "validation":
        return "validation"
    number = _number(given)
    if number < 1:
        raise InputError(f"labels must be a number of at least 1, or validation, but got {shown(given)}.")
    return number


def encoder_settings(options: Options, settings: Mapping[str, Any], data: Dataset) -> dict[str, Any]:
    """The settings of an encoder whose latents are to be clustered: `settings`, and defaults for what they leave open.

    Few latents, whose distances mean more; layers wide enough for the data. A mixture prior is trained for long, with
    as many components as are asked for. A neighbourhood graph (`manifold`) needs an encoder close to an autoencoder.
    """
    is_mixture, features = settings.get("prior") == "mixture", math.prod(data.shape)
    own: dict[str, Any] = {"latent_dim": min(MOST_LATENTS, max(2, features // 2))}
    if not is_mixture and options.manifold == "none":
        return {**own, **settings} if data.labels is None else dict(settings)
    if features >= WIDE and not {"layers", "width", "taper"} & set(settings):
        own["hidden"] = "512-256"
    if not is_mixture:
        own["beta"] = NEARLY_AUTOENCODER
    elif len(data.splits["train"]) >= MANY_ROWS:
        own["epochs"] = MIXTURE_EPOCHS
    if is_mixture and len(options.components) == 1:
        own["components"] = options.components[0]
    return {**own, **settings}


def numbers_to_try(options: Options, data: Dataset) -> tuple[int, ...]:
    """The numbers of components to try, ascending."""
    n = min(EM_ROWS, len(data.splits["train"]))
    if options.components:
        most = max(options.components)
        if most > n:
            raise InputError(
                f"a mixture needs at least as many points as components, but {most} components were requested for {n} "
                "training examples; use fewer `components`."
            )
        return tuple(sorted(options.components))
    if data.labels is None:
        return tuple(number for number in WITHOUT_CLASSES if number * FEWEST <= n) or (1,)
    unit = len(data.classes)
    return tuple(unit * times for times in AUTO if unit * times * FEWEST <= n) or (min(unit, n),)


def label_rows(options: Options, data: Dataset) -> Ints:
    """Rows whose labels may be used."""
    if data.labels is None:
        if options.labels != -1:
            raise InputError(
                f"{shown(data.name)} has no labels to draw; leave out `labels`, or give them with `target`."
            )
        return np.empty(0, np.int64)
    if not data.counts(data.splits["test"]).any():
        raise InputError(
            f"accuracy needs labels of test rows, but none of the {len(data.splits['test']):,} has one; label more "
            "rows, name a column of splits with `split`, or give no target: clusters need no labels."
        )
    if isinstance(options.labels, tuple):
        rows = np.array(options.labels, dtype=np.int64)
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(data.x) or (data.labels[rows] < 0).any():
            raise InputError(
                f"labels must be row numbers from 0 to {len(data.x) - 1} of labelled examples; check them."
            )
        if np.isin(rows, data.splits["test"]).any():
            raise InputError("labels must not be of test examples; draw them from training or validation.")
        return np.unique(rows)
    split = data.splits["validation" if options.labels == "validation" else "train"]
    codes = data.labels[split]
    if options.labels == "validation":
        return split[codes >= 0]
    assert isinstance(options.labels, int)
    groups = None if data.groups is None else data.groups[split]
    number = min(LABELS, int((codes >= 0).sum())) if options.labels == -1 else options.labels
    return split[draw_balanced(codes, number, len(data.classes), derive_seed(options.seed, 1), groups)]


def settings_table(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: "-".join(map(str, v)) or "none" if isinstance(v, tuple) else v for k, v in settings.items()}


def options_table(options: Options) -> dict[str, Any]:
    table = dataclasses.asdict(options)
    table["components"] = list(options.components) or "auto"
    if isinstance(options.labels, tuple):
        table["labels"] = list(options.labels)
    return {k: v for k, v in table.items() if v != -1}


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the results of a config.toml's clustering or test: of data their fingerprint, wherever they are."""
    tables = tomllib.loads(tomli_w.dumps(config))
    return {name: each.get("fingerprint") if name in ("data", "other") else each for name, each in tables.items()}
