"""Shared by the commands: options and printing. --help imports nothing heavy."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaelab.errors import InputError
from vaelab.wording import one_line

if TYPE_CHECKING:
    from vaelab.data import Dataset
    from vaelab.vae.fitted import DataFacts

Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="digits, mnist, fashion_mnist, a table (.csv, .tsv, .parquet, .feather, .h5ad, .h5, .mtx), a .npy, .npz "
        "or IDX file, or a folder of pictures",
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run, or of a study (its best model)")]
MaybeSource = Annotated[str | None, typer.Argument(metavar="DATA", help="name or file of the data; omit with --resume")]
Search = Annotated[
    list[str] | None,
    typer.Option(
        "--search",
        metavar="NAME=RANGE",
        help="such as layers=1..3, lr=1e-4..1e-2:log, optimizer=adam,sgd; replaces the default search space",
    ),
]
SpaceFile = Annotated[Path | None, typer.Option(help="a TOML file that replaces the default search space")]
Trials = Annotated[int | None, typer.Option(help="total number of trials; default: 40")]
Timeout = Annotated[float | None, typer.Option(help="time limit in seconds for the search and the final training")]
Workers = Annotated[int | None, typer.Option(help="single-threaded worker processes; default: one per core")]
StudySeed = Annotated[int, typer.Option(help="seed of the study")]
Sampler = Annotated[str, typer.Option(help="tpe, random or grid")]
Figures = Annotated[str, typer.Option(help="draw pictures of all trials, best or none; auto: all for up to 20 trials")]
Prune = Annotated[bool, typer.Option("--prune/--no-prune", help="stop weak trials early")]
Resume = Annotated[Path | None, typer.Option(metavar="STUDY", help="resume this study; a larger --trials extends it")]
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
    print(one_line(text), file=sys.stderr)


def data_of_run(facts: DataFacts, data_dir: Path | None, moved: Path | None) -> Dataset:
    """The data of a trained model."""
    return load_again({**facts.source, **({"data_dir": data_dir} if data_dir else {})}, moved)


def load_again(source: dict[str, Any], moved: Path | None = None, download: bool = False) -> Dataset:
    """The data of a run or a study, checked by their fingerprint; `moved`: where their file is now."""
    from vaelab import data

    if moved is not None:
        if source.get("kind") != "file":
            raise InputError(f"the data {source.get('source')} are no file that could move; leave out --data.")
        source = {**source, "source": str(moved)}
    elif source.get("kind") == "file" and not os.path.exists(str(source.get("source"))):
        raise InputError(f"the data are no longer at {source.get('source')}; say by --data where they are now.")
    return data.load_again(source, where="[data]", download=download)
