"""What an epoch of VAE training takes besides parameters and rows: the weights of the loss, and random numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from vaelab.engine.draws import multipliers, uniforms, words
from vaelab.engine.training import NOISE_FLOATS, Stack
from vaelab.vae.feed import Feed
from vaelab.vae.model import Model
from vaelab.vae.objectives import Noise, Weights
from vaelab.vae.spec import Spec

VAEStack = Stack[Spec, Feed, Model]


def is_autoencoder(stack: VAEStack) -> bool:
    """Whether the next epoch trains without noise and rate, before the mixture prior."""
    return stack.epoch < stack.specs[0].pretrain_epochs


def weights_of(stack: VAEStack) -> Weights:
    """Loss weights of this epoch: with warm-up, beta rises linearly from 0 at the first epoch."""
    column = lambda values: torch.tensor(values, dtype=torch.float32, device=stack.feed.device)[:, None]  # noqa: E731
    free = column([s.free_bits for s in stack.specs]) if stack.specs[0].free_bits > 0 else None
    beta, wx, wy = (
        column(values) for values in zip(*((beta_at(s, stack.epoch), s.wx, s.wy) for s in stack.specs), strict=True)
    )
    return Weights(beta, free, stack.specs[0].samples, wx, wy if stack.specs[0].wy > 0 else None)


def beta_at(spec: Spec, epoch: int) -> float:
    """The weight of the rate in epoch 0, 1, ...: rises linearly over `warmup` epochs, then is `beta`.

    Epochs as an autoencoder come first, with weight 0.
    """
    epoch -= spec.pretrain_epochs
    if epoch < 0:
        return 0.0
    return spec.beta * min(1.0, epoch / spec.warmup) if spec.warmup else spec.beta


@dataclasses.dataclass
class JointNoise:
    """Noise for consecutive rows of every member's order."""

    rows: int
    samples: int
    normal: Tensor  # (K, rows, S, L)
    pixel: Tensor | None  # (K, rows, D)
    dropout_mask: Tensor  # (K, rows, units), already scaled by 1 / (1 - p); without dropout (K, rows, 0)

    def uniform(self, offset: int, size: int) -> Tensor | None:
        return None if self.pixel is None else self.pixel[:, offset : offset + size].flatten(0, 1)

    def batch(self, offset: int, size: int) -> tuple[Tensor, Tensor]:
        """Normals (K, S B, L), the draws of one example B rows apart, and the mask (K, B, units) of some rows."""
        normal = self.normal[:, offset : offset + size]  # (K, B, S, L)
        normal = normal.transpose(1, 2).flatten(1, 2) if self.samples > 1 else normal[:, :, 0]
        return normal, self.dropout_mask[:, offset : offset + size]


def noise_of(stack: VAEStack, normal: Tensor, dropout_mask: Tensor) -> Noise:
    """The noise of one batch, as `JointNoise.batch` gives it."""
    if not dropout_mask.shape[2]:
        return Noise(normal)
    hidden = stack.model.hidden
    parts = dropout_mask.split([*hidden, *reversed(hidden)], -1)
    encoder, decoder = parts[: len(hidden)], parts[len(hidden) :]
    return Noise(normal, encoder, [part.repeat(1, stack.specs[0].samples, 1) for part in decoder])


@dataclasses.dataclass(frozen=True)
class Draws:
    """One member's random numbers for consecutive rows of its order."""

    normal: Tensor | None  # (rows, S, latent_dim), None as an autoencoder, whose z is the mean
    dropout: Tensor  # words (rows, units) for its hidden layers, those of the decoder last; without dropout (rows, 0)
    pixel: Tensor | None  # uniforms (rows, D)


def noise_blocks(stack: VAEStack, n: int) -> Iterator[slice]:
    """An epoch's rows, in blocks for which noise is drawn at once; their size depends only on the spec."""
    spec, feed, B = stack.specs[0], stack.feed, stack.batch_size
    units = stack.model.dropout_units if spec.dropout > 0 else 0
    per_row = stack.model.latent * spec.samples + units + (feed.features if feed.units.needs_uniform else 0)
    block = max(B, NOISE_FLOATS // per_row // B * B)
    for start in range(0, n, block):
        yield slice(start, min(start + block, n))


def draw(stack: VAEStack, k: int, rows: int) -> Draws:
    """The next random numbers of a member, by its own generator."""
    spec, generator, feed = stack.specs[k], stack.generators[k], stack.feed
    normal = None
    if not is_autoencoder(stack):
        normal = torch.randn(rows, spec.samples, spec.latent_dim, generator=generator, device=feed.device)
    dropped = words(rows, 2 * sum(spec.hidden_sizes) if spec.dropout > 0 else 0, generator)
    pixel = None
    if feed.units.needs_uniform:
        pixel = uniforms(rows, feed.features, generator)
    return Draws(normal, dropped, pixel)


def joint_noise(stack: VAEStack, rows: int) -> JointNoise:
    """Noise for consecutive rows of every member's order."""
    model, S = stack.model, stack.specs[0].samples
    draws = [draw(stack, k, rows) for k in range(len(stack))]
    normal = torch.zeros(len(stack), rows, S, model.latent, device=stack.feed.device)
    masks, pixels = [], []
    for k, (spec, own) in enumerate(zip(stack.specs, draws, strict=True)):
        if own.normal is not None:
            normal[k, :, :, : spec.latent_dim] = own.normal
        if spec.dropout > 0:
            widths, padded = (list(sizes) + list(reversed(sizes)) for sizes in (spec.hidden_sizes, model.hidden))
            masks.append(multipliers(own.dropout, widths, padded, [spec.dropout] * len(widths)))
        if own.pixel is not None:
            pixels.append(own.pixel)
    mask = torch.stack(masks) if masks else normal.new_empty(len(stack), rows, 0)
    return JointNoise(rows, S, normal, torch.stack(pixels) if pixels else None, mask)
