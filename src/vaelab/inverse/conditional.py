"""The conditional VAE of an inverse problem: p(x | z, y) p(z) and q(z | x, y), trained with the common loop.

The interface to that loop is small: a problem's pairs are a table of rows [x, y] whose last columns are a condition,
and the loss is another objective. Spec, stack, likelihoods, optimizer, records and run folders are shared with VAEs.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling
from vaelab.engine.networks import Parameters, fast_products
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError
from vaelab.inverse.coordinates import CURVE, LARGEST, Frame
from vaelab.inverse.problems import Problem
from vaelab.inverse.units import Bounds, each_value
from vaelab.vae.epoch import VAEStack
from vaelab.vae.model import Model
from vaelab.vae.objectives import Cost, CostOf, Noise, Objective, Weights, reconstruction
from vaelab.vae.posterior import Posterior
from vaelab.vae.spec import Spec
from vaelab.wording import first_few, significant

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Coordinates:
    """Converts between a problem's own units and the model's: frames of x and y, then column scaling.

    y is in units of `y_scale` before anything else; x with `bounds` is first mapped to where there are none. With
    `spectrum` the network also gets the magnitudes of y's Fourier transform along the last axis: for a wave they show
    the frequency directly, which a network would otherwise have to learn from the curve.
    """

    x: Frame
    y: Frame
    scaling: Scaling
    y_shape: tuple[int, ...]
    spectrum: bool
    y_scale: npt.NDArray[np.float64]  # (outputs,)
    bounds: Bounds | None = None

    def x_own(self, model_x: Tensor) -> Tensor:
        """Examples (..., *x_shape) from the model's values (..., D)."""
        r = self.x.size
        scale, offset = (torch.from_numpy(a[:r]).to(model_x) for a in (self.scaling.scale, self.scaling.offset))
        x = self.x.own(model_x * scale + offset)
        if self.bounds is None:
            return x
        lead = x.shape[: x.ndim - len(self.x.shape)]
        return self.bounds.own(x.reshape(*lead, -1)).reshape(x.shape)

    def x_model(self, x: Array) -> Tensor:
        """The model's values (n, D), float64, of examples in their own units."""
        r = self.x.size
        free = x if self.bounds is None else self.bounds.free(x)
        return torch.from_numpy((self.x.coordinates(free) - self.scaling.offset[:r]) / self.scaling.scale[:r])

    @functools.cached_property
    def axes(self) -> npt.NDArray[np.float64] | None:
        """The standard deviation of each value of x (V,), where there are no bounds; None if x has fewer directions."""
        if self.x.size < len(self.x.mean):
            return None
        along: npt.NDArray[np.float64] = self.x.scale * np.linalg.norm(
            self.x.basis * self.scaling.scale[: self.x.size, None], axis=0
        )
        return along

    def x_axes(self, x: Array) -> Tensor:
        """Standardised values (n, V) of examples, not turned to principal directions: what depends on a single input
        stays simple. `x_model` where x has fewer directions than values.
        """
        if self.axes is None:
            return self.x_model(x)
        free = x.reshape(len(x), -1) if self.bounds is None else self.bounds.free(x)
        return torch.from_numpy((free - self.x.mean) / self.axes)

    def x_of_axes(self, values: Tensor) -> Tensor:
        """Examples (..., *x_shape) from `x_axes` (..., V)."""
        if self.axes is None:
            return self.x_own(values)
        free = torch.from_numpy(self.x.mean) + torch.from_numpy(self.axes) * values.double()
        return (free if self.bounds is None else self.bounds.own(free)).reshape(*free.shape[:-1], *self.x.shape)

    @property
    def has_density(self) -> bool:
        """Whether x varies in as many directions as it has values."""
        return self.x.size == len(self.x.mean)

    @property
    def log_turn(self) -> float:
        """log |d a / d m| of `x_axes` values a in those of `x_model`, m."""
        if self.axes is None:
            return 0.0
        frame = self.x
        return float((np.log(self.scaling.scale[: frame.size]) + np.log(frame.scale / self.axes)).sum())

    def log_jacobian(self, x: Array) -> npt.NDArray[np.float64]:
        """log |d m / d x| (n,) of the model's values m, at examples x (n, *x_shape) in their own units.

        Raises InputError where all examples lie in fewer directions than x has values: then x has no density.
        """
        frame = self.x
        if not self.has_density:
            raise InputError(
                f"x varies in {frame.size} directions, but has {len(frame.mean)} values, so it has no density; give x "
                "without what follows from the rest."
            )
        constant = -np.log(frame.scale).sum() - np.log(self.scaling.scale[: frame.size]).sum()
        found: npt.NDArray[np.float64] = np.full(len(x), constant)
        return found if self.bounds is None else found + self.bounds.log_slope(x)

    def y_relative(self, model_y: Tensor) -> Tensor:
        """Measurements (..., V) in units of `y_scale` from the model's values (..., C)."""
        r = self.x.size
        scale, offset = (torch.from_numpy(a[r:]).to(model_y) for a in (self.scaling.scale, self.scaling.offset))
        return self.y.own(model_y * scale + offset)[..., : math.prod(self.y_shape)]

    def y_read(self, y: Array, values: bool) -> Tensor:
        """Measurements as a flow reads them: their `values` (n, V) less the mean, in units of `y_scale`, or else those
        of the model (n, C); float64.
        """
        if not values:
            return self.y_model(y)
        relative = see(y, self.y_scale, spectrum=False)
        return torch.from_numpy(relative - self.y.mean[: relative.shape[1]])

    def y_model(self, y: Array) -> Tensor:
        """The model's values (n, C), float64, of measurements in their own units."""
        r = self.x.size
        c = self.y.coordinates(see(y, self.y_scale, self.spectrum))
        return torch.from_numpy((c - self.scaling.offset[r:]) / self.scaling.scale[r:])


