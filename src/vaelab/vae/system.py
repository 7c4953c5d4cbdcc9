"""The System of VAEs: how a study trains, evaluates, saves and draws them."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaelab.data import Dataset
from vaelab.engine.convolutions import Convolutions, Grid
from vaelab.engine.networks import bucket, padded_latent
from vaelab.settings.yardsticks import FINAL_DRAWS, SEARCH_DRAWS, parse_yardsticks
from vaelab.study.task import Nothing
from vaelab.vae import baselines, evaluate
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.epoch import VAEStack
from vaelab.vae.evaluate import COLLAPSE_RATE
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.likelihoods.likelihood import likelihood_type
from vaelab.vae.measuring import measured
from vaelab.vae.objectives import CostOf, reconstruction
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks import YARDSTICKS
from vaelab.vae.yardsticks.yardstick import with_terms

FACTS = ("rate", "distortion", "active_units", "verdict", "reason")


class VAESystem:
    """VAEs judged by one yardstick, or by two: "neg_elbo", or "neg_elbo,probe"."""

    def __init__(
        self, yardstick: str = "neg_elbo", custom: CustomNetworks | None = None, cost: CostOf = reconstruction
    ):
        self.yardsticks = parse_yardsticks(yardstick, YARDSTICKS)
        self.headline = self.yardsticks[0].headline
        self.facts = (*dict.fromkeys((*FACTS, *(each.name for each in self.yardsticks))),)
        self.custom, self.method = custom, Variational(custom, cost, self.yardsticks)

    def resolve(self, spec: Spec, data: Dataset) -> Spec:
        resolved = resolve(spec, data)
        likelihood_type(resolved.likelihood).scaling(data, resolved)  # rejects unsuitable data
        for yardstick in self.yardsticks:
            yardstick.check(data)
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

    def costs(self, spec: Spec, metrics: Mapping[str, Any]) -> tuple[float, ...]:
        return tuple(yardstick.cost(float(metrics[yardstick.name])) for yardstick in self.yardsticks)

    def measure(self, stack: VAEStack) -> list[dict[str, float]]:
        """Of the best weights so far: those would be judged if training ended here."""
        return measured(self.yardsticks, stack.model, stack.views(stack.best), stack.specs, stack.feed, "validation")

    def judge(self, stack: VAEStack, is_final: bool) -> list[dict[str, Any]]:
        feed, draws = stack.feed, FINAL_DRAWS if is_final else SEARCH_DRAWS
        views, terms = stack.views(stack.best), Variational.terms(stack, stack.best)
        batches = feed.batches("validation", draws if terms is None else 1)
        scores = evaluate.score(stack.model, views, stack.specs, batches, draws, feed.log_jacobian, terms)
        reference = evaluate.baseline(feed, "validation")
        found = [evaluate.metrics(scores, k, spec, reference) for k, spec in enumerate(stack.specs)]
        others = self.measure(stack)
        return [self._judged(*of_one) for of_one in zip(stack.specs, found, others, strict=True)]

    def _judged(self, spec: Spec, found: dict[str, Any], others: Mapping[str, float]) -> dict[str, Any]:
        """All metrics of a model. Only bounds are compared with the model without latents: at a beta far from 1 a
        model may be worse by its bound and yet have latents that others ask for.
        """
        if found["rate"] >= COLLAPSE_RATE and not all(yardstick.is_bound for yardstick in self.yardsticks):
            found = found | {"verdict": "ok", "reason": None}
        return {**with_terms(self.yardsticks, spec, found), **others}

    def model(self, feed: Feed, spec: Spec, row: Tensor, metrics: Mapping[str, Any]) -> Fitted:
        return Fitted.of(feed, spec, row, self.custom)

    def load(self, folder: Path) -> Fitted:
        return Fitted.load(folder, custom=self.custom)

    def test(self, model: Fitted, data: Dataset) -> dict[str, Any]:
        feed = Feed(data, model.spec, model.scaling)
        (others,) = measured(self.yardsticks, model.model, model.parameters, [model.spec], feed, "test")
        return self._judged(model.spec, model.evaluate(data, "test", FINAL_DRAWS), others)

    def reference(self, feed: Feed) -> dict[str, Any]:
        return dict(evaluate.baseline(feed, "validation").as_dict())

    def prepare(self, feed: Feed, left: float) -> None:
        baselines.structured(feed, left)

    def results(self, feed: Feed, best: Mapping[str, Any] | None, model: Fitted | None) -> dict[str, Any]:
        from vaelab.vae.about_columns import about_columns  # and its pictures, for which workers need not wait

        reference, structured = evaluate.baseline(feed, "validation"), baselines.structured(feed)
        share = reference.share(best["validation"]["neg_elbo"]) if best else None
        beaten = None
        if best and model and all(yardstick.is_bound for yardstick in self.yardsticks):  # else it is for something else
            value = statistics.fmean(seed["validation"]["neg_elbo"] for seed in best["seeds"])
            beaten = structured.beaten(value, baselines.of_model(model, feed), "the winner's")
        return {
            "likelihood": feed.spec.likelihood,
            "baseline": reference.as_dict() | {"share": share} | structured.as_dict(feed, test=best is not None),
            "beaten": beaten,
        } | about_columns(model, feed.data)

    def nothing(self, feed: Feed, metrics: Mapping[str, Any]) -> Nothing:
        return baselines.structured(feed).nothing(float(metrics["rate"]), feed.spec.beta)

    def draw(self, model: Fitted, data: Dataset, name: str) -> Sequence[Path]:
        from vaelab.vae.pictures import draw_run  # imports matplotlib

        return draw_run(model, data, name)

    def report(self, folder: Path, results: Mapping[str, Any], data: Dataset) -> None:
        from vaelab import plots
        from vaelab.plots.dataset import draw_data
        from vaelab.report import build_study_report
        from vaelab.study.pictures import draw_study
        from vaelab.vae.explorer import explorer_of
        from vaelab.vae.pictures import draw_drivers

        rows, winner = draw_study(folder, results)
        sizes = plots.latent_size_data(rows, winner)
        plots.plot_latent_size(sizes, folder / "figures" / "latent_size.png", self.yardsticks[0])
        if not data.is_image:
            draw_data(data, folder / "figures")
        draw_drivers(results.get("drivers"), folder / "best", folder.name)
        build_study_report(folder, Spec, explorer_of(data))
