"""Arrays to files or standard output: .npy, .csv, .png. Rows keep the order of the examples and have a row number."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaelab import store
from vaelab.errors import InputError, shown
from vaelab.vae.fitted import Array, DataFacts
from vaelab.wording import counted


def write_latents(mean: Array, std: Array | None, out: Path | None) -> None:
    """Posterior means (n, L), and standard deviations where given; CSV columns row, z1, z2, ..., std1, ..."""
    names = [f"z{i}" for i in range(1, mean.shape[1] + 1)]
    if std is not None:
        names += [f"std{i}" for i in range(1, std.shape[1] + 1)]
        mean = np.concatenate([mean, std], 1)
    _write(mean, names, out)


def write_examples(x: Array, facts: DataFacts, out: Path | None) -> None:
    """Examples (n, *shape) in the data's own units; a .png shows images side by side, and curves in one plot."""
    if out is not None and out.suffix.lower() == ".png":
        if facts.features:
            raise InputError(f"{out} is a picture, but the model's examples are rows of a table; write .csv or .npy.")
        if len(facts.shape) < 2:
            _draw_curves(x, facts, out)
        else:
            _write_png(x, facts, out)
        return
    if out is not None and out.suffix.lower() == ".npy":
        _write(x, [], out)
        return
    flat = x.reshape(len(x), -1)
    _write(flat, facts.features or [f"x{i}" for i in range(flat.shape[1])], out)


def write_answers(answers: Sequence[str], proba: Array, classes: Sequence[str], out: Path | None) -> None:
    """Answers (n,) and p(c|x) (n, C) as CSV: row, label, and a column p(class) for each class."""
    if out is not None and out.suffix.lower() != ".csv":
        raise InputError(f"{out} must end in .csv: answers are text and numbers.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "label", *(f"p({name})" for name in classes)])
    for number, (answer, row) in enumerate(zip(answers, proba.tolist(), strict=True)):
        writer.writerow([number, answer, *(f"{value:.6g}" for value in row)])
    _send(text.getvalue(), out)


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


def _write(rows: Array, names: Sequence[str], out: Path | None) -> None:
    suffix = None if out is None else out.suffix.lower()
    if suffix not in (None, ".csv", ".npy"):
        raise InputError(f"{out} must end in .npy, .csv, or .png for images; choose one of these.")
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, rows)
        assert out is not None
        store.write_atomic(out, buffer.getvalue())
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *names])
    for number, row in enumerate(rows.tolist()):
        writer.writerow([number, *(f"{value:.7g}" for value in row)])
    _send(text.getvalue(), out)


def _send(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        store.write_atomic(out, text)


def _draw_curves(x: Array, facts: DataFacts, out: Path) -> None:
    from vaelab.plots.examples import plot_curves

    plot_curves(x, out, f"{counted(len(x), 'example')} of {facts.name}")


def _write_png(x: Array, facts: DataFacts, out: Path) -> None:
    from PIL import Image

    from vaelab.plots.examples import as_pixels, mosaic

    high = 255.0 if facts.dtype == "uint8" else 1.0
    cells = as_pixels(x / high)
    scale = max(1, 56 // max(cells.shape[1:3]))  # enlarge small images
    cells = cells.repeat(scale, 1).repeat(scale, 2)
    sheet = mosaic(cells, columns=min(len(cells), 10), gap=2 * scale)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    store.write_atomic(out, buffer.getvalue())