def see(y: Array, scale: npt.NDArray[np.float64], spectrum: bool) -> Array:
    """The network's input for measurements (n, *y_shape): their values and, for curves, their spectra (n, V).

    In units of `scale` (outputs,).
    """
    relative = (y.reshape(len(y), len(scale), -1) / scale[:, None]).reshape(y.shape)
    flat = relative.reshape(len(y), -1)
    if not spectrum:
        return flat
    points = y.shape[-1]
    waves = np.abs(np.fft.rfft(relative * np.hanning(points + 2)[1:-1], n=2 * points, axis=-1))
    return np.concatenate([flat, waves.reshape(len(y), -1)], 1)


def as_table(problem: Problem, spectrum: bool = False) -> tuple[Dataset, Coordinates]:
    """A problem's pairs as rows [x, y] in their frames, and the inverse."""
    train_x, train_y = problem.rows("train")
    bounds = problem.bounds
    if bounds is None:
        of_x, all_x, scale = train_x, problem.x, problem.x_unit
    else:
        of_x, all_x, scale = bounds.free(train_x), bounds.free(problem.x), np.where(bounds.bounded, 1.0, problem.x_unit)
    of_y, all_y = (see(y, problem.y_scale, spectrum) for y in (train_y, problem.y))
    x = dataclasses.replace(Frame.of(of_x, scale), shape=problem.x_shape)
    noise = _noise_seen(problem, of_y.shape[1])
    # Only in units of the noise are the directions that hold nothing else principal ones.
    unit = noise if problem.outputs > 1 and noise.all() else 1.0
    if problem.is_noisy and CURVE <= of_y.shape[1] <= LARGEST:  # most directions may hold nothing but noise
        known = float(np.max(noise / unit) ** 2) if noise.all() else np.inf
        y = Frame.of(of_y, unit).telling(of_y, x.coordinates(of_x), known)
    else:
        y = Frame.of(of_y, unit, noise)
    if not x.size or not y.size:
        raise InputError(_why_nothing_varies(problem, "y" if x.size else "x"))
    rows = np.concatenate([x.coordinates(all_x), y.coordinates(all_y)], 1).astype(np.float32)
    data = Dataset(problem.name, rows, problem.splits, condition=y.size, source=problem.source)
    return data, Coordinates(x, y, Scaling.standardised(data), problem.y_shape, spectrum, problem.y_scale, bounds)


