"""An inverse problem: pairs (x, y), the forward function y = f(x) + noise, and all solutions if known."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.data.npy import read_arrays, read_npy
from vaelab.data.splits import split_rows
from vaelab.errors import InputError, shown, unknown_name
from vaelab.inverse.forward import UNKNOWN, ForwardFunction, Function, contradiction
from vaelab.inverse.lines import FAMILIES, Family, draw_ends, lines
from vaelab.inverse.units import GATE, RANGE, Bounds, check_gate, default_gate, each_value, per_output, spread
from vaelab.settings import checks
from vaelab.settings.checks import whole
from vaelab.store import read_toml

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
TRAIN, VALIDATION, SCORE = 100_000, 3_000, 50  # examples of a built-in problem
FEW = 20_000  # examples of a custom problem, up to which a tenth of them, and not a twentieth, is for validation
FEWEST, MOST = 10, 10**8  # examples of a custom problem; values of x that are drawn
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

    def curves(self, y: Any) -> Array:
        """Measurements to invert, checked: (n, *y_shape); the first axis is optional for a single one."""
        y = _numbers("y", y, finite=False)
        if y.shape == self.y_shape:
            y = y[None]
        if y.shape[1:] != self.y_shape or not len(y):
            raise InputError(
                f"y must have the shape (n, {', '.join(map(str, self.y_shape))}) of this problem's measurements, "
                f"but got {y.shape}."
            )
        if not np.isfinite(y).all():
            raise InputError("y must be finite, but holds NaN or infinite values; leave those curves out.")
        checked: Array = y
        return checked

    @functools.cached_property
    def is_noisy(self) -> bool:
        """Whether y differs from f(x): then p(x | y) is a density, not a set of solutions."""
        if (self.noise > 0).any() or self.forward is UNKNOWN:
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
    bounds: Sequence[tuple[float, float] | None] | str | None = "auto",
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
) -> Problem:
    """A custom problem from arrays, checked. Without y, y is f(x) plus noise.

    x (N, *x_shape), where axis 1 has the inputs x0, x1, ... of expressions; y (N, *y_shape), where axis 1 has the
    outputs; forward: a function of a batch of x in torch or NumPy, or expressions as text, one per output, or None.
    Examples whose y is not finite, such as failed simulations, are left out and counted. noise, gate: in y's own units,
    one number or one per output; by default a solution's f(x) is within 0.1 standard deviations of y, for every output.
    bounds: (low, high) of each input, or None, outside of which there is neither draw nor solution; by default the
    ranges of those inputs whose examples end abruptly, as under a uniform prior; "none": no bounds. Every input and
    output may have its own unit; a change of units changes no answer.

    >>> x = np.random.default_rng(0).uniform(size=(100, 2))
    >>> create("sum", x, None, ["x0 + x1"]).y_shape
    ()
    """
    whole("seed", seed, 0, 2**63 - 1)
    source = {} if source is None else checks.table("`source`", source)
    x = _numbers("x", x)
    if x.ndim < 2 or len(x) < FEWEST or 0 in x.shape:
        raise InputError(
            f"x must be an array (n, inputs, ...) of at least {FEWEST} examples, but has the shape {x.shape}."
        )
    function, found = (UNKNOWN, None) if forward is None else ForwardFunction.checked(forward, x)
    measured = None if y is None else _numbers("y", y, finite=False)
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
    if found is not None and found.shape[1:] != measured.shape[1:]:
        raise InputError(
            f"f(x) must have the shape of y, {measured.shape[1:]}, but the forward function gives {found.shape[1:]}."
        )
    finite: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(measured.reshape(len(x), -1)), axis=1)
    if finite.sum() < FEWEST:
        raise InputError(
            f"at least {FEWEST} examples need a finite y, but {len(x) - finite.sum()} of {len(x)} are NaN or infinite."
        )
    if found is not None and y is not None:
        kept = finite[: len(found)]
        against = contradiction(found[kept], measured[: len(found)][kept])
        if against is not None:
            raise InputError(against)
    x, measured, failed = x[finite], measured[finite], int((~finite).sum())
    held = 0.1 if len(x) <= FEW else 0.05
    splits = split_rows(len(x), None, seed, validation=held, test=min(0.2, SCORE / len(x)))
    known = splits["train"]
    x_scale, y_scale = RANGE * spread(x[known], x.shape[1]), spread(measured[known], outputs)
    own = default_gate(y_scale, level, measured[0].size // outputs) if gate is None else check_gate(gate, outputs)
    return Problem(
        name, x, measured, function, splits, level, own, x_scale, y_scale,
        Bounds.create(bounds, x), None, dict(source or {}), failed,
    )  # fmt: skip


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
    return level


def _checked(name: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"`{name}` is a bound and must be one number, but got {shown(value)}.")
    if not np.isfinite(value):
        raise InputError(f"`{name}` is a bound and must be finite, but got {shown(value)}.")
    return float(value)


def _noisy(y: Array, noise: Floats, seed: int) -> Array:
    """y with Gaussian noise of standard deviation `noise` (outputs,) on every value."""
    if not noise.any():
        return y
    level = each_value(noise, y.shape[1:]).reshape(y.shape[1:])
    return y + level * np.random.default_rng([seed, 0xF0]).standard_normal(y.shape)


def apply(forward: ForwardFunction, x: Array) -> Array:
    """f of a batch of x (n, *x_shape), in double precision."""
    return forward.of_array(x)


def _numbers(name: str, values: Any, finite: bool = True) -> Array:
    """Values as an array of doubles. A tensor may be on a device, or require a gradient."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    try:
        values = np.asarray(values)
    except (ValueError, TypeError):
        raise InputError(f"{name} must be an array of numbers, but its rows differ in length.") from None
    if values.dtype.kind not in "fiu":
        raise InputError(f"{name} must hold numbers, but its type is {values.dtype}.")
    if finite and not np.isfinite(values).all():
        raise InputError(f"{name} must be finite, but holds NaN or infinite values.")
    checked: Array = values.astype(np.float64)
    return checked


