"""The commands that work on latents: `cluster` and `anomaly`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vaelab.cli.options import (
    AsJson,
    DrawAll,
    Out,
    Overwrite,
    Resume,
    Starts,
    check_run_or_data,
    check_there,
    data_of_run,
    draws,
    load_again,
    print_json,
    refuse_beside,
    resumed,
    run_there,
    tell,
)
from vaelab.cli.reading import PLAIN, DataOptions, with_options
from vaelab.cli.settings import VAE, VAEOptions
from vaelab.errors import InputError

RunOrData = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN|DATA", help="folder of a run or study, or data to train an encoder on; omit with --resume"
    ),
]


def _open(source: str, where: DataOptions) -> tuple[Any, Any]:
    """The run folder and its data if `source` is a run, else None and the data."""
    from vaelab import use

    if not use.is_run(source):
        return None, where.load(source)
    if where.are_given:
        raise InputError(f"{source} is a run, which already has its data; leave out the options of how to read them.")
    trained = use.load(source)
    return trained.folder, data_of_run(trained.facts, where.data_dir, where.moved)


@with_options
def cluster(
    context: typer.Context,
    source: RunOrData = None,
    components: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="number of Gaussians; of a list such as 10,20,50, or auto: the lowest BIC, without labels ICL",
        ),
    ] = "auto",
    covariance: Annotated[
        str, typer.Option(help="full, tied, diag, spherical, or auto: full, without labels the kind of lowest ICL")
    ] = "auto",
    points: Annotated[
        str,
        typer.Option(
            help="means or samples: fit to posterior means, widened by the variance (auto), or to posterior samples"
        ),
    ] = "auto",
    labels: Annotated[
        str | None,
        typer.Option(metavar="N|validation", help="number of training labels, balanced over classes; default: 100"),
    ] = None,
    reject: Annotated[float, typer.Option(help="answer unknown below this probability")] = 0.0,
    em_starts: Annotated[int, typer.Option(help="EM starts; the one with the highest likelihood is kept")] = 3,
    starts: Starts = 1,
    seed: Annotated[int, typer.Option(help="seed for the encoder, the mixture and the labels")] = 0,
    manifold: Annotated[
        str, typer.Option(help="none, or umap: also cluster a UMAP of the latents (needs an extra)")
    ] = "none",
    budget: Annotated[
        bool, typer.Option("--budget/--no-budget", help="measure accuracy against the number of labels")
    ] = True,
    model: VAEOptions = VAE,
    figures: DrawAll = "all",
    where: DataOptions = PLAIN,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Fit a Gaussian mixture to the latents, name its components with a few labels, evaluate on test."""
    if resume is not None:
        refuse_beside(context, "resume", ())
        place = resumed(resume, "cluster")
    elif source is None:
        raise InputError("`vaelab cluster` needs a RUN or DATA, such as digits, or --resume FOLDER.")
    else:
        check_run_or_data(source)
    from vaelab.cli import terminal
    from vaelab.engine.process import keep_freed_memory
    from vaelab.latent import clusters as clustering
    from vaelab.latent.options import Options
    from vaelab.vae.spec import Spec

    if source is None:
        options, source_of = clustering.begun(place)
        data = load_again(source_of, where.moved, where.download, where.data_dir)
    else:
        chosen = Options.create(
            components=components, covariance=covariance, points=points, labels=labels, reject=reject,
            em_starts=em_starts, seed=seed, manifold=manifold, budget=budget, figures=draws(figures),
        )  # fmt: skip
        fixed = model.fixed(Spec)
        Spec.create(**fixed)
        run, data = _open(source, where)
        options = {"chosen": chosen, "run": run, "settings": fixed, "starts": starts, "overwrite": overwrite}

    keep_freed_memory()
    with terminal.epochs(_epochs(options["settings"])) as progress:
        found = clustering.cluster(
            data, out=resume or out, resume=resume is not None, say=tell, progress=progress, **options
        )
    print_json(found.results) if as_json else terminal.print_clusters(found.results)


