"""The System of regressors: how a study trains, evaluates, saves and draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vaelab.data import Dataset
from vaelab.regressor import scores
from vaelab.regressor.baselines import baselines, constant, on_test
from vaelab.regressor.feed import NumericFeed, resolve
from vaelab.regressor.fitted import FittedRegressor
from vaelab.regressor.learning import Regression
from vaelab.regressor.spec import RegressorSpec
from vaelab.regressor.yardsticks import YARDSTICKS
from vaelab.study.task import Nothing
from vaelab.supervised.baselines import Baseline, OnTest
from vaelab.supervised.epoch import SupervisedStack
from vaelab.supervised.model import outputs_of
from vaelab.supervised.system import SupervisedSystem


class RegressorSystem(SupervisedSystem[RegressorSpec, NumericFeed, FittedRegressor]):
    """Regressors judged by their log-density or R²."""

    always = ("log_density", "r2", "rmse", "mae", "verdict", "reason")
    familiar = "r2"
    fitted = FittedRegressor

    def __init__(self, yardstick: str = "log_density"):
        super().__init__(yardstick, YARDSTICKS, Regression)

    def resolved(self, spec: RegressorSpec, data: Dataset) -> RegressorSpec:
        return resolve(spec, data)

    def feed(self, data: Dataset, spec: RegressorSpec) -> NumericFeed:
        return NumericFeed(data, spec)

    def costs(self, spec: RegressorSpec, metrics: Mapping[str, Any]) -> tuple[float, ...]:
        """Of equal targets there is no R², which costs infinitely much."""
        return tuple(
            float("inf") if metrics[each.name] is None else each.cost(float(metrics[each.name]))
            for each in self.yardsticks
        )

    def judge(self, stack: SupervisedStack, is_final: bool) -> list[dict[str, Any]]:
        feed: NumericFeed = stack.feed
        y, always = feed.targets("validation"), self.reference(feed)
        every = outputs_of(stack.model, stack.views(stack.best), feed.batches("validation", 1))
        judged = []
        for outputs in every:
            mean, scale = scores.in_own_units(outputs, feed.target_scale)
            found = scores.metrics(y, mean, scale)
            nearer = (y - always["answer"]) ** 2 - (y - mean) ** 2
            reason = scores.why_collapsed(found["log_density"] - always["log_density"], nearer)
            judged.append(found | {"verdict": "ok" if reason is None else "collapsed", "reason": reason})
        return judged

    def model(self, feed: NumericFeed, spec: RegressorSpec, row: Tensor, metrics: Mapping[str, Any]) -> FittedRegressor:
        return FittedRegressor.of(feed, spec, row)

    def test(self, model: FittedRegressor, data: Dataset) -> dict[str, Any]:
        return model.evaluate(data, "test")

    def reference(self, feed: NumericFeed) -> dict[str, Any]:
        """Always the mean of the training rows, with one scale for the noise."""
        mean, scale = constant(feed)
        y = feed.targets("validation")
        return {"answer": mean, **scores.metrics(y, np.full(len(y), mean), np.full(len(y), scale))}

    def baselines(self, feed: NumericFeed) -> list[Baseline]:
        return baselines(feed)

    def on_test(self, feed: NumericFeed, model: FittedRegressor) -> OnTest:
        outputs = outputs_of(model.model, model.parameters, feed.batches("test", 1))[0]
        return on_test(*scores.in_own_units(outputs, feed.target_scale), feed)

    def nothing(self, feed: NumericFeed, metrics: Mapping[str, Any]) -> Nothing:
        return Nothing("nothing was learned about the target")

    def draw(self, model: FittedRegressor, data: Dataset, name: str) -> Sequence[Path]:
        from vaelab.regressor.pictures import draw_run  # imports matplotlib

        return draw_run(model, data, name)

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        from vaelab.plots.dataset import draw_data
        from vaelab.report import build_regressor_report
        from vaelab.study.pictures import draw_study

        draw_study(folder, results)
        if not data.is_image:
            draw_data(data, folder / "figures")
        build_regressor_report(folder, RegressorSpec)
