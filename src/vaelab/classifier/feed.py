"""A labelled data set as classifier input: standardised rows and class codes, by row number, on the device."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.classifier.augment import MOVES, augmented, covered
from vaelab.classifier.spec import ClassifierSpec
from vaelab.data import Dataset, Scaling
from vaelab.engine.encoding import Encoding, with_filling
from vaelab.engine.resolve import check_convolutions, resolve_training
from vaelab.engine.rows import Rows, Units
from vaelab.errors import InputError, shown


def resolve(spec: ClassifierSpec, data: Dataset) -> ClassifierSpec:
    """The spec with batch size, device and engine resolved; rejects data on which no classifier can be evaluated."""
    check_labels(data)
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


def check_labels(data: Dataset) -> None:
    """Reject missing labels, a single class, and classes too small to both train and evaluate."""
    if data.labels is None:
        raise InputError(f"a classifier needs labels, but {shown(data.name)} has none; give them with `target` or y.")
    counts = np.bincount(data.labels, minlength=len(data.classes))
    present = np.flatnonzero(counts)
    if len(present) < 2:
        only = shown(data.classes[int(present[0])])
        raise InputError(
            f"a classifier needs at least two classes, but all {counts.sum():,} labels are {only}; add another class."
        )
    single = [data.classes[int(code)] for code in present if counts[code] == 1]
    if single:
        others = f" and {len(single) - 1} more" if len(single) > 1 else ""
        raise InputError(
            f"every class needs at least 2 examples, one to train and one to evaluate, but class "
            f"{shown(single[0])}{others} has 1; add examples, or drop the class."
        )
    learned = np.bincount(data.labels[data.splits["train"]], minlength=len(data.classes))
    missing = [data.classes[int(code)] for code in present if not learned[code]]
    if missing:
        raise InputError(
            f"every class needs a training example, but the split leaves none of class {shown(missing[0])}; "
            "add examples, or use another split seed."
        )


def standardisation(data: Dataset, spec: ClassifierSpec) -> Scaling:
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
    """To what a classifier sees."""
    return Units(scaling, "none", device, None if scaling.typed is None else Encoding(scaling.typed))


class LabelledFeed(Rows):
    """Rows with their classes."""

    def __init__(self, data: Dataset, spec: ClassifierSpec, scaling: Scaling | None = None):
        """`scaling` is that of a trained model; by default it is computed from the data."""
        assert data.labels is not None, "check the labels first"
        device = torch.device(spec.device)
        super().__init__(data, units_of(scaling or standardisation(data, spec), device), device)
        self.labels = torch.from_numpy(np.ascontiguousarray(data.labels)).to(device)
        self.classes = len(data.classes)

    @functools.cached_property
    def shares(self) -> Tensor:
        """Class frequencies (C,) in the training rows."""
        counts = torch.bincount(self.labels.index_select(0, self.rows("train")), minlength=self.classes)
        return counts.double() / counts.sum()

    def codes(self, split: str) -> npt.NDArray[np.int64]:
        """The classes of a split's rows."""
        codes = self.data.labels_of(split)
        assert codes is not None
        return codes

    def gather(self, rows: Tensor, spec: ClassifierSpec, uniform: Tensor | None = None) -> Tensor:
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
