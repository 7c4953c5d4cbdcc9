"""Regressor training for the common loop."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaelab.engine.training import Validated
from vaelab.regressor import scores
from vaelab.regressor.density import Fit, fit_loss
from vaelab.regressor.feed import NumericFeed
from vaelab.regressor.spec import RegressorSpec
from vaelab.regressor.yardsticks import YARDSTICKS
from vaelab.settings.yardsticks import VALIDATION_ROWS
from vaelab.supervised.epoch import SupervisedStack
from vaelab.supervised.learning import Supervised
from vaelab.supervised.model import SupervisedModel


class Regression(Supervised):
    """Maximises the log-density of the targets, and keeps the best epoch by the yardstick."""

    kernels = "vaelab.regressor.fused.steps"

    def __init__(self, yardstick: str = "log_density"):
        self.yardstick = YARDSTICKS[yardstick]

    def initial(  # type: ignore[override]
        self, model: SupervisedModel, spec: RegressorSpec, feed: NumericFeed, generator: torch.Generator
    ) -> Tensor:
        """The log-scale starts as a constant; with constant noise its weights stay 0, since they get no gradient."""
        row = super().initial(model, spec, feed, generator)
        views = model.views(row[None])
        views[model.last_bias.replace("bias", "weight")][..., 1] = 0
        return row

    def constants(self, stack: SupervisedStack) -> tuple[Tensor, ...]:
        """Whether the noise of a member is constant (K, 1)."""
        return (torch.tensor([[s.noise == "constant"] for s in stack.specs], device=stack.feed.device),)

    def loss(self, stack: SupervisedStack, outputs: Tensor, target: Tensor, *constants: Tensor) -> Fit:
        mean, log_scale = outputs.unbind(-1)
        of_all = stack.in_training[stack.model.last_bias][..., 1]  # (K, 1)
        log_scale = torch.where(constants[0], of_all.to(outputs.dtype), log_scale)
        return fit_loss(torch.stack([mean, log_scale], -1), target)

    def validate(self, stack: SupervisedStack, train: list[dict[str, float]]) -> list[Validated]:
        """The target is the yardstick's cost."""
        feed = stack.feed
        y, unit = feed.targets("validation")[:VALIDATION_ROWS], feed.target_scale
        validated = []
        for own, outputs in zip(train, self.validation_outputs(stack), strict=True):
            found = scores.metrics(y, *scores.in_own_units(outputs, unit))
            kept = {name: math.nan if found[name] is None else found[name] for name in ("log_density", "r2", "rmse")}
            seen = {
                "log_density": -own["neg_log_density"] - math.log(unit.scale),
                "r2": 1 - own["squared_error"] / feed.variance,
                "rmse": unit.scale * math.sqrt(own["squared_error"]),
            }
            validated.append(Validated(seen, kept, self.yardstick.cost(kept[self.yardstick.name])))
        return validated
