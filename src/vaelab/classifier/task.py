"""What a study needs to be told to search a classifier. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.classifier.spec import ClassifierSpec
from vaelab.space import Space


class ClassifierTask:
    """Search a classifier."""

    name = "classifier"
    spec = ClassifierSpec
    yardsticks = ("accuracy", "log_loss", "macro_f1", "balanced_accuracy")
    nothing = "nothing was learned of the classes"
    fixed: Mapping[str, str] = {
        "epochs": "it is the budget of every trial",
        "seed": "every trial has its own already",
        "device": "it is where trials run, not what they are",
        "precision": "it is how trials run, not what they are",
    }
    defaults: Mapping[str, Any] = {"final_seeds": 1, "finalists": 3}

    def default_space(self, features: int, settings: Mapping[str, Any]) -> Space:
        """Depth, the units and dropout of every layer, learning rate and weight decay, less what is set.

        >>> ClassifierTask().default_space(784, {"layers": 1}).names[:2]
        ('units1', 'units2')
        """
        units, dropout = (32, 512, "log"), (0.0, 0.5)
        space: dict[str, Any] = {"layers": (1, 3)}
        space |= {f"units{i}": units for i in (1, 2, 3)} | {f"dropout{i}": dropout for i in (1, 2, 3)}
        space |= {"lr": (3e-4, 1e-2, "log"), "weight_decay": (1e-6, 1e-2, "log")}
        return Space.parse(space, ClassifierSpec).without(settings)

    def check(self, yardstick: str, space: Space) -> None:
        """All settings may be searched beside each other: no weight of the loss enters a yardstick."""

    def warnings(self, space: Space) -> list[str]:
        return []

    def label(self, spec: ClassifierSpec) -> str:
        return f"mlp{'-'.join(map(str, spec.hidden_sizes)) or '-linear'}"

    def outline(self, spec: ClassifierSpec) -> str:
        return f"{'-'.join(map(str, spec.hidden_sizes)) or 'linear'}, {spec.optimizer}, lr {spec.lr:.1e}"

    def system(self, yardstick: str) -> Any:
        from vaelab.classifier.system import ClassifierSystem

        return ClassifierSystem(yardstick)


TASK = ClassifierTask()
