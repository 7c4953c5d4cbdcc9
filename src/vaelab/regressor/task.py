"""The study task for regressors. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from vaelab.regressor.spec import RegressorSpec
from vaelab.regressor.yardsticks import YARDSTICKS
from vaelab.settings.yardsticks import Yardstick
from vaelab.supervised.task import SupervisedTask

if TYPE_CHECKING:
    from vaelab.regressor.system import RegressorSystem


class RegressorTask(SupervisedTask):
    """Search a regressor."""

    name = "regressor"
    spec_type = RegressorSpec
    yardsticks: Mapping[str, Yardstick] = YARDSTICKS
    own_space: ClassVar = {"noise": ["per_row", "constant"]}
    own_convolutions: ClassVar = {"noise": ["per_row", "constant"]}

    def system(self, yardstick: str) -> RegressorSystem:
        from vaelab.regressor.system import RegressorSystem

        return RegressorSystem(yardstick)


TASK = RegressorTask()
