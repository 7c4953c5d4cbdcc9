"""The yardsticks of VAE searches, one file each, and their registry. Does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.vae.yardsticks.yardstick import VAEYardstick

# Values of the option `yardstick`, the default first. tests/vae/test_yardsticks.py runs over every entry.
YARDSTICKS: Registry[VAEYardstick] = Registry(
    "yardstick",
    {
        "neg_elbo": "vaelab.vae.yardsticks.neg_elbo:NEG_ELBO",
        "weighted_loss": "vaelab.vae.yardsticks.weighted_loss:WEIGHTED_LOSS",
        "probe": "vaelab.vae.yardsticks.probe:PROBE",
        "neighbours": "vaelab.vae.yardsticks.neighbours:NEIGHBOURS",
        "nmi": "vaelab.vae.yardsticks.nmi:NMI",
        "stability": "vaelab.vae.yardsticks.stability:STABILITY",
        "rate": "vaelab.vae.yardsticks.rate:RATE",
        "distortion": "vaelab.vae.yardsticks.distortion:DISTORTION",
    },
)
