"""The loss of classifiers: cross-entropy, with label smoothing and weights of classes."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Answers:
    """The loss of a batch: log-loss in nats and whether the most likely class is wrong, each (K, B)."""

    log_loss: Tensor
    error: Tensor
    loss: Tensor  # (K,)

    @property
    def stored(self) -> dict[str, Tensor]:
        """The terms that a record stores."""
        return {"log_loss": self.log_loss, "error": self.error}


def cross_entropy(logits: Tensor, y: Tensor, smoothing: Tensor, weights: Tensor) -> Answers:
    """-log p(y|x), and loss = mean(w_y ((1 - s) * -log p(y|x) + s * mean_c -log p(c|x))), s the label smoothing.

    logits (K, B, C), classes y (K, B), smoothing (K, 1), weights w of the classes (K, C). (Szegedy et al. 2016,
    section 7.) The mean of w_y over training rows is 1, so that a batch needs no normalisation of its own.
    """
    log_p = torch.log_softmax(logits, -1)
    log_loss = -log_p.gather(-1, y[..., None])[..., 0]
    error = (logits.detach().argmax(-1) != y).to(logits.dtype)
    loss = (1 - smoothing) * log_loss - smoothing * log_p.mean(-1)
    return Answers(log_loss.detach(), error, (weights.gather(1, y) * loss).mean(1))
