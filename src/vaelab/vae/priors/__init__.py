"""p(z), the priors, one file each, and their registry. Does not import torch."""

from vaelab.registry import Registry

# Values of the setting `prior`. The contract suite (tests/vae/test_prior_contract.py) runs over every entry.
PRIORS = Registry[type](
    "prior",
    {
        "normal": "vaelab.vae.priors.normal:StandardNormal",
        "mixture": "vaelab.vae.priors.mixture:Mixture",
        "vamp": "vaelab.vae.priors.vamp:Vamp",
    },
)
