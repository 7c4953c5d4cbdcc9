"""What the training of classifiers and regressors shares, for the common loop."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.engine import draws
from vaelab.engine.fused import prepare
from vaelab.engine.networks import Block
from vaelab.engine.training import Batch, Fused, Losses, Validated
from vaelab.settings.yardsticks import VALIDATION_ROWS
from vaelab.supervised.epoch import SupervisedStack, draw, noise_blocks
from vaelab.supervised.feed import SupervisedFeed
from vaelab.supervised.model import SupervisedModel, outputs_of, padded_sizes
from vaelab.supervised.spec import SupervisedSpec


class Supervised(abc.ABC):
    """Trains a network on rows and their targets; a subclass has the loss and what an epoch is judged by."""

    kernels: str
    is_capturable = True

    def key(self, spec: SupervisedSpec, features: int) -> tuple[object, ...]:
        return (
            features,
            padded_sizes(spec.hidden_sizes),
            any(spec.dropouts),
            spec.shared,
        )

    def model(self, spec: SupervisedSpec, feed: SupervisedFeed) -> SupervisedModel:
        return SupervisedModel.for_spec(spec, feed.features, feed.outputs, feed.grid)

    def initial(
        self, model: SupervisedModel, spec: SupervisedSpec, feed: SupervisedFeed, generator: torch.Generator
    ) -> Tensor:
        return model.initial(spec, feed.bias, generator)

    def phases(self, spec: SupervisedSpec) -> Sequence[int]:
        return ()

    def enter_phase(self, stack: SupervisedStack) -> None:  # noqa: B027 - there is nothing to do
        """No further phases."""

    def frozen(self, stack: SupervisedStack) -> Sequence[Block]:
        return ()

    def fused(self, stack: SupervisedStack) -> Fused | None:
        if not stack.specs[0].fuses:
            return None
        prepare(self.kernels)
        stepper: Fused = importlib.import_module(self.kernels.replace(".steps", ".stack")).FUSED(stack)  # imports numba
        return stepper

    @abc.abstractmethod
    def constants(self, stack: SupervisedStack) -> tuple[Tensor, ...]:
        """What the loss of every batch takes besides outputs and targets: a row (K, ...) for each member."""

    @abc.abstractmethod
    def loss(self, stack: SupervisedStack, outputs: Tensor, target: Tensor, *constants: Tensor) -> Losses:
        """The loss of outputs (K, B, C) for targets (K, B)."""

    @abc.abstractmethod
    def validate(self, stack: SupervisedStack, train: list[dict[str, float]]) -> list[Validated]:
        """Every member after an epoch."""

    def validation_outputs(self, stack: SupervisedStack) -> npt.NDArray[np.float64]:
        """Outputs (K, n, C) of the members as they are judged, for at most VALIDATION_ROWS validation rows."""
        if stack.fused is not None:
            return np.asarray(stack.fused.validation().double().numpy())
        return outputs_of(stack.model, stack.views(stack.judged), stack.feed.batches("validation", 1, VALIDATION_ROWS))

    def batches(self, stack: SupervisedStack, order: Tensor) -> Iterator[Batch]:
        """Examples, their targets, dropout mask, and the constants of the loss."""
        feed, B, spec = stack.feed, stack.batch_size, stack.specs[0]
        constants = self.constants(stack)
        padded = stack.model.hidden
        for block in noise_blocks(stack, order.shape[1]):
            masks, moves = [], []
            for k, own in enumerate(stack.specs):
                dropped, moved = draw(stack, k, block.stop - block.start)
                moves.append(moved)
                if any(own.dropouts):
                    masks.append(draws.multipliers(dropped, own.hidden_sizes, padded, own.dropouts))
            shifts = torch.stack(moves)
            mask = torch.stack(masks) if masks else shifts.new_empty(*shifts.shape[:2], 0)
            for offset in range(0, block.stop - block.start, B):
                part = slice(offset, offset + B)
                rows = order[:, block][:, part]
                uniform = shifts[:, part].flatten(0, 1) if spec.is_augmented else None
                x = feed.gather(rows.reshape(-1), spec, uniform).view(*rows.shape, -1)
                yield x, feed.target[rows], mask[:, part], *constants

    def losses(self, stack: SupervisedStack, batch: Batch) -> Losses:
        x, target, dropout_mask, *constants = batch
        masks = dropout_mask.split(stack.model.hidden, -1) if dropout_mask.shape[2] else ()
        return self.loss(stack, stack.model.predict(stack.in_training, x, masks), target, *constants)
