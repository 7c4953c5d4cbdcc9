"""Problems from files: pairs as .npz or table, and TOML files that declare inputs, outputs, noise and gates."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import readers
from vaelab.data.cells import number_column
from vaelab.data.npy import read_arrays, read_npy
from vaelab.errors import InputError, shown, unknown_name
from vaelab.inverse import priors
from vaelab.inverse.forward import Function
from vaelab.inverse.lines import FAMILIES
from vaelab.inverse.priors import PARAMETERS, Stored
from vaelab.inverse.problems import FEWEST, Problem, built_in, create
from vaelab.inverse.units import check_width
from vaelab.settings.checks import whole
from vaelab.store import read_toml

Array = npt.NDArray[Any]
MOST = 10**8  # values of x that are drawn
TABLES = tuple(ending for kind in ("csv", "parquet", "feather") for ending in readers.READERS[kind].endings)
KEYS = ("forward", "inputs", "outputs", "examples", "x", "y", "table", "noise", "gate", "bounds")
INPUT, OUTPUT = ("name", "unit", "low", "high", "prior", "mean", "sd"), ("name", "unit")  # the keys of an entry


def load(
    source: str,
    forward: Function | Sequence[str] = (),
    noise: Any = None,
    seed: int = 0,
    *,
    gate: Any = None,
    x: Sequence[str] = (),
    y: Sequence[str] = (),
) -> Problem:
    """A problem by its built-in name, from an .npz file with x and y, from a table, or from a TOML file.

    forward: f, as for `create`; none for pairs alone. noise, gate: as for `create`; instead of those of the file. x, y:
    columns of a table; without y it is all others.

    A TOML file has any of these keys:
    - forward: a list of expressions, such as ["x0 * x1"], in the order of the outputs
    - inputs: a list of one {name, unit, low, high, prior, mean, sd} each, all optional; without pairs x is drawn from
      low to high, uniformly or by prior = "log-uniform", or by prior = "normal" with mean and sd; else these are bounds
    - outputs: a list of one {name, unit} each
    - examples: how many are drawn; default: 20,000
    - x, y: files of arrays next to it (.npy); or, with table, lists of its columns
    - noise, gate: a number, or a list of one per output
    - bounds: "auto", "none", or a list of [low, high] per input
    """
    whole("seed", seed, 0, 2**63 - 1)
    if not isinstance(source, str):
        raise InputError(f"a problem is a built-in name, or the name of a file, but got {shown(source)}.")
    if not callable(forward) and not _is_texts(list(forward) if isinstance(forward, tuple) else forward):
        raise InputError(f"`forward` must be a list of expressions, such as ['x0 * x1'], but got {shown(forward)}.")
    if source in FAMILIES:
        if forward or x or y:
            raise InputError(f"{source} has its own x, y and forward function; leave `forward`, `x` and `y` out.")
        if gate is not None:
            raise InputError(f"{source} has its own gate; leave `gate` out.")
        return built_in(source, seed, noise=0.0 if noise is None else noise)
    path = Path(source)
    if not os.path.isfile(path):
        if path.suffix:
            raise InputError(f"the problem {shown(source)} is not a file; check the path.")
        raise unknown_name("problem", source, FAMILIES)
    written = None if callable(forward) else list(forward)
    origin: dict[str, Any] = {
        "file": str(path.resolve()), "seed": seed, "forward": written, "noise": noise, "gate": gate, "x": list(x),
        "y": list(y),
    }  # fmt: skip
    given = forward if callable(forward) else list(forward) or None
    options: dict[str, Any] = {"noise": noise, "gate": gate, "seed": seed, "source": origin}
    is_table = path.name.lower().endswith(TABLES)
    if (x or y) and not is_table:
        raise InputError(f"`x` and `y` name columns of a table, but {path.name} is none; leave them out.")
    if path.suffix == ".npz":
        return _create(path.stem, *_pairs(path), given, **options)
    if path.suffix == ".toml":
        own = [key for key, value in (("noise", noise), ("gate", gate)) if value is None]
        with _keys_of(path.name, ["x", "y", *own]):
            return _from_toml(path, given, **options)
    if is_table:
        return _from_table(path.stem, path, x, y, given, **options)
    raise InputError(f"a problem is a built-in name, an .npz file, a table, or a .toml file, but got {shown(source)}.")


@contextlib.contextmanager
def _keys_of(file: str, keys: Sequence[str]) -> Iterator[None]:
    """Errors call keys of a file such: `noise` alone is an argument, which is an option on the command line."""
    try:
        yield
    except InputError as error:
        alone = rf"`({'|'.join(keys)})`(?! of {re.escape(file)})"
        raise type(error)(re.sub(alone, lambda found: f"{found[0]} of {file}", str(error))) from error.__cause__


def columns_of(text: str | None) -> list[str]:
    """Names of columns with commas between them, as typed.

    >>> columns_of("width, height"), columns_of(None)
    (['width', 'height'], [])
    """
    return [name.strip() for name in text.split(",")] if text else []


def load_again(source: Mapping[str, Any], forward: Function | None = None) -> Problem:
    """The problem with this `source`; a forward function in Python is not recorded and must be given again."""
    kinds = {
        "file": str, "name": str, "seed": int, "forward": list, "noise": int | float | list, "gate": int | float | list,
        "x": list, "y": list,
    }  # fmt: skip
    for name, value in source.items():
        if name not in kinds:
            raise unknown_name("key of the source of a problem", name, kinds)
        if isinstance(value, bool) or not isinstance(value, kinds[name]):
            raise InputError(f"`{name}` of the source of a problem cannot be {shown(value)}; restore config.toml.")
    if "file" not in source:
        name = source.get("name", "")
        if name not in FAMILIES:
            raise unknown_name("problem", name, FAMILIES)
        return built_in(name, whole("seed", source.get("seed", 0), 0, 2**63 - 1), noise=source.get("noise", 0.0))
    if "forward" not in source and forward is None:
        raise InputError("the forward function was one in Python, which is not recorded; name it again by `forward`.")
    return load(
        source["file"], forward or source.get("forward", ()), source.get("noise"), source.get("seed", 0),
        gate=source.get("gate"), x=source.get("x", ()), y=source.get("y", ()),
    )  # fmt: skip


def _create(name: str, x: Array, y: Array | None, forward: Any, *, noise: Any, **options: Any) -> Problem:
    if forward is None and y is None:
        raise InputError(f"{name} has no y, so it needs a forward function, such as 'x0 * x1'; give `forward`.")
    return create(name, x, y, forward, noise=0.0 if noise is None else noise, **options)


def _from_table(
    name: str, path: Path, x: Any, y: Any, forward: Any, *, x_names: Any = (), y_names: Any = (), **options: Any
) -> Problem:
    """Pairs in the columns of a table. Rows that miss a value are left out and counted."""
    columns = readers.read(path).x
    if not isinstance(columns, dict):
        raise InputError(f"{path.name} holds an array, not columns with names; save x and y as .npz.")
    if not x:
        raise InputError(f"which columns of {path.name} are x? Name them by `x`; those of y are all others, or `y`.")
    rest = [column for column in columns if column not in x]
    chosen = {"x": list(x), "y": list(y) or rest}
    for names in chosen.values():
        for column in names:
            if column not in columns:
                raise unknown_name(f"column of {path.name}", column, columns)
    if both := set(chosen["x"]) & set(chosen["y"]):
        raise InputError(f"{shown(min(both))} cannot be both x and y; leave it out of one.")
    if not chosen["y"]:
        raise InputError(f"{path.name} has no columns besides x, so there is no y; name fewer.")
    own_x, own_y = (
        np.stack([number_column(np.asarray(columns[column]), column, path.name) for column in names], 1)
        for names in chosen.values()
    )
    complete = ~np.isnan(own_x).any(1)
    if len(chosen["y"]) == 1:
        own_y = own_y[:, 0]
    found = _create(
        name, own_x[complete], own_y[complete], forward, x_names=x_names or chosen["x"], y_names=y_names or chosen["y"],
        **options,
    )  # fmt: skip
    return dataclasses.replace(found, failed=found.failed + int((~complete).sum()))


def _pairs(path: Path) -> tuple[Array, Array | None]:
    """x, and y if there is one, of an .npz file."""
    arrays = read_arrays(path, ("x", "y"))
    if "x" not in arrays:
        raise InputError(f"{path.name} must hold the arrays x and y, but holds no x; use numpy.savez(file, x=x, y=y).")
    return arrays["x"], arrays.get("y")


def _from_toml(path: Path, forward: Any, *, noise: Any, gate: Any, seed: int, source: dict[str, Any]) -> Problem:
    table = read_toml(path, "check the path")
    for key in table:
        if key not in KEYS:
            raise unknown_name(f"key of {path.name}", key, KEYS)
    inputs, outputs = (_entries(table, *kind) for kind in (("inputs", INPUT), ("outputs", OUTPUT)))
    bounds = table.get("bounds", "auto")
    declared = [_range_of(k, entry) for k, entry in enumerate(inputs)]
    if "x" in table and any("prior" in entry for entry in inputs):
        raise InputError(f"x of {path.name} is given, so no input has a `prior`; leave it out.")
    if any(declared):
        if "bounds" in table:
            raise InputError(
                f"the `inputs` of {path.name} already have their bounds, low and high; leave `bounds` out."
            )
        bounds = declared
    options = {
        "noise": table.get("noise", 0.0) if noise is None else noise,
        "gate": table.get("gate") if gate is None else gate,
        "bounds": bounds, "seed": seed, "source": source, "x_names": _named(inputs, "x"),
        "y_names": _named(outputs, "y"),
    }  # fmt: skip
    forward = forward if forward is not None else table.get("forward") or None
    if forward is not None and not callable(forward):
        _check_texts(path, forward)
    if "table" in table:
        for key in ("x", "y"):
            if not _is_texts(table.get(key, [])):
                raise InputError(
                    f"`{key}` of {path.name} is a list of columns of `table`, but got {shown(table[key])}."
                )
        if not isinstance(table["table"], str):
            raise InputError(f"`table` of {path.name} is the name of a file, but got {shown(table['table'])}.")
        file = path.parent / table["table"]
        return _from_table(path.stem, file, table.get("x", ()), table.get("y", ()), forward, **options)
    if "x" in table:
        for key in ("x", "y"):
            if not isinstance(table.get(key, ""), str):
                raise InputError(f"`{key}` of {path.name} is the name of an .npy file, but got {shown(table[key])}.")
        x = read_npy(path.parent / table["x"])
        y = read_npy(path.parent / table["y"]) if "y" in table else None
        return _create(path.stem, x, y, forward, **options)
    if not inputs:
        raise InputError(f"{path.name} needs x, a file, or `table`, or `inputs`, a list of low and high.")
    if "y" in table:
        raise InputError(f"`y` of {path.name} needs x, the file of its pairs; give x instead of `inputs`.")
    x, prior = _drawn(inputs, declared, table.get("examples", 20_000), seed)
    return _create(path.stem, x, None, forward, prior=prior, **options)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _check_texts(path: Path, forward: Any) -> None:
    """Reject a forward function in Python: a file that is loaded must not run code."""
    for text in [forward] if isinstance(forward, str) else forward if isinstance(forward, list) else []:
        if isinstance(text, str) and ".py" in text:
            raise InputError(
                f"a file cannot name a function in Python, but `forward` of {path.name} is {shown(text)}; name it on "
                "the command line by `forward`."
            )


def _entries(table: Mapping[str, Any], name: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The list of inputs or outputs, each with known keys."""
    entries = table.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"`{name}` is a list of one {{{', '.join(keys)}}} each, but got {shown(entries)}.")
    if name in table and not entries:
        raise InputError(f'`{name}` needs at least one entry, such as {{{keys[0]} = "width"}}.')
    for entry in entries:
        for key in entry:
            if key not in keys:
                raise unknown_name(f"key of an entry of `{name}`", key, keys)
        for key in ("name", "unit"):
            if not isinstance(entry.get(key, ""), str):
                raise InputError(f"`{key}` of an entry of `{name}` is text, but got {shown(entry[key])}.")
    return entries


