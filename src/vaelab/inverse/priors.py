"""Priors of inputs as torch distributions: draws of x for training, and the support in which x lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.errors import InputError, shown

Array = npt.NDArray[Any]


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
    if kind == "normal":
        if not second > 0:
            raise InputError(f"`sd` of x{k} must be above 0, but got {second:g}.")
        return distributions.Normal(a, b)
    if not first < second:
        raise InputError(f"`low < high` must hold for input x{k}, but got low={first:g}, high={second:g}; swap them.")
    if kind == "uniform":
        return distributions.Uniform(a, b)
    if not first > 0:
        raise InputError(f"`low` of x{k} must be above 0, since its prior is log-uniform, but got {first:g}.")
    return distributions.TransformedDistribution(
        distributions.Uniform(a.log(), b.log()), [distributions.ExpTransform()]
    )


def _check(priors: Sequence[Any]) -> None:
    from torch.distributions import Distribution

    if not isinstance(priors, list | tuple) or not priors:
        raise InputError(f"`prior` is a list of one torch distribution per input, but got {shown(priors)}.")
    for k, prior in enumerate(priors):
        if not isinstance(prior, Distribution) or prior.batch_shape or prior.event_shape:
            raise InputError(f"the prior of x{k} must be a torch distribution of one number, but got {shown(prior)}.")
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
