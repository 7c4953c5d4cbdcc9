"""Saves and loads a labelled mixture, and computes the posterior over its components for encoded examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from vaelab import store
from vaelab.data.dataset import LabelKind
from vaelab.errors import StoreError, shown
from vaelab.latent.labels import ClassTable
from vaelab.latent.mixture import Covariance, LatentMixture
from vaelab.latent.propagation import METHODS, Propagation, answered
from vaelab.settings import checks
from vaelab.wording import percent

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Points = Literal["samples", "means"]
FORMAT = 1
DRAWS = 8  # draws of z over which p(k|x) is averaged
ARRAYS = ("weights", "means", "covariances", "counts")


@dataclasses.dataclass(frozen=True)
class Clusters:
    """A mixture on the latents of one encoder, the labelled mass of its components, the same labels propagated along
    the graph of the training latents, and the class names.

    points: what the mixture was fitted to: draws of q(z|x), or posterior means, then widened by the mean variance.
    run: the folder of the encoder, relative to that of the mixture. weights_sha256: of the encoder's weights.
    """

    mixture: LatentMixture
    table: ClassTable | None
    classes: tuple[str, ...]
    points: Points = "samples"
    reject: float = 0.0
    run: str = "model"
    weights_sha256: str = ""
    propagation: Propagation | None = None
    label_kind: LabelKind = "text"

    def shares(self, mean: Any, std: Any) -> Floats:
        """p(k|x) (n, K) from the posterior's mean and standard deviation (n, L)."""
        return component_shares(self.mixture, mean, std, self.points)

    @property
    def methods(self) -> tuple[str, ...]:
        """What can answer the classes of new rows."""
        return () if self.table is None else METHODS if self.propagation is not None else METHODS[:1]

    @property
    def chosen(self) -> str:
        """What answers them unless asked otherwise: the more accurate on validation."""
        return "mixture" if self.propagation is None else self.propagation.chosen

    def predict(self, mean: Any, std: Any, by: str | None = None) -> tuple[Ints, Floats]:
        """Classes (n,), -1 for "unknown", and p(c|x) (n, C) from the posterior's mean and standard deviation (n, L).

        by: "mixture", its named components, or "graph", propagated labels; by default what validation chose.
        """
        assert self.table is not None, "labelled"
        if checks.choice("by", by or self.chosen, self.methods) == "mixture":
            shares = self.shares(mean, std)
            return self.table.predict(shares, self.reject), self.table.predict_proba(shares)
        assert self.propagation is not None
        proba = self.propagation.predict_proba(np.asarray(mean, dtype=np.float64))
        return answered(proba, self.reject), proba

    def told(self, by: str) -> str:
        """By what classes are answered, in a sentence with what validation says of it."""
        how = {"mixture": "the mixture's named components", "graph": "label propagation"}
        known = {} if self.propagation is None else self.propagation.accuracy
        right = "".join(f"; of the validation rows {how[name]} got {percent(known[name], 1)} right" for name in known)
        others = [name for name in self.methods if name != by]
        other = f" (`by` = {others[0]} is the other way)" if others else ""
        return f"classes are answered by {how[by]}{other}{right}."

    def save(self, folder: Path) -> None:
        """FOLDER/mixture.safetensors, FOLDER/mixture.json with its checksum, and the files of the propagation."""
        if self.propagation is not None:
            self.propagation.save(folder)
        m = self.mixture
        counts = np.zeros((len(m.weights_), 0)) if self.table is None else self.table.counts
        arrays = {"weights": m.weights_, "means": m.means_, "covariances": m.covariances_, "counts": counts}
        digest = store.save_arrays(folder / "mixture.safetensors", arrays)
        facts = {
            "format": FORMAT,
            "arrays_sha256": digest,
            "components": len(m.weights_),
            "latent_dim": m.means_.shape[1],
            "covariance": m.covariance,
            "points": self.points,
            "classes": list(self.classes),
            "label_kind": self.label_kind,
            "smoothing": None if self.table is None else self.table.smoothing,
            "propagates": self.propagation is not None,
            "reject": self.reject,
            "run": self.run,
            "weights_sha256": self.weights_sha256,
        }
        store.write_json(folder / "mixture.json", facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read and check what `save` wrote; raises StoreError that names any problem."""
        with store.interpreting(folder / "mixture.json"):
            return cls._of(folder)

    @classmethod
    def _of(cls, folder: Path) -> Self:
        path = folder / "mixture.json"
        facts = store.read_json(path)
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            found = facts.get("format") if isinstance(facts, dict) else None
            raise StoreError(
                f"{path} must have format {FORMAT}, but has {shown(found)}; upgrade vaelab, or cluster again."
            )
        kinds = {
            "arrays_sha256": str, "components": int, "latent_dim": int, "points": str, "classes": list, "run": str,
            "covariance": str, "reject": int | float, "weights_sha256": str, "propagates": bool,
        }  # fmt: skip
        for name, kind in kinds.items():
            if not isinstance(facts.get(name), kind):
                raise StoreError(f"{path} is damaged: it has no valid {name!r}; cluster again.")
        if facts["points"] not in get_args(Points):
            raise StoreError(f"{path} is damaged: points must be samples or means, but is {shown(facts['points'])}.")
        kind = facts.get("label_kind", "text")  # an older clustering does not know
        if kind not in get_args(LabelKind):
            raise StoreError(f"{path} is damaged: label_kind must be text, int or bool, but is {shown(kind)}.")
        if facts["components"] < 1 or facts["latent_dim"] < 1 or facts["covariance"] not in get_args(Covariance):
            raise StoreError(f"{path} is damaged: it describes no mixture; cluster again.")
        K, L, C = facts["components"], facts["latent_dim"], len(facts["classes"])
        labelled = facts.get("smoothing") is not None
        shapes = {"weights": (K,), "means": (K, L), "covariances": (K, L, L), "counts": (K, C if labelled else 0)}
        expected = {name: (shapes[name], "float64") for name in ARRAYS}
        arrays = store.load_arrays(folder / "mixture.safetensors", facts["arrays_sha256"], expected)
        mixture = LatentMixture.of(arrays["weights"], arrays["means"], arrays["covariances"], facts["covariance"])
        table = ClassTable(arrays["counts"], float(facts["smoothing"])) if labelled else None
        propagation = Propagation.load(folder, L, C) if facts["propagates"] else None
        return cls(
            mixture, table, tuple(map(str, facts["classes"])), facts["points"], float(facts["reject"]), facts["run"],
            facts["weights_sha256"], propagation, kind,
        )  # fmt: skip


def component_shares(mixture: LatentMixture, mean: Any, std: Any, points: Points) -> Floats:
    """p(k|x) = E_q(z|x) p(k|z) (n, K) over a few draws, or p(k|z) at the posterior mean of a widened mixture.

    All examples use the same standard normals, so that results do not depend on the other examples.
    """
    if points == "means":
        return mixture.predict_proba(mean)
    total = np.zeros((len(mean), len(mixture.weights_)))
    noise = np.random.default_rng(0).standard_normal((DRAWS // 2, np.shape(mean)[1]))
    for one in (*noise, *-noise):  # antithetic pairs make the mean of the draws exact
        total += mixture.predict_proba(mean + std * one)
    return total / DRAWS
