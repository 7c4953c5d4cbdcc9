"""The commands that search: `tune`, `classify` and `regress`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaelab.cli.completion import purposes
from vaelab.cli.machines import HERE, MachineOptions
from vaelab.cli.options import (
    AsJson,
    Cohort,
    Figures,
    MaybeSource,
    Out,
    Overwrite,
    Prune,
    Resume,
    Sampler,
    Search,
    SpaceFile,
    StudyConfig,
    StudySeed,
    Timeout,
    Trials,
    load_again,
    print_json,
    refuse_beside,
    resumed,
)
from vaelab.cli.reading import PLAIN, DataOptions, with_options
from vaelab.cli.settings import SUPERVISED, VAE, SupervisedOptions, TrainingOptions, VAEOptions
from vaelab.errors import InputError
from vaelab.registry import Registry

if TYPE_CHECKING:
    from vaelab.data import Dataset
    from vaelab.study.config import Config
    from vaelab.study.task import Task

TASKS: Registry[Task] = Registry(
    "kind of model",
    {
        "vae": "vaelab.vae.task:TASK",
        "classifier": "vaelab.classifier.task:TASK",
        "regressor": "vaelab.regressor.task:TASK",
    },
)


@with_options
def tune(
    context: typer.Context,
    source: MaybeSource = None,
    search: Search = None,
    space: SpaceFile = None,
    model: VAEOptions = VAE,
    trials: Trials = None,
    timeout: Timeout = None,
    machines: MachineOptions = HERE,
    seed: StudySeed = 0,
    sampler: Sampler = "tpe",
    cohort: Cohort = None,
    purpose: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="density|embedding|clusters",
            autocompletion=purposes,
            help="what the model is for; gives the yardstick and the default space: the negative ELBO; a linear probe "
            "of the labels; clusters that agree with the labels. The labels of training rows fit, those of validation "
            "rows choose. Without labels: the front of rate and distortion; the stability of clusters, a heuristic. "
            "Two purposes, such as density,embedding: the front between them. Default: density",
        ),
    ] = None,
    yardstick: Annotated[
        str | None,
        typer.Option(
            help="what judges trials, instead of the purpose's: neg_elbo, probe, neighbours, nmi (these three need "
            "labels), stability, or weighted_loss if no loss weight is searched; two, such as neg_elbo,probe or "
            "rate,distortion, give a front",
        ),
    ] = None,
    final_seeds: Annotated[int, typer.Option(help="training runs per finalist")] = 3,
    figures: Figures = "auto",
    prune: Prune = True,
    where: DataOptions = PLAIN,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    config: StudyConfig = None,
    as_json: AsJson = False,
) -> None:
    """Search a VAE's hyperparameters, retrain the best over several seeds, open the test split once."""
    options: dict[str, Any] = {"yardstick": yardstick, "purpose": purpose, "final_seeds": final_seeds}
    options |= {"timeout": timeout, "seed": seed, "sampler": sampler, "cohort": cohort, "prune": prune}
    options |= {"figures": figures}
    chosen, data = _study(
        context, "vae", source, search, space, model, options | {"trials": trials}, resume, config, where,
    )  # fmt: skip
    results = _run(chosen, data, resume, trials, timeout, machines, out, overwrite)
    from vaelab.cli import terminal

    print_json(results) if as_json else terminal.print_study(results)


@with_options
def classify(
    context: typer.Context,
    source: MaybeSource = None,
    search: Search = None,
    space: SpaceFile = None,
    model: SupervisedOptions = SUPERVISED,
    trials: Trials = None,
    timeout: Timeout = None,
    machines: MachineOptions = HERE,
    seed: StudySeed = 0,
    sampler: Sampler = "tpe",
    cohort: Cohort = None,
    yardstick: Annotated[
        str,
        typer.Option(help="accuracy, log_loss, macro_f1 or balanced_accuracy, on validation; or two, with a comma"),
    ] = "accuracy",
    finalists: Annotated[int | None, typer.Option(help="best trials to retrain; default: 3")] = None,
    final_seeds: Annotated[int, typer.Option(help="training runs per finalist")] = 1,
    final_epochs: Annotated[
        int | None, typer.Option(help="epochs of the final training; default: as in the search")
    ] = None,
    figures: Figures = "auto",
    prune: Prune = True,
    where: DataOptions = PLAIN,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    config: StudyConfig = None,
    as_json: AsJson = False,
) -> None:
    """Search a classifier's hyperparameters, retrain the best, open the test split once."""
    options: dict[str, Any] = {
        "yardstick": yardstick,
        "final_seeds": final_seeds,
        "finalists": finalists,
        "final_epochs": final_epochs,
    }
    options |= {"timeout": timeout, "seed": seed, "sampler": sampler, "cohort": cohort, "prune": prune}
    options |= {"figures": figures}
    chosen, data = _study(
        context, "classifier", source, search, space, model, options | {"trials": trials}, resume, config, where,
    )  # fmt: skip
    results = _run(chosen, data, resume, trials, timeout, machines, out, overwrite)
    from vaelab.cli import terminal

    print_json(results) if as_json else terminal.print_classifier(results)


