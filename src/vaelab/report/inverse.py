"""The page of an inverse problem: gates, recall and precision against every baseline, pictures, the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.report import words
from vaelab.report.captions import INVERSE, INVERSE_NUMBERS
from vaelab.report.page import Card, figures, made_by, pairs, render, settings
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table, history_table
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_history, read_object, write_atomic
from vaelab.wording import counted, number, percent, significant

CORNERS = ("corner-0", "corner-1", "corner-2")
PICTURES = ("candidates", "ends", "race", "refinement", *CORNERS, "bands", "calibration", "losses")

ENDS = ("mean", "low", "high", "truth")
FAR_OFF = 1.5  # standard deviations of the noise, above which the page warns
LISTED = 8  # outputs whose noise and gates are told one by one
POOR = 0.05  # share of draws that count, below which the page warns


def build_inverse_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from a run's spec.json, problem.json, metrics.json, history.jsonl and pictures."""
    folder = Path(folder)
    spec, problem = read_object(folder / "spec.json"), read_object(folder / "problem.json")
    results = read_object(folder / "metrics.json")["inverse"]
    history = read_history(folder)
    missing: list[str] = []
    search = results.get("search")
    searched = list(search["space"]) if search else []
    page = render(
        "inverse.html.jinja",
        title=str(problem["name"]),
        headline=headline(results),
        course=_course(results, spec, any(problem["noise"])),
        cards=_cards(results),
        methods=_methods(results) if results["network"] else None,
        has_exact=any(str(own["method"]) == "exact sampler" for own in results["baselines"]),
        posterior=_examples(results["posterior"]["examples"]),
        search_table=_search(search) if search else None,
        best_figures=figures(folder_pictures(folder, PICTURES), "the run", missing, captions=_captions(problem)),
        settings=settings(spec, searched, spec_type, is_inverse=True),
        data=pairs(
            {"forward": _forward(problem["forward"])}
            | {k: problem[k] for k in ("x_shape", "y_shape", "spectrum") if k in problem}
            | {"prior": results["prior"]}
            | {k: ", ".join(problem[f"{k}_names"]) for k in ("x", "y") if problem[f"{k}_names"]}
            | {k: _each(problem[k]) for k in ("noise", "gate")}
        ),
        epochs=counted(history[-1]["epoch"], "epoch") if history else "",
        history=history_table(history),
        config=None,
        made_by=made_by(folder, missing),
        notes=missing,
    )
    return write_atomic(folder / "report.html", page)


def headline(results: Mapping[str, Any]) -> str:
    """The result in one sentence."""
    if results["network"] is None:
        return _draws_told(results["posterior"])
    shape = f"{results['samples']} candidates for each of {counted(results['curves'], 'measurement')}"
    kept, raw = percent(results["precision"], 1), percent(results["unrefined"]["precision"], 1)
    moved = bool(results["refine"] or results["walk"])
    alone = f" after refinement, {raw} as the network draws them" if moved else ""
    if results["recall"] is None:
        return f"Of {shape}, {kept} reproduce the measurement{alone}."
    by = f"{alone}; they" if moved else ", and they"
    return f"Of {shape}, {kept} pass every gate{by} find {percent(results['recall'], 1)} of all solutions."


def _draws_told(posterior: Mapping[str, Any]) -> str:
    """The result where there is no forward function, and so no solution."""
    levels = posterior["coverage"]["levels"]
    held = " and ".join(f"{percent(float(level))} hold {percent(own, 1)}" for level, own in levels.items())
    return f"Credible regions of {held} of the true x, on validation pairs."


def _captions(problem: Mapping[str, Any]) -> Mapping[str, str]:
    return INVERSE if len(problem["x_shape"]) > 1 else {**INVERSE, **INVERSE_NUMBERS}


def _forward(texts: Any) -> str:
    """The forward function in words."""
    if texts is None:
        return "a function in Python"
    return ", ".join(texts) or "not given"


def _sources(sources: Mapping[str, Any]) -> str:
    """Where `solve` takes its candidates from."""
    walk = f", each after {counted(sources['walk'], 'latent step')}" if sources["walk"] else ""
    near = "the training examples with the nearest y"
    kinds = {0.0: f"all candidates are {near}", 1.0: f"all candidates come from the network{walk}"}
    both = f"{percent(sources['share'], 1)} of the candidates come from the network{walk}, the others are {near}"
    told = kinds.get(sources["share"], both)
    return (
        f"To solve new measurements, {told}: on validation most distinct solutions were found so, at equal evaluations."
    )


