"""What the study tasks of classifiers and regressors share. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vaelab.settings.purposes import Purpose
from vaelab.settings.space import Space, networks_of
from vaelab.settings.yardsticks import Yardstick
from vaelab.supervised.spec import SupervisedSpec

if TYPE_CHECKING:
    from vaelab.data import Dataset

# The search space for convolutional networks: few settings, since each trial is expensive.
CONVOLUTIONS: dict[str, Any] = {
    "channels": ["32-64", "32-64-128"],
    "stem": [0, 32],
    "blocks": (0, 1),
    "units1": (64, 256, "log"),
    "dropout1": (0.0, 0.5),
    "lr": (1e-3, 1e-2, "log"),
    "weight_decay": (1e-6, 1e-3, "log"),
    "shift": (0, 2),
    "flip": ["none", "horizontal"],
}


class SupervisedTask:
    """Search a network that predicts a target."""

    spec_type: type[SupervisedSpec]
    purposes: Mapping[str, Purpose] = {}
    fixed: Mapping[str, str] = {}
    first: Sequence[Mapping[str, Any]] = ({}, {"layers": 0})  # the linear model
    defaults: Mapping[str, Any] = {"final_seeds": 1, "finalists": 3}
    own_space: ClassVar[Mapping[str, Any]] = {}  # searched besides, by dense networks
    own_convolutions: ClassVar[Mapping[str, Any]] = {}  # and by convolutions

    def eligible(self, data: Dataset) -> Dataset:
        """All: every row has a target."""
        return data

    def default_space(
        self, data: Dataset, settings: Mapping[str, Any], affords: Callable[[Mapping[str, Any]], bool]
    ) -> Space:
        """Depth, units and dropout of every layer, learning rate and weight decay, without fixed settings.

        For convolutions also channels, residual blocks and augmentation.
        """
        if settings.get("network") == "conv":
            # A reversed curve is a different one.
            every = {**CONVOLUTIONS, **self.own_convolutions}
            searched = {name: values for name, values in every.items() if len(data.shape) > 1 or name != "flip"}
            return Space.parse(searched, self.spec_type).without(settings)
        units, dropout = (32, 512, "log"), (0.0, 0.5)
        space: dict[str, Any] = {"layers": (0, 3)}
        space |= {f"units{i}": units for i in (1, 2, 3)} | {f"dropout{i}": dropout for i in (1, 2, 3)}
        space |= {"lr": (3e-4, 1e-2, "log"), "weight_decay": (1e-6, 1e-2, "log")}
        return Space.parse({**space, **self.own_space}, self.spec_type).without(settings)

    def warnings(self, settings: Mapping[str, Any], space: Space, yardsticks: Sequence[Yardstick]) -> list[str]:
        if "conv" not in networks_of(settings, space):
            return []
        return ["on a CPU, convolutional networks are trained one at a time: stacking them is no faster."]

    def label(self, spec: SupervisedSpec) -> str:
        return f"{spec.network}{'-'.join(map(str, _widths(spec))) or '-linear'}"

    def outline(self, spec: SupervisedSpec) -> str:
        return f"{'-'.join(map(str, _widths(spec))) or 'linear'}, {spec.optimizer}, lr {spec.lr:.1e}"


def _widths(spec: SupervisedSpec) -> tuple[int, ...]:
    return (spec.channels if spec.network == "conv" else ()) + spec.hidden_sizes
