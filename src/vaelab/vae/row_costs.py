"""-log p(x) of rows, comparable between rows that miss different cells, in any units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaelab.settings.yardsticks import FINAL_DRAWS
from vaelab.vae.fitted import Array, Fitted

Floats = npt.NDArray[np.float64]


def row_costs(fitted: Fitted, rows: Array, draws: int = FINAL_DRAWS) -> Floats:
    """The bound on -log p(x) of checked rows (n, D) in nats (n,), over draws of z, where every missing cell of a
    number costs

        log s_j, of positive numbers log s_j + m_j,

    with s_j the standard deviation of its column (m_j, s_j those of its logarithm): what a cell costs whose density is
    1 per standard deviation. So another unit of a column adds the same to all rows; the bound itself, of the cells that
    are there, moves a row with a missing cell against the others.
    """
    costs: Floats = -fitted.score_samples(rows, draws).astype(np.float64)
    typed, scaling = fitted.scaling.typed, fitted.scaling
    if typed is None or scaling.kept is None:  # no cell is missing
        return costs
    units = np.zeros(len(typed.columns))
    for j, column in enumerate(typed.columns):
        if column.kind in ("real", "date", "positive") and not column.condition:
            units[j] = np.log(scaling.scale[j]) + (scaling.offset[j] if column.kind == "positive" else 0.0)
    missing: Floats = np.isnan(rows[:, scaling.kept]) @ units
    return costs + missing
