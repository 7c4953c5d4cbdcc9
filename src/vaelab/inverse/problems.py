"""An inverse problem: pairs (x, y), the forward function y = f(x) + noise, and all solutions if known."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data.splits import split_rows
from vaelab.errors import InputError, shown, unknown_name
from vaelab.inverse.expressions import Forward
from vaelab.inverse.lines import FAMILIES, Family, draw_ends, lines

Array = npt.NDArray[Any]
Function = Callable[[Tensor], Tensor]
TRAIN, VALIDATION, SCORE = 100_000, 3_000, 50  # examples of a built-in problem
RMSE_GATE = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Pairs x (N, *x_shape) and y (N, *y_shape) in their own units; `forward` maps a batch of x to a batch of y.

    `noise` is the standard deviation of y about f(x), 0 if y is exact. `family` lists all solutions (built-in
    problems). The split `test` contains the scored curves. `gate` is the largest root mean squared error of
    f(x) for a solution, `spread` the range of x, in whose units solutions differ.
    """

    name: str
    x: Array
    y: Array
    forward: Function
    splits: Mapping[str, npt.NDArray[np.int64]]
    noise: float = 0.0
    gate: float = RMSE_GATE
    spread: float = 1.0
    family: Family | None = None
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def y_shape(self) -> tuple[int, ...]:
        return tuple(self.y.shape[1:])

    def rows(self, split: str) -> tuple[Array, Array]:
        """x and y of one split."""
        return self.x[self.splits[split]], self.y[self.splits[split]]

    def curves(self, y: Any) -> Array:
        """Measurements to invert, checked: (n, *y_shape); the first axis is optional for a single one."""
        y = np.asarray(y)
        if y.dtype.kind not in "fiu":
            raise InputError(f"y must hold numbers, but its type is {y.dtype}.")
        if y.shape == self.y_shape:
            y = y[None]
        if y.shape[1:] != self.y_shape or not len(y):
            raise InputError(
                f"y must have the shape (n, {', '.join(map(str, self.y_shape))}) of this problem's measurements, "
                f"but got {y.shape}."
            )
        if not np.isfinite(y).all():
            raise InputError("y must be finite, but holds NaN or infinite values; leave those curves out.")
        checked: Array = y.astype(np.float64)
        return checked

    @functools.cached_property
    def is_noisy(self) -> bool:
        """Whether y differs from f(x): then p(x | y) is a density, not a set of solutions."""
        return self.noise > 0 or not np.allclose(apply(self.forward, self.x[:100]), self.y[:100], rtol=1e-4, atol=1e-6)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the examples and their splits."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, *(self.splits[name] for name in sorted(self.splits))):
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @functools.cached_property
    def is_differentiable(self) -> bool:
        """Whether f is differentiable in x, tested with one backward pass."""
        x = torch.from_numpy(self.x[:2].astype(np.float64)).requires_grad_()
        try:
            y = self.forward(x)
        except RuntimeError as error:
            if "requires grad" in str(error):  # NumPy rejects such a tensor: f leaves torch
                return False
            raise
        if not y.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(y.sum(), x, allow_unused=True)
        return gradient is not None and bool((gradient != 0).any())


