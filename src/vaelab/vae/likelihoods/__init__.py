"""p(x|z), the noise models, one file each, and the registry of their names. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.vae.likelihoods.likelihood import Likelihood
    from vaelab.vae.spec import Spec

# What the setting `likelihood` may be. The contract suite (tests/vae/test_likelihoods.py) runs over every entry.
LIKELIHOODS: Registry[type[Likelihood]] = Registry(
    "likelihood",
    {
        "bernoulli": "vaelab.vae.likelihoods.bernoulli:Bernoulli",
        "gaussian": "vaelab.vae.likelihoods.gaussian:Gaussian",
        "laplace": "vaelab.vae.likelihoods.laplace:Laplace",
        "huber": "vaelab.vae.likelihoods.huber:Huber",
    },
)


def likelihood_for(spec: Spec, is_image: bool) -> Likelihood:
    """The noise model of a resolved spec, for images or for rows of a table."""
    return LIKELIHOODS[spec.likelihood].for_spec(spec, is_image)