@with_options
def anomaly(
    context: typer.Context,
    source: RunOrData = None,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="rows to score one by one, by the RUN trained on such rows")
    ] = None,
    contamination: Annotated[
        float | None,
        typer.Option(
            help="flag rows of FILE with a p-value of at most this: the share of normal rows that are flagged; "
            "default: 0.01, or the least that the calibration rows allow"
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|DATA",
            help="the anomalous data; DATA, unlike a RUN, is scored in both directions; beside --resume: where they "
            "are now",
        ),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option("--held-out", metavar="CLASS", help="train a new model without this class"),
    ] = None,
    components: Annotated[
        int | None, typer.Option(min=1, help="Gaussians in the mixture on the latents; default: 50")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=10, help="most test examples of each kind to score; default: all")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed for the model and the choice of rows")] = 0,
    model: VAEOptions = VAE,
    where: DataOptions = PLAIN,
    out: Annotated[
        Path | None,
        typer.Option(help="output folder; of FILE also a .csv or .parquet file: the table alone; default: printed"),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Score each row of FILE, and say why it is strange. Or test how well a VAE detects anomalies: other data, in both
    directions, or a class it has never seen.
    """
    if resume is not None:
        refuse_beside(context, "resume", {"against"})
        place = resumed(resume, "anomaly")
    elif source is None:
        raise InputError("`vaelab anomaly` needs a RUN or DATA, such as digits, or --resume FOLDER.")
    elif file is not None:
        if against or held_out or model != VAE or components or rows or seed:
            raise InputError("FILE is scored by the trained RUN as it is; leave out the options of the other forms.")
        _score_file(Path(source), file, contamination, where, out, overwrite, as_json)
        return
    elif contamination is not None:
        raise InputError("--contamination is for the rows of a file; give RUN and FILE.")
    elif (against is None) == (held_out is None):
        raise InputError("say what is scored: the rows of a FILE after RUN, --against DATA, or --held-out CLASS.")
    else:
        for each in (source, against):
            if each is not None:
                check_run_or_data(each)
    from vaelab.vae.spec import Spec

    fixed = model.fixed(Spec)
    Spec.create(**fixed)
    from vaelab import use
    from vaelab.cli import terminal
    from vaelab.engine.process import keep_freed_memory
    from vaelab.latent import anomaly as anomalies

    if source is None:
        options, source_of, other_source = anomalies.begun(place)
        data = load_again(source_of, where.moved, where.download, where.data_dir)
        now = None if against is None else Path(against)
        if now is not None and not other_source:
            raise InputError(f"{resume} is a test with a class held out, which has no other data; leave out --against.")
        given = now, where.download, where.data_dir, "--against"
        other = load_again(other_source, *given) if other_source else None
    else:
        run, data = _open(source, where)
        other_run, other = None, None
        if against is not None:
            # The anomalies need no labels, and all their rows are scored.
            plain = dataclasses.replace(where, target=None, group=None, split=None)
            if use.is_run(against):
                plain = DataOptions(data_dir=where.data_dir)
            other_run, other = _open(against, plain)
        options = {"held_out": held_out, "components": components or 50, "rows": rows, "seed": seed}
        options |= {"run": run, "other_run": other_run, "settings": fixed, "overwrite": overwrite}
    keep_freed_memory()
    with terminal.epochs(_epochs(options["settings"])) as progress:
        results = anomalies.anomaly(
            data, other, out=resume or out, resume=resume is not None, say=tell, epoch=progress, **options
        )
    print_json(results) if as_json else terminal.print_anomalies(results)


def _epochs(settings: Mapping[str, Any]) -> int | None:
    """The number of epochs, if it is known before the data are."""
    from vaelab.vae.spec import Spec

    epochs = Spec.create(**settings).epochs
    return None if epochs == "auto" else epochs


def _score_file(
    run: Path, file: str, contamination: float | None, where: DataOptions, out: Path | None, overwrite: bool,
    as_json: bool,
) -> None:  # fmt: skip
    run_there(run)
    check_there(file)
    from vaelab import store, use
    from vaelab.cli import outputs, terminal
    from vaelab.latent.row_scores import in_short, write_row_scores

    if any((where.target, where.drop, where.types, where.group, where.split)):
        raise InputError("rows of a file are read as those of the run; leave out --target, --drop, --type and splits.")
    if not use.is_run(run):
        raise InputError(f"{run} must be the folder of a trained run, to score the rows of {file}; train one first.")
    model = use.load(run)
    changes = {"id": where.id, "transpose": where.transpose or None, "na": tuple(where.na or ()) or None}
    data = data_of_run(model.facts, where.data_dir, where.moved)
    found = use.score_anomalies(
        model, file, contamination, data=data, data_dir=where.data_dir,
        **{name: value for name, value in changes.items() if value is not None},
    )  # fmt: skip
    if out is not None and out.suffix.lower() in (".csv", ".parquet"):
        outputs.write_scores(found, out)
        results = in_short(found)
        print_json(results) if as_json else terminal.print_row_scores(results)
        return
    with store.building(out or (model.folder or run) / "anomalies", overwrite, keep=False) as folder:
        outputs.write_scores(found, folder / "scores.csv")
        results = write_row_scores(found, model, data, folder, file)
    print_json(results) if as_json else terminal.print_row_scores(results)
