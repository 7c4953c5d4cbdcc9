"""The System of VAEs: how a study trains, evaluates, saves and draws them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaelab.data import Dataset
from vaelab.engine.convolutions import Convolutions, Grid
from vaelab.engine.networks import bucket, padded_latent
from vaelab.settings.yardsticks import FINAL_DRAWS, SEARCH_DRAWS
from vaelab.study.task import Nothing
from vaelab.vae import baselines, evaluate
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.epoch import VAEStack
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.likelihoods.likelihood import likelihood_type
from vaelab.vae.objectives import CostOf, reconstruction
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks import YARDSTICKS


class VAESystem:
    """VAEs judged by the negative ELBO, or by the weighted training loss."""

    facts = ("rate", "distortion", "active_units", "verdict", "reason")

    def __init__(
        self, yardstick: str = "neg_elbo", custom: CustomNetworks | None = None, cost: CostOf = reconstruction
    ):
        self.yardstick = YARDSTICKS[yardstick]
        self.headline = self.yardstick.headline
        self.custom, self.method = custom, Variational(custom, cost, self.yardstick)

    def resolve(self, spec: Spec, data: Dataset) -> Spec:
        resolved = resolve(spec, data)
        likelihood_type(resolved.likelihood).scaling(data)  # rejects unsuitable data
        return resolved

    def feed(self, data: Dataset, spec: Spec) -> Feed:
        return Feed(data, spec)

    def products(self, spec: Spec, shape: Sequence[int]) -> int:
        hidden, latent = [bucket(width) for width in spec.hidden_sizes], padded_latent(spec.latent_dim)
        ends, products = math.prod(shape), 0
        if spec.network == "conv":
            convolutions = Convolutions.for_spec(spec, Grid.of(shape))
            ends, products = convolutions.features, convolutions.products
        encoder, decoder = [ends, *hidden, 2 * latent], [latent, *reversed(hidden), ends]
        return products + sum(a * b for widths in (encoder, decoder) for a, b in itertools.pairwise(widths))

    def cost(self, spec: Spec, metrics: Mapping[str, Any]) -> float:
        return self.yardstick.cost(float(metrics[self.yardstick.name]))

    def judge(self, stack: VAEStack, is_final: bool) -> list[dict[str, Any]]:
        feed, draws = stack.feed, FINAL_DRAWS if is_final else SEARCH_DRAWS
        views, terms = stack.views(stack.best), Variational.terms(stack, stack.best)
        batches = feed.batches("validation", draws if terms is None else 1)
        scores = evaluate.score(stack.model, views, stack.specs, batches, draws, feed.log_jacobian, terms)
        reference = evaluate.baseline(feed, "validation")
        measured = self.yardstick.measure(stack.model, views, stack.specs, feed, "validation", None)
        found = [evaluate.metrics(scores, k, spec, reference) for k, spec in enumerate(stack.specs)]
        return self.yardstick.added(stack.specs, found, measured)

    def model(self, feed: Feed, spec: Spec, row: Tensor, metrics: Mapping[str, Any]) -> Fitted:
        return Fitted.of(feed, spec, row, self.custom)

    def load(self, folder: Path) -> Fitted:
        return Fitted.load(folder, custom=self.custom)

    def test(self, model: Fitted, data: Dataset) -> dict[str, Any]:
        feed = Feed(data, model.spec, model.scaling)
        measured = self.yardstick.measure(model.model, model.parameters, [model.spec], feed, "test", None)
        (found,) = self.yardstick.added([model.spec], [model.evaluate(data, "test", FINAL_DRAWS)], measured)
        return found

    def reference(self, feed: Feed) -> dict[str, Any]:
        return dict(evaluate.baseline(feed, "validation").as_dict())

    def prepare(self, feed: Feed, left: float) -> None:
        baselines.structured(feed, left)

    def results(self, feed: Feed, best: Mapping[str, Any] | None, model: Fitted | None) -> dict[str, Any]:
        reference, structured = evaluate.baseline(feed, "validation"), baselines.structured(feed)
        share = reference.share(best["validation"]["neg_elbo"]) if best else None
        beaten = None
        if best and model:
            beaten = structured.beaten(best["validation_mean"], baselines.of_model(model, feed), "the winner's")
        return {
            "likelihood": feed.spec.likelihood,
            "baseline": reference.as_dict() | {"share": share} | structured.as_dict(feed, test=best is not None),
            "beaten": beaten,
        }

    def nothing(self, feed: Feed, metrics: Mapping[str, Any]) -> Nothing:
        return baselines.structured(feed).nothing(float(metrics["rate"]), feed.spec.beta)

    def draw(self, model: Fitted, data: Dataset, name: str) -> Sequence[Path]:
        from vaelab.vae.pictures import draw_run  # imports matplotlib

        return draw_run(model, data, name)

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        from vaelab import plots
        from vaelab.report import build_study_report
        from vaelab.study.pictures import draw_study
        from vaelab.vae.explorer import explorer_of

        rows, winner = draw_study(folder, results)
        plots.plot_latent_size(plots.latent_size_data(rows, winner), folder / "figures" / "latent_size.png")
        build_study_report(folder, Spec, explorer_of(data))
