"""`invert`: from a problem to a trained model, scores against every baseline, pictures and a page, in one folder."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import store
from vaelab.engine.process import one_thread
from vaelab.inverse import methods, npe, posterior, scores, search
from vaelab.inverse.config import InversionConfig
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.judging import LONG, NETWORK, REFINED, Attempts, judge
from vaelab.inverse.methods import Attempt
from vaelab.inverse.pictures import draw
from vaelab.inverse.problems import Problem
from vaelab.inverse.spec import specs_of
from vaelab.inverse.training import train
from vaelab.report.inverse import build_inverse_report
from vaelab.report.notebook import Paged
from vaelab.store.folders import default_folder
from vaelab.study.checkpoints import drop_torn
from vaelab.vae.fitted import Fitted
from vaelab.vae.spec import Spec
from vaelab.wording import counted

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Inversion(Paged):
    """What `invert` returns: the folder, the trained model, and all results."""

    folder: Path
    model: Inverter
    results: dict[str, Any]

    def __repr__(self) -> str:
        return f"Inversion({str(self.folder)!r}, {self.model.problem.name}, recall={self.results['recall']})"


@dataclasses.dataclass(frozen=True)
class InversionWatch:
    """Progress callbacks."""

    epoch: Callable[[int], None] = lambda epoch: None
    trial: Callable[[search.Trial], None] = lambda trial: None
    note: Callable[[str], None] = lambda text: None
    stage: Callable[[str], None] = lambda text: None  # what comes next, such as "training 2 models"


def begin(
    problem: Problem,
    config: InversionConfig,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: InversionWatch | None = None,
) -> Inversion:
    """Train a conditional VAE on a problem, draw candidates for every scored curve, refine and score them.

    Until it finishes, its files are in <out>.partial. The scored curves influence no choice.
    """
    folder = default_folder(problem.name) if out is None else Path(out)
    with store.building(folder, overwrite, aside=True) as partial:
        config.save(partial, problem)
        model, results = _conclude(problem, config, partial, watch or InversionWatch())
    return _inversion(folder, model, results)


def resume(folder: str | Path, problem: Problem | None = None, watch: InversionWatch | None = None) -> Inversion:
    """Resume an interrupted `invert`, with an identical model; a finished one is returned as it is.

    `problem` must be given again if it came from Python.
    """
    folder, watch = store.destination(Path(folder)), watch or InversionWatch()
    config, problem = InversionConfig.read(store.unfinished(folder) / "config.toml", problem)
    if not store.preparation(folder).is_dir():
        model = Inverter.load(folder, problem.forward if problem.has_forward else None)
        watch.note(f"{folder} is finished; there is nothing to resume.")
        return _inversion(folder, model, dict(model.metrics["inverse"]))
    with store.continuing(folder) as partial:
        model, results = _conclude(problem, config, partial, watch)
    return _inversion(folder, model, results)


def _inversion(folder: Path, model: Inverter, results: dict[str, Any]) -> Inversion:
    model = dataclasses.replace(model, fitted=Fitted.load(folder, conditional=True))
    return Inversion(folder, model, results | {"run": str(folder)})


def _conclude(
    problem: Problem, config: InversionConfig, partial: Path, watch: InversionWatch
) -> tuple[Inverter, dict[str, Any]]:
    """Search and train from the last checkpoint in `partial`; score and draw, in its folder run/."""
    folder = partial / "run"
    drop_torn(partial, watch.note)
    if problem.failed:
        watch.note(
            f"{counted(problem.failed, 'example')} of {len(problem.x) + problem.failed} left out: a value is NaN or "
            "infinite, and could not be filled."
        )
    if problem.gaps:
        watch.note(
            f"{counted(problem.gaps, 'example')} of {len(problem.x) + problem.failed} with gaps in y, which were drawn "
            "given x and the rest of y; used for training alone."
        )
    with one_thread():
        specs, tried = specs_of(problem, config.settings), list[search.Trial]()
        if config.trials:
            watch.stage(f"searching in {counted(config.trials, 'trial')}")
            spec, tried = search.search(problem, config, partial, watch.trial)
            specs = [spec]
        examples = counted(len(problem.splits["train"]), "example")
        watch.stage(f"training {counted(len(specs), 'model')} for {specs[0].epochs} epochs on {examples}")
        model = train(
            problem, specs, work=partial, spectrum=config.spectrum, flow=config.flow, progress=watch.epoch,
            stage=watch.stage,
        )  # fmt: skip
        if config.npe and not npe.is_installed():
            watch.note(npe.MISSING)
        judged = None
        if problem.has_forward:
            scored = counted(len(problem.splits["test"]), "measurement")
            watch.stage(f"solving {scored}" + (", also by methods without a network" if config.baselines else ""))
            judged = judge(
                model, config.samples, config.refine, config.seed, config.walk, config.baselines,
                config.npe and npe.is_installed(),
            )  # fmt: skip
        else:
            watch.note("without a forward function there are posterior draws, but no solutions.")
        seconds = {"search": sum(trial.seconds for trial in tried), "train": model.seconds}
        results = summary(model, judged, seconds, config.samples, config.refine, config.walk)
        watch.stage("checking posterior draws, drawing the page")
        results["posterior"] = posterior.check(model, config.seed)
        results["examples"], results["failed"] = len(problem.splits["train"]), problem.failed
        results["gaps"] = problem.gaps
        if config.trials:
            rows = [trial.as_dict() for trial in tried]
            results["search"] = {"yardstick": config.yardstick, "space": config.space.to_json(), "trials": rows}
        metrics = {
            "validation": dict(model.metrics), "test": None, "epochs": model.history[-1]["epoch"],
            "seconds": seconds["train"], "inverse": results,
        }  # fmt: skip
        model = model.save(folder, metrics, overwrite=True)  # left by an interrupted finish, if present
        with store.writing(folder):
            np.save(folder / "measurements.npy", problem.rows("test")[1])
        draw(model, judged, folder / "figures", results["posterior"]["calibration"], config.seed)
        for name in ("config.toml", "study.db"):
            if (partial / name).exists():
                with store.writing(folder / name):
                    shutil.copy2(partial / name, folder / name)
        build_inverse_report(folder, Spec)
    return model, results


def summary(
    model: Inverter, judged: Attempts | None, seconds: Mapping[str, float], samples: int, refine: int, walk: int
) -> dict[str, Any]:
    """All results as one JSON document; what needs a forward function is None without one."""
    problem = model.problem
    common = {
        "problem": problem.name,
        "curves": len(problem.splits["test"]),
        "samples": samples,
        "refine": refine,
        "walk": walk,
        "kl": model.metrics["kl"],
        "verdict": model.metrics["verdict"],
        "bound": model.metrics["neg_elbo"],
        "prior": problem.prior_told,
        "sources": dataclasses.asdict(model.sources),
        "compared": model.metrics.get("compared"),
    }
    if judged is None:
        missing = dict.fromkeys(
            ("gates", "recall", "precision", "hull_area", "unrefined", "filtered", "pays_from", "network")
        )
        return {**common, **missing, "seconds": dict(seconds), "baselines": []}
    own, seconds = judged.result, {**seconds, **judged.seconds}
    multi = next((a for a in judged.attempts if a.name == LONG), None)
    filtered = _distinct(problem, own)
    return {
        **common,
        **{name: getattr(own.score, name) for name in ("gates", "recall", "precision", "hull_area")},
        "unrefined": judged.unrefined.as_dict(),
        "filtered": filtered,
        "seconds": dict(seconds),
        "pays_from": None if multi is None else _pays_from(seconds["train"], own, multi),
        "baselines": [a.as_dict() for a in judged.attempts if a.name not in (NETWORK, REFINED)],
        "network": own.as_dict(),
    }


def _distinct(problem: Problem, own: Attempt) -> dict[str, Any]:
    """The candidates left after the gates and de-duplication: solutions, not used as a score."""
    _, y = problem.rows("test")
    pairs = list(zip(own.x, y, strict=True))
    kept = [methods.distinct(problem, x, measured) for x, measured in pairs]
    missed = np.concatenate(
        [scores.rmse(problem, x[None], one[None])[0, found] for (x, one), found in zip(pairs, kept, strict=True)]
    )
    return {
        "label": "solutions: filtered by the gates, without duplicates; not a score",
        "distinct": float(np.mean([len(x) for x in kept])),
        "curves_without": sum(not len(x) for x in kept),
        "rmse": float(np.median(missed)) if len(missed) else None,
    }


def _pays_from(training: float, own: Attempt, other: Attempt) -> int | None:
    """The number of curves from which training pays off: the other method then needs more time for this recall.

    Its time is that of the candidates it needed; None if it never reaches this recall or is
    cheaper.
    """
    if own.score.recall is None:
        return None
    reached = [k for k, recall in enumerate(other.score.recall_curve, 1) if recall >= own.score.recall]
    if not reached:
        return None
    price = other.seconds * reached[0] / other.candidates
    return int(np.ceil(training / ((price - own.seconds) / len(own.x)))) if price > own.seconds else None
