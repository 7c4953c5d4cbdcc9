"""The commands to train, evaluate and use one VAE, and to inspect data and settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaelab.cli.completion import kinds
from vaelab.cli.naming import in_options
from vaelab.cli.options import (
    AsJson,
    DrawAll,
    MaybeSource,
    Out,
    Overwrite,
    Resume,
    RunFolder,
    Source,
    Starts,
    check_there,
    data_of_run,
    draws,
    load_again,
    print_json,
    refuse_beside,
    resumed,
    run_there,
    tell,
)
from vaelab.cli.reading import PLAIN, PLAIN_ROWS, DataOptions, RowOptions, parse_values, with_options
from vaelab.cli.settings import VAE, VAEOptions
from vaelab.errors import InputError
from vaelab.settings.checks import MOST_DRAWS
from vaelab.wording import counted, printable

if TYPE_CHECKING:
    from vaelab.use import NewRows
    from vaelab.vae.fitted import Fitted


@with_options
def train(
    context: typer.Context,
    source: MaybeSource = None,
    model: VAEOptions = VAE,
    seed: Annotated[int, typer.Option(help="seed for weights, example order and noise")] = 0,
    starts: Starts = 1,
    open_test: Annotated[
        bool, typer.Option("--open-test", help="also evaluate on the test split, and record that it was opened")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(help="time limit in seconds; sets the number of epochs, or stops early with --epochs N"),
    ] = None,
    figures: DrawAll = "all",
    where: DataOptions = PLAIN,
    out: Out = None,
    overwrite: Overwrite = False,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Train one VAE into a run folder."""
    from vaelab.cli import terminal
    from vaelab.settings.spec import check_idle
    from vaelab.vae.config import TrainConfig
    from vaelab.vae.spec import Spec

    if resume is not None:
        refuse_beside(context, "resume", {"timeout"})
        config, source_of = TrainConfig.read(resumed(resume, "train") / "config.toml")
        spec, timed = config.spec, timeout or config.timeout
        data = load_again(source_of, where.moved, where.download, where.data_dir)
    elif source is None:
        raise InputError("`vaelab train` needs DATA, such as digits, or --resume FOLDER.")
    else:
        chosen, timed = model.fixed(Spec), timeout
        check_idle(chosen, Spec)
        drawn = draws(figures)
        spec = Spec.create(**{"seed": seed, **chosen})
        data = where.load(source)
    from vaelab.engine.process import keep_freed_memory
    from vaelab.vae import run as single

    keep_freed_memory()
    with terminal.epochs(None if timed or spec.epochs == "auto" else spec.epochs) as progress:
        watch: Any = {"progress": progress, "note": lambda text: tell(f"note: {text}")}
        if resume is not None:
            run = single.resume(resume, data, timeout=timeout, **watch)
        else:
            run = single.train(
                data, spec, starts=starts, out=out, overwrite=overwrite, open_test=open_test, timeout=timeout,
                figures=drawn, **watch,
            )  # fmt: skip
    result = {
        "run": str(run.folder),
        "spec": run.model.spec.model_dump(mode="json"),
        "train": run.metrics["train"],
        "validation": run.metrics["validation"],
        "test": run.metrics["test"],
        "baseline": run.metrics["reference"],
        "beaten": run.metrics["beaten"],
        "starts": run.metrics["starts"],
        "seconds_per_epoch": run.metrics["seconds"] / run.metrics["epochs"],
    }
    print_json(result) if as_json else terminal.print_run(result)


@with_options
def evaluate(
    folder: RunFolder,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="other data, evaluated as a whole; default: the model's own data"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation or test split of the model's own data; opening test is recorded"),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=100_000, help="draws in the importance-weighted bound")] = 64,
    rows: RowOptions = PLAIN_ROWS,
    as_json: AsJson = False,
) -> None:
    """Evaluate a trained VAE: the evidence lower bound, its parts and the importance-weighted bound."""
    if source is not None:
        check_there(source)
    from vaelab import use
    from vaelab.cli import terminal
    from vaelab.data import SPLITS
    from vaelab.errors import unknown_name

    if split is not None and split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if split is not None and source is not None:
        raise InputError("other data are evaluated as a whole and have no split; leave out --split.")
    model = use.load(folder)
    data = (
        data_of_run(model.facts, rows.data_dir, rows.moved)
        if source is None
        else use.other_data(model, source, rows.data_dir, **rows.changes)
    )
    result = use.evaluate(model, data, split or "validation", k)
    if source is not None:
        result["split"] = "all rows"
    print_json(result) if as_json else terminal.print_evaluation(result)


