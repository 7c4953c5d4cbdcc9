"""The accuracy of a linear probe: how much of the classes the latents hold in a form that a linear model can use."""

from __future__ import annotations

import dataclasses

from vaelab.metrics import task_scores
from vaelab.vae.yardsticks.yardstick import Latents, LatentYardstick


@dataclasses.dataclass(frozen=True)
class TaskScore(LatentYardstick):
    """One of the accuracies of `metrics.task_scores`."""

    score: str = ""

    def measure(self, latents: Latents) -> float:
        assert latents.train_codes is not None
        assert latents.judged_codes is not None
        judged = {"judged": (latents.judged, latents.judged_codes)}
        return task_scores((latents.train, latents.train_codes), judged)["judged"][self.score]


PROBE = TaskScore(
    "probe",
    "probe accuracy",
    "probe",
    rises=True,
    needs_labels=True,
    how="The probe is a logistic regression on standardised posterior means, fitted to the labels of training rows; "
    "its accuracy on the labels of validation rows chose.",
    score="probe",
)