def _why_nothing_varies(problem: Problem, letter: str) -> str:
    """Why there is nothing to learn of the examples' x, or of their y."""
    values, names = (problem.x, problem.inputs) if letter == "x" else (problem.y, problem.outputs_named)
    told = f"{first_few(names)} {'is' if len(names) == 1 else 'are'}"
    if letter == "y" and problem.noise.any() and (np.ptp(values, 0) > 0).any():
        noise = first_few([significant(own) for own in problem.noise])
        return f"y must vary by more than its noise, but {told} nothing but noise of {noise}; state less of it."
    return f"{letter} must vary over the examples, but {told} constant; there is nothing to learn."


def _noise_seen(problem: Problem, columns: int) -> Array:
    """The noise of each column of `see`; of a spectrum over several outputs their root mean square."""
    relative = problem.noise / problem.y_scale
    values = each_value(relative, problem.y_shape)
    waves = columns - len(values)
    of_wave = relative if len(problem.y_shape) > 1 else np.sqrt(np.mean(relative**2, keepdims=True))
    return np.concatenate([values, np.repeat(of_wave, waves // len(of_wave))])


def cost(problem: Problem, space: Coordinates) -> CostOf:
    """loss = mean(wx x_loss + wy y_loss): the distortion, and half the summed squares of f(E[x|z, y]) - y.

    Both are per example and stored unweighted; if wy is 0, the forward function is not called. y is in units of the
    problem's y_scale, and f is computed in double precision, in which every unit has room.
    """

    def of_outputs(model: Model, parameters: Parameters, outputs: Tensor, rows: Tensor, weights: Weights) -> Cost:
        of_x = reconstruction(model, parameters, outputs, rows, weights)
        if weights.wy is None:
            return of_x
        y = model.split(rows)[1]
        assert y is not None
        found = space.x_own(model.likelihood.mean(outputs, parameters))
        residual = problem.relative(found.flatten(0, 1)) - space.y_relative(y).flatten(0, 1)
        missed = 0.5 * residual.square().sum(1).to(of_x.loss).view(rows.shape[:2])
        return dataclasses.replace(of_x, loss=of_x.loss + weights.wy[:, 0] * missed.mean(1), misfit=missed)

    return of_outputs


def audit(stack: VAEStack, objective: Objective) -> dict[str, float]:
    """The norm of each term's gradient on one batch, before training; raises InputError for a term without one.

    A loss whose forward function leaves torch (`.detach()`, `.numpy()`) would train as if it had no misfit term.
    """
    feed, K = stack.feed, len(stack)
    rows = feed.sample_rows(256).expand(K, -1, -1)
    generator = torch.Generator().manual_seed(0)
    normal = torch.zeros(K, rows.shape[1], stack.model.latent)
    for k, spec in enumerate(stack.specs):
        normal[k, :, : spec.latent_dim] = torch.randn(rows.shape[1], spec.latent_dim, generator=generator)
    one = torch.ones(K, 1)
    wy = torch.tensor([[s.wy] for s in stack.specs])
    weights = Weights(one, None, 1, one, wy if stack.specs[0].wy > 0 else None)
    try:
        terms = objective(stack.model, stack.leaves, rows, Noise(normal), weights)
    except RuntimeError as error:
        if "requires grad" not in str(error):
            raise
        raise InputError(_dead("misfit")) from None
    norms: dict[str, float] = {}
    leaves = list(stack.leaves.values())
    for name, term in terms.stored.items():
        total = 0.0
        if term.requires_grad:
            gradients = torch.autograd.grad(term.sum(), leaves, retain_graph=True, allow_unused=True)
            total = sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5
        if not total > 0:
            raise InputError(_dead(name))
        norms[name] = total
    return norms


def _dead(name: str) -> str:
    return (
        f"the term {name} has no gradient, so training cannot lower it: the forward function leaves torch or is flat; "
        "fix it, or leave wy at 0, which ranks samples by f only."
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Sampler:
    """Samples from a trained conditional VAE for given measurements."""

    model: Model
    spec: Spec
    row: Tensor  # (1, P)
    space: Coordinates

    def latents(self, curves: int, n: int, seed: int) -> Tensor:
        """z ~ N(0, I) of the member's own dimensions (curves, n, latent_dim)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(curves, n, self.spec.latent_dim, generator=generator).to(self.row)

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """E[x|z, y] in the model's values (curves, n, D) for z (curves, n, latent_dim) and model y (curves, C).

        With a generator a draw of x ~ p(x|z, y).
        """
        m, n, L = z.shape
        found = self.row.new_empty(m, n, self.model.features)
        per = max(1, 65_536 // n)
        parameters = self.model.layout.views(self.row)
        with fast_products(self.model.largest_layer):
            for start in range(0, m, per):
                piece = z[start : start + per].reshape(1, -1, L)
                wide = torch.nn.functional.pad(piece, (0, self.model.latent - L))
                given = y[start : start + per].to(self.row).repeat_interleave(n, 0)[None]
                outputs = self.model.decode(parameters, wide, y=given)
                x = self.model.likelihood.mean(outputs, parameters)
                if generator is not None:
                    x = self.model.likelihood.sample(outputs, parameters, generator)
                found[start : start + per] = x[0].view(-1, n, self.model.features)
        return found

    def draw(self, y: Array, n: int, seed: int = 0, noise: bool = False) -> Tensor:
        """x in the model's values (curves, n, D) for y (curves, *y_shape): z from the prior, then E[x|z, y].

        With `noise` a draw of x ~ p(x|z, y) instead: a posterior sample, while E[x|z, y] is a candidate.
        """
        generator = torch.Generator().manual_seed(derive_seed(seed, 1)) if noise else None
        return self.decode(self.latents(len(y), n, seed), self.space.y_model(y), generator)

    def walk(self, problem: Problem, y: Array, n: int, steps: int, seed: int = 0) -> tuple[Tensor, int]:
        """Like `draw`, after `steps` of a random walk in the latent space; also the number of forward evaluations.

        Preconditioned Crank-Nicolson (Cotter et al. 2013): z' = cos(a) z + sin(a) e keeps the prior, and is accepted
        with probability exp(-(r'^2 - r^2) / 2), r the root mean squared misfit in units of the gates. This moves a
        candidate between two solutions to one of them, without derivatives.
        """
        given = self.space.y_model(y)
        generator = torch.Generator().manual_seed(derive_seed(seed, 2))
        z = self.latents(len(y), n, seed)
        x = self.decode(z, given)
        if not steps:
            return x, 0
        tolerance = torch.from_numpy(each_value(problem.gate / problem.y_scale, problem.y_shape))
        target = torch.from_numpy(problem.relative_y(y))[:, None]

        def missed(x: Tensor) -> Tensor:
            found = problem.relative(self.space.x_own(x.double()).flatten(0, 1)).view(*x.shape[:2], -1)
            missed = ((found - target) / tolerance).square().mean(-1)
            priced: Tensor = missed.nan_to_num(nan=math.inf)  # where f fails, any other x is better
            return priced

        with torch.no_grad():
            price = missed(x)
            for step in range(steps):
                angle = (0.2, 0.6, 1.4)[step % 3]  # small, medium, almost independent
                other = math.cos(angle) * z + math.sin(angle) * torch.randn(z.shape, generator=generator).to(z)
                proposed = self.decode(other, given)
                new = missed(proposed)
                chance = torch.exp((price - new) / 2)
                taken = torch.rand(price.shape, generator=generator, dtype=price.dtype) < chance
                z, x = torch.where(taken[..., None], other, z), torch.where(taken[..., None], proposed, x)
                price = torch.where(taken, new, price)
        return x, (steps + 1) * len(y) * n

    def encode(self, x: Array, y: Array) -> Posterior:
        """q(z|x, y) of pairs, (1, n, L)."""
        rows = torch.cat([self.space.x_model(x), self.space.y_model(y)], 1).to(self.row)
        return self.model.encode(self.model.layout.views(self.row), rows[None])
