"""VAE training for the common loop: noise, loss weights, and the mixture fit between phases."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vaelab.engine.networks import Block, bucket, padded_latent
from vaelab.engine.training import NOISE_FLOATS, LazyBatches, Stack, Validated, run_epoch
from vaelab.settings.yardsticks import VALIDATION_ROWS
from vaelab.vae import evaluate, pretraining
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.feed import INITIAL_ROWS, Feed
from vaelab.vae.model import Model
from vaelab.vae.objectives import Noise, Objective, Weights, objective_for
from vaelab.vae.priors.prior import prior_type
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks.neg_elbo import NEG_ELBO
from vaelab.vae.yardsticks.yardstick import VAEYardstick

VAEStack = Stack[Spec, Feed, Model]
PACE_STEPS, PACE_RUNS, PACE_ROWS = 4, 5, 200  # for measuring the speed


def stack_key(spec: Spec, features: int) -> tuple[object, ...]:
    """What members of one stack must share. Depends only on the spec, so stacking never changes a result."""
    return (
        features,
        tuple(bucket(width) for width in spec.hidden_sizes),
        padded_latent(spec.latent_dim),
        spec.latent_dim if prior_type(spec.prior).shares_latent_dim else None,
        (spec.dropout > 0, spec.free_bits > 0),
        spec.shared,
    )


def is_autoencoder(stack: VAEStack) -> bool:
    """Whether the next epoch trains without noise and rate, before the mixture prior."""
    return stack.epoch < stack.specs[0].pretrain_epochs


def pace(stack: VAEStack) -> tuple[float, float]:
    """Seconds per training epoch, and to evaluate one validation row with one draw; the stack is consumed.

    Measured from a few steps: the median of several short runs, after a warm-up run.
    """
    feed, steps = stack.feed, min(PACE_STEPS, stack.steps_per_epoch)
    took = [_timed(lambda: run_epoch(stack, steps)) for _ in range(1 + PACE_RUNS)]
    views, judging = stack.views(stack.rows), list[float]()
    for _ in range(1 + PACE_RUNS):
        rows = feed.batches("validation", 1, PACE_ROWS)
        spent = _timed(lambda: evaluate.mean_terms(stack.model, views, stack.specs, rows, 0.0))  # noqa: B023
        judging.append(spent / rows.rows)
    row = statistics.median(judging[1:])
    validated = min(VALIDATION_ROWS, len(feed.data.splits["validation"]))
    return statistics.median(took[1:]) / steps * stack.steps_per_epoch + row * validated, row


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _weights(stack: VAEStack) -> Weights:
    """Loss weights of this epoch: with warm-up, beta rises linearly from 0 at the first epoch."""
    column = lambda values: torch.tensor(values, dtype=torch.float32, device=stack.feed.device)[:, None]  # noqa: E731
    free = column([s.free_bits for s in stack.specs]) if stack.specs[0].free_bits > 0 else None
    beta, wx, wy = (
        column(values) for values in zip(*((beta_at(s, stack.epoch), s.wx, s.wy) for s in stack.specs), strict=True)
    )
    return Weights(beta, free, stack.specs[0].samples, wx, wy)


def beta_at(spec: Spec, epoch: int) -> float:
    """The weight of the rate in epoch 0, 1, ...: rises linearly over `warmup` epochs, then is `beta`.

    Epochs as an autoencoder come first, with weight 0.
    """
    epoch -= spec.pretrain_epochs
    if epoch < 0:
        return 0.0
    return spec.beta * min(1.0, epoch / spec.warmup) if spec.warmup else spec.beta


@dataclasses.dataclass
class _Block:
    """Noise for consecutive rows of every member's order."""

    rows: int
    samples: int
    normal: Tensor  # (K, rows, S, L)
    pixel: Tensor | None  # (K, rows, D)
    dropout_mask: Tensor | None  # (K, rows, units), already scaled by 1 / (1 - p)
    hidden: tuple[int, ...]

    def uniform(self, offset: int, size: int) -> Tensor | None:
        return None if self.pixel is None else self.pixel[:, offset : offset + size].flatten(0, 1)

    def batch(self, offset: int, size: int) -> Noise:
        normal = self.normal[:, offset : offset + size]  # (K, B, S, L)
        normal = normal.transpose(1, 2).flatten(1, 2) if self.samples > 1 else normal[:, :, 0]
        if self.dropout_mask is None:
            return Noise(normal)
        parts = self.dropout_mask[:, offset : offset + size].split([*self.hidden, *reversed(self.hidden)], -1)
        encoder, decoder = parts[: len(self.hidden)], parts[len(self.hidden) :]
        return Noise(normal, encoder, [p.repeat(1, self.samples, 1) for p in decoder])


