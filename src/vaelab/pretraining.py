"""From an autoencoder to a VAE with a mixture prior: the mixture is fitted to the latents and written into the row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaelab import evaluate, mixture
from vaelab.feed import INITIAL_ROWS, Feed
from vaelab.model import Model
from vaelab.seeds import derive_seed
from vaelab.spec import Spec

START_VARIANCE = 0.1  # of q(z|x), as a share of the mean variance within components


@torch.no_grad()
def latents(model: Model, row: Tensor, spec: Spec, feed: Feed) -> Tensor:
    """Posterior means (n, latent_dim) of the training rows for one member's parameters (P + Q,)."""
    parameters = model.views(row[None])
    batches = feed.batches("train", 1)
    means = row.new_empty(batches.rows, spec.latent_dim)
    for place, x, _ in batches:
        means[place] = evaluate.encode(model, parameters, x.to(row.dtype)).mean[0, :, : spec.latent_dim]
    return means


@torch.no_grad()
def errors(model: Model, row: Tensor, feed: Feed) -> Tensor:
    """What reconstructions from the means miss of some training rows, in the model's units (n, D)."""
    x, parameters = feed.sample_rows(INITIAL_ROWS).to(row), model.views(row[None])
    outputs = model.decode(parameters, evaluate.encode(model, parameters, x).mean)[0]
    return (x - model.likelihood.mean(outputs)).cpu()


def _factors(covariances: Tensor, full: bool) -> dict[str, Tensor]:
    """Covariances (C, L, L) as the parameters that `priors.Mixture` has for them."""
    if not full:
        return {"prior.log_var": torch.log(covariances.diagonal(0, 1, 2))}
    root = torch.linalg.cholesky(torch.linalg.inv(covariances))
    scale = root.diagonal(0, 1, 2)
    return {
        "prior.log_var": -2 * torch.log(scale),
        "prior.shear": torch.tril(root / scale[:, None], -1).transpose(0, 1),
    }


@torch.no_grad()
def with_mixture(model: Model, row: Tensor, spec: Spec, feed: Feed) -> Tensor:
    """A member's parameters (P + Q,) with the mixture fitted to its latents, in the coordinates of that fit.

    Reconstructions from the means stay what they were; learned scales start at those of the errors. Raises
    FloatingPointError where the latents are not finite.
    """
    z = latents(model, row, spec, feed).double().cpu().numpy()
    if not np.isfinite(z).all():
        raise FloatingPointError("the latents became non-finite")
    fit = mixture.fit(z, spec.components, derive_seed(spec.seed, 2))
    own = {name: weight.double() for name, weight in model.unpad(row.cpu(), spec).items()}
    basis, centre = torch.from_numpy(np.ascontiguousarray(fit.basis)), torch.from_numpy(fit.centre)[None]
    L, last = spec.latent_dim, f"encoder.{len(spec.hidden_sizes)}"
    for name, offset in ((f"{last}.weight", 0.0), (f"{last}.bias", centre)):
        own[name][:, :L] = (own[name][:, :L] - offset) @ basis
    own["decoder.0.bias"] += centre @ own["decoder.0.weight"]
    own["decoder.0.weight"] = torch.linalg.solve(basis, own["decoder.0.weight"])
    own |= {name: scale.double() for name, scale in model.likelihood.initial(errors(model, row, feed)).items()}
    covariances = torch.from_numpy(fit.covariances)
    start = START_VARIANCE * (torch.from_numpy(fit.weights) @ covariances.diagonal(0, 1, 2))  # (L,)
    own[f"{last}.bias"][:, L:] = torch.log(start)
    own["prior.logits"] = torch.from_numpy(np.log(fit.weights))[None]
    own["prior.mean"] = torch.from_numpy(fit.means)
    own |= _factors(covariances + torch.diag(start), spec.covariance == "full")
    return model.pad({name: weight.to(row.dtype) for name, weight in own.items()}, spec).to(row.device)
