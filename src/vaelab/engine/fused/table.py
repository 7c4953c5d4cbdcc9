"""A member's layers as the table that kernels read, and its share of the scratch memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.engine.fused.dense import COLUMNS, row_width
from vaelab.engine.networks import Layout


class LayerTable:
    """Collects layers in order; see `dense` for the columns."""

    def __init__(self, layout: Layout, batch_size: int):
        self.layout, self.batch_size = layout, batch_size
        self.rows: list[list[int]] = []
        self.numbers, self._units = 0, 0

    def room(self, width: int) -> int:
        """Where a batch of rows of this width starts in the scratch memory. Rows are whole cache lines."""
        start = self.numbers
        self.numbers += self.batch_size * row_width(width)
        return start

    def hidden(self, prefix: str, n_in: int, widths: tuple[int, ...]) -> int:
        """A chain of hidden layers, for a member's own widths; returns the last."""
        for i, width in enumerate(widths):
            self._add(f"{prefix}.{i}", n_in, width, 0, slope=self.room(width))
            self._units += width
            n_in = width
        return n_in

    def linear(self, name: str, n_in: int, n_out: int, first: int = 0) -> None:
        """A layer without activation: the columns from `first` on."""
        self._add(name, n_in, n_out, first, slope=0)

    def _add(self, name: str, n_in: int, n_out: int, first: int, slope: int) -> None:
        weight, bias = (self.layout.blocks[f"{name}.{kind}"] for kind in ("weight", "bias"))
        row = [weight.offset + first, bias.offset + first, n_in, n_out, weight.shape[1], self.room(n_out), slope]
        self.rows.append([*row, self._units])

    @property
    def array(self) -> npt.NDArray[Any]:
        """The table (layers, COLUMNS)."""
        return np.array(self.rows, np.int64).reshape(-1, COLUMNS)
