"""The command line: each command parses, calls one library function, and prints. --help imports nothing heavy."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vaelab import cli_latent, cli_study
from vaelab.cli_options import (
    AsJson,
    DataDir,
    Download,
    MaybeSource,
    Out,
    Overwrite,
    RunFolder,
    Settings,
    Source,
    SplitSeed,
    Starts,
    Target,
    Workers,
    load_again,
    load_data,
    print_json,
    tell,
)
from vaelab.errors import InputError

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="vaelab",
    help="Finds, trains, explains and uses the variational autoencoder that fits your data.",
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


app.command()(cli_study.tune)
app.command()(cli_study.classify)


@app.command()
def compare(
    source: MaybeSource = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME:SETTING=VALUE,...",
            help="as wide:hidden=64-32,latent_dim=2; or NAME:FILE.toml, FILE.toml, NAME:RUN or RUN; at least two",
        ),
    ] = None,
    settings: Settings = None,
    seeds: Annotated[int, typer.Option(help="trainings of each model")] = 5,
    seed: Annotated[int, typer.Option(help="seed of the comparison; all models share its seeds")] = 0,
    workers: Workers = None,
    split_seed: SplitSeed = 0,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="draw pictures and write the report")] = True,
    target: Target = None,
    data_dir: DataDir = None,
    download: Download = False,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Annotated[Path | None, typer.Option(metavar="FOLDER", help="continue this comparison")] = None,
    config: Annotated[Path | None, typer.Option(help="a comparison's config.toml, to run it again")] = None,
    as_json: AsJson = False,
) -> None:
    """Train models over the same seeds, judge them by the same yardsticks, recommend one; a run folder is one seed."""
    from vaelab import terminal
    from vaelab.spec import parse_settings
    from vaelab.study.lineup import Lineup, parse_models

    if resume is not None or config is not None:
        previous = resume / "config.toml" if resume is not None else config
        assert previous is not None
        if source is not None or models or settings:
            raise InputError("a comparison that exists already knows its data, models and settings; leave them out.")
        lineup, where = Lineup.read(previous)
        data = load_again(where)
    else:
        if source is None:
            raise InputError("`vaelab compare` needs DATA, such as digits, or --resume FOLDER.")
        lineup = Lineup.create(
            parse_models(models or []), parse_settings(settings or []), seeds=seeds, seed=seed, figures=figures
        )
        data = load_data(source, target, data_dir, download, split_seed)
    from vaelab.study import compare as comparing
    from vaelab.training import keep_freed_memory

    keep_freed_memory()
    with terminal.comparison_watch() as display:
        if resume is not None:
            found = comparing.resume(resume, data, workers=workers, watch=display)
        else:
            found = comparing.begin(lineup, data, workers=workers, out=out, overwrite=overwrite, watch=display)
    print_json(found.results) if as_json else terminal.print_comparison(found.results)


@app.command()
def train(
    source: Source,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="seed of the weights, the order and the noise")] = 0,
    starts: Starts = 1,
    split_seed: SplitSeed = 0,
    open_test: Annotated[
        bool, typer.Option("--open-test", help="also show the test split, and count that it was opened")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(help="seconds; without --set epochs=N it decides their number, else it stops early")
    ] = None,
    target: Target = None,
    data_dir: DataDir = None,
    download: Download = False,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="continue a run that was stopped")] = False,
    as_json: AsJson = False,
) -> None:
    """Train one VAE into a run folder."""
    from vaelab import terminal
    from vaelab.spec import Spec, check_idle, parse_settings

    chosen = parse_settings(settings or [])
    check_idle(chosen)
    spec = Spec.create(**{"seed": seed, **chosen})
    data = load_data(source, target, data_dir, download, split_seed)
    from vaelab.study import single
    from vaelab.training import keep_freed_memory

    keep_freed_memory()
    with terminal.epochs(None if timeout else spec.epochs) as progress:
        run = single.train(
            data, spec, starts=starts, out=out, overwrite=overwrite, resume=resume, open_test=open_test,
            timeout=timeout, progress=progress, note=lambda text: tell(f"note: {text}"),
        )  # fmt: skip
    result = {
        "run": str(run.folder),
        "spec": run.model.spec.model_dump(mode="json"),
        "train": run.metrics["train"],
        "validation": run.metrics["validation"],
        "test": run.metrics["test"],
        "baseline": run.metrics["reference"],
        "starts": run.metrics["starts"],
        "seconds_per_epoch": run.metrics["seconds"] / run.metrics["epochs"],
    }
    print_json(result) if as_json else terminal.print_run(result)


@app.command()
def evaluate(
    folder: RunFolder,
    source: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="other data, all of it; by default the model's own")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="of the model's own data: train, validation or test, which is counted as opened")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=100_000, help="draws of the importance-weighted bound")] = 64,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Judge a trained VAE: the evidence lower bound, its parts, and the importance-weighted bound."""
    from vaelab import terminal, use
    from vaelab.data import SPLITS
    from vaelab.errors import unknown_name

    if split is not None and split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if split is not None and source is not None:
        raise InputError("other data are judged whole and have no split; leave out --split.")
    model = use.load(folder)
    data = load_again(dict(model.facts.source)) if source is None else use.other_data(model, source, data_dir)
    result = use.evaluate(model, data, split or "validation", k)
    if source is not None:
        result["split"] = "all rows"
    print_json(result) if as_json else terminal.print_evaluation(result)


