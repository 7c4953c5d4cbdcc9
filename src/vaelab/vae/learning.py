"""VAE training for the common loop, with the mixture fit between phases."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from vaelab.engine.fused import prepare
from vaelab.engine.networks import Block, bucket, padded_latent
from vaelab.engine.training import Batch, Fused, Validated, run_epoch
from vaelab.settings.yardsticks import VALIDATION_ROWS
from vaelab.vae import evaluate, pretraining
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.epoch import VAEStack, beta_at, is_autoencoder, joint_noise, noise_blocks, noise_of, weights_of
from vaelab.vae.evaluate import Evaluator
from vaelab.vae.feed import INITIAL_ROWS, Feed
from vaelab.vae.model import Model
from vaelab.vae.objectives import CostOf, Objective, Terms, Weights, elbo, objective_for, reconstruction
from vaelab.vae.priors.prior import prior_type
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks.neg_elbo import NEG_ELBO
from vaelab.vae.yardsticks.yardstick import VAEYardstick, with_terms

if TYPE_CHECKING:
    from vaelab.vae.fused.stack import FusedVAE

PACE_STEPS, PACE_RUNS, PACE_ROWS = 4, 5, 200  # for measuring the speed


def stack_key(spec: Spec, features: int) -> tuple[object, ...]:
    """What members of one stack must share. Depends only on the spec, so stacking never changes a result."""
    return (
        features,
        tuple(bucket(width) for width in spec.hidden_sizes),
        padded_latent(spec.latent_dim),
        spec.latent_dim if prior_type(spec.prior).shares_latent_dim else None,
        (spec.dropout > 0, spec.free_bits > 0, spec.wy > 0),
        spec.shared,
    )


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


class Variational:
    """VAE training: the evidence lower bound, with any `cost` of the outputs, or the importance-weighted bound.

    `custom` are custom networks for encoder or decoder, for one member. The metrics of every epoch include those of
    the `yardsticks` that follow from its terms.
    """

    kernels = "vaelab.vae.fused.steps"

    def __init__(
        self,
        custom: CustomNetworks | None = None,
        cost: CostOf = reconstruction,
        yardsticks: Sequence[VAEYardstick] = (NEG_ELBO,),
    ):
        self.custom, self.cost, self.yardsticks = custom, cost, yardsticks

    @property
    def is_capturable(self) -> bool:
        return self.custom is None and self.cost is reconstruction

    def key(self, spec: Spec, features: int) -> tuple[object, ...]:
        return stack_key(spec, features)

    def model(self, spec: Spec, feed: Feed) -> Model:
        typed = feed.units.scaling.typed
        return Model.for_spec(spec, feed.features, feed.likelihood, feed.condition, feed.grid, self.custom, typed)

    def initial(self, model: Model, spec: Spec, feed: Feed, generator: torch.Generator) -> Tensor:
        return model.initial(spec, feed.sample_rows(INITIAL_ROWS).cpu(), generator)

    def objective(self, spec: Spec) -> Objective:
        """What a batch costs."""
        return functools.partial(elbo, cost=self.cost) if self.cost is not reconstruction else objective_for(spec)

    def phases(self, spec: Spec) -> Sequence[int]:
        """With a mixture prior, its phase follows the autoencoder phase."""
        return [spec.pretrain_epochs] if prior_type(spec.prior).is_pretrained else []

    def enter_phase(self, stack: VAEStack) -> None:
        """Fit every member's mixture to its own latents. Depends only on the parameters."""
        for k, spec in enumerate(stack.specs):
            try:
                fitted = pretraining.with_mixture(stack.model, stack.judged[k].detach(), spec, stack.feed)
            except FloatingPointError as error:
                stack.failures[k] = stack.failures[k] or f"{error} in epoch {stack.epoch}"
            else:
                with torch.no_grad():
                    stack.parameters[k] = fitted[: stack.model.layout.size]

    def batches(self, stack: VAEStack, order: Tensor) -> Iterator[Batch]:
        """Examples, normals, dropout mask, and the weights of the loss."""
        weights = weights_of(stack)
        for block in noise_blocks(stack, order.shape[1]):
            noise = joint_noise(stack, block.stop - block.start)
            for offset in range(0, noise.rows, stack.batch_size):
                rows = order[:, block][:, offset : offset + stack.batch_size]
                K, size = rows.shape
                x = stack.feed.gather(rows.reshape(-1), noise.uniform(offset, size)).view(K, size, -1)
                yield x, *noise.batch(offset, size), *weights.columns

    def losses(self, stack: VAEStack, batch: Batch) -> Terms:
        x, normal, dropout_mask, *columns = batch
        spec = stack.specs[0]
        weights = Weights.of_columns(columns, spec)
        objective, noise = self.objective(spec), noise_of(stack, normal, dropout_mask)
        return objective(stack.model, stack.in_training, x, noise, weights)

    def fused(self, stack: VAEStack) -> Fused | None:
        if not stack.specs[0].fuses or self.custom is not None:
            return None
        prepare(self.kernels)
        from vaelab.vae.fused.stack import FusedVAE  # imports numba

        return FusedVAE(stack, self.cost)

    @staticmethod
    def terms(stack: VAEStack, rows: Tensor) -> Evaluator | None:
        """What evaluates the members (K, P) by fused kernels, if these train them."""
        fused = cast("FusedVAE | None", stack.fused)
        return None if fused is None or fused.constants is None else functools.partial(fused.terms, rows)

    def frozen(self, stack: VAEStack) -> Sequence[Block]:
        """An autoencoder could fit features exactly, and a density with a learned scale would grow without bound."""
        return [b for b in stack.model.layout if b.name.startswith("likelihood")] if is_autoencoder(stack) else []

    def validate(self, stack: VAEStack, train: list[dict[str, float]]) -> list[Validated]:
        """The target is the member's own loss at full beta."""
        feed = stack.feed
        if stack.fused is not None:
            validation = [(d + feed.log_jacobian, r) for d, r in stack.fused.validation().tolist()]
        else:
            rows = min(len(feed.data.splits["validation"]), VALIDATION_ROWS)
            batches = feed.batches("validation", evaluate.epoch_draws(rows), VALIDATION_ROWS)
            views = stack.views(stack.judged)
            validation = evaluate.mean_terms(stack.model, views, stack.specs, batches, feed.log_jacobian)
        found = []
        for spec, own, (distortion, rate) in zip(stack.specs, train, validation, strict=True):
            judged = with_terms(
                self.yardsticks, spec, {"neg_elbo": distortion + rate, "distortion": distortion, "rate": rate}
            )
            own["distortion"] += feed.log_jacobian
            of_train = {"neg_elbo": own["distortion"] + own["rate"], **own}
            target, beta = distortion + spec.beta * rate, beta_at(spec, stack.epoch - 1)
            found.append(Validated(of_train, judged, target, beta))
        return found
