"""The command with which a model leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaelab.cli.options import run_there, tell
from vaelab.wording import printable


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", callback=run_there, help="folder of a run, a study, a clustering or an inverse problem"
        ),
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="onnx|pt2|torchscript",
            help="onnx needs pip install 'vaelab\\[onnx]'; the others are for PyTorch",
        ),
    ] = "onnx",
    out: Annotated[Path | None, typer.Option(help="folder for the files; default: <RUN>-<format>")] = None,
) -> None:
    """Write a trained model as files that run without vaelab: encoder and decoder, classifier, regressor or sampler."""
    from vaelab.export import export_model

    for path in export_model(folder, format, out, say=tell):
        print(printable(str(path)))