app.command()(cli_latent.cluster)
app.command()(cli_latent.anomaly)


@app.command()
def sample(
    folder: RunFolder,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="how many")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="seed of the draws")] = 0,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="of this class, by the mixture that `cluster` made")
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="draw x from p(x|z), which spreads as data do; default: its mean")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help=".npy, .csv, or .png for images and curves; default: CSV on standard output")
    ] = None,
) -> None:
    """New examples: the decoder's means at draws of the prior or of a class, or with --noise draws of x itself."""
    from vaelab import outputs, use

    if class_name is None:
        model = use.load(folder)
        examples = model.sample(n, seed, noise)
    else:
        model, examples = use.sample_class(folder, class_name, n, seed, noise)
    outputs.write_examples(examples, model.facts, out)


@app.command()
def encode(
    folder: RunFolder,
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="new examples: a .npy, .npz, .csv or IDX file, or a name")
    ],
    out: Annotated[Path | None, typer.Option(help=".npy or .csv; default: CSV on standard output")] = None,
    std: Annotated[bool, typer.Option("--std", help="also the posterior's standard deviations")] = False,
    data_dir: DataDir = None,
) -> None:
    """Latent coordinates of examples: the posterior means, one row per example, in the order of the file."""
    from vaelab import outputs, use

    model = use.load(folder)
    mean, deviation = model.encode(use.new_rows(source, data_dir))
    outputs.write_latents(mean, deviation if std else None, out)


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="folder of `classify` or of `cluster`, or of a run")],
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="new examples: a .npy, .npz, .csv or IDX file, or a name")
    ],
    out: Annotated[Path | None, typer.Option(help="a .csv file; default: CSV on standard output")] = None,
    data_dir: DataDir = None,
) -> None:
    """Classes of examples with their probabilities, one row per example, in the order of the file."""
    from vaelab import outputs, use

    found = use.predict(folder, source, data_dir)
    outputs.write_answers(found.answers, found.proba, found.classes, out)


@app.command()
def decode(
    folder: RunFolder,
    z: Annotated[
        list[str],
        typer.Option("--z", metavar="Z1,Z2,...", help="a point of the latent space; may be repeated"),
    ],
    out: Annotated[
        Path | None, typer.Option(help=".npy, .csv, or .png for images and curves; default: CSV on standard output")
    ] = None,
) -> None:
    """Examples at points of the latent space."""
    from vaelab import outputs, use

    model = use.load(folder)
    outputs.write_examples(model.decode(outputs.parse_points(z)), model.facts, out)


