"""The command line: each command parses, calls one library function, and prints. --help imports nothing heavy."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from vaelab.cli import compare, inverse, latent, models, study, synthetic
from vaelab.cli.options import tell
from vaelab.errors import InputError

app = typer.Typer(
    name="vaelab",
    help="Find, train, explain and use the variational autoencoder that fits your data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        from vaelab import __version__

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
    models.reconstruct,
    models.impute,
    models.translate,
    inverse.invert,
    inverse.solve,
    inverse.draw,
)
for command in COMMANDS:
    app.command()(command)
app.command(name="data")(models.describe_data)
app.command()(models.settings)


def _terminated(*_: object) -> NoReturn:
    raise SystemExit(143)


def main() -> None:
    """Entry point: exit code 0 ok, 1 failure, 2 bad input, 130 Ctrl-C, 143 SIGTERM."""
    signal.signal(signal.SIGTERM, _terminated)
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; a backend that is not there would stop the import
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of columns in a terminal that has no signs for them
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except InputError as error:
        tell(f"vaelab: {error}")
        sys.exit(2)
    except typer.TyperException as error:  # a usage error; its message spans several lines
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        tell(f"vaelab: {' '.join(message.split()).rstrip('.')}; see --help.")
        sys.exit(2)
    except BrokenPipeError:  # whoever read the output has enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        from vaelab.store import in_words

        reason, remedy = in_words(error)
        tell(f"vaelab: {f'{error.filename}: ' if error.filename else ''}{reason}; {remedy}.")
        sys.exit(2)
    except MemoryError as error:
        tell(f"vaelab: not enough memory ({str(error) or 'no amount told'}); ask for fewer rows, samples or workers.")
        sys.exit(2)
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # PyTorch's word for it
            tell("vaelab: not enough memory; ask for fewer rows, samples or workers, or a smaller `batch_size`.")
            sys.exit(2)
        if type(error).__module__.startswith("vaelab"):
            tell(f"vaelab: {error}")
            sys.exit(1)
        raise
