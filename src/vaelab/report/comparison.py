"""The page of a comparison: the recommendation, the table with intervals, pictures, the data, the explorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.data.dataset import SPLITS
from vaelab.report import words
from vaelab.report.captions import comparison_captions
from vaelab.report.charts import Forest, forests
from vaelab.report.data import DATA_PICTURES, data_section, unit_note
from vaelab.report.explorer import Explore, Explorer, no_explorer
from vaelab.report.page import Card, figures, finite, made_by, meaning, pairs, read_text, render, setting
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table, baselines_table, mean_over_rows
from vaelab.settings.reached import Reached
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_object, write_atomic
from vaelab.wording import counted

PICTURES = ("architectures", "losses", "reconstructions", "samples", "latent", "traversals", "interpolations", "kl")
METRICS = {
    "neg_elbo": "neg. ELBO",
    "rate": "rate",
    "distortion": "distortion",
    "bound": "importance-weighted bound",
    "active_units": "active units",
    "mse": "MSE",
    "averaged_kl_loss": "loss, KL averaged: a hidden beta",
    "probe": "linear probe",
    "knn": "10-nearest-neighbour",
}
MAIN = ("neg_elbo", "rate", "distortion", "active_units")


def build_comparison_report(folder: str | Path, spec_type: type[ModelSpec], explore: Explore = no_explorer) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures next to it.

    `explore` makes the page's explorer, with each model's first seed. Raises StoreError if results.json is
    missing or damaged.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    models = [model for model in results.get("models") or [] if isinstance(model, Mapping)]
    compared = [entry for entry in results.get("comparisons") or [] if isinstance(entry, Mapping)]
    best, baseline = _best(models, compared), results.get("baseline") or {}
    missing: list[str] = []
    described = results.get("data") or {}
    captions = comparison_captions(described)
    found = folder_pictures(folder, _order(folder))
    of_data = [path for path in found if path.stem in DATA_PICTURES]
    unit = unit_note(described, models[0].get("spec") or {}) if models else []
    page = render(
        "comparison.html.jinja",
        title=str(results.get("name") or folder.resolve().name),
        headline=str(results.get("recommendation") or "There is no recommendation."),
        course=[f"{counted(len(models), 'model')} on {described.get('name', 'the data')}.", *unit],
        cards=_cards(models, best),
        main=_main(models, best),
        splits=[table for split in SPLITS if (table := _split(models, split, best))],
        pairwise=_pairwise(compared),
        forests=[(forest, _unit(forest)) for forest in forests(compared)],
        sentences=[str(entry["sentence"]) for entry in compared if entry.get("sentence")],
        paired=_paired(compared),
        paired_sentences=[str(p["sentence"]) for p in _tests(compared) if p.get("sentence")],
        figures=figures([path for path in found if path not in of_data], "the comparison", missing, captions=captions),
        data_figures=figures(of_data, "the data", missing, captions=captions),
        comparison_settings=_settings(models, spec_type),
        beaten=str(results.get("beaten") or ""),
        baselines=_baselines(models, baseline, best),
        baseline=pairs({name: value for name, value in baseline.items() if name not in ("structured", "left_out")}),
        **data_section(described),
        config=read_text(folder / "config.toml"),
        made_by=made_by(folder, missing),
        explorer=_explorer(folder, models, explore, missing),
        notes=[*map(str, [*(results.get("notes") or []), *(baseline.get("left_out") or [])]), *missing],
    )
    return write_atomic(folder / "report.html", page)


def _order(folder: Path) -> tuple[str, ...]:
    """Names of the pictures in page order; numbered ones follow their kind."""
    stems = [path.stem for path in (folder / "figures").glob("*.png")]

    def numbered(kind: str) -> list[str]:
        tails = [stem.rpartition("_") for stem in stems]
        return [f"{kind}_{n}" for n in sorted(int(n) for head, _, n in tails if head == kind and n.isdecimal())]

    return tuple(name for kind in (*PICTURES, "rate_distortion") for name in (kind, *numbered(kind)))


def _mean(model: Mapping[str, Any], split: str, metric: str) -> float | None:
    return finite(((model.get(split) or {}).get(metric) or {}).get("mean"))


def _best(models: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]) -> int | None:
    """The model with the lowest validation mean; None across likelihoods, whose nats are not comparable."""
    kinds = {tuple((model.get("spec") or {}).get(key) for key in ("likelihood", "binarize")) for model in models}
    others = {entry.get("metric", "neg_elbo") for entry in compared} - {"neg_elbo"}
    values = [(_mean(model, "validation", "neg_elbo"), i) for i, model in enumerate(models)]
    sound = [(value, i) for value, i in values if value is not None]
    return min(sound)[1] if sound and len(kinds) == 1 and not others else None


def _reached(model: Mapping[str, Any], split: str) -> Reached:
    """A model's mean over its seeds; errors over rows are only in results of newer versions."""
    runs = [run for run in model.get("runs") or [] if isinstance(run, Mapping)]
    errors = [(None, (run.get("errors") or {}).get(split)) for run in runs]
    over_seeds = ((model.get(split) or {}).get("neg_elbo") or {}).get("se")
    return Reached(_mean(model, split, "neg_elbo"), len(runs), mean_over_rows(errors)["se"], finite(over_seeds))


def _cards(models: Sequence[Mapping[str, Any]], best: int | None) -> list[Card]:
    if best is None:
        return []
    model = models[best]
    cards = [Card("lowest on validation", Cell(str(model.get("name"))), words.model(model.get("spec") or {}))]
    for split in ("validation", "test", "train"):
        found = _reached(model, split)
        if found.mean is not None:
            unit = "; ".join(filter(None, ("nats per example", found.kind)))
            cards.append(Card(split, Cell.mean({"mean": found.mean, "se": found.error}), unit))
    if model.get("parameters") is not None:
        cards.append(Card("parameters", Cell.of(model["parameters"]), "weights and biases of this model"))
    return cards