KEYS = ("x", "y", "forward", "noise", "gate", "bounds", "inputs", "examples")


def load(source: str, forward: Sequence[str] = (), noise: Any = None, seed: int = 0) -> Problem:
    """A problem by its built-in name, from an .npz file with x and y, or from a TOML file.

    A TOML file has `forward` (a list of expressions) and either `x` (and `y`): names of .npy files next to it, or
    `inputs`: a list of {low, high}, between which `examples` are drawn uniformly and all solutions are. `noise` and
    `gate`, each a number or a list of one per output, and, of files, `bounds`, a list of [low, high] per input, are
    optional.
    """
    whole("seed", seed, 0, 2**63 - 1)
    if not isinstance(source, str):
        raise InputError(f"a problem is a built-in name, or the name of a file, but got {shown(source)}.")
    if not isinstance(forward, list | tuple) or not all(isinstance(text, str) for text in forward):
        raise InputError(f"`forward` must be a list of expressions, such as ['x0 * x1'], but got {shown(forward)}.")
    if source in FAMILIES:
        if forward:
            raise InputError(f"{source} has its own forward function; leave `forward` out.")
        return built_in(source, seed, noise=0.0 if noise is None else noise)
    path = Path(source)
    if path.suffix not in (".npz", ".toml") and not os.path.isfile(path):
        if path.suffix:
            raise InputError(f"the problem {shown(source)} is not a file; check the path.")
        raise unknown_name("problem", source, FAMILIES)
    origin: dict[str, Any] = {"file": str(path.resolve()), "seed": seed, "forward": list(forward), "noise": noise}
    if path.suffix == ".npz":
        x, y = _pairs(path)
        if not forward:
            raise InputError("an .npz file of pairs needs its forward function, such as 'x0 * x1'.")
        level = 0.0 if noise is None else noise
        return create(path.stem, x, y, forward, noise=level, seed=seed, source=origin)
    if path.suffix == ".toml":
        return _from_toml(path, forward, noise, seed, origin)
    raise InputError(f"a problem is a built-in name, an .npz or a .toml file, but got {shown(source)}.")


