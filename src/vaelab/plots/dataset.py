"""Examples for pictures: their pixel values, a few rows of each class, and the pictures of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vaelab import plots
from vaelab.data import Dataset
from vaelab.data.dataset import Array
from vaelab.data.explore import class_counts, example_rows, histogram
from vaelab.plots.features import Features

EXAMPLES = 12  # per class
COLUMN_ROWS, COLUMN_CELLS = 20_000, 4_000_000  # of a table, used for histograms and correlations


def viewable(x: Array, data: Dataset) -> Array:
    """Images in the data's own units as grey or colour values in [0, 1]; tables as they are."""
    if not data.is_image:
        return x
    low, high = viewing_range(data)
    grey: Array = np.clip((x.astype(np.float32) - low) / (high - low), 0, 1)
    return grey


def viewing_range(data: Dataset) -> tuple[float, float]:
    """The values shown as black and white."""
    low, high = (0.0, 255.0) if data.is_8bit and data.statistics.range[1] > 1 else data.statistics.range
    return low, high if high > low else low + 1.0


def spread_rows(data: Dataset, count: int) -> npt.NDArray[np.int64]:
    """Up to `count` validation rows, balanced over the classes as far as possible, in class order."""
    rows = data.splits["validation"]
    if data.labels is None:
        return rows[:count]
    labels = data.labels[rows]
    rank = np.empty(len(rows), dtype=np.int64)  # number of earlier rows of the same class
    for code in np.unique(labels):
        mine = labels == code
        rank[mine] = np.arange(mine.sum())
    chosen = np.lexsort((labels, rank))[:count]
    return rows[chosen[np.argsort(labels[chosen], kind="stable")]]


def features(data: Dataset) -> Features | None:
    """What is drawn of a table: its numbers in standard deviations and, if it is typed, the shares of levels; None for
    images.
    """
    if data.is_image:
        return None
    if not is_typed(data):
        return plots.features_data(data.statistics.mean, data.statistics.std, data.features)
    return plots.quantities_data(data.flat[some_rows(data)], data.columns)


def columns_of(data: Dataset) -> Features | None:
    """The columns of a table, for errors of reconstructions; None for images."""
    if data.is_image or not is_typed(data):
        return features(data)
    return plots.columns_features(data.flat[some_rows(data)], data.columns)


def is_typed(data: Dataset) -> bool:
    """Whether a table's columns are more than complete real numbers."""
    return data.is_typed or any(column.kind == "date" for column in data.columns)


def some_rows(data: Dataset) -> npt.NDArray[np.int64]:
    """Training rows of a table, evenly spaced, as many as pictures need."""
    train = data.splits["train"]
    most = max(500, min(COLUMN_ROWS, COLUMN_CELLS // data.flat.shape[1]))
    return train[:: -(-len(train) // most)]


def draw_data(data: Dataset, folder: Path) -> list[Path]:
    """Draws the training examples into `folder`: data.png, and examples.png or, for a table, correlations.png and
    missing.png.
    """
    if not data.is_image:
        rows = some_rows(data)
        x = data.flat[rows]
        labels = None if data.labels is None else data.labels[rows]
        columns = plots.columns_data(x, data.columns, labels, data.classes)
        drawn = [plots.plot_columns(columns, folder / "data.png", f"{data.name}: its columns")]
        gaps = plots.missing_data(x, data.columns) if x.dtype.kind == "f" else None
        (folder / "missing.png").unlink(missing_ok=True)
        if gaps is not None:
            drawn.append(plots.plot_missing(gaps, folder / "missing.png", f"{data.name}: missing values"))
        correlations = plots.correlations_data(x, data.columns)
        title = f"{data.name}: correlations"
        return [*drawn, plots.plot_correlations(correlations, folder / "correlations.png", title)]
    mean, std = (values.reshape(data.shape) for values in (data.statistics.mean, data.statistics.std))
    low, high = viewing_range(data)
    counts = class_counts(data)
    overview = plots.overview_data(
        viewable(mean, data), std / (high - low), histogram(data), None if counts is None else counts["train"]
    )
    each = EXAMPLES if data.labels is not None else 4 * EXAMPLES
    groups = [(name, viewable(data.x[rows], data)) for name, rows in example_rows(data, each)]
    return [
        plots.plot_overview(overview, folder / "data.png", f"{data.name}: the data"),
        plots.plot_examples(plots.examples_data(groups), folder / "examples.png", f"{data.name}: examples"),
    ]
