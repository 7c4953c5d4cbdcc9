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
from scipy import stats
from torch import Tensor

from vaelab.errors import InputError, shown
from vaelab.wording import counted

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
RANGE = 12**0.5  # the range of a uniform distribution in standard deviations
ROUNDING = 1e-14  # of its magnitude: values that differ by less are equal
GATE = 0.1  # of a standard deviation of each output
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
    if given.ndim > 1 or (given.ndim == 1 and len(given) not in (1, outputs)):
        raise InputError(
            f"`{name}` is one number, or a list of {outputs}, one per output of this problem, but got {shown(value)}."
        )
    return np.broadcast_to(given, (outputs,)).astype(np.float64)


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
    """The largest misfit of each output: 0.1 of its standard deviation, or what noise explains.

    That is 2 standard deviations of the noise for one output, and for more of them so many that still 95 % of the
    true x pass all; `values` is the number of values of one output, over which the misfit is a root mean square.
    """
    width = 2.0
    if len(y_scale) > 1 and values == 1:
        within = (2 * stats.norm.cdf(2) - 1) ** (1 / len(y_scale))
        width = float(stats.norm.ppf((1 + within) / 2))
    return np.maximum(GATE * y_scale, width * noise)


@dataclasses.dataclass(frozen=True, eq=False)
class Bounds:
    """The range in which each value of x lies, and a free coordinate t without one: x = low + (high - low) Phi(t).

    Phi is the normal distribution function: an input with a uniform prior has a standard normal t. Values without
    bounds are their own coordinate.
    """

    low: Floats  # (V,), -inf without bounds
    high: Floats

    @classmethod
    def create(cls, bounds: Any, x: Array) -> Bounds | None:
        """From (low, high) or None for each input of the examples x (n, inputs, ...), which must be inside; "auto": as
        `seen`; "none" or None: no bounds.
        """
        if bounds is None or (isinstance(bounds, str) and bounds in ("auto", "none")):
            return cls.seen(x) if bounds == "auto" else None
        found = cls.of(bounds, x.shape[1:])
        for k, ends in enumerate(found.listed(x.shape[1])):
            least, most = x[:, k].min(), x[:, k].max()
            if ends is not None and (least < ends[0] or most > ends[1]):
                raise InputError(
                    f"x{k} must be within its bounds, {ends[0]:g} to {ends[1]:g}, but ranges from {least:g} to "
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
        return cls(np.where(abrupt, low, -np.inf), np.where(abrupt, high, np.inf))

    @classmethod
    def of(cls, bounds: Any, shape: tuple[int, ...]) -> Bounds:
        """From (low, high) or None for each input of examples with this shape."""
        if not isinstance(bounds, list | tuple | np.ndarray) or len(bounds) != shape[0]:
            raise InputError(
                f"`bounds` is auto, none, or a list of (low, high) or None for each of {counted(shape[0], 'input')} of "
                f"x, but got {shown(bounds)}."
            )
        low, high = np.array([_ends(k, entry) for k, entry in enumerate(bounds)]).T
        return cls(each_value(low, shape), each_value(high, shape))

    def listed(self, inputs: int) -> list[tuple[float, float] | None]:
        """(low, high) or None for each of the inputs."""
        each = len(self.low) // inputs
        pairs = zip(self.low[::each], self.high[::each], strict=True)
        return [(float(low), float(high)) if np.isfinite(low) else None for low, high in pairs]

    @property
    def bounded(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.low)

    def clip(self, x: Array) -> Array:
        """The nearest examples (..., *shape) inside."""
        flat = x.reshape(-1, len(self.low))
        found: Array = np.clip(flat, self.low, self.high).reshape(x.shape)
        return found

    def free(self, x: Array) -> Floats:
        """Free coordinates (n, V) of examples (n, ...)."""
        flat = torch.from_numpy(x.reshape(len(x), -1).astype(np.float64))
        low, size = self._ends(flat)
        inside = ((flat - low) / size).clamp(EDGE, 1 - EDGE)
        found: Floats = torch.where(torch.from_numpy(self.bounded), torch.special.ndtri(inside), flat).numpy()
        return found

    def log_slope(self, x: Array) -> Floats:
        """The sum of log dt / dx over the values of each of the examples (n, ...); -inf outside of the bounds."""
        flat = torch.from_numpy(x.reshape(len(x), -1).astype(np.float64))
        _, size = self._ends(flat)
        slopes = -torch.log(size) + 0.5 * torch.from_numpy(self.free(x)).square() + 0.5 * math.log(2 * math.pi)
        inside = torch.from_numpy((flat.numpy() >= self.low) & (flat.numpy() <= self.high))
        found = torch.where(torch.from_numpy(self.bounded), slopes, 0.0).masked_fill(~inside, -math.inf)
        return np.asarray(found.sum(1).numpy())

    def own(self, t: Tensor) -> Tensor:
        """Examples (..., V) from free coordinates; differentiable."""
        low, size = self._ends(t)
        inside = torch.minimum(low + size * torch.special.ndtr(t), low + size)
        return torch.where(torch.from_numpy(self.bounded), inside, t)

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Low and range; 0 and 1 for values without bounds."""
        low = np.where(self.bounded, self.low, 0.0)
        return torch.from_numpy(low).to(like), torch.from_numpy(np.where(self.bounded, self.high, 1.0) - low).to(like)


def _ends(k: int, entry: Any) -> tuple[float, float]:
    if entry is None:
        return -np.inf, np.inf
    try:
        low, high = (float(end) for end in entry)
    except (TypeError, ValueError):
        raise InputError(f"the bounds of x{k} are (low, high) or None, but got {shown(entry)}.") from None
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(
            f"`low < high` must hold for the bounds of x{k}, both finite, but got low={low:g}, high={high:g}; "
            "None leaves an input without bounds."
        )
    return low, high
