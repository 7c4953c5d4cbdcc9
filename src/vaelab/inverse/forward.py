"""Forward functions that users write, checked once: how x is passed to them, and how their derivative is taken."""

from __future__ import annotations

import copy
import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.errors import InputError, shown
from vaelab.inverse.doubles import doubles
from vaelab.inverse.expressions import Forward

Array = npt.NDArray[Any]
Function = Callable[[Any], Any]
Derivative = Literal["forward", "reverse", "differences"]
SHOWN, PROBED = 100, 10  # examples on which a function is checked, and on which its derivative is
SAME, NEAR = 1e-4, 1e-6  # of the range and of the size of y, below which two values are equal
MISTAKES = (ImportError, NameError, TypeError, AttributeError, SyntaxError, NotImplementedError, SystemExit)  # in code
SETTLED, WRONG = 0.02, 0.1  # relative errors: of finite differences that count, and of a derivative judged by them

# What a function can take. Each makes a copy, so a function may change its x.
TAKES: Mapping[str, Callable[[Tensor], Any]] = {
    "a float64 tensor": lambda x: x.to("cpu", torch.float64, copy=True),
    "a float32 tensor": lambda x: x.to("cpu", torch.float32, copy=True),
    "a NumPy array": lambda x: x.detach().cpu().double().numpy().copy(),
}


@dataclasses.dataclass(frozen=True, eq=False)
class ForwardFunction:
    """y = f(x) for a batch: x (n, *x_shape) gives y (n, ...), in the type of x and on its device.

    `derivative` is how d f / d x is taken: in forward mode, in reverse mode, or by finite differences where automatic
    differentiation fails, gives zero, or contradicts the differences. `precision` is the rounding error of f.
    `texts` are the expressions, if f was given as such.

    >>> f, y = ForwardFunction.checked(lambda x: torch.sin(x).sum(1), np.linspace(0, 1, 20).reshape(10, 2))
    >>> f.takes, f.derivative, y.shape
    ('a float64 tensor', 'forward', (10,))
    """

    function: Function
    takes: str | None  # a key of TAKES; None for expressions, which take any tensor
    derivative: Derivative
    precision: float = 2.0**-52
    texts: tuple[str, ...] | None = None

    @classmethod
    def checked(cls, forward: Function | Sequence[str], x: Array) -> tuple[ForwardFunction, Array]:
        """The function, and f(x) of the first examples of x (n, *x_shape), at most 100.

        Raises InputError for a function that fails, is random, mixes the examples of a batch, or returns something
        else than one array of real numbers per batch.
        """
        x = x[:SHOWN]
        if isinstance(forward, Forward) or not callable(forward):
            expressions = forward if isinstance(forward, Forward) else _expressions(forward, x.shape[1])
            known = cls(expressions, None, "forward", texts=expressions.texts)
            y = known.of_array(x)
            return known._with_derivative(x, y), y
        refused: list[InputError] = []
        for function, takes in _ways(forward):
            found = cls(function, takes, "differences")
            try:
                y = found.of_array(x)
            except InputError as error:
                refused.append(error)
                continue
            found = dataclasses.replace(found, precision=found._rounding(x[:PROBED]))
            found._check_batches(x, y)
            return found._with_derivative(x, y), y
        # A function made for another type of x fails early; the error of the type it is made for says more.
        raise min(refused, key=lambda error: isinstance(error.__cause__, AttributeError | TypeError))

    def __call__(self, x: Tensor) -> Tensor:
        if self.takes is None:
            values: Tensor = self.function(x)
            return values
        return _tensor(self._raw(x), x).to(x)

    def of_array(self, x: Array) -> Array:
        """f(x), in double precision and without a gradient."""
        with torch.no_grad():
            y: Array = self(torch.from_numpy(np.array(x, dtype=np.float64))).detach().double().numpy()
        return y

    def _raw(self, x: Tensor) -> Any:
        """What the function returns."""
        assert self.takes is not None
        passed = TAKES[self.takes](x)
        try:
            with np.errstate(all="ignore"):  # where f has no value, NaN says so
                return self.function(passed)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split())
            mistaken = isinstance(error, MISTAKES)
            remedy = (
                "call it with such an x to see where" if mistaken else "where it cannot compute y it must return NaN"
            )
            raise InputError(
                f"the forward function failed on {self.takes} of shape {tuple(x.shape)}: {type(error).__name__}: "
                f"{reason[:160]}; {remedy}."
            ) from error

    def _check_batches(self, x: Array, y: Array) -> None:
        """f is a function of each example alone, and the same at every call."""
        size = SAME * _range(y) + max(NEAR, 10 * self.precision) * np.abs(y)
        if not _equal(self.of_array(x), y, size):
            raise InputError(
                "the forward function is random: it gives two values of y for one x; call eval() on a network with "
                "dropout, or give the noise as `noise`."
            )
        if not all(_equal(self.of_array(x[:n]), y[:n], size[:n]) for n in (PROBED, 1)):
            raise InputError(
                "the forward function mixes the examples of a batch: y of one x changes with the others; call eval() "
                "on a network with batch normalisation, and let nothing run over the first axis."
            )

    def _rounding(self, x: Array) -> float:
        """The relative rounding error of what f takes and returns."""
        with torch.no_grad():
            y = self._raw(torch.from_numpy(x.astype(np.float64)))
        taken = torch.float32 if self.takes == "a float32 tensor" else torch.float64
        return max(_epsilon(taken), _epsilon(y.dtype))

    def _with_derivative(self, x: Array, y: Array) -> ForwardFunction:
        """The function with the first mode of automatic differentiation that works, or else with differences."""
        finite = np.isfinite(y.reshape(len(y), -1)).all(1)
        if not finite.any():
            raise InputError("f(x) must be finite on the examples, but is NaN or infinite for all of the first 100.")
        rows, span = torch.from_numpy(x[finite][:PROBED].astype(np.float64)), torch.from_numpy(_range(x))
        rng = np.random.default_rng(0)
        direction = torch.from_numpy(rng.standard_normal(rows.shape)) * span
        # One number per example: the derivative along a direction, summed over the outputs with random weights.
        width = _range(y[finite])
        weights = torch.from_numpy(rng.standard_normal(y[: len(rows)].shape) / np.where(width > 0, width, 1))
        modes: tuple[tuple[Derivative, Callable[[], Tensor]], ...] = (
            ("forward", lambda: per_example(weights * along(self, rows, direction))),
            ("reverse", lambda: per_example(direction * pullback(self, rows, weights))),
        )
        differences = None if self.texts is not None else self._differences(rows, direction, weights)
        for derivative, mode in modes:
            slope = _attempted(mode)
            if slope is None or not slope.isfinite().all() or not slope.any():
                continue
            if differences is None or _agrees(slope, *differences):
                return dataclasses.replace(self, derivative=derivative)
        return dataclasses.replace(self, derivative="differences")

    def _differences(self, x: Tensor, direction: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same slopes by central differences, and an estimate of their error: of truncation and of rounding."""
        step = self.precision ** (1 / 3)
        with torch.no_grad():
            first, second = (
                per_example(weights * (self(x + h * direction) - self(x - h * direction))) / (2 * h)
                for h in (step, step / 2)
            )
            rounding = self.precision * per_example((weights * self(x)).abs()) / step
        return second, (first - second).abs() + rounding


def _unknown(x: Any) -> Any:
    raise InputError(
        "solutions need the forward function, but this model was trained without one; give it to ConditionalVAE as "
        "`forward`."
    )


UNKNOWN = ForwardFunction(_unknown, None, "differences")  # of pairs alone: there are draws, but no solutions


def per_example(values: Tensor) -> Tensor:
    """The sum over all axes but the first, (n,)."""
    return values.detach().reshape(len(values), -1).sum(1)


def along(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    """The derivative of function(x) along a direction, in forward mode."""
    _prepare_forward_mode()
    slope: Tensor = torch.func.jvp(function, (x,), (direction,))[1]
    return slope.detach()


@functools.cache
def _prepare_forward_mode() -> None:
    """Its first use makes PyTorch compile some rules with a function that PyTorch has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))


