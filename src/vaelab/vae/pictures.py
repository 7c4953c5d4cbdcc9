"""The pictures of one trained model: computes their contents from model and data; plots draws them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import plots, store
from vaelab.data import Dataset
from vaelab.plots import space
from vaelab.plots.dataset import EXAMPLES, columns_of, features, spread_rows, viewable
from vaelab.settings.latents import in_use
from vaelab.vae.fitted import Array, Fitted
from vaelab.vae.quantities import drawn, quantities, reconstructed

PER_CLASS, FROM_PRIOR, TABLE_ROWS = 10, 40, 500
LATENT_POINTS, CLASS_POINTS = 3_000, 500
GRID_SIDE, PAIRS = 15, 6
NAMES = ("losses", "latent", "reconstructions", "samples")


def draw_run(fitted: Fitted, data: Dataset, name: str) -> list[Path]:
    """The four pictures of a run folder, in its figures/; none uses the test split."""
    assert fitted.folder is not None
    run = store.load_run(fitted.folder)
    folder = fitted.folder / "figures"
    folder.mkdir(exist_ok=True)
    rows, split = latent_rows(data)
    means, _ = fitted.encode(data.flat[rows])
    kl = run.metrics["validation"]["kl"]
    examples = data.flat[spread_rows(data, EXAMPLES)]
    reference = {
        "no latents": run.metrics["reference"]["no_latents"],
        "entropy of the data": run.metrics["reference"]["floor"],
    }
    losses = plots.losses_data(run.history, {k: v for k, v in reference.items() if v is not None})
    labels = None if data.labels is None else data.labels[rows]
    latent = plots.latent_data(
        means, labels, data.classes, kl, standard=fitted.model.prior.is_standard, active=active(fitted, data)
    )
    made = fitted.reconstruct(examples) if data.is_image else reconstructed(fitted, examples)
    reconstructions = plots.reconstructions_data(
        viewable(examples.reshape(-1, *data.shape), data),
        viewable(made, data),
        captions=_captions(data, spread_rows(data, EXAMPLES)),
        features=columns_of(data),
        curves=_are_curves(fitted, data),
    )
    known = features(data)
    held = None if known is None else known.spread(data.flat[rows])
    samples = plots.samples_data(new_examples(fitted, data), held, known, _are_curves(fitted, data))
    return [
        plots.plot_losses(losses, folder / "losses.png", f"{name}: loss by epoch"),
        plots.plot_latent(latent, folder / "latent.png", f"{name}: latent space, {split} examples"),
        plots.plot_reconstructions(reconstructions, folder / "reconstructions.png", f"{name}: validation examples"),
        plots.plot_samples(samples, folder / "samples.png", f"{name}: new examples"),
    ]


def _captions(data: Dataset, rows: npt.NDArray[np.int64]) -> list[str]:
    """What rows of a table are called: by their id, or else their class."""
    if data.is_image:
        return []
    if data.ids is not None:
        return [str(name) for name in data.ids[rows].tolist()]
    return [_class_of(data, row) for row in rows.tolist()] if data.labels is not None else []


def _are_curves(fitted: Fitted, data: Dataset) -> bool:
    """Whether the features form a sequence: assumed if the model has convolutions over them."""
    return not data.is_image and fitted.spec.network == "conv"


def latent_rows(data: Dataset) -> tuple[npt.NDArray[np.int64], str]:
    """Rows for the latent plot: validation if it is large enough, else training."""
    split = "validation" if len(data.splits["validation"]) >= 500 else "train"
    rows = data.splits[split]
    return rows[:: -(-len(rows) // LATENT_POINTS)], split


def active(fitted: Fitted, data: Dataset) -> npt.NDArray[np.bool_]:
    """Which latent dimensions (L,) are in use, by the validation rows, as metrics count them."""
    means, _ = fitted.encode(data.flat[data.splits["validation"]])
    means = np.clip(np.nan_to_num(means.astype(np.float64)), -1e6, 1e6)  # a model that diverged still gets a page
    found: npt.NDArray[np.bool_] = in_use(means.var(0), fitted.prior_moments[1])
    return found


def new_examples(fitted: Fitted, data: Dataset, seed: int = 0) -> dict[str, Any]:
    """Draws from the prior, and per class from a Gaussian fitted to posterior samples of its training examples."""
    rng = np.random.default_rng(seed)
    known = features(data)
    count = FROM_PRIOR if data.is_image else TABLE_ROWS
    normal = np.random.default_rng(seed)
    z = fitted.draw_prior(normal.standard_normal((count, fitted.spec.latent_dim)), normal.random(count))
    prior = drawn(fitted, data, z, known, seed)
    samples: dict[str, Any] = {"classes": list(data.classes), "rows": None, "prior": prior}
    if data.labels is not None:
        points = np.concatenate([_class_draws(fitted, data, code, rng) for code in range(len(data.classes))])
        images = quantities(fitted, data, points, known)
        samples["rows"] = images.reshape(len(data.classes), PER_CLASS, *images.shape[1:])
    return samples


def _class_draws(fitted: Fitted, data: Dataset, code: int, rng: np.random.Generator) -> Array:
    """Points (PER_CLASS, L) from the Gaussian with mean and covariance of the class's aggregate posterior."""
    assert data.labels is not None
    train = data.splits["train"]
    rows = train[data.labels[train] == code][:CLASS_POINTS]
    if len(rows) == 0:
        return fitted.draw_prior(rng.standard_normal((PER_CLASS, fitted.spec.latent_dim)), rng.random(PER_CLASS))
    mean, std = fitted.encode(data.flat[rows])
    z = mean + std * rng.standard_normal(mean.shape)
    covariance = np.atleast_2d(np.cov(z, rowvar=False)) if len(z) > 1 else np.diag(std[0] ** 2)
    return rng.multivariate_normal(z.mean(0), covariance, PER_CLASS, method="eigh")


