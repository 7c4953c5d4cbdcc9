"""Priors of inputs: torch distributions that x is drawn from, and what a run stores of them: a name and its parameters.

What is stored is an entry of a TOML file, {"prior": "normal", "mean": 0.0, "sd": 1.0}, or names a class of
torch.distributions and its parameters, {"prior": "Gamma", "concentration": 2.0, "rate": 5.0}. A distribution that is
none of these is stored as text alone, {"prior": "other", "text": ...}, without its density.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.errors import InputError, shown
from vaelab.inverse.units import check_width
from vaelab.wording import significant

Array = npt.NDArray[Any]
Stored = dict[str, str | float]
PARAMETERS = {"uniform": ("low", "high"), "log-uniform": ("low", "high"), "normal": ("mean", "sd")}
OTHER = "other"  # a distribution whose density is not stored


def draw(priors: Sequence[Any], n: int, seed: int) -> Array:
    """x (n, inputs), each input from its own distribution.

    >>> from torch.distributions import Normal, Uniform
    >>> draw([Normal(0.0, 1.0), Uniform(2.0, 3.0)], 100, seed=0).shape
    (100, 2)
    """
    _check(priors)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x: Array = torch.stack([prior.sample((n,)).double() for prior in priors], 1).numpy()
    for k, (values, prior) in enumerate(zip(x.T, priors, strict=True)):
        if not np.isfinite(values).all():
            raise InputError(
                f"x must be finite, but its prior {shown(prior)} draws {values[~np.isfinite(values)][0]} for x{k}; "
                "narrow it, or use another unit."
            )
    # An end of a support that single precision rounds may lie a last digit beyond it.
    for k, ends in enumerate(support(priors)):
        if ends is not None:
            x[:, k] = np.clip(x[:, k], *ends)
    return x


def support(priors: Sequence[Any]) -> list[tuple[float, float] | None]:
    """The ends (low, high) of each input, as `bounds` of a problem, infinite where there is none; None without any."""
    _check(priors)
    return [_ends(k, prior) for k, prior in enumerate(priors)]


def of_words(k: int, kind: str, first: float, second: float) -> Any:
    """The prior of input k: uniform or log-uniform between two ends, or normal with a mean and a standard deviation."""
    from torch import distributions

    a, b = (torch.tensor(value, dtype=torch.float64) for value in (first, second))
    own: dict[str, Any] = {"validate_args": True}  # whatever torch's own setting is
    if kind == "normal":
        if not second > 0:
            raise InputError(f"`sd` of x{k} must be above 0, but got {second:g}.")
        return distributions.Normal(a, b, **own)
    if not first < second:
        raise InputError(f"`low < high` must hold for input x{k}, but got low={first:g}, high={second:g}; swap them.")
    check_width(f"x{k}", first, second)
    if kind == "uniform":
        return distributions.Uniform(a, b, **own)
    if not first > 0:
        raise InputError(f"`low` of x{k} must be above 0, since its prior is log-uniform, but got {first:g}.")
    return distributions.TransformedDistribution(
        distributions.Uniform(a.log(), b.log(), **own), [distributions.ExpTransform()], **own
    )


def stored(prior: Any) -> Stored:
    """The name and the parameters of a torch distribution of one number.

    >>> from torch.distributions import Beta, Normal
    >>> stored(Normal(0.0, 1.0)), stored(Beta(2.0, 5.0))
    ({'prior': 'normal', 'mean': 0.0, 'sd': 1.0}, {'prior': 'Beta', 'concentration1': 2.0, 'concentration0': 5.0})
    """
    from torch import distributions

    kind = type(prior)
    if kind is distributions.Normal:
        return {"prior": "normal", "mean": float(prior.loc), "sd": float(prior.scale)}
    if kind is distributions.Uniform:
        return {"prior": "uniform", "low": float(prior.low), "high": float(prior.high)}
    needed = [own.name for own in inspect.signature(kind).parameters.values() if own.default is own.empty]
    is_known = getattr(distributions, kind.__name__, None) is kind
    if not is_known or not needed or not set(needed) <= set(kind.arg_constraints):
        return {"prior": OTHER, "text": shown(prior)}
    entry: Stored = {"prior": kind.__name__} | {name: float(getattr(prior, name)) for name in kind.arg_constraints}
    try:
        check_stored(entry)
    except ValueError:  # torch has no density of it in double precision
        return {"prior": OTHER, "text": shown(prior)}
    return entry


def of_stored(entry: Mapping[str, Any], k: int = 0) -> Any:
    """The torch distribution that was stored for input k, in double precision; None for one that is text alone.

    >>> float(of_stored({"prior": "normal", "mean": 2.0, "sd": 3.0}).mean)
    2.0
    """
    from torch import distributions

    kind = entry["prior"]
    given = {name: value for name, value in entry.items() if name != "prior"}
    if kind == OTHER:
        return None
    if kind in PARAMETERS:
        return of_words(k, kind, *(given[name] for name in PARAMETERS[kind]))
    made = getattr(distributions, kind, None)
    if not (isinstance(made, type) and issubclass(made, distributions.Distribution)):
        raise ValueError(f"{kind!r} is no prior")
    parameters: dict[str, Any] = {name: torch.tensor(value, dtype=torch.float64) for name, value in given.items()}
    return made(**parameters, validate_args=True)  # whatever torch's own setting is


def check_stored(entry: Mapping[str, Any]) -> None:
    """Raises ValueError for what cannot be a stored prior."""
    try:
        with warnings.catch_warnings(action="ignore"):
            density, text = log_density([entry], np.zeros((1, 1))), named(entry)
    except Exception:  # whatever torch raises for parameters of strangers, such as AssertionError
        raise ValueError(f"{shown(entry)} is no prior") from None
    if (density is None) != (entry["prior"] == OTHER) or not text:
        raise ValueError(f"{shown(entry)} is no prior")


def named(entry: Mapping[str, Any]) -> str:
    """What was stored, in words.

    >>> named({"prior": "normal", "mean": 3.0, "sd": 0.5}), named({"prior": "Gamma", "concentration": 2.0, "rate": 1.0})
    ('normal (mean 3, sd 0.5)', 'Gamma (concentration 2, rate 1)')
    """
    if entry["prior"] == OTHER:
        return str(entry["text"])
    told = ", ".join(f"{name} {significant(value)}" for name, value in entry.items() if name != "prior")
    return f"{entry['prior']} ({told})"


def log_density(entries: Sequence[Mapping[str, Any]], x: Array) -> npt.NDArray[np.float64] | None:
    """log p(x) (n,) of x (n, inputs) in their own units, as stored; None where a density is not stored.

    >>> log_density([{"prior": "uniform", "low": 0.0, "high": 4.0}], np.array([[1.0], [4.0]])).round(3)
    array([-1.386, -1.386])
    """
    known = [of_stored(entry) for entry in entries]
    if not known or None in known:
        return None
    total = np.zeros(len(x))
    for values, prior, ends in zip(x.T, known, support(known), strict=True):
        low, high = (-math.inf, math.inf) if ends is None else ends
        inside = np.clip(values, np.nextafter(low, math.inf), np.nextafter(high, -math.inf))  # an end may be open
        total += prior.log_prob(torch.from_numpy(inside)).numpy()
    return total


def _check(priors: Sequence[Any]) -> None:
    from torch.distributions import Distribution, constraints

    if not isinstance(priors, list | tuple) or not priors:
        raise InputError(f"`prior` is a list of one torch distribution per input, but got {shown(priors)}.")
    for k, prior in enumerate(priors):
        if not isinstance(prior, Distribution) or prior.batch_shape or prior.event_shape:
            raise InputError(f"the prior of x{k} must be a torch distribution of one number, but got {shown(prior)}.")
        for name, allowed in prior.arg_constraints.items():  # torch itself checks only where no one has stopped it
            is_known = name in vars(prior) and not constraints.is_dependent(allowed)
            if is_known and not allowed.check(getattr(prior, name)).all():
                raise InputError(f"`{name}` of the prior of x{k} must be {allowed}, but got {shown(prior)}.")
        if prior.support is None or prior.support.is_discrete:
            raise InputError(f"the prior of x{k} must be of real numbers, but {shown(prior)} is discrete.")


def _ends(k: int, prior: Any) -> tuple[float, float] | None:
    """Where the distribution function is 0 and 1, or the ends of the support where its inverse is not known."""
    try:
        low, high = (float(prior.icdf(torch.tensor(p, dtype=torch.float64))) for p in (0.0, 1.0))
    except NotImplementedError:
        low = float(getattr(prior.support, "lower_bound", -math.inf))
        high = float(getattr(prior.support, "upper_bound", math.inf))
    return None if math.isinf(low) and math.isinf(high) else (low, high)
