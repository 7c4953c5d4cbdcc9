"""The study task for VAEs. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vaelab.settings.purposes import Purpose
from vaelab.settings.space import Space, networks_of
from vaelab.settings.yardsticks import Yardstick
from vaelab.vae.purposes import PURPOSES
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks import YARDSTICKS

if TYPE_CHECKING:
    from vaelab.data import Dataset
    from vaelab.vae.system import VAESystem
    from vaelab.vae.yardsticks.yardstick import VAEYardstick

# What `tune` searches by default, besides widths and latent sizes that depend on the data. Batch size and
# activation are excluded on purpose: models that differ in them cannot be trained as one stack.
DEFAULT_RANGES: dict[str, tuple[float, float] | tuple[float, float, str]] = {
    "layers": (0, 3),
    "taper": (0.5, 1.0),
    "lr": (5e-4, 1e-2, "log"),
    "weight_decay": (1e-6, 1e-2, "log"),
    "dropout": (0.0, 0.2),
}

# What `tune` adds for images with sides of at least SMALLEST_IMAGE: with or without convolutions.
SMALLEST_IMAGE = 16
NETWORKS: dict[str, Any] = {"network": ["mlp", "conv"], "channels": ["8-16", "16-32"]}


class VAETask:
    """Search a VAE."""

    name = "vae"
    spec_type = Spec
    yardsticks: Mapping[str, VAEYardstick] = YARDSTICKS
    purposes: Mapping[str, Purpose] = PURPOSES
    # Searching these would compare incomparable values, or let a trial change how it is judged.
    fixed: Mapping[str, str] = {
        "likelihood": "densities and masses under different likelihoods have no common unit",
        "binarize": "it changes the evaluation data",
        "wx": "it weights a term of inverse problems; use `vaelab invert`",
        "wy": "it weights a term of inverse problems; use `vaelab invert`",
    }
    first: Sequence[Mapping[str, Any]] = ({}, {"layers": 0})  # probabilistic PCA or factor analysis, as a VAE
    defaults: Mapping[str, Any] = {}

    def eligible(self, data: Dataset) -> Dataset:
        """All."""
        return data

    def default_space(
        self, data: Dataset, settings: Mapping[str, Any], affords: Callable[[Mapping[str, Any]], bool]
    ) -> Space:
        """Depth, widths, latent size, learning rate, weight decay and dropout, without fixed settings.

        Widths go up to four times the features, at least 256 and at most 1024, latent sizes up to half the features, at
        least 16 and at most 64: the defaults are among them.
        Images of at least 16 x 16 also try convolutions, if time allows.
        """
        features = math.prod(data.shape)
        widest = min(1024, max(256, 1 << (4 * features - 1).bit_length()))
        most = min(64, max(16, features // 2))
        space: dict[str, Any] = {
            "width": (widest // 16, widest, "log"),
            "latent_dim": (max(2, most // 16), most, "log"),
            **DEFAULT_RANGES,
        }
        is_large = data.is_image and min(data.shape[:2]) >= SMALLEST_IMAGE
        if is_large and settings.get("network") != "mlp" and affords({**settings, "network": "conv"}):
            space |= NETWORKS
        return Space.parse(space, Spec).without(settings)

    def warnings(self, settings: Mapping[str, Any], space: Space, yardsticks: Sequence[Yardstick]) -> list[str]:
        notes = []
        if "beta" in space and [each.name for each in yardsticks] == ["neg_elbo"]:
            notes.append("beta is searched under neg_elbo, which has beta = 1: the search will find about 1.")
        if "conv" in networks_of(settings, space):
            notes.append("on a CPU, convolutional networks are trained one at a time: stacking them is no faster.")
        return notes

    def label(self, spec: Spec) -> str:
        return f"latent{spec.latent_dim}"

    def outline(self, spec: Spec) -> str:
        return f"{spec.layers_text}, lr {spec.lr:.1e}"

    def system(self, yardstick: str) -> VAESystem:
        from vaelab.vae.system import VAESystem  # imports torch

        return VAESystem(yardstick)


TASK = VAETask()
