"""All hyperparameters of one classifier. Imports neither torch nor sklearn."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from vaelab.supervised.spec import Share, SupervisedSpec


class ClassifierSpec(SupervisedSpec):
    """All hyperparameters of one classifier, frozen and validated.

    >>> ClassifierSpec(layers=2, units1=128, units2=64, dropout1=0.2).hidden_sizes
    (128, 64)
    """

    per_member: ClassVar = SupervisedSpec.per_member | {"label_smoothing", "class_weight"}

    label_smoothing: Share = Field(0.0, description="share of the target probability spread over all classes")
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="weight of each class in the loss: equal, or inverse to its frequency in training"
    )
