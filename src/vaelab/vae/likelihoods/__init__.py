"""p(x|z), the noise models, one file each, and their registries. Does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.vae.likelihoods.likelihood import ColumnLikelihood, Likelihood

ROOM = "vaelab.vae.likelihoods"

# Values of the setting `likelihood`. The contract suite (tests/vae/test_likelihood_contract.py) runs over every entry.
LIKELIHOODS: Registry[type[Likelihood]] = Registry(
    "likelihood",
    {
        "bernoulli": f"{ROOM}.bernoulli:Bernoulli",
        "gaussian": f"{ROOM}.gaussian:Gaussian",
        "laplace": f"{ROOM}.laplace:Laplace",
        "huber": f"{ROOM}.huber:Huber",
        "student": f"{ROOM}.student:Student",
        "mixed": f"{ROOM}.mixed:Mixed",
    },
)

# Of the columns of a table, by which `mixed` describes each by its kind; under the same contract suite.
COLUMN_LIKELIHOODS: Registry[type[ColumnLikelihood]] = Registry(
    "likelihood of a column",
    {
        "gaussian": f"{ROOM}.gaussian:Gaussian",
        "laplace": f"{ROOM}.laplace:Laplace",
        "huber": f"{ROOM}.huber:Huber",
        "student": f"{ROOM}.student:Student",
        "bernoulli": f"{ROOM}.bernoulli:Bernoulli",
        "categorical": f"{ROOM}.categorical:Categorical",
        "ordinal": f"{ROOM}.ordinal:Ordinal",
        "poisson": f"{ROOM}.poisson:Poisson",
        "negative_binomial": f"{ROOM}.negative_binomial:NegativeBinomial",
        "zero_inflated": f"{ROOM}.zero_inflated:ZeroInflated",
    },
)
