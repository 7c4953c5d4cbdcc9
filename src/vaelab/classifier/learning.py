"""Classifier training for the common loop."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelab.classifier import scores
from vaelab.classifier.loss import Answers, cross_entropy
from vaelab.classifier.yardsticks import YARDSTICKS
from vaelab.engine.training import Validated
from vaelab.metrics import contingency, log_loss
from vaelab.settings.yardsticks import VALIDATION_ROWS
from vaelab.supervised.epoch import SupervisedStack
from vaelab.supervised.learning import Supervised


class Discriminative(Supervised):
    """Trains with cross-entropy, and keeps the best epoch by the yardstick."""

    kernels = "vaelab.classifier.fused.steps"

    def __init__(self, yardstick: str = "accuracy"):
        self.yardstick = YARDSTICKS[yardstick]

    def constants(self, stack: SupervisedStack) -> tuple[Tensor, ...]:
        """Label smoothing (K, 1) and the weights of the classes (K, C)."""
        feed = stack.feed
        smoothing = torch.tensor([[s.label_smoothing] for s in stack.specs], dtype=torch.float32, device=feed.device)
        return smoothing, torch.stack([feed.weights(spec) for spec in stack.specs])

    def loss(self, stack: SupervisedStack, outputs: Tensor, target: Tensor, *constants: Tensor) -> Answers:
        return cross_entropy(outputs, target, *constants)

    def validate(self, stack: SupervisedStack, train: list[dict[str, float]]) -> list[Validated]:
        """The target is the yardstick's cost; log-loss breaks ties."""
        feed = stack.feed
        codes = feed.codes("validation")[:VALIDATION_ROWS]
        validated = []
        for own, logits in zip(train, self.validation_outputs(stack), strict=True):
            table = contingency(codes, logits.argmax(1), feed.outputs, feed.outputs)
            found = scores.answer_metrics(table) | {"log_loss": log_loss(scores.probabilities(logits), codes)}
            target = self.yardstick.cost(found[self.yardstick.name])
            seen = {"accuracy": 1 - own["error"], "log_loss": own["log_loss"]}
            validated.append(
                Validated(seen, found, target + (1e-6 * found["log_loss"] if self.yardstick.rises else 0.0))
            )
        return validated
