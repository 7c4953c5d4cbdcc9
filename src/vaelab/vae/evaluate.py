"""Evaluation: yardsticks, bounds and diagnostics, on fixed noise, in nats per example."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vaelab.engine import noise
from vaelab.engine.encoding import FAR
from vaelab.engine.networks import Parameters, fast_products
from vaelab.engine.rows import Batches
from vaelab.settings.latents import in_use
from vaelab.settings.yardsticks import SEARCH_DRAWS
from vaelab.vae.feed import BASELINE_ROWS, Feed
from vaelab.vae.model import Model
from vaelab.vae.posterior import WIDEST, Posterior
from vaelab.vae.spec import Spec
from vaelab.wording import difference

BOUND_DRAWS = 64  # draws of an importance-weighted bound in memory at once
COLLAPSE_RATE = 0.1  # nats
EPOCH_DECODES = 256  # of a validation split with few rows after an epoch, whose best would be chosen by noise


@dataclasses.dataclass(frozen=True)
class Scores:
    """Per member: distortion and rate of each example (K, N); KL and variance of the means per dimension (K, L).

    Both are relative to the prior's mean and variance. For a mixture the KL is therefore against the Gaussian with its
    moments: it measures the information in a dimension, and does not sum to the rate.
    """

    distortion: Tensor
    rate: Tensor
    kl: Tensor
    mean_variance: Tensor
    occupied: Tensor | None = None  # (K,) components of a mixture prior in use

    @property
    def neg_elbo(self) -> Tensor:
        return self.distortion + self.rate


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The baseline of the yardstick on one split: the best model without latents, and the data's own entropy.

    `no_latents` is per example (N,); `floor` is the mean entropy of grey values read as probabilities, None if
    the likelihood has no such floor.
    """

    no_latents: Tensor
    floor: float | None

    def as_dict(self) -> dict[str, float | None]:
        return {"no_latents": float(self.no_latents.mean()), "floor": self.floor}

    def share(self, neg_elbo: float) -> float | None:
        """The share of the range from the model without latents to the floor."""
        if self.floor is None:
            return None
        top = float(self.no_latents.mean())
        return (top - neg_elbo) / (top - self.floor)


def nll(model: Model, parameters: Parameters, z: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) (K, S, n) of x (n, D) given z (K, S, n, L); if conditional, of rows [x, y] (n, D + C)."""
    K, S, n, L = z.shape
    x, y = model.split(x)
    tiled = None if y is None else y.expand(K, S, *y.shape).reshape(K, S * n, -1)
    outputs = model.decode(parameters, z.reshape(K, S * n, L), y=tiled).view(K, S, n, -1)
    own = {name: p[:, None] for name, p in parameters.items() if name.startswith("likelihood")}
    return model.likelihood.nll(outputs, x.expand(K, S, *x.shape), own)


def encode(model: Model, parameters: Parameters, x: Tensor) -> Posterior:
    """q(z|x) of every member for the same rows x (n, D), however far out: any q gives a bound."""
    K = len(next(iter(parameters.values())))
    if model.encoding is None:
        x = x.clamp(-FAR, FAR)
    q = model.encode(parameters, x.expand(K, *x.shape))
    return Posterior(q.mean, q.log_var.clamp_max(WIDEST))


def epoch_draws(rows: int) -> int:
    """Draws of z per validation example after an epoch: one, but several for few rows.

    >>> [epoch_draws(rows) for rows in (15, 60, 200)]
    [8, 4, 1]
    """
    return min(SEARCH_DRAWS, max(1, EPOCH_DECODES // rows))


def fixed_noise(
    keys: Tensor, specs: Sequence[Spec], latent: int, draws: int, dtype: torch.dtype, first: int = 0
) -> Tensor:
    """Standard normals (K, S, n, L) keyed by example, equal for all members, 0 in padding."""
    eps = noise.normal(keys, draws, max(spec.latent_dim for spec in specs), first).to(dtype)
    padded = eps.new_zeros(len(specs), draws, len(keys), latent)
    for k, spec in enumerate(specs):
        padded[k, :, :, : spec.latent_dim] = eps[:, :, : spec.latent_dim]
    return padded


Piece = tuple[slice, Posterior, Tensor, Tensor]
# (rows (n, D), their noise keys, draws) -> rate and distortion (K, n) by fused kernels, in place of what follows
Evaluator = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def _pieces(
    model: Model,
    parameters: Parameters,
    specs: Sequence[Spec],
    batches: Batches,
    draws: int,
    terms: Evaluator | None = None,
) -> Iterator[Piece]:
    """For each chunk of rows: position, q(z|x), rate and distortion (K, n), with `draws` draws where needed."""
    dtype = next(iter(parameters.values())).dtype
    with fast_products(model.largest_layer):
        for place, rows, keys in batches:
            x = rows.to(dtype)
            q = encode(model, parameters, x)
            if terms is not None:
                yield place, q, *terms(x, keys, draws)
                continue
            eps = fixed_noise(keys, specs, model.latent, draws, dtype)
            several = q.repeated()
            z = several.sample(eps)
            rate = model.prior.rate(several, eps, z, parameters).mean(1)
            yield place, q, rate, nll(model, parameters, z, x).mean(1)


@torch.no_grad()
def score(
    model: Model,
    parameters: Parameters,
    specs: Sequence[Spec],
    batches: Batches,
    draws: int,
    log_jacobian: float = 0.0,
    terms: Evaluator | None = None,
) -> Scores:
    """Distortion with `draws` draws, rate and diagnostics of every member, per example; by `terms` if given."""
    K, N = len(specs), batches.rows
    distortion, rate = torch.empty(2, K, N, dtype=torch.float64)
    kl, means, squares = torch.zeros(3, K, model.latent, dtype=torch.float64)
    for place, q, rates, distortions in _pieces(model, parameters, specs, batches, draws, terms):
        distortion[:, place], rate[:, place] = distortions.cpu(), rates.cpu()
        kl += model.prior.kl(q, parameters).sum(1, dtype=torch.float64).cpu()
        means += q.mean.sum(1, dtype=torch.float64).cpu()
        squares += q.mean.double().square().sum(1).cpu()
    variance = (squares / N - (means / N).square()).clamp_min(0) / model.prior.moments(parameters)[1][:, 0].cpu()
    return Scores(distortion + log_jacobian, rate, kl / N, variance, model.prior.occupied(parameters))


@torch.no_grad()
def mean_terms(
    model: Model, parameters: Parameters, specs: Sequence[Spec], batches: Batches, log_jacobian: float
) -> list[tuple[float, float]]:
    """Mean distortion and rate of every member, for an epoch's record, without diagnostics."""
    terms = next(iter(parameters.values())).new_empty(2, len(specs), batches.rows)
    for place, _, rates, distortions in _pieces(model, parameters, specs, batches, epoch_draws(batches.rows)):
        terms[0, :, place], terms[1, :, place] = distortions, rates
    distortion, rate = terms.mean(2, dtype=torch.float64).tolist()
    return [(d + log_jacobian, r) for d, r in zip(distortion, rate, strict=True)]


