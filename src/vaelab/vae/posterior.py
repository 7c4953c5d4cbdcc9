"""q(z|x), the encoder's posterior. Pure functions, in nats."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

WIDEST = (
    6.0  # logarithm of a variance, 20 times the prior's spread, that the exponential of a strange row cannot exceed
)


@dataclasses.dataclass(frozen=True)
class Posterior:
    """q(z|x): a diagonal Gaussian per member and example; `mean` and `log_var` are (K, B, L)."""

    mean: Tensor
    log_var: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """z = mean + std * noise, for standard normal noise (K, B, L)."""
        return torch.addcmul(self.mean, torch.exp(0.5 * self.log_var), noise)

    def log_prob(self, noise: Tensor) -> Tensor:
        """log q(z|x) in nats (..., B) of the draw z = mean + std * noise, for noise (..., B, L).

        Without -L/2 log(2 pi), which cancels against the prior's, so padded dimensions, whose noise is exactly 0, add
        exactly 0. Their log_var must not enter even while it is 0: its gradient would keep widening q in padding.
        """
        own = noise != 0  # a normal that is 0 by chance, one in 10^7, drops its own log_var
        return -0.5 * torch.addcmul(noise.square(), self.log_var, own.to(noise.dtype)).sum(-1)

    def repeated(self) -> Posterior:
        """The same with an axis for several draws, (K, 1, B, L)."""
        return Posterior(self.mean[:, None], self.log_var[:, None])