def draw_drivers(found: Mapping[str, Any] | None, folder: Path, name: str) -> list[Path]:
    """What each latent moves, as `vaelab.vae.drivers` finds it, in the figures/ of a run folder."""
    if not found:
        return []
    (folder / "figures").mkdir(exist_ok=True)
    return [plots.plot_drivers(found, folder / "figures" / "drivers.png", f"{name}: what each latent moves")]


def draw_latent(fitted: Fitted, data: Dataset, kl: Any, path: Path, title: str) -> Path:
    """Posterior means by class; with two dimensions next to the decoder's grid."""
    rows, split = latent_rows(data)
    labels = None if data.labels is None else data.labels[rows]
    standard = fitted.model.prior.is_standard
    means, _ = fitted.encode(data.flat[rows])
    latent = plots.latent_data(
        means, labels, data.classes, np.asarray(kl), standard=standard, active=active(fitted, data)
    )
    title = f"{title}, {split} examples"
    if fitted.spec.latent_dim != 2 or not standard:  # the map uses quantiles of the standard normal
        return plots.plot_latent(latent, path, title)
    known = features(data)
    decoded = quantities(fitted, data, space.grid_points(GRID_SIDE), known)
    return plots.plot_map(latent, plots.grid_data(decoded, known), path, title)


def draw_traversals(fitted: Fitted, data: Dataset, kl: Any, path: Path, title: str) -> Path:
    """Traversals of the most active dimensions. kl: (L,) nats per example."""
    dims = space.active_dims(np.asarray(kl))
    centre, unit = fitted.prior_moments
    known = features(data)
    decoded = quantities(fitted, data, centre + unit * space.traversal_points(dims, fitted.spec.latent_dim), known)
    walks = plots.traversals_data(decoded, dims, np.asarray(kl), known, _are_curves(fitted, data))
    return plots.plot_traversals(walks, path, title)


def draw_interpolations(fitted: Fitted, data: Dataset, path: Path, title: str) -> Path:
    """Interpolations between a few pairs of validation examples, of different classes if there are labels."""
    rows = spread_rows(data, 2 * PAIRS)
    rows = rows[: len(rows) // 2 * 2] if len(rows) > 1 else np.repeat(rows, 2)
    # Pair the two halves: neighbours in class order would be too similar.
    starts, stops = np.split(rows, 2)
    codes = fitted.encode(data.flat[rows])[0]
    points = space.between(codes[: len(starts)], codes[len(starts) :])
    known = features(data)
    ends = viewable(data.x[np.stack([starts, stops], axis=1)], data)
    ends = ends if known is None else known.spread(ends)
    names = [(_name_of(data, a), _name_of(data, b)) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    decoded = quantities(fitted, data, points, known)
    walks = plots.interpolations_data(decoded, ends, names, known, _are_curves(fitted, data))
    return plots.plot_interpolations(walks, path, title)


def _name_of(data: Dataset, row: int) -> str:
    """A row's class, else its id."""
    named = _class_of(data, row)
    return named if named or data.ids is None else str(data.ids[row])


def _class_of(data: Dataset, row: int) -> str:
    return "" if data.labels is None or data.labels[row] < 0 else data.classes[int(data.labels[row])]
