"""A data set with a target as input: standardised rows, and the target of each, by row number, on the device."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling
from vaelab.engine.encoding import Encoding, with_filling
from vaelab.engine.resolve import check_convolutions, resolve_training
from vaelab.engine.rows import Rows, Units
from vaelab.errors import InputError, shown
from vaelab.supervised.augment import MOVES, augmented, covered
from vaelab.supervised.spec import SupervisedSpec

Spec = TypeVar("Spec", bound=SupervisedSpec)


def resolve_inputs(spec: Spec, data: Dataset) -> Spec:
    """The spec with batch size, device and engine resolved; rejects settings that do not fit the examples."""
    given = [column.name or str(j) for j, column in enumerate(data.columns) if column.condition]
    if given:
        raise InputError(f"a prediction takes all columns alike, but {shown(given[0])} is a condition; leave it out.")
    moves_curves = spec.network == "conv" and spec.flip == "none"
    if spec.is_augmented and not (data.is_image or moves_curves):
        name = next(name for name in ("flip", "shift", "erase") if getattr(spec, name) not in ("none", 0))
        needs = "images" if name == "flip" else "images, or curves and convolutions"
        raise InputError(f"`{name}` needs {needs}, but {shown(data.name)} holds rows of {data.shape[0]}; leave it out.")
    if spec.shift >= min(data.shape[:2]):
        raise InputError(
            f"`shift` must be less than every side of an example, but got {spec.shift} for "
            f"{' x '.join(map(str, data.shape[:2]))}; choose a smaller one."
        )
    if spec.network == "conv":
        check_convolutions(spec, data)
        gaps = [column.name or str(j) for j, column in enumerate(data.columns) if column.missing]
        if gaps:
            raise InputError(
                f"convolutions need complete rows, but values are missing in column {shown(gaps[0])}; fill them, or "
                "use network = mlp."
            )
    return spec.replace(**resolve_training(spec, data)).settled


def standardisation(data: Dataset, spec: SupervisedSpec) -> Scaling:
    """Images to mean 0 and standard deviation 1 over all pixels; tables per column, without constant columns; typed
    columns by their kind.
    """
    statistics = data.statistics
    if data.is_typed and spec.network == "mlp":
        return with_filling(Scaling.by_kind(data), data)
    if data.is_image:
        mean = float(statistics.mean.mean())
        std = float(np.sqrt(np.mean(statistics.std**2 + (statistics.mean - mean) ** 2)))
        if std == 0:
            raise InputError("at least one pixel must vary, but all are the same; there is nothing to learn.")
        return Scaling(np.full(1, mean, np.float32), np.full(1, std, np.float32))
    return Scaling.standardised(data)


def units_of(scaling: Scaling, device: torch.device) -> Units:
    """To what the network sees."""
    return Units(scaling, "none", device, None if scaling.typed is None else Encoding(scaling.typed))


class SupervisedFeed(Rows):
    """Rows with their targets (N,), on the device: class codes or standardised numbers. A subclass says how many
    outputs the network has, and what they are at the start of training.
    """

    outputs: int

    @property
    def bias(self) -> Tensor:
        """The outputs (C,) at the start of training."""
        raise NotImplementedError

    def __init__(self, data: Dataset, spec: SupervisedSpec, target: Tensor, scaling: Scaling | None = None):
        """`scaling` is that of a trained model; by default it is computed from the data."""
        device = torch.device(spec.device)
        super().__init__(data, units_of(scaling or standardisation(data, spec), device), device)
        self.target = target.to(device)

    def gather(self, rows: Tensor, spec: SupervisedSpec, uniform: Tensor | None = None) -> Tensor:
        """Rows (n,) as model values (n, D) for training; augmented according to `spec` with `uniform`, (n, 3), or
        (n, 8) with `erase`; covered pixels are 0, the mean.
        """
        raw = self._raw.index_select(0, rows)
        if uniform is None:
            return self.units.convert(raw, None)
        n, (H, W, C) = len(raw), self.grid.shape
        background = self.data.statistics.range[0]
        images = augmented(raw.view(n, H, W, C), uniform[:, :MOVES], spec.shift, spec.flip != "none", background)
        x = self.units.convert(images.reshape(n, -1), None)
        if spec.erase:
            hidden = covered(uniform[:, MOVES:], H, W, spec.erase)[..., None].expand(-1, -1, -1, C)
            x = x.masked_fill(self.grid.take(hidden.reshape(n, -1)), 0.0)
        return x
