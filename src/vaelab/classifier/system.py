"""The System of classifiers: how a study trains, evaluates, saves and draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaelab.classifier import scores
from vaelab.classifier.baselines import baselines, on_test
from vaelab.classifier.feed import LabelledFeed, resolve
from vaelab.classifier.fitted import FittedClassifier
from vaelab.classifier.learning import Discriminative
from vaelab.classifier.spec import ClassifierSpec
from vaelab.classifier.yardsticks import YARDSTICKS
from vaelab.data import Dataset
from vaelab.metrics import log_loss
from vaelab.study.task import Nothing
from vaelab.supervised.baselines import Baseline, OnTest
from vaelab.supervised.epoch import SupervisedStack
from vaelab.supervised.model import outputs_of
from vaelab.supervised.system import SupervisedSystem


class ClassifierSystem(SupervisedSystem[ClassifierSpec, LabelledFeed, FittedClassifier]):
    """Classifiers judged by accuracy or another metric, before temperature scaling."""

    always = ("accuracy", "log_loss", "macro_f1", "verdict", "reason")
    familiar = "accuracy"
    fitted = FittedClassifier

    def __init__(self, yardstick: str = "accuracy"):
        super().__init__(yardstick, YARDSTICKS, Discriminative)

    def resolved(self, spec: ClassifierSpec, data: Dataset) -> ClassifierSpec:
        return resolve(spec, data)

    def feed(self, data: Dataset, spec: ClassifierSpec) -> LabelledFeed:
        return LabelledFeed(data, spec)

    def costs(self, spec: ClassifierSpec, metrics: Mapping[str, Any]) -> tuple[float, ...]:
        """Log-loss uses unscaled probabilities, since the temperature is fitted on the same examples."""
        unscaled = metrics.get("unscaled", metrics)
        return tuple(
            each.cost(float((unscaled if each.name == "log_loss" else metrics)[each.name])) for each in self.yardsticks
        )

    def judge(self, stack: SupervisedStack, is_final: bool) -> list[dict[str, Any]]:
        feed = stack.feed
        codes = feed.codes("validation")
        every = outputs_of(stack.model, stack.views(stack.best), feed.batches("validation", 1))
        shares = feed.shares.cpu().numpy()
        judged = []
        for logits in every:
            found = scores.metrics(logits, codes, scores.fit_temperature(logits, codes), feed.data.classes)
            reason = scores.why_collapsed(logits, codes, shares)
            judged.append(found | {"verdict": "ok" if reason is None else "collapsed", "reason": reason})
        return judged

    def model(
        self, feed: LabelledFeed, spec: ClassifierSpec, row: Tensor, metrics: Mapping[str, Any]
    ) -> FittedClassifier:
        return FittedClassifier.of(feed, spec, row, float(metrics["temperature"]))

    def test(self, model: FittedClassifier, data: Dataset) -> dict[str, Any]:
        return model.evaluate(data, "test")

    def reference(self, feed: LabelledFeed) -> dict[str, Any]:
        """Always the most frequent class, with class frequencies as probabilities."""
        shares = feed.shares.cpu().numpy()
        codes = feed.codes("validation")
        answer = int(shares.argmax())
        return {
            "answer": feed.data.classes[answer],
            "accuracy": float((codes == answer).mean()),
            "log_loss": log_loss(shares[None].repeat(len(codes), 0), codes),
        }

    def baselines(self, feed: LabelledFeed) -> list[Baseline]:
        return baselines(feed)

    def on_test(self, feed: LabelledFeed, model: FittedClassifier) -> OnTest:
        logits = outputs_of(model.model, model.parameters, feed.batches("test", 1))[0]
        return on_test(scores.probabilities(logits, model.temperature), feed)

    def nothing(self, feed: LabelledFeed, metrics: Mapping[str, Any]) -> Nothing:
        return Nothing("nothing was learned about the classes")

    def draw(self, model: FittedClassifier, data: Dataset, name: str) -> Sequence[Path]:
        from vaelab.classifier.pictures import draw_run  # imports matplotlib

        return draw_run(model, data, name)

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        from vaelab.plots.dataset import draw_data
        from vaelab.report import build_classifier_report
        from vaelab.study.pictures import draw_study

        draw_study(folder, results)
        if not data.is_image:
            draw_data(data, folder / "figures")
        build_classifier_report(folder, ClassifierSpec)
