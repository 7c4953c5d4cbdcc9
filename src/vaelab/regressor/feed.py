"""A data set with a numeric target as regressor input: rows and standardised targets."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling
from vaelab.errors import InputError, shown
from vaelab.regressor.spec import RegressorSpec
from vaelab.supervised.feed import SupervisedFeed, resolve_inputs

Floats = npt.NDArray[np.float64]
FARTHEST = 1e15  # scales from the centre: beyond, squares in float32 overflow


@dataclasses.dataclass(frozen=True)
class TargetScale:
    """The centre and the scale of a target: what a network predicts is (y - center) / scale.

    >>> TargetScale.of(np.array([1.0, 2.0, 3.0, 4.0, 1e9])).center
    3.0
    """

    center: float
    scale: float

    @classmethod
    def of(cls, y: Floats) -> TargetScale:
        """Median and interquartile range, as of a Gaussian, which outliers hardly move. If half of the targets are
        equal, the mean distance from the median.
        """
        low, center, high = np.quantile(y, (0.25, 0.5, 0.75))
        spread = (high - low) / 1.349
        if spread <= 0:
            spread = math.sqrt(math.pi / 2) * np.abs(y - center).mean()
        return cls(float(center), float(spread))


def resolve(spec: RegressorSpec, data: Dataset) -> RegressorSpec:
    """The spec with batch size, device and engine resolved; rejects data on which no regressor can be evaluated."""
    check_targets(data)
    return resolve_inputs(spec, data)


def check_targets(data: Dataset) -> None:
    """Reject missing targets, those that do not vary in training, and marks of missing values among them."""
    if data.targets is None:
        remedy = "use `vaelab classify`" if data.labels is not None else "name it as `target` or give y"
        raise InputError(f"a regressor needs a numeric target, but {shown(data.name)} has none; {remedy}.")
    y = data.targets
    if (y == y[0]).all():
        raise InputError(
            f"the target must vary, but all {len(y):,} are {y[0]:.6g}; there is nothing to learn, give another one."
        )
    y = y[data.splits["train"]]
    if (y == y[0]).all():
        raise InputError(
            f"the target must vary in the training rows, but all {len(y):,} are {y[0]:.6g}; use another split seed."
        )
    unit = TargetScale.of(y)
    worst = int(np.argmax(np.abs(data.targets / unit.scale - unit.center / unit.scale)))
    if abs(data.targets[worst] / unit.scale - unit.center / unit.scale) > FARTHEST:
        raise InputError(
            f"targets must be at most {FARTHEST:.0e} interquartile ranges apart, but one is {data.targets[worst]:.6g}; "
            "add it to `na` if it stands for a missing value, or drop its row."
        )


class NumericFeed(SupervisedFeed):
    """Rows with their numeric targets, standardised by those of the training rows."""

    outputs = 2  # the mean and the log-scale of the noise

    def __init__(
        self,
        data: Dataset,
        spec: RegressorSpec,
        scaling: Scaling | None = None,
        target_scale: TargetScale | None = None,
    ):
        """`scaling` and `target_scale` are those of a trained model; by default they are computed from the data."""
        assert data.targets is not None, "check the targets first"
        self.y = data.targets
        self.target_scale = target_scale or TargetScale.of(self.y[data.splits["train"]])
        standard = (self.y - self.target_scale.center) / self.target_scale.scale
        super().__init__(data, spec, torch.from_numpy(standard).float(), scaling)

    @property
    def bias(self) -> Tensor:
        """The median, and a scale of 1, where predictions start."""
        return torch.zeros(2)

    def targets(self, split: str) -> Floats:
        """The targets of a split's rows, in their own units."""
        return self.y[self.data.splits[split]]

    @functools.cached_property
    def variance(self) -> float:
        """The variance of the standardised targets in training, for the record of an epoch."""
        return float(self.target.double()[self.rows("train")].var(correction=0))
