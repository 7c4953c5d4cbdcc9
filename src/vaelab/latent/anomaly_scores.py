"""Anomaly scores and their evaluation: arrays in, metrics out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.metrics import auroc, auroc_error

Floats = npt.NDArray[np.float64]
# Every score is higher for more anomalous examples.
MEANINGS = {
    "bound": "negative evidence lower bound, nats: unlikely under the model",
    "pixel_entropy": "entropy of the pixels only, nats, without any model",
    "bound_minus_entropy": "negative bound minus the entropy of the pixels",
    "typicality": "distance of the bound from its mean in training, nats",
    "regret": "likelihood regret, nats: the gain from its own optimised posterior",
    "mixture": "negative log-density under a mixture of the latents, nats",
}


def pixel_entropy(x: Any) -> Floats:
    """sum_d H(x_d) in nats (n,) of rows (n, D) in [0, 1] read as probabilities; 0 for black and white pixels.

    >>> pixel_entropy(np.array([[0.0, 1.0, 0.5]])).round(4).tolist()
    [0.6931]
    """
    p = np.clip(np.asarray(x, dtype=np.float64), 1e-12, 1 - 1e-12)
    inside = (np.asarray(x) > 0) & (np.asarray(x) < 1)
    return np.asarray(np.where(inside, -p * np.log(p) - (1 - p) * np.log1p(-p), 0.0).sum(1))


def typicality(bound: Floats, reference: Floats) -> Floats:
    """|bound - mean of the reference bounds| (n,): too unlikely and too likely both count (Nalisnick et al. 2019)."""
    return np.asarray(np.abs(bound - reference.mean()))


def judge(known: Mapping[str, Floats], other: Mapping[str, Floats]) -> dict[str, dict[str, Any]]:
    """Per score: its AUROC for `other` against `known` examples, its standard error over examples, how many of each
    kind were scored, whether it failed, and one sentence.

    An AUROC below 0.5 is a failure: by that score the anomalies look more normal than the model's own examples. It is
    not inverted, since the right direction is known only from anomalies, which are not available in advance.
    """
    return {name: _verdict(name, known, other) for name in MEANINGS if name in known and name in other}


def _verdict(name: str, known: Mapping[str, Floats], other: Mapping[str, Floats]) -> dict[str, Any]:
    value, title = auroc(known[name], other[name]), name.replace("_", " ")
    verdict: dict[str, Any] = {
        "auroc": value, "se": auroc_error(known[name], other[name]), "failed": value < 0.5, "meaning": MEANINGS[name],
        "known": len(known[name]), "other": len(other[name]),
    }  # fmt: skip
    if value < 0.5:
        verdict["sentence"] = (
            f"{title} FAILED (AUROC {value:.3f}): it ranks the other data as more normal than the model's own. "
            + _why(name, known, other)
        )
    else:
        word = "no better than chance" if value < 0.55 else "weak" if value < 0.8 else "useful on this pair"
        verdict["sentence"] = f"{title}: AUROC {value:.3f}, {word}."
    return verdict


def _why(name: str, known: Mapping[str, Floats], other: Mapping[str, Floats]) -> str:
    if "pixel_entropy" in known and name not in ("regret", "mixture"):
        own, others = float(known["pixel_entropy"].mean()), float(other["pixel_entropy"].mean())
        alone = auroc(known["pixel_entropy"], other["pixel_entropy"])
        if others >= own:
            return f"Their pixels are not simpler ({others:.1f} nats against {own:.1f}); the cause is the model itself."
        if name == "pixel_entropy":
            return f"Their pixels are simpler, {others:.1f} nats against {own:.1f}; this score uses no model."
        if name == "bound_minus_entropy":
            return "Subtracting the entropy of their pixels does not compensate for their simplicity."
        return (
            f"Their pixels are simpler: {others:.1f} nats of entropy against {own:.1f}, which alone, without a model, "
            f"gives {alone:.3f}; a likelihood depends on simplicity as much as on familiarity."
        )
    if name in ("bound", "typicality"):
        return "A likelihood depends on simplicity as much as on familiarity."
    if name == "mixture":
        return "The encoder maps unseen data into the middle of its own latents."
    return "The encoder's posterior fits them no worse than its own examples, so the regret is small."
