"""The System of VAEs: how a study trains, judges, keeps and draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaelab import evaluate
from vaelab.data import Dataset, Scaling
from vaelab.feed import Feed, resolve
from vaelab.fitted import Fitted
from vaelab.objectives import Objective
from vaelab.own import Own
from vaelab.spec import Spec
from vaelab.study.balance import step_seconds
from vaelab.training import Stack, Variational


class VAESystem:
    """VAEs judged by the negative ELBO, or by the loss with its own weights."""

    facts = ("rate", "distortion", "active_units", "verdict", "reason")
    headline = "neg_elbo"

    def __init__(self, yardstick: str = "neg_elbo", own: Own | None = None, objective: Objective | None = None):
        self.yardstick, self.own, self.method = yardstick, own, Variational(own, objective)

    def resolve(self, spec: Spec, data: Dataset) -> Spec:
        resolved = resolve(spec, data)
        Scaling.for_data(data, resolved.likelihood)
        return resolved

    def feed(self, data: Dataset, spec: Spec) -> Feed:
        return Feed(data, spec)

    def step_seconds(self, spec: Spec, shape: Sequence[int]) -> float:
        return step_seconds(spec, shape)

    def cost(self, spec: Spec, figures: Mapping[str, Any]) -> float:
        if self.yardstick == "weighted_loss":
            return float(figures["distortion"] + spec.beta * figures["rate"])
        return float(figures["neg_elbo"])

    def judge(self, stack: Stack, is_final: bool) -> list[dict[str, Any]]:
        feed, draws = stack.feed, evaluate.FINAL_DRAWS if is_final else evaluate.SEARCH_DRAWS
        batches = feed.batches("validation", draws)
        scores = evaluate.score(stack.model, stack.views(stack.best), stack.specs, batches, draws, feed.log_jacobian)
        reference = evaluate.baseline(feed, "validation")
        return [evaluate.figures(scores, k, spec, reference) for k, spec in enumerate(stack.specs)]

    def model(self, feed: Feed, spec: Spec, row: Tensor, figures: Mapping[str, Any]) -> Fitted:
        return Fitted.of(feed, spec, row, self.own)

    def load(self, folder: Path) -> Fitted:
        return Fitted.load(folder, own=self.own)

    def test(self, model: Fitted, data: Dataset) -> dict[str, Any]:
        return model.evaluate(data, "test", evaluate.FINAL_DRAWS)

    def reference(self, feed: Feed) -> dict[str, Any]:
        return dict(evaluate.baseline(feed, "validation").as_dict())

    def results(self, feed: Feed, best: Mapping[str, Any] | None) -> dict[str, Any]:
        reference = evaluate.baseline(feed, "validation")
        share = reference.share(best["validation"]["neg_elbo"]) if best else None
        return {"likelihood": feed.likelihood_name, "baseline": reference.as_dict() | {"share": share}}

    def draw(self, model: Fitted, data: Dataset, name: str) -> Sequence[Path]:
        from vaelab.pictures import draw_run  # matplotlib is imported by those who draw

        return draw_run(model, data, name)

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        from vaelab import plots
        from vaelab.report import build_study_report
        from vaelab.study_pictures import draw_study

        rows, winner = draw_study(folder, results)
        plots.plot_latent_size(plots.latent_size_data(rows, winner), folder / "figures" / "latent_size.png")
        build_study_report(folder, data)
