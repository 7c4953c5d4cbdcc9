"""The pictures of synthetic rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data import Column
from vaelab.plots.synthetic import MAX_PANELS, panels_data, plot_matrices, plot_nearest, plot_panels

Floats = npt.NDArray[np.float64]


def draw(
    folder: Path,
    columns: Sequence[Column],
    test: Floats,
    made: Floats,
    marginals: Sequence[Mapping[str, Any]],
    pairs: Mapping[str, Any],
    distances: Mapping[str, Floats],
    close: float,
) -> None:
    """Draws the columns that differ most, the associations, and the distances to the nearest training row."""
    worst = sorted(range(len(columns)), key=lambda j: -(marginals[j]["distance"] or 0.0))[:MAX_PANELS]
    plot_panels(panels_data(columns, test, made, worst), len(columns), folder / "marginals.png")
    if len(columns) > 1:
        matrices = {name: np.array(matrix, np.float64) for name, matrix in pairs["matrices"].items()}
        plot_matrices(pairs["columns"], matrices, folder / "associations.png")
    plot_nearest(distances["test"], distances["synthetic"], close, folder / "nearest.png")
