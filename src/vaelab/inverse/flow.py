"""A flow for p(x | y): the decoder x = g(z; y) is invertible in z, which has the dimension of x.

What a conditional VAE bounds is then exact, and no encoder is needed. A Gaussian decoder blurs thin, curved or several
modes; a flow does not, but cannot be a map of a few latents, so validation chooses between the two.

Of few pairs one flow is too sure of itself: then each of five flows is trained without a fifth of them, and p(x | y) is
their equal mixture. The base distribution is N(0, s^2 I), with the s under which validation pairs are most likely, if
they tell it from 1.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import torch
from scipy import optimize
from torch import Tensor, nn

from vaelab import store
from vaelab.engine.process import one_thread
from vaelab.engine.seeds import derive_seed
from vaelab.inverse.curves import FEATURES, CurveReader

Pairs = tuple[Tensor, Tensor]  # x (n, D) and y (n, C)
Curve = tuple[int, int]  # outputs and points of y, if it is read by convolutions
TRANSFORMS, HIDDEN, BINS = 5, (64, 64), 8
LR, WARMUP, CLIP, AVERAGE = 2e-3, 0.05, 5.0, 0.99  # the last: of the weights, over the steps
STEPS, LEAST_BATCH, MOST_BATCH, MOST_EPOCHS = 5_400, 100, 500, 200
LONGER = 2  # times the epochs of a model beside it, whose passes take longer
PATIENCE = 25  # epochs without a better validation value
FEW, FOLDS = 1_000, 5  # below so many pairs, so many flows, each without a part of them
CHANCE = 4.0  # twice the gain in log-likelihood up to which a scale of 1 is kept: two standard errors
NARROWEST, WIDEST_SCALE = 0.5, 3.0  # of the base distribution
WIDEST = 32  # dimensions of x: each needs a pass through the network for a draw
FILE = "flow.safetensors"
PIECE = 20_000  # draws at once
CURVES = 500_000  # values of curves at once


class Conditional(nn.Module):
    """p(x | y) by a flow that is given what a reader makes of y."""

    def __init__(self, reader: nn.Module, flow: nn.Module):
        super().__init__()
        self.reader, self.flow = reader, flow

    def forward(self, y: Tensor) -> Any:
        return self.flow(self.reader(y))


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """An equal mixture of neural spline flows in the coordinates of a problem's x and y (Durkan et al. 2019).

    scale: the standard deviation of the base distribution. neg_log_p: on validation, in nats per example, in these
    coordinates. seconds: of its training. curve: if y is one, whose values are given instead of its coordinates.
    """

    nets: tuple[Conditional, ...]
    scale: float = 1.0
    neg_log_p: float = math.nan
    seconds: float = 0.0
    curve: Curve | None = None

    @property
    def reads_curves(self) -> bool:
        return self.curve is not None

    @torch.no_grad()
    def draw(self, y: Tensor, n: int, seed: int = 0) -> Tensor:
        """Draws of x (curves, n, D) for measurements y (curves, C), both in coordinates."""
        generator = torch.Generator().manual_seed(derive_seed(seed, 5))
        y = y.float()
        size = self.nets[0](y[:1]).event_shape[0]
        drawn = [(torch.randn(n, size, generator=generator), torch.randn(n, generator=generator)) for _ in y]
        z = self.scale * torch.cat([own for own, _ in drawn])
        chosen = picked(torch.cat([own for _, own in drawn]), len(self.nets))
        x = torch.empty_like(z)
        for k, net in enumerate(self.nets):
            read = torch.cat([net.reader(own) for own in y.split(self._rows(y))])
            for piece in (chosen == k).nonzero()[:, 0].split(PIECE):
                x[piece] = net.flow(read[piece // n]).transform.inv(z[piece])
        return x.view(len(y), n, size)

    def log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x | y) (n,) in nats, for pairs x (n, D) and y (n, C) in coordinates."""
        return _mixture(*self._based(x, y), self.scale)

    def calibrated(self, x: Tensor, y: Tensor) -> Flow:
        """With the scale under which pairs x (n, D), y (n, C) that it did not see are most likely; with a scale of 1
        where their likelihood gains no more than by chance. The density keeps a mass of 1.
        """
        based = self._based(x, y)

        def cost(log_scale: float) -> float:
            return -float(_mixture(*based, math.exp(log_scale)).sum())

        at_one = cost(0.0)
        if not math.isfinite(at_one):
            return dataclasses.replace(self, scale=1.0)
        best = optimize.minimize_scalar(cost, bounds=(math.log(NARROWEST), math.log(WIDEST_SCALE)), method="bounded")
        scale = math.exp(best.x) if 2 * (at_one - best.fun) > CHANCE else 1.0
        return dataclasses.replace(self, scale=scale)

    @torch.no_grad()
    def _based(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Of each flow z (K, n, D) behind pairs x, y, and log |dz / dx| (K, n)."""
        rows = self._rows(y)
        pieces = list(zip(x.float().split(rows), y.float().split(rows), strict=True))
        found = [[net(given).transform.call_and_ladj(own) for own, given in pieces] for net in self.nets]
        z, slope = (torch.stack([torch.cat([part[i] for part in own]) for own in found]) for i in (0, 1))
        return z, slope

    def _rows(self, y: Tensor) -> int:
        """How many measurements y (n, C) are read at once."""
        return PIECE if self.curve is None else max(1, min(PIECE, CURVES // y.shape[1]))

    def save(self, folder: Path) -> dict[str, Any]:
        """Its weights in a run folder; returns what `load` needs besides."""
        arrays = {
            f"{k}.{name}": value.numpy() for k, net in enumerate(self.nets) for name, value in net.state_dict().items()
        }
        about = {
            "flows": len(self.nets), "scale": self.scale, "neg_log_p": self.neg_log_p, "seconds": self.seconds,
            "curve": self.curve,
        }  # fmt: skip
        return {"sha256": store.save_arrays(folder / FILE, arrays), **about}

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any], x_size: int, y_size: int) -> Flow:
        """From a run folder and what `save` returned, for coordinates of these sizes."""
        arrays = store.load_arrays(folder / FILE, about["sha256"])
        nets, curve = [], None if about["curve"] is None else tuple(about["curve"])
        for k in range(about["flows"]):
            net = _network(x_size, y_size, curve, 0)
            net.load_state_dict({name: torch.from_numpy(arrays[f"{k}.{name}"]) for name in net.state_dict()})
            nets.append(net)
        return cls(tuple(nets), about["scale"], about["neg_log_p"], about["seconds"], curve)


def picked(normal: Tensor, parts: int) -> Tensor:
    """Which of equal parts each standard normal (n,) is in: 0 to parts - 1.

    >>> picked(torch.tensor([-9.0, -0.1, 0.1, 9.0]), 2)
    tensor([0, 0, 1, 1])
    """
    part: Tensor = (parts * torch.special.ndtr(normal)).long().clamp(max=parts - 1)
    return part


def _mixture(z: Tensor, log_slope: Tensor, scale: float) -> Tensor:
    """log p(x | y) (n,) of K flows in equal parts, from the base distribution N(0, scale^2 I)."""
    each = (-0.5 * (z / scale).square() - math.log(scale) - 0.5 * math.log(2 * math.pi)).sum(-1) + log_slope
    return torch.logsumexp(each, 0) - math.log(len(each))


def _network(x_size: int, y_size: int, curve: Curve | None, seed: int) -> Conditional:
    import zuko  # and with it torch.distributions, half a second that other commands need not wait

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        context = y_size if curve is None else FEATURES
        flow = zuko.flows.NSF(x_size, context, transforms=TRANSFORMS, hidden_features=HIDDEN, bins=BINS)
        return Conditional(nn.Identity() if curve is None else CurveReader(*curve), flow)


def parts_of(n: int) -> int:
    """How many flows are trained on n pairs."""
    return FOLDS if n < FEW else 1


def fit(train: Pairs, validation: Pairs, seed: int = 0, epochs: int = MOST_EPOCHS, curve: Curve | None = None) -> Flow:
    """A flow of pairs x (n, D) and y (n, C) in coordinates, or of few pairs a mixture, each without a part of them.

    curve: y is one, of so many outputs and points, whose values are given.
    """
    began = time.perf_counter()
    n, (x, y) = len(train[0]), train
    folds = parts_of(n)
    if folds > 1:
        parts = [torch.arange(n) % folds == k for k in range(folds)]
        unseen = [(x[part], y[part]) for part in parts]
        seen = [(x[~part], y[~part]) for part in parts]
        seeds = [derive_seed(seed, 20 + k) for k in range(FOLDS)]
    else:
        unseen, seen, seeds = [validation], [train], [seed]
    nets = tuple(_trained(own, held, s, epochs, curve) for own, held, s in zip(seen, unseen, seeds, strict=True))
    found = Flow(nets, curve=curve).calibrated(*validation)
    neg_log_p = float(-found.log_prob(*validation).mean())
    return dataclasses.replace(found, neg_log_p=neg_log_p, seconds=time.perf_counter() - began)


def _trained(train: Pairs, validation: Pairs, seed: int, epochs: int, curve: Curve | None) -> Any:
    """The network with the lowest -log p(x | y) on validation.

    Adam with a cosine schedule over 5,400 steps, in at most `epochs` epochs; a running average of the weights is what
    is judged and kept. If the loss becomes NaN, training ends with the best weights before.
    """
    (x, y), (held_x, held_y) = ([part.float() for part in pair] for pair in (train, validation))
    batch = min(len(x), max(LEAST_BATCH if len(x) > 2 * LEAST_BATCH else 16, min(MOST_BATCH, len(x) // 180)))
    per_epoch = len(x) // batch
    epochs = max(1, min(epochs, MOST_EPOCHS, round(STEPS / per_epoch)))
    generator = torch.Generator().manual_seed(derive_seed(seed, 6))
    net = _network(x.shape[1], y.shape[1], curve, derive_seed(seed, 7))
    if isinstance(net.reader, CurveReader):
        net.reader.standardise(y)
    average = copy.deepcopy(net)
    weights: list[Tensor] = list(net.parameters())
    means: list[Tensor] = list(average.parameters())
    optimizer = torch.optim.Adam(weights, lr=LR)
    best, best_epoch, kept = math.inf, 0, copy.deepcopy(average.state_dict())
    step, steps = 0, epochs * per_epoch
    with one_thread():
        for epoch in range(1, epochs + 1):
            order = torch.randperm(len(x), generator=generator)[: per_epoch * batch]
            for rows in order.view(per_epoch, batch):
                share = step / steps
                optimizer.param_groups[0]["lr"] = LR * min(1.0, share / WARMUP) * 0.5 * (1 + math.cos(math.pi * share))
                loss = -net(y[rows]).log_prob(x[rows]).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, CLIP)
                optimizer.step()
                step += 1
                with torch.no_grad():
                    torch._foreach_lerp_(means, weights, 1 - min(AVERAGE, (1 + step) / (10 + step)))
            with torch.no_grad():
                value = float(-average(held_y).log_prob(held_x).mean())
            if value < best:
                best, best_epoch, kept = value, epoch, copy.deepcopy(average.state_dict())
            if epoch - best_epoch >= PATIENCE or math.isnan(value):
                break
    average.load_state_dict(kept)
    return average
