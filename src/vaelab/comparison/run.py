"""`compare`: models on the same splits and noise; one function from a data set to a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vaelab import store
from vaelab.comparison import verdicts
from vaelab.comparison.judging import TRAIN_ROWS, Judged, judge_run, over_seeds, thinning, units_of
from vaelab.comparison.lineup import ComparisonWatch, Entry, Lineup, folder_name
from vaelab.comparison.pictures import draw_comparison
from vaelab.data import SPLITS, Dataset, describe
from vaelab.engine.process import one_thread
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, StoreError, shown
from vaelab.report import build_comparison_report
from vaelab.report.notebook import Paged
from vaelab.settings.checks import MOST_WORKERS, whole
from vaelab.store.folders import default_folder
from vaelab.study.balance import stacks
from vaelab.study.checkpoints import Member, drop_torn
from vaelab.study.hire import hire
from vaelab.study.jobs import Job
from vaelab.study.ray_options import Ray
from vaelab.vae import baselines, evaluate
from vaelab.vae.evaluate import Baseline
from vaelab.vae.explorer import explorer_of
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.likelihoods.likelihood import likelihood_type
from vaelab.vae.run import check_trained
from vaelab.vae.spec import Spec
from vaelab.vae.task import TASK
from vaelab.wording import counted, possessive, with_error


class ComparisonFailed(RuntimeError):
    """Fewer than two models could be trained."""


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Paged):
    """What `compare` returns: the folder, all metrics, and the trained models by name, one per seed."""

    folder: Path
    results: dict[str, Any]
    models: dict[str, list[Fitted]]

    @property
    def main_metrics(self) -> Mapping[str, str]:
        """The mean validation negative ELBO of each model."""
        found = {model["name"]: model["validation"]["neg_elbo"] for model in self.results["models"]}
        return {name: f"{with_error(mean['mean'], mean['se'])} nats" for name, mean in found.items()}

    @property
    def recommendation(self) -> str:
        """One or two sentences, based on validation."""
        return str(self.results["recommendation"])


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One model of a comparison: its runs' folders, and their specs if they are trained here."""

    name: str
    key: str  # its folder below models/, and the stem of its runs' names
    runs: tuple[Path, ...]
    specs: tuple[Spec, ...] = ()

    @property
    def given(self) -> bool:
        return not self.specs

    def member(self, s: int) -> str:
        return f"{self.key}-seed{s}"


def begin(
    lineup: Lineup,
    data: Dataset,
    *,
    workers: int | None = None,
    ray: Ray | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: ComparisonWatch | None = None,
) -> Comparison:
    """Train the models over the same seeds, evaluate on the same splits and noise, recommend one on validation.

    Raises InputError for bad input, before anything is trained. The test split is read once per run, and counted.
    """
    folder = default_folder(f"{data.name}-compare") if out is None else Path(out)
    contestants = _contestants(lineup, data, folder, workers)
    for contestant in contestants:
        if contestant.given:
            store.check_test_opening(contestant.runs[0])
    with store.building(folder, overwrite) as place:
        lineup.save(place, data.source)
        own = contestants if place == folder else _contestants(lineup, data, place, workers)
        found = _run(lineup, own, data, place, workers, ray, watch or ComparisonWatch())
    return found if place == folder else _reopen(contestants, folder)


def resume(
    folder: str | Path, data: Dataset, *, workers: int | None = None, ray: Ray | None = None,
    watch: ComparisonWatch | None = None,
) -> Comparison:  # fmt: skip
    """Resume a comparison; finished runs are not retrained."""
    folder, watch = store.destination(Path(folder)), watch or ComparisonWatch()
    place = store.unfinished(folder)
    lineup, source = Lineup.read(place / "config.toml")
    if source.get("fingerprint") != data.source.get("fingerprint"):
        raise StoreError(
            f"{folder} was started with other data; give the same data and split seed, or start a new comparison."
        )
    contestants = _contestants(lineup, data, place, workers)
    if (place / "results.json").exists() and not (place / ".work").exists() and place == folder:
        store.sweep(folder)  # what a kill at the very end has left
        finished = _reopen(contestants, folder)
        watch.note(f"{folder} is finished; nothing to train or evaluate.")
        return finished
    with store.continuing(folder):
        found = _run(lineup, contestants, data, place, workers, ray, watch)
    return found if place == folder else _reopen(_contestants(lineup, data, folder, workers), folder)


