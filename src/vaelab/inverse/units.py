"""Units: the spread of each input and output, in which everything is computed, gates and bounds of the user.

The parts of an array (n, *shape) are the inputs or outputs along its first axis; all points of a curve share a unit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import special, stats
from torch import Tensor

from vaelab.errors import InputError, shown
from vaelab.wording import counted

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
RANGE = 12**0.5  # the range of a uniform distribution in standard deviations
WIDEST = 1e308  # range of an input or output, which in double precision is a number, as is all that is computed of it
ROUNDING = 1e-14  # of its magnitude: values that differ by less are equal
GATE = 0.1  # of a standard deviation of each output, where y is exact
END, ABRUPT, FEWEST = 0.05, 0.3, 6  # share of a range at its end; density there, of a uniform one's; examples there
EDGE = 1e-6  # of a range: nearer to its bounds, an input counts as this far from them


def spread(values: Array, parts: int) -> Floats:
    """The standard deviation (parts,) of each part of values (n, ...); of a constant one its magnitude, or 1 if 0.

    Divided by the largest magnitude before anything is squared, so that 1e-200 and 1e200 are ordinary numbers.

    >>> spread(np.array([[1e-200, 5.0], [3e-200, 5.0]]), 2)
    array([1.e-200, 5.e+000])
    """
    flat = values.reshape(len(values), parts, -1).astype(np.float64)
    magnitude = np.abs(flat).max((0, 2))
    magnitude = np.where(magnitude > 0, magnitude, 1.0)
    relative = flat / magnitude[:, None]
    deviation = (relative - relative.mean((0, 2))[:, None]).std((0, 2))
    return magnitude * np.where(deviation > ROUNDING, deviation, 1.0)


def each_value(of_parts: Array, shape: tuple[int, ...]) -> Array:
    """What is known of each part (parts,), for each of the V values of an example with this shape: (V,)."""
    return np.repeat(of_parts, int(np.prod(shape)) // len(of_parts))


def per_output(name: str, value: Any, outputs: int) -> Floats:
    """A number, or a list with one per output, as (outputs,); raises InputError."""
    try:
        given = np.asarray(value)
    except ValueError:  # a list of lists
        given = np.asarray(None)
    if given.dtype.kind not in "fiu":
        raise InputError(f"`{name}` is a number, or a list of one per output, but got {shown(value)}.")
    if given.ndim > 1 or (given.ndim == 1 and len(given) != outputs):
        raise InputError(
            f"`{name}` is one number, or a list of {outputs}, one per output of this problem, but got {shown(value)}."
        )
    return np.broadcast_to(given, (outputs,)).astype(np.float64)


def check_width(what: str, low: float, high: float) -> None:
    """Raises InputError for ends of a range too far apart for double precision; one of them may be infinite."""
    if np.isfinite([low, high]).all() and high / 2 - low / 2 > WIDEST / 2:
        raise InputError(
            f"{what} must lie within a range of {WIDEST:g}, but goes from {low:g} to {high:g}; use another unit."
        )


def parse_numbers(name: str, text: str | None) -> float | list[float] | None:
    """A number, or with commas a list of numbers, as typed; None if nothing was; raises InputError.

    >>> parse_numbers("gate", "0.1"), parse_numbers("gate", "100, 2e-3")
    (0.1, [100.0, 0.002])
    """
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"`{name}` is a number, or one per output with commas, but got {shown(text)}.") from None
    return values[0] if len(values) == 1 else values


def check_gate(gate: Any, outputs: int) -> Floats:
    """A gate in y's own units as (outputs,); raises InputError."""
    found = per_output("gate", gate, outputs)
    if not (np.isfinite(found).all() and (found > 0).all()):
        raise InputError(f"`gate` is the largest misfit of a solution and must be above 0, but got {shown(gate)}.")
    return found


