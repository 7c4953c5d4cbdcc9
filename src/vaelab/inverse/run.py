"""`invert`: a problem becomes a trained model, its scores beside every baseline, pictures and a page, in one folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab import store
from vaelab.errors import InputError
from vaelab.inverse import methods, npe, posterior, scores, search
from vaelab.inverse.config import Config
from vaelab.inverse.inverter import LONG, NETWORK, REFINED, WALK, Inverter, Judged, judge, specs_of, train
from vaelab.inverse.lines import ends_of
from vaelab.inverse.methods import Attempt
from vaelab.inverse.problems import Problem, apply
from vaelab.plots import inverse as plots
from vaelab.plots import losses_data, plot_losses
from vaelab.report.inverse import build_inverse_report
from vaelab.training import one_thread

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Inversion:
    """What `invert` returns: the folder, the trained model, and all results."""

    folder: Path
    model: Inverter
    results: dict[str, Any]

    def __repr__(self) -> str:
        return f"Inversion({str(self.folder)!r}, {self.model.problem.name}, recall={self.results['recall']})"


@dataclasses.dataclass(frozen=True)
class Watch:
    """What is told while it works."""

    epoch: Callable[[int], None] = lambda epoch: None
    trial: Callable[[search.Trial], None] = lambda trial: None
    note: Callable[[str], None] = lambda text: None


def invert(
    problem: Problem,
    settings: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
    **options: Any,
) -> Inversion:
    """Train a conditional VAE on a problem, draw candidates for every scored curve, refine and judge them.

    settings: as {"epochs": 30}. options: `trials`, how many settings of `space` to try before, by `yardstick` on
    validation curves; `samples`, candidates of a curve; `refine`, `walk`, `seed`, `spectrum`, `baselines`, `npe` as
    in `vaelab invert`. out: the run's folder, default runs/<problem>-<time>; until the end <out>.partial holds what
    is done.

    Raises InputError for bad input, before anything is trained. The scored curves choose nothing.
    """
    return begin(problem, Config.create(problem, settings or {}, **options), out=out, overwrite=overwrite, watch=watch)


def begin(
    problem: Problem,
    config: Config,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Inversion:
    """`invert`, by a checked configuration."""
    folder = _default_folder(problem) if out is None else Path(out)
    partial = preparation(folder)
    if store.is_occupied(partial) and not overwrite:
        raise InputError(f"{folder} was begun and stopped; `resume` it, or `overwrite` it.")
    store.new_folder(folder, overwrite).rmdir()  # a free place, which the finished run takes
    store.new_folder(partial, overwrite)
    config.save(partial, problem)
    return _conclude(problem, config, folder, watch or Watch())


def resume(folder: str | Path, problem: Problem | None = None, watch: Watch | None = None) -> Inversion:
    """Continue an `invert` that was stopped: the same model as if it had not been.

    `problem` is given again where it came from Python.
    """
    folder = Path(folder)
    partial = preparation(folder)
    if not partial.is_dir():
        raise InputError(f"there is nothing to resume: {partial} does not exist; begin it without resuming.")
    config, problem = Config.read(partial / "config.toml", problem)
    return _conclude(problem, config, folder, watch or Watch())


def preparation(folder: Path) -> Path:
    """Where a run is prepared."""
    return folder.with_name(folder.name + ".partial")


def _conclude(problem: Problem, config: Config, folder: Path, watch: Watch) -> Inversion:
    """Search and train from where the preparation stands; judge, draw, and put the run into its place."""
    partial = preparation(folder)
    with store.StudyLock(partial), one_thread():
        specs, tried = specs_of(problem, config.settings), list[search.Trial]()
        if config.trials:
            spec, tried = search.search(problem, config, partial, watch.trial)
            specs = [spec]
        model = train(problem, specs, work=partial, spectrum=config.spectrum, progress=watch.epoch)
        if config.npe and not npe.is_installed():
            watch.note(npe.MISSING)
        judged = judge(
            model, config.samples, config.refine, config.seed, config.walk, config.baselines,
            config.npe and npe.is_installed(),
        )  # fmt: skip
        seconds = {"search": sum(trial.seconds for trial in tried), "train": model.seconds, **judged.seconds}
        results = summary(model, judged, seconds, config.samples, config.refine, config.walk)
        results["posterior"] = posterior.check(model, config.seed)
        results["examples"] = len(problem.splits["train"])
        if config.trials:
            rows = [trial.as_dict() for trial in tried]
            results["search"] = {"yardstick": config.yardstick, "space": config.space.to_json(), "trials": rows}
        metrics = {
            "validation": dict(model.figures), "test": None, "epochs": len(model.history),
            "seconds": seconds["train"], "inverse": results,
        }  # fmt: skip
        model = model.save(folder, metrics, overwrite=True)  # of an end that was stopped; else the place is free
        np.save(folder / "measurements.npy", problem.rows("test")[1])
        draw(model, judged, folder / "figures", results["posterior"]["calibration"])
        for name in ("config.toml", "study.db"):
            if (partial / name).exists():
                shutil.copy2(partial / name, folder / name)
        build_inverse_report(folder)
    shutil.rmtree(partial)
    return Inversion(folder, model, results | {"run": str(folder)})


def _default_folder(problem: Problem) -> Path:
    stem = Path("runs") / f"{problem.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = stem, 2
    while path.exists():
        path, number = Path(f"{stem}-{number}"), number + 1
    return path


def summary(
    model: Inverter, judged: Judged, seconds: Mapping[str, float], samples: int, refine: int, walk: int
) -> dict[str, Any]:
    """All results as one JSON document."""
    problem, own = model.problem, judged.result
    multi = next((a for a in judged.attempts if a.name == LONG), None)
    filtered = _distinct(problem, own)
    return {
        "problem": problem.name,
        "curves": len(own.x),
        "samples": samples,
        "refine": refine,
        "walk": walk,
        **{name: getattr(own.score, name) for name in ("gates", "recall", "precision", "hull_area")},
        "unrefined": judged.unrefined.as_dict(),
        "filtered": filtered,
        "seconds": dict(seconds),
        "pays_from": None if multi is None else _pays_from(seconds["train"], own, multi),
        "kl": model.figures["kl"],
        "verdict": model.figures["verdict"],
        "bound": model.figures["neg_elbo"],
        "baselines": [a.as_dict() for a in judged.attempts if a.name not in (NETWORK, REFINED)],
        "network": own.as_dict(),
    }


def _distinct(problem: Problem, own: Attempt) -> dict[str, Any]:
    """What is left of the candidates after the gates and de-duplication: solutions, which judge nothing."""
    _, y = problem.rows("test")
    kept = [methods.distinct(problem, x, measured) for x, measured in zip(own.x, y, strict=True)]
    missed = np.concatenate([rmse for _, rmse in kept])
    return {
        "label": "solutions: filtered by the gates, doubles left out; not a score",
        "distinct": float(np.mean([len(x) for x, _ in kept])),
        "curves_without": sum(not len(x) for x, _ in kept),
        "rmse": float(np.median(missed)) if len(missed) else None,
    }


def _pays_from(training: float, own: Attempt, other: Attempt) -> int | None:
    """From how many curves on training has paid: the other method's time for this recall is more than ours.

    Its time is that of as many candidates as it needed; None where it never came so far and so has no price, or is
    cheaper.
    """
    if own.score.recall is None:
        return None
    reached = [k for k, recall in enumerate(other.score.recall_curve, 1) if recall >= own.score.recall]
    if not reached:
        return None
    price = other.seconds * reached[0] / other.candidates
    return int(np.ceil(training / ((price - own.seconds) / len(own.x)))) if price > own.seconds else None


def draw(model: Inverter, judged: Judged, folder: Path, calibration: Mapping[str, Any]) -> list[Path]:
    """The pictures of a run, in its figures/; `calibration` as posterior.check tells it."""
    folder.mkdir(exist_ok=True)
    problem, own = model.problem, judged.result
    reference, y = problem.rows("test")
    passing = scores.passes(scores.gates(problem, own.x, y))
    drawn = [plot_losses(losses_data(list(model.history), {}), folder / "losses.png", f"{problem.name}: training")]
    shown = list(range(min(plots.SHOWN, len(y)))) if problem.family is None else _most_solutions(problem, reference)
    if len(problem.x_shape) == 2 and len(problem.y_shape) in (1, 2):
        x = own.x[shown]
        flat = apply(problem.forward, x.reshape(-1, *problem.x_shape))
        data = plots.solved_data(
            x, reference[shown], flat.reshape(*x.shape[:2], *problem.y_shape), y[shown], passing[shown]
        )
        drawn.append(plots.plot_solved(data, folder / "candidates.png", f"{problem.name}: candidates, unfiltered"))
    elif len(problem.x_shape) == 1:
        pairs = [plots.Pairs(own.x[i], passing[i], reference[i]) for i in shown]
        drawn.append(plots.plot_pairs(pairs, folder / "candidates.png", f"{problem.name}: candidates, unfiltered"))
    if problem.family is not None:
        ends = [
            plots.Ends(ends_of(own.x[i]), passing[i], problem.family.solutions(ends_of(reference[i]))) for i in shown
        ]
        drawn.append(plots.plot_ends(ends, folder / "ends.png", f"{problem.name}: end points over all solutions"))
        race = plots.race_data([a.as_dict() for a in judged.attempts], len(y))
        drawn.append(plots.plot_race(race, folder / "race.png", f"{problem.name}: recall and its price"))
    if own.rmse is not None:
        rmse = own.rmse.reshape(len(own.rmse), -1)
        drawn.append(plots.plot_refinement(rmse, problem.gate, folder / "refinement.png"))
    drawn.append(plots.plot_ranks(plots.ranks_data(calibration), folder / "calibration.png"))
    return drawn


def _most_solutions(problem: Problem, reference: Array) -> list[int]:
    """The curves with most solutions, which are hardest to cover."""
    assert problem.family is not None
    counts = [len(problem.family.solutions(ends)) for ends in ends_of(reference)]
    return [int(i) for i in np.argsort(counts, kind="stable")[::-1][: plots.SHOWN]]


def solve(
    folder: str | Path, y: str | Path, *, samples: int = 100, refine: int = 20, walk: int = WALK, seed: int = 0,
    out: str | Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Distinct solutions of the measurements in a .npy or .csv file, ranked by misfit; written to an .npz by `out`."""
    if out is not None and Path(out).suffix != ".npz":
        raise InputError(f"solutions are written to an .npz file, but `out` is {str(out)!r}.")
    model = Inverter.load(folder)
    measured = model.problem.curves(_read(Path(y), model.problem.y_shape))
    began = time.perf_counter()
    found = model.solve(measured, samples, refine, seed, walk)
    seconds = time.perf_counter() - began
    if out is not None:
        curve = np.repeat(np.arange(len(found)), [len(s) for s in found])
        x, missed = (np.concatenate(parts) for parts in zip(*((s.x, s.rmse) for s in found), strict=True))
        np.savez(Path(out), curve=curve, x=x, rmse=missed)
    return {
        "run": str(folder),
        "samples": samples,
        "refine": refine,
        "seconds": seconds,
        "gate": model.problem.gate,
        "curves": [
            {
                "candidates": own.candidates, "evaluations": own.evaluations,
                "solutions": [
                    {"rank": rank, "rmse": float(missed), "x": _described(x)}
                    for rank, (x, missed) in enumerate(zip(own.x, own.rmse, strict=True), 1)
                ],
            }
            for own in found
        ],
    }  # fmt: skip


def _described(x: Array) -> list[Any]:
    """A solution as numbers: its values, or of curves the first and last ones."""
    if x.ndim >= 2 and x.shape[-1] > 4:
        return [[float(v) for v in ends] for ends in np.stack([x[..., 0], x[..., -1]], -1).reshape(-1, 2)]
    listed: list[Any] = json.loads(json.dumps(x.tolist()))
    return listed


def _read(path: Path, shape: tuple[int, ...]) -> Array:
    """Measurements from a file; a row of a CSV file is one flat measurement."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the measurements as .npy or .csv.")
    try:
        if path.suffix == ".npy":
            values: Array = np.load(path, allow_pickle=False)
            return values
        if path.suffix == ".csv":
            rows: Array = np.loadtxt(path, delimiter=",", ndmin=2)
            wanted = int(np.prod(shape))
            if rows.shape[1] != wanted:
                raise InputError(f"a row of {path.name} must hold {wanted} numbers, but holds {rows.shape[1]}.")
            return rows.reshape(-1, *shape)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from None
    raise InputError(f"measurements are a .npy or .csv file, but got {path.name}.")
