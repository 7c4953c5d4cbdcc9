"""A trained inverse problem in use: draws from p(x | y), solutions of y = f(x), and its folder."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab import evaluate, store
from vaelab.data import Scaling
from vaelab.errors import InputError, StoreError
from vaelab.feed import Feed, resolve
from vaelab.fitted import Fitted
from vaelab.inverse import conditional, methods, npe, scores
from vaelab.inverse.calibration import Draws
from vaelab.inverse.conditional import Sampler, Space
from vaelab.inverse.coordinates import Frame, Support
from vaelab.inverse.expressions import Forward
from vaelab.inverse.lines import FAMILIES
from vaelab.inverse.methods import Ground
from vaelab.inverse.problems import Function, Problem
from vaelab.spec import Spec
from vaelab.study import jobs
from vaelab.study.balance import stacks
from vaelab.study.jobs import Checkpoint, Job, Member, Outcome
from vaelab.study.vae import VAESystem
from vaelab.training import Stack, one_thread

Array = npt.NDArray[Any]
WALK = 12  # steps of the random walk in the latent space before refinement
CURVE = 16  # points from which on a measurement is a curve, whose spectrum the network sees beside it
ARRAYS = (
    "x_mean", "x_basis", "y_mean", "y_basis", "scaling_offset", "scaling_scale", "support_normals", "support_bounds",
)  # fmt: skip
# What an inverse problem's model differs in from Spec's defaults: its examples are many, its posteriors narrow.
DEFAULTS: dict[str, Any] = {
    "likelihood": "gaussian", "latent_dim": 4, "hidden": "512-512-512", "batch_size": 500, "epochs": 20, "lr": 1.5e-3,
    "clip": 20.0, "device": "cpu",
}  # fmt: skip
# And where y does not follow from x alone, so that p(x | y) has a density and draws of it are what counts.
NOISY: dict[str, Any] = {"hidden": "128-128-128", "batch_size": 100, "lr": 7e-3}
MANY = 20_000  # examples up to which a noisy problem takes 100 epochs
# q is a diagonal Gaussian. Where it cannot follow the posterior of z, its price at beta = 1 makes the learned scale,
# and with it the draws, too wide; where it can, as in a linear problem, only beta = 1 is right. Validation says which.
BETAS = (0.7, 1.0)
CHOICE_DRAWS = 256  # of the importance-weighted bound that chooses


class TrainingFailed(RuntimeError):
    """The loss or a gradient became non-finite."""


@dataclasses.dataclass(frozen=True, eq=False)
class Solutions:
    """Distinct solutions x (s, *x_shape) of one y, best first, with their root mean squared misfit (s,).

    They were refined, filtered by the gates and de-duplicated: solutions, not posterior samples.
    """

    x: Array
    rmse: npt.NDArray[np.float64]
    candidates: int
    evaluations: int  # of the forward function

    def __len__(self) -> int:
        return len(self.x)


@dataclasses.dataclass(frozen=True, eq=False)
class Inverter:
    """A trained conditional VAE with its problem. Arrays in and out are in the problem's own units."""

    problem: Problem
    fitted: Fitted
    space: Space
    support: Support
    history: Sequence[Mapping[str, Any]] = ()
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of its training

    @property
    def spec(self) -> Spec:
        return self.fitted.spec

    @property
    def ground(self) -> Ground:
        return Ground(self.space.x, self.support)

    @property
    def sampler(self) -> Sampler:
        return Sampler(self.fitted.model, self.spec, self.fitted.row, self.space)

    def candidates(self, y: Array, n: int, seed: int = 0, walk: int = 0) -> tuple[Array, int]:
        """E[x|z, y] (curves, n, *x_shape), z from the prior and after `walk` steps of a random walk (Sampler.walk).

        Also the forward evaluations that the walk took.
        """
        with one_thread():
            x, calls = self.sampler.walk(self.problem, y, n, walk, seed)
            return self.space.x_own(x.double()).numpy(), calls

    def draw(self, y: Any, n: int = 100, seed: int = 0) -> Draws:
        """Posterior draws x ~ p(x|z, y), z ~ p(z), for measurements y (curves, *y_shape)."""
        with one_thread():
            drawn = self.sampler.draw(self.problem.curves(y), n, seed, noise=True)
            return Draws(self.space.x_own(drawn.double()).numpy())

    def solve(self, y: Any, n: int = 100, refine: int = 20, seed: int = 0, walk: int = WALK) -> list[Solutions]:
        """Distinct solutions of y = f(x) for each of the measurements y (curves, *y_shape)."""
        y = self.problem.curves(y)
        x, calls = self.candidates(y, n, seed, walk)
        with one_thread():
            if refine:
                x, refined = methods.refine_candidates(self.problem, self.ground, x, y, refine)
                calls += refined.evaluations
            kept = [methods.distinct(self.problem, own, measured) for own, measured in zip(x, y, strict=True)]
        return [Solutions(own, missed, n, calls // len(y) + n) for own, missed in kept]

    def save(self, folder: Path, metrics: Mapping[str, Any], overwrite: bool = False) -> Inverter:
        """Write the run folder; returns this model with that folder."""
        fitted = self.fitted.save(folder, self.history, metrics, overwrite)
        space, problem = self.space, self.problem
        arrays = (
            space.x.mean, space.x.basis, space.y.mean, space.y.basis, space.scaling.offset, space.scaling.scale,
            self.support.normals, self.support.bounds,
        )  # fmt: skip
        digest = store.save_arrays(folder / "problem.safetensors", dict(zip(ARRAYS, arrays, strict=True)))
        about = {
            "name": problem.name, "family": problem.name if problem.family else None, "spectrum": space.spectrum,
            "forward": list(problem.forward.texts) if isinstance(problem.forward, Forward) else None,
            "x_shape": list(problem.x_shape), "y_shape": list(problem.y_shape), "noise": problem.noise,
            "gate": problem.gate, "spread": problem.spread, "source": dict(problem.source), "sha256": digest,
        }  # fmt: skip
        store.write_json(folder / "problem.json", about)
        return dataclasses.replace(self, fitted=fitted)

    @classmethod
    def load(cls, folder: str | Path, forward: Function | None = None) -> Inverter:
        """Read a run folder. A forward function that was no expression is not stored, and is given again."""
        folder = Path(folder)
        if not (folder / "problem.json").is_file():
            raise StoreError(f"{folder} is not the run of an inverse problem: it holds no problem.json.")
        about = store.read_json(folder / "problem.json")
        fitted = Fitted.load(folder, conditional=True)
        arrays = store.load_arrays(folder / "problem.safetensors", about["sha256"])
        parts = [arrays[name] for name in ARRAYS]
        shapes = tuple(about["x_shape"]), tuple(about["y_shape"])
        # What the network sees of y is longer than y where its spectrum is part of it.
        seen = (len(parts[2]),)
        space = Space(
            Frame(parts[0], parts[1], shapes[0]), Frame(parts[2], parts[3], seen), Scaling(parts[4], parts[5]),
            shapes[1], about["spectrum"],
        )  # fmt: skip
        if forward is None:
            if about["forward"] is None:
                raise InputError(
                    f"the forward function of {folder} is Python's and not stored; load it with `forward`."
                )
            forward = Forward(about["forward"], shapes[0][0])
        problem = Problem(
            about["name"], np.empty((0, *shapes[0])), np.empty((0, *shapes[1])), forward, {}, about["noise"],
            about["gate"], about["spread"], FAMILIES.get(about["family"]), about["source"],
        )  # fmt: skip
        run = store.load_run(folder)
        return cls(problem, fitted, space, Support(parts[6], parts[7]), run.history, run.metrics)


def spec_of(problem: Problem, settings: Mapping[str, Any]) -> Spec:
    """The settings of an inverse problem's model, checked: DEFAULTS, of a noisy problem NOISY, then `settings`.

    Where y is noisy, beta rises to its value over the first half of the epochs.
    """
    n = len(problem.splits["train"])
    chosen = {**DEFAULTS, "batch_size": min(DEFAULTS["batch_size"], max(16, n // 20)), **settings}
    if problem.is_noisy:
        few = {"epochs": 100} if n <= MANY else {}
        chosen = {**DEFAULTS, **NOISY, "batch_size": min(NOISY["batch_size"], max(16, n // 20)), **few, **settings}
        chosen.setdefault("warmup", int(chosen["epochs"]) // 2)
    if {"layers", "width", "taper"} & set(settings) and "hidden" not in settings:
        del chosen["hidden"]
    spec = Spec.create(**chosen)
    if spec.likelihood == "bernoulli" or spec.binarize != "none" or spec.samples != 1:
        raise InputError(
            "an inverse problem's x is a density with one importance sample: likelihood gaussian, laplace or huber, "
            "binarize none, samples 1."
        )
    if spec.wy > 0 and not problem.is_differentiable:
        raise InputError(
            "`wy` needs a forward function with a gradient, but this one has none; leave wy at 0, which ranks samples "
            "by f alone."
        )
    return spec


def specs_of(problem: Problem, settings: Mapping[str, Any]) -> list[Spec]:
    """What `train` chooses from: one model, or of a noisy problem whose `beta` is not set, one for each of BETAS."""
    spec = spec_of(problem, settings)
    return [spec.but(beta=beta) for beta in BETAS] if problem.is_noisy and "beta" not in settings else [spec]


def train_members(
    problem: Problem,
    members: Sequence[Member],
    work: Path | None = None,
    spectrum: bool | None = None,
    progress: Callable[[int], None] = lambda epoch: None,
) -> list[Inverter | Outcome]:
    """Train models on a problem, as stacks; each keeps the weights of its best epoch by validation.

    One whose loss became non-finite is an Outcome that says so. `work` holds checkpoints, from which a training that
    was stopped goes on, bit for bit as if it had not been. Raises InputError where a term of the loss has no gradient.
    """
    if work is None:
        with tempfile.TemporaryDirectory() as folder:
            return train_members(problem, members, Path(folder), spectrum, progress)
    if spectrum is None:
        spectrum = bool(problem.y_shape) and problem.y_shape[-1] >= CURVE
    data, space = conditional.as_table(problem, spectrum)
    system = VAESystem(objective=conditional.objective(problem, space))
    members = [Member(m.name, resolve(m.spec, data)) for m in members]
    trained: dict[str, Inverter | Outcome] = {}
    with one_thread():
        support = Support.of(problem.rows("train")[0], space.x)
        for part in stacks(members, data.shape, 1, system):
            feed = Feed(data, part[0].spec, space.scaling)
            conditional.audit(Stack([m.spec for m in part], feed, system.method))
            job = Job(tuple(part), part[0].spec.epochs, str(work))
            outcomes = jobs.run(job, system, feed, lambda _, epoch: progress(epoch))
            for member, outcome in zip(part, outcomes, strict=True):
                if outcome.failure is not None:
                    trained[member.name] = outcome
                    continue
                done = Checkpoint.read(work, member)
                assert done is not None
                fitted = Fitted.of(feed, member.spec, torch.from_numpy(done.state.arrays["best"]))
                figures = _figures(fitted, feed)
                trained[member.name] = Inverter(problem, fitted, space, support, done.history, figures, done.seconds)
    return [trained[member.name] for member in members]


def train(
    problem: Problem,
    specs: Sequence[Spec],
    *,
    work: Path | None = None,
    spectrum: bool | None = None,
    progress: Callable[[int], None] = lambda epoch: None,
) -> Inverter:
    """The best of some models by the importance-weighted bound on validation, trained as `train_members`.

    Raises TrainingFailed where the loss of every one became non-finite.
    """
    members = [Member("model" if k == 0 else f"model{k}", spec) for k, spec in enumerate(specs)]
    trained = train_members(problem, members, work, spectrum, progress)
    models = [model for model in trained if isinstance(model, Inverter)]
    if not models:
        failure = next(model.failure for model in trained if isinstance(model, Outcome))
        raise TrainingFailed(f"training failed: {failure}; lower `lr` or `clip`.")
    best = min(models, key=lambda model: float(model.figures["neg_log_p"]))
    return dataclasses.replace(best, seconds=sum(model.seconds for model in models))


def _figures(fitted: Fitted, feed: Feed) -> dict[str, Any]:
    """The figures of a trained model on validation."""
    batches = feed.batches("validation", evaluate.SEARCH_DRAWS)
    judged = evaluate.score(
        fitted.model, fitted.parameters, [fitted.spec], batches, evaluate.SEARCH_DRAWS, feed.log_jacobian
    )
    bound = evaluate.importance_bound(
        fitted.model, fitted.parameters, fitted.spec, feed.batches("validation", evaluate.BOUND_DRAWS), CHOICE_DRAWS,
        feed.log_jacobian,
    )  # fmt: skip
    found = evaluate.figures(judged, 0, fitted.spec, evaluate.baseline(feed, "validation"))
    return found | {"neg_log_p": bound.neg_log_p}


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """The methods on the scored curves, the network's unrefined and refined candidates first."""

    attempts: list[methods.Attempt]
    seconds: dict[str, float]

    @property
    def unrefined(self) -> methods.Attempt:
        return self.attempts[0]

    @property
    def result(self) -> methods.Attempt:
        """The network's candidates after refinement, where there was one."""
        return self.attempts[1] if len(self.attempts) > 1 and self.attempts[1].name == REFINED else self.attempts[0]


NETWORK, REFINED = "conditional VAE", "conditional VAE, refined"
LONG, LONGER = "multi-start, 20 x the candidates", 20


def judge(
    inverter: Inverter,
    n: int,
    refine: int,
    seed: int = 0,
    walk: int = WALK,
    baselines: bool = True,
    estimation: bool = False,
) -> Judged:
    """Candidates for the scored curves, n each, by the network and by methods without one, unfiltered.

    Multi-start and nearest examples get the same refinement at equal candidates, equal forward evaluations and equal
    time; rejection as many evaluations; the exact sampler, where there is one, is the ceiling. With `estimation` also
    neural posterior estimation by sbi, trained on the same examples for at most as long as the network was.
    """
    problem, ground = inverter.problem, inverter.ground
    reference, y = problem.rows("test")

    def network(chunk: int) -> tuple[Array, int]:
        return inverter.candidates(y, n, seed + chunk)

    def walked(chunk: int) -> tuple[Array, int]:
        return inverter.candidates(y, n, seed + chunk, walk)

    def tried(name: str, starts: methods.Starts, steps: int, **budget: Any) -> methods.Attempt:
        return methods.attempt(name, problem, ground, starts, reference, y, steps, **budget)

    with one_thread():
        network(0)  # the first call of a process is slower
        began = time.perf_counter()
        attempts = [tried(NETWORK, network, 0)]
        seconds = {"sample": attempts[0].seconds}
        if refine or walk:
            attempts.append(tried(REFINED, walked, refine))
            seconds["refine"] = attempts[1].seconds
        seconds["score"] = time.perf_counter() - began - sum(seconds.values())
        if baselines:
            own = attempts[-1]
            begun = time.perf_counter()
            for name, starts in (
                ("multi-start", methods.from_prior(problem, n, len(y), seed)),
                ("nearest examples", methods.nearest(problem, n, y)),
            ):
                attempts.append(tried(f"{name}, equal candidates", starts, refine))
                if refine:
                    attempts.append(tried(f"{name}, equal evaluations", starts, refine, evaluations=own.evaluations))
                    attempts.append(tried(f"{name}, equal time", starts, refine, seconds=own.seconds))
            if refine and problem.family is not None:
                many = methods.from_prior(problem, LONGER * n, len(y), seed)
                attempts.append(tried(LONG, many, refine))
            calls = own.evaluations or n * len(y)
            attempts.append(methods.rejection(problem, n, reference, y, calls, seed))
            if problem.family is not None:
                attempts.append(tried("exact sampler", methods.exact(problem, n, reference, seed), 0))
            seconds["baselines"] = time.perf_counter() - begun
        if estimation:
            begun = time.perf_counter()
            flow = npe.fit(problem, inverter.space, inverter.seconds, seed)
            seconds["estimation"] = time.perf_counter() - begun
            drawn: methods.Starts = lambda chunk: (flow(y, n, seed + chunk), 0)  # noqa: E731
            attempts.append(tried(npe.NAME, drawn, 0))
            if refine:
                attempts.append(tried(f"{npe.NAME}, refined", drawn, refine))
    return Judged(attempts, seconds)


def selection_score(inverter: Inverter, n: int, refine: int, walk: int = WALK, curves: int = 50) -> scores.Score:
    """The score of the network's candidates on validation curves: what a search may choose by."""
    problem = inverter.problem
    reference, y = (part[:curves] for part in problem.rows("validation"))
    starts: methods.Starts = lambda chunk: inverter.candidates(y, n, chunk, walk)  # noqa: E731
    with one_thread():
        found = methods.attempt(NETWORK, problem, inverter.ground, starts, reference, y, refine)
    return found.score