def _named(entries: Sequence[Mapping[str, Any]], letter: str) -> tuple[str, ...]:
    """The names of inputs or outputs with their units; none if no entry has either."""
    if not any("name" in entry or "unit" in entry for entry in entries):
        return ()
    numbers = [""] if letter == "y" and len(entries) == 1 else [str(k) for k in range(len(entries))]
    names = [entry.get("name", f"{letter}{number}") for number, entry in zip(numbers, entries, strict=True)]
    return tuple(
        f"{name} [{entry['unit']}]" if entry.get("unit") else name for name, entry in zip(names, entries, strict=True)
    )


def _range_of(k: int, entry: Mapping[str, Any]) -> tuple[float, float] | None:
    """`low` and `high` of an input, checked; None if it has neither."""
    kind = entry.get("prior", "uniform")
    if not isinstance(kind, str) or kind not in PARAMETERS:
        raise unknown_name(f"prior of x{k}", str(kind), PARAMETERS)
    for key in ("low", "high", "mean", "sd"):
        if key in entry and key not in PARAMETERS[kind]:
            raise InputError(f"the prior of x{k} is {kind}, which has no `{key}`; leave it out.")
    if "low" not in entry and "high" not in entry:
        return None
    low = _checked(f"low of x{k}", entry["low"]) if "low" in entry else -np.inf
    high = _checked(f"high of x{k}", entry["high"]) if "high" in entry else np.inf
    if not low < high:
        raise InputError(f"`low < high` must hold for input x{k}, but got low={low:g}, high={high:g}; swap them.")
    check_width(f"x{k}", low, high)
    return low, high


