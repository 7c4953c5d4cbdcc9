"""(model, parameters, batch, noise) -> Terms: the unweighted terms of each member's loss, and the loss."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaelab.engine.networks import Parameters
from vaelab.vae.model import Model
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class Noise:
    """The random numbers of a step: standard normals (K, B, L), and per layer a dropout mask (K, B, width) of 0 and
    1 / (1 - p).
    """

    normal: Tensor
    encoder_dropout: Sequence[Tensor] = ()
    decoder_dropout: Sequence[Tensor] = ()


@dataclasses.dataclass(frozen=True)
class Weights:
    """Per-member vectors (K, 1) that enter the loss; `free_bits` and `samples` are shared features of a stack."""

    beta: Tensor
    free_bits: Tensor | None = None
    samples: int = 1
    wx: Tensor | None = None  # of distortion and misfit, for inverse problems
    wy: Tensor | None = None  # None: the misfit has no weight

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """The vectors that are there, as `of_columns` takes them."""
        return tuple(c for c in (self.beta, self.wx, self.wy, self.free_bits) if c is not None)

    @classmethod
    def of_columns(cls, columns: Sequence[Tensor], spec: Spec) -> Weights:
        """The weights of a stack with the features of this spec."""
        beta, wx, *others = columns
        wy = others.pop(0) if spec.wy > 0 else None
        return cls(beta, others.pop(0) if spec.free_bits > 0 else None, spec.samples, wx, wy)

    def weighed(self, distortion: Tensor) -> Tensor:
        """The distortion (K, B) as weighted in the loss."""
        return distortion if self.wx is None else self.wx * distortion


@dataclasses.dataclass(frozen=True)
class Terms:
    """Unweighted terms per member and example in nats (K, B), and the training loss per member (K,)."""

    distortion: Tensor
    rate: Tensor
    loss: Tensor
    outputs: Tensor  # of the decoder (K, B, D) or, with S draws, (K, S B, D)
    misfit: Tensor | None = None  # of an inverse problem (see inverse.conditional), in its own units

    @property
    def stored(self) -> dict[str, Tensor]:
        """The terms that a record stores."""
        terms = {"distortion": self.distortion, "rate": self.rate}
        return terms if self.misfit is None else terms | {"misfit": self.misfit}


Objective = Callable[[Model, Parameters, Tensor, Noise, Weights], Terms]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the decoder's outputs cost: unweighted terms per member and example (K, B); their part of the loss (K,)."""

    distortion: Tensor
    loss: Tensor
    misfit: Tensor | None = None


# (model, parameters, outputs (K, B, head(D)), rows [x, y] (K, B, D + C), weights) -> Cost
CostOf = Callable[[Model, Parameters, Tensor, Tensor, Weights], Cost]


def reconstruction(model: Model, parameters: Parameters, outputs: Tensor, rows: Tensor, weights: Weights) -> Cost:
    """The distortion -log p(x|z); loss = mean(wx * distortion)."""
    distortion = model.likelihood.nll(outputs, model.split(rows)[0], parameters)
    return Cost(distortion, weights.weighed(distortion).mean(1))


def elbo(
    model: Model,
    parameters: Parameters,
    x: Tensor,
    noise: Noise,
    weights: Weights,
    cost: CostOf = reconstruction,
) -> Terms:
    """Terms of the evidence lower bound; loss = mean(wx * distortion + beta * rate), with another `cost` its loss.

    distortion = -E_q log p(x|z) with one draw, rate = KL(q(z|x) || p(z)), exact if the prior allows it (Kingma &
    Welling 2014, eq. 10), else with the same draw (eq. 8; beta: Higgins et al. 2017, eq. 4). With free bits the loss
    has sum_d max(free_bits, mean KL_d) instead of the mean rate (Kingma et al. 2016, eq. 15).
    """
    q = model.encode(parameters, x, noise.encoder_dropout)
    z = q.sample(noise.normal)
    outputs = model.decode(parameters, z, noise.decoder_dropout, model.split(x)[1])
    of_x = cost(model, parameters, outputs, x, weights)
    rate = model.prior.rate(q, noise.normal, z, parameters)
    if weights.free_bits is None:
        return Terms(of_x.distortion, rate, of_x.loss + (weights.beta * rate).mean(1), outputs, of_x.misfit)
    kl = model.prior.kl(q, parameters)  # (K, B, L)
    # A padded dimension has KL exactly 0 and would be lifted to the free bits: a constant without gradient.
    counted = torch.maximum(kl.mean(1), weights.free_bits).sum(-1)
    return Terms(of_x.distortion, rate, of_x.loss + weights.beta[:, 0] * counted, outputs, of_x.misfit)


def importance_weighted(model: Model, parameters: Parameters, x: Tensor, noise: Noise, weights: Weights) -> Terms:
    """Terms of the importance-weighted bound with S = weights.samples draws (Burda et al. 2016, eq. 8).

    loss = -mean log (1/S) sum_s exp(-distortion_s - beta * rate_s), rate_s = log q(z_s|x) - log p(z_s). Noise is
    (K, S B, L), the draws of one example B rows apart.
    """
    S = weights.samples
    q = model.encode(parameters, x, noise.encoder_dropout).repeated()
    x, y = model.split(x)
    K, B, D = x.shape
    normal = noise.normal.view(K, S, B, -1)
    z = q.sample(normal)
    tiled_y = None if y is None else y.repeat(1, S, 1)
    outputs = model.decode(parameters, z.view(K, S * B, -1), noise.decoder_dropout, tiled_y).view(K, S, B, -1)
    own = {name: p[:, None] for name, p in parameters.items() if name.startswith("likelihood")}
    distortion = model.likelihood.nll(outputs, x[:, None].expand(K, S, B, D), own)  # (K, S, B)
    rate = q.log_prob(normal) - model.prior.log_prob(z, parameters)
    bound = torch.logsumexp(-(distortion + weights.beta[:, :, None] * rate), 1) - math.log(S)
    return Terms(distortion.mean(1), rate.mean(1), -bound.mean(1), outputs.flatten(1, 2))


OBJECTIVES: dict[str, Objective] = {"elbo": elbo, "importance_weighted": importance_weighted}


def objective_for(spec: Spec) -> Objective:
    """The objective that a spec's training minimises."""
    return OBJECTIVES["elbo" if spec.samples == 1 else "importance_weighted"]