def sample(
    folder: RunFolder,
    n: Annotated[int, typer.Option("-n", "--n", min=1, max=MOST_DRAWS, help="number of samples")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="seed for sampling")] = 0,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="sample this class, from the mixture fitted by `cluster`"),
    ] = None,
    noise: Annotated[bool, typer.Option("--noise", help="draw x from p(x|z); default: its mean")] = False,
    given: Annotated[
        list[str] | None,
        typer.Option("--given", metavar="COLUMN=VALUE", help="value of a condition of the model; repeatable"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help=".csv, .parquet, .npy, or .png for images and curves; default: CSV on standard output"),
    ] = None,
) -> None:
    """Generate examples: decoder means at samples from the prior or a class, or with --noise samples of x itself."""
    from vaelab import use
    from vaelab.cli import outputs
    from vaelab.vae.conditions import extrapolated

    if class_name is None:
        model, values = use.load(folder), parse_values(given or [])
        examples = model.sample(n, seed, noise, values)
        _tell_all(extrapolated(model, values))
    elif given:
        raise InputError("a class and conditions cannot both be given; leave out --class or --given.")
    else:
        model, examples = use.sample_class(folder, class_name, n, seed, noise)
    outputs.write_examples(examples, model.facts, out)


@with_options
def encode(
    folder: RunFolder,
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="new examples: a .npy, .npz, .csv or IDX file, or the name of a built-in data set"
        ),
    ],
    out: Annotated[Path | None, typer.Option(help=".npy or .csv; default: CSV on standard output")] = None,
    std: Annotated[bool, typer.Option("--std", help="also write the posterior's standard deviations")] = False,
    rows: RowOptions = PLAIN_ROWS,
) -> None:
    """Encode examples: the posterior means, one row per example, in file order."""
    check_there(source)
    from vaelab import use
    from vaelab.cli import outputs

    model = use.load(folder)
    examples = _examples(model, source, rows)
    mean, deviation = model.encode(examples.x)
    outputs.write_latents(mean, deviation if std else None, out, examples)


@with_options
def predict(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", callback=run_there, help="folder of `classify`, `regress` or `cluster`, or of a run"
        ),
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="new examples: a .npy, .npz, .csv or IDX file, or the name of a built-in data set"
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help=".csv, or .parquet for numbers; default: CSV on standard output")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL", help="of a regressor: the probability with which intervals cover the target; default: 0.9"
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="mixture|graph",
            help="of a clustering with labels: by its named components, or by label propagation; default: what did "
            "better on validation",
        ),
    ] = None,
    rows: RowOptions = PLAIN_ROWS,
) -> None:
    """Predict classes with their probabilities, or numbers with intervals, one row per example, in file order."""
    check_there(source)
    from vaelab import use
    from vaelab.cli import outputs

    if use.predicts_numbers(folder):
        if by is not None:
            raise InputError(f"`by` is for a clustering with labels, but {folder} predicts numbers; leave it out.")
        estimates = use.estimate(folder, source, interval, rows.data_dir, **rows.changes)
        _tell_all(estimates.rows.notes)
        outputs.write_estimates(estimates, out)
        _tell_written(len(estimates.mean), "prediction", out)
        return
    if interval is not None:
        raise InputError(f"`interval` is for numbers, but {folder} predicts classes; leave it out.")
    answers = use.predict(folder, source, by, data_dir=rows.data_dir, **rows.changes)
    _tell_all(answers.notes)
    outputs.write_answers(answers, out)
    _tell_written(len(answers.answers), "answer", out)


def _examples(model: Fitted, source: str, rows: RowOptions) -> NewRows:
    """The examples of a file, with their splits where known; what the user should know of them is told."""
    from vaelab import use

    examples = use.with_split(model, use.new_rows(model, source, rows.data_dir, **rows.changes), source)
    _tell_all(examples.notes)
    return examples


def _tell_written(number: int, what: str, out: Path | None) -> None:
    """What is in a file that the terminal does not show."""
    if out is not None:
        tell(f"{counted(number, what)} written to {out}.")


def _tell_all(notes: Sequence[str]) -> None:
    for note in notes:
        tell(f"note: {note}")


