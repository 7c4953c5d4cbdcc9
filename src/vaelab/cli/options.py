"""Shared by the commands: options and printing. --help imports nothing heavy."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaelab.cli.completion import data_names, setting_names
from vaelab.cli.naming import in_options
from vaelab.errors import InputError, unknown_name
from vaelab.wording import one_line

if TYPE_CHECKING:
    from vaelab.data import Dataset
    from vaelab.vae.fitted import DataFacts

Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        autocompletion=data_names,
        help="digits, mnist, fashion_mnist, a table (.csv, .tsv, .parquet, .feather, .h5ad, .h5, .mtx), a .npy, .npz "
        "or IDX file, or a folder of pictures",
    ),
]
MaybeSource = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        autocompletion=data_names,
        help="digits, mnist, fashion_mnist, a table (.csv, .tsv, .parquet, .feather, .h5ad, .h5, .mtx), a .npy, .npz "
        "or IDX file, or a folder of pictures; omit with --resume",
    ),
]


def run_there(folder: Path) -> Path:
    """A folder to load a model from; refused if it is not there, before libraries are imported that take seconds."""
    if folder.is_file():
        raise InputError(f"{folder} is a file, not a run folder; the run comes first, as in `vaelab predict RUN FILE`.")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a run folder: there is no such folder; check the path.")
    return folder


RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", callback=run_there, help="folder of a run, or of a study (its best model)")
]
Search = Annotated[
    list[str] | None,
    typer.Option(
        "--search",
        metavar="NAME=RANGE",
        help="such as layers=1..3, lr=1e-4..1e-2:log, optimizer=adam,sgd; replaces the default search space",
        autocompletion=setting_names,
    ),
]
SpaceFile = Annotated[Path | None, typer.Option(help="a TOML file that replaces the default search space")]
Trials = Annotated[int | None, typer.Option(help="total number of trials; default: 40")]
Timeout = Annotated[float | None, typer.Option(help="time limit in seconds for the search and the final training")]
StudySeed = Annotated[int, typer.Option(help="seed of the study")]
Sampler = Annotated[str, typer.Option(help="tpe, random or grid")]
Figures = Annotated[str, typer.Option(help="draw pictures of all trials, best or none; auto: all for up to 20 trials")]
DrawAll = Annotated[str, typer.Option("--figures", metavar="all|none", help="draw pictures and write the report")]
Cohort = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="trials suggested together, before any of them is judged: as many as "
        "workers keep all busy, but few learn more from each other; default: a fifth of the trials, 4 to 64",
    ),
]
Prune = Annotated[bool, typer.Option("--prune/--no-prune", help="stop weak trials early")]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume", metavar="FOLDER", help="continue what was interrupted there; it knows its data and options"
    ),
]
StudyConfig = Annotated[Path | None, typer.Option(help="rerun from a study's config.toml")]
Starts = Annotated[
    int,
    typer.Option(min=1, help="seeds trained as one stack, counting up from the seed; the best on validation is kept"),
]
Out = Annotated[Path | None, typer.Option(help="output folder; default: chosen and printed")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace existing output")]
AsJson = Annotated[bool, typer.Option("--json", help="print the results as JSON")]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def tell(text: str) -> None:
    """Print one line on standard error, whatever names are in it."""
    print(one_line(in_options(text)), file=sys.stderr)


def data_of_run(facts: DataFacts, data_dir: Path | None, moved: Path | None) -> Dataset:
    """The data of a trained model."""
    return load_again(facts.source, moved, data_dir=data_dir)


def load_again(
    source: Mapping[str, Any],
    moved: Path | None = None,
    download: bool = False,
    data_dir: Path | None = None,
    option: str = "--data",
) -> Dataset:
    """Data of a run or study, checked by their fingerprint; `moved`: where their file is now, given by `option`."""
    from vaelab import data

    if moved is not None:
        if source.get("kind") != "file":
            raise InputError(f"the data {source.get('source')} are no file that could move; leave out {option}.")
        source = {**source, "source": str(moved)}
    elif source.get("kind") == "file" and not os.path.exists(str(source.get("source"))):
        whose = "the data" if option == "--data" else f"the data of {option}"
        raise InputError(f"{whose} are no longer at {source.get('source')}; say by {option} where they are now.")
    return data.load_again(source, data_dir=data_dir, where="[data]", download=download)


def check_there(source: str | Path) -> None:
    """Refuse new examples whose file is not there before libraries are imported that take seconds."""
    from vaelab.data import BUILTIN
    from vaelab.data.limits import check_file

    if str(source) not in BUILTIN and not os.path.isdir(source):
        check_file(Path(source).expanduser().absolute())


def check_run_or_data(source: str) -> None:
    """Refuse a RUN or DATA that is not there before libraries are imported that take seconds."""
    from vaelab.data import BUILTIN

    if not Path(source).suffix and source not in BUILTIN and not os.path.lexists(os.path.expanduser(source)):
        raise unknown_name("run or data set", source, BUILTIN)
    check_there(source)


READING_AGAIN = {"moved", "data_dir", "download", "as_json"}  # what a run's own data may need, and what changes nothing


def refuse_beside(context: typer.Context, own: str, allowed: Collection[str]) -> None:
    """Reject what is given beside --resume or --config, which know the data and all options, rather than ignore it.

    own: the parameter of that option; allowed: further parameters that may change.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name == own or name in READING_AGAIN or name in allowed:
            continue
        named = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar or name
        raise InputError(f"--{own} already knows the data and the options; leave out {named}.")


def resumed(folder: Path, command: str) -> Path:
    """Where the unfinished run or study of `folder` is; raises InputError if another command began it."""
    from vaelab import store
    from vaelab.store.folders import how_to_begin_again, is_occupied
    from vaelab.store.kinds import is_made_at_once

    place = store.unfinished(folder)
    if place.is_dir() and not is_occupied(place):
        raise InputError(
            f"{folder} was interrupted before anything was kept; give its command again, without --resume."
        )
    if not place.is_dir():
        raise InputError(f"{folder} does not exist; there is nothing to resume.")
    own = store.command_of(place)
    if is_made_at_once(place):
        line = (
            how_to_begin_again(place, folder) or f"vaelab {own} RUN FILE --out {shlex.quote(str(folder))} --overwrite"
        )
        raise InputError(
            f"{folder} was written by `vaelab {own} RUN` in one go, so there is nothing to resume; `{line}` makes it "
            "anew."
        )
    if own not in (None, command):
        raise InputError(
            f"{folder} was begun by `vaelab {own}`; use `vaelab {own} --resume {shlex.quote(str(folder))}`."
        )
    return place


def draws(figures: str) -> bool:
    """Whether to draw, from --figures where there is one thing to draw."""
    if figures not in ("all", "none"):
        raise unknown_name("choice of figures", figures, ("all", "none"))
    return figures == "all"
