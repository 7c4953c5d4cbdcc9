"""The interface of VAE yardsticks. Does not import torch."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Dataset
from vaelab.errors import InputError
from vaelab.settings.spec import ModelSpec
from vaelab.settings.yardsticks import Yardstick


@dataclasses.dataclass(frozen=True)
class VAEYardstick(Yardstick):
    """A metric of a VAE, computed from the terms in every epoch's record: neg_elbo, distortion, rate."""

    is_bound: bool = False  # a model whose bound is not below that of one without latents is then no model

    def check(self, data: Dataset) -> None:
        """InputError if these data cannot be judged by it."""


@dataclasses.dataclass(frozen=True)
class Latents:
    """Posterior means of one model: training rows (n, L) for fitting, and the rows (m, L) that are judged.

    Codes are those of the classes, (n,) and (m,), or None without labels.
    """

    train: npt.NDArray[Any]
    judged: npt.NDArray[Any]
    train_codes: npt.NDArray[np.int64] | None = None
    judged_codes: npt.NDArray[np.int64] | None = None


@dataclasses.dataclass(frozen=True)
class LatentYardstick(VAEYardstick, abc.ABC):
    """A metric measured on the latents, where trials are judged: at rungs, at their end, in the finals and on test.

    That takes too long for every epoch.
    """

    needs_labels: bool = False

    @abc.abstractmethod
    def measure(self, latents: Latents) -> float:
        """The value of one model."""

    def check(self, data: Dataset) -> None:
        if self.needs_labels and len(data.classes) < 2:
            has = "has none" if data.labels is None else "has a single class"
            raise InputError(
                f"the yardstick {self.name} needs labels of at least two classes, but {data.name} {has}; "
                "name them with `target` (in Python: y), or choose stability, or rate,distortion."
            )
        for split in ("train", "validation", "test") if self.needs_labels else ():
            if len(data.splits[split]) and not data.counts(data.splits[split]).any():
                raise InputError(
                    f"the yardstick {self.name} needs labels, but none of the {len(data.splits[split]):,} {split} rows "
                    "has one; label more rows, name a column of splits with `split`, or choose stability."
                )


def with_terms(yardsticks: Sequence[VAEYardstick], spec: ModelSpec, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics with the values of those yardsticks that follow from their terms."""
    followed = [yardstick for yardstick in yardsticks if not isinstance(yardstick, LatentYardstick)]
    return {**metrics, **{yardstick.name: yardstick.value(spec, metrics) for yardstick in followed}}