def decode(
    folder: RunFolder,
    z: Annotated[
        list[str],
        typer.Option("--z", metavar="Z1,Z2,...", help="a point in the latent space; repeatable"),
    ],
    out: Annotated[
        Path | None, typer.Option(help=".npy, .csv, or .png for images and curves; default: CSV on standard output")
    ] = None,
) -> None:
    """Decode points of the latent space."""
    from vaelab import use
    from vaelab.cli import outputs

    model = use.load(folder)
    outputs.write_examples(model.decode(outputs.parse_points(z)), model.facts, out)


@with_options
def reconstruct(
    folder: RunFolder,
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="new examples: a .npy, .npz, .csv or IDX file, or the name of a built-in data set"
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help=".npy, .csv, or .png for images and curves; default: CSV on standard output")
    ] = None,
    rows: RowOptions = PLAIN_ROWS,
) -> None:
    """Reconstruct examples through encoder and decoder, one row per example, in file order."""
    check_there(source)
    from vaelab import use
    from vaelab.cli import outputs

    model = use.load(folder)
    examples = _examples(model, source, rows)
    outputs.write_examples(model.reconstruct(examples.x), model.facts, out, examples)


@with_options
def translate(
    folder: RunFolder,
    source: Annotated[str, typer.Argument(metavar="DATA", help="rows of a table with the conditions of the model")],
    to: Annotated[
        list[str], typer.Option("--to", metavar="COLUMN=VALUE", help="the new value of a condition; repeatable")
    ],
    out: Annotated[Path | None, typer.Option(help=".csv, .parquet or .npy; default: CSV on standard output")] = None,
    rows: RowOptions = PLAIN_ROWS,
) -> None:
    """What rows would be under other conditions, such as another batch: what the latents hold stays."""
    check_there(source)
    from vaelab import use
    from vaelab.cli import outputs
    from vaelab.vae.conditions import extrapolated

    model = use.load(folder)
    examples, values = _examples(model, source, rows), parse_values(to)
    translated = model.translate(examples.x, values)
    _tell_all(extrapolated(model, values))
    outputs.write_examples(translated, model.facts, out, examples)


@with_options
def impute(
    folder: RunFolder,
    source: Annotated[str, typer.Argument(metavar="DATA", help="rows of a table with missing values")],
    draws: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            help="fill each row this many times by draws, which differ as much as is not known; "
            "default: once, by the mean or the most likely level",
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="seed of the draws")] = 0,
    out: Annotated[Path | None, typer.Option(help=".csv, .parquet or .npy; default: CSV on standard output")] = None,
    rows: RowOptions = PLAIN_ROWS,
) -> None:
    """Fill the missing values of a table, given the values that are there (assumed to be missing at random)."""
    check_there(source)
    from vaelab import use
    from vaelab.cli import outputs

    model = use.load(folder)
    examples = _examples(model, source, rows)
    filled = model.impute(examples.x, draws, seed)
    outputs.write_examples(filled, model.facts, out, examples, is_filled=True)
    tell(outputs.told_filled(examples, filled if draws == 0 else filled[0], model.facts.features, out))


@with_options
def describe_data(
    source: Source,
    where: DataOptions = PLAIN,
    as_json: AsJson = False,
) -> None:
    """Describe data: sizes, types, range, classes, missing and constant values, and how they would be treated."""
    from vaelab import data

    facts = where.describe(source)
    print_json(facts) if as_json else print(printable(in_options(data.describe_text(facts))))


def settings(
    kind: Annotated[
        str,
        typer.Option("--of", metavar="vae|classifier|regressor|inverse", help="kind of model", autocompletion=kinds),
    ] = "vae",
    as_json: AsJson = False,
) -> None:
    """List every setting of a model: its name, default, allowed values and meaning."""
    from vaelab.cli import terminal
    from vaelab.cli.study import TASKS
    from vaelab.registry import Registry
    from vaelab.settings.spec import settings_table

    known: Registry[Any] = Registry("kind of model", {**TASKS.homes, "inverse": "vaelab.inverse.spec:settings_rows"})
    of_kind = known[kind]
    rows = of_kind() if callable(of_kind) else settings_table(of_kind.spec_type)
    print_json(
        [dict(zip(("name", "default", "allowed", "meaning"), row, strict=True)) for row in rows]
    ) if as_json else (terminal.print_settings(rows))
