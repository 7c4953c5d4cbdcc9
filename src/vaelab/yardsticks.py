"""The figures that judge trials: what each is called, its unit, and which way is better."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """A figure that judges trials. What a study minimises is its cost: the figure, or 1 - figure where it rises.

    >>> YARDSTICKS["accuracy"].cost(0.9), YARDSTICKS["neg_elbo"].cost(104.5)
    (0.09999999999999998, 104.5)
    """

    name: str
    title: str
    short: str
    unit: str = ""
    rises: bool = False  # a share of 1 of which more is better

    def cost(self, figure: float) -> float:
        """What is minimised; also the way back, since 1 - (1 - figure) is the figure."""
        return 1 - figure if self.rises else figure

    @property
    def better(self) -> str:
        return "higher is better" if self.rises else "lower is better"


NATS = "nats per example"
YARDSTICKS = {
    own.name: own
    for own in (
        Yardstick("neg_elbo", "negative ELBO", "neg. ELBO", NATS),
        Yardstick("weighted_loss", "weighted loss", "weighted loss", NATS),
        Yardstick("accuracy", "accuracy", "accuracy", rises=True),
        Yardstick("log_loss", "log-loss", "log-loss", NATS),
        Yardstick("macro_f1", "macro-averaged F1", "macro F1", rises=True),
        Yardstick("balanced_accuracy", "balanced accuracy", "balanced accuracy", rises=True),
    )
}
