"""Trains conditional VAEs on a problem, as stacks, and chooses among them on validation."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaelab import store
from vaelab.engine.process import one_thread
from vaelab.engine.training import Stack
from vaelab.errors import TrainingFailed
from vaelab.inverse import conditional
from vaelab.inverse import flow as flows
from vaelab.inverse.coordinates import CURVE, LARGEST
from vaelab.inverse.examples import Examples
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.flow import Flow
from vaelab.inverse.methods import Ground
from vaelab.inverse.problems import Problem
from vaelab.settings.yardsticks import SEARCH_DRAWS
from vaelab.study import jobs
from vaelab.study.balance import stacks
from vaelab.study.checkpoints import Checkpoint, Member
from vaelab.study.jobs import Job, Outcome
from vaelab.vae import evaluate
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec
from vaelab.vae.system import VAESystem
from vaelab.wording import counted

CHOICE_DRAWS = 256  # of the importance-weighted bound used for the choice


def train_members(
    problem: Problem,
    members: Sequence[Member],
    work: Path | None = None,
    spectrum: bool | None = None,
    progress: Callable[[int], None] = lambda epoch: None,
) -> list[Inverter | Outcome]:
    """Train models on a problem, as stacks; each keeps the weights of its best epoch by validation.

    A model whose loss becomes non-finite gives an Outcome with that failure. `work` contains checkpoints, from which an
    interrupted training continues with bit-identical results. Raises InputError if a loss term has no gradient.
    """
    if work is None:
        with tempfile.TemporaryDirectory() as folder:
            return train_members(problem, members, Path(folder), spectrum, progress)
    if spectrum is None:
        # Of noise a spectrum is noise in twice as many values, and no longer a Gaussian one.
        spectrum = bool(problem.y_shape) and problem.y_shape[-1] >= CURVE and not problem.is_noisy
    data, space = conditional.as_table(problem, spectrum)
    system = VAESystem(cost=conditional.cost(problem, space))
    members = [Member(m.name, resolve(m.spec, data)) for m in members]
    trained: dict[str, Inverter | Outcome] = {}
    with one_thread():
        ground = Ground.of(problem)
        examples = Examples.of(problem, ground.frame)
        for part in stacks(members, data.shape, 1, system):
            feed = Feed(data, part[0].spec, space.scaling)
            conditional.audit(Stack([m.spec for m in part], feed, system.method), system.method.objective(part[0].spec))
            job = Job(tuple(part), int(part[0].spec.epochs), str(work))
            outcomes = jobs.run(job, system, feed, lambda _, epoch: progress(epoch))
            for member, outcome in zip(part, outcomes, strict=True):
                if outcome.failure is not None:
                    trained[member.name] = outcome
                    continue
                done = Checkpoint.read(work, member)
                assert done is not None
                fitted = Fitted.of(feed, member.spec, torch.from_numpy(done.state.arrays["best"]))
                metrics = _metrics(fitted, feed)
                trained[member.name] = Inverter(
                    problem, fitted, space, ground, done.history, metrics, done.seconds, examples
                )
    return [trained[member.name] for member in members]


def train(
    problem: Problem,
    specs: Sequence[Spec],
    *,
    work: Path | None = None,
    spectrum: bool | None = None,
    flow: bool = True,
    progress: Callable[[int], None] = lambda epoch: None,
    stage: Callable[[str], None] = lambda text: None,
) -> Inverter:
    """The best of some models by the importance-weighted bound on validation, trained as `train_members`.

    flow: for a noisy problem, also train a flow, which draws instead of the model unless the model's -log p(x | y) on
    validation is lower by two standard errors: its best epoch and `beta` were chosen there. `stage` is told when that
    begins. Raises TrainingFailed if all losses became non-finite.
    """
    members = [Member("model" if k == 0 else f"model{k}", spec) for k, spec in enumerate(specs)]
    trained = train_members(problem, members, work, spectrum, progress)
    models = [model for model in trained if isinstance(model, Inverter)]
    if not models:
        failure = next(model.failure for model in trained if isinstance(model, Outcome))
        raise TrainingFailed(f"training failed: {failure}; lower `lr` or `clip`.")
    best = min(models, key=lambda model: float(model.metrics["neg_log_p"]))
    best = dataclasses.replace(best, seconds=sum(model.seconds for model in models))
    return _beside_flow(best, work, stage) if flow and problem.is_noisy else best


def _beside_flow(model: Inverter, work: Path | None, stage: Callable[[str], None]) -> Inverter:
    """The model with a flow that draws in its stead, unless the model is better on validation beyond chance."""
    problem, space = model.problem, model.space
    if space.x.size > flows.WIDEST:
        return model
    if work is not None and (work / "flow.json").is_file():
        found = Flow.load(work, store.read_json(work / "flow.json"), space.x.size, space.y.size)
    else:
        found = _flow(model, stage)
        if work is not None:
            store.write_json(work / "flow.json", found.save(work))
    unit = float(np.log(space.scaling.scale[: space.x.size]).sum())  # in which the model's bound is
    vae, other = float(model.metrics["neg_log_p"]), found.neg_log_p - space.log_turn + unit
    cost, _ = model.importance_costs(*problem.rows("validation"), CHOICE_DRAWS)
    of_flow = -found.log_prob(*_pairs(model, "validation", found.reads_curves)).numpy() - space.log_turn
    gain = of_flow - cost  # of the model over the flow, on each pair
    draws_flow = math.isfinite(other) and gain.mean() < 2 * gain.std(ddof=1) / math.sqrt(len(gain))
    compared = {
        "conditional VAE": vae, "flow": other if math.isfinite(other) else None,
        "draws": "flow" if draws_flow else "conditional VAE", "reads": "curve" if found.reads_curves else "directions",
    }  # fmt: skip
    metrics = {**model.metrics, "neg_log_p": other if draws_flow else vae, "compared": compared}
    seconds = model.seconds + found.seconds
    return dataclasses.replace(model, metrics=metrics, seconds=seconds, flow=found if draws_flow else None)


def _metrics(fitted: Fitted, feed: Feed) -> dict[str, Any]:
    """The metrics of a trained model on validation."""
    batches = feed.batches("validation", SEARCH_DRAWS)
    judged = evaluate.score(fitted.model, fitted.parameters, [fitted.spec], batches, SEARCH_DRAWS, feed.log_jacobian)
    bound = evaluate.importance_bound(
        fitted.model, fitted.parameters, fitted.spec, feed.batches("validation", evaluate.BOUND_DRAWS), CHOICE_DRAWS,
        feed.log_jacobian,
    )  # fmt: skip
    found = evaluate.metrics(judged, 0, fitted.spec, evaluate.baseline(feed, "validation"))
    return found | {"neg_log_p": bound.neg_log_p}


def _flow(model: Inverter, stage: Callable[[str], None]) -> Flow:
    """A flow of the directions of y, or one that reads y as a curve, if that is better on validation."""
    problem = model.problem
    epochs, values = flows.LONGER * int(model.spec.epochs), math.prod(problem.y_shape)
    told = counted(flows.parts_of(len(problem.rows("train")[0])), "flow")

    def fit(curve: flows.Curve | None) -> Flow:
        train, held = (_pairs(model, split, curve is not None) for split in ("train", "validation"))
        return flows.fit(train, held, model.spec.seed, epochs, curve)

    stage(f"training {told} that may draw instead")
    found = fit(None)
    points = problem.y_shape[-1] if problem.y_shape else 1
    if points < CURVE or values > LARGEST:
        return found
    stage(f"training {told} that may read y as a curve")
    other = fit((values // points, points))
    seconds = found.seconds + other.seconds
    best = min(found, other, key=lambda flow: (math.isnan(flow.neg_log_p), flow.neg_log_p))
    return dataclasses.replace(best, seconds=seconds)


def _pairs(model: Inverter, split: str, values: bool) -> flows.Pairs:
    """x and y of a split as a flow takes them: y by its `values` or directions."""
    x, y = model.problem.rows(split)
    return model.space.x_axes(x), model.space.y_read(y, values)
