"""Metrics of predictions: logits or probabilities and true classes in, metrics out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from vaelab import metrics as scores
from vaelab.wording import difference, number

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TEMPERATURES = (0.05, 20.0)
ROUNDING = 1e-6  # nats, by which constant outputs in single precision may differ from class frequencies


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
    found["se"] = scores.share_error(accuracy, n)
    found |= _of_probabilities(proba, codes)
    error = _mean(scores.nats(proba, codes))[1]
    found["errors"] = {"accuracy": found["se"], "log_loss": error if math.isfinite(error) else None}
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


@dataclasses.dataclass(frozen=True)
class Gain:
    """By how much a metric of predictions is better than without x, and the standard error of that over examples."""

    metric: str
    value: float
    without: float
    of: str  # what needs no x
    gain: float
    error: float

    @property
    def is_clear(self) -> bool:
        return self.gain > 2 * self.error + ROUNDING

    def __str__(self) -> str:
        both = [each for each in (self.value, self.without) if math.isfinite(each)]
        value, without = (number(each, *both) for each in (self.value, self.without))
        return f"{self.metric} {value} against {without} of {self.of}, ± {difference(self.error)}"


def gains(logits: Floats, codes: Ints, shares: Floats) -> list[Gain]:
    """Accuracy against that of always the most frequent class, log-loss against that of the class frequencies `shares`
    (C,) in training, and balanced accuracy against chance, of logits (n, C) for true classes (n,).

    The first two errors are of the mean paired difference; that of chance is of answers that do not depend on x: if a
    share q_c of them is c, so is the recall of c on average, with variance q_c (1 - q_c) / n_c.
    """
    n, C = logits.shape
    answers, everywhere = logits.argmax(1), np.broadcast_to(shares, (n, C))
    right, always = (answers == codes).astype(np.float64), (codes == shares.argmax()).astype(np.float64)
    own, frequencies = scores.nats(probabilities(logits), codes), scores.nats(everywhere, codes)
    table = scores.contingency(codes, answers, C, C)
    there, balanced = table.sum(1) > 0, answer_metrics(table)["balanced_accuracy"]
    chance, q = 1 / int(there.sum()), table.sum(0)[there] / n
    of_chance = chance * math.sqrt(float((q * (1 - q) / table.sum(1)[there]).sum()))
    return [
        Gain("accuracy", float(right.mean()), float(always.mean()), "the most frequent class", *_mean(right - always)),
        Gain(
            "log-loss", float(own.mean()), float(frequencies.mean()), "the class frequencies", *_mean(frequencies - own)
        ),
        Gain("balanced accuracy", balanced, chance, "chance", balanced - chance, of_chance),
    ]


def _mean(values: Floats) -> tuple[float, float]:
    """The mean of values (n,) and its standard error, which is not known of one."""
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf


def why_collapsed(logits: Floats, codes: Ints, shares: Floats) -> str | None:
    """The reason if predictions are by no metric of `gains` clearly better than without x; else None.

    >>> codes, shares = np.array([0, 0, 1, 1]), np.array([0.5, 0.5])
    >>> print(why_collapsed(2 * np.eye(2)[codes], codes, shares))
    None
    >>> why_collapsed(np.eye(2)[[0, 0, 0, 0]], codes, shares).partition(", ")[0]
    'no metric is better by 2 standard errors than without x: accuracy 0.5000 against 0.5000 of the most frequent class'
    """
    found = gains(logits, codes, shares)
    if any(each.is_clear for each in found):
        return None
    return f"no metric is better by 2 standard errors than without x: {'; '.join(map(str, found))}"
