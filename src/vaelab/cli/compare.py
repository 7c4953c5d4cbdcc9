"""The commands that compare: models with each other, `compare`, and rows with other rows, `drift`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaelab.cli.machines import WORKERS, WorkerOptions
from vaelab.cli.options import (
    AsJson,
    DrawAll,
    MaybeSource,
    Out,
    Overwrite,
    Resume,
    RunFolder,
    check_there,
    data_of_run,
    draws,
    load_again,
    print_json,
    refuse_beside,
    resumed,
)
from vaelab.cli.reading import PLAIN, PLAIN_ROWS, DataOptions, RowOptions, with_options
from vaelab.cli.settings import VAE, VAEOptions
from vaelab.errors import InputError

PLACES = {"workers", "ray", "cpus_per_worker", "gpus_per_worker"}  # they change no result


@with_options
def compare(
    context: typer.Context,
    source: MaybeSource = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME:SETTING=VALUE,...",
            help="such as wide:hidden=64-32,latent_dim=2; or NAME:FILE.toml, FILE.toml, NAME:RUN, RUN; at least two",
        ),
    ] = None,
    model: VAEOptions = VAE,
    seeds: Annotated[int, typer.Option(help="training runs per model")] = 5,
    seed: Annotated[int, typer.Option(help="seed of the comparison; all models use the same seeds")] = 0,
    machines: WorkerOptions = WORKERS,
    figures: DrawAll = "all",
    where: DataOptions = PLAIN,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    config: Annotated[Path | None, typer.Option(help="rerun from a comparison's config.toml")] = None,
    as_json: AsJson = False,
) -> None:
    """Train models over the same seeds, judge them by the same yardsticks and recommend one; a RUN is one seed."""
    from vaelab.cli import terminal
    from vaelab.comparison.lineup import Lineup, parse_models
    from vaelab.vae.spec import Spec

    if resume is not None or config is not None:
        if resume is not None:
            refuse_beside(context, "resume", PLACES)
            config = resumed(resume, "compare") / "config.toml"
        else:
            refuse_beside(context, "config", {"out", "overwrite", *PLACES})
        assert config is not None
        lineup, source_of = Lineup.read(config)
        data = load_again(source_of, where.moved, where.download, where.data_dir)
    else:
        if source is None:
            raise InputError("`vaelab compare` needs DATA, such as digits, or --resume FOLDER.")
        lineup = Lineup.create(
            parse_models(models or []), model.fixed(Spec), seeds=seeds, seed=seed, figures=draws(figures)
        )
        data = where.load(source)
    from vaelab.comparison import run as comparing
    from vaelab.engine.process import keep_freed_memory

    keep_freed_memory()
    place: Any = {"workers": machines.workers, "ray": machines.cluster}
    with terminal.comparison_watch() as display:
        if resume is not None:
            found = comparing.resume(resume, data, watch=display, **place)
        else:
            found = comparing.begin(lineup, data, out=out, overwrite=overwrite, watch=display, **place)
    print_json(found.results) if as_json else terminal.print_comparison(found.results)


@with_options
def drift(
    folder: RunFolder,
    file: Annotated[str, typer.Argument(metavar="FILE", help="rows that may differ from those the model knows")],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="rows to compare them with; default: the run's own data that it was not trained on"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the permutations and of the classifier")] = 0,
    rows: RowOptions = PLAIN_ROWS,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Tell how the rows of a file differ from others: by column, in likelihood, and in the latents of a model."""
    for each in (file, against):
        if each is not None:
            check_there(each)
    from vaelab import store, use
    from vaelab.cli import terminal
    from vaelab.comparison.drift import write_drift
    from vaelab.data import describe

    model = use.load(folder)
    data = None
    if against is None:
        data = data_of_run(model.facts, rows.data_dir, rows.moved)
    found = use.drift(model, file, against, data=data, data_dir=rows.data_dir, seed=seed, **rows.changes)
    names = Path(file).name, Path(against).name if against else f"{model.facts.name}, held out"
    with store.building(out or (model.folder or folder) / "drift", overwrite, keep=False) as home:
        results = write_drift(found, model, home, names, {} if data is None else describe(data))
    print_json(results) if as_json else terminal.print_drift(results)
