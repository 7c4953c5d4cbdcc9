"""The pictures of one trained model: what each shows is computed here from the model and its data; plots draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import plots, store
from vaelab.data import Dataset
from vaelab.fitted import Array, Fitted

EXAMPLES, PER_CLASS, FROM_PRIOR = 12, 10, 40
LATENT_POINTS, CLASS_POINTS = 3_000, 500
NAMES = ("losses", "latent", "reconstructions", "samples")


def draw_run(fitted: Fitted, data: Dataset, name: str) -> list[Path]:
    """The four pictures of a run folder, in its figures/; none of them looks at the test split."""
    assert fitted.folder is not None
    run = store.load_run(fitted.folder)
    folder = fitted.folder / "figures"
    folder.mkdir(exist_ok=True)
    rows, split = _latent_rows(data)
    means, _ = fitted.encode(data.flat[rows])
    kl = run.metrics["validation"]["kl"]
    examples = data.rows("validation")[:EXAMPLES]
    reference = {
        "no latents": run.metrics["reference"]["no_latents"],
        "entropy of the data": run.metrics["reference"]["floor"],
    }
    losses = plots.losses_data(run.history, {k: v for k, v in reference.items() if v is not None})
    labels = None if data.labels is None else data.labels[rows]
    latent = plots.latent_data(means, labels, data.classes, kl)
    reconstructions = plots.reconstructions_data(
        viewable(examples.reshape(-1, *data.shape), data),
        viewable(fitted.reconstruct(examples), data),
        features=data.features,
    )
    samples = plots.samples_data(
        new_examples(fitted, data), None if data.is_image else data.rows("validation"), data.features
    )
    return [
        plots.plot_losses(losses, folder / "losses.png", f"{name}: loss by epoch"),
        plots.plot_latent(latent, folder / "latent.png", f"{name}: latent space, {split} examples"),
        plots.plot_reconstructions(reconstructions, folder / "reconstructions.png", f"{name}: validation examples"),
        plots.plot_samples(samples, folder / "samples.png", f"{name}: new examples"),
    ]


def viewable(x: Array, data: Dataset) -> Array:
    """Images in the data's own units as grey or colour values in [0, 1]; tables as they are."""
    if not data.is_image:
        return x
    low, high = (0.0, 255.0) if data.is_8bit and data.statistics.range[1] > 1 else data.statistics.range
    grey: Array = np.clip((x.astype(np.float32) - low) / (high - low), 0, 1)
    return grey


def _latent_rows(data: Dataset) -> tuple[npt.NDArray[np.int64], str]:
    """Rows for the latent plot: validation where it is large enough to see a shape, else training."""
    split = "validation" if len(data.splits["validation"]) >= 500 else "train"
    rows = data.splits[split]
    return rows[:: -(-len(rows) // LATENT_POINTS)], split


def new_examples(fitted: Fitted, data: Dataset, seed: int = 0) -> dict[str, Any]:
    """Draws from the prior, and per class from a Gaussian fitted to posterior samples of its training examples."""
    rng = np.random.default_rng(seed)
    prior = fitted.decode(rng.standard_normal((FROM_PRIOR, fitted.spec.latent_dim)))
    samples: dict[str, Any] = {"classes": list(data.classes), "rows": None, "prior": viewable(prior, data)}
    if data.labels is not None:
        points = np.concatenate([_class_draws(fitted, data, code, rng) for code in range(len(data.classes))])
        images = viewable(fitted.decode(points), data)
        samples["rows"] = images.reshape(len(data.classes), PER_CLASS, *data.shape)
    return samples


def _class_draws(fitted: Fitted, data: Dataset, code: int, rng: np.random.Generator) -> Array:
    """Points (PER_CLASS, L) from the Gaussian with mean and covariance of the class's aggregate posterior."""
    assert data.labels is not None
    train = data.splits["train"]
    rows = train[data.labels[train] == code][:CLASS_POINTS]
    if len(rows) == 0:
        return rng.standard_normal((PER_CLASS, fitted.spec.latent_dim))
    mean, std = fitted.encode(data.flat[rows])
    z = mean + std * rng.standard_normal(mean.shape)
    covariance = np.atleast_2d(np.cov(z, rowvar=False)) if len(z) > 1 else np.diag(std[0] ** 2)
    return rng.multivariate_normal(z.mean(0), covariance, PER_CLASS, method="eigh")