def _examples(examples: Any) -> Table | None:
    """Mean, 95 % interval and truth of each input for a few measurements."""
    if not examples:
        return None
    rows = [
        Row([Cell(str(place)), Cell(str(own["name"])), *(Cell.of(own[key], significant) for key in ENDS)])
        for place, inputs in enumerate(examples)
        for own in inputs
    ]
    return Table("Posterior", ("measurement", "input", "mean", "2.5 %", "97.5 %", "true x"), rows)


def _course(results: Mapping[str, Any], spec: Mapping[str, Any], noisy: bool) -> list[str]:
    seconds = results["seconds"]
    if results["network"] is None:
        return [
            f"The model has {words.model(spec)}.",
            f"Training took {words.duration(seconds['train'])} on {counted(results['examples'], 'example')}. "
            "Without a forward function there are posterior draws, but no solutions.",
            *_posterior(results["posterior"]),
        ]
    spent = words.duration(results["network"]["seconds"])
    kinds = ("walk", "latent step"), ("refine", "refinement step")
    moves = [counted(results[name], what) for name, what in kinds if results[name]]
    refined = f", then {' and '.join(moves)}" if moves else ", unrefined"
    told = [
        f"The model has {words.model(spec)}.",
        f"Training took {words.duration(seconds['train'])}, the candidates {spent}{refined}; no candidates were "
        "filtered out.",
    ]
    if noisy and results["recall"] is not None:
        told.append("Recall counts the solutions of the noise-free y; noise shifts them.")
    filtered = results["filtered"]
    told.append(
        f"After filtering by the gates and removing duplicates, {filtered['distinct']:.1f} solutions per measurement "
        "remain; this is not a score."
    )
    if "estimation" in seconds:
        told.append(
            f"Neural posterior estimation was trained for {words.duration(seconds['estimation'])} on the same examples."
        )
    if results["verdict"] == "collapsed":
        told.append("The posterior collapsed: all draws for a measurement are nearly identical.")
    if results.get("pays_from"):
        told.append(
            f"Compared with multi-start without a network, training pays off from {results['pays_from']:,} "
            "measurements."
        )
    return [*told, _sources(results["sources"]), *_beside_nearest(results), *_posterior(results["posterior"])]


def _beside_nearest(results: Mapping[str, Any]) -> list[str]:
    """The baseline of refining the nearest training examples, which needs no training."""
    found = {str(own["method"]): own for own in results["baselines"]}
    near = found.get("nearest examples, equal evaluations")
    if near is None:
        return []
    by = "recall" if results["recall"] is not None else "precision"
    kind = "found" if by == "recall" else "passing"
    return [
        f"The nearest of the {results['examples']:,} training examples, refined with equal forward evaluations, "
        f"reach {percent(near[by], 1)} {kind} against the network's {percent(results[by], 1)}, in "
        f"{words.duration(near['seconds'])} without training."
    ]


def _posterior(posterior: Mapping[str, Any]) -> list[str]:
    """How well the unrefined draws match the posterior."""
    ranks, exact, coverage = posterior["calibration"], posterior["reference"], posterior["coverage"]
    held = " and ".join(f"{percent(float(level))} hold {percent(own, 1)}" for level, own in coverage["levels"].items())
    told = (
        f"Unrefined draws are posterior samples: over {ranks['curves']:,} validation pairs "
        f"{percent(ranks['inside'], 1)} of the rank bins are within the 99 % band of a calibrated model; credible "
        f"regions of {held} of the true x (TARP, p = {coverage['p_value']:.2g})."
    )
    predictive = posterior["predictive"]
    if predictive is not None:
        within = " and ".join(f"{percent(float(level))} hold {percent(own, 1)}" for level, own in predictive.items())
        told += (
            f" Posterior predictive: central intervals of f(x) plus noise, over draws x, of {within} of the measured "
            "values; less than promised would mean that draws do not reproduce them."
        )
    if posterior.get("local"):
        p_values = ", ".join(f"{p:.2g}" for p in posterior["local"])
        told += (
            f" Draws for the first scored measurements are of p(x|y) with p = {p_values} (local C2ST by validation "
            "pairs): a small one tells where the model is wrong."
        )
    lines = [told, *_misfit(posterior.get("misfit")), *_efficiency(posterior.get("efficiency"))]
    if exact is None:
        return lines
    return [
        *lines,
        f"Against the exact posterior of {counted(exact['curves'], 'measurement')} they have a C2ST of "
        f"{exact['c2st']:.3f} (0.5 is perfect) and an energy distance of {exact['energy_distance']:.3g}.",
    ]


