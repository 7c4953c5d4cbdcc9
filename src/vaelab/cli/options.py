"""What the commands share: options, printing, loading data. --help imports nothing heavy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaelab.wording import counted

if TYPE_CHECKING:
    from vaelab.data import Dataset

Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="digits, mnist, fashion_mnist, a .npy, .npz, .csv or IDX file, or a folder of pictures"
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run, or of a study (its best model)")]
Target = Annotated[str | None, typer.Option(help="where the labels are: a column, an .npz key, or a file")]
DataDir = Annotated[Path | None, typer.Option(help="folder that holds mnist/ and fashion_mnist/")]
Download = Annotated[bool, typer.Option("--download", help="fetch a built-in data set that is missing")]
SplitSeed = Annotated[int, typer.Option(min=0, help="seed of the train, validation and test split")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="fix a setting, as epochs=20")]
MaybeSource = Annotated[
    str | None, typer.Argument(metavar="DATA", help="name or file of the data; left out with --resume")
]
Search = Annotated[
    list[str] | None,
    typer.Option(
        "--search",
        metavar="NAME=RANGE",
        help="as layers=1..3, lr=1e-4..1e-2:log, optimizer=adam,sgd; what is named replaces the default space",
    ),
]
SpaceFile = Annotated[Path | None, typer.Option(help="a TOML file of ranges, in place of the default space")]
Trials = Annotated[int | None, typer.Option(help="how many in all; 40 unless told")]
Timeout = Annotated[float | None, typer.Option(help="seconds for the search and the final training")]
Workers = Annotated[int | None, typer.Option(help="processes of one thread each; default: one per core")]
StudySeed = Annotated[int, typer.Option(help="seed of the study")]
Sampler = Annotated[str, typer.Option(help="tpe, random or grid")]
Figures = Annotated[str, typer.Option(help="pictures of all trials, of the best, or none; auto: all up to 20 trials")]
Prune = Annotated[bool, typer.Option("--prune/--no-prune", help="stop the weaker half of the trials early")]
Resume = Annotated[Path | None, typer.Option(metavar="STUDY", help="continue this study; --trials may add to it")]
StudyConfig = Annotated[Path | None, typer.Option(help="a study's config.toml, to run it again")]
Starts = Annotated[
    int, typer.Option(min=1, help="models trained as one stack, from this seed on; the lowest on validation is kept")
]
Out = Annotated[Path | None, typer.Option(help="where to write; a default is chosen and told")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def tell(text: str) -> None:
    print(text, file=sys.stderr)


def load_data(source: str, target: str | None, data_dir: Path | None, download: bool, seed: int) -> Dataset:
    from vaelab import data
    from vaelab.cli import terminal

    with terminal.download_progress() as progress:
        loaded = data.load(source, target=target, data_dir=data_dir, download=download, seed=seed, progress=progress)
    constant = loaded.statistics.constant
    if constant.any() and not loaded.is_image:
        names = [loaded.features[i] if loaded.features else str(i) for i in constant.nonzero()[0]]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        tell(f"note: {counted(len(names), 'column')} constant in the training rows, left out by a density: {shown}.")
    return loaded


def load_again(source: dict[str, Any]) -> Dataset:
    from vaelab import data

    return data.load(**source)