@with_options
def regress(
    context: typer.Context,
    source: MaybeSource = None,
    search: Search = None,
    space: SpaceFile = None,
    model: SupervisedOptions = SUPERVISED,
    trials: Trials = None,
    timeout: Timeout = None,
    machines: MachineOptions = HERE,
    seed: StudySeed = 0,
    sampler: Sampler = "tpe",
    cohort: Cohort = None,
    yardstick: Annotated[
        str,
        typer.Option(help="log_density (mean log p(y|x), nats) or r2, on validation; or both, with a comma"),
    ] = "log_density",
    finalists: Annotated[int | None, typer.Option(help="best trials to retrain; default: 3")] = None,
    final_seeds: Annotated[int, typer.Option(help="training runs per finalist")] = 1,
    final_epochs: Annotated[
        int | None, typer.Option(help="epochs of the final training; default: as in the search")
    ] = None,
    figures: Figures = "auto",
    prune: Prune = True,
    where: DataOptions = PLAIN,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    config: StudyConfig = None,
    as_json: AsJson = False,
) -> None:
    """Search a regressor of the numeric column --target, retrain the best, open the test split once."""
    options: dict[str, Any] = {
        "yardstick": yardstick,
        "final_seeds": final_seeds,
        "finalists": finalists,
        "final_epochs": final_epochs,
    }
    options |= {"timeout": timeout, "seed": seed, "sampler": sampler, "cohort": cohort, "prune": prune}
    options |= {"figures": figures}
    chosen, data = _study(
        context, "regressor", source, search, space, model, options | {"trials": trials}, resume, config, where,
    )  # fmt: skip
    results = _run(chosen, data, resume, trials, timeout, machines, out, overwrite)
    from vaelab.cli import terminal

    print_json(results) if as_json else terminal.print_regressor(results)


def _study(
    context: typer.Context,
    name: str,
    source: str | None,
    search: list[str] | None,
    space: Path | None,
    model: TrainingOptions,
    options: dict[str, Any],
    resume: Path | None,
    config: Path | None,
    where: DataOptions,
) -> tuple[Config, Dataset]:
    """The configuration, validated before the data are read, and the data."""
    from vaelab.settings.space import Space
    from vaelab.store.kinds import OF_TASKS
    from vaelab.study.config import Config

    task = TASKS[name]
    if resume is not None or config is not None:
        places = {field.name for field in dataclasses.fields(MachineOptions)}
        if resume is not None:
            refuse_beside(context, "resume", {"trials", "timeout", *places})
            config = resumed(resume, OF_TASKS[name]) / "config.toml"
        else:
            refuse_beside(context, "config", {"out", "overwrite", *places})
        assert config is not None
        chosen, source_of = Config.read(config, task)
        return chosen, load_again(source_of, where.moved, where.download, where.data_dir)
    if source is None:
        raise InputError(f"`vaelab {OF_TASKS[name]}` needs DATA, such as digits, or --resume FOLDER.")
    if search and space:
        raise InputError("give the ranges with --search or --space, not both.")
    kind = task.spec_type
    ranges = Space.from_strings(search, kind) if search else Space.from_toml(space, kind) if space else None
    given = {name: value for name, value in options.items() if value is not None}
    chosen = Config.create(task, ranges, model.fixed(kind), **given)
    return chosen, where.load(source, numeric=name == "regressor")


def _run(
    chosen: Config,
    data: Dataset,
    resume: Path | None,
    trials: int | None,
    timeout: float | None,
    machines: MachineOptions,
    out: Path | None,
    overwrite: bool,
) -> dict[str, Any]:
    """Start or resume the study; returns its results."""
    from vaelab.cli import terminal
    from vaelab.engine.process import keep_freed_memory
    from vaelab.study import tune as tuning

    keep_freed_memory()
    where: Any = {"workers": machines.workers, "ray": machines.cluster, "storage": machines.database}
    with terminal.watch() as display:
        if resume is not None:
            study = tuning.resume(resume, data, chosen.task, trials=trials, timeout=timeout, watch=display, **where)
        else:
            study = tuning.begin(chosen, data, out=out, overwrite=overwrite, watch=display, **where)
    return study.results