def create(
    name: str,
    x: Any,
    y: Any | None,
    forward: Function | Sequence[str],
    *,
    noise: float = 0.0,
    gate: float | None = None,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
) -> Problem:
    """A custom problem from arrays, checked. Without y, y is f(x) plus noise.

    x (N, *x_shape), where axis 1 has the inputs x0, x1, ... of expressions; y (N, *y_shape); forward: a function
    of a batch of x in torch, or expressions as text, one per output.

    >>> x = np.random.default_rng(0).uniform(size=(100, 2))
    >>> create("sum", x, None, ["x0 + x1"]).y_shape
    ()
    """
    x = _numbers("x", x)
    if x.ndim < 2 or len(x) < 10:
        raise InputError(f"x must be an array (n, inputs, ...) of at least 10 examples, but has the shape {x.shape}.")
    _check_noise(noise)
    function = forward if callable(forward) else Forward(forward, x.shape[1])
    found = apply(function, x[: min(len(x), 100)])
    if found.shape[:1] != (min(len(x), 100),):
        raise InputError(
            f"the forward function must keep the first axis of x, but maps {(100, *x.shape[1:])} to {found.shape}."
        )
    if y is None:
        clean = np.concatenate([apply(function, piece) for piece in np.array_split(x, -(-len(x) // 1000))])
        y = _noisy(clean, noise, seed)
    y = _numbers("y", y)
    if len(y) != len(x):
        raise InputError(f"x and y must be pairs, but there are {len(x)} of x and {len(y)} of y.")
    if found.shape[1:] != y.shape[1:]:
        raise InputError(
            f"f(x) must have the shape of y, {tuple(y.shape[1:])}, but the forward function gives {found.shape[1:]}."
        )
    if not np.isfinite(found).all():
        raise InputError("f(x) must be finite on the examples, but is NaN or infinite for some of the first 100.")
    if gate is None:
        gate = max(RMSE_GATE * float(y.std()), 2 * noise)
    splits = split_rows(len(x), None, seed, validation=0.05, test=min(0.2, SCORE / len(x)))
    spread = float(np.ptp(x.reshape(len(x), -1), axis=0).max())
    return Problem(name, x, y, function, splits, noise, gate, spread, None, dict(source or {}))


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
    _check_noise(noise)
    train = TRAIN if train is None else train
    n = train + validation + score
    x = lines(draw_ends(n, np.random.default_rng([seed, 0x11E5])))
    forward = Forward(family.texts, 2)
    y = _noisy(apply(forward, x), noise, seed)
    bounds = np.cumsum([0, train, validation, score])
    splits = {s: np.arange(bounds[i], bounds[i + 1]) for i, s in enumerate(("train", "validation", "test"))}
    source = {"name": name, "seed": seed, "noise": noise}
    return Problem(name, x, y, forward, splits, noise, max(RMSE_GATE, 2 * noise), family=family, source=source)


def _check_noise(noise: float) -> None:
    if not noise >= 0 or not np.isfinite(noise):
        raise InputError(f"`noise` is a standard deviation and must be at least 0, but got {noise}.")


def _noisy(y: Array, noise: float, seed: int) -> Array:
    """y with Gaussian noise of standard deviation `noise` on every value."""
    return y + noise * np.random.default_rng([seed, 0xF0]).standard_normal(y.shape) if noise else y


def apply(forward: Function, x: Array) -> Array:
    """f of a batch of x (n, *x_shape), in double precision."""
    with torch.no_grad():
        y = forward(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)))
    if not isinstance(y, Tensor):
        raise InputError(f"a forward function returns a torch tensor, but this one gave a {type(y).__name__}.")
    found: Array = y.detach().cpu().double().numpy()
    return found


def _numbers(name: str, values: Any) -> Array:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise InputError(f"{name} must hold numbers, but its type is {values.dtype}.")
    if not np.isfinite(values).all():
        raise InputError(f"{name} must be finite, but holds NaN or infinite values.")
    checked: Array = values.astype(np.float64)
    return checked


KEYS = ("x", "y", "forward", "noise", "gate", "inputs", "examples")


def load(source: str, forward: Sequence[str] = (), noise: float | None = None, seed: int = 0) -> Problem:
    """A problem by its built-in name, from an .npz file with x and y, or from a TOML file.

    A TOML file has `forward` (a list of expressions) and either `x` (and `y`): names of .npy files next to it, or
    `inputs`: a list of {low, high}, from which `examples` are drawn uniformly; `noise` and `gate` are optional.
    """
    if source in FAMILIES:
        if forward:
            raise InputError(f"{source} has its own forward function; leave `forward` out.")
        return built_in(source, seed, noise=noise or 0.0)
    path = Path(source)
    if not path.is_file():
        if path.suffix:
            raise InputError(f"the problem {shown(source)} is not a file; check the path.")
        raise unknown_name("problem", source, FAMILIES)
    origin: dict[str, Any] = {"file": str(path.resolve()), "seed": seed, "forward": list(forward), "noise": noise}
    if path.suffix == ".npz":
        with _arrays(path) as arrays:
            if "x" not in arrays:
                raise InputError(f"{path.name} must hold the arrays x and y, but holds {', '.join(arrays) or 'none'}.")
            x, y = arrays["x"], arrays.get("y")
        if not forward:
            raise InputError("an .npz file of pairs needs its forward function, such as 'x0 * x1'.")
        return create(path.stem, x, y, forward, noise=noise or 0.0, seed=seed, source=origin)
    if path.suffix == ".toml":
        return _from_toml(path, forward, noise, seed, origin)
    raise InputError(f"a problem is a built-in name, an .npz or a .toml file, but got {shown(source)}.")


def load_again(source: Mapping[str, Any]) -> Problem:
    """The problem with this `source`."""
    if "file" not in source:
        return built_in(**source)
    return load(source["file"], source.get("forward", ()), source.get("noise"), source.get("seed", 0))


def _arrays(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from None


def _from_toml(path: Path, forward: Sequence[str], noise: float | None, seed: int, origin: dict[str, Any]) -> Problem:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from None
    for key in table:
        if key not in KEYS:
            raise unknown_name(f"key of {path.name}", key, KEYS)
    texts = list(forward) or table.get("forward", [])
    texts = [texts] if isinstance(texts, str) else texts
    if ("x" in table) == ("inputs" in table):
        raise InputError(f"{path.name} needs either `x`, a file, or `inputs`, a list of low and high.")
    if "x" in table:
        x = _arrays(path.parent / str(table["x"]))
        y = _arrays(path.parent / str(table["y"])) if "y" in table else None
    else:
        x, y = draw_uniform(table["inputs"], table.get("examples", 20_000), seed), None
    scale = noise if noise is not None else float(table.get("noise", 0.0))
    return create(path.stem, x, y, texts, noise=scale, gate=table.get("gate"), seed=seed, source=origin)


def draw_uniform(inputs: Any, examples: Any, seed: int) -> Array:
    """x (examples, inputs) drawn uniformly between the `low` and `high` of each input."""
    if not isinstance(inputs, list) or not all(isinstance(i, dict) and set(i) == {"low", "high"} for i in inputs):
        raise InputError("`inputs` is a list such as [{low = 0, high = 1}, {low = -1, high = 1}], one per input.")
    if not isinstance(examples, int) or examples < 10:
        raise InputError(f"`examples` must be a whole number of at least 10, but got {shown(examples)}.")
    for k, entry in enumerate(inputs):
        if not entry["low"] < entry["high"]:
            raise InputError(
                f"`low < high` must hold for input x{k}, but got low={entry['low']}, high={entry['high']}; swap them."
            )
    low, high = (np.array([float(i[end]) for i in inputs]) for end in ("low", "high"))
    return np.random.default_rng([seed, 0x1A]).uniform(low, high, (examples, len(inputs)))
