"""Pictures: `xxx_data` computes arrays, `plot_xxx(data, path, title)` draws them and saves a PNG."""

from vaelab.plots.examples import plot_reconstructions, plot_samples, reconstructions_data, samples_data
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
from vaelab.plots.trial import latent_data, losses_data, plot_latent, plot_losses

__all__ = [
    "history_data",
    "importance_data",
    "latent_data",
    "latent_size_data",
    "losses_data",
    "plot_history",
    "plot_importance",
    "plot_latent",
    "plot_latent_size",
    "plot_losses",
    "plot_reconstructions",
    "plot_rungs",
    "plot_samples",
    "reconstructions_data",
    "rungs_data",
    "samples_data",
]
