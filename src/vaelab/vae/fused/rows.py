"""The rows of a table as kernels read them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.engine.networks import LINE
from vaelab.engine.rows import chunk
from vaelab.vae.feed import Feed
from vaelab.vae.model import Model

KEPT_FLOATS = 1 << 25  # values of encoded rows that are kept: 128 MB

_kept: weakref.WeakKeyDictionary[Feed, Tensor] = weakref.WeakKeyDictionary()


class TypedRows:
    """Rows [what the encoder sees (E), x (D), what else the head reads] of one feed, padded to whole cache lines.

    They are the same at every visit, so all stacks of a feed share them, if they are not too many.
    """

    def __init__(self, feed: Feed, model: Model):
        assert model.encoding is not None
        self.feed: Feed = weakref.proxy(feed)
        self.encoding, self.likelihood = model.encoding, model.likelihood
        self.place = slice(self.encoding.width, self.encoding.width + model.features)
        n, width = len(feed.data.flat), self.of(feed.gather(torch.arange(1))).shape[1]
        self.all = None
        if n * width <= KEPT_FLOATS:
            if feed not in _kept:
                _kept[feed] = torch.cat([self.of(feed.gather(some)) for some in torch.arange(n).split(chunk(width, 1))])
            self.all = _kept[feed]

    def of(self, x: Tensor) -> Tensor:
        """From model values (n, D)."""
        rows = torch.cat([self.encoding(x), self.likelihood.head_rows(x)], 1)
        return functional.pad(rows, (0, -rows.shape[1] % LINE))

    def values(self, rows: Tensor) -> Tensor:
        """The inverse of `of`."""
        return rows[:, self.place]

    def gather(self, rows: Tensor) -> Tensor:
        """Rows by their numbers."""
        return self.of(self.feed.gather(rows)) if self.all is None else self.all.index_select(0, rows)

    def kept_batches(self, split: str, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As `Feed.kept_batches`."""
        rows, keys = self.feed.rows(split)[:limit], self.feed.keys(split)[:limit]
        size = chunk(self.feed.data.flat.shape[1], 1)
        for some, place in zip(rows.split(size), keys.split(size), strict=True):
            yield self.gather(some), place
