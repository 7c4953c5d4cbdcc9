"""p(z), the priors, one file each, and their registry. Does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.vae.priors.prior import Prior

# Values of the setting `prior`. The contract suite (tests/vae/test_prior_contract.py) runs over every entry.
PRIORS: Registry[type[Prior]] = Registry(
    "prior",
    {
        "normal": "vaelab.vae.priors.normal:StandardNormal",
        "mixture": "vaelab.vae.priors.mixture:Mixture",
        "vamp": "vaelab.vae.priors.vamp:Vamp",
    },
)