@contextlib.contextmanager
def _about(name: str) -> Iterator[None]:
    """Adds the model's name to errors."""
    try:
        yield
    except InputError as error:
        raise InputError(f"model {shown(name)}: {error}") from None


def _contestants(lineup: Lineup, data: Dataset, folder: Path, workers: int | None) -> list[Contestant]:
    """The runs of all models; rejects what cannot be trained or compared, before anything is written."""
    if workers is not None:
        whole("workers", workers, 1, MOST_WORKERS)
    contestants, seen = [], dict[str, str]()
    for number, entry in enumerate(lineup.entries):
        key = folder_name(number, entry.name)
        if entry.run is not None:
            contestants.append(Contestant(entry.name, key, (_given_run(entry, data, folder),)))
            continue
        with _about(entry.name):
            spec = resolve(Spec.create(**entry.settings or {}), data)
            likelihood_type(spec.likelihood).scaling(data, spec)
        twin = seen.setdefault(spec.model_dump_json(), entry.name)
        if twin != entry.name:
            raise InputError(
                f"models {shown(twin)} and {shown(entry.name)} have the same settings; change one or leave it out."
            )
        runs = tuple(folder / "models" / key / f"seed{s}" for s in range(lineup.seeds))
        specs = tuple(spec.replace(seed=derive_seed(lineup.seed, s)) for s in range(lineup.seeds))
        for run, own in zip(runs, specs, strict=True):
            if (run / "manifest.json").exists():
                check_trained(run, own)
        contestants.append(Contestant(entry.name, key, runs, specs))
    return contestants


def _given_run(entry: Entry, data: Dataset, folder: Path) -> Path:
    """A run's folder, or the best one of a study's, if it was trained on the same rows."""
    assert entry.run is not None
    run = entry.run / "best" if (entry.run / "best" / "manifest.json").is_file() else entry.run
    with _about(entry.name):
        if run.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{run} is in the output folder of the comparison; write the comparison elsewhere.")
        facts = Fitted.load(run).facts
        if facts.fingerprint == data.fingerprint:
            return run
        if facts.split_seed != data.split_seed:
            raise InputError(
                f"{run} was trained with split seed {facts.split_seed}, but the given data have split seed "
                f"{data.split_seed}; use split seed {facts.split_seed}, or leave the run out."
            )
        raise InputError(
            f"{run} was trained on other data ({shown(facts.name)}, not the given {shown(data.name)}); "
            "leave it out, or give the data that it was trained on."
        )


def _run(
    lineup: Lineup,
    contestants: list[Contestant],
    data: Dataset,
    folder: Path,
    workers: int | None,
    ray: Ray | None,
    watch: ComparisonWatch,
) -> Comparison:
    work = folder / ".work"
    with store.writing(work):
        (work / "judged").mkdir(parents=True, exist_ok=True)
    drop_torn(work, watch.note)
    notes = _train(contestants, data, work, workers, ray, watch)
    comparison = _conclude(contestants, data, folder, watch, notes)
    if lineup.figures:
        _draw(comparison, data)
    store.discard(work)
    return comparison


def _reopen(contestants: list[Contestant], folder: Path) -> Comparison:
    results = store.read_json(folder / "results.json")
    with store.interpreting(folder / "results.json"):
        names = [model["name"] for model in results["models"]]
    return Comparison(folder, results, {c.name: _load(c) for c in contestants if c.name in names})


def _load(contestant: Contestant) -> list[Fitted]:
    return [Fitted.load(run) for run in contestant.runs if (run / "manifest.json").exists()]


def _train(
    contestants: list[Contestant], data: Dataset, work: Path, workers: int | None, ray: Ray | None,
    watch: ComparisonWatch,
) -> list[str]:  # fmt: skip
    """Train all missing runs, as stacks; returns a note for each failure."""
    groups: dict[tuple[object, ...], list[tuple[Member, Path]]] = {}
    for contestant in contestants:
        for s, spec in enumerate(contestant.specs):
            run = contestant.runs[s]
            if not (run / "manifest.json").exists():
                groups.setdefault(_feed_key(spec), []).append((Member(contestant.member(s), spec), run))
    watch.training({m.name: int(m.spec.epochs) for group in groups.values() for m, _ in group})
    notes = []
    for group in groups.values():
        spec = group[0][0].spec
        with hire(data, spec, TASK, "neg_elbo", workers=workers, ray=ray, scratch=work, note=watch.note) as crew:
            jobs = [
                Job(
                    tuple(part), int(part[0].spec.epochs), str(work), is_final=True,
                    folders={m.name: str(run) for m, run in group if m in part},
                )
                for part in stacks([m for m, _ in group], crew.data.shape, crew.workers, crew.system)
            ]  # fmt: skip
            outcomes = crew.run(jobs, watch.epoch)
        notes += [f"{m.name} failed: {f}." for m, _ in group if (f := outcomes[m.name].failure) is not None]
    return notes


