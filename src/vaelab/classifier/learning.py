"""Classifier training for the common loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab.classifier import scores
from vaelab.classifier.epoch import ClassifierStack, draw, noise_blocks
from vaelab.classifier.feed import LabelledFeed
from vaelab.classifier.model import Answers, ClassifierModel, cross_entropy, padded_sizes
from vaelab.classifier.spec import ClassifierSpec
from vaelab.classifier.yardsticks import YARDSTICKS
from vaelab.engine import draws
from vaelab.engine.fused import prepare
from vaelab.engine.networks import Block, Parameters, fast_products
from vaelab.engine.rows import Batches
from vaelab.engine.training import Batch, Fused, Validated
from vaelab.metrics import contingency, log_loss
from vaelab.settings.yardsticks import VALIDATION_ROWS


class Discriminative:
    """Trains with cross-entropy, and keeps the best epoch by the yardstick."""

    kernels = "vaelab.classifier.fused.steps"
    is_capturable = True

    def __init__(self, yardstick: str = "accuracy"):
        self.yardstick = YARDSTICKS[yardstick]

    def key(self, spec: ClassifierSpec, features: int) -> tuple[object, ...]:
        return (
            features,
            padded_sizes(spec.hidden_sizes),
            any(spec.dropouts),
            spec.shared,
        )

    def model(self, spec: ClassifierSpec, feed: LabelledFeed) -> ClassifierModel:
        return ClassifierModel.for_spec(spec, feed.features, feed.classes, feed.grid)

    def initial(
        self, model: ClassifierModel, spec: ClassifierSpec, feed: LabelledFeed, generator: torch.Generator
    ) -> Tensor:
        return model.initial(spec, feed.shares.cpu(), generator)

    def phases(self, spec: ClassifierSpec) -> Sequence[int]:
        return ()

    def enter_phase(self, stack: ClassifierStack) -> None:
        """No further phases."""

    def frozen(self, stack: ClassifierStack) -> Sequence[Block]:
        return ()

    def fused(self, stack: ClassifierStack) -> Fused | None:
        if not stack.specs[0].fuses:
            return None
        prepare(self.kernels)
        from vaelab.classifier.fused.stack import FusedClassifier  # imports numba

        return FusedClassifier(stack)

    def batches(self, stack: ClassifierStack, order: Tensor) -> Iterator[Batch]:
        """Examples, their classes, dropout mask, and label smoothing."""
        feed, B, spec = stack.feed, stack.batch_size, stack.specs[0]
        smoothing = torch.tensor([[s.label_smoothing] for s in stack.specs], dtype=torch.float32, device=feed.device)
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
                yield x, feed.labels[rows], mask[:, part], smoothing

    def losses(self, stack: ClassifierStack, batch: Batch) -> Answers:
        x, labels, dropout_mask, smoothing = batch
        masks = dropout_mask.split(stack.model.hidden, -1) if dropout_mask.shape[2] else ()
        return cross_entropy(stack.model.logits(stack.in_training, x, masks), labels, smoothing)

    def validate(self, stack: ClassifierStack, train: list[dict[str, float]]) -> list[Validated]:
        """The target is the yardstick's cost; log-loss breaks ties."""
        feed = stack.feed
        codes = feed.codes("validation")[:VALIDATION_ROWS]
        if stack.fused is not None:
            every = stack.fused.validation().double().numpy()
        else:
            batches = feed.batches("validation", 1, VALIDATION_ROWS)
            every = logits_of(stack.model, stack.views(stack.judged), batches)
        validated = []
        for own, logits in zip(train, every, strict=True):
            table = contingency(codes, logits.argmax(1), feed.classes, feed.classes)
            found = scores.answer_metrics(table) | {"log_loss": log_loss(scores.probabilities(logits), codes)}
            target = self.yardstick.cost(found[self.yardstick.name])
            seen = {"accuracy": 1 - own["error"], "log_loss": own["log_loss"]}
            validated.append(
                Validated(seen, found, target + (1e-6 * found["log_loss"] if self.yardstick.rises else 0.0))
            )
        return validated


@torch.no_grad()
def logits_of(model: ClassifierModel, parameters: Parameters, batches: Batches) -> np.ndarray[Any, Any]:
    """Logits (K, n, C) in float64 of all members for the same rows."""
    buffer = next(iter(parameters.values()))
    K = len(buffer)
    every = torch.empty(K, batches.rows, model.classes, dtype=torch.float64)
    with fast_products(model.largest_layer):
        for place, x, _ in batches:
            every[:, place] = model.answers(parameters, x.to(buffer.dtype).expand(K, *x.shape)).cpu().double()
    return every.numpy()