_baselines: weakref.WeakKeyDictionary[Feed, dict[tuple[str, int | None], Baseline]] = weakref.WeakKeyDictionary()


def baseline(feed: Feed, split: str, limit: int | None = None) -> Baseline:
    """The model without latents, fitted to train and evaluated on (the first rows of) `split`; and the floor."""
    known = _baselines.setdefault(feed, {})
    if (split, limit) not in known:
        known[split, limit] = _baseline(feed, split, limit)
    return known[split, limit]


@torch.no_grad()
def _baseline(feed: Feed, split: str, limit: int | None) -> Baseline:
    # Fitting a density needs several copies of its rows in double precision.
    rows = BASELINE_ROWS if feed.likelihood.is_mass else BASELINE_ROWS // 4
    outputs, own = feed.likelihood.constant(feed.sample_rows(rows)[:, : feed.features])
    batches, entropy = feed.batches(split, 4, limit), 0.0
    costs = torch.empty(batches.rows, dtype=torch.float64)
    for place, piece, _ in batches:
        x = piece[:, : feed.features].double()
        costs[place] = feed.likelihood.nll(outputs.expand(1, len(x), -1), x[None], own)[0].cpu()
        floor = feed.likelihood.floor(x)
        if floor is not None:
            entropy += float(floor.sum())
    no_latents = costs + feed.log_jacobian
    return Baseline(no_latents, entropy / len(no_latents) if entropy > 0 else None)


def metrics(scores: Scores, member: int, spec: Spec, reference: Baseline) -> dict[str, Any]:
    """The metrics of one member, for storage, printing and judging; nats per example."""
    cost, rate = scores.neg_elbo[member], scores.rate[member]
    N, own = len(cost), slice(spec.latent_dim)
    neg_elbo = float(cost.mean())
    gain = reference.no_latents[:N] - cost
    gain_error = float(gain.std()) / math.sqrt(N) if N > 1 else math.inf
    reason = why_collapsed(float(rate.mean()), float(gain.mean()), gain_error)
    occupied = {} if scores.occupied is None else {"occupied_components": float(scores.occupied[member])}
    return {
        "neg_elbo": neg_elbo,
        "se": float(cost.std()) / math.sqrt(N) if N > 1 else None,
        "rate": float(rate.mean()),
        "distortion": float(scores.distortion[member].mean()),
        "active_units": int(in_use(scores.mean_variance[member, own]).sum()),
        "verdict": "ok" if reason is None else "collapsed",
        "reason": reason,
        "share": reference.share(neg_elbo),
        "kl": [float(v) for v in scores.kl[member, own]],
        **occupied,
    }