def _feed_key(spec: Spec) -> tuple[object, ...]:
    """Models with the same key share a feed, and so a crew."""
    return spec.likelihood, spec.sigma, spec.threshold, spec.binarize, spec.device


def _references(feed: Feed) -> dict[str, Baseline]:
    return {split: evaluate.baseline(feed, split) for split in SPLITS}


def _conclude(
    contestants: list[Contestant], data: Dataset, folder: Path, watch: ComparisonWatch, notes: list[str]
) -> Comparison:
    """Evaluate all runs, each once; compare the models; write results.json."""
    models = {c.name: found for c in contestants if (found := _load(c))}
    if len(models) < 2:
        raise ComparisonFailed(f"fewer than two models could be trained: {' '.join(notes)} Lower their lr or clip.")
    alive = [c for c in contestants if c.name in models]
    feeds: dict[tuple[object, ...], Feed] = {}  # whose baselines are known as long as they are
    judged: dict[str, list[Judged]] = {}
    total, done = sum(len(found) for found in models.values()), 0
    with one_thread():
        for c in alive:
            judged[c.name] = []
            for fitted in models[c.name]:
                key = _feed_key(fitted.spec)
                feeds[key] = feeds.get(key) or Feed(data, fitted.spec)
                judged[c.name].append(_judge_once(c, fitted, data, _references(feeds[key]), folder))
                done += 1
                watch.judging(done, total)
    common, beaten, nothing = _baselines(list(feeds.values()), judged)
    contenders = [_contender(models[c.name], c.name, judged[c.name]) for c in alive]
    rows, recommendation = verdicts.judge(contenders, nothing, beaten=beaten is not None)
    results = {
        "comparison": str(store.destination(folder)),
        "name": store.destination(folder).resolve().name,
        "data": describe(data),
        "models": [_entry(c, models[c.name], judged[c.name], folder) for c in alive],
        "comparisons": rows,
        "recommendation": recommendation,
        "baseline": common,
        "beaten": beaten,
        "notes": [*notes, *_notes(models, judged, data)],
    }
    store.write_json(folder / "results.json", results)
    return Comparison(folder, results, models)


def _judge_once(
    contestant: Contestant, fitted: Fitted, data: Dataset, references: Mapping[str, Baseline], folder: Path
) -> Judged:
    """A run's metrics; those already evaluated before an interruption are read, so that test is not reopened."""
    assert fitted.folder is not None
    s = contestant.runs.index(fitted.folder)
    path = folder / ".work" / "judged" / f"{contestant.member(s)}.json"
    if path.exists():
        with store.interpreting(path):
            return Judged.from_json(store.read_json(path))
    store.count_test_opening(fitted.folder)
    judged = judge_run(fitted, data, references)
    if not contestant.given:
        store.update_metrics(fitted.folder, {"train": judged.full["train"], "test": judged.full["test"]})
    store.write_json(path, judged.to_json())
    return judged


def _contender(fitted: list[Fitted], name: str, judged: list[Judged]) -> verdicts.Contender:
    metrics = {key: [j.metrics["validation"][key] for j in judged] for key in judged[0].metrics["validation"]}
    collapsed = sum(j.collapsed for j in judged)
    return verdicts.Contender(
        name, fitted[0].parameter_count, metrics, units_of(fitted[0]), judged[0].costs, 2 * collapsed > len(judged)
    )


