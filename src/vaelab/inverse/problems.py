"""An inverse problem: pairs (x, y), the forward function y = f(x) + noise, and all solutions if known."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.data.splits import split_rows
from vaelab.errors import InputError, shown, unknown_name
from vaelab.inverse.doubles import checked
from vaelab.inverse.forward import UNKNOWN, ForwardFunction, Function, contradiction
from vaelab.inverse.gaps import filled
from vaelab.inverse.lines import FAMILIES, Family, draw_ends, lines
from vaelab.inverse.priors import Stored, named
from vaelab.inverse.units import (
    GATE,
    RANGE,
    WIDEST,
    Bounds,
    check_gate,
    check_width,
    default_gate,
    each_value,
    per_output,
    spread,
)
from vaelab.settings import checks
from vaelab.settings.checks import whole
from vaelab.wording import counted

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
TRAIN, VALIDATION, SCORE = 100_000, 3_000, 50  # examples of a built-in problem
FEW = 20_000  # examples of a custom problem, up to which a tenth of them, and not a twentieth, is for validation
FEWEST = 10  # examples of a custom problem
NOISIEST = WIDEST / 20  # whose draws lie within a range of WIDEST
EXACT = 1e-4  # of the spread of y: a larger misfit of the examples is noise


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Pairs x (N, *x_shape) and y (N, *y_shape) in their own units; `forward` maps a batch of x to a batch of y.

    `noise` is the standard deviation of y about f(x), 0 if y is exact, and `gate` the largest root mean squared error
    of f(x) for a solution, both per output in y's own units. `x_scale`, per input, and `y_scale`, per output, are the
    units in which everything is compared and added up: of x about its range, of y its standard deviation. Built-in
    problems, whose x and y have a range of 1, have one unit for all. `bounds`: where x must lie. `family` lists all
    solutions (built-in problems). The split `test` contains the scored curves. `failed` counts the examples that were
    left out because their y is not finite.
    """

    name: str
    x: Array
    y: Array
    forward: ForwardFunction
    splits: Mapping[str, npt.NDArray[np.int64]]
    noise: Floats = dataclasses.field(default_factory=lambda: np.zeros(1))  # (outputs,)
    gate: Floats = dataclasses.field(default_factory=lambda: np.full(1, GATE))  # (outputs,)
    x_scale: Floats = dataclasses.field(default_factory=lambda: np.ones(1))  # (inputs,), or one for all
    y_scale: Floats = dataclasses.field(default_factory=lambda: np.ones(1))  # (outputs,)
    bounds: Bounds | None = None
    family: Family | None = None
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    failed: int = 0
    gaps: int = 0  # examples whose y was not complete, and was filled
    prior: tuple[Stored, ...] = ()  # of each input, if x was drawn from it
    x_names: tuple[str, ...] = ()  # of the inputs, with their units: "width [mm]"; by default x0, x1, ...
    y_names: tuple[str, ...] = ()  # of the outputs; by default y, or y0, y1, ...

    @property
    def x_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def y_shape(self) -> tuple[int, ...]:
        return tuple(self.y.shape[1:])

    @property
    def outputs(self) -> int:
        """The number of parts of y with their own units, gates and misfits."""
        return len(self.y_scale)

    @property
    def x_unit(self) -> Floats:
        """The unit of each value of x (V,)."""
        return each_value(self.x_scale, self.x_shape)

    def relative(self, x: torch.Tensor) -> torch.Tensor:
        """f(x) in units of `y_scale` (n, V), for x (n, *x_shape) in its own units."""
        y: torch.Tensor = self.forward(x).reshape(len(x), -1).double()
        return y / torch.from_numpy(each_value(self.y_scale, self.y_shape))

    def relative_y(self, y: Array) -> Floats:
        """Measurements (n, *y_shape) in units of `y_scale` (n, V)."""
        relative: Floats = y.reshape(len(y), -1) / each_value(self.y_scale, self.y_shape)
        return relative

    def rows(self, split: str) -> tuple[Array, Array]:
        """x and y of one split."""
        return self.x[self.splits[split]], self.y[self.splits[split]]

    @property
    def prior_told(self) -> str:
        """The distribution of x that answers assume, in words."""
        if not self.prior:
            return "the distribution of x over the examples"
        each = zip(self.inputs, self.prior, strict=True)
        return ", ".join(f"{name} {named(entry)}" for name, entry in each)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return self.x_names or tuple(f"x{k}" for k in range(self.x_shape[0]))

    @property
    def outputs_named(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return self.y_names or (("y",) if self.outputs == 1 else tuple(f"y{k}" for k in range(self.outputs)))

    def curves(self, y: Any) -> Array:
        """Measurements to invert, checked: (n, *y_shape); the first axis is optional for a single one. NaN were not
        measured.
        """
        measured = checked("y", y, finite=False)
        if measured.shape == self.y_shape:
            measured = measured[None]
        if measured.shape[1:] != self.y_shape or not len(measured):
            raise InputError(
                f"y must have the shape (n, {', '.join(map(str, self.y_shape))}) of this problem's measurements, "
                f"but got {measured.shape}."
            )
        if np.isinf(measured).any():
            raise InputError("y must be finite, or NaN where it was not measured, but holds infinite values.")
        if np.isnan(measured.reshape(len(measured), -1)).all(1).any():
            raise InputError("a measurement holds no value but NaN; leave it out.")
        return measured

    @functools.cached_property
    def is_noisy(self) -> bool:
        """Whether y differs from f(x): then p(x | y) is a density, not a set of solutions."""
        if (self.noise > 0).any() or not self.has_forward:
            return True
        missed = self.relative_y(apply(self.forward, self.x[:100])) - self.relative_y(self.y[:100])
        return bool((np.abs(missed[np.isfinite(missed)]) > EXACT).any())

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the examples and their splits."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, *(self.splits[name] for name in sorted(self.splits))):
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @property
    def has_forward(self) -> bool:
        """Whether f is known: of pairs alone there are draws, but no solutions."""
        return self.forward is not UNKNOWN

    @property
    def is_differentiable(self) -> bool:
        """Whether automatic differentiation gives the derivative of f."""
        return self.forward.derivative != "differences"


def create(
    name: str,
    x: Any,
    y: Any | None,
    forward: Function | Sequence[str] | None,
    *,
    noise: float | Sequence[float] = 0.0,
    gate: float | Sequence[float] | None = None,
    bounds: Sequence[tuple[float | None, float | None] | None] | str | None = "auto",
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
    prior: Sequence[Stored] = (),
    x_names: Sequence[str] = (),
    y_names: Sequence[str] = (),
) -> Problem:
    """A custom problem from arrays, checked. Without y, y is f(x) plus noise.

    x (N, *x_shape), where axis 1 has the inputs x0, x1, ... of expressions; y (N, *y_shape), where axis 1 has the
    outputs; forward: a function of a batch of x in torch or NumPy, or expressions as text, one per output, or None.
    Examples whose y is not finite, such as failed simulations, are left out and counted; gaps in the y of pairs, NaN,
    are filled as by `gaps.filled`, for training alone. noise, gate: in y's own units, one number or one per output; by
    default a solution's f(x) is within the noise of every output, or if y is exact within 0.1 standard deviations.
    bounds: (low, high) of each input, one of them or both None, outside of which is no draw and no solution;
    by default the ranges of those inputs whose examples end abruptly, as under a uniform prior; "none": no bounds.
    prior: from which each input of x was drawn, as `priors.stored`.
    Every input and output may have its own unit; a change of units changes no answer. x_names, y_names: of the
    inputs and outputs.

    >>> x = np.random.default_rng(0).uniform(size=(100, 2))
    >>> create("sum", x, None, ["x0 + x1"]).y_shape
    ()
    """
    whole("seed", seed, 0, 2**63 - 1)
    source = {} if source is None else checks.table("`source`", source)
    x = checked("x", x)
    if x.ndim < 2 or len(x) < FEWEST or 0 in x.shape:
        raise InputError(
            f"x must be an array (n, inputs, ...) of at least {FEWEST} examples, but has the shape {x.shape}."
        )
    _check_widths("x{}", x, x.shape[1])
    if not isinstance(prior, list | tuple):
        raise InputError(f"`prior` is a list of one stored prior per input, but got {shown(prior)}.")
    function, found = (UNKNOWN, None) if forward is None else ForwardFunction.checked(forward, x)
    measured = None if y is None else checked("y", y, finite=False)
    if measured is not None and 0 in measured.shape[1:]:
        raise InputError(
            f"y must be an array (n, ...) of at least one number each, but has the shape {measured.shape}."
        )
    if measured is None:
        clean = np.concatenate([apply(function, piece) for piece in np.array_split(x, -(-len(x) // 1000))])
        outputs = outputs_of(x.shape[1:], clean.shape[1:])
        level = _check_noise(noise, outputs)
        measured = _noisy(clean, level, seed)
    else:
        outputs = outputs_of(x.shape[1:], measured.shape[1:])
        level = _check_noise(noise, outputs)
    if not measured.ndim or len(measured) != len(x):
        raise InputError(
            f"x and y must be pairs, but there are {len(x)} of x and {len(measured) if measured.ndim else 'one'} of y."
        )
    if found is not None and (found.shape[1:], measured.shape[1:]) == ((), (1,)):
        measured = measured[:, 0]  # a column of one output
    _check_widths("output {} of y", measured, outputs)
    if found is not None and found.shape[1:] != measured.shape[1:]:
        raise InputError(
            f"f(x) must have the shape of y, {measured.shape[1:]}, but the forward function gives {found.shape[1:]}; "
            "reshape one of them."
        )
    complete: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(measured.reshape(len(x), -1)), axis=1)
    if y is not None and found is not None:
        against = contradiction(found[complete[: len(found)]], measured[: len(found)][complete[: len(found)]])
        if against is not None:
            raise InputError(against)
    finite = complete
    if y is not None:
        _check_outputs(measured, outputs)
        measured, finite = filled(x, measured, function, level, seed)
    if finite.sum() < FEWEST:
        raise InputError(
            f"at least {FEWEST} examples need a finite y, but {len(x) - finite.sum()} of {len(x)} are NaN or infinite."
        )
    x, measured, complete, failed = x[finite], measured[finite], complete[finite], int((~finite).sum())
    splits = _splits(complete, seed)
    known = splits["train"]
    x_scale, y_scale = RANGE * spread(x[known], x.shape[1]), spread(measured[known], outputs)
    own = default_gate(y_scale, level, measured[0].size // outputs) if gate is None else check_gate(gate, outputs)
    return Problem(
        name, x, measured, function, splits, level, own, x_scale, y_scale,
        Bounds.create(bounds, x, x_scale / RANGE), None, dict(source or {}), failed, int((~complete).sum()),
        tuple(prior), _names("x_names", x_names, x.shape[1]), _names("y_names", y_names, outputs),
    )  # fmt: skip


def _check_widths(what: str, values: Array, parts: int) -> None:
    """Reject inputs or outputs (n, ...) whose finite values are too far apart."""
    for k, own in enumerate(np.moveaxis(values.reshape(len(values), parts, -1), 1, 0)):
        known = own[np.isfinite(own)]
        if known.size:
            check_width(what.format(k), known.min(), known.max())


def _check_outputs(y: Array, outputs: int) -> None:
    """Reject an output that was never measured."""
    never = np.isnan(y.reshape(len(y), outputs, -1)).all((0, 2))
    if never.any() and not never.all():
        raise InputError(f"output {int(never.argmax())} of y has no value in any example; leave it out.")


def _splits(complete: npt.NDArray[np.bool_], seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Splits of examples (n,); those whose gaps were filled are all for training."""
    n, whole = len(complete), np.flatnonzero(complete)
    held = (0.1 if n <= FEW else 0.05) * n / len(whole)
    splits = split_rows(len(whole), None, seed, validation=min(0.3, held), test=min(0.2, SCORE / len(whole)))
    found = {name: whole[rows] for name, rows in splits.items()}
    return found | {"train": np.sort(np.concatenate([found["train"], np.flatnonzero(~complete)]))}


def _names(what: str, names: Sequence[str], count: int) -> tuple[str, ...]:
    """Names of inputs or outputs, checked; none: they are numbered."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(f"`{what}` is a list of names, but got {shown(names)}.")
    if names and (len(names) != count or len(set(names)) < count):
        raise InputError(f"`{what}` needs {counted(count, 'different name')}, but got {shown(list(names))}.")
    return tuple(names)


def outputs_of(x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
    """The number of outputs: 1 for a number, or a curve over the points of x; else the length of y's first axis."""
    return 1 if not y_shape or (len(x_shape) > 1 and y_shape == x_shape[1:]) else y_shape[0]


def built_in(
    name: str,
    seed: int = 0,
    train: int | None = None,
    validation: int = VALIDATION,
    score: int = SCORE,
    noise: float = 0.0,
) -> Problem:
    """`product`, `two-birds-easy` or `two-birds`: two lines of 50 points, x0 falling, x1 rising, in [0, 1].

    `noise`: the standard deviation of every measured value of y.

    >>> problem = built_in("product", train=100, validation=10, score=5)
    >>> problem.x.shape, problem.y.shape
    ((115, 2, 50), (115, 50))
    """
    if name not in FAMILIES:
        raise unknown_name("problem", name, FAMILIES)
    family = FAMILIES[name]
    level = _check_noise(noise, 1)
    train = TRAIN if train is None else train
    n = train + validation + score
    x = lines(draw_ends(n, np.random.default_rng([seed, 0x11E5])))
    forward, _ = ForwardFunction.checked(family.texts, x)
    y = _noisy(apply(forward, x), level, seed)
    ends = np.cumsum([0, train, validation, score])
    splits = {s: np.arange(ends[i], ends[i + 1]) for i, s in enumerate(("train", "validation", "test"))}
    source = {"name": name, "seed": seed, "noise": noise}
    return Problem(name, x, y, forward, splits, level, np.maximum(GATE, 2 * level), family=family, source=source)


def _check_noise(noise: Any, outputs: int) -> Floats:
    level = per_output("noise", noise, outputs)
    if not ((level >= 0) & np.isfinite(level)).all():
        raise InputError(f"`noise` is a standard deviation and must be at least 0, but got {shown(noise)}.")
    if (level > NOISIEST).any():
        raise InputError(f"`noise` must be at most {NOISIEST:g}, but got {shown(noise)}; use another unit of y.")
    return level


def _noisy(y: Array, noise: Floats, seed: int) -> Array:
    """y with Gaussian noise of standard deviation `noise` (outputs,) on every value."""
    if not noise.any():
        return y
    level = each_value(noise, y.shape[1:]).reshape(y.shape[1:])
    return y + level * np.random.default_rng([seed, 0xF0]).standard_normal(y.shape)


def apply(forward: ForwardFunction, x: Array) -> Array:
    """f of a batch of x (n, *x_shape), in double precision."""
    return forward.of_array(x)