def _drawn(
    inputs: Sequence[Mapping[str, Any]], ranges: Sequence[tuple[float, float] | None], examples: Any, seed: int
) -> tuple[Array, list[Stored]]:
    """x (examples, inputs), each input from its prior, and the priors."""
    if not isinstance(examples, int) or isinstance(examples, bool) or not FEWEST <= examples <= MOST // len(ranges):
        raise InputError(
            f"`examples` must be a whole number from {FEWEST} to {MOST // len(ranges)}, but got {shown(examples)}."
        )
    kinds = [entry.get("prior", "uniform") for entry in inputs]
    for k, (kind, entry) in enumerate(zip(kinds, inputs, strict=True)):
        for key in PARAMETERS[kind]:
            if key not in entry:
                raise InputError(f"input x{k} needs {' and '.join(PARAMETERS[kind])}, by which it is drawn.")
    chosen: list[Stored] = [
        {"prior": kind} | {key: _checked(f"{key} of x{k}", inputs[k][key]) for key in PARAMETERS[kind]}
        for k, kind in enumerate(kinds)
    ]
    if set(kinds) != {"uniform"}:
        each = [priors.of_stored(entry, k) for k, entry in enumerate(chosen)]
        return priors.draw(each, examples, seed), chosen
    low, high = np.array(ranges, dtype=np.float64).T
    return np.random.default_rng([seed, 0x1A]).uniform(low, high, (examples, len(ranges))), chosen


def _checked(name: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"`{name}` must be one number, but got {shown(value)}.")
    if not np.isfinite(value):
        raise InputError(f"`{name}` must be finite, but got {shown(value)}.")
    return float(value)
