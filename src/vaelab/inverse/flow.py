"""A flow for p(x | y): the decoder x = g(z; y) is invertible in z, which has the dimension of x.

What a conditional VAE bounds is then exact, and no encoder is needed. A Gaussian decoder blurs thin, curved or several
modes; a flow does not, but cannot be a map of a few latents, so validation chooses between the two.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from vaelab import store
from vaelab.engine.process import one_thread
from vaelab.engine.seeds import derive_seed

Array = npt.NDArray[Any]
TRANSFORMS, HIDDEN, BINS = 5, (64, 64), 8
LR, WARMUP, CLIP, AVERAGE = 2e-3, 0.05, 5.0, 0.99  # the last: of the weights, over the steps
STEPS, LEAST_BATCH, MOST_BATCH, MOST_EPOCHS = 5_400, 100, 500, 200
LONGER = 2  # times the epochs of a model beside it, whose passes take longer
PATIENCE = 25  # epochs without a better validation value
WIDEST = 32  # dimensions of x: each needs a pass through the network for a draw
FILE = "flow.safetensors"
PIECE = 20_000  # draws at once


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """A neural spline flow in the coordinates of a problem's x and y (Durkan et al. 2019).

    neg_log_p: on validation, in nats per example, in these coordinates. seconds: of its training.
    """

    net: Any
    neg_log_p: float
    seconds: float = 0.0

    @torch.no_grad()
    def draw(self, y: Tensor, n: int, seed: int = 0) -> Tensor:
        """Draws of x (curves, n, D) for measurements y (curves, C), both in coordinates."""
        generator = torch.Generator().manual_seed(derive_seed(seed, 5))
        found = []
        for own in y.float():
            given = self.net(own)
            z = torch.randn(n, given.event_shape[0], generator=generator)
            found.append(torch.cat([given.transform.inv(piece) for piece in z.split(PIECE)]))
        return torch.stack(found)

    @torch.no_grad()
    def log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x | y) (n,) in nats, for pairs x (n, D) and y (n, C) in coordinates."""
        pieces = zip(x.float().split(PIECE), y.float().split(PIECE), strict=True)
        return torch.cat([self.net(given).log_prob(own) for own, given in pieces])

    def save(self, folder: Path) -> dict[str, Any]:
        """Its weights in a run folder; returns what `load` needs besides."""
        arrays = {name: value.numpy() for name, value in self.net.state_dict().items()}
        digest = store.save_arrays(folder / FILE, arrays)
        return {"sha256": digest, "neg_log_p": self.neg_log_p, "seconds": self.seconds}

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any], x_size: int, y_size: int) -> Flow:
        """From a run folder and what `save` returned, for coordinates of these sizes."""
        net = _network(x_size, y_size, 0)
        arrays = store.load_arrays(folder / FILE, about["sha256"])
        net.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return cls(net, about["neg_log_p"], about["seconds"])


def _network(x_size: int, y_size: int, seed: int) -> Any:
    import zuko  # and with it torch.distributions, half a second that other commands need not wait

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return zuko.flows.NSF(x_size, y_size, transforms=TRANSFORMS, hidden_features=HIDDEN, bins=BINS)


def fit(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    seed: int = 0,
    epochs: int = MOST_EPOCHS,
) -> Flow:
    """The flow with the lowest -log p(x | y) on validation, of pairs x (n, D) and y (n, C) in coordinates.

    Adam with a cosine schedule over 5,400 steps, in at most `epochs` epochs; a running average of the weights is what
    is judged and kept.
    If the loss becomes NaN, training ends with the best weights before, of an infinite value if there are none.
    """
    (x, y), (held_x, held_y) = ([part.float() for part in pair] for pair in (train, validation))
    batch = min(len(x), max(LEAST_BATCH if len(x) > 2 * LEAST_BATCH else 16, min(MOST_BATCH, len(x) // 180)))
    per_epoch = len(x) // batch
    epochs = max(1, min(epochs, MOST_EPOCHS, round(STEPS / per_epoch)))
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(derive_seed(seed, 6))
    net = _network(x.shape[1], y.shape[1], derive_seed(seed, 7))
    average = copy.deepcopy(net)
    weights, means = list(net.parameters()), list(average.parameters())
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
    return Flow(average, best, time.perf_counter() - began)