def why_collapsed(rate: float, gain: float, gain_error: float) -> str | None:
    """The reason for posterior collapse, with its numbers; None if not collapsed.

    gain: nats by which neg_elbo is below that of the model without latents; gain_error: its standard error.

    >>> why_collapsed(0.03, 5.0, 0.1)
    'its rate, 0.03 nats, is below 0.1'
    >>> why_collapsed(2.0, 0.15, 0.1)
    'its neg_elbo is 0.15 nats below that of the model without latents, within 2 standard errors (2 x 0.1)'
    >>> why_collapsed(2.0, -1.5, 0.1)
    'its neg_elbo is 1.5 nats above that of the model without latents'
    >>> why_collapsed(2.0, -35400.0, 0.1)
    'its neg_elbo is 35,400 nats above that of the model without latents'
    """
    if rate < COLLAPSE_RATE:
        return f"its rate, {rate:.2g} nats, is below {COLLAPSE_RATE}"
    if gain >= 2 * gain_error:
        return None
    side = "above" if gain < 0 else "below"
    against = f"its neg_elbo is {difference(gain)} nats {side} that of the model without latents"
    return against if gain < 0 else f"{against}, within 2 standard errors (2 x {gain_error:.2g})"


def averaged_kl_loss(distortion: float, rate: float, latent_dim: int) -> float:
    """distortion + rate / latent_dim: the loss with the KL averaged over latent dimensions instead of summed.

    This is not a bound on -log p(x), but a loss with a hidden beta of 1 / latent_dim. It decides nothing and is only
    reported for comparison with published results that use it.

    >>> averaged_kl_loss(140.0, 6.0, 2)
    143.0
    """
    return distortion + rate / latent_dim


@dataclasses.dataclass(frozen=True)
class Bound:
    """An importance-weighted bound: -log p(x) is at most `neg_log_p` (in expectation), in nats per example.

    `se` is over examples; `monte_carlo` is the part of it that more draws would remove.
    """

    neg_log_p: float
    se: float
    monte_carlo: float
    draws: int


@torch.no_grad()
def importance_bound(
    model: Model, parameters: Parameters, spec: Spec, batches: Batches, draws: int, log_jacobian: float = 0.0
) -> Bound:
    """-E_x log (1/k) sum_k p(x, z_k) / q(z_k|x) for one member (Burda et al. 2016, eq. 8), in chunks of draws.

    `batches` contain chunks sized for `BOUND_DRAWS` draws at once.
    """
    cost, variance = importance_costs(model, parameters, spec, batches, draws)
    cost, N = cost + log_jacobian, batches.rows
    return Bound(float(cost.mean()), float(cost.std()) / math.sqrt(N), math.sqrt(float(variance.sum())) / N, draws)


@torch.no_grad()
def importance_costs(
    model: Model, parameters: Parameters, spec: Spec, batches: Batches, draws: int
) -> tuple[Tensor, Tensor]:
    """The terms of `importance_bound` (N,) in the model's units, and their variances (N,) by the draws."""
    dtype = next(iter(parameters.values())).dtype
    cost, variance = torch.empty(2, batches.rows, dtype=torch.float64)
    for place, x, keys in batches:
        x = x.to(dtype)
        q = encode(model, parameters, x).repeated()
        pieces = []
        for first in range(0, draws, BOUND_DRAWS):
            eps = fixed_noise(keys, [spec], model.latent, min(BOUND_DRAWS, draws - first), dtype, first)
            z = q.sample(eps)
            log_w = model.prior.log_prob(z, parameters) - q.log_prob(eps) - nll(model, parameters, z, x)  # (1, S, n)
            pieces.append(log_w[0].double().cpu())
        log_w = torch.cat(pieces)  # (k, n)
        cost[place] = math.log(draws) - torch.logsumexp(log_w, 0)
        share = torch.softmax(log_w, 0)  # delta method: var log mean w = sum (w / sum w)^2 - 1 / k
        variance[place] = (share.square().sum(0) - 1 / draws).clamp_min(0)
    return cost, variance


@dataclasses.dataclass(frozen=True)
class MutualInformation:
    """An estimate of I(x; z) under q in nats. It cannot exceed `cap` = log N: near the cap it is only a lower bound."""

    estimate: float
    cap: float


@torch.no_grad()
def mutual_information(model: Model, parameters: Parameters, spec: Spec, batches: Batches) -> MutualInformation:
    """E[log q(z|x) - log q(z)] for one member, q(z) the mean of q(z|x_j) over N rows (Hoffman & Johnson 2016).

    Memory is O(N^2): use a few thousand rows.
    """
    means, log_vars, draws = [], [], []
    for _, x, keys in batches:
        q = encode(model, parameters, x.to(next(iter(parameters.values())).dtype))
        means.append(q.mean[0].double())
        log_vars.append(q.log_var[0].double())
        draws.append(fixed_noise(keys, [spec], model.latent, 1, torch.float64)[0, 0])
    mean, log_var, eps = torch.cat(means), torch.cat(log_vars), torch.cat(draws)
    z, precision = mean + torch.exp(0.5 * log_var) * eps, torch.exp(-log_var)
    # log q(z_i|x_j) without its constant; the square is expanded, so that matrix products do the N x N work
    own = (mean.square() * precision + log_var).sum(1)
    pairs = -0.5 * (z.square() @ precision.T - 2 * z @ (mean * precision).T + own)
    N = len(z)
    estimate = pairs.diagonal() - torch.logsumexp(pairs, 1) + math.log(N)
    return MutualInformation(float(estimate.mean()), math.log(N))
