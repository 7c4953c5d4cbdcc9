"""p(x|z), the noise models, one file each, and their registry. Does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.vae.likelihoods.likelihood import Likelihood

# Values of the setting `likelihood`. The contract suite (tests/vae/test_likelihood_contract.py) runs over every entry.
LIKELIHOODS: Registry[type[Likelihood]] = Registry(
    "likelihood",
    {
        "bernoulli": "vaelab.vae.likelihoods.bernoulli:Bernoulli",
        "gaussian": "vaelab.vae.likelihoods.gaussian:Gaussian",
        "laplace": "vaelab.vae.likelihoods.laplace:Laplace",
        "huber": "vaelab.vae.likelihoods.huber:Huber",
    },
)
