"""A trained inverse problem: draws from p(x | y), solutions of y = f(x), and its folder."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
import torch

from vaelab import store
from vaelab.data import Scaling
from vaelab.engine.noise import row_keys
from vaelab.engine.process import one_thread
from vaelab.engine.rows import Batches, chunk
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, StoreError
from vaelab.inverse import mixture, priors, solutions, weighted
from vaelab.inverse.calibration import Draws
from vaelab.inverse.conditional import Coordinates, Sampler
from vaelab.inverse.coordinates import Frame, Support
from vaelab.inverse.doubles import checked
from vaelab.inverse.examples import Examples
from vaelab.inverse.flow import Flow
from vaelab.inverse.forward import SHOWN, UNKNOWN, ForwardFunction, Function, contradiction
from vaelab.inverse.lines import FAMILIES
from vaelab.inverse.methods import Ground
from vaelab.inverse.mixture import Mixture
from vaelab.inverse.problems import Problem
from vaelab.inverse.solutions import RANKS, REFINE, Solutions, Sources, rows_of
from vaelab.inverse.units import RANGE, Bounds, Floats, check_gate, each_value
from vaelab.inverse.weighted import Pooled
from vaelab.settings import checks
from vaelab.vae import evaluate
from vaelab.vae.fitted import MOST_VALUES, Fitted
from vaelab.vae.spec import Spec

Array = npt.NDArray[Any]
DENSITY_DRAWS = 1_024  # of the importance-weighted bound
MOST_COMPLETED = 200  # values of y, of which missing ones are drawn
MOST_STEPS = 10_000  # of a walk or a refinement
MOST_NUMBERS = 1 << 27  # of x in one request, of which several copies are made
ARRAYS = (
    "x_mean", "x_basis", "x_scale", "y_mean", "y_basis", "y_scale", "scaling_offset", "scaling_scale",
    "ground_mean", "ground_basis", "ground_scale", "support_normals", "support_bounds",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Inverter:
    """A trained conditional VAE with its problem. Arrays in and out are in the problem's own units."""

    problem: Problem
    fitted: Fitted
    space: Coordinates
    ground: Ground
    history: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of its training
    examples: Examples | None = None  # further candidates, nearest to a measurement
    flow: Flow | None = None  # draws in the model's stead, where validation prefers it
    stored_sources: Sources | None = None  # of a run that is loaded

    @property
    def spec(self) -> Spec:
        return self.fitted.spec

    @functools.cached_property
    def sources(self) -> Sources:
        """Where candidates for solutions come from: by validation, once it is needed, since this evaluates f often."""
        return self.stored_sources or solutions.sources_of(self)

    @property
    def sampler(self) -> Sampler:
        return Sampler(self.fitted.model, self.spec, self.fitted.row, self.space)

    def candidates(self, y: Array, n: int, seed: int = 0, walk: int = 0) -> tuple[Array, int]:
        """E[x|z, y] (curves, n, *x_shape), with z from the prior after `walk` random-walk steps (Sampler.walk).

        Also returns the number of forward evaluations of the walk.
        """
        if not n:
            return np.empty((len(y), 0, *self.problem.x_shape)), 0
        with one_thread():
            x, calls = self.sampler.walk(self.problem, y, n, walk, seed)
            return self.space.x_own(x.double()).numpy(), calls

    def draw(self, y: Any, n: int = 100, seed: int = 0) -> Draws:
        """Posterior draws of x for measurements y (curves, *y_shape): by the flow, else x ~ p(x|z, y), z ~ p(z).

        What was not measured, NaN, is drawn from p(y) given the rest, anew for each draw.
        """
        y = self.problem.curves(y)
        _check_counts(self.problem, len(y), n, seed)
        gone = np.isnan(y.reshape(len(y), -1)).any(1)
        x = np.empty((len(y), n, *self.problem.x_shape))
        x[~gone] = self._drawn(y[~gone], n, seed)
        for k in np.flatnonzero(gone):
            x[k] = self._drawn(
                self.completed(y[k], n, derive_seed(seed, 40, int(k))), 1, derive_seed(seed, 43, int(k))
            )[:, 0]
        return Draws(x)

    def _drawn(self, y: Array, n: int, seed: int) -> Array:
        if not len(y):
            return np.empty((0, n, *self.problem.x_shape))
        with one_thread():
            if self.flow is None:
                return self.space.x_own(self.sampler.draw(y, n, seed, noise=True).double()).numpy()
            return self.space.x_of_axes(self.flow.draw(self.space.y_read(y, self.flow.reads_curves), n, seed)).numpy()

    def completed(self, y: Array, n: int, seed: int) -> Array:
        """Draws (n, *y_shape) of what was not measured, NaN, of y (*y_shape), by a mixture of the examples."""
        problem = self.problem
        if self.examples is None or self.examples.y.shape[1] > MOST_COMPLETED:
            raise InputError(
                f"missing values of y are drawn for up to {MOST_COMPLETED} values, but y has {y.size}; leave out these "
                "measurements."
            )
        relative = problem.relative_y(y[None])[0]
        drawn = self.examples.of_y.completed(np.tile(relative, (n, 1)), np.random.default_rng(seed))
        found: Array = (drawn * each_value(problem.y_scale, problem.y_shape)).reshape(n, *problem.y_shape)
        return np.where(np.isnan(y), found, y)

    def log_density(self, x: Array, y: Array, draws: int = DENSITY_DRAWS) -> Floats:
        """log p(x | y) (n,) of pairs in the model's coordinates of x."""
        with one_thread():
            if self.flow is None:
                return -self.importance_costs(x, y, draws)[0]
            own = (
                self.flow.log_prob(self.space.x_axes(x), self.space.y_read(y, self.flow.reads_curves)).double().numpy()
            )
            return own + self.space.log_turn

    def log_prior(self, x: Array) -> Floats:
        """log p(x) (n,) in the model's coordinates of x: by the prior that the run stores, else by a Gaussian mixture
        that is fitted to the examples.
        """
        known = priors.log_density(self.problem.prior, x)
        if known is not None:
            return known - self.space.log_jacobian(x)
        return self._of_x.log_prob(self.space.x_model(x).numpy())

    @functools.cached_property
    def _of_x(self) -> Mixture:
        if self.examples is None:
            raise InputError("this model keeps no examples, so the density of x is not known; train it again.")
        c = self.examples.c[:: -(-len(self.examples.c) // mixture.ROWS)].astype(np.float64)
        x = self.ground.frame.own(torch.from_numpy(c)).numpy()
        x = x if self.problem.bounds is None else self.problem.bounds.clip(x)
        return Mixture.of(self.space.x_model(x).numpy())

    def draw_weighted(self, y: Any, n: int = 100, seed: int = 0) -> Pooled:
        """Draws of x given all of the measurements y (k, *y_shape) of it, see `weighted.draw_weighted`."""
        y = self.problem.curves(y)
        _check_counts(self.problem, 1, n, seed)
        return weighted.draw_weighted(self, y, n, seed)

    def log_prob(self, x: Any, y: Any, draws: int = DENSITY_DRAWS) -> tuple[Floats, Floats]:
        """log p(x | y) (n,) in nats of pairs x (n, *x_shape) and y (n, *y_shape), in own units, and its standard error.

        By the flow it is exact, and the error 0; else the importance-weighted bound, which is too low on average.
        """
        x, y = checked("x", x), self.problem.curves(y)
        if x.shape != (len(y), *self.problem.x_shape):
            raise InputError(
                f"x must have the shape {(len(y), *self.problem.x_shape)}, one example for each y, but has {x.shape}."
            )
        if np.isnan(y).any():
            raise InputError("log p(x | y) needs every value of y, but y holds NaN; leave these pairs out.")
        slope = self.space.log_jacobian(x)
        if self.flow is not None:
            return slope + self.log_density(x, y), np.zeros(len(x))
        with one_thread():
            cost, error = self.importance_costs(x, y, draws)
            return slope - cost, error

    def importance_costs(self, x: Array, y: Array, draws: int = DENSITY_DRAWS) -> tuple[Floats, Floats]:
        """The conditional VAE's bound on -log p(x | y) (n,) in its own coordinates, and its standard error."""
        rows = torch.cat([self.space.x_model(x), self.space.y_model(y)], 1).to(self.fitted.row)
        size = chunk(rows.shape[1], evaluate.BOUND_DRAWS)
        batches = Batches(len(rows), ((piece, row_keys(piece)) for piece in rows.split(size)))
        model = self.fitted
        cost, variance = evaluate.importance_costs(model.model, model.parameters, self.spec, batches, draws)
        return cost.numpy(), variance.sqrt().numpy()

    def p_values(self, y: Any) -> Floats:
        """Of measurements y (curves, *y_shape): how usual they are among the examples, see `Examples.p_values`.

        At a small one the model extrapolates. Of measurements like the examples a share of `level` is at or below it.
        """
        if self.examples is None:
            raise InputError("this model keeps no examples, so it cannot say how usual y is; train it again.")
        return self.examples.p_values(self.problem.relative_y(self.problem.curves(y)))

    def solve(
        self, y: Any, n: int = 200, refine: int = REFINE, seed: int = 0, walk: int | None = None, gate: Any = None,
        top: int | None = None, group: Any = None, rank: str = "misfit",
    ) -> list[Solutions]:  # fmt: skip
        """Distinct solutions of y = f(x) for each of the measurements y (curves, *y_shape), whose NaN do not count.

        From n candidates for each, refined alike: of the network after `walk` steps in the latent space, and the
        training examples with the nearest y. The share of either, and by default `walk`, are those that found most
        solutions of validation measurements with equal forward evaluations.

        gate: the largest misfit of a solution in y's own units, a number or one per output; default: the problem's.
        top: keep at most so many of each measurement, far apart: the best, then always that farthest from the others.
        group: a label for each measurement; those with the same one are of one x, and its solutions reproduce all of
        them. rank: by "misfit", the smallest first, or by "density", the largest p(x) first.
        """
        checks.choice("rank", rank, RANKS)
        if top is not None:
            checks.whole("top", top, 1, checks.MOST_DRAWS)
        problem = self.problem
        if gate is not None:
            problem = dataclasses.replace(problem, gate=check_gate(gate, problem.outputs))
        y = problem.curves(y)
        _check_counts(problem, len(y), n, seed, refine=refine, **({} if walk is None else {"walk": walk}))
        found = solutions.solutions(self, problem, y, n, refine, walk, seed, rows_of(group, len(y)))
        if rank == "density":
            found = [own.by_density() for own in found]
        return found if top is None else [own.diverse(problem, top) for own in found]

    def save(self, folder: Path, metrics: Mapping[str, Any], overwrite: bool = False) -> Inverter:
        """Write the run folder; returns this model with that folder."""
        fitted = self.fitted.save(folder, self.history, metrics, overwrite)
        space, problem, ground = self.space, self.problem, self.ground
        arrays = (
            space.x.mean, space.x.basis, space.x.scale, space.y.mean, space.y.basis, space.y.scale,
            space.scaling.offset, space.scaling.scale, ground.frame.mean, ground.frame.basis, ground.frame.scale,
            ground.support.normals, ground.support.bounds,
        )  # fmt: skip
        digest = store.save_arrays(folder / "problem.safetensors", dict(zip(ARRAYS, arrays, strict=True)))
        about = {
            "name": problem.name, "family": problem.name if problem.family else None, "spectrum": space.spectrum,
            "forward": _stored(problem.forward),
            "x_shape": list(problem.x_shape), "y_shape": list(problem.y_shape), "noise": problem.noise.tolist(),
            "gate": problem.gate.tolist(), "x_scale": problem.x_scale.tolist(), "y_scale": problem.y_scale.tolist(),
            "bounds": None if problem.bounds is None else problem.bounds.listed(problem.x_shape[0]),
            "x_names": list(problem.x_names), "y_names": list(problem.y_names), "prior": list(problem.prior),
            "source": dict(problem.source), "sha256": digest,
            "examples": None if self.examples is None else self.examples.save(folder),
            "sources": dataclasses.asdict(self.sources),
            "flow": None if self.flow is None else self.flow.save(folder),
        }  # fmt: skip
        store.write_json(folder / "problem.json", about)
        return dataclasses.replace(self, fitted=fitted)

    @classmethod
    def load(cls, folder: str | Path, forward: Function | None = None, needs_forward: bool = True) -> Inverter:
        """Read a run folder. A forward function that is not an expression is not stored and must be given again, unless
        none is needed, as for draws.
        """
        folder = Path(folder)
        if not (folder / "problem.json").is_file():
            raise StoreError(f"{folder} is not the run of an inverse problem: it has no problem.json.")
        fitted = Fitted.load(folder, conditional=True)
        with store.interpreting(folder / "problem.json"):
            return cls._of_run(folder, fitted, forward, needs_forward)

    @classmethod
    def _of_run(cls, folder: Path, fitted: Fitted, forward: Function | None, needs_forward: bool) -> Inverter:
        about = read_problem(folder / "problem.json")
        arrays = store.load_arrays(folder / "problem.safetensors", about["sha256"])
        x_shape, y_shape = tuple(about["x_shape"]), tuple(about["y_shape"])
        noise, gate, x_scale, y_scale = (
            np.array(about[name], dtype=np.float64) for name in ("noise", "gate", "x_scale", "y_scale")
        )
        bounds = None if about["bounds"] is None else Bounds.of(about["bounds"], x_shape, x_scale / RANGE)
        seen = len(arrays["y_mean"])  # longer than y if it includes the spectrum
        space = Coordinates(
            Frame(arrays["x_mean"], arrays["x_basis"], x_shape, arrays["x_scale"]),
            Frame(arrays["y_mean"], arrays["y_basis"], (seen,), arrays["y_scale"]),
            Scaling(arrays["scaling_offset"], arrays["scaling_scale"]), y_shape, about["spectrum"], y_scale, bounds,
        )  # fmt: skip
        frame = Frame(arrays["ground_mean"], arrays["ground_basis"], x_shape, arrays["ground_scale"])
        ground = Ground(frame, Support(arrays["support_normals"], arrays["support_bounds"]))
        examples = None if about["examples"] is None else Examples.load(folder, about["examples"])
        given = about["forward"] if forward is None else forward
        function = UNKNOWN if given is None and not needs_forward else _function(folder, given, space, ground)
        if forward is not None and examples is not None:
            _check_agrees(function, examples, frame, y_scale, y_shape)
        problem = Problem(
            about["name"], np.empty((0, *x_shape)), np.empty((0, *y_shape)), function, {}, noise, gate, x_scale,
            y_scale, bounds, FAMILIES.get(about["family"]), about["source"], 0, 0, tuple(about["prior"]),
            tuple(about["x_names"]), tuple(about["y_names"]),
        )  # fmt: skip
        run = store.load_run(folder)
        flow = None if about["flow"] is None else Flow.load(folder, about["flow"], space.x.size, space.y.size)
        return cls(problem, fitted, space, ground, run.history, run.metrics, 0.0, examples, flow, about["sources"])


KINDS: dict[str, Any] = {  # of what is in problem.json
    "name": str, "family": str | None, "spectrum": bool, "forward": list[str] | None, "x_shape": list[int],
    "y_shape": list[int], "noise": list[float], "gate": list[float], "x_scale": list[float], "y_scale": list[float],
    "bounds": list[tuple[float | None, float | None] | None] | None, "source": dict[str, Any], "sha256": str,
    "examples": str | None, "flow": dict[str, Any] | None, "sources": Sources, "x_names": list[str],
    "y_names": list[str], "prior": list[dict[str, str | float]],
}  # fmt: skip


def read_problem(path: Path) -> dict[str, Any]:
    """The content of a problem.json; raises StoreError, or ValueError if it cannot be that of a run."""
    about = store.read_json(path)
    if not isinstance(about, dict):
        raise ValueError("it must hold a JSON object")
    if "x_scale" not in about or "curve" not in (about.get("flow") or {"curve": None}):
        raise StoreError(f"{path.parent} is of an older version, which wrote other files; run `invert` again.")
    for name, kind in KINDS.items():
        about[name] = pydantic.TypeAdapter(kind).validate_json(json.dumps(about[name]), strict=True)
    counts = {"x_scale": about["x_shape"], "y_scale": about["y_shape"]}
    for name, shape in counts.items():
        if any(length < 1 for length in shape) or math.prod(shape) > MOST_VALUES:
            raise ValueError(f"{shape} cannot be a shape")
        if not all(scale > 0 for scale in about[name]) or math.prod(shape) % len(about[name]):
            raise ValueError(f"{name} must have a positive number for each part")
    if not (0 <= about["sources"].share <= 1 and 0 <= about["sources"].walk <= MOST_STEPS):
        raise ValueError("sources must hold a share from 0 to 1 and a number of steps")
    outputs = len(about["y_scale"])
    if len(about["noise"]) != outputs or min(about["noise"]) < 0:
        raise ValueError("noise must be at least 0 for each output")
    check_gate(about["gate"], outputs)
    if about["prior"] and len(about["prior"]) != about["x_shape"][0]:
        raise ValueError("prior must have an entry for each input")
    for entry in about["prior"]:
        priors.check_stored(entry)
    if about["family"] is not None and about["family"] not in FAMILIES:
        raise ValueError(f"{about['family']!r} is no built-in problem")
    return about


def _check_counts(problem: Problem, curves: int, n: Any, seed: Any, **steps: Any) -> None:
    """Reject what is no whole number, or would make more candidates than memory is to hold."""
    checks.whole("n", n, 1, checks.MOST_DRAWS)
    checks.seed("seed", seed)
    for name, value in steps.items():
        checks.whole(name, value, 0, MOST_STEPS)
    checks.values(
        f"candidates for each of {curves:,} measurements", n, curves * math.prod(problem.x_shape), MOST_NUMBERS
    )


def _stored(forward: ForwardFunction) -> list[str] | None:
    """Expressions; none if there is no forward function; None for a Python function, which is not stored."""
    if forward is UNKNOWN:
        return []
    return None if forward.texts is None else list(forward.texts)


def _check_agrees(
    function: ForwardFunction, examples: Examples, frame: Frame, y_scale: Floats, y_shape: tuple[int, ...]
) -> None:
    """Reject a forward function that contradicts the run's own examples: it is another one."""
    x = frame.own(torch.from_numpy(examples.c[:SHOWN].astype(np.float64))).numpy()
    y = examples.y[:SHOWN].astype(np.float64) * each_value(y_scale, y_shape)
    against = contradiction(function.of_array(x).reshape(len(x), -1), y)
    if against is not None:
        raise InputError(f"this is not the forward function of the run: {against}")


def _function(
    folder: Path, forward: Function | Sequence[str] | None, space: Coordinates, ground: Ground
) -> ForwardFunction:
    """The forward function of a run, checked on draws from the ranges of its examples."""
    if forward is None:
        raise InputError(
            f"the forward function of {folder} is one in Python, which is not stored; give it again by `forward` (on "
            "the command line FILE.py:NAME)."
        )
    if isinstance(forward, Sequence) and not forward:
        return UNKNOWN
    drawn = torch.randn(1_000, space.x.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = space.x_own(drawn).numpy()
    outside = ground.support.excess(torch.from_numpy(ground.frame.coordinates(x))).sum(1)
    function, y = ForwardFunction.checked(forward, x[outside.argsort(stable=True).numpy()])
    if y.shape[1:] != space.y_shape:
        raise InputError(f"f(x) must have the shape of y, {space.y_shape}, but `forward` gives {y.shape[1:]}.")
    return function
