"""The command that judges synthetic rows of a table."""

from __future__ import annotations

from typing import Annotated

import typer

from vaelab.cli.options import AsJson, Out, Overwrite, RunFolder, check_there, data_of_run, print_json, tell
from vaelab.cli.reading import PLAIN_ROWS, RowOptions, with_options
from vaelab.settings.checks import MOST_DRAWS


@with_options
def synthetic(
    folder: RunFolder,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="synthetic rows from any source; default: rows drawn from the model"),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", "--n", min=1, max=MOST_DRAWS, help="number of rows to draw; default: as many as training rows"
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="model|fitted",
            help="draw latents from the model's prior (default), or from a Gaussian mixture fitted to those of "
            "training rows",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="the column to predict, having learned from synthetic rows; default: the five that depend most on "
            "others",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of draws, folds and boosting")] = 0,
    rows: RowOptions = PLAIN_ROWS,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw synthetic rows of a table, or take those of FILE, and judge them against the test split."""
    if source is not None:
        check_there(source)
    from vaelab import use
    from vaelab.cli import terminal
    from vaelab.data import Reading
    from vaelab.synthetic import run

    model = use.load(folder)
    data = data_of_run(model.facts, rows.data_dir, rows.moved)
    reading = Reading.create(**{**model.facts.reading.to_dict(), **rows.changes})
    results = run.synthetic(
        model, data, source, n=n, prior=prior, target=target, reading=reading, seed=seed, out=out, overwrite=overwrite,
        say=tell,
    )  # fmt: skip
    print_json(results) if as_json else terminal.print_synthetic(results)
