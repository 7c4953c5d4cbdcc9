"""The study task for classifiers. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from vaelab.classifier.spec import ClassifierSpec
from vaelab.classifier.yardsticks import YARDSTICKS
from vaelab.settings.yardsticks import Yardstick
from vaelab.supervised.task import SupervisedTask

if TYPE_CHECKING:
    from vaelab.classifier.system import ClassifierSystem
    from vaelab.data import Dataset


class ClassifierTask(SupervisedTask):
    """Search a classifier."""

    name = "classifier"
    spec_type = ClassifierSpec
    yardsticks: Mapping[str, Yardstick] = YARDSTICKS
    own_convolutions: ClassVar = {"label_smoothing": (0.0, 0.1)}

    def eligible(self, data: Dataset) -> Dataset:
        """Only rows with a label."""
        from vaelab.classifier.feed import with_labels

        return with_labels(data)

    def system(self, yardstick: str) -> ClassifierSystem:
        from vaelab.classifier.system import ClassifierSystem

        return ClassifierSystem(yardstick)


TASK = ClassifierTask()
