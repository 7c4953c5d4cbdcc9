"""Examples for pictures: their pixel values, a few rows of each class, and the pictures of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vaelab import plots
from vaelab.data import Dataset
from vaelab.data.dataset import Array
from vaelab.data.explore import class_counts, example_rows, histogram
from vaelab.plots import space

EXAMPLES = 12  # per class
COLUMN_ROWS = 20_000  # rows of a table used for histograms and correlations


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


def features(data: Dataset) -> space.Features | None:
    """Centre and scale of the columns of a table; None for images."""
    if data.is_image:
        return None
    return plots.features_data(data.statistics.mean, data.statistics.std, data.features)


def draw_data(data: Dataset, folder: Path) -> list[Path]:
    """Draws the training examples into `folder`: data.png, and examples.png or, for a table, correlations.png."""
    train = data.splits["train"]
    if not data.is_image:
        rows = train[:: -(-len(train) // COLUMN_ROWS)]
        labels = None if data.labels is None else data.labels[rows]
        columns = plots.columns_data(data.flat[rows], data.features, labels, data.classes)
        correlations = plots.correlations_data(data.flat[rows], data.features)
        return [
            plots.plot_columns(columns, folder / "data.png", f"{data.name}: its columns"),
            plots.plot_correlations(correlations, folder / "correlations.png", f"{data.name}: correlations"),
        ]
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
