"""`ConditionalVAE`: inverse problems from Python, on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import store
from vaelab.errors import InputError
from vaelab.inverse import priors, problems
from vaelab.inverse.calibration import (
    Calibration,
    Coverage,
    Draws,
    c2st,
    calibration,
    energy_distance,
    expected_coverage,
)
from vaelab.inverse.doubles import checked
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.forward import UNKNOWN, Function
from vaelab.inverse.posterior import local_p_values
from vaelab.inverse.problems import Problem
from vaelab.inverse.solutions import REFINE, Solutions
from vaelab.inverse.spec import specs_of
from vaelab.inverse.training import train
from vaelab.inverse.weighted import Pooled

Array = npt.NDArray[Any]


class ConditionalVAE:
    """p(x | y) as a conditional VAE: posterior draws of x given y, and distinct solutions of y = f(x).

    forward: f, as a function of a batch of x in torch or NumPy, as a torch module, or as expressions such as
    ["cos(49*x0 + 42*x1)"]; without one there are draws but no solutions. It is called with a copy of x, in double
    precision where it takes that; its derivative is taken in forward or reverse mode, or by finite differences.
    noise: the standard deviation of y about f(x); gate: the largest misfit of a solution, by default what the noise of
    every output explains, or without noise 0.1 standard deviations; both in y's own units, a number or one per output.
    bounds: (low, high) or None for each input, or one end and None, outside of which there is no draw and no solution;
    by default the ranges of those inputs whose examples end abruptly, as under a uniform prior; "none": no bounds.
    prior: instead of x and of bounds, one torch distribution per input, from which `fit` draws x, and outside of whose
    support there is no draw and no solution. spectrum: whether the network also gets the spectrum of y (default: if y
    is an exact curve). flow: if y is noisy, also train a flow p(x | y), and draw from it unless the VAE is better on
    validation by two standard errors.
    settings: those of Spec, such as epochs=30.

    Every input and output may have its own unit: answers do not depend on the units.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).uniform(-1, 1, size=(2_000, 2))
    >>> model = ConditionalVAE(["x0**2 + x1**2"], epochs=3, hidden="32", batch_size=100).fit(x)
    >>> model.sample([0.5], n=4).shape
    (1, 4, 2)
    >>> solutions = model.solve([0.5])[0]
    >>> bool(np.abs((solutions.x**2).sum(1) - 0.5).max() < 0.1)
    True
    """

    def __init__(
        self,
        forward: Function | Sequence[str] | None = None,
        *,
        noise: float | Sequence[float] = 0.0,
        gate: float | Sequence[float] | None = None,
        bounds: Sequence[tuple[float | None, float | None] | None] | str | None = "auto",
        prior: Sequence[Any] | None = None,
        spectrum: bool | None = None,
        flow: bool = True,
        seed: int = 0,
        **settings: Any,
    ):
        self.forward, self.noise, self.gate, self.bounds = forward, noise, gate, bounds
        self.prior, self.spectrum, self.flow, self.seed, self.settings = prior, spectrum, flow, seed, settings
        self._inverter: Inverter | None = None

    def __repr__(self) -> str:
        state = "not fitted" if self._inverter is None else repr(self._inverter.fitted)
        return f"ConditionalVAE({state})"

    def fit(self, x: Any = None, y: Any = None, *, examples: int = 20_000) -> ConditionalVAE:
        """Train on pairs x (n, *x_shape), y (n, *y_shape); without y it is f(x) plus noise. Returns itself.

        Without x so many `examples` are drawn from the prior.

        Gaps in the y of pairs, NaN, are drawn given x and the rest of y (`inverse.gaps`); `inverter.problem.gaps` is
        the number of such rows. Those without any finite y, as of failed simulations, are left out: `failed`.
        """
        if self.forward is None and y is None:
            raise InputError("without a forward function, y must be given with x.")
        bounds, prior = self.bounds, list[priors.Stored]()
        if (self.prior is None) == (x is None):
            raise InputError("give either x to `fit`, or `prior`, from which x is drawn.")
        if self.prior is not None:
            if y is not None or bounds != "auto":
                raise InputError(
                    "with `prior`, y is f(x) and the bounds are those of its support; leave y and `bounds` out."
                )
            x, bounds = priors.draw(self.prior, examples, self.seed), priors.support(self.prior)
            prior = [priors.stored(own) for own in self.prior]
        problem = problems.create(
            "problem",
            x,
            y,
            self.forward,
            noise=self.noise,
            gate=self.gate,
            bounds=bounds,
            seed=self.seed,
            prior=prior,
        )
        return self.fit_problem(problem)

    def fit_problem(self, problem: Problem) -> ConditionalVAE:
        """Train on a problem, such as `inverse.problems.built_in("two-birds")`. Returns itself."""
        specs = specs_of(problem, {"seed": self.seed, **self.settings})
        self._inverter = train(problem, specs, spectrum=self.spectrum, flow=self.flow)
        return self

    @property
    def inverter(self) -> Inverter:
        """The trained model with its problem, frames and history."""
        if self._inverter is None:
            raise InputError("this ConditionalVAE is not fitted yet; call fit(x, y) first.")
        return self._inverter

    def sample(self, y: Any, n: int = 100, seed: int = 0) -> Array:
        """Posterior draws x ~ p(x|z, y), z ~ p(z): (curves, n, *x_shape) for measurements y (curves, *y_shape)."""
        return self.draw(y, n, seed).x

    def draw(self, y: Any, n: int = 100, seed: int = 0) -> Draws:
        """Like `sample`, as input for the posterior checks."""
        return self.inverter.draw(y, n, seed)

    def draw_weighted(self, y: Any, n: int = 100, seed: int = 0) -> Pooled:
        """Posterior draws x (n, *x_shape) given all of the measurements y (k, *y_shape) of one x, of which k may be 1.

        Weighted, so that they are of the exact posterior, where f, its noise and the prior are known: `effective` tells
        what the model's draws were worth (`inverse.weighted.draw_weighted`).
        """
        return self.inverter.draw_weighted(y, n, seed)

    def log_prob(self, x: Any, y: Any) -> tuple[Array, Array]:
        """log p(x | y) (n,) in nats for pairs x (n, *x_shape), y (n, *y_shape) in their own units; its standard error.

        Exact, with an error of 0, if a flow draws; else the importance-weighted bound, which is too low on average.
        """
        return self.inverter.log_prob(x, y)

    def solve(
        self, y: Any, n: int = 200, refine: int = REFINE, seed: int = 0, walk: int | None = None, gate: Any = None,
        top: int | None = None, group: Any = None, rank: str = "misfit",
    ) -> list[Solutions]:  # fmt: skip
        """Distinct solutions for each of the measurements, best first: refined, filtered, not posterior samples.

        gate: the largest misfit of a solution in y's own units, a number or one per output; default: the problem's.
        top: keep at most so many of each measurement, far apart: the best, then always that farthest from the others.
        group: a label for each measurement; those with the same one are of one x, and its solutions reproduce all of
        them. rank: by "misfit", the smallest first, or by "density", the largest p(x) first. NaN of y do not count.
        """
        return self.inverter.solve(y, n, refine, seed, walk, gate, top, group, rank)

    def c2st(self, y: Any, reference: Any, seed: int = 0) -> float:
        """Accuracy of a classifier between draws for one y and reference draws (n, *x_shape); 0.5 is perfect."""
        return c2st(self.draw(y, len(reference), seed), checked("reference", reference), seed)

    def energy_distance(self, y: Any, reference: Any, seed: int = 0) -> float:
        """Energy distance between draws for one y and reference draws (n, *x_shape), in units of each input's range."""
        unit = self.inverter.problem.x_unit.reshape(self.inverter.problem.x_shape)
        return energy_distance(
            Draws(self.sample(y, len(reference), seed) / unit), checked("reference", reference) / unit
        )

    def calibration(self, x: Any, y: Any, n: int = 99, seed: int = 0) -> Calibration:
        """Simulation-based calibration on pairs x (m, *x_shape), y (m, *y_shape) not used in training."""
        return calibration(self.draw(y, n, seed), checked("x", x))

    def expected_coverage(self, x: Any, y: Any, n: int = 99, seed: int = 0) -> Coverage:
        """Coverage of credible regions (TARP) on pairs x (m, *x_shape), y (m, *y_shape) not used in training."""
        return expected_coverage(self.draw(y, n, seed), checked("x", x), seed)

    def local_c2st(self, at: Any, x: Any, y: Any, n: int = 1_000, seed: int = 0) -> npt.NDArray[np.float64]:
        """p-values (m,) of n draws at each of the measurements `at` (m, *y_shape) following p(x | y), by pairs
        x (k, *x_shape), y (k, *y_shape) not used in training: a small one tells where the model is wrong, while
        calibration tells whether it is on average (`inverse.local`).
        """
        curves = self.inverter.problem.curves
        return local_p_values(self.inverter, checked("x", x), curves(y), curves(at), n, seed)

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write a run folder; `vaelab solve` and `load` read it."""
        path = Path(folder)
        with store.building(path, overwrite, aside=True, keep=False) as place:
            self.inverter.save(place / "run", {"validation": dict(self.inverter.metrics)})
        return path

    @classmethod
    def load(cls, folder: str | Path, forward: Function | None = None) -> ConditionalVAE:
        """The model of a run folder; a forward function that is not an expression must be given again."""
        inverter = Inverter.load(folder, forward)
        problem = inverter.problem
        model = cls(
            None if problem.forward is UNKNOWN else problem.forward, noise=problem.noise.tolist(),
            gate=problem.gate.tolist(),
            bounds="none" if problem.bounds is None else problem.bounds.listed(problem.x_shape[0]),
            spectrum=inverter.space.spectrum,
        )  # fmt: skip
        model._inverter = inverter
        return model
