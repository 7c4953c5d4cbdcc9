"""Which model is better, and whether that was shown: intervals over seeds, one sentence each.

The replicate is the seed: the same architecture and settings, retrained. Everything is judged on validation.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from vaelab.wording import listed, number, possessive

LEVEL = 0.05
PAIRED_LABEL = "these two trained networks, not their architectures"
# Metrics compared when nats cannot be: key, whether higher is better, name, unit.
TASKS = (
    ("mse", False, "reconstruction MSE", ""),
    ("probe", True, "probe accuracy", ""),
)
NATS = ("neg_elbo", False, "neg_elbo", " nats per example")


@dataclasses.dataclass(frozen=True)
class Contender:
    """One model for the verdict: its validation metrics, one per seed, and what makes its nats comparable.

    `units` is what two models must share for their nats to be comparable, as text by name, such as
    {"likelihood": "bernoulli"}. `costs` is neg_elbo (N,) per validation example of its first seed.
    """

    name: str
    parameters: int
    metrics: Mapping[str, Sequence[float]]
    units: Mapping[str, str]
    costs: npt.NDArray[np.float64]
    collapsed: bool = False  # posterior collapse in most runs


@dataclasses.dataclass(frozen=True)
class Interval:
    """A difference of two means with its 95 % interval and two-sided p; None if unknown because of a single seed."""

    difference: float
    low: float | None
    high: float | None
    p: float | None


def welch(a: Sequence[float], b: Sequence[float]) -> Interval:
    """mean(a) - mean(b) with the interval of Welch (1947): unequal variances, estimated degrees of freedom.

    >>> welch([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]).difference
    -3.0
    """
    difference = statistics.fmean(a) - statistics.fmean(b)
    if min(len(a), len(b)) < 2:
        return Interval(difference, None, None, None)
    parts = [statistics.variance(v) / len(v) for v in (a, b)]
    variance = sum(parts)
    freedom = math.inf
    if variance > 0:
        freedom = variance**2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (a, b), strict=True))
    return _interval(difference, math.sqrt(variance), freedom)


def paired(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Interval:
    """mean(a - b) over the same examples (N,), by the paired t test."""
    d = a - b
    if len(d) < 2:
        return Interval(float(d.mean()), None, None, None)
    return _interval(float(d.mean()), float(d.std(ddof=1)) / math.sqrt(len(d)), len(d) - 1)


def _interval(difference: float, error: float, freedom: float) -> Interval:
    if error == 0:  # identical, or different without any spread
        return Interval(difference, difference, difference, 1.0 if difference == 0 else 0.0)
    reach = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return Interval(difference, difference - reach, difference + reach, p)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number by Holm (1979); None stays None and is not counted.

    >>> holm([0.01, None, 0.03])
    [0.02, None, 0.03]
    """
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    result: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        result[i] = highest
    return result


def judge(contenders: Sequence[Contender], nothing: str = "", beaten: bool = False) -> tuple[list[dict[str, Any]], str]:
    """Every pair's comparison, and the recommendation in a sentence or two.

    nothing: what it means if every model collapsed. beaten: that the best is not shown to be better than a simpler
    model, which is told beside: the recommendation is then one among the models compared.
    """
    unlike = differing_units(contenders)
    metrics = [NATS]
    if unlike:
        metrics = [task for task in TASKS if all(task[0] in c.metrics for c in contenders)]
    pairs = [(a, b, metric) for metric in metrics for a, b in combinations(contenders, 2)]
    intervals = [welch(a.metrics[metric[0]], b.metrics[metric[0]]) for a, b, metric in pairs]
    corrected = holm([interval.p for interval in intervals])
    tests = sum(p is not None for p in corrected)
    rows = [
        _row(a, b, metric, interval, p, tests)
        for (a, b, metric), interval, p in zip(pairs, intervals, corrected, strict=True)
    ]
    if unlike:
        return rows, _without_nats(contenders, unlike, rows)
    for row, (a, b, _) in zip(rows, pairs, strict=True):
        row["paired"] = _paired(a, b)
    return rows, _recommend(contenders, rows, tests, nothing, beaten)


