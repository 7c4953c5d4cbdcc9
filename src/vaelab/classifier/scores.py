"""Metrics of predictions: logits or probabilities and true classes in, metrics out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from vaelab import metrics as scores

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TEMPERATURES = (0.05, 20.0)


def probabilities(logits: Floats, temperature: float = 1.0) -> Floats:
    """softmax(logits / T) (n, C)."""
    proba: Floats = softmax(logits / temperature, axis=1)
    return proba


def fit_temperature(logits: Floats, codes: Ints) -> float:
    """The T that minimises the cross-entropy of softmax(logits / T) with smoothed true classes.

    Overconfident probabilities get T > 1; no prediction changes. With n examples the true class has target
    (n + 1) / (n + 2) and the other classes share the rest: else n correct predictions would give certainty.
    (Guo et al. 2017, section 4.2; Platt 1999, section 2.2.)

    >>> round(fit_temperature(np.array([[9.0, 0.0]] * 4), np.array([0, 0, 0, 1])), 2)  # 9 / log 2: 2 in 3 are right
    12.98
    >>> round(fit_temperature(np.array([[9.0, 0.0]] * 4), np.array([0, 0, 0, 0])), 2)  # 9 / log 5
    5.59
    """
    n, C = logits.shape
    every, doubt = np.arange(n), 1 / (n + 2)

    def cost(log_t: float) -> float:
        log_p = log_softmax(logits / math.exp(log_t), axis=1)
        own = log_p[every, codes]
        return -float(((1 - doubt) * own + doubt / (C - 1) * (log_p.sum(1) - own)).mean())

    low, high = (math.log(t) for t in TEMPERATURES)
    return math.exp(float(minimize_scalar(cost, bounds=(low, high), method="bounded").x))


def by_class(table: Ints) -> dict[str, Floats]:
    """Precision, recall and F1 (C,) of every class from true classes (rows) by predictions; NaN where undefined.

    F1 = 2 TP / (true + predicted); 0 for a class that occurs but is never predicted.
    """
    hits, there, answered = np.diag(table).astype(np.float64), table.sum(1), table.sum(0)
    with np.errstate(invalid="ignore"):
        return {"precision": hits / answered, "recall": hits / there, "f1": 2 * hits / (there + answered)}


def answer_metrics(table: Ints) -> dict[str, float]:
    """Accuracy, macro-averaged F1 and balanced accuracy from true classes (rows) by predictions.

    Averages are over the classes that occur; for F1 also over those that are predicted.

    >>> answer_metrics(np.array([[3, 1], [0, 4]]))["balanced_accuracy"]
    0.875
    """
    each = by_class(table)
    return {
        "accuracy": float(np.trace(table) / table.sum()),
        "macro_f1": float(np.nanmean(each["f1"])),
        "balanced_accuracy": float(np.nanmean(each["recall"])),
    }


def reliability(proba: Floats, codes: Ints, bins: int = scores.BINS) -> dict[str, list[float]]:
    """Confidence, accuracy and number of examples in bins of equal mass, by the highest probability."""
    confidence, right = proba.max(1), proba.argmax(1) == codes
    order = np.argsort(confidence, kind="stable")
    edges = scores.bin_edges(confidence[order], bins)
    counts = np.diff(np.append(edges, len(order)))
    return {
        "confidence": (np.add.reduceat(confidence[order], edges) / counts).tolist(),
        "accuracy": (np.add.reduceat(right[order].astype(np.float64), edges) / counts).tolist(),
        "count": counts.tolist(),
    }


def metrics(logits: Floats, codes: Ints, temperature: float, classes: Sequence[str]) -> dict[str, Any]:
    """All metrics of predictions (n, C) at a temperature; `unscaled` has those of the probabilities without it."""
    proba, raw = probabilities(logits, temperature), probabilities(logits)
    table = scores.contingency(codes, logits.argmax(1), len(classes), len(classes))
    each = by_class(table)
    found: dict[str, Any] = answer_metrics(table)
    n, accuracy = len(codes), found["accuracy"]
    found["se"] = math.sqrt(accuracy * (1 - accuracy) / n)
    found |= _of_probabilities(proba, codes)
    found |= {"temperature": temperature, "examples": n, "unscaled": _of_probabilities(raw, codes)}
    found["reliability"] = {"scaled": reliability(proba, codes), "unscaled": reliability(raw, codes)}
    found["confusion"] = table.tolist()
    found["classes"] = [
        {"class": name, "examples": int(table[i].sum())}
        | {key: None if math.isnan(v := float(values[i])) else v for key, values in each.items()}
        for i, name in enumerate(classes)
    ]
    return found


def _of_probabilities(proba: Floats, codes: Ints) -> dict[str, float]:
    return {
        "log_loss": scores.log_loss(proba, codes),
        "brier": scores.brier(proba, codes),
        "ece": scores.calibration_error(proba, codes),
    }


def why_collapsed(accuracy: float, error: float, always: float) -> str | None:
    """The reason if predictions are no better than always the most frequent class; else None.

    error: standard error of the accuracy; always: accuracy of the most frequent class.

    >>> why_collapsed(0.12, 0.01, 0.11)
    'its accuracy, 0.12, is within 2 standard errors (2 x 0.01) of always predicting the most frequent class, 0.11'
    """
    if accuracy > always + 2 * error:
        return None
    return (
        f"its accuracy, {accuracy:.3g}, is within 2 standard errors (2 x {error:.2g}) of always predicting the most "
        f"frequent class, {always:.3g}"
    )
