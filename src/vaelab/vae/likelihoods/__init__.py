"""p(x|z), the noise models, one file each, and their registry. Does not import torch."""

from vaelab.registry import Registry

# Values of the setting `likelihood`. The contract suite (tests/vae/test_likelihood_contract.py) runs over every entry.
LIKELIHOODS = Registry[type](
    "likelihood",
    {
        "bernoulli": "vaelab.vae.likelihoods.bernoulli:Bernoulli",
        "gaussian": "vaelab.vae.likelihoods.gaussian:Gaussian",
        "laplace": "vaelab.vae.likelihoods.laplace:Laplace",
        "huber": "vaelab.vae.likelihoods.huber:Huber",
    },
)
