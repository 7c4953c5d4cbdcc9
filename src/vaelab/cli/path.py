"""The command that walks through a latent space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaelab.cli.options import RunFolder, data_of_run

if TYPE_CHECKING:
    from vaelab.vae.fitted import Array

END = "a point Z1,Z2,..., or row:N or row:ID of the model's own data"


def path(
    folder: RunFolder,
    start: Annotated[str, typer.Option("--from", metavar="POINT", help=END)],
    end: Annotated[str, typer.Option("--to", metavar="POINT", help=END)],
    frames: Annotated[int, typer.Option(min=2, max=1000, help="number of points, both ends included")] = 30,
    great_circle: Annotated[
        bool, typer.Option("--great-circle", help="along an arc around the centre; default: the straight line")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="folder that contains mnist/ and fashion_mnist/")] = None,
    moved: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="where the model's own data are now, if they moved")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help=".gif for images, .png for images and curves, .csv, .parquet or .npy; default: CSV on standard output"
        ),
    ] = None,
) -> None:
    """Decode a path between two points of the latent space: an animation for images, a row per point for tables."""
    from vaelab import use
    from vaelab.cli import outputs

    model = use.load(folder)

    def point(text: str) -> Array:
        if text.startswith("row:"):
            return use.latent_of_row(model, data_of_run(model.facts, data_dir, moved), text.removeprefix("row:"))
        z: Array = outputs.parse_points([text])[0]
        return z

    decoded = use.path(model, point(start), point(end), frames, great_circle)
    if out is not None and out.suffix.lower() == ".gif":
        outputs.write_gif(decoded, model.facts, out)
    else:
        outputs.write_examples(decoded, model.facts, out)
