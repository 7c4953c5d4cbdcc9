"""Pictures: `xxx_data` computes arrays, `plot_xxx(data, path, title)` draws them and saves a PNG."""

from vaelab.plots.columns import columns_data, plot_columns
from vaelab.plots.correlations import correlations_data, plot_correlations
from vaelab.plots.drivers import plot_drivers
from vaelab.plots.examples import plot_reconstructions, reconstructions_data
from vaelab.plots.exploration import examples_data, overview_data, plot_examples, plot_overview
from vaelab.plots.features import columns_features, features_data, quantities_data
from vaelab.plots.front import front_data, plot_front
from vaelab.plots.losses import losses_data, plot_losses
from vaelab.plots.missing import missing_data, plot_missing
from vaelab.plots.models import (
    architectures_data,
    carried_data,
    courses_data,
    plane_data,
    plot_architectures,
    plot_carried,
    plot_courses,
    plot_plane,
)
from vaelab.plots.samples import plot_samples, samples_data
from vaelab.plots.sides import draws_data, plot_draws, plot_sides, sides_data
from vaelab.plots.space import (
    grid_data,
    interpolations_data,
    plot_interpolations,
    plot_map,
    plot_traversals,
    traversals_data,
)
from vaelab.plots.study import (
    history_data,
    importance_data,
    latent_size_data,
    plot_history,
    plot_importance,
    plot_latent_size,
    plot_rungs,
    rungs_data,
)
from vaelab.plots.trial import latent_data, plot_latent

__all__ = [
    "architectures_data",
    "carried_data",
    "columns_data",
    "columns_features",
    "correlations_data",
    "courses_data",
    "draws_data",
    "examples_data",
    "features_data",
    "front_data",
    "grid_data",
    "history_data",
    "importance_data",
    "interpolations_data",
    "latent_data",
    "latent_size_data",
    "losses_data",
    "missing_data",
    "overview_data",
    "plane_data",
    "plot_architectures",
    "plot_carried",
    "plot_columns",
    "plot_correlations",
    "plot_courses",
    "plot_draws",
    "plot_drivers",
    "plot_examples",
    "plot_front",
    "plot_history",
    "plot_importance",
    "plot_interpolations",
    "plot_latent",
    "plot_latent_size",
    "plot_losses",
    "plot_map",
    "plot_missing",
    "plot_overview",
    "plot_plane",
    "plot_reconstructions",
    "plot_rungs",
    "plot_samples",
    "plot_sides",
    "plot_traversals",
    "quantities_data",
    "reconstructions_data",
    "rungs_data",
    "samples_data",
    "sides_data",
    "traversals_data",
]