def default_gate(y_scale: Floats, noise: Floats, values: int) -> Floats:
    """The largest misfit of each output: what its noise explains, or without noise 0.1 of its standard deviation.

    Noise explains 2 standard deviations of it for one output, and for more of them so many that still 95 % of the true
    x pass all; `values` is the number of values of one output, over which the misfit is a root mean square.
    """
    width = 2.0
    if len(y_scale) > 1 and values == 1:
        within = (2 * stats.norm.cdf(2) - 1) ** (1 / len(y_scale))
        width = float(stats.norm.ppf((1 + within) / 2))
    return np.where(noise > 0, width * noise, GATE * y_scale)


@dataclasses.dataclass(frozen=True, eq=False)
class Bounds:
    """The range in which each value of x lies, and a free coordinate t without one:

        x = low + (high - low) Phi(t)      with two ends: of a uniform x, t is standard normal
        x = low - scale log Phi(-t)        with a low end alone: of an x that decays exponentially, t is standard normal
        x = high + scale log Phi(t)        with a high end alone

    Phi is the normal distribution function. Values without bounds are their own coordinate.
    """

    low: Floats  # (V,), -inf without bounds
    high: Floats
    scale: Floats  # the standard deviation of each value

    @classmethod
    def create(cls, bounds: Any, x: Array, scale: Floats) -> Bounds | None:
        """From (low, high) or None for each input of the examples x (n, inputs, ...), which must be inside, and the
        standard deviation of each; "auto": as `seen`; "none" or None: no bounds. One end may be None.
        """
        if bounds is None or (isinstance(bounds, str) and bounds in ("auto", "none")):
            return cls.seen(x) if bounds == "auto" else None
        found = cls.of(bounds, x.shape[1:], scale)
        for k, ends in enumerate(found.listed(x.shape[1])):
            least, most = x[:, k].min(), x[:, k].max()
            low, high = (-np.inf, np.inf) if ends is None else _ends(k, ends)
            if least < low or most > high:
                raise InputError(
                    f"x{k} must be within its bounds, {low:g} to {high:g}, but ranges from {least:g} to "
                    f"{most:g}; widen them, or leave these examples out."
                )
        return found

    @classmethod
    def seen(cls, x: Array) -> Bounds | None:
        """The ranges of those inputs of x (n, inputs) whose examples end abruptly, as those of a uniform prior do.

        Both ends of the range must hold at least 0.3 of what a uniform distribution has there. None without any, and
        for curves.

        >>> rng = np.random.default_rng(0)
        >>> found = Bounds.seen(np.stack([rng.uniform(0, 1, 500), rng.normal(size=500)], 1))
        >>> found.bounded.tolist()
        [True, False]
        """
        if x.ndim != 2:
            return None
        low, high = x.min(0), x.max(0)
        size = high - low
        least = max(FEWEST, ABRUPT * END * len(x))
        abrupt = ((x - low <= END * size).sum(0) >= least) & ((high - x <= END * size).sum(0) >= least) & (size > 0)
        if not abrupt.any():
            return None
        return cls(np.where(abrupt, low, -np.inf), np.where(abrupt, high, np.inf), np.ones(len(low)))

    @classmethod
    def of(cls, bounds: Any, shape: tuple[int, ...], scale: Floats) -> Bounds:
        """From (low, high) or None for each input of examples with this shape, and the standard deviation of each."""
        if not isinstance(bounds, list | tuple | np.ndarray) or len(bounds) != shape[0]:
            raise InputError(
                f"`bounds` is auto, none, or a list of (low, high) or None for each of {counted(shape[0], 'input')} of "
                f"x, but got {shown(bounds)}."
            )
        low, high = np.array([_ends(k, entry) for k, entry in enumerate(bounds)]).T
        return cls(each_value(low, shape), each_value(high, shape), each_value(scale, shape))

    def listed(self, inputs: int) -> list[tuple[float | None, float | None] | None]:
        """(low, high) or None for each of the inputs; an end that there is not is None."""
        each = len(self.low) // inputs
        pairs = zip(self.low[::each].tolist(), self.high[::each].tolist(), strict=True)
        ends = [tuple(end if math.isfinite(end) else None for end in pair) for pair in pairs]
        return [None if low is None and high is None else (low, high) for low, high in ends]

    @property
    def bounded(self) -> npt.NDArray[np.bool_]:
        """Which values have a bound at all."""
        return np.isfinite(self.low) | np.isfinite(self.high)

    def clip(self, x: Array) -> Array:
        """The nearest examples (..., *shape) inside."""
        flat = x.reshape(-1, len(self.low))
        found: Array = np.clip(flat, self.low, self.high).reshape(x.shape)
        return found

    def free(self, x: Array) -> Floats:
        """Free coordinates (n, V) of examples (n, ...)."""
        found: Floats = x.reshape(len(x), -1).astype(np.float64)
        both, above, below = self._kinds
        low, high, scale = self.low, self.high, self.scale
        inside = (found[:, both] - low[both]) / (high - low)[both]
        found[:, both] = special.ndtri(np.clip(inside, EDGE, 1 - EDGE))
        found[:, above] = -special.ndtri_exp(-np.maximum((found[:, above] - low[above]) / scale[above], EDGE))
        found[:, below] = special.ndtri_exp(-np.maximum((high[below] - found[:, below]) / scale[below], EDGE))
        return found

    def log_slope(self, x: Array) -> Floats:
        """The sum of log dt / dx over the values of each of the examples (n, ...); -inf outside of the bounds."""
        flat = x.reshape(len(x), -1).astype(np.float64)
        both, above, below = self._kinds
        each = np.where(self.bounded, 0.5 * np.square(self.free(x)) + 0.5 * math.log(2 * math.pi), 0.0)
        each[:, both] -= np.log((self.high - self.low)[both])
        each[:, above] -= (flat - self.low)[:, above] / self.scale[above] + np.log(self.scale[above])
        each[:, below] -= (self.high - flat)[:, below] / self.scale[below] + np.log(self.scale[below])
        inside = ((flat >= self.low) & (flat <= self.high)).all(1)
        found: Floats = np.where(inside, each.sum(1), -np.inf)
        return found

    def own(self, t: Tensor) -> Tensor:
        """Examples (..., V) from free coordinates; differentiable."""
        both, above, below = self._kinds
        low, high = np.where(np.isfinite(self.low), self.low, 0.0), np.where(np.isfinite(self.high), self.high, 0.0)
        ends = (low, high, np.where(both, high - low, 1.0), self.scale)
        first, last, size, scale = (torch.from_numpy(own).to(t) for own in ends)
        inside = torch.minimum(first + size * torch.special.ndtr(t), first + size)
        found = torch.where(torch.from_numpy(both), inside, t)
        if above.any():
            found = torch.where(torch.from_numpy(above), first - scale * torch.special.log_ndtr(-t), found)
        if below.any():
            found = torch.where(torch.from_numpy(below), last + scale * torch.special.log_ndtr(t), found)
        return found

    @property
    def _kinds(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which values have two ends, a low one alone, and a high one alone."""
        low, high = np.isfinite(self.low), np.isfinite(self.high)
        return low & high, low & ~high, high & ~low


def _ends(k: int, entry: Any) -> tuple[float, float]:
    if entry is None:
        return -np.inf, np.inf
    try:
        low, high = (none if end is None else float(end) for end, none in zip(entry, (-np.inf, np.inf), strict=True))
    except (TypeError, ValueError):
        raise InputError(f"the bounds of x{k} are (low, high) or None, but got {shown(entry)}.") from None
    if not (low < high and low < np.inf and high > -np.inf):
        raise InputError(
            f"`low < high` must hold for the bounds of x{k}, but got low={low:g}, high={high:g}; None for one "
            "of them, or for both, leaves the input without this end."
        )
    check_width(f"x{k}", low, high)
    return low, high
