"""Yardsticks that are measured on latents: where trials are judged, not in every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import threadpoolctl
import torch

from vaelab.engine.networks import Parameters, fast_products
from vaelab.engine.rows import as_tensor
from vaelab.vae import evaluate
from vaelab.vae.feed import Feed
from vaelab.vae.model import Model
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks.yardstick import Latents, LatentYardstick, VAEYardstick

ROWS = 4_000  # most rows, evenly spaced, to which a measurement is fitted, and most on which it is made


def measured(
    yardsticks: Sequence[VAEYardstick],
    model: Model,
    parameters: Parameters,
    specs: Sequence[Spec],
    feed: Feed,
    split: str,
) -> list[dict[str, float]]:
    """The values on a split, by name, of every member; those of yardsticks that are not measured are left out."""
    asked = [yardstick for yardstick in yardsticks if isinstance(yardstick, LatentYardstick)]
    if not asked:
        return [{} for _ in specs]
    every = list(_latents(model, parameters, specs, feed, split))
    with threadpoolctl.threadpool_limits(1):  # sums over several threads would depend on their number
        return [{yardstick.name: _value(yardstick, latents) for yardstick in asked} for latents in every]


def _value(yardstick: LatentYardstick, latents: Latents) -> float:
    """The value; NaN, with which a trial fails, if the latents are not finite."""
    if not (np.isfinite(latents.train).all() and np.isfinite(latents.judged).all()):
        return math.nan
    return yardstick.measure(latents)


@torch.no_grad()
def _latents(model: Model, parameters: Parameters, specs: Sequence[Spec], feed: Feed, split: str) -> Iterator[Latents]:
    data = feed.data
    rows = {name: data.splits[name][:: -(-len(data.splits[name]) // ROWS)] for name in ("train", split)}
    dtype = next(iter(parameters.values())).dtype
    means = {name: torch.empty(len(specs), len(own), model.latent, dtype=dtype) for name, own in rows.items()}
    with fast_products(model.largest_layer):
        for name, own in rows.items():
            for place, x, _ in feed.units.batches(as_tensor(data.flat[own]).to(feed.device), 1):
                means[name][:, place] = evaluate.encode(model, parameters, x.to(dtype)).mean.cpu()
    codes = {name: None if data.labels is None else data.labels[own] for name, own in rows.items()}
    for k, spec in enumerate(specs):
        train, judged = (means[name][k, :, : spec.latent_dim].numpy() for name in ("train", split))
        yield Latents(train, judged, codes["train"], codes[split])
