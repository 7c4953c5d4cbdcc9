"""The commands that work on latents: `cluster` and `anomaly`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaelab.cli.options import (
    AsJson,
    DataDir,
    Download,
    Out,
    Overwrite,
    Settings,
    SplitSeed,
    Starts,
    Target,
    load_again,
    load_data,
    print_json,
    tell,
)

RunOrData = Annotated[
    str, typer.Argument(metavar="RUN|DATA", help="folder of a run or study, or data to train an encoder on")
]


def _open(source: str, target: str | None, data_dir: Path | None, download: bool, split_seed: int) -> tuple[Any, Any]:
    """The run folder and its data if `source` is a run, else None and the data."""
    from vaelab import use

    if not use.is_run(source):
        return None, load_data(source, target, data_dir, download, split_seed)
    model = use.load(source)
    return model.folder, load_again(dict(model.facts.source) | ({"data_dir": data_dir} if data_dir else {}))


def cluster(
    source: RunOrData,
    components: Annotated[
        str,
        typer.Option(metavar="N|auto", help="number of Gaussians; of a list such as 10,20,50, or auto: the lowest BIC"),
    ] = "auto",
    covariance: Annotated[str, typer.Option(help="full, tied, diag or spherical")] = "full",
    points: Annotated[
        str, typer.Option(help="samples or means: fit to posterior samples, or to means widened by the variance")
    ] = "samples",
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
    settings: Settings = None,
    split_seed: SplitSeed = 0,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="draw pictures and write the report")] = True,
    target: Target = None,
    data_dir: DataDir = None,
    download: Download = False,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="resume an interrupted clustering in --out")] = False,
    as_json: AsJson = False,
) -> None:
    """Fit a Gaussian mixture to the latents, name its components with a few labels, evaluate on test."""
    from vaelab.cli import terminal
    from vaelab.settings.spec import parse_settings
    from vaelab.vae.spec import Spec

    fixed = parse_settings(settings or [], Spec)
    spec = Spec.create(**fixed)
    from vaelab.engine.process import keep_freed_memory
    from vaelab.latent import clusters as clustering
    from vaelab.latent.options import Options

    options = Options.create(
        components=components, covariance=covariance, points=points, labels=labels, reject=reject,
        em_starts=em_starts, seed=seed, manifold=manifold, budget=budget, figures=figures,
    )  # fmt: skip
    run, data = _open(source, target, data_dir, download, split_seed)

    keep_freed_memory()
    with terminal.epochs(None if spec.epochs == "auto" else spec.epochs) as progress:
        found = clustering.cluster(
            data, options, run=run, settings=fixed, starts=starts, out=out, overwrite=overwrite, resume=resume,
            say=tell, progress=progress,
        )  # fmt: skip
    print_json(found.results) if as_json else terminal.print_clusters(found.results)


def anomaly(
    source: RunOrData,
    against: Annotated[
        str | None,
        typer.Option(metavar="RUN|DATA", help="the anomalous data; DATA, unlike a RUN, is scored in both directions"),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option("--held-out", metavar="CLASS", help="train a new model without this class"),
    ] = None,
    components: Annotated[int, typer.Option(min=1, help="Gaussians in the mixture on the latents")] = 50,
    rows: Annotated[
        int | None, typer.Option(min=10, help="most test examples of each kind to score; default: all")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed for the model and the choice of rows")] = 0,
    settings: Settings = None,
    split_seed: SplitSeed = 0,
    target: Target = None,
    data_dir: DataDir = None,
    download: Download = False,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Test how well a VAE detects anomalies: other data, in both directions, or a class it has never seen."""
    from vaelab.cli import terminal
    from vaelab.errors import InputError
    from vaelab.settings.spec import parse_settings
    from vaelab.vae.spec import Spec

    if (against is None) == (held_out is None):
        raise InputError("say what counts as anomalous: either --against DATA or --held-out CLASS.")
    fixed = parse_settings(settings or [], Spec)
    spec = Spec.create(**fixed)
    run, data = _open(source, target, data_dir, download, split_seed)
    other_run, other = (None, None)
    if against is not None:
        other_run, other = _open(against, None, data_dir, download, split_seed)
    from vaelab.engine.process import keep_freed_memory
    from vaelab.latent import anomaly as anomalies

    keep_freed_memory()
    with terminal.epochs(None if spec.epochs == "auto" else spec.epochs) as progress:
        results = anomalies.anomaly(
            data, other, held_out=held_out, run=run, other_run=other_run, settings=fixed, components=components,
            rows=rows, seed=seed, out=out, overwrite=overwrite, say=tell, epoch=progress,
        )  # fmt: skip
    print_json(results) if as_json else terminal.print_anomalies(results)
