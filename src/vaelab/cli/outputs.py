"""Arrays to files or standard output, also pictures. Rows are in the order of the examples, by id or number."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaelab import store
from vaelab.data.dataset import Array
from vaelab.data.style import ISO, Style
from vaelab.data.writing import csv_text, digits_of, written_columns
from vaelab.errors import InputError, shown
from vaelab.wording import counted, first_few

if TYPE_CHECKING:  # of modules that import seconds of libraries
    from vaelab.latent.row_scores import RowScores
    from vaelab.use import Estimates, NewRows, Predictions
    from vaelab.vae.fitted import DataFacts

FRAME = 80  # milliseconds


def write_latents(mean: Array, std: Array | None, out: Path | None, rows: NewRows | None = None) -> None:
    """Posterior means (n, L), and standard deviations where given; CSV columns row or id, split if the
    rows are the model's own data, z1, z2, ..., std1, ...
    """
    names = [f"z{i}" for i in range(1, mean.shape[1] + 1)]
    if std is not None:
        names += [f"std{i}" for i in range(1, std.shape[1] + 1)]
        mean = np.concatenate([mean, std], 1)
    _write(mean, names, out, rows, ISO if rows is None else rows.style)


def write_examples(
    x: Array, facts: DataFacts, out: Path | None, rows: NewRows | None = None, *, is_filled: bool = False
) -> None:
    """Examples (n, *shape) in the data's own units; a .png shows images side by side, and curves in one plot.

    is_filled: x holds cells of the data themselves, which are never rounded.
    """
    if out is not None and out.suffix.lower() == ".png":
        if facts.features:
            raise InputError(f"{out} is a picture, but the model's examples are rows of a table; write .csv or .npy.")
        if len(facts.shape) < 2:
            _draw_curves(x, facts, out)
        else:
            _write_png(x, facts, out)
        return
    if out is not None and out.suffix.lower() == ".npy":
        _write(x, [], out, rows, ISO)
        return
    if facts.columns:
        x = x.copy()
        for j, column in enumerate(facts.columns):
            if column.decimals is not None and not is_filled:
                x[..., j] = np.round(x[..., j], column.decimals)
        write_table(x, facts, out, rows)
        return
    flat = x.reshape(len(x), -1)
    names = facts.features or [f"x{i}" for i in range(flat.shape[1])]
    _write(flat, names, out, rows, facts.style if rows is None else rows.style)


def told_filled(rows: NewRows, filled: Array, names: Sequence[str], out: Path | None) -> str:
    """How many cells of rows (n, D) were filled, where they are, and which columns of the input are not written."""
    cells = np.isnan(rows.x) & ~np.isnan(filled)
    told = f"{counted(int(cells.sum()), 'cell')} filled"
    if cells.any():
        own = [names[j] if names else f"x{j}" for j in np.flatnonzero(cells.any(0)).tolist()]
        told += f" in {int(cells.any(1).sum()):,} of {counted(len(cells), 'row')}, of {_listed(own)}"
    told += f"; written{'' if out is None else f' to {out}'}"
    return f"{told}, without {_listed(rows.unused)}, which the model does not have." if rows.unused else f"{told}."


def _listed(names: Sequence[str]) -> str:
    return f"column{'' if len(names) == 1 else 's'} {first_few([shown(name) for name in names])}"


def write_table(x: Array, facts: DataFacts, out: Path | None, rows: NewRows | None = None) -> None:
    """Rows (n, D) of a table, or several draws of each (draws, n, D), in the table's own words, as CSV or .parquet;
    draws are numbered from 1 in a column after that of the row or id, and of the split if known.
    """
    suffix = None if out is None else out.suffix.lower()
    if suffix not in (None, ".csv", ".parquet"):
        raise InputError(f"{out} must end in .csv, .parquet or .npy; choose one of these.")
    draws = x if x.ndim == 3 else x[None]
    n = x.shape[-2]
    first = {title: np.tile(cells, len(draws)) for title, cells in _first(n, rows).items()}
    if x.ndim == 3:
        first["draw"] = np.repeat(np.arange(1, len(draws) + 1), n)
    style = facts.style if rows is None else rows.style
    flat = draws.reshape(-1, draws.shape[-1])
    table = written_columns(flat, facts.columns, None if suffix == ".parquet" else style)
    write_columns(_beside(first, table), out, digits_of(facts.dtype), style)


def write_scores(found: RowScores, out: Path | None) -> None:
    """Scores of n rows as CSV or .parquet: row or id, split if known, score, rank, p_value, is_anomaly; of a table also
    why it is one.
    """
    check_table(out)
    table: dict[str, Array] = {
        "score": found.score, "rank": found.rank, "p_value": found.p_value,
        "is_anomaly": found.is_anomaly.astype(np.int64),
    }  # fmt: skip
    if found.is_table:
        table["strange"] = np.array(["; ".join(map(str, own)) for own in found.strange], dtype=object)
    write_columns(_beside(_first(len(found.score), found), table), out, 7, found.style)


def write_estimates(found: Estimates, out: Path | None) -> None:
    """Means and intervals (n,) as CSV or .parquet: row or id, split if known, mean, lower, upper."""
    check_table(out)
    table = {"mean": found.mean, "lower": found.lower, "upper": found.upper}
    write_columns(_beside(_first(len(found.mean), found.rows), table), out, 10, found.rows.style)


def check_table(out: Path | None) -> None:
    """Reject a file that cannot hold a table."""
    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"{out} must end in .csv or .parquet; choose one of these.")


def write_columns(table: Mapping[str, Array], out: Path | None, digits: int = 10, style: Style = ISO) -> None:
    """Columns (n,) by name, as CSV of this style with this many digits, or as .parquet."""
    if out is None or out.suffix.lower() != ".parquet":
        _send(csv_text(table, digits, style), out)
        return
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    rounded = {name: _rounded(values, digits) for name, values in table.items()}
    pyarrow.parquet.write_table(pyarrow.table(rounded), buffer)
    store.write_output(out, buffer.getvalue())


def _rounded(values: Array, digits: int) -> Array:
    """Numbers as they would be read from text with this many digits: 0.1 in single precision is not 0.100000001."""
    return np.array([float(f"{v:.{digits}g}") for v in values.tolist()]) if values.dtype.kind == "f" else values


def write_answers(found: Predictions, out: Path | None) -> None:
    """Answers (n,) and p(c|x) (n, C) as CSV or .parquet: row or id, split if known, label, and p(class) for each."""
    check_table(out)
    answers = found.answers if found.answers.dtype.kind != "O" else found.answers.astype(np.str_)  # of one type
    table = {"label": answers}
    table |= {f"p({name})": found.proba[:, c] for c, name in enumerate(found.classes)}
    write_columns(_beside(_first(len(found.proba), found.rows), table), out, 6, found.rows.style)


def parse_points(texts: Sequence[str]) -> Array:
    """Points (n, L) from texts such as "0.5,-1".

    >>> parse_points(["0.5,-1"])
    array([[ 0.5, -1. ]])
    """
    rows = []
    for text in texts:
        try:
            rows.append([float(part) for part in text.split(",")])
        except ValueError:
            raise InputError(
                f"a point must be comma-separated numbers, such as 0.5,-1, but got {shown(text)}."
            ) from None
    if len({len(row) for row in rows}) > 1 or not all(math.isfinite(v) for row in rows for v in row):
        raise InputError("all points must have the same number of finite coordinates; check them.")
    return np.array(rows)


def _write(rows: Array, names: Sequence[str], out: Path | None, of: NewRows | None, style: Style) -> None:
    suffix = None if out is None else out.suffix.lower()
    if suffix not in (None, ".csv", ".npy"):
        raise InputError(f"{out} must end in .npy, .csv, or .png for images; choose one of these.")
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, rows)
        assert out is not None
        store.write_output(out, buffer.getvalue())
        return
    table = dict(zip(names, np.asarray(rows).astype(np.float64).T, strict=True))
    write_columns(_beside(_first(len(rows), of), table), out, 7, style)


def _first(n: int, of: NewRows | RowScores | None) -> dict[str, Array]:
    """The first columns: the names of the rows, else their numbers, the first being 0; and their splits if known."""
    if of is None or of.ids is None:
        first = {"row" if of is None else of.id_name: np.arange(n)}
    else:
        first = {of.id_name: _as_given(of.ids)}
    return first if of is None or of.split is None else {**first, "split": of.split}


def _as_given(ids: Array) -> Array:
    """Ids (n,) as whole numbers, where all of them are written as these are."""
    texts = ids.astype(str)
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in texts):
        return ids
    whole = texts.astype(np.int64)
    return whole if (whole.astype(str) == texts).all() else ids


def _beside(first: Mapping[str, Array], table: Mapping[str, Array]) -> dict[str, Array]:
    """Both parts of a table; a first column that is called like another gets "_" behind its name."""
    named = {}
    for title, cells in first.items():
        while title in table:
            title += "_"
        named[title] = cells
    return {**named, **table}


def _send(text: str, out: Path | None) -> None:
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # as in a file, whatever signs the terminal has
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        sys.stdout.write(text)
    else:
        store.write_output(out, text)


def _draw_curves(x: Array, facts: DataFacts, out: Path) -> None:
    from vaelab.plots.examples import plot_curves

    plot_curves(x, out, f"{counted(len(x), 'example')} of {facts.name}")


def write_gif(x: Array, facts: DataFacts, out: Path) -> None:
    """Images (n, H, W) or (n, H, W, C) as an animation that is repeated."""
    from PIL import Image

    if len(facts.shape) < 2:
        raise InputError(f"{out} is an animation, but the model's examples are no images; write .csv or .npy.")
    cells, _ = _enlarged(x, facts, 224)
    first, *others = [Image.fromarray(cell) for cell in cells]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=FRAME, loop=0)
    store.write_output(out, buffer.getvalue())


def _enlarged(x: Array, facts: DataFacts, least: int) -> tuple[Array, int]:
    """Images as pixels, of at least this many where they are small, and how often each of theirs is repeated."""
    from vaelab.plots.examples import as_pixels

    cells = as_pixels(x / (255.0 if facts.dtype == "uint8" else 1.0))
    scale = max(1, least // max(cells.shape[1:3]))
    return cells.repeat(scale, 1).repeat(scale, 2), scale


def _write_png(x: Array, facts: DataFacts, out: Path) -> None:
    from PIL import Image

    from vaelab.plots.examples import mosaic

    cells, scale = _enlarged(x, facts, 56)
    sheet = mosaic(cells, columns=min(len(cells), 10), gap=2 * scale)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    store.write_output(out, buffer.getvalue())