def _entry(contestant: Contestant, fitted: list[Fitted], judged: list[Judged], folder: Path) -> dict[str, Any]:
    """One model of results.json: every metric as mean and standard error over seeds, and per run."""
    metrics = [store.load_run(f.folder).metrics for f in fitted if f.folder is not None]
    home = contestant.runs[0] if contestant.given else contestant.runs[0].parent
    runs = [
        {
            "folder": _place(f, folder), "seed": f.spec.seed, "seconds": m["seconds"], "epochs": m["epochs"],
            "best_epoch": m.get("best_epoch"), "gap": j.gap, **j.metrics,
            **{key: j.full["validation"][key] for key in ("verdict", "kl")},
            "errors": {split: j.full[split]["se"] for split in SPLITS},
        }
        for f, m, j in zip(fitted, metrics, judged, strict=True)
    ]  # fmt: skip
    return {
        "name": contestant.name,
        "folder": str(home) if contestant.given else str(home.relative_to(folder)),
        "given": contestant.given,
        "spec": fitted[0].spec.model_dump(mode="json"),
        "parameters": fitted[0].parameter_count,
        "epochs": metrics[0]["epochs"],
        "seconds": over_seeds([m["seconds"] for m in metrics]),
        **{split: _summary([j.metrics[split] for j in judged]) for split in SPLITS},
        "gap": over_seeds([j.gap for j in judged]),
        "runs": runs,
    }


def _place(fitted: Fitted, folder: Path) -> str:
    assert fitted.folder is not None
    inside = fitted.folder.is_relative_to(folder)
    return str(fitted.folder.relative_to(folder) if inside else fitted.folder)


def _summary(metrics: list[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    return {name: over_seeds([own[name] for own in metrics]) for name in metrics[0]}


def _baselines(feeds: list[Feed], judged: Mapping[str, list[Judged]]) -> tuple[dict[str, Any] | None, str | None, str]:
    """What the models are compared with, if it is the same for all: the model without latents and the floor per split,
    and baselines with structure; the sentence if the best model is not shown to be better than these; the verdict if
    all collapsed.
    """
    found = [{split: own.as_dict() for split, own in _references(feed).items()} for feed in feeds]
    if not all(one == found[0] for one in found):
        return None, None, ""
    structured = baselines.structured(feeds[0])

    def mean(name: str, metric: str) -> float:
        return statistics.fmean(own.metrics["validation"][metric] for own in judged[name])

    sound = [name for name, own in judged.items() if 2 * sum(j.collapsed for j in own) <= len(own)]
    best = min(sound or judged, key=lambda name: mean(name, "neg_elbo"))
    costs = torch.from_numpy(judged[best][0].costs)
    beaten = structured.beaten(mean(best, "neg_elbo"), costs, possessive(best))
    nothing = structured.nothing(mean(best, "rate"), feeds[0].spec.beta)
    said = f"{nothing.meaning[0].upper()}{nothing.meaning[1:]}. {nothing.advice}".rstrip()
    return {**found[0], **structured.as_dict(feeds[0], test=True)}, beaten, said


def _notes(models: Mapping[str, list[Fitted]], judged: Mapping[str, list[Judged]], data: Dataset) -> list[str]:
    """Notes for the reader of the table."""
    notes = [
        "the recommendation uses only validation; test was opened once per run.",
        "seconds are a run's share of the time of its stack.",
        "averaged_kl_loss divides the KL by the latent dimensions, a hidden beta of 1 / latent_dim; it is shown "
        "because published results use it, and decides nothing.",
    ]
    if thinning(data) > 1:
        notes.append(f"train metrics and probes use one training row in {thinning(data)}, at most {TRAIN_ROWS:,}.")
    for name, found in models.items():
        spec, label = found[0].spec, shown(name)
        collapsed = sum(j.collapsed for j in judged[name])
        if collapsed:
            reason = next(j.reason for j in judged[name] if j.collapsed)
            whose = "in the first of them, " if collapsed > 1 else ""  # others may have another reason, or figure
            notes.append(f"{label} collapsed in {collapsed} of {counted(len(found), 'run')}: {whose}{reason}.")
        if spec.beta != 1 or spec.free_bits > 0 or spec.samples > 1:
            notes.append(
                f"{label} was trained with another loss than neg_elbo; see also its importance-weighted bound."
            )
    if any("share" in found[0].metrics["validation"] for found in judged.values()):
        notes.append(
            "grey values under bernoulli are a cross-entropy; do not compare these nats with those of binarised data."
        )
    return notes


def _draw(comparison: Comparison, data: Dataset) -> None:
    """The pictures and the page."""
    histories = {
        name: [store.load_run(f.folder).history for f in found if f.folder is not None]
        for name, found in comparison.models.items()
    }
    draw_comparison(comparison.folder, data, comparison.models, histories, comparison.results)
    build_comparison_report(comparison.folder, Spec, explorer_of(data))
