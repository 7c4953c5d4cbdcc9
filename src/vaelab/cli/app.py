"""The commands: each parses, calls one library function, and prints. --help imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

import typer

from vaelab.cli import compare, export, folders, inverse, latent, models, path, study, synthetic
from vaelab.cli.panels import Command

app = typer.Typer(
    name="vaelab",
    help="Find, train, explain and use the variational autoencoder that fits your data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        from vaelab.version import __version__

        print(f"vaelab {__version__}")


COMMANDS = (
    study.tune,
    study.classify,
    study.regress,
    compare.compare,
    models.train,
    models.evaluate,
    latent.cluster,
    latent.anomaly,
    compare.drift,
    models.sample,
    synthetic.synthetic,
    models.encode,
    models.predict,
    models.decode,
    path.path,
    models.reconstruct,
    models.impute,
    models.translate,
    export.export,
    inverse.invert,
    inverse.solve,
    inverse.draw,
)
for command in COMMANDS:
    app.command(cls=Command)(command)
app.command(name="open", cls=Command)(folders.open_report)
app.command(name="list", cls=Command)(folders.list_folders)
app.command(cls=Command)(folders.doctor)
app.command(name="data", cls=Command)(models.describe_data)
app.command(cls=Command)(models.settings)