def _misfit(found: float | None) -> list[str]:
    """How well draws reproduce y."""
    if found is None:
        return []
    told = f"f(x) of a draw misses its y by {found:.3g} standard deviations of the noise (1 is expected)"
    if found > FAR_OFF:
        return [f"{told}: draws reproduce y less well than the noise allows; train longer, or on more examples."]
    return [f"{told}."]


def _efficiency(found: Mapping[str, Any] | None) -> list[str]:
    """How near draws are to the exact posterior of a single y, where weights tell it."""
    if found is None:
        return []
    over = counted(found["measurements"], "validation measurement")
    median, worst = percent(found["median"], 1), percent(found["worst tenth"], 1)
    told = (
        f"Weighted by f, its noise and the prior, draws of one y are worth {median} of their number "
        f"(median over {over}; 100 % would be the exact posterior), at the worst tenth {worst} "
        "or less. `vaelab draw` draws by these weights"
    )
    if found["worst tenth"] < POOR:
        return [f"{told}; where so few count, the model is wrong about that y, whatever calibration says on average."]
    return [f"{told}."]


def _cards(results: Mapping[str, Any]) -> list[Card]:
    bound = Card("conditional bound", Cell.of(results["bound"]), "nats per example: KL + NLL(x)")
    cards = [
        Card(f"gate: {name}", Cell(percent(v, 1)), "of all candidates")
        for name, v in (results["gates"] or {}).items()
        if name != "all_pass"
    ]
    if results["gates"] is None:
        return [*_draws_by(results), bound]
    verdict = "passed" if results["gates"]["all_pass"] else "not passed"
    cards.append(Card("all gates, all candidates", Cell(verdict), "every candidate must pass"))
    if results["recall"] is not None:
        cards.append(Card("recall", Cell(percent(results["recall"], 1)), "fraction of all solutions found"))
    return [*cards, *_draws_by(results), bound]


def _each(values: Sequence[float]) -> str:
    """A number of each output, in words where they are many.

    >>> _each([0.5, 1.0]), _each([0.0] * 60), _each([0.1] * 30 + [0.2] * 30)
    ('0.5, 1', '0 for each of 60 values', '0.1 to 0.2 for 60 values')
    """
    if len(values) <= LISTED:
        return ", ".join(map(significant, values))
    low, high = significant(min(values)), significant(max(values))
    return f"{low} for each of {len(values)} values" if low == high else f"{low} to {high} for {len(values)} values"


def _draws_by(results: Mapping[str, Any]) -> list[Card]:
    """Which model draws, where two were compared."""
    compared = results.get("compared")
    if compared is None:
        return []
    flow, vae = number(compared["flow"]), number(compared["conditional VAE"])
    reads = " (reads y as a curve)" if compared["reads"] == "curve" else ""
    beside = f"-log p(x|y) on validation: flow{reads} {flow}, VAE {vae} nats, x in units of its spread"
    return [
        Card(
            "posterior draws by",
            Cell(str(compared["draws"])),
            f"{beside}; the VAE draws if lower by 2 standard errors",
        )
    ]


def _methods(results: Mapping[str, Any]) -> Table:
    heads = (
        "method", "candidates", "evaluations per measurement", "seconds per measurement", "pass all gates",
        *(("recall", "hull area") if results["recall"] is not None else ()),
    )  # fmt: skip
    rows = []
    listed = (
        [results["unrefined"]]
        + ([results["network"]] if results["refine"] or results["walk"] else [])
        + list(results["baselines"])
    )
    for own in listed:
        curves = results["curves"]
        cells = [
            Cell(str(own["method"])), Cell.of(own["candidates"]), Cell.of(own["evaluations"] / curves),
            Cell.of(own["seconds"] / curves),
            *(Cell.of(own[key], lambda v: percent(v, 1)) for key in ("precision", "recall")),
            Cell.of(own["hull_area"]),
        ][: len(heads)]  # fmt: skip
        rows.append(Row(cells, "winner" if str(own["method"]).startswith("conditional") else ""))
    return Table("Methods", heads, rows)


def _search(search: Mapping[str, Any]) -> Table:
    names = list(search["space"])
    heads = ["trial", *names, str(search["yardstick"]), "bound", "recall", "precision", "rate, nats", "seconds"]
    heads = list(dict.fromkeys(heads))
    rows = []
    for trial in search["trials"]:
        metrics = trial["metrics"]
        by_head = {
            "trial": trial["number"], **trial["settings"], **metrics, "rate, nats": metrics.get("rate"),
            "seconds": trial["seconds"],
        }  # fmt: skip
        rows.append(Row([Cell.of(by_head.get(head)) for head in heads], "faint" if trial["value"] is None else ""))
    return Table("Trials", heads, rows, 0)
