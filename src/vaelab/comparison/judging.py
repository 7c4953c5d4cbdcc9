"""Evaluates one trained model by every metric of a comparison; all models on the same rows and noise."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelab.data import SPLITS, Dataset
from vaelab.metrics import reconstruction_mse, task_scores
from vaelab.settings.yardsticks import FINAL_DRAWS
from vaelab.vae import evaluate
from vaelab.vae.evaluate import Baseline
from vaelab.vae.fitted import Array, Fitted

TRAIN_ROWS = 10_000  # maximum training rows for evaluation and for fitting probes
PIECE = 1024  # rows reconstructed at once


@dataclasses.dataclass(frozen=True)
class Judged:
    """One run's metrics per split, lower is better except for accuracies; neg_elbo (N,) per validation example.

    `full` has the result of `Fitted.evaluate` on validation and test.
    """

    metrics: Mapping[str, Mapping[str, float]]
    costs: npt.NDArray[np.float64]
    full: Mapping[str, Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"costs": self.costs.tolist()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Judged:
        return cls(fields["metrics"], np.array(fields["costs"], dtype=np.float64), fields["full"])

    @property
    def collapsed(self) -> bool:
        return bool(self.full["validation"]["verdict"] == "collapsed")

    @property
    def reason(self) -> str | None:
        """The reason for posterior collapse on validation, if any."""
        reason: str | None = self.full["validation"].get("reason")
        return reason

    @property
    def gap(self) -> float:
        """Nats per example by which test is worse than train."""
        return self.metrics["test"]["neg_elbo"] - self.metrics["train"]["neg_elbo"]


def judged_rows(data: Dataset, split: str) -> npt.NDArray[np.int64]:
    """Row numbers of a split; of the training rows at most `TRAIN_ROWS`, evenly spaced."""
    rows = data.splits[split]
    return rows[:: thinning(data)] if split == "train" else rows


def thinning(data: Dataset) -> int:
    """The stride between evaluated training rows."""
    return -(-len(data.splits["train"]) // TRAIN_ROWS)


def judge_run(fitted: Fitted, data: Dataset, references: Mapping[str, Baseline]) -> Judged:
    """All metrics of a model on train, validation and test; the caller records that test was opened.

    references: baselines per split; for train those of the whole split.
    """
    metrics: dict[str, dict[str, float]] = {}
    full: dict[str, dict[str, Any]] = {}
    latents: dict[str, Array] = {}
    costs = np.zeros(0)
    for split in SPLITS:
        flat = data.flat[judged_rows(data, split)]
        raw = torch.from_numpy(np.ascontiguousarray(flat))
        scores = evaluate.score(
            fitted.model, fitted.parameters, [fitted.spec], fitted.units.batches(raw, FINAL_DRAWS),
            FINAL_DRAWS, fitted.log_jacobian,
        )  # fmt: skip
        reference = references[split]
        if split == "train":
            reference = dataclasses.replace(reference, no_latents=reference.no_latents[:: thinning(data)])
        full[split] = evaluate.metrics(scores, 0, fitted.spec, reference)
        metrics[split], latents[split] = _metrics(fitted, full[split], flat, data)
        if split != "train":
            metrics[split]["bound"] = _bound(fitted, raw)
        if split == "validation":
            costs = scores.neg_elbo[0].numpy()
    for split, scored in _tasks(data, latents).items():
        metrics[split] |= scored
    return Judged(metrics, costs, full)


def _metrics(fitted: Fitted, found: Mapping[str, Any], flat: Array, data: Dataset) -> tuple[dict[str, float], Array]:
    """The metrics common to all splits, and the latents: posterior means (n, L)."""
    metrics: dict[str, float] = {name: found[name] for name in ("neg_elbo", "rate", "distortion", "active_units")}
    metrics["averaged_kl_loss"] = evaluate.averaged_kl_loss(
        metrics["distortion"], metrics["rate"], fitted.spec.latent_dim
    )
    if found["share"] is not None:
        metrics["share"] = found["share"]
    pieces, total = [], 0.0
    for start in range(0, len(flat), PIECE):
        x = flat[start : start + PIECE]
        z, _ = fitted.encode(x)
        total += len(x) * reconstruction_mse(x, fitted.decode(z, x).reshape(len(x), -1), pixel_scale(data))
        pieces.append(z)
    metrics["mse"] = total / len(flat)
    return metrics, np.concatenate(pieces)


def pixel_scale(data: Dataset) -> Array:
    """The unit of errors, independent of the likelihood: the pixel range, or each column's standard deviation; 0 for
    categories, whose numbers have no distance.
    """
    if not data.is_image:
        return np.where([column.kind == "categorical" for column in data.columns], 0.0, data.statistics.std)
    low, high = data.statistics.range
    if data.is_8bit and high > 1:
        return np.full(1, 255.0)
    return np.full(1, 1.0 if low >= 0 and high <= 1 else high - low)


def _bound(fitted: Fitted, raw: torch.Tensor) -> float:
    draws = evaluate.BOUND_DRAWS
    batches = fitted.units.batches(raw, draws)
    bound = evaluate.importance_bound(fitted.model, fitted.parameters, fitted.spec, batches, draws, fitted.log_jacobian)
    return bound.neg_log_p


def _tasks(data: Dataset, latents: Mapping[str, Array]) -> dict[str, dict[str, float]]:
    """Accuracies of the probes fitted to the training latents, if there are labels."""
    if data.labels is None:
        return {}
    labelled = {split: (z, data.labels[judged_rows(data, split)]) for split, z in latents.items()}
    return task_scores(labelled.pop("train"), labelled)


def over_seeds(values: Sequence[float]) -> dict[str, float | None]:
    """Mean over seeds and its standard error, None for one seed.

    >>> over_seeds([1.0, 3.0]), over_seeds([2.0])
    ({'mean': 2.0, 'se': 1.0}, {'mean': 2.0, 'se': None})
    """
    se = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "se": se}


def units_of(fitted: Fitted) -> dict[str, str]:
    """What must be equal for the nats of two models of the same data to be comparable."""
    likelihood: str = fitted.spec.likelihood
    typed = fitted.scaling.typed
    if typed is not None and likelihood == "mixed":
        kinds = Counter(column.kind for column in typed.columns)
        likelihood += " of " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        return {"likelihood": likelihood + ", given their total" * typed.has_size, "binarize": fitted.spec.binarize}
    if not fitted.model.likelihood.is_mass:
        likelihood += f" of {fitted.model.features} features" + (", dequantised" if fitted.scaling.dequantise else "")
    return {"likelihood": likelihood, "binarize": fitted.spec.binarize}