def _noise_blocks(stack: VAEStack, n: int) -> Iterator[tuple[int, _Block]]:
    """Noise for an epoch's rows, in blocks whose size depends only on the spec; each member uses its own generator."""
    spec, model, feed, K, B = stack.specs[0], stack.model, stack.feed, len(stack), stack.batch_size
    units = model.dropout_units if spec.dropout > 0 else 0
    per_row = model.latent * spec.samples + units + (feed.features if feed.units.needs_uniform else 0)
    block = max(B, NOISE_FLOATS // per_row // B * B)
    for start in range(0, n, block):
        rows = min(block, n - start)
        normal = torch.zeros(K, rows, spec.samples, model.latent, device=feed.device)
        dropout_mask = torch.empty(K, rows, units, device=feed.device) if units else None
        pixel = torch.empty(K, rows, feed.features, device=feed.device) if feed.units.needs_uniform else None
        for k, (s, g) in enumerate(zip(stack.specs, stack.generators, strict=True)):
            if not is_autoencoder(stack):  # else z is the mean
                own = torch.randn(rows, s.samples, s.latent_dim, generator=g, device=feed.device)
                normal[k, :, :, : s.latent_dim] = own
            if dropout_mask is not None:
                dropout_mask[k].uniform_(generator=g).ge_(s.dropout).div_(1 - s.dropout)
            if pixel is not None:
                pixel[k].uniform_(generator=g)
        yield start, _Block(rows, spec.samples, normal, pixel, dropout_mask, model.hidden)


class Variational:
    """VAE training: the evidence lower bound, the importance-weighted bound, or another objective.

    `custom` are custom networks for encoder or decoder, for one member. The `yardstick` is
    among the metrics of every epoch.
    """

    def __init__(
        self,
        custom: CustomNetworks | None = None,
        objective: Objective | None = None,
        yardstick: VAEYardstick = NEG_ELBO,
    ):
        self.custom, self._objective, self.yardstick = custom, objective, yardstick

    def key(self, spec: Spec, features: int) -> tuple[object, ...]:
        return stack_key(spec, features)

    def model(self, spec: Spec, feed: Feed) -> Model:
        return Model.for_spec(spec, feed.features, feed.likelihood, feed.condition, feed.grid, self.custom)

    def initial(self, model: Model, spec: Spec, feed: Feed, generator: torch.Generator) -> Tensor:
        return model.initial(spec, feed.sample_rows(INITIAL_ROWS).cpu(), generator)

    def objective(self, spec: Spec) -> Objective:
        """What a batch costs."""
        return self._objective or objective_for(spec)

    def phases(self, spec: Spec) -> Sequence[int]:
        """With a mixture prior, its phase follows the autoencoder phase."""
        return [spec.pretrain_epochs] if prior_type(spec.prior).is_pretrained else []

    def enter_phase(self, stack: VAEStack) -> None:
        """Fit every member's mixture to its own latents. Depends only on the parameters."""
        for k, spec in enumerate(stack.specs):
            try:
                fitted = pretraining.with_mixture(stack.model, stack.rows[k].detach(), spec, stack.feed)
            except FloatingPointError as error:
                stack.failures[k] = stack.failures[k] or f"{error} in epoch {stack.epoch}"
            else:
                with torch.no_grad():
                    stack.parameters[k] = fitted[: stack.model.layout.size]

    def blocks(self, stack: VAEStack, order: Tensor) -> Iterator[LazyBatches]:
        weights = _weights(stack)
        for start, noise in _noise_blocks(stack, order.shape[1]):
            yield self._batches(stack, order[:, start : start + noise.rows], noise, weights)

    def _batches(self, stack: VAEStack, order: Tensor, noise: _Block, weights: Weights) -> LazyBatches:
        objective = self.objective(stack.specs[0])
        for offset in range(0, noise.rows, stack.batch_size):
            rows = order[:, offset : offset + stack.batch_size]
            K, size = rows.shape
            x = stack.feed.gather(rows.reshape(-1), noise.uniform(offset, size))
            yield objective(stack.model, stack.in_training, x.view(K, size, -1), noise.batch(offset, size), weights)

    def frozen(self, stack: VAEStack) -> Sequence[Block]:
        """An autoencoder could fit features exactly, and a density with a learned scale would grow without bound."""
        return [b for b in stack.model.layout if b.name.startswith("likelihood")] if is_autoencoder(stack) else []

    def validate(self, stack: VAEStack, train: list[dict[str, float]]) -> list[Validated]:
        """The target is the member's own loss at full beta."""
        feed = stack.feed
        batches = feed.batches("validation", 1, VALIDATION_ROWS)
        validation = evaluate.mean_terms(stack.model, stack.views(stack.rows), stack.specs, batches, feed.log_jacobian)
        views = stack.views(stack.rows)
        measured = self.yardstick.measure(stack.model, views, stack.specs, feed, "validation", VALIDATION_ROWS)
        metrics = self.yardstick.added(
            stack.specs, [{"neg_elbo": d + r, "distortion": d, "rate": r} for d, r in validation], measured
        )
        found = []
        for spec, own, judged, (distortion, rate) in zip(stack.specs, train, metrics, validation, strict=True):
            own["distortion"] += feed.log_jacobian
            of_train = {"neg_elbo": own["distortion"] + own["rate"], **own}
            target, beta = distortion + spec.beta * rate, beta_at(spec, stack.epoch - 1)
            found.append(Validated(of_train, judged, target, beta))
        return found
