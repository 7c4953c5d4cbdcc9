"""Clusters of a latent space: arrays in; components, labels and scores out. scikit-learn, no torch."""

from vaelab.latent.labels import UNKNOWN, ClassTable, draw_balanced
from vaelab.latent.mixture import LatentMixture
from vaelab.latent.saved import Clusters, component_shares

__all__ = ["UNKNOWN", "ClassTable", "Clusters", "LatentMixture", "component_shares", "draw_balanced"]
