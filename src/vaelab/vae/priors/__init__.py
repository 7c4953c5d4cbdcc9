"""p(z), the priors, one file each, and the registry of their names. Imports no torch."""

from vaelab.registry import Registry

# What the setting `prior` may be. The contract suite (tests/vae/test_priors.py) runs over every entry.
PRIORS = Registry[type](
    "prior",
    {
        "normal": "vaelab.vae.priors.normal:StandardNormal",
        "mixture": "vaelab.vae.priors.mixture:Mixture",
        "vamp": "vaelab.vae.priors.vamp:Vamp",
    },
)
