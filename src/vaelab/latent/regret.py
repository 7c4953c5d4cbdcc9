"""Likelihood regret: the gain of an example from its own optimised posterior over the encoder's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.engine.rows import as_tensor
from vaelab.vae import evaluate
from vaelab.vae.fitted import Fitted
from vaelab.vae.posterior import Posterior

STEPS, LR, DRAWS = 100, 0.05, 8  # of Adam on mean and log-variance; draws of z per loss and in the result


def likelihood_regret(fitted: Fitted, x: Any, steps: int = STEPS) -> npt.NDArray[np.float64]:
    """max_q ELBO(x; q) - ELBO(x; q(z|x)) in nats (n,), over diagonal Gaussians q (Xiao et al. 2020, equation 7).

    High for inputs unlike the training data: the decoder can explain the example, but the encoder does not find it.
    The gain is measured on other draws of z than those of the fit.
    """
    batches = fitted.units.batches(as_tensor(fitted.rows(x)).to(fitted.device), DRAWS)
    found = np.empty(batches.rows)
    parameters = {name: weight.detach() for name, weight in fitted.parameters.items()}
    for place, rows, keys in batches:
        pixels = rows.to(fitted.row.dtype)
        with torch.no_grad():
            start = evaluate.encode(fitted.model, parameters, pixels)
        own = [start.mean.clone().requires_grad_(), start.log_var.clone().requires_grad_()]

        def cost(q: Posterior, first: int, pixels: torch.Tensor = pixels, keys: torch.Tensor = keys) -> torch.Tensor:
            """The negative ELBO (n,) of the examples under q, with draws starting at number `first`."""
            noise = evaluate.fixed_noise(keys, [fitted.spec], fitted.model.latent, DRAWS, pixels.dtype, first)
            several = q.repeated()
            z = several.sample(noise)
            distortion = evaluate.nll(fitted.model, parameters, z, pixels)
            return (distortion + fitted.model.prior.rate(several, noise, z, parameters)).mean(1)[0]

        adam = torch.optim.Adam(own, lr=LR)
        for step in range(1, steps + 1):
            adam.zero_grad()
            # New draws at every step: a posterior fitted to a few fixed ones would overfit them.
            torch.autograd.backward(cost(Posterior(*own), step * DRAWS).sum())
            adam.step()
        with torch.no_grad():
            found[place] = (cost(start, 0) - cost(Posterior(*own), 0)).cpu().numpy()
    return found
