"""The commands for inverse problems: `invert`, `solve` and `draw`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaelab.cli.options import (
    AsJson,
    Out,
    Overwrite,
    Resume,
    check_there,
    print_json,
    refuse_beside,
    resumed,
    run_there,
    tell,
)
from vaelab.cli.reading import OptionGroup, with_options
from vaelab.cli.settings import INVERSE, InverseOptions
from vaelab.errors import InputError

if TYPE_CHECKING:
    from vaelab.inverse.problems import Problem
    from vaelab.settings.space import Space

PythonFunction = Annotated[
    str | None,
    typer.Option("--forward", metavar="FILE.py:NAME", help="the run's forward function, if it was one in Python"),
]
Forward = Annotated[
    list[str] | None,
    typer.Option(
        "--forward",
        metavar="EXPRESSION|FILE.py:NAME",
        help="such as 'cos(49*x0 + 42*x1)', one per output, or a function of a batch of x in a file, which is run",
    ),
]
InvertedRun = Annotated[Path, typer.Argument(metavar="RUN", callback=run_there, help="folder of `vaelab invert`")]
Measurements = Annotated[
    Path,
    typer.Option(
        "--y",
        metavar="FILE|NUMBERS",
        help="measurements: .npy, or .csv with one per row; or one itself, such as 0.3,2; an empty cell or nan was not "
        "measured",
    ),
]
Repeated = Annotated[bool, typer.Option("--repeated", help="all measurements are of one x")]
Group = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="measurements with the same value in this column are of one x")
]
Gate = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="largest misfit of a solution in y's units, or one per output: 0.1,20; default: that of the run, or 0.1 "
        "standard deviations",
    ),
]
Refine = Annotated[int, typer.Option(min=0, help="damped Gauss-Newton steps per candidate")]
Seed = Annotated[int, typer.Option(min=0, help="seed for sampling")]


@dataclasses.dataclass(frozen=True)
class ProblemOptions(OptionGroup):
    """What x and y are, and f, beside the file that holds or declares them."""

    forward: Forward = None
    x: Annotated[
        str | None, typer.Option("--x", metavar="COLUMNS", help="columns of a table that are x: width,height")
    ] = None
    y: Annotated[str | None, typer.Option("--y", metavar="COLUMNS", help="columns that are y; default: all others")] = (
        None
    )
    noise: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="standard deviation of the noise on y = f(x), or one per output: 0.1,20"),
    ] = None
    gate: Gate = None

    @property
    def names_python(self) -> bool:
        """Whether f is a function in a Python file, which no run stores: it is named again, also beside --resume."""
        return any(".py:" in text for text in self.forward or ())

    def load(self, source: str, function: Any, seed: int) -> Problem:
        """The problem of a file or built-in name. function: f, as read from `forward`."""
        from vaelab.inverse import files
        from vaelab.inverse.units import parse_numbers

        return files.load(
            source, function, parse_numbers("noise", self.noise), seed, gate=parse_numbers("gate", self.gate),
            x=files.columns_of(self.x), y=files.columns_of(self.y),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CandidateOptions(OptionGroup):
    """How candidates are made, and what they are compared with."""

    samples: Annotated[int, typer.Option(min=1, help="candidates per scored measurement")] = 30
    refine: Refine = 20
    walk: Annotated[int, typer.Option(min=0, help="random-walk steps in the latent space before refinement")] = 12
    spectrum: Annotated[
        bool | None,
        typer.Option(
            "--spectrum/--no-spectrum", help="also feed the spectrum of y to the network; default: for exact curves"
        ),
    ] = None
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="also run the baseline methods")] = True
    flow: Annotated[
        bool,
        typer.Option(
            "--flow/--no-flow", help="of noisy y, also train a flow, which draws unless the VAE is clearly better"
        ),
    ] = True
    npe: Annotated[
        bool,
        typer.Option("--npe", help="also run sbi's neural posterior estimation with the same training time; needs sbi"),
    ] = False


DECLARED, USUAL = ProblemOptions(), CandidateOptions()


@with_options
def invert(
    context: typer.Context,
    problem: Annotated[
        str | None,
        typer.Argument(
            metavar="PROBLEM",
            help="product, two-birds-easy, two-birds, a table, or an .npz or .toml file; omit with --resume",
        ),
    ] = None,
    declared: ProblemOptions = DECLARED,
    model: InverseOptions = INVERSE,
    trials: Annotated[int, typer.Option(min=0, help="trials to run before the final training")] = 0,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", metavar="NAME=RANGE", help="such as beta=0.1..10:log, optimizer=adam,sgd"),
    ] = None,
    space: Annotated[Path | None, typer.Option(help="a TOML file with the search space")] = None,
    yardstick: Annotated[
        str | None, typer.Option(help="what the search optimizes on validation: recall, precision or bound")
    ] = None,
    candidates: CandidateOptions = USUAL,
    seed: Annotated[int, typer.Option(min=0, help="seed of the problem, training and sampling")] = 0,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    config: Annotated[Path | None, typer.Option(help="rerun from a run's config.toml")] = None,
    as_json: AsJson = False,
) -> None:
    """Learn to invert y = f(x): find many different x that reproduce y, and compare with other methods."""
    from vaelab.vae.spec import Spec

    ranges, fixed = _ranges(search, space), model.fixed(Spec)
    stored = _stored_config(context, problem, declared, resume, config)
    from vaelab.cli import terminal
    from vaelab.engine.process import keep_freed_memory
    from vaelab.inverse import run
    from vaelab.inverse.config import InversionConfig
    from vaelab.inverse.python_function import given

    keep_freed_memory()
    function = given(declared.forward)
    if stored is not None:
        chosen, loaded = InversionConfig.read(stored, forward=function if callable(function) else None)
    else:
        loaded = declared.load(problem or "", function, seed)
        options = {"trials": trials, "seed": seed, **dataclasses.asdict(candidates)}
        chosen = InversionConfig.create(loaded, fixed, ranges, yardstick, **options)
    with terminal.inversion(chosen.epochs) as progress:
        watch = run.InversionWatch(*progress)
        if resume is not None:
            found = run.resume(resume, loaded, watch)
        else:
            found = run.begin(loaded, chosen, out=out, overwrite=overwrite, watch=watch)
    print_json(found.results) if as_json else terminal.print_inversion(found.results)


def _ranges(search: list[str] | None, space: Path | None) -> Space | None:
    """The search space, if one is given."""
    from vaelab.settings.space import Space
    from vaelab.vae.spec import Spec

    if search and space:
        raise InputError("give the ranges with --search or --space, not both.")
    return Space.from_strings(search, Spec) if search else Space.from_toml(space, Spec) if space else None


def _stored_config(
    context: typer.Context, problem: str | None, declared: ProblemOptions, resume: Path | None, config: Path | None
) -> Path | None:
    """The config.toml of a run that is resumed or run again; None for a new one, whose file must be there."""
    named = {"forward"} if declared.names_python else set[str]()
    if resume is not None:
        refuse_beside(context, "resume", named)
        return resumed(resume, "invert") / "config.toml"
    if config is not None:
        refuse_beside(context, "config", {"out", "overwrite", *named})
        return config
    if problem is None:
        raise InputError("`vaelab invert` needs PROBLEM, such as product, or --resume FOLDER.")
    if Path(problem).suffix:
        check_there(problem)
    return None


def _check_measurements(y: Path) -> None:
    """Refuse a file of measurements that is not there before libraries are imported that take seconds."""
    from vaelab.data.stray import reads_as_number

    if not all(cell.lower() in ("", "nan") or reads_as_number(cell) for cell in map(str.strip, str(y).split(","))):
        check_there(y)


def solve(
    folder: InvertedRun,
    y: Measurements,
    samples: Annotated[
        int,
        typer.Option(min=1, help="candidates for each x: of the network, and the training examples with the nearest y"),
    ] = 200,
    refine: Refine = 20,
    walk: Annotated[
        int | None,
        typer.Option(min=0, help="random-walk steps in the latent space before refinement; default: by validation"),
    ] = None,
    seed: Seed = 0,
    gate: Gate = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="show at most N solutions of each x, as different as possible; --out has all"
        ),
    ] = None,
    rank: Annotated[
        str, typer.Option(metavar="misfit|density", help="smallest misfit first, or largest density p(x) first")
    ] = "misfit",
    repeated: Repeated = False,
    group: Group = None,
    forward: PythonFunction = None,
    out: Annotated[Path | None, typer.Option(help="all solutions as .csv, .parquet or .npz")] = None,
    as_json: AsJson = False,
) -> None:
    """Find distinct solutions for measurements, ranked by how well they reproduce them; exit code 1 if none."""
    _check_measurements(y)
    from vaelab.cli import outputs, terminal
    from vaelab.inverse import python_function
    from vaelab.inverse import solve as solving
    from vaelab.inverse.units import parse_numbers

    if out is not None and out.suffix.lower() not in (".csv", ".parquet", ".npz"):
        raise InputError(f"{out} must end in .csv, .parquet or .npz; choose one of these.")
    found = solving.solve(
        folder, y, samples=samples, refine=refine, walk=walk, seed=seed, gate=parse_numbers("gate", gate), top=top,
        rank=rank, repeated=repeated, group=group, forward=python_function.function_of(forward) if forward else None,
    )  # fmt: skip
    if out is not None:
        if out.suffix.lower() == ".npz":
            found.save(out)
        else:
            outputs.write_columns(found.columns(), out, style=found.measured.style)
    print_json(found.document) if as_json else terminal.print_solutions(found.document, top)
    for note in found.notes:
        tell(f"note: {note}")
    if not any(len(own) for own in found.found):
        raise typer.Exit(1)


def draw(
    folder: InvertedRun,
    y: Measurements,
    n: Annotated[int, typer.Option("-n", "--n", min=1, max=1_000_000, help="draws for each x")] = 1_000,
    seed: Seed = 0,
    repeated: Repeated = False,
    group: Group = None,
    forward: PythonFunction = None,
    weighted: Annotated[
        bool,
        typer.Option(
            "--weighted/--unweighted",
            help="weight draws by f, its noise and the prior where the run knows all three, or leave them to the model",
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(help=".csv or .parquet, and means and intervals on the terminal; default: CSV on standard output"),
    ] = None,
    corner: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="draw a corner plot for each of the first 5 measurements into this folder"),
    ] = None,
) -> None:
    """Draw x from the posterior p(x | y) of each measurement y: samples for means and intervals, not solutions."""
    _check_measurements(y)
    from vaelab.cli import outputs, terminal
    from vaelab.inverse import drawing, python_function

    outputs.check_table(out)
    function = python_function.function_of(forward) if forward else None
    drawn = drawing.draw(folder, y, n, seed, function, repeated=repeated, group=group, weighted=weighted)
    for note in drawn.notes:
        tell(f"note: {note}")
    if corner is not None:
        drawn.plot(corner)
    outputs.write_columns(drawn.columns(), out, style=drawn.measured.style)
    if out is not None:
        terminal.print_intervals(drawn.measured.title, drawn.intervals())