def pullback(function: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor) -> Tensor:
    """The gradient in x of sum(weights * function(x)), in reverse mode."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((weights * function(leaf)).sum(), leaf)
    return gradient


def rows_of_jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d function / d x (n, M, P) for rows x (n, P) and values (n, M), in reverse mode, one pass for each output."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        y = function(leaf)
        rows = [
            torch.autograd.grad(values.sum(), leaf, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for values in y.unbind(1)
        ]
    return torch.stack(rows, 1)


def contradiction(found: Array, y: Array) -> str | None:
    """Why measured y cannot be f(x) plus noise, from `found` = f(x) of the same examples; None if it can.

    If y = f(x) + noise, then a regression of y on f(x) has the slope 1, and f(x) predicts y no worse than the mean of
    y does. Both are tested for each output, at six standard errors.
    """
    n = len(found)
    f, y = found.reshape(n, -1), y[:n].reshape(n, -1)
    kept = np.isfinite(f).all(1)
    f, y = f[kept], y[kept]
    n = len(f)
    if n < PROBED:
        return None
    centred, own = f - f.mean(0), y - y.mean(0)
    worse = (y - f) ** 2 - own**2
    fails = worse.mean(0) > 6 * worse.std(0) / np.sqrt(n) + 1e-9 * own.var(0)
    power = (centred**2).sum(0)
    moves = power > 1e-12 * (f**2).sum(0)
    slope = np.divide((centred * own).sum(0), power, out=np.ones_like(power), where=moves)
    error = np.sqrt(((own - slope * centred) ** 2).sum(0) / np.where(moves, power, 1) / max(n - 2, 1))
    fails |= np.abs(slope - 1) > 0.2 + 6 * error
    if not fails.any():
        return None
    m = int(np.flatnonzero(fails)[0])
    trend = f", and y on f(x) has the slope {slope[m]:.4g} instead of 1" if moves[m] else ""
    return (
        f"y and the forward function contradict each other: in the first {n} examples output {m} of y is "
        f"{y[:, m].mean():.4g} +- {y[:, m].std():.4g}, but f(x) is {f[:, m].mean():.4g} +- {f[:, m].std():.4g}"
        f"{trend}; check formula and units."
    )


def _expressions(texts: Any, inputs: int) -> Forward:
    listed = [texts] if isinstance(texts, str) else texts
    if not isinstance(listed, list | tuple) or not all(isinstance(text, str) for text in listed):
        raise InputError(
            f"a forward function is a function of a batch of x, or expressions such as ['x0 * x1'], but got "
            f"{shown(texts)}."
        )
    return Forward(listed, inputs)


def _ways(forward: Function) -> Iterator[tuple[Function, str]]:
    """The function and what it is given: doubles first, since solutions are refined far below single precision."""
    double, single, array = TAKES
    if isinstance(forward, torch.nn.Module):
        wide = _attempted(lambda: copy.deepcopy(forward).to("cpu", torch.float64).requires_grad_(False))
        if wide is not None:
            yield wide, double
    yield forward, double
    yield forward, single
    yield forward, array


def _tensor(y: Any, x: Tensor) -> Tensor:
    """What a function returned for x (n, *x_shape), as a tensor (n, ...) of real numbers."""
    if y.is_complex() if isinstance(y, Tensor) else isinstance(y, np.ndarray) and y.dtype.kind == "c":
        raise InputError(
            f"a forward function returns real numbers, but this one gave the type {y.dtype}; return its abs(), or "
            "torch.view_as_real of it."
        )
    found = y if isinstance(y, Tensor) else torch.from_numpy(_numbers(y))
    if found.shape[:1] != x.shape[:1]:
        raise InputError(
            f"the forward function must keep the first axis of x, but maps {tuple(x.shape)} to {tuple(found.shape)}."
        )
    if 0 in found.shape[1:]:
        raise InputError(
            f"a forward function returns at least one number for each x, but this one maps {tuple(x.shape)} to "
            f"{tuple(found.shape)}; return an output."
        )
    return found if found.layout == torch.strided else found.to_dense()


def _numbers(y: Any) -> Array:
    """The array that a function returned in place of a tensor."""
    what, remedy = f"a {type(y).__name__}", "for several outputs use torch.stack(outputs, 1)"
    if isinstance(y, np.ndarray):
        try:
            return doubles(y)
        except (TypeError, OverflowError):
            what, remedy = f"an array of type {y.dtype}", "convert it to numbers"
    raise InputError(
        f"a forward function returns a torch tensor or a NumPy array of numbers, but this one gave {what}; {remedy}."
    )


def _epsilon(kind: torch.dtype | np.dtype[Any]) -> float:
    """The relative rounding error of a type; none of numbers that are exact."""
    if isinstance(kind, torch.dtype):
        return torch.finfo(kind).eps if kind.is_floating_point else 0.0
    return float(np.finfo(kind).eps) if kind.kind == "f" else 0.0


def _attempted(action: Callable[[], Any]) -> Any:
    """The result of an action that PyTorch may not support for this function, or None: whatever the reason is, the
    next way is tried, and the function itself was seen to work."""
    try:
        return action()
    except Exception:
        return None


def _range(values: Array) -> Array:
    """The range of finite values over the examples, for each value of an example."""
    finite = np.isfinite(values)
    high = np.where(finite, values, -np.inf).max(0)
    low = np.where(finite, values, np.inf).min(0)
    with np.errstate(over="ignore"):
        found: Array = np.where(high >= low, high - low, 0.0)
    return found


def _equal(a: Array, b: Array, size: Array) -> bool:
    with np.errstate(invalid="ignore"):  # differences of infinite values
        return a.shape == b.shape and bool(((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= size)).all())


def _agrees(slope: Tensor, differences: Tensor, error: Tensor) -> bool:
    """Whether slopes agree with differences where those are precise; if few are, nothing speaks against the slopes."""
    settled = error <= SETTLED * differences.abs()
    if settled.sum() * 2 < len(slope):
        return True
    wrong = (slope - differences)[settled].abs() / differences[settled].abs()
    return bool(wrong.median() < WRONG)
