"""Sentences of the report, generated from numbers. Plain text in, plain text out; the template escapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vaelab.settings.reached import Reached
from vaelab.settings.yardsticks import FRONT, Yardstick
from vaelab.wording import counted, difference, error_only, number, percent

Json = Mapping[str, Any]
SPLITS = ("validation", "test")

VERDICTS = {
    "ok": "it uses its latents",
    "collapsed": "it collapsed: its latents carry no information",
}


def duration(seconds: float | None) -> str:
    """A duration in readable units.

    >>> duration(42.3), duration(200), duration(8000), duration(None)
    ('42 s', '3 min 20 s', '2 h 13 min', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def hidden_sizes(spec: Json) -> list[int]:
    """Hidden layer widths of a spec, from `hidden` or from the number of layers and their width settings."""
    if spec.get("hidden") is not None:
        return [int(width) for width in spec["hidden"]]
    if "units1" in spec:
        return [int(spec[f"units{i}"]) for i in range(1, spec.get("layers", 3) + 1)]
    if not all(name in spec for name in ("layers", "width", "taper")):
        return []
    return [max(1, round(spec["width"] * spec["taper"] ** i)) for i in range(spec["layers"])]


def model(spec: Json) -> str:
    """A spec in words.

    >>> model({"latent_dim": 16, "layers": 2, "width": 256, "taper": 0.5, "activation": "silu", "lr": 0.002})
    '16 latent dimensions, hidden layers of 256 and 128 units (silu), learning rate 0.002'
    """
    parts = []
    if "latent_dim" in spec:
        parts.append(counted(spec["latent_dim"], "latent dimension"))
    if spec.get("network") == "conv":
        blocks = f" and {counted(spec['blocks'], 'residual block')} each" if spec.get("blocks") else ""
        norm = f", {spec['norm']} norm" if spec.get("norm", "none") != "none" else ""
        channels = "-".join(str(number) for number in spec["channels"])
        stem = f" after one of {spec['stem']} at full size" if spec.get("stem") else ""
        parts.append(f"convolutions of {channels} channels{stem}{blocks}{norm}")
    sizes = hidden_sizes(spec)
    if sizes:
        listed = " and ".join(str(size) for size in sizes) if len(sizes) < 3 else "-".join(str(s) for s in sizes)
        shape = f"one hidden layer of {sizes[0]} units" if len(sizes) == 1 else f"hidden layers of {listed} units"
        parts.append(shape + (f" ({spec['activation']})" if "activation" in spec else ""))
    elif "latent_dim" in spec and ("layers" in spec or "hidden" in spec):
        parts.append("no hidden layer" if spec.get("network") != "conv" else "no dense layer in between")
    if "lr" in spec:
        parts.append(f"learning rate {spec['lr']:.3g}")
    if spec.get("beta", 1) != 1:
        parts.append(f"beta {spec['beta']:.3g}")
    return ", ".join(parts)


def headline(results: Json) -> str:
    """The winner and its score: the first sentence of a study's report."""
    best = results.get("best")
    if not best:
        notes = results.get("notes") or ["no trial finished, so there is no best model."]
        return f"There is no winner: {notes[0]}"
    yardstick, *others = Yardstick.both(results)
    if others:
        return _of_front(results, (yardstick, *others))
    reached = {split: Reached.of(results, yardstick, split) for split in SPLITS}
    value = str(reached["validation"])
    if reached["validation"].mean is None:
        value = number(best.get("validation", {}).get(yardstick.headline))
    has = f"reaches {value} {yardstick.title}" if yardstick.rises else f"reaches {value} {yardstick.unit}"
    sentence = f"Trial {best['number']} won: after retraining, it {has} on the validation split"
    if reached["test"].mean is not None:
        sentence += f", and {reached['test']} on the test split{_how_well(list(reached.values()))}"
    elif best.get("test"):
        sentence += f", and {number(best['test'].get(yardstick.headline))} on the test split"
    return sentence + "."


def _how_well(reached: Sequence[Reached]) -> str:
    """In brackets: what the figures of the splits are means of, and their standard errors."""
    seeds = reached[0].seeds
    parts = [f"means over {counted(seeds, 'seed')}"] if seeds > 1 else []
    errors = {"rows": [each.over_rows for each in reached], "seeds": [each.over_seeds for each in reached]}
    known = {of: [error_only(each) for each in found if each is not None] for of, found in errors.items()}
    larger = {each.kind.partition(",")[0] for each in reached if each.kind}
    told = {of: f"over {of} {' and '.join(found)}" for of, found in known.items() if found}
    if len(larger) > 1:
        parts.append(f"standard errors {', '.join(told.values())}; ± is the larger")
    elif larger:
        of = larger.pop().removeprefix("± over ")
        parts.append("; ".join([f"±: standard error over {of}", *(text for name, text in told.items() if name != of)]))
    return f" ({'; '.join(parts)})" if parts else ""


def _of_front(results: Json, yardsticks: Sequence[Yardstick]) -> str:
    """The winner among the members of a front, by both yardsticks."""
    best, members = results["best"], len(results["front"])
    seeds = len(best["seeds"])

    def reached(split: str) -> str:
        return " and ".join(
            f"{Reached.of(results, each, split)} {each.title if not each.unit else f'nats of {each.title}'}"
            for each in yardsticks
        )

    over = f" (means over {seeds} seeds; ±: the larger of the standard errors over rows and seeds)" if seeds > 1 else ""
    return (
        f"Trial {best['number']} was chosen from a front of {members}: after retraining, it reaches "
        f"{reached('validation')} on the validation split, and {reached('test')} on the test split{over}."
    )


def course(results: Json) -> list[str]:
    """The course of the search: one sentence each for the model, the trials, the optimism, the time."""
    said = []
    best = results.get("best")
    if best and model(best.get("spec", {})):
        said.append(f"It has {model(best['spec'])}.")
    yardsticks = Yardstick.both(results)
    said += [each.how for each in yardsticks if each.how]
    said += [FRONT] if len(yardsticks) > 1 else []
    trials = results.get("trials", {})
    collapsed = sum(row.get("verdict") == "collapsed" for row in results.get("table", []))
    if trials.get("total"):
        parts = [
            f"{trials.get('complete', 0)} ran to completion",
            f"{trials.get('pruned', 0)} {'was' if trials.get('pruned') == 1 else 'were'} pruned early",
        ]
        parts += [f"{trials['failed']} failed"] if trials.get("failed") else []
        ending = f"; {collapsed} of those that finished collapsed" if collapsed else ""
        said.append(f"Of {counted(trials['total'], 'trial')}, {', '.join(parts)}{ending}.")
    epochs = results.get("epochs") or {}
    if trials.get("pruned") and epochs.get("unpruned"):
        saved = 1 - epochs["spent"] / epochs["unpruned"]
        said.append(f"Pruning saved {percent(saved)} of the epochs of all trials.")
    optimism = results.get("optimism")
    yardstick = yardsticks[0]
    unit = f" {yardstick.unit.split(' ')[0]}" if yardstick.unit else ""
    if optimism is not None and math.isfinite(optimism):
        way = f"{difference(optimism)}{unit} {'worse' if optimism > 0 else 'better'}" if optimism else "as well"
        said.append(f"The best trial of the search came out {way} after retraining.")
    seconds = results.get("seconds") or {}
    if seconds.get("search") is not None:
        final = f", the final training {duration(seconds['final'])}" if seconds.get("final") and best else ""
        said.append(f"The search took {duration(seconds['search'])}{final}.")
    return said
