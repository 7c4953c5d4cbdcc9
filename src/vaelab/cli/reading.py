"""The options that say how DATA are read, the same on every command that reads data. --help imports nothing heavy."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from vaelab.cli.options import tell
from vaelab.errors import InputError, shown
from vaelab.wording import counted, first_few

if TYPE_CHECKING:
    from vaelab.data import Dataset, Reading


class OptionGroup:
    """Options shared by commands: each field of a subclass is an option, see `with_options`."""


@dataclasses.dataclass(frozen=True)
class RowOptions(OptionGroup):
    """How new examples for a trained model are read; what is not given is as in training."""

    id: Annotated[str | None, Option("--id", metavar="COLUMN", help="the names of the rows")] = None
    transpose: Annotated[
        bool | None,
        Option("--transpose/--no-transpose", help="whether rows are features and columns are examples"),
    ] = None
    na: Annotated[
        list[str] | None,
        Option("--na", metavar="TEXT", help="text that stands for a missing value, such as -9; repeatable"),
    ] = None
    data_dir: Annotated[Path | None, Option("--data-dir", help="folder that contains mnist/ and fashion_mnist/")] = None
    moved: Annotated[
        Path | None,
        Option("--data", metavar="FILE", help="where the data of an existing run or study are now, if they moved"),
    ] = None

    @property
    def changes(self) -> dict[str, Any]:
        """The options of `Reading` that are given."""
        given = {"id": self.id, "transpose": self.transpose, "na": tuple(self.na) if self.na else None}
        return {name: value for name, value in given.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class DataOptions(OptionGroup):
    """How DATA are read and split."""

    target: Annotated[
        str | None,
        Option("--target", help="the labels, or the numbers to predict: a column, an .npz key or a file"),
    ] = None
    id: Annotated[
        str | None,
        Option(
            "--id", metavar="COLUMN", help="the names of the rows; default: the first text that differs in every row"
        ),
    ] = None
    drop: Annotated[list[str] | None, Option("--drop", metavar="COLUMN", help="leave this column out; repeatable")] = (
        None
    )
    types: Annotated[
        list[str] | None,
        Option(
            "--type", metavar="COLUMN=KIND|FILE.toml",
            help="real, positive, count, binary, categorical, ordinal, date, 'date %d/%m/%Y', or the levels of an "
            "ordinal column, low,middle,high; repeatable; or a TOML file with a table types. Default: by the values",
        ),
    ] = None  # fmt: skip
    na: Annotated[
        list[str] | None,
        Option("--na", metavar="TEXT", help="text that stands for a missing value, such as -9; repeatable"),
    ] = None
    transpose: Annotated[bool, Option("--transpose", help="rows are features and columns are examples")] = False
    group: Annotated[
        str | None,
        Option(
            "--group", metavar="COLUMN|id",
            help="keep rows of one group in one split, such as replicates of one patient; id: rows whose ids share a "
            "stem, 309 of 309_1",
        ),
    ] = None  # fmt: skip
    condition: Annotated[
        list[str] | None,
        Option(
            "--condition", metavar="COLUMN,...",
            help="columns that are given, not modelled, such as a batch: a VAE learns what they do not tell",
        ),
    ] = None  # fmt: skip
    split: Annotated[
        str | None,
        Option(
            "--split", metavar="COLUMN|FILE",
            help="your own splits: a column of train, validation and test, or a .csv with columns id and split",
        ),
    ] = None  # fmt: skip
    split_seed: Annotated[int, Option("--split-seed", min=0, help="seed of the train/validation/test split")] = 0
    data_dir: Annotated[Path | None, Option("--data-dir", help="folder that contains mnist/ and fashion_mnist/")] = None
    moved: Annotated[
        Path | None,
        Option("--data", metavar="FILE", help="where the data of an existing run or study are now, if they moved"),
    ] = None
    download: Annotated[bool, Option("--download", help="download a built-in data set if it is missing")] = False

    @property
    def are_given(self) -> bool:
        """Whether an option says what DATA are, so that they cannot be those of a run or a study."""
        named = self.target, self.id, self.drop, self.group, self.split, self.condition
        return any((*named, self.types, self.na, self.transpose))

    @property
    def reading(self) -> Reading:
        from vaelab.data import Reading

        return Reading.create(
            target=self.target, id=self.id, drop=self.drop, transpose=self.transpose, na=self.na,
            types=parse_types(self.types or []), group=self.group, split=self.split,
            condition=[name for text in self.condition or [] for name in text.split(",")],
        )  # fmt: skip

    def load(self, source: str, numeric: bool = False) -> Dataset:
        """The data; what the user should know about them is printed. numeric: the target is a number to predict."""
        from vaelab import data

        if self.moved is not None:
            raise InputError("--data says where the data of an existing run or study are now; leave it out.")
        from vaelab.cli import terminal

        with terminal.download_progress() as progress:
            loaded = data.load(
                source, **self.reading.to_dict(), data_dir=self.data_dir, download=self.download, seed=self.split_seed,
                progress=progress, numeric=numeric,
            )  # fmt: skip
        for note in loaded.notes:
            tell(f"note: {note}")
        _tell_constant(loaded)
        return loaded

    def describe(self, source: str) -> dict[str, Any]:
        """Facts about the data, also about those that training rejects."""
        from vaelab import data
        from vaelab.cli import terminal

        with terminal.download_progress() as progress:
            return data.describe_source(
                source, self.reading, data_dir=self.data_dir, download=self.download, seed=self.split_seed,
                progress=progress,
            )  # fmt: skip


PLAIN, PLAIN_ROWS = DataOptions(), RowOptions()


def _tell_constant(loaded: Dataset) -> None:
    constant = loaded.statistics.constant
    if constant.any() and not loaded.is_image:
        names = [loaded.features[i] if loaded.features else str(i) for i in constant.nonzero()[0]]
        told = f"{counted(len(names), 'column')} constant in the training rows"
        tell(f"note: {told}, excluded from densities: {first_few(names)}.")


def parse_values(texts: list[str]) -> dict[str, str]:
    """Values by column, from COLUMN=VALUE.

    >>> parse_values(["sex=F", "island=Biscoe"])
    {'sex': 'F', 'island': 'Biscoe'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (sign and name and value):
            raise InputError(f"a condition must be COLUMN=VALUE, such as batch=B, but got {shown(text)}.")
        found[name] = value
    return found


def parse_types(texts: list[str]) -> dict[str, Any]:
    """The kinds of columns from --type: COLUMN=KIND, COLUMN=LEVEL,LEVEL,... or FILE.toml.

    >>> parse_types(["age=count", "day=date %d/%m/%Y", "size=small,large"])
    {'age': 'count', 'day': 'date %d/%m/%Y', 'size': ['small', 'large']}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, kind = text.rpartition("=")
        if sign and name and kind:
            found[name] = kind.split(",") if "," in kind else kind
        elif text.lower().endswith(".toml"):
            found |= _types_of(Path(text))
        else:
            raise InputError(f"a type must be COLUMN=KIND, such as age=count, or a .toml file, but got {shown(text)}.")
    return found


def _types_of(path: Path) -> dict[str, Any]:
    from vaelab.store import read_toml

    types = read_toml(path, "check the path").get("types")
    if not isinstance(types, dict) or not types:
        raise InputError(f'{path} must have a table [types], such as age = "count"; add it.')
    return types


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command, in whose signature a parameter annotated with an `OptionGroup` stands for all its options.

    Typer sees a parameter for each option, and the command gets them as one object.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[OptionGroup]] = {}
    seen: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        kind = parameter.annotation
        if isinstance(kind, type) and issubclass(kind, OptionGroup):
            groups[name] = kind
            seen += _parameters(kind)
        else:
            seen.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        made = {
            name: kind(**{each.name: given.pop(each.name) for each in _parameters(kind)})
            for name, kind in groups.items()
        }
        try:
            command(**given, **made)
        except KeyboardInterrupt as error:  # here, since Typer makes an exit code of it
            for note in getattr(error, "__notes__", ()):
                tell(f"note: {note}")
            raise

    run.__signature__ = signature.replace(parameters=seen)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in seen}
    return run


def _parameters(kind: type[OptionGroup]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
    ]
