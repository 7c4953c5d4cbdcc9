"""A labelled data set as classifier input: rows and class codes."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.classifier.spec import ClassifierSpec
from vaelab.data import Dataset, Scaling
from vaelab.errors import InputError, shown
from vaelab.supervised.feed import SupervisedFeed, resolve_inputs


def resolve(spec: ClassifierSpec, data: Dataset) -> ClassifierSpec:
    """The spec with batch size, device and engine resolved; rejects data on which no classifier can be evaluated."""
    return resolve_inputs(spec, with_labels(data))


def with_labels(data: Dataset) -> Dataset:
    """The data with only labelled rows in its splits; rejects data without labels, a single class, and classes too
    small to both train and evaluate.
    """
    if data.labels is None:
        raise InputError(f"a classifier needs labels, but {shown(data.name)} has none; give them with `target` or y.")
    counts = data.counts(np.arange(len(data.x)))
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
    learned = data.counts(data.splits["train"])
    missing = [data.classes[int(code)] for code in present if not learned[code]]
    if missing:
        raise InputError(
            f"every class needs a training example, but the split leaves none of class {shown(missing[0])}; "
            "add examples, or use another split seed."
        )
    for split in ("validation", "test"):
        if len(data.splits[split]) and not data.counts(data.splits[split]).any():
            raise InputError(
                f"a classifier is judged by labels, but none of the {len(data.splits[split]):,} {split} rows has one; "
                "label more rows, or name a column of splits with `split`."
            )
    return data.labelled


class LabelledFeed(SupervisedFeed):
    """Rows with their classes; rows without one are left out."""

    def __init__(self, data: Dataset, spec: ClassifierSpec, scaling: Scaling | None = None):
        """`scaling` is that of a trained model; by default it is computed from the data."""
        assert data.labels is not None, "check the labels first"
        super().__init__(data.labelled, spec, torch.from_numpy(np.ascontiguousarray(data.labels)), scaling)
        self.outputs = len(data.classes)

    @functools.cached_property
    def shares(self) -> Tensor:
        """Class frequencies (C,) in the training rows."""
        counts = torch.bincount(self.target.index_select(0, self.rows("train")), minlength=self.outputs)
        return counts.double() / counts.sum()

    @property
    def bias(self) -> Tensor:
        """The logits (C,) of the class frequencies, where predictions start."""
        return self.shares.cpu().float().log().clamp_min(-12)

    def weights(self, spec: ClassifierSpec) -> Tensor:
        """The weight of each class (C,) in the loss, whose mean over the training rows is 1; of absent classes 1."""
        if spec.class_weight == "none":
            return torch.ones(self.outputs, device=self.device)
        there = self.shares > 0
        balanced = 1 / (self.shares.clamp_min(1e-300) * there.sum())
        return torch.where(there, balanced, torch.ones_like(balanced)).float()

    def codes(self, split: str) -> npt.NDArray[np.int64]:
        """The classes of a split's rows."""
        codes = self.data.labels_of(split)
        assert codes is not None
        return codes