def _main(models: Sequence[Mapping[str, Any]], best: int | None) -> Table:
    """The deciding metrics first, then the cost."""
    shown = [name for name in MAIN if any(_mean(model, "validation", name) is not None for model in models)]
    rows = []
    for i, model in enumerate(models):
        validation, gap = model.get("validation") or {}, model.get("gap")
        cells = [_name(model, i == best), *(Cell.mean(validation.get(name)) for name in shown), Cell.mean(gap)]
        cells += [Cell.mean((model.get("test") or {}).get("neg_elbo")), Cell.of(model.get("parameters"))]
        cells += [Cell.mean(model.get("epochs")), Cell.mean(model.get("seconds"))]
        rows.append(Row(cells, "winner" if i == best else ""))
    heads = ["model", *(METRICS[name] for name in shown), "gap", "test neg. ELBO", "parameters", "epochs", "seconds"]
    return Table("Models", heads, rows)


def _baselines(models: Sequence[Mapping[str, Any]], baseline: Mapping[str, Any], best: int | None) -> Table | None:
    """The lowest model beside simpler ones."""
    shown = [] if best is None else [models[best]]
    values: list[tuple[str, Any, Any]] = []
    for own in shown:
        validation, test = (
            {"mean": found.mean, "se": found.over_rows} for found in (_reached(own, split) for split in SPLITS[1:])
        )
        values.append((str(own.get("name")), validation, test))
    without = (baseline.get("validation") or {}).get("no_latents") if "structured" in baseline else None
    return baselines_table({**baseline, "no_latents": without}, values)


def _name(model: Mapping[str, Any], best: bool) -> Cell:
    return Cell(str(model.get("name")), tag="best validation" if best else "")


def _split(models: Sequence[Mapping[str, Any]], split: str, best: int | None) -> Table | None:
    """All metrics of one split; unknown metrics are shown under their key."""
    names = [*METRICS, *(name for model in models for name in model.get(split) or {} if name not in METRICS)]
    shown = [name for name in dict.fromkeys(names) if any(_mean(model, split, name) is not None for model in models)]
    if not shown:
        return None
    rows = [
        Row([_name(model, False), *(Cell.mean((model.get(split) or {}).get(name)) for name in shown)])
        for model in models
    ]
    return Table(f"The {split} split", ["model", *(METRICS.get(name, name) for name in shown)], rows)


def _unit(forest: Forest) -> str:
    return "nats per example" if forest.metric == "neg_elbo" else METRICS.get(forest.metric, forest.metric)


def _pairwise(compared: Sequence[Mapping[str, Any]]) -> Table | None:
    rows = []
    for entry in compared:
        metric = str(entry.get("metric", "neg_elbo"))
        values = [entry.get(key) for key in ("difference", "low", "high", "p", "p_holm")]
        known = entry.get("p_holm") is not None
        verdict = "difference shown" if entry.get("shown") else "no difference shown" if known else "one seed: unknown"
        names = [Cell(f"{entry.get('a')} − {entry.get('b')}"), Cell(METRICS.get(metric, metric))]
        rows.append(Row([*names, *map(Cell.of, values), Cell(verdict)]))
    heads = ("pair", "metric", "difference", "from", "to", "p", "p, Holm", "verdict")
    return Table("Pairs", heads, rows) if rows else None


def _tests(compared: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The per-example tests of two trained networks; they do not generalize to the architectures."""
    return [entry["paired"] for entry in compared if isinstance(entry.get("paired"), Mapping)]


def _paired(compared: Sequence[Mapping[str, Any]]) -> Table | None:
    rows = []
    for entry in compared:
        paired = entry.get("paired")
        if isinstance(paired, Mapping):
            values = [paired.get(key) for key in ("difference", "low", "high", "p", "examples")]
            rows.append(Row([Cell(f"{entry.get('a')} − {entry.get('b')}"), *map(Cell.of, values)]))
    heads = ("pair", "difference, nats", "from", "to", "p", "examples")
    return Table("Pairs, example by example", heads, rows) if rows else None


def _settings(
    models: Sequence[Mapping[str, Any]], spec_type: type[ModelSpec]
) -> list[tuple[str, list[str], bool, str]]:
    """Setting, its value in each model, "do they differ" and its meaning; differing settings come first."""
    specs = [model.get("spec") or {} for model in models]
    names = dict.fromkeys(name for spec in specs for name in spec)
    rows = []
    for name in names:
        values = [setting(str(name), spec.get(name)) for spec in specs]
        rows.append((str(name), values, len(set(values)) > 1, meaning(str(name), spec_type)))
    return sorted(rows, key=lambda row: not row[2])


def _explorer(
    folder: Path, models: Sequence[Mapping[str, Any]], explore: Explore, missing: list[str]
) -> Explorer | None:
    folders = {str(model.get("name")): _first_run(folder, model) for model in models}
    opened = bool(models) and all(model.get("test") for model in models)
    return explore({name: path for name, path in folders.items() if path}, opened, missing)


def _first_run(folder: Path, model: Mapping[str, Any]) -> Path | None:
    """The run folder of a model's first seed; it may be elsewhere, since existing runs can be compared too."""
    runs = [run.get("folder") for run in model.get("runs") or [] if isinstance(run, Mapping)]
    where = runs[0] if runs else model.get("folder")
    return folder / str(where) if where else None
