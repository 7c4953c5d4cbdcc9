"""What may judge the trials of a search for VAEs, one file each, and the registry of their names. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.vae.yardsticks.yardstick import VAEYardstick

# What the option `yardstick` may be, the default first. tests/vae/test_yardsticks.py runs over every entry.
YARDSTICKS: Registry[VAEYardstick] = Registry(
    "yardstick",
    {
        "neg_elbo": "vaelab.vae.yardsticks.neg_elbo:NEG_ELBO",
        "weighted_loss": "vaelab.vae.yardsticks.weighted_loss:WEIGHTED_LOSS",
    },
)
