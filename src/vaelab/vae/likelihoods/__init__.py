"""p(x|z), the noise models, one file each, and the registry of their names. Imports no torch."""

from vaelab.registry import Registry

# What the setting `likelihood` may be. The contract suite (tests/vae/test_likelihoods.py) runs over every entry.
LIKELIHOODS = Registry[type](
    "likelihood",
    {
        "bernoulli": "vaelab.vae.likelihoods.bernoulli:Bernoulli",
        "gaussian": "vaelab.vae.likelihoods.gaussian:Gaussian",
        "laplace": "vaelab.vae.likelihoods.laplace:Laplace",
        "huber": "vaelab.vae.likelihoods.huber:Huber",
    },
)
