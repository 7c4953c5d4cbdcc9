"""All hyperparameters of one regressor. Imports neither torch nor sklearn."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from vaelab.supervised.spec import SupervisedSpec

Noise = Literal["per_row", "constant"]


class RegressorSpec(SupervisedSpec):
    """All hyperparameters of one regressor, frozen and validated.

    >>> RegressorSpec(layers=1, units1=32, noise="constant").hidden_sizes
    (32,)
    """

    per_member: ClassVar = SupervisedSpec.per_member | {"noise"}

    noise: Noise = Field("per_row", description="scale of the noise: predicted for each row, or one for all rows")
