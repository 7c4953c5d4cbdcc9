"""Labels propagated to the training latents, and what they say of new ones: kept, so that new rows need no graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from vaelab import store
from vaelab.errors import StoreError
from vaelab.latent.labels import UNKNOWN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FORMAT = 1
METHODS = ("mixture", "graph")  # that answer the classes of new rows: named components, and propagated labels


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Class probabilities from n propagated labels: p(c|x) = (n q_c + 1/C) / (n + 1) with q ~ share^(1/T).

    Propagation flattens the shares, which are strongly underconfident: T < 1 sharpens them (Guo et al. 2017). One more
    label, spread evenly over the classes, bounds the confidence from n labels. The order of the classes is unchanged.

    >>> Calibration(0.5, 9)(np.array([[0.8, 0.2], [0.5, 0.5]])).round(3).tolist()
    [[0.897, 0.103], [0.5, 0.5]]
    """

    temperature: float
    labels: int

    def __call__(self, shares: Floats) -> Floats:
        logs = np.log(np.maximum(shares, 1e-300)) / self.temperature
        sharp = normalised(np.exp(logs - logs.max(1, keepdims=True)))
        return np.asarray((self.labels * sharp + 1 / shares.shape[1]) / (self.labels + 1))


@dataclasses.dataclass(frozen=True)
class Propagation:
    """Propagated labels F (n, C) at points (n, L), each with its distance to the last of its neighbours, `reach` (n,).

    accuracy: of each of `METHODS` on labelled validation rows, none of which named anything; empty without such rows.

    >>> z, shares = np.array([[0.0], [0.1], [9.0], [9.1]]), np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    >>> Propagation(z, np.full(4, 0.1), shares, 2).predict_proba([[0.2], [8.0]]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    points: Floats
    reach: Floats
    shares: Floats
    neighbours: int
    calibration: Calibration | None = None
    accuracy: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def chosen(self) -> str:
        """What answers new rows: the more accurate on validation, of equals the graph, which needs fewer labels;
        without labelled validation rows the mixture.
        """
        return max(reversed(METHODS), key=lambda name: self.accuracy[name]) if self.accuracy else METHODS[0]

    def predict_proba(self, points: Any) -> Floats:
        """p(c|x) (m, C) at new points (m, L), from their neighbours; uniform if no label reached these."""
        search = NearestNeighbors(n_neighbors=self.neighbours).fit(self.points)
        away, near = search.kneighbors(points)
        found = placed(away, self.reach[near], self.shares[near])
        return found if self.calibration is None else self.calibration(found)

    def save(self, folder: Path) -> None:
        """FOLDER/propagation.safetensors and FOLDER/propagation.json, which contains its checksum."""
        arrays = {"points": self.points, "reach": self.reach, "shares": self.shares}
        digest = store.save_arrays(folder / "propagation.safetensors", arrays)
        facts = {
            "format": FORMAT,
            "arrays_sha256": digest,
            "rows": len(self.points),
            "neighbours": self.neighbours,
            "temperature": None if self.calibration is None else self.calibration.temperature,
            "labels": None if self.calibration is None else self.calibration.labels,
            "validation_accuracy": dict(self.accuracy),
        }
        store.write_json(folder / "propagation.json", facts)

    @classmethod
    def load(cls, folder: Path, latent_dim: int, classes: int) -> Self:
        """Read and check what `save` wrote; raises StoreError that names any problem."""
        path = folder / "propagation.json"
        with store.interpreting(path):
            facts = dict(store.read_json(path))
            if facts["format"] != FORMAT:
                raise StoreError(f"{path} must have format {FORMAT}, but has {facts['format']}; cluster again.")
            n = int(facts["rows"])
            shapes: dict[str, tuple[int, ...]] = {"points": (n, latent_dim), "reach": (n,), "shares": (n, classes)}
            arrays = store.load_arrays(
                folder / "propagation.safetensors", facts["arrays_sha256"],
                {name: (shape, "float64") for name, shape in shapes.items()},
            )  # fmt: skip
            t = facts["temperature"]
            calibration = None if t is None else Calibration(float(t), int(facts["labels"]))
            accuracy = {name: float(facts["validation_accuracy"][name]) for name in facts["validation_accuracy"]}
            return cls(**arrays, neighbours=int(facts["neighbours"]), calibration=calibration, accuracy=accuracy)


def answered(proba: Floats, reject: float = 0.0) -> Ints:
    """The most likely class (m,) of class shares (m, C); UNKNOWN if no label reached it, or below `reject`."""
    most = proba.max(1)
    return np.where((most > proba.min(1)) & (most >= reject), proba.argmax(1), UNKNOWN)


def edge_weights(away: Floats, own: Floats, reach: Floats) -> Floats:
    """Weights (m, k) of edges of lengths `away`, between points whose last neighbours are `own` and `reach` away."""
    return np.asarray(np.exp(-np.square(away) / (own * reach)))


def placed(away: Floats, reach: Floats, arrived: Floats) -> Floats:
    """Class shares (m, C) at points whose k neighbours are at distances `away` (m, k), with their own distances `reach`
    (m, k) to their last neighbour, and the labels `arrived` (m, k, C) there.
    """
    weights = edge_weights(away, np.maximum(away[:, -1:], 1e-12), reach)
    weights /= weights.sum(1, keepdims=True)
    return np.asarray(np.einsum("mk,mkc->mc", weights, normalised(arrived)))


def normalised(found: Floats) -> Floats:
    """Numbers normalised to sum 1 along the last axis; uniform if all are 0."""
    total = found.sum(-1, keepdims=True)
    even = np.full_like(found, 1 / found.shape[-1])
    return np.where(total > 0, found / np.where(total > 0, total, 1), even)
