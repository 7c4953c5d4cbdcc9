"""How well clusters that were found without labels agree with the classes."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from vaelab.vae.yardsticks.mixture import assigned
from vaelab.vae.yardsticks.yardstick import Latents, LatentYardstick


@dataclasses.dataclass(frozen=True)
class ClassNMI(LatentYardstick):
    """2 I(c; y) / (H(c) + H(y)) of the components c of a mixture, one per class, and the classes y."""

    def measure(self, latents: Latents) -> float:
        assert latents.train_codes is not None
        classes = len(np.unique(latents.train_codes))
        return float(
            normalized_mutual_info_score(latents.judged_codes, assigned(latents.train, latents.judged, classes))
        )


NMI = ClassNMI(
    "nmi",
    "mutual information of clusters and classes (NMI)",
    "NMI",
    rises=True,
    needs_labels=True,
    how="A Gaussian mixture with one component per class is fitted to the posterior means of training rows without "
    "labels; its normalised mutual information with the labels of validation rows chose.",
)
