"""The purposes of VAE searches. Does not import torch."""

from __future__ import annotations

from vaelab.registry import Registry
from vaelab.settings.purposes import Purpose

DENSITY = Purpose(
    "density",
    "a good density: the negative ELBO with beta 1",
    labelled=("neg_elbo",),
    unlabelled=("neg_elbo",),
)

# Features for another model. beta decides how much the latents hold, and no bound says how much is best for a probe.
EMBEDDING = Purpose(
    "embedding",
    "latents from which a linear model can read the classes; without labels, rate against distortion",
    labelled=("probe",),
    unlabelled=("rate", "distortion"),
    ranges={"beta": (0.01, 2.0, "log")},
)

CLUSTERS = Purpose(
    "clusters",
    "latents whose clusters are the classes; without labels, clusters that two halves of the data agree on",
    labelled=("nmi",),
    unlabelled=("stability",),
    ranges={"beta": (0.01, 4.0, "log")},
)

# Values of the option `--for`, the default first.
PURPOSES: Registry[Purpose] = Registry(
    "purpose",
    {
        "density": "vaelab.vae.purposes:DENSITY",
        "embedding": "vaelab.vae.purposes:EMBEDDING",
        "clusters": "vaelab.vae.purposes:CLUSTERS",
    },
)