@app.command()
def reconstruct(
    folder: RunFolder,
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="new examples: a .npy, .npz, .csv or IDX file, or a name")
    ],
    out: Annotated[
        Path | None, typer.Option(help=".npy, .csv, or .png for images and curves; default: CSV on standard output")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Examples through encoder and decoder, one row per example, in the order of the file."""
    from vaelab import outputs, use

    model = use.load(folder)
    outputs.write_examples(model.reconstruct(use.new_rows(source, data_dir)), model.facts, out)


@app.command()
def invert(
    problem: Annotated[
        str | None,
        typer.Argument(
            metavar="PROBLEM",
            help="product, two-birds-easy, two-birds, or an .npz or .toml file; left out with --resume",
        ),
    ] = None,
    forward: Annotated[
        list[str] | None,
        typer.Option("--forward", metavar="EXPRESSION", help="as 'cos(49*x0 + 42*x1)'; one per output"),
    ] = None,
    noise: Annotated[float | None, typer.Option(help="standard deviation of y about f(x)")] = None,
    settings: Settings = None,
    trials: Annotated[int, typer.Option(min=0, help="settings to try before the final training")] = 0,
    search: Annotated[
        list[str] | None, typer.Option("--search", metavar="NAME=RANGE", help="as beta=0.1..10:log, optimizer=adam,sgd")
    ] = None,
    space: Annotated[Path | None, typer.Option(help="a TOML file of ranges")] = None,
    yardstick: Annotated[
        str | None, typer.Option(help="what a search goes by: recall, precision, or bound; on validation")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the training pairs; default 20")] = None,
    samples: Annotated[int, typer.Option(min=1, help="candidates for each scored measurement")] = 30,
    refine: Annotated[int, typer.Option(min=0, help="damped Gauss-Newton steps of each candidate")] = 20,
    walk: Annotated[int, typer.Option(min=0, help="steps of a random walk in the latent space before")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="seed of the problem, the training and the draws")] = 0,
    spectrum: Annotated[
        bool | None,
        typer.Option("--spectrum/--no-spectrum", help="also show the network the spectrum of y; default: of curves"),
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="also run the other methods")] = True,
    npe: Annotated[
        bool, typer.Option("--npe", help="also sbi's neural posterior estimation, trained for as long; needs sbi")
    ] = False,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="continue this run, which was stopped")] = None,
    config: Annotated[Path | None, typer.Option(help="a run's config.toml, to run it again")] = None,
    as_json: AsJson = False,
) -> None:
    """Learn to invert y = f(x): many different x that reproduce y, scored beside methods without a network."""
    from vaelab.space import Space
    from vaelab.spec import parse_settings

    if search and space:
        raise InputError("give the ranges by --search or by --space, not both.")
    ranges = Space.from_strings(search) if search else Space.from_toml(space) if space else None
    fixed = parse_settings(settings or []) | ({} if epochs is None else {"epochs": epochs})
    previous = config if resume is None else resume
    if previous is not None and (problem or forward or noise is not None or fixed or ranges):
        raise InputError("an inversion that exists already knows its problem, settings and space; leave them out.")
    if previous is None and problem is None:
        raise InputError("`vaelab invert` needs PROBLEM, such as product, or --resume RUN.")
    from vaelab import terminal
    from vaelab.inverse import problems, run
    from vaelab.inverse.config import Config
    from vaelab.inverse.inverter import DEFAULTS
    from vaelab.training import keep_freed_memory

    keep_freed_memory()
    if previous is not None:
        chosen, loaded = Config.read(previous if resume is None else run.preparation(resume) / "config.toml")
    else:
        loaded = problems.load(problem or "", forward or [], noise, seed)
        chosen = Config.create(
            loaded, fixed, ranges, yardstick, trials=trials, samples=samples, refine=refine, walk=walk, seed=seed,
            spectrum=spectrum, baselines=baselines, npe=npe,
        )  # fmt: skip
    with terminal.inversion(int(chosen.settings.get("epochs", DEFAULTS["epochs"]))) as progress:
        watch = run.Watch(*progress)
        if resume is not None:
            found = run.resume(resume, loaded, watch)
        else:
            found = run.begin(loaded, chosen, out=out, overwrite=overwrite, watch=watch)
    print_json(found.results) if as_json else terminal.print_inversion(found.results)


@app.command()
def solve(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="folder of `vaelab invert`")],
    y: Annotated[Path, typer.Option("--y", metavar="FILE", help="measurements, .npy, or .csv with one in each row")],
    samples: Annotated[int, typer.Option(min=1, help="candidates for each measurement")] = 100,
    refine: Annotated[int, typer.Option(min=0, help="damped Gauss-Newton steps of each candidate")] = 20,
    walk: Annotated[int, typer.Option(min=0, help="steps of a random walk in the latent space before")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="seed of the draws")] = 0,
    out: Annotated[Path | None, typer.Option(help="an .npz file for the whole solutions")] = None,
    as_json: AsJson = False,
) -> None:
    """Distinct solutions of measurements, ranked by how well they reproduce them."""
    from vaelab import terminal
    from vaelab.inverse import run

    found = run.solve(folder, y, samples=samples, refine=refine, walk=walk, seed=seed, out=out)
    print_json(found) if as_json else terminal.print_solutions(found)


@app.command(name="data")
def describe_data(
    source: Source,
    target: Target = None,
    data_dir: DataDir = None,
    download: Download = False,
    split_seed: SplitSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Describe data: sizes, types, range, classes, missing, constant, and what they would be treated as."""
    from vaelab import data, terminal

    with terminal.download_progress() as progress:
        facts = data.describe_source(
            source, target=target, data_dir=data_dir, download=download, seed=split_seed, progress=progress
        )
    print_json(facts) if as_json else print(data.describe_text(facts))


@app.command()
def settings(
    kind: Annotated[str, typer.Option("--of", metavar="vae|classifier", help="what kind of model")] = "vae",
    as_json: AsJson = False,
) -> None:
    """Every setting of a model: its name, default, allowed values and meaning."""
    from vaelab import terminal
    from vaelab.spec import settings_table
    from vaelab.study.task import task_named

    rows = settings_table(task_named(kind).spec)
    print_json(
        [dict(zip(("name", "default", "allowed", "meaning"), row, strict=True)) for row in rows]
    ) if as_json else (terminal.print_settings(rows))


def _terminated(*_: object) -> NoReturn:
    raise SystemExit(143)


def main() -> None:
    """Entry point: exit code 0 ok, 1 failure, 2 bad input, 130 Ctrl-C, 143 SIGTERM."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except InputError as error:
        tell(f"vaelab: {error}")
        sys.exit(2)
    except typer.TyperException as error:  # a usage error; its own words take several lines
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        tell(f"vaelab: {' '.join(message.split()).rstrip('.')}; see --help.")
        sys.exit(2)
    except RuntimeError as error:
        if type(error).__module__.startswith("vaelab"):
            tell(f"vaelab: {error}")
            sys.exit(1)
        raise
