"""A trained inverse problem: draws from p(x | y), solutions of y = f(x), and its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import store
from vaelab.data import Scaling
from vaelab.engine.process import one_thread
from vaelab.errors import InputError, StoreError
from vaelab.inverse import methods
from vaelab.inverse.calibration import Draws
from vaelab.inverse.conditional import Coordinates, Sampler
from vaelab.inverse.coordinates import Frame, Support
from vaelab.inverse.expressions import Forward
from vaelab.inverse.lines import FAMILIES
from vaelab.inverse.methods import Ground
from vaelab.inverse.problems import Function, Problem
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec

Array = npt.NDArray[Any]
WALK = 12  # steps of the random walk in the latent space before refinement
ARRAYS = (
    "x_mean", "x_basis", "y_mean", "y_basis", "scaling_offset", "scaling_scale", "support_normals", "support_bounds",
)  # fmt: skip


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
    space: Coordinates
    support: Support
    history: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
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
        """E[x|z, y] (curves, n, *x_shape), with z from the prior after `walk` random-walk steps (Sampler.walk).

        Also returns the number of forward evaluations of the walk.
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
        """Read a run folder. A forward function that is not an expression is not stored and must be given again."""
        folder = Path(folder)
        if not (folder / "problem.json").is_file():
            raise StoreError(f"{folder} is not the run of an inverse problem: it has no problem.json.")
        about = store.read_json(folder / "problem.json")
        fitted = Fitted.load(folder, conditional=True)
        arrays = store.load_arrays(folder / "problem.safetensors", about["sha256"])
        parts = [arrays[name] for name in ARRAYS]
        shapes = tuple(about["x_shape"]), tuple(about["y_shape"])
        # The network's input is longer than y if it includes the spectrum.
        seen = (len(parts[2]),)
        space = Coordinates(
            Frame(parts[0], parts[1], shapes[0]), Frame(parts[2], parts[3], seen), Scaling(parts[4], parts[5]),
            shapes[1], about["spectrum"],
        )  # fmt: skip
        if forward is None:
            if about["forward"] is None:
                raise InputError(
                    f"the forward function of {folder} is a Python function and not stored; load it with `forward`."
                )
            forward = Forward(about["forward"], shapes[0][0])
        problem = Problem(
            about["name"], np.empty((0, *shapes[0])), np.empty((0, *shapes[1])), forward, {}, about["noise"],
            about["gate"], about["spread"], FAMILIES.get(about["family"]), about["source"],
        )  # fmt: skip
        run = store.load_run(folder)
        return cls(problem, fitted, space, Support(parts[6], parts[7]), run.history, run.metrics)
