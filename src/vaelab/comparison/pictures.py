"""The pictures of a comparison: the same pictures for several models, trained over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaelab import plots, store
from vaelab.data import Dataset
from vaelab.plots.dataset import columns_of, draw_data, features, spread_rows, viewable
from vaelab.settings.spec import written
from vaelab.settings.yardsticks import SEARCH_DRAWS
from vaelab.vae import pictures
from vaelab.vae.fitted import Fitted
from vaelab.vae.quantities import drawn, reconstructed

EXAMPLES, NEW, MAX_ERROR_ROWS, NEW_ROWS = 12, 28, 3_000, 1_000
SINGLE = ("latent", "traversals", "interpolations")  # pictures of a single model each, numbered from 1
NAMES = (
    "architectures", "losses", "rate_distortion", "reconstructions", "samples", "kl",
    "data", "examples", "missing", "correlations",
)  # fmt: skip

Models = Mapping[str, Sequence[Fitted]]
Records = Sequence[Mapping[str, Any]]


def draw_comparison(
    folder: Path,
    data: Dataset,
    models: Models,
    histories: Mapping[str, Sequence[Records]],
    results: Mapping[str, Any] | None = None,
) -> list[Path]:
    """All pictures of a comparison, in FOLDER/figures; none shows the test split.

    models: one Fitted per seed by name; the images and latent space of the first are shown.
    histories: the records of every seed's epochs by name.
    results: `{"models": [{"name", "parameters", ...}]}` as from `compare --json`; missing entries come from models.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    first = {name: seeds[0] for name, seeds in models.items()}
    found = {name: [_validation(fitted, data) for fitted in seeds] for name, seeds in models.items()}
    kl = {name: [np.asarray(one["kl"]) for one in seeds] for name, seeds in found.items()}
    points = {name: [(one["rate"], one["distortion"]) for one in seeds] for name, seeds in found.items()}
    most = plots.models.MAX_MODELS
    some = f", first {most} of {len(models)} models" if len(models) > most else ""
    architectures = _architectures(first, results or {})
    drawn = [
        plots.plot_architectures(architectures, figures / "architectures.png", f"Architectures{some}"),
        plots.plot_courses(plots.courses_data(histories), figures / "losses.png"),
        plots.plot_plane(plots.plane_data(points), figures / "rate_distortion.png"),
        _draw_reconstructions(first, data, figures / "reconstructions.png", some),
        _draw_samples(first, data, figures / "samples.png", some),
        plots.plot_carried(plots.carried_data(kl), figures / "kl.png"),
    ]
    for number, (name, fitted) in enumerate(first.items(), 1):
        drawn += _draw_one(fitted, data, kl[name][0], figures, number, name)
    return [*drawn, *draw_data(data, figures)]


def _validation(fitted: Fitted, data: Dataset) -> Mapping[str, Any]:
    """Rate, distortion and KL per dimension on validation, from the run folder if available."""
    if fitted.folder is not None:
        recorded = store.load_run(fitted.folder).metrics.get("validation")
        if recorded and {"kl", "rate", "distortion"} <= recorded.keys():
            return dict(recorded)
    return fitted.evaluate(data, "validation", SEARCH_DRAWS)


def _architectures(first: Mapping[str, Fitted], results: Mapping[str, Any]) -> list[plots.models.Network]:
    recorded = {str(row.get("name")): row.get("parameters") for row in results.get("models", ())}
    networks = {}
    for name, fitted in first.items():
        spec = fitted.spec
        conv = spec.network == "conv"
        parts = [f"conv {written('channels', spec.channels)}"] if conv else []
        parts += [spec.activation if conv or spec.hidden_sizes else "linear", spec.likelihood]
        parts += [f"beta {spec.beta:g}"] if spec.beta != 1 else []
        parts += [f"dropout {spec.dropout:g}"] if spec.dropout else []
        count = recorded.get(name)
        networks[name] = {
            "features": fitted.model.features,
            "hidden": [*fitted.model.map_values, *spec.hidden_sizes],
            "latent": spec.latent_dim,
            "parameters": count if isinstance(count, int) else fitted.parameter_count,
            "about": "  ·  ".join(parts),
        }
    return plots.architectures_data(networks)


def _draw_reconstructions(first: Mapping[str, Fitted], data: Dataset, path: Path, some: str) -> Path:
    """The same validation examples reconstructed by every model; tables show errors over many examples."""
    rows = spread_rows(data, EXAMPLES)
    if not data.is_image:
        rows = data.splits["validation"][:MAX_ERROR_ROWS]
        made = {name: reconstructed(fitted, data.x[rows]) for name, fitted in first.items()}
    else:
        made = {name: viewable(fitted.reconstruct(data.x[rows]), data) for name, fitted in first.items()}
    sides = plots.sides_data(viewable(data.x[rows], data), made, columns_of(data))
    return plots.plot_sides(sides, path, f"Reconstructions of validation examples{some}")


def _draw_samples(first: Mapping[str, Fitted], data: Dataset, path: Path, some: str) -> Path:
    """The same random numbers for every model's prior samples: fewer latent dimensions use the first coordinates."""
    widest = max(fitted.spec.latent_dim for fitted in first.values())
    rng, count = np.random.default_rng(0), NEW if data.is_image else NEW_ROWS
    normal, uniform = rng.standard_normal((count, widest)), rng.random(count)
    known = features(data)
    made = {
        name: drawn(fitted, data, fitted.draw_prior(normal[:, : fitted.spec.latent_dim], uniform), known)
        for name, fitted in first.items()
    }
    originals = None if known is None else known.spread(data.rows("validation"))
    draws = plots.draws_data(made, originals, known)
    return plots.plot_draws(draws, path, f"New examples{some}")


def _draw_one(fitted: Fitted, data: Dataset, kl: Any, figures: Path, number: int, name: str) -> list[Path]:
    """The pictures of a single model."""
    latent, traversals, interpolations = (figures / f"{kind}_{number}.png" for kind in SINGLE)
    return [
        pictures.draw_latent(fitted, data, kl, latent, f"{name}: latent space"),
        pictures.draw_traversals(fitted, data, kl, traversals, f"{name}: one dimension at a time"),
        pictures.draw_interpolations(fitted, data, interpolations, f"{name}: from one example to another"),
    ]
