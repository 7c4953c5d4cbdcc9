"""A trained regressor: means, scales of the noise, intervals, metrics; saved to and loaded from a run folder."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from vaelab.data import Dataset
from vaelab.engine.process import one_thread
from vaelab.regressor import scores
from vaelab.regressor.density import Floats
from vaelab.regressor.feed import NumericFeed, TargetScale
from vaelab.regressor.spec import RegressorSpec
from vaelab.supervised.fitted import FittedSupervised
from vaelab.supervised.model import outputs_of
from vaelab.vae.fitted import DataFacts


class FittedRegressor(FittedSupervised):
    """One trained regressor, ready to use. Examples and targets are in the data's own units.

    p(y|x) is Gaussian up to three scales from its mean, see `regressor.density`. Intervals are calibrated by the
    residuals of the validation rows.
    """

    kind: ClassVar = "regressor"
    command: ClassVar = "regress"
    spec_type: ClassVar = RegressorSpec
    extra_shapes: ClassVar = {"target.center": (1,), "target.scale": (1,), "residuals": None}
    outputs = 2

    @classmethod
    def of(cls, feed: NumericFeed, spec: RegressorSpec, row: Tensor) -> FittedRegressor:
        """The model whose parameters (P,) were trained on `feed`, calibrated on its validation rows."""
        unit = feed.target_scale
        extras = {"target.center": np.full(1, unit.center), "target.scale": np.full(1, unit.scale)}
        facts, scaling = DataFacts.of(feed.data), feed.units.scaling
        raw = cls(spec, facts, scaling, row[None].clone(), extras)
        found = scores.residuals(feed.targets("validation"), *raw._predicted(feed, "validation"))
        return cls(spec, facts, scaling, raw.row, {**extras, "residuals": found})

    @property
    def target_scale(self) -> TargetScale:
        return TargetScale(*(float(self.extras[f"target.{name}"][0]) for name in ("center", "scale")))

    @property
    def predicts(self) -> str:
        return str(self.facts.source.get("target", "y"))

    @functools.cached_property
    def highest_level(self) -> float:
        """The highest level of intervals for which there are validation rows enough."""
        n = len(self.extras["residuals"])
        return n / (n + 1)

    def predict(self, x: Any) -> Floats:
        """The mean (n,) of the target for examples x (n, *shape)."""
        return self.predict_noise(x)[0]

    def predict_noise(self, x: Any) -> tuple[Floats, Floats]:
        """The mean (n,) of the target, and the scale (n,) of the noise around it, for examples x (n, *shape)."""
        return scores.in_own_units(self.outputs_for(x), self.target_scale)

    def predict_interval(self, x: Any, level: float = scores.LEVEL) -> tuple[Floats, Floats, Floats]:
        """The mean (n,), and the ends (n,) of intervals that cover a new target with a probability of at least `level`.

        m(x) ± q s(x), with q by split-conformal calibration, see `scores.half_width`. The probability is over
        calibration rows and new rows that are exchangeable. The validation rows that calibrate also chose the model,
        so the share that is covered may be slightly lower; it is measured on test.
        """
        factor = scores.half_width(self.extras["residuals"], level)
        mean, scale = self.predict_noise(x)
        return mean, mean - factor * scale, mean + factor * scale

    def evaluate(self, data: Dataset, split: str) -> dict[str, Any]:
        """All metrics on one split of a data set with targets, and what intervals cover."""
        feed = NumericFeed(data, self.spec, self.scaling, self.target_scale)
        y = feed.targets(split)
        with one_thread():
            mean, scale = self._predicted(feed, split)
        level = min(scores.LEVEL, self.highest_level)
        factor = scores.half_width(self.extras["residuals"], level)
        return {
            **scores.metrics(y, mean, scale),
            "interval": {"level": level, **scores.coverage(y, mean, factor * scale)},
        }

    def _predicted(self, feed: NumericFeed, split: str) -> tuple[Floats, Floats]:
        outputs = outputs_of(self.model, self.parameters, feed.batches(split, 1))[0]
        return scores.in_own_units(outputs, self.target_scale)
