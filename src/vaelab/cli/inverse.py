"""The commands for inverse problems: `invert` and `solve`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

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
    tell,
)
from vaelab.cli.reading import with_options
from vaelab.cli.settings import INVERSE, InverseOptions
from vaelab.errors import InputError

PythonFunction = Annotated[
    str | None,
    typer.Option("--forward", metavar="FILE.py:NAME", help="the run's forward function, if it was one in Python"),
]
Measurements = Annotated[
    Path,
    typer.Option(
        "--y", metavar="FILE|NUMBERS", help="measurements: .npy, or .csv with one per row; or one itself, such as 0.3,2"
    ),
]


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
    forward: Annotated[
        list[str] | None,
        typer.Option(
            "--forward",
            metavar="EXPRESSION|FILE.py:NAME",
            help="such as 'cos(49*x0 + 42*x1)', one per output, or a function of a batch of x in a file, which is run",
        ),
    ] = None,
    x: Annotated[
        str | None, typer.Option("--x", metavar="COLUMNS", help="columns of a table that are x: width,height")
    ] = None,
    y: Annotated[
        str | None, typer.Option("--y", metavar="COLUMNS", help="columns that are y; default: all others")
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="standard deviation of the noise on y = f(x), or one per output: 0.1,20"),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="largest misfit of a solution in y's units, or one per output; default: 0.1 standard deviations",
        ),
    ] = None,
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
    samples: Annotated[int, typer.Option(min=1, help="candidates per scored measurement")] = 30,
    refine: Annotated[int, typer.Option(min=0, help="damped Gauss-Newton steps per candidate")] = 20,
    walk: Annotated[int, typer.Option(min=0, help="random-walk steps in the latent space before refinement")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="seed of the problem, training and sampling")] = 0,
    spectrum: Annotated[
        bool | None,
        typer.Option(
            "--spectrum/--no-spectrum", help="also feed the spectrum of y to the network; default: for curves"
        ),
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="also run the baseline methods")] = True,
    flow: Annotated[
        bool,
        typer.Option(
            "--flow/--no-flow", help="of noisy y, also train a flow, which draws unless the VAE is clearly better"
        ),
    ] = True,
    npe: Annotated[
        bool,
        typer.Option("--npe", help="also run sbi's neural posterior estimation with the same training time; needs sbi"),
    ] = False,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    config: Annotated[Path | None, typer.Option(help="rerun from a run's config.toml")] = None,
    as_json: AsJson = False,
) -> None:
    """Learn to invert y = f(x): find many different x that reproduce y, and compare with other methods."""
    from vaelab.settings.space import Space
    from vaelab.vae.spec import Spec

    if search and space:
        raise InputError("give the ranges with --search or --space, not both.")
    ranges = Space.from_strings(search, Spec) if search else Space.from_toml(space, Spec) if space else None
    fixed = model.fixed(Spec)
    named = {"forward"} if _is_python(forward) else set[str]()
    if resume is not None:
        refuse_beside(context, "resume", named)
        config = resumed(resume, "invert") / "config.toml"
    elif config is not None:
        refuse_beside(context, "config", {"out", "overwrite", *named})
    elif problem is None:
        raise InputError("`vaelab invert` needs PROBLEM, such as product, or --resume FOLDER.")
    from vaelab.cli import terminal
    from vaelab.engine.process import keep_freed_memory
    from vaelab.inverse import files, run
    from vaelab.inverse.config import InversionConfig
    from vaelab.inverse.spec import DEFAULTS
    from vaelab.inverse.units import parse_numbers

    keep_freed_memory()
    if config is not None:
        chosen, loaded = InversionConfig.read(config, forward=_named_function(forward))
    else:
        level = None if noise is None else parse_numbers("noise", noise)
        tolerance = None if gate is None else parse_numbers("gate", gate)
        loaded = files.load(
            problem or "", _named_function(forward) or forward or [], level, seed, gate=tolerance, x=_columns(x),
            y=_columns(y),
        )  # fmt: skip
        chosen = InversionConfig.create(
            loaded, fixed, ranges, yardstick, trials=trials, samples=samples, refine=refine, walk=walk, seed=seed,
            spectrum=spectrum, baselines=baselines, flow=flow, npe=npe,
        )  # fmt: skip
    with terminal.inversion(int(chosen.settings.get("epochs", DEFAULTS["epochs"]))) as progress:
        watch = run.InversionWatch(*progress)
        if resume is not None:
            found = run.resume(resume, loaded, watch)
        else:
            found = run.begin(loaded, chosen, out=out, overwrite=overwrite, watch=watch)
    print_json(found.results) if as_json else terminal.print_inversion(found.results)


def _columns(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []


def _is_python(forward: Sequence[str] | None) -> bool:
    """Whether --forward names a function in a file, not expressions."""
    return bool(forward) and any(".py:" in text for text in forward or ())


def _named_function(forward: Sequence[str] | None) -> Callable[..., Any] | None:
    """The Python function that --forward names, whose file is run; None for expressions."""
    if not _is_python(forward):
        return None
    assert forward is not None
    if len(forward) > 1:
        raise InputError("a Python function gives all outputs; give --forward FILE.py:NAME once, without expressions.")
    return _function(forward[0])


def _function(named: str | None) -> Callable[..., Any] | None:
    if named is None:
        return None
    from vaelab.inverse.python_function import function_of

    return function_of(named)


def _check_measurements(y: Path) -> None:
    """Refuse a file of measurements that is not there before libraries are imported that take seconds."""
    from vaelab.data.stray import reads_as_number

    if not all(map(reads_as_number, str(y).split(","))):
        check_there(y)


def solve(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="folder of `vaelab invert`")],
    y: Measurements,
    samples: Annotated[int, typer.Option(min=1, help="candidates per measurement")] = 100,
    refine: Annotated[int, typer.Option(min=0, help="damped Gauss-Newton steps per candidate")] = 20,
    walk: Annotated[int, typer.Option(min=0, help="random-walk steps in the latent space before refinement")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="seed for sampling")] = 0,
    gate: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="largest misfit of a solution in y's units, or one per output: 0.1,20; default: that of the run",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="keep at most N solutions of each measurement, as different as possible"),
    ] = None,
    forward: PythonFunction = None,
    out: Annotated[Path | None, typer.Option(help="all solutions as .csv, .parquet or .npz")] = None,
    as_json: AsJson = False,
) -> None:
    """Find distinct solutions for measurements, ranked by how well they reproduce them; exit code 1 if none."""
    _check_measurements(y)
    from vaelab.cli import outputs, terminal
    from vaelab.inverse import solve as solving
    from vaelab.inverse.units import parse_numbers

    if out is not None and out.suffix.lower() not in (".csv", ".parquet", ".npz"):
        raise InputError(f"{out} must end in .csv, .parquet or .npz; choose one of these.")
    tolerance = None if gate is None else parse_numbers("gate", gate)
    found = solving.solve(
        folder, y, samples=samples, refine=refine, walk=walk, seed=seed, gate=tolerance, top=top,
        forward=_function(forward),
    )  # fmt: skip
    if out is not None:
        found.save(out) if out.suffix.lower() == ".npz" else outputs.write_columns(found.columns(), out)
    print_json(found.document) if as_json else terminal.print_solutions(found.document)
    for note in found.notes:
        tell(f"note: {note}")
    if not any(len(own) for own in found.found):
        raise typer.Exit(1)


def draw(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="folder of `vaelab invert`")],
    y: Measurements,
    n: Annotated[int, typer.Option("-n", "--n", min=1, max=1_000_000, help="draws per measurement")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="seed for sampling")] = 0,
    forward: PythonFunction = None,
    out: Annotated[Path | None, typer.Option(help=".csv or .parquet; default: CSV on standard output")] = None,
) -> None:
    """Draw x from the posterior p(x | y) of each measurement y: samples for means and intervals, not solutions."""
    _check_measurements(y)
    from vaelab.cli import outputs
    from vaelab.inverse import solve as solving

    outputs.check_table(out)
    drawn = solving.draw(folder, y, n, seed, _function(forward))
    for note in drawn.notes:
        tell(f"note: {note}")
    outputs.write_columns(drawn.columns, out)