def load_again(source: Mapping[str, Any]) -> Problem:
    """The problem with this `source`."""
    kinds = {"file": str, "name": str, "seed": int, "forward": list, "noise": int | float | list}
    for name, value in source.items():
        if name not in kinds:
            raise unknown_name("key of the source of a problem", name, kinds)
        if isinstance(value, bool) or not isinstance(value, kinds[name]):
            raise InputError(f"`{name}` of the source of a problem cannot be {shown(value)}; restore config.toml.")
    seed = whole("seed", source.get("seed", 0), 0, 2**63 - 1)
    if "file" not in source:
        name = source.get("name", "")
        if name not in FAMILIES:
            raise unknown_name("problem", name, FAMILIES)
        return built_in(name, seed, noise=source.get("noise", 0.0))
    return load(source["file"], source.get("forward", ()), source.get("noise"), seed)


def _pairs(path: Path) -> tuple[Array, Array | None]:
    """x, and y if there is one, of an .npz file."""
    arrays = read_arrays(path, ("x", "y"))
    if "x" not in arrays:
        raise InputError(f"{path.name} must hold the arrays x and y, but holds no x; use numpy.savez(file, x=x, y=y).")
    return arrays["x"], arrays.get("y")


def _from_toml(path: Path, forward: Sequence[str], noise: Any, seed: int, origin: dict[str, Any]) -> Problem:
    table = read_toml(path, "check the path")
    for key in table:
        if key not in KEYS:
            raise unknown_name(f"key of {path.name}", key, KEYS)
    texts = list(forward) or table.get("forward", [])
    if ("x" in table) == ("inputs" in table):
        raise InputError(f"{path.name} needs either `x`, a file, or `inputs`, a list of low and high.")
    if "inputs" in table and "bounds" in table:
        raise InputError(f"the `inputs` of {path.name} already have their bounds, low and high; leave `bounds` out.")
    if "x" in table:
        for key in ("x", "y"):
            if not isinstance(table.get(key, ""), str):
                raise InputError(f"`{key}` of {path.name} is the name of an .npy file, but got {shown(table[key])}.")
        x = read_npy(path.parent / table["x"])
        y = read_npy(path.parent / table["y"]) if "y" in table else None
        bounds = table.get("bounds", "auto")
    elif "y" in table:
        raise InputError(f"`y` of {path.name} needs `x`, the file of its pairs; give `x` instead of `inputs`.")
    else:
        x, y = draw_uniform(table["inputs"], table.get("examples", 20_000), seed), None
        bounds = [(entry["low"], entry["high"]) for entry in table["inputs"]]
    level = noise if noise is not None else table.get("noise", 0.0)
    return create(
        path.stem, x, y, texts, noise=level, gate=table.get("gate"), bounds=bounds, seed=seed, source=origin
    )  # fmt: skip


def draw_uniform(inputs: Any, examples: Any, seed: int) -> Array:
    """x (examples, inputs) drawn uniformly between the `low` and `high` of each input."""
    if not isinstance(inputs, list) or not all(isinstance(i, dict) and set(i) == {"low", "high"} for i in inputs):
        raise InputError("`inputs` is a list such as [{low = 0, high = 1}, {low = -1, high = 1}], one per input.")
    if not inputs:
        raise InputError("`inputs` needs at least one input, such as [{low = 0, high = 1}].")
    if not isinstance(examples, int) or isinstance(examples, bool) or not FEWEST <= examples <= MOST // len(inputs):
        raise InputError(
            f"`examples` must be a whole number from {FEWEST} to {MOST // len(inputs)}, but got {shown(examples)}."
        )
    for k, entry in enumerate(inputs):
        if not _checked(f"low of x{k}", entry["low"]) < _checked(f"high of x{k}", entry["high"]):
            raise InputError(
                f"`low < high` must hold for input x{k}, but got low={entry['low']}, high={entry['high']}; swap them."
            )
    low, high = (np.array([float(i[end]) for i in inputs]) for end in ("low", "high"))
    return np.random.default_rng([seed, 0x1A]).uniform(low, high, (examples, len(inputs)))