def differing_units(contenders: Sequence[Contender]) -> dict[str, list[str]]:
    """What makes nats incomparable: each difference, with its values in the order of the models."""
    names = dict.fromkeys(name for c in contenders for name in c.units)
    values = {name: [c.units.get(name, "none") for c in contenders] for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def _row(
    a: Contender, b: Contender, metric: tuple[str, bool, str, str], interval: Interval, p: float | None, tests: int
) -> dict[str, Any]:
    row = {
        "a": a.name, "b": b.name, "metric": metric[0], **dataclasses.asdict(interval), "p_holm": p,
        "shown": p is not None and p < LEVEL, "seeds": [len(c.metrics[metric[0]]) for c in (a, b)], "paired": None,
    }  # fmt: skip
    fallen = [c.name for c in (a, b) if c.collapsed]
    out = f" {listed(fallen)} collapsed and cannot win." if fallen else ""
    return row | {"sentence": _sentence(row, metric, tests) + out}


def _sentence(row: Mapping[str, Any], metric: tuple[str, bool, str, str], tests: int) -> str:
    _, higher, word, unit = metric
    a_leads = row["difference"] == 0 or (row["difference"] > 0) == higher
    better, other = (row["a"], row["b"]) if a_leads else (row["b"], row["a"])
    gap = f"{_lead(row)}{unit} {'higher' if higher else 'lower'}"
    if row["p_holm"] is None:
        return (
            f"One seed cannot distinguish {row['a']} from {row['b']}: {possessive(better)} validation {word} is {gap} "
            f"than {possessive(other)}, which may be seed variation."
        )
    if row["shown"]:
        return f"{better} is better than {other}: its validation {word} is {gap} ({_evidence(row, tests)})."
    return (
        f"No difference shown between {row['a']} and {row['b']}: {possessive(better)} validation {word} is {gap} "
        f"({_evidence(row, tests)})."
    )


def _lead(row: Mapping[str, Any]) -> str:
    return number(abs(row["difference"]), *_ends(row))


def _ends(row: Mapping[str, Any]) -> tuple[float, ...]:
    """The interval of the leader's lead; "" if unknown because of a single seed."""
    if row["low"] is None:
        return ()
    return (row["low"], row["high"]) if row["difference"] > 0 else (-row["high"], -row["low"])


def _evidence(row: Mapping[str, Any], tests: int) -> str:
    """The interval of the leader's lead, p and the number of seeds."""
    low, high = _ends(row)
    interval = f"95 % interval {number(low, row['difference'], high)} to {number(high, row['difference'], low)}"
    return f"{interval}, {probability(row['p_holm'], tests)}, {counted(row['seeds'])}"


def _paired(a: Contender, b: Contender) -> dict[str, Any]:
    """Whether two trained networks differ on these examples; says nothing about retraining them."""
    found = dataclasses.asdict(paired(a.costs, b.costs))
    gap, low, high = (found[key] for key in ("difference", "low", "high"))
    between = "" if low is None else f" (95 % interval {number(low, gap, high)} to {number(high, gap, low)})"
    sentence = (
        f"{a.name} minus {b.name}, first seeds, paired over {len(a.costs):,} validation examples: "
        f"{number(gap, *(low or 0, high or 0))} nats{between}; {PAIRED_LABEL}."
    )
    return {"label": PAIRED_LABEL, "examples": len(a.costs), **found, "sentence": sentence}


def _recommend(
    contenders: Sequence[Contender], rows: Sequence[Mapping[str, Any]], tests: int, nothing: str, beaten: bool
) -> str:
    """The lowest mean, or the smallest model not shown to differ from it; collapsed models are excluded."""
    means = {c.name: statistics.fmean(c.metrics["neg_elbo"]) for c in contenders}
    entitled = sorted((c for c in contenders if not c.collapsed), key=lambda c: (means[c.name], c.parameters))
    fallen = [c.name for c in contenders if c.collapsed]
    out = f" {listed(fallen)} collapsed (the notes say why) and cannot win." if fallen else ""
    if not entitled:
        return f"No recommendation: every model collapsed (the notes say why). {nothing}".rstrip()
    best, *behind = entitled
    worth = f"{best.name}: its validation neg_elbo is {number(means[best.name])} nats per example"
    use = "Among the models compared, use" if beaten else "Use"
    if not behind:
        return f"{use} {worth}.{out}"
    against = {(({row["a"], row["b"]} - {best.name}).pop()): row for row in rows if best.name in (row["a"], row["b"])}
    ties = [c for c in behind if not against[c.name]["shown"]]
    nearest = against[behind[0].name]
    if any(against[c.name]["p_holm"] is None for c in ties):
        single = [c.name for c in contenders if len(c.metrics["neg_elbo"]) == 1]
        return (
            f"No recommendation: one seed cannot distinguish models, and {listed(single)} "
            f"{'has' if len(single) == 1 else 'have'} one. {best.name} has the lowest validation neg_elbo, "
            f"{_lead(nearest)} nats per example below {possessive(behind[0].name)}, which may be seed variation; "
            f"train each with 5 seeds.{out}"
        )
    if ties:
        return _tie(best, ties, means, against, use) + out
    rest = " It was shown to be better than each of the others." if len(behind) > 1 else ""
    lead = f"{_lead(nearest)} lower than {possessive(behind[0].name)} ({_evidence(nearest, tests)})"
    return f"{use} {worth}, {lead}.{rest}{out}"


def _tie(
    best: Contender, ties: Sequence[Contender], means: Mapping[str, float],
    against: Mapping[str, Mapping[str, Any]], use: str,
) -> str:  # fmt: skip
    chosen, *larger = sorted([best, *ties], key=lambda c: (c.parameters, means[c.name]))
    told = ties[0] if chosen is best else chosen
    others = [c.name for c in ties if c is not told]
    also = f" {listed(others)} cannot be distinguished from {best.name} either." if others else ""
    reason = f"with {chosen.parameters:,} parameters against {listed([f'{c.parameters:,}' for c in larger])}"
    if larger[0].parameters == chosen.parameters:
        reason = "which has the lower mean at equal size"
    use = use[0].lower() + use[1:]
    return f"{against[told.name]['sentence']}{also} Ties go to the smaller model: {use} {chosen.name}, {reason}."


def _without_nats(
    contenders: Sequence[Contender], unlike: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, Any]]
) -> str:
    """Why there is no winner in nats, and the leader for each metric."""
    reasons = [
        f"{name} differs ({', '.join(f'{c.name}: {value}' for c, value in zip(contenders, values, strict=True))})"
        for name, values in unlike.items()
    ]
    leads = []
    for key, higher, word, _ in TASKS:
        if not all(key in c.metrics for c in contenders):
            continue
        means = {c.name: statistics.fmean(c.metrics[key]) for c in contenders}
        sign = -1 if higher else 1
        best = min(means, key=lambda name: sign * means[name])
        others = [row for row in rows if row["metric"] == key and best in (row["a"], row["b"])]
        end = "" if all(row["shown"] for row in others) else ", not shown to differ from all others"
        leads.append(f"{best} has the {'highest' if higher else 'lowest'} {word} ({number(means[best])}{end})")
    return f"No winner in nats: {listed(reasons)}, so their nats are not comparable. On validation, {listed(leads)}."


def probability(p: float, tests: int) -> str:
    """p as text, with the number of tests it was corrected for.

    >>> probability(0.0000001, 3), probability(0.0312, 1)
    ('p < 0.0001 after Holm over 3 tests', 'p = 0.031')
    """
    text = "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
    return f"{text} after Holm over {tests} tests" if tests > 1 else text


def counted(seeds: Sequence[int]) -> str:
    """The number of seeds behind a difference.

    >>> counted([5, 5]), counted([5, 4])
    ('5 seeds each', '5 and 4 seeds')
    """
    return f"{seeds[0]} seeds each" if len(set(seeds)) == 1 else f"{listed([str(s) for s in seeds])} seeds"
