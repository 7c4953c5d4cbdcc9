"""p(z), the priors, one file each, and the registry of their names. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.vae.priors.prior import Prior

# What the setting `prior` may be. The contract suite (tests/vae/test_priors.py) runs over every entry.
PRIORS: Registry[type[Prior]] = Registry(
    "prior",
    {
        "normal": "vaelab.vae.priors.normal:StandardNormal",
        "mixture": "vaelab.vae.priors.mixture:Mixture",
        "vamp": "vaelab.vae.priors.vamp:Vamp",
    },
)
