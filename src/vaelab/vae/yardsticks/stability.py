"""Whether two halves of the data give the same clusters: a heuristic for clusters without labels.

Lange et al. 2004, Stability-based validation of clustering solutions. Stable clusters need not be meaningful ones.
"""

from __future__ import annotations

import dataclasses

from sklearn.metrics import adjusted_rand_score

from vaelab.vae.yardsticks.mixture import assigned
from vaelab.vae.yardsticks.yardstick import Latents, LatentYardstick

COMPONENTS = 10  # as `vaelab cluster` takes for data without classes


@dataclasses.dataclass(frozen=True)
class ClusterStability(LatentYardstick):
    """The adjusted Rand index of the judged rows' clusters in two mixtures, one per half of the training rows."""

    def measure(self, latents: Latents) -> float:
        # Alternate rows, since files may be sorted.
        one, other = (assigned(latents.train[half::2], latents.judged, COMPONENTS) for half in (0, 1))
        return float(adjusted_rand_score(one, other))


STABILITY = ClusterStability(
    "stability",
    "stability of clusters (a heuristic: adjusted Rand index)",
    "stability",
    rises=True,
    how="Stability is a heuristic and uses no labels: Gaussian mixtures of 10 components are fitted to the posterior "
    "means of two halves of the training rows, and the agreement of their clusters on validation rows chose. Clusters "
    "can be stable without meaning anything.",
)
